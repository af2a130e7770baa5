"""Reads question sets and finds the documents they were asked about; knows no model."""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from index.errors import UserError
from retro.overlap import sentences_of
from retro.text import accepted_answers, contains_answer

if TYPE_CHECKING:
    from index.store import TokenStore

KINDS = ("answerable", "near_miss", "far")
"""What a demo question is: in the database; about the same subject but not in it; far from it."""


@dataclass(frozen=True)
class Question:
    """One question. No ``answers`` means that the right thing to say is nothing.

    ``context`` is the passage it was asked about, ``title`` that passage's article and ``kind`` one
    of ``KINDS``, each where the file tells.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    context: str | None = None
    title: str | None = None
    kind: str | None = None

    @property
    def answerable(self) -> bool:
        return bool(self.answers)


def read_questions(path: Path) -> list[Question]:
    """The questions of a ``.jsonl`` file (also ``.gz``, ``.xz``), in order; blank lines skipped.

    A row needs ``question`` and ``answers`` (strings; an empty list: unanswerable; one string and
    the name ``answer`` are taken too) and may have ``id``, ``context``, ``title`` and ``kind``.

    Raises:
        UserError: the file or a row of it cannot be read, with the line's number.
    """
    questions = list(_read_rows(path))
    if not questions:
        raise UserError(f"{path}: no questions in it; give one JSON object a line")
    return questions


def sample(questions: Sequence[Question], limit: int | None, seed: int = 0) -> list[Question]:
    """``limit`` questions drawn without replacement, in the order of the file; None: all."""
    if limit is None or limit >= len(questions):
        return list(questions)
    import numpy as np

    rows = np.random.default_rng(seed).choice(len(questions), size=limit, replace=False)
    return [questions[row] for row in sorted(rows)]


class GoldDocuments:
    """Which documents of an index a question was asked about; read from the texts, not from ids.

    A passage is found by its exact text (spaces aside), so an index built from any file that holds
    the passages will do. Copies of one text under several ids are all gold: leaving one in would
    not take the passage away. ``questions``: those whose ``copies`` will be asked for.
    """

    def __init__(self, store: TokenStore, questions: Sequence[Question] = ()) -> None:
        self._copies: dict[bytes, set[str]] = {
            key: set() for question in questions for key in _answering(question)
        }
        self._by_text: dict[bytes, set[str]] = defaultdict(set)
        self._by_title: dict[str, set[str]] = defaultdict(set)
        self._title_of: dict[str, str] = {}
        for row in store.present():
            document = store.document(row)
            self._by_text[_text_key(document.text)].add(document.id)
            self._by_title[_title_key(document.title)].add(document.id)
            self._title_of[document.id] = document.title
            for sentence in sentences_of(document.text) if self._copies else ():
                if (key := _text_key(sentence)) in self._copies:
                    self._copies[key].add(document.id)

    def passage(self, question: Question) -> frozenset[str]:
        """Ids of the documents whose text is the question's passage; empty if none is."""
        if question.context is None:
            return frozenset()
        return frozenset(self._by_text.get(_text_key(question.context), ()))

    def article(self, question: Question) -> frozenset[str]:
        """Ids of the question's passage and of every document with its title."""
        passage = self.passage(question)
        titles = {_title_key(self._title_of[doc_id]) for doc_id in passage}
        titles |= {_title_key(question.title or "")}
        same_title = (self._by_title.get(title, set()) for title in titles if title)
        return passage.union(*same_title)

    def copies(self, question: Question) -> frozenset[str]:
        """Ids of all documents that hold a sentence of the question's passage with an accepted
        answer word for word: a long article, say, of which the passage is a paragraph."""
        keys = _answering(question)
        return frozenset().union(*(self._copies.get(key, set()) for key in keys))

    def group(self, question: Question) -> str:
        """The article of a question, in one spelling: questions of one article are alike."""
        titles = (self._title_of[doc_id] for doc_id in sorted(self.passage(question)))
        return _title_key(question.title or next(titles, "")) or question.id


def with_passage(questions: Sequence[Question], gold: GoldDocuments) -> list[Question]:
    """The questions whose passage is in the index.

    Raises:
        UserError: none is.
    """
    found = [question for question in questions if gold.passage(question)]
    if not found:
        raise UserError(
            f"none of the {len(questions)} questions' passages is a document of the index; "
            "build it from the passages ('context'), each one document, or use: retro eval open"
        )
    return found


def _answering(question: Question) -> set[bytes]:
    """The sentences of its passage that hold an accepted answer, spaces aside."""
    sentences = sentences_of(question.context or "")
    return {_text_key(s) for s in sentences if contains_answer(s, question.answers)}


def _text_key(text: str) -> bytes:
    return blake2b(" ".join(text.split()).encode(), digest_size=16).digest()


def _title_key(title: str) -> str:
    return " ".join(title.replace("_", " ").casefold().split())


def _read_rows(path: Path) -> Iterator[Question]:
    number = 0
    try:
        with _open(path) as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield _question(line, f"{path}:{number}", str(number))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check --data") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text after line {number}; save it as UTF-8") from None
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise UserError(f"{path}: unreadable after line {number} ({error}); get it anew") from None


def _open(path: Path) -> IO[str]:
    opener: Any = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    stream: IO[str] = opener(path, "rt", encoding="utf-8-sig")
    return stream


def _question(line: str, place: str, default_id: str) -> Question:
    try:
        row = json.loads(line)
    except ValueError:
        raise UserError(f"{place}: not JSON; write one JSON object a line") from None
    if not isinstance(row, dict):
        raise UserError(f"{place}: not a JSON object; write {{'question': …, 'answers': […]}}")
    question = _text(row, "question", place)
    if not question or not question.strip():
        raise UserError(f"{place}: no 'question'; give it as a non-empty string")
    identity = row.get("id")
    return Question(
        id=default_id if identity is None else str(identity),
        question=question.strip(),
        answers=_answers(row, place),
        context=_text(row, "context", place),
        title=_text(row, "title", place),
        kind=_text(row, "kind", place),
    )


def _text(row: dict[str, Any], name: str, place: str) -> str | None:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise UserError(f"{place}: '{name}' is {json.dumps(value)[:40]}; it must be a string")
    return value


def _answers(row: dict[str, Any], place: str) -> tuple[str, ...]:
    if "answers" not in row and "answer" not in row:
        raise UserError(f"{place}: no 'answers'; give a list of strings ([] if unanswerable)")
    try:
        answers = accepted_answers(row.get("answers", row.get("answer")))
    except ValueError as error:
        raise UserError(f"{place}: {error}") from None
    return tuple(a for a in answers if a.strip())
