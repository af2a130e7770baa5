"""What is done to documents between reading and tokenizing; knows texts, nothing of files.

Each step is an iterator over what it is given: a document that it leaves out becomes ``Skipped``
with its reason. All steps are off unless they are asked for.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from index.dedupe import WORD
from index.documents import Document, Item, Skipped
from index.errors import UserError
from index.redact import redacted
from index.sections import Section

FEWEST_LETTERS = 100
"""Of a text with fewer letters the language is not told."""
SAMPLE = 20_000
"""Characters that the language is told by."""
FEWEST_WORDS = 20
"""Of a text with fewer words the quality is not told."""
LETTERED, WORD_LENGTH, REPEATED = 0.8, (3, 10), 0.3
"""Gopher's thresholds (Rae et al. 2021, appendix A1.1 and table A1)."""


@dataclass(frozen=True)
class Filters:
    """The steps that are asked for, in the order in which they are taken.

    ``trust``: a label for all documents, over that of their rows. ``language``: the ISO 639-1
    code of the texts that stay. ``min_quality``: texts stay that read like prose. ``block_words``:
    texts stay that hold none of these. ``judge``: the name, ``module:function``, of a function
    that is given a title and a text and gives the reason for which to leave them out, or nothing:
    a classifier of your own. ``redact``: what identifies a person is replaced by marks.
    """

    trust: str = ""
    language: str = ""
    min_quality: bool = False
    block_words: frozenset[str] = frozenset()
    judge: str = ""
    redact: bool = False

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items that stay, changed as asked, and those that do not as ``Skipped``.

        Raises:
            UserError: ``language`` is unknown, or what tells languages apart is not installed; or
                there is no such ``judge``, or it failed.
        """
        items = labelled(items, self.trust) if self.trust else items
        items = in_language(items, self.language) if self.language else items
        items = readable(items) if self.min_quality else items
        items = without_words(items, self.block_words) if self.block_words else items
        items = judged(items, self.judge) if self.judge else items
        return without_persons(items) if self.redact else iter(items)

    def identity(self) -> dict[str, Any]:
        """What tells filters apart, as plain JSON; of the words a digest."""
        words = "\n".join(sorted(self.block_words))
        digest = hashlib.sha256(words.encode()).hexdigest() if words else ""
        return asdict(self) | {"block_words": digest}


NO_FILTERS = Filters()


def _without(items: Iterable[Item], rule: str, fault: Callable[[Document], str]) -> Iterator[Item]:
    """The items; a document with a fault, by a rule, is left out."""
    for item in items:
        if isinstance(item, Document) and (found := fault(item)):
            yield Skipped(item.source, f"'{item.id}' {found}", by=rule)
        else:
            yield item


def labelled(items: Iterable[Item], trust: str) -> Iterator[Item]:
    """All documents with one trust label: who indexes them knows better than their rows."""
    for item in items:
        yield replace(item, trust=trust) if isinstance(item, Document) else item


def in_language(items: Iterable[Item], language: str) -> Iterator[Item]:
    """The documents in one language, and those too short to tell.

    Raises:
        UserError: the language is unknown, or py3langid is not installed.
    """
    identifier = _identifier()
    if language not in identifier.labels:
        known = " ".join(sorted(identifier.labels))
        raise UserError(f"--language {language}: unknown, give one of: {known}")

    def fault(document: Document) -> str:
        found = _language(document.text, identifier)
        return "" if found in {"", language} else f"is in '{found}', not in '{language}'"

    return _without(items, "language", fault)


def _language(text: str, identifier: Any) -> str:
    """The likeliest language of a text; empty if it is too short to tell."""
    sample = text[:SAMPLE]
    if sum(map(str.isalpha, sample)) < FEWEST_LETTERS:
        return ""
    return str(identifier.classify(sample)[0])


def _identifier() -> Any:
    try:
        from py3langid import langid
    except ModuleNotFoundError as error:
        raise UserError(
            "--language: py3langid is missing; pip install 'retro-abstain[ingest]'"
        ) from error
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE)


def readable(items: Iterable[Item]) -> Iterator[Item]:
    """The documents that read like prose by a few of Gopher's rules, and those of few words.

    Left out are tables of numbers, garbled and glued text, and pages of repeated lines.
    """

    def fault(document: Document) -> str:
        found = _unlike_prose(document.text)
        return found and f"is of low quality: {found}"

    return _without(items, "quality", fault)


def _unlike_prose(text: str) -> str:
    """The first rule that a text breaks, with its figure; empty if it breaks none."""
    words = text.split()
    if len(words) < FEWEST_WORDS:
        return ""
    lettered = sum(any(map(str.isalpha, word)) for word in words) / len(words)
    if lettered < LETTERED:
        return f"{lettered:.0%} of its words have a letter"
    length = sum(map(len, words)) / len(words)
    if not WORD_LENGTH[0] <= length <= WORD_LENGTH[1]:
        return f"its words have {length:.1f} characters on average"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    repeated = 1 - len(set(lines)) / len(lines)
    return f"{repeated:.0%} of its lines repeat another" if repeated > REPEATED else ""


def without_words(items: Iterable[Item], blocked: frozenset[str]) -> Iterator[Item]:
    """The documents whose title and text hold none of the words, whatever their case."""

    def fault(document: Document) -> str:
        held = blocked & _words(f"{document.title} {document.text}")
        return f"holds the blocked word '{min(held)}'" if held else ""

    return _without(items, "words", fault)


def read_words(file: Path) -> frozenset[str]:
    """The words of a list, one a line.

    Raises:
        UserError: it cannot be read, holds none, or a line is not one word.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({error}); give words, one a line") from error
    words = [line for line in lines if line]
    if wrong := [word for word in words if not WORD.fullmatch(word)]:
        raise UserError(f"{file}: '{wrong[0]}' is not one word; give words, one a line")
    if not words:
        raise UserError(f"{file}: holds no words; give words, one a line")
    return frozenset(word.casefold() for word in words)


def _words(text: str) -> set[str]:
    return {word.casefold() for word in WORD.findall(text)}


def judged(items: Iterable[Item], name: str) -> Iterator[Item]:
    """The documents for which the function ``module:function`` gives no reason to leave them out.

    Raises:
        UserError: there is no such function, or it failed.
    """
    judge = _function(name)

    def fault(document: Document) -> str:
        try:
            reason = judge(document.title, document.text)
        except Exception as error:
            raise UserError(
                f"--judge {name} failed on '{document.id}' ({type(error).__name__}: {error}); mend "
                "it and start again"
            ) from error
        return f"was judged: {reason}" if reason else ""

    return _without(items, "judge", fault)


def _function(name: str) -> Callable[[str, str], Any]:
    """By its name ``module:function``; modules of the working directory are found too."""
    module, _, function = name.partition(":")
    sys.path.append(str(Path.cwd()))
    try:
        found: Callable[[str, str], Any] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"--judge {name}: not found ({error}); give module:function, of a module that is "
            "installed or stands in this folder"
        ) from error
    finally:
        sys.path.pop()
    return found


def without_persons(items: Iterable[Item]) -> Iterator[Item]:
    """The documents with marks for addresses and numbers; a note tells how many of each."""
    for item in items:
        if isinstance(item, Skipped):
            yield item
            continue
        document, counts = _redacted(item)
        yield document
        if counts:
            told = ", ".join(f"{count} {mark}" for mark, count in counts.items())
            yield Skipped(item.source, f"'{item.id}' was redacted: {told}", kept=True)


def _redacted(document: Document) -> tuple[Document, Counter[str]]:
    """The document with marks, its sections and pages where they begin then, and how many marks
    there are."""
    title, counts = redacted(document.title)
    parts = []
    for part in document.parts():
        text, found = redacted(part)
        parts.append(text)
        counts += found
    starts = [*accumulate(map(len, parts[:-1]))]
    names = (redacted(section.name)[0] for section in document.sections)
    told = replace(
        document,
        title=title,
        text="".join(parts),
        sections=tuple(map(Section, starts, names)),
        pages=tuple(_moved(document, [0, *starts])),
    )
    return told, counts


def _moved(document: Document, starts: Sequence[int]) -> Iterator[int]:
    """Where the pages of a document begin, once redacted: its sections begin at ``starts`` then."""
    cuts = [0, *(section.start for section in document.sections)]
    last, old, new = -1, 0, 0
    for page in document.pages:
        place = bisect_right(cuts, page) - 1
        if place != last:
            last, old, new = place, cuts[place], starts[place]
        old, new = page, new + len(redacted(document.text[old:page])[0])
        yield new
