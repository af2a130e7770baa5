"""Questions made from an index's own passages by rules, without a model; knows English text only.

A sentence gives a question by putting a question word where a year, a date, a number or a name
stood ("The Teatro Amazonas opened in what year?"), as many questions of real people do; a name at
the sentence's start needs no more ("Who designed several of its buildings?"). What people would
not repeat is dropped, and common words are exchanged for others, so that the question shares fewer
words with its passage: else a head fitted on them would learn to trust overlap alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from index.sources import Document
from retro.overlap import STOP, words_of

NUM_WORDS = (5, 24)
"""Fewest and most words of a question."""

FEWEST_CONTENT = 3
"""Fewest words of a question that say something."""

_SENTENCE = re.compile(r"(?<=[a-z0-9)”\"][.!?])\s+(?=[“\"*A-Z])|\n+")
_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_NAME = r"[A-Z][\w’'-]*[a-z](?:(?: of| the| de| van| von)* [A-Z][\w’'-]*[a-z])*"
_VERB = (
    r"(?:was|were|is|are|had|has|led|wrote|won|made|built|found|discovered|designed|became|"
    r"invented|began|opened|died|took|gave|came|ruled|founded|published|painted|composed|[a-z]+ed)"
)
_LEANING = (
    "This|That|These|Those|His|Her|Its|Their|But|And|Then|Yet|Among|Here|There|So|Such|Both|Another|"
    "Others|Later|As"
)
"""First words of sentences that lean on the one before."""
_START = re.compile(rf"(?:The )?(?P<answer>{_NAME})(?= {_VERB}\b)")
_FIRST_WORDS = frozenset(
    "A After All Although An And As At Because Before Both But By During Each Even For From He "
    "Here However If In Inside It Its Later Many Most Near No Nobody Not On One Only Other She "
    "Since So Some Such That The Their Then There These They This Those Though Three Through To "
    "Today Two Under Until We When Where While With Within Without You".split()
).union(_MONTH.split("|"))
_NO_PERSON = frozenset(
    "Battle Bay Bridge Canal Castle Church City Company Council Empire Island Islands Kingdom Lake "
    "Mount Mountains North Ocean Palace River Sea South States Station Street Treaty Union "
    "University War East West".split()
)


_POINTING = frozenset("he her him his it its same she them there they".split())
"""Words that point to what was said before."""


class _Rule(NamedTuple):
    """Where an answer stands (group ``answer``), and the question words that take the place of all
    that matched but a group ``lead``."""

    pattern: re.Pattern[str]
    asks: str


_RULES = (
    _Rule(re.compile(rf"\bon (?P<answer>\d{{1,2}} (?:{_MONTH})(?: \d{{4}})?)\b"), "on what date"),
    _Rule(re.compile(rf"\bin (?P<answer>(?:{_MONTH}) \d{{4}})\b"), "in what month and year"),
    _Rule(re.compile(r"\b[Ii]n (?:about )?(?P<answer>1\d{3}|20[0-2]\d)(?![\d,-])"), "in what year"),
    _Rule(
        re.compile(
            r"(?P<lead>\b[a-z][\w-]* )(?:(?:about|some|around|nearly|only|over) )?"
            r"(?!(?:1\d{3}|20\d{2})\b)"
            r"(?P<answer>\d[\d,.]*\d(?: million| billion)?|[2-9])(?= (?!per|and)[a-z]{3,})"
        ),
        "how many",
    ),
    _Rule(re.compile(rf"\b(?:by|By) (?P<answer>{_NAME})"), "by whom"),
    _Rule(
        re.compile(rf"\b[Ii]n (?P<answer>{_NAME})(?=[,.;]|$| (?:and|at|by|for|in|on|to|with)\b)"),
        "in what place",
    ),
)

_ASIDES = (
    re.compile(r"\s*\([^)]*\)"),
    re.compile(
        r",\s+(?:which|who|whose|where|when|although|because|while|so that)\b[^,;]*(?:,|(?=;)|$)"
    ),
    re.compile(r"[;:]\s.*$"),
    re.compile(r",\s+(?:and|but)\s.*$"),
    re.compile(r"^(?:In|At|On|After|Before|During|For|From|By|Near|Since|With)\b[^,]{2,60},\s+"),
)
"""Parentheses, subordinate clauses, second clauses and leading adjuncts, in this order."""

_EXCHANGED = {
    "about": "roughly", "almost": "nearly", "also": "", "began": "started", "biggest": "largest",
    "built": "constructed", "called": "named", "carried": "transported", "caused": "brought about",
    "completed": "finished", "created": "made", "died": "passed away", "discovered": "found",
    "finished": "completed", "founded": "established",
    "killed": "slain", "largest": "biggest", "led": "headed", "lies": "is found",
    "made": "produced", "main": "chief", "mostly": "mainly", "moved": "relocated",
    "nearly": "almost",
    "published": "put out", "reached": "got to",
    "received": "got", "ruled": "governed", "several": "some", "sold": "marketed",
    "started": "began", "still": "", "today": "now", "wrote": "authored",
}  # fmt: skip


class OwnQuestion(NamedTuple):
    """A question whose ``answer`` stands in ``context``, the text of the document ``title``."""

    question: str
    answer: str
    context: str
    title: str


def make_questions(documents: Sequence[Document], limit: int, seed: int = 0) -> list[OwnQuestion]:
    """At most ``limit`` questions, drawn evenly from documents in a fixed random order.

    No two have the same document and answer.
    """
    rng = np.random.default_rng(seed)
    waiting = [_from_document(documents[row], rng) for row in rng.permutation(len(documents))]
    made: list[OwnQuestion] = []
    while waiting and len(made) < limit:
        still = []
        for source in waiting:
            if (question := next(source, None)) is not None:
                made.append(question)
                still.append(source)
        waiting = still
    return made[:limit]


def _from_document(document: Document, rng: np.random.Generator) -> Iterator[OwnQuestion]:
    sentences = _SENTENCE.split(document.text)
    used: set[str] = set()
    for number in rng.permutation(len(sentences)):
        made = list(questions_of(sentences[number].strip(), document.title, rng))
        for n in rng.permutation(len(made)):
            question, answer = made[n]
            if answer not in used and _stands_alone(question, document.title):
                used.add(answer)
                yield OwnQuestion(question, answer, document.text, document.title)
                break  # one of a sentence: its questions are too much alike


def _stands_alone(question: str, title: str) -> bool:
    """Whether nobody need have read the sentences before: no pronoun, or the title is told."""
    spoken = set(words_of(question))
    return not _POINTING & spoken or bool(spoken.intersection(words_of(title)))


def questions_of(sentence: str, title: str, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Questions and answers of one sentence. ``title`` takes the place of a leading pronoun."""
    named = re.sub(r"^(?:It|He|She|They)(?= )", lambda _: title, sentence)
    if re.match(rf"(?:{_LEANING})\b", named):
        return  # about a sentence that the question would not bring along
    if found := _START.match(named):
        answer = found["answer"]
        words = answer.split()
        person = len(words) > 1 and not _NO_PERSON.intersection(words) and found[0] == answer
        if words[0] not in _FIRST_WORDS and answer != title:
            asked = f"{'Who' if person else 'What'}{named[found.end() :]}"
            yield from _finished(asked, answer, rng)
    for pattern, asks in _RULES:
        for found in pattern.finditer(named):
            if found["answer"].split()[0] not in _FIRST_WORDS:
                lead = found.groupdict().get("lead") or ""
                hole = f"{named[: found.start()]}{lead}{_HOLE}{named[found.end() :]}"
                yield from _finished(hole, found["answer"], rng, asks)


_HOLE = "‖"
"""Stands for the question words while what is dropped is not to take them along."""


def _finished(
    asked: str, answer: str, rng: np.random.Generator, asks: str = ""
) -> Iterator[tuple[str, str]]:
    """The question without asides and with other words, if it is still one."""
    text = asked.rstrip(" .!?")
    if re.match(rf"(?:\w+ )?{_HOLE}", text):  # "In 1884 a pyramid …": what is asked goes to the end
        text = f"{re.sub(f'^.*?{_HOLE}', '', text).lstrip(', ')} {_HOLE}"
    for aside in _ASIDES:
        shorter = aside.sub("", text)
        if _HOLE in shorter or not asks:
            text = shorter
    text = " ".join(_exchanged(word, rng) for word in text.split())
    text = " ".join(text.replace(_HOLE, asks).split())
    question = f"{text[:1].upper()}{text[1:].rstrip(',;')}?"
    spoken = words_of(question)
    content = [w for w in spoken if w not in STOP]
    fits = NUM_WORDS[0] <= len(spoken) <= NUM_WORDS[1] and len(content) >= FEWEST_CONTENT
    if fits and not set(words_of(answer)) & set(spoken):
        yield question, answer


def _exchanged(word: str, rng: np.random.Generator) -> str:
    """Another word for it, none for an adverb of manner, most of the time; else itself."""
    if rng.random() < 0.25:
        return word
    if word in _EXCHANGED:
        return _EXCHANGED[word]
    return "" if re.fullmatch(r"[a-z]{3,}ly", word) else word
