"""Words of a question that stand in no document, in the spelling of ones that do.

A slip in one letter makes four of five misspellings (Damerau 1964). Of several words that are one
slip away, that is meant which stands in a passage with the rest of the question. A word that is
spelt well stays, though the documents lack it. Knows words alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.lexical import IDENTIFIER, STOPWORDS, fold, words
from index.vocabulary import Vocabulary

LEAST = 4
"""Letters of a word at least: of shorter ones everything is near."""

MOST = 40
"""Letters of a word at most: what is longer is none."""

MANY = 8
"""Unknown words, from which on a text is in another language."""

LONG = 7
"""Letters of a word that tells by itself what is meant."""

SHARE = 0.2
"""How much of what the best passage has of the rest of the question (BM25), at least, the one must
have with which a shorter word is explained."""

IsWord = Callable[[str], bool]
"""Whether this, in lower case, is a word of the language."""

_WORD = re.compile(rf"{IDENTIFIER.pattern}|[^\W\d_]+")


class Spelling(NamedTuple):
    """``respelt``: a text with words that are one slip away in the place of those that stand
    nowhere; empty where there are none to be replaced. ``unheard``: names and identifiers in it
    that stand nowhere and are near to nothing."""

    respelt: str
    unheard: tuple[str, ...]


class _Meant(NamedTuple):
    """A word that may have been meant, the likelier the higher: does it begin as it was typed; how
    much of the question's rest the best of its chunks holds (BM25); does it stand there in just
    this form; how many chunks hold it in any."""

    begins: bool
    rest: float
    exact: bool
    num_chunks: int
    word: str


@dataclass(frozen=True)
class Speller:
    """Respells by the words of a database. ``text_of``: a chunk's text with its titles."""

    vocabulary: Vocabulary
    text_of: Callable[[int], str]

    def read(self, text: str, is_word: IsWord) -> Spelling:
        """What is to be said of the words of a question."""
        typed = {word: fold(word) for word in _WORD.findall(text)}
        unknown = {w: low for w, low in typed.items() if self._lacks(low) and not is_word(low)}
        if len(unknown) >= MANY:
            return Spelling("", ())
        known = [low for w, low in typed.items() if w not in unknown]
        spelt: dict[str, str] = {}
        for word in sorted(unknown, key=len, reverse=True):  # a long word leaves less doubt
            if meant := self._meant(unknown[word], known, is_word):
                spelt[word] = _cased(meant, word)
                known.append(meant)
        respelt = _WORD.sub(lambda m: spelt.get(m[0], m[0]), text) if spelt else ""
        first = next(iter(typed), "")  # has a capital in any case
        names = (w for w in unknown if w not in spelt and ("_" in w or w[0].isupper()))
        return Spelling(respelt, tuple(w for w in names if "_" in w or w != first))

    def _lacks(self, word: str) -> bool:
        if not LEAST <= len(word) <= MOST or (
            "_" in word and not self.vocabulary.lexical.has_identifiers
        ):
            return False
        return any(not self.vocabulary.count(key) for key in words(word)[-1:])

    def _meant(self, word: str, known: Sequence[str], is_word: IsWord) -> str | None:
        near = one_slip(word)
        rest = self.vocabulary.scores(" ".join(known))
        enough = SHARE * float(rest.max(initial=0.0)) if len(word) < LONG else 0.0
        possible = self._possible(word, near, rest, is_word)
        best = max((meant for meant in possible if meant.rest >= enough), default=None)
        if (best is None or not best.rest) and (usual := near & STOPWORDS):
            return max(usual, key=lambda stop: (len(stop), stop))
        return best and best.word

    def _possible(
        self, word: str, near: Iterable[str], rest: NDArray[np.float32], is_word: IsWord
    ) -> Iterator[_Meant]:
        for edit in near:
            for key in words(edit)[-1:]:
                if len(chunks := self.vocabulary.chunks(key)):
                    best = int(chunks[rest[chunks].argmax()])
                    written = {fold(w): w for w in _WORD.findall(self.text_of(best))}.get(edit)
                    if written or is_word(edit):
                        as_typed, held = edit[0] == word[0], float(rest[best])
                        yield _Meant(as_typed, held, bool(written), len(chunks), written or edit)


def one_slip(word: str) -> set[str]:
    """What one letter left out, swapped with the next, exchanged or added makes of a word."""
    cuts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    left_out = {a + b[1:] for a, b in cuts if b}
    swapped = {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    exchanged = {a + c + b[1:] for a, b in cuts if b for c in ascii_lowercase}
    added = {a + c + b for a, b in cuts for c in ascii_lowercase}
    return (left_out | swapped | exchanged | added) - {word}


def _cased(meant: str, typed: str) -> str:
    """A capital as it was typed; where there was one, others as in the documents. Identifiers are
    as they are."""
    if "_" in meant:
        return meant
    return meant[0].upper() + meant[1:] if typed[0].isupper() else meant.lower()
