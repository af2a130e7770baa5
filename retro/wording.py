"""Puts what was typed into the form of a question, which is what the reader has learned to answer.

"brisa duo warranty" is read as "What is the brisa duo warranty?", and of "Please tell me when the
shop opens" the first words are left out. What is a question already stays as it is. Knows words
alone.
"""

from __future__ import annotations

import re

from retro.overlap import words_of

ASKING = frozenset("who whos whom whose what whats which when whens where wheres why how".split())
VERBS = frozenset(
    "is isn are aren was wasn were am be been being do does did don doesn didn can could may might "
    "must shall should will would has have had".split()
)
BEFORE_NOUNS = frozenset(
    "a an the one two three four five some any all each every my our your his her its their this "
    "these those".split()
)
PREPOSITIONS = frozenset(
    "about after at before behind between by during for from given in into of on over per since to "
    "under until with without".split()
)

_POLITE = r"(?:please[,\s]+)?"
_LEAD = re.compile(
    rf"\s*{_POLITE}(?:(?:can|could|would|will)\s+you\s+)?{_POLITE}"
    r"(?:(?:tell|give|show)\s+(?:me|us)"
    r"|i(?:['’]d|\s+would)\s+like\s+to\s+know|i\s+(?:want|need)\s+to\s+know|do\s+you\s+know"
    rf"|(?:define|describe|find|identify|list|name|state)(?=\s+(?:{'|'.join(BEFORE_NOUNS)})\s))"
    r"\b[\s,:]*",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.!?]\W*$|(?<!\w)_+(?!\w)")


def as_question(text: str) -> str:
    """The question to read. A text with a question word or a verb of which questions are made, a
    sentence, also one with a gap, and a single word stay as they are."""
    lead = _LEAD.match(text)
    rest = text[lead.end() if lead else 0 :].strip().rstrip("?.! ")
    words = words_of(rest)
    if not words:
        return text
    if lead and not ASKING.isdisjoint(words[:2]):  # "for how long"
        return f"{rest[0].upper()}{rest[1:]}?"
    if not (ASKING | VERBS).isdisjoint(words) or not _of_nouns(words):
        return text
    if not lead and (len(words) == 1 or _SENTENCE.search(text)):
        return text
    if words[0] in BEFORE_NOUNS:
        rest = f"{rest[0].lower()}{rest[1:]}"
    elif not all(word[0].isupper() for word in rest.split()):
        rest = f"the {rest}"
    return f"What {'are' if _several(words) else 'is'} {rest}?"


def _of_nouns(words: list[str]) -> bool:
    """Whether it neither begins in the middle nor breaks off before the noun."""
    return words[0] not in PREPOSITIONS and words[-1] not in PREPOSITIONS | BEFORE_NOUNS


def _several(words: list[str]) -> bool:
    """Whether the noun that this is about, the last one before a preposition, is in the plural."""
    ends = (i for i, word in enumerate(words) if word in PREPOSITIONS)
    head = words[next(ends, len(words)) - 1]
    return len(head) > 3 and head.endswith("s") and not head.endswith(("ss", "us", "is"))
