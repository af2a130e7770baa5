"""What a passage holds of a question, word by word; knows no distance, no model and no signal.

Words count by their rarity in the database, names and numbers apart, and meet by their stems.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import NamedTuple

from index.lexical import STOPWORDS, fold

Idf = Callable[[str], float]
"""The inverse document frequency of a word in the database; words never seen have the highest."""

LEAST = 1e-6
"""A rarity above zero, so that shares are defined."""

WORD = re.compile(r"[^\W_]+(?:_+[^\W_]+)*")
"""A word; an identifier (``work_mem``) is one."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[^\sa-z])|\n+")
_ALSO_STOP = """
about after also before being between can could during he her his i its kind many may might much
must name named one our over s shall she should so t than them those type under we would you
your
"""
STOP = STOPWORDS.union(_ALSO_STOP.split())


class Word(NamedTuple):
    """A word, lower case and without accents, and the characters where it stands."""

    folded: str
    start: int
    end: int


def words_in(text: str, start: int, end: int) -> list[Word]:
    """The words among these characters, with their places in the text."""
    return [Word(fold(m[0]), m.start(), m.end()) for m in WORD.finditer(text, start, end)]


def words_of(text: str) -> list[str]:
    """All words in order, lower case, without accents."""
    return WORD.findall(fold(text))


def stems_of(text: str) -> list[str]:
    """The words' stems, stop words included."""
    return [_stem(w) for w in words_of(text)]


def sentences_of(text: str) -> list[str]:
    """The sentences; never none."""
    return _SENTENCE.split(text)


def sentence_places(text: str) -> list[tuple[int, int]]:
    """The characters where each of ``sentences_of`` begins and ends."""
    breaks = [m.span() for m in _SENTENCE.finditer(text)]
    starts, ends = [0, *(b for _, b in breaks)], [*(a for a, _ in breaks), len(text)]
    return list(zip(starts, ends, strict=True))


def holds(text: str, words: list[str]) -> bool:
    """Whether these words stand in the text one after the other; no words never do."""
    return bool(words) and f" {' '.join(words)} " in f" {' '.join(words_of(text))} "


def _stem(word: str) -> str:
    """The first five letters, which was measured above Snowball's stems and above whole words;
    numbers and identifiers are whole."""
    return word if word[:1].isdigit() or "_" in word else word[:5]


_STOP_STEMS = frozenset(map(_stem, STOP))


@dataclass(frozen=True)
class Question:
    """Content words in order as stems, the rarity of each, and which are names or numbers."""

    stems: list[str]
    rarity: dict[str, float]
    names: frozenset[str]

    @classmethod
    def read(cls, text: str, idf: Idf) -> Question:
        """A question without content words counts with the words it has."""
        words = words_of(text)
        kept = [w for w in words if w not in STOP] or words or [""]
        rarity: dict[str, float] = {}
        for word in kept:
            rarity[_stem(word)] = max(rarity.get(_stem(word), LEAST), idf(word))
        named = (w for w in WORD.findall(text) if not w[0].islower() or "_" in w)
        names = {_stem(fold(w)) for w in named}
        return cls([_stem(w) for w in kept], rarity, frozenset(names & rarity.keys()))

    @property
    def rarest(self) -> str:
        return max(self.rarity, key=self.rarity.__getitem__)

    def share(self, found: Collection[str]) -> float:
        """Rarity-weighted share of the question's words in ``found``, 0..1."""
        held = sum(v for w, v in self.rarity.items() if w in found)
        return held / sum(self.rarity.values())

    def adjacent(self, stems: Iterable[str]) -> float:
        """Share of the question's adjacent content words that are adjacent here, 0..1."""
        pairs = set(pairwise(self.stems))
        held = pairs & set(pairwise(s for s in stems if s not in _STOP_STEMS))
        return len(held) / max(len(pairs), 1)


@dataclass(frozen=True)
class Passage:
    """A title's stems, and a text's sentences with the stems of each."""

    titled: frozenset[str]
    sentences: list[str]
    stems: list[list[str]]

    @classmethod
    def read(cls, title: str, text: str) -> Passage:
        sentences = sentences_of(text)
        return cls(frozenset(stems_of(title)), sentences, [stems_of(s) for s in sentences])


@dataclass(frozen=True)
class Overlap:
    """What one passage holds of a question.

    ``held``: stems of the question in its title or text. Shares, 0..1: ``cover``, by rarity, of
    those; ``shares``, by rarity, in each sentence with the title; ``phrase``, of the adjacent
    content words; ``names_missing``, by rarity, of the names and numbers that it lacks.
    """

    held: frozenset[str]
    cover: float
    shares: tuple[float, ...]
    phrase: float
    names_missing: float

    @classmethod
    def of(cls, asked: Question, title: str, text: str) -> Overlap:
        """Reads the passage once."""
        return cls.within(asked, Passage.read(title, text))

    @classmethod
    def within(cls, asked: Question, passage: Passage) -> Overlap:
        """The same of a passage that was read."""
        held = passage.titled.union(*passage.stems)
        return cls(
            held=frozenset(held & asked.rarity.keys()),
            cover=asked.share(held),
            shares=tuple(asked.share(passage.titled.union(s)) for s in passage.stems),
            phrase=asked.adjacent(chain.from_iterable(passage.stems)),
            names_missing=asked.share(asked.names - held),
        )

    @property
    def sentence(self) -> float:
        """The largest of ``shares``."""
        return max(self.shares)
