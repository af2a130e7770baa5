"""Reading examples: questions, the windows that answer them, and windows that do not.

Knows question files and documents; knows no model. A *window* is a neighbour [N, F]: a chunk and
its continuation in the same section.
"""

from __future__ import annotations

import gzip
import json
import lzma
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from index.chunks import CHUNK_SIZE, cut, tokenize, whole_words
from index.errors import UserError
from index.sections import Section
from index.sources import Document
from retro.text import accepted_answers
from retro.windows import Ints, Window, Windower

Span = tuple[int, int]


@dataclass
class WindowTable:
    """Every window of a database, in the order of its chunks (window i begins with chunk i)."""

    windows: list[Window]
    texts: list[str]
    document_of: Ints
    chunks_of: list[range]
    titles: list[str]

    @classmethod
    def build(
        cls, documents: Iterable[Document], windower: Windower, chunk_size: int = CHUNK_SIZE
    ) -> WindowTable:
        """Cuts and tokenises all documents: about 2,000 windows a second on one core."""
        texts: list[str] = []
        headings: list[str] = []
        titles: list[str] = []
        document_of: list[int] = []
        chunks_of: list[range] = []
        documents = list(documents)
        for row, found in enumerate(tokenize(windower.decoder, [d.text for d in documents])):
            begin, document = len(texts), documents[row]
            for window in window_characters(found.offsets, document.sections, chunk_size):
                start, end = whole_words(document.text, *window)
                texts.append(document.text[start:end])
                headings.append(document.title_at(start))
                titles.append(document.title)
                document_of.append(row)
            chunks_of.append(range(begin, len(texts)))
        windows = windower.windows(texts, headings)
        return cls(windows, texts, np.asarray(document_of, np.int32), chunks_of, titles)

    @classmethod
    def joined(cls, tables: Sequence[WindowTable]) -> WindowTable:
        """Several databases' windows as one table, in order."""
        documents: list[Ints] = []
        chunks_of: list[range] = []
        before = 0
        for table in tables:
            documents.append(table.document_of + len(chunks_of))
            chunks_of += [range(r.start + before, r.stop + before) for r in table.chunks_of]
            before += len(table.texts)
        return cls(
            windows=[window for table in tables for window in table.windows],
            texts=[text for table in tables for text in table.texts],
            document_of=np.concatenate(documents),
            chunks_of=chunks_of,
            titles=[title for table in tables for title in table.titles],
        )

    def covering(self, document: int) -> list[int]:
        """The document's windows, without those at the end of one before."""
        first, *others = self.chunks_of[document]
        texts = self.texts
        return [first, *(c for c in others if not texts[c - 1].endswith(texts[c]))]


def window_characters(offsets: Any, sections: Sequence[Section], chunk_size: int) -> Iterator[Span]:
    """Characters [start, end) of each window of a document, from token offsets [n, 2]."""
    lens, numbers = cut(offsets, [section.start for section in sections], chunk_size)
    bounds = [0, *accumulate(lens)]
    for i, number in enumerate(numbers):
        following = i + 1 if numbers[i + 1 : i + 2] == [number] else i
        yield int(offsets[bounds[i]][0]), int(offsets[bounds[following + 1] - 1][1])


@dataclass(frozen=True)
class Example:
    """One question. ``gold``: windows holding an annotated answer, with its token spans.

    ``document``: the row of the passage that it was asked about. ``query``: encoder tokens.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    query: Ints
    document: int
    gold: dict[int, list[Span]] = field(default_factory=dict)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a .jsonl file, plain or .gz or .xz; ``answers``, where a row has them, as a list.

    Raises:
        UserError: the file is missing, a line is not a JSON object with a ``question``, or its
            ``answers`` are no strings.
    """
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
    if not path.is_file():
        raise UserError(f"{path}: no such file; check its name")
    with openers.get(path.suffix, open)(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                row["question"]
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{path}:{number}: not a JSON object with a question; mend or remove the line"
                ) from error
            if "answers" in row:
                row["answers"] = _answers(row["answers"], f"{path}:{number}")
            yield row


def _answers(given: Any, place: str) -> list[str]:
    try:
        return accepted_answers(given)
    except ValueError as error:
        raise UserError(f"{place}: {error}; mend or remove the line") from error


def read_examples(
    rows: Iterable[dict[str, Any]],
    documents: Sequence[Document],
    table: WindowTable,
    windower: Windower,
) -> list[Example]:
    """Examples of question rows whose ``context`` is a document of the database.

    Rows whose passage the database does not hold are left out. A row without ``answers`` gives an
    example without gold windows: its own passage does not answer it.
    """
    number_of = numbers_by_text(documents)
    examples = []
    for number, row in enumerate(rows):
        document = number_of.get(row.get("context", "").strip())
        if document is None:
            continue
        answers = tuple(row.get("answers") or ())
        examples.append(
            Example(
                id=str(row.get("id", number)),
                question=row["question"],
                answers=answers,
                query=windower.question(row["question"]),
                document=document,
                gold=gold_spans(answers, document, table),
            )
        )
    return examples


def numbers_by_text(documents: Sequence[Document]) -> dict[str, int]:
    """The number of each document, by its text as a question's ``context`` has it, stripped."""
    return {document.text.strip(): number for number, document in enumerate(documents)}


def gold_spans(answers: Sequence[str], document: int, table: WindowTable) -> dict[int, list[Span]]:
    """Where the answers stand in the windows of a document, as decoder token spans."""
    out: dict[int, list[Span]] = {}
    for chunk in table.covering(document):
        if spans := answer_spans(answers, table.windows[chunk], table.texts[chunk]):
            out[chunk] = sorted(spans)
    return out


def answer_spans(answers: Sequence[str], window: Window, text: str) -> set[Span]:
    """Where the answers stand in one window of that text, as decoder token spans."""
    return {
        span
        for answer in answers
        for start in occurrences(answer, text)
        if (span := window.span_of(start, start + len(answer)))
    }


def occurrences(needle: str, text: str) -> Iterator[int]:
    """Characters where ``needle`` begins in ``text`` as whole words."""
    start = text.find(needle) if needle else -1
    while start >= 0:
        end = start + len(needle)
        if not text[start - 1 : start].isalnum() and not text[end : end + 1].isalnum():
            yield start
        start = text.find(needle, start + 1)


def holds_answer(text: str, answers: Sequence[str]) -> bool:
    """Whether one of the answers stands in the text, whatever its case."""
    lowered = text.lower()
    return any(answer.lower() in lowered for answer in answers)


class Sampler:
    """Draws what a question is trained with: its gold window or none, and distractors.

    Distractors are drawn from ``retrieved`` (windows ids per example, best first) where given,
    else from passages of the same title. A distractor never holds an answer's string: whether
    it answers is not known, so it is neither taught nor punished.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        table: WindowTable,
        *,
        num_neighbours: int,
        removed: float,
        retrieved: Sequence[Sequence[int]] | None = None,
        seed: int = 0,
    ) -> None:
        self.examples, self.table = examples, table
        self.num_neighbours, self.removed = num_neighbours, removed
        self.retrieved = retrieved
        self.seed = seed
        self.same_title: dict[str, list[int]] = defaultdict(list)
        for row, chunks in enumerate(table.chunks_of):
            if len(chunks):
                self.same_title[table.titles[chunks[0]]].extend(table.covering(row))

    def draw(self, number: int, epoch: int) -> list[int]:
        """Window ids for example ``number``; a function of (seed, epoch, number) alone."""
        rng = np.random.default_rng((self.seed, epoch, number))
        example = self.examples[number]
        chosen: list[int] = []
        if example.gold and rng.random() >= self.removed:
            chosen.append(int(rng.choice(list(example.gold))))
        elif not example.gold:
            chosen.append(self._own(number, rng))
        wanted = self.num_neighbours - len(chosen)
        chosen += self._distractors(number, wanted, chosen, rng)
        rng.shuffle(chosen)
        return chosen

    def _own(self, number: int, rng: np.random.Generator) -> int:
        """A window of the example's passage: the nearest one, as it will be met, if one was
        found."""
        own = self.table.covering(self.examples[number].document)
        found = self.retrieved[number] if self.retrieved else ()
        return next((c for c in found if c in own), int(rng.choice(own)))

    def _distractors(
        self, number: int, wanted: int, chosen: Sequence[int], rng: np.random.Generator
    ) -> list[int]:
        example = self.examples[number]
        if self.retrieved is not None:
            pool = list(self.retrieved[number])
        else:
            pool = self.same_title[self.table.titles[self.table.chunks_of[example.document][0]]]
            pool = [int(c) for c in rng.permutation(pool)[: 4 * wanted]]
        usable = [
            chunk
            for chunk in pool
            if chunk not in example.gold
            and chunk not in chosen
            and not holds_answer(self.table.texts[chunk], example.answers)
        ]
        if self.retrieved is not None:  # the nearer, the likelier
            order = rng.permutation(min(len(usable), 2 * wanted))
            usable = [usable[i] for i in order]
        return usable[:wanted]
