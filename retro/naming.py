"""What a title or heading names, and which of two the question is about; knows words alone.

Passages of alike sections ("Brisa One", "Warranty"; "Brisa Duo", "Warranty") differ in nothing but
the headings that they stand under. Words are told as they are asked for: "beans" is a "bean", and a
stop word counts where a capital makes it part of a name ("Xbox One").
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Sequence

from index.lexical import fold
from index.sections import BETWEEN
from retro.overlap import STOP, WORD, Idf

LEAST_SHARED = 3
"""Letters at least of the shorter of two forms of a word, with which the longer one begins."""

COMMONER = 0.75
"""By how much the rarity of a word that names something may be below half of the highest: of N
chunks it is in about 1.5 times the square root of N at most (11 of 50, 1,200 of 600,000)."""
UNSEEN = ""

STEM = 5
"""Letters that words of one family begin with ("install", "installation")."""

_NUMBER = re.compile(r"^(?:[A-Z]\.|\d{1,3}\.)*\d{0,3}[.)]?\s+")
"""What numbers a heading, which nobody asks for."""

_DOTTED = re.compile(r"(?<!\w)[^\W\d_]\w*(?:[._]+\w+)+")
"""An identifier, also one with its module or object (``Popen.kill``)."""

_SHORT_FOR = re.compile(r"\b(?:stands? for|short for|abbreviat\w+|acronym|full form)\b", re.I)
_MEANS = re.compile(r"\bmean(?:s|ing)?\b|^what (?:is|are|was|were) (?:an? |the )?\S+\s*\?*$", re.I)
"""Ask what is behind an abbreviation, or may do so."""
_LETTERS = re.compile(r"[^\W_]+")
SHORTEST, LONGEST = 2, 8
"""Letters of an abbreviation."""


def set_apart(question: str, title: str, other: str) -> bool:
    """Whether ``title`` names what was asked about, and ``other``, a passage and its title, does
    not."""
    named, held = _told(title), _told(other)
    return any(_met(word, named) and not _met(word, held) for word in _told(question))


def misnamed(
    question: str, titles: Sequence[str], texts: Sequence[str], source: int, idf: Idf
) -> bool:
    """Whether the question names the title, or a heading, of another passage in full, of which
    passage ``source`` lacks a word that is not found everywhere ("History" names nothing), or is
    part of a name ("One")."""
    asked, held = _told(question), _told(f"{titles[source]} {texts[source]}")
    rare = idf(UNSEEN) / 2 - COMMONER
    naming = (word for word in asked if word[0].isupper() or idf(word) >= rare)
    lacking = {word for word in naming if not (_met(word, held) or _kin(word, held))}
    if not lacking:
        return False
    headings = (_told(_NUMBER.sub("", part)) for t in {*titles} for part in t.split(BETWEEN))
    return any(
        all(_met(word, asked) for word in heading) and any(_met(word, lacking) for word in heading)
        for heading in headings
    )


def headed_by(question: str, titles: Sequence[str]) -> list[int]:
    """For each passage 1 if it is headed by an identifier that was asked about, and -1 if by others
    alone while another one is headed by such a one; else 0. What a setting does is said where it is
    described."""
    asked = {*_DOTTED.findall(fold(question))}
    if not asked:
        return [0] * len(titles)
    heads = [{*_DOTTED.findall(fold(title))} for title in titles]
    described = any(asked & head for head in heads)
    return [1 if asked & head else -1 if described and head else 0 for head in heads]


def spelled_out(question: str, texts: Sequence[str]) -> list[bool]:
    """For each passage whether it spells out an abbreviation whose meaning is asked: words in a
    row begin with its letters, but for stop words ("Time and Relative Dimension in Space")."""
    asked = abbreviations(question)
    return [any(_spells(short, text) for short in asked) for text in texts]


def abbreviations(question: str) -> set[str]:
    """Those asked about, in small letters; they have two capitals, unless the question has none."""
    surely = bool(_SHORT_FOR.search(question))
    if not surely and not _MEANS.search(question.strip()):
        return set()
    words = [word for word in _LETTERS.findall(question) if SHORTEST <= len(word) <= LONGEST]
    if surely and question == question.lower():
        cues = " ".join(_SHORT_FOR.findall(question)).split()
        return {word for word in words if word not in STOP and word not in cues}
    return {word.lower() for word in words if sum(map(str.isupper, word)) > 1}


def _spells(short: str, text: str) -> bool:
    words = _LETTERS.findall(text.lower())
    return any(
        word[0] == short[0] and word != short and _goes_on(short[1:], words[place + 1 :])
        for place, word in enumerate(words)
    )


def _goes_on(letters: str, words: Sequence[str]) -> bool:
    """Whether the words begin with these letters, in order, but for stop words between them."""
    left = deque(letters)
    for word in words:
        if word[0] == left[0]:
            left.popleft()
        elif word not in STOP:
            return False
        if not left:
            return True
    return False


def _told(text: str) -> set[str]:
    """The words, lower case; a stop word as it is, if it has a capital, else not."""
    words = {word: fold(word) for word in WORD.findall(text)}
    return {word if low in STOP else low for word, low in words.items() if _counts(word, low)}


def _counts(word: str, low: str) -> bool:
    return low not in STOP or word[0].isupper()


def _met(word: str, among: Collection[str]) -> bool:
    return word in among or any(
        long.startswith(short) and len(short) >= LEAST_SHARED
        for other in among
        for short, long in [sorted((word, other), key=len)]
    )


def _kin(word: str, among: Collection[str]) -> bool:
    return len(word) > STEM and any(other[:STEM] == word[:STEM] for other in among)
