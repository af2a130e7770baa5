"""Reading question sets, and finding what they were asked about."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import pytest

from eval.questions import GoldDocuments, Question, read_questions, sample, with_passage
from index.errors import UserError
from index.sources import Document

ROW = {"id": "a", "question": " Why? ", "answers": ["because", " "], "title": "T", "context": "C"}


class Store:
    """Documents in memory."""

    def __init__(self, *documents: Document) -> None:
        self._documents = documents

    def present(self) -> range:
        return range(len(self._documents))

    def document(self, row: int) -> Document:
        return self._documents[row]


def gold(*documents: tuple[str, str, str], asked: tuple[Question, ...] = ()) -> GoldDocuments:
    store = Store(*(Document(*d, source="test") for d in documents))
    return GoldDocuments(store, asked)  # type: ignore[arg-type]


def test_a_row_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text(json.dumps(ROW) + "\n\n" + json.dumps({"question": "b", "answers": []}) + "\n")
    first, second = read_questions(file)
    assert first == Question("a", "Why?", ("because",), "C", "T")
    assert first.answerable
    assert second.id == "3"
    assert not second.answerable


@pytest.mark.parametrize(("suffix", "opener"), [(".gz", gzip.open), (".xz", lzma.open)])
def test_compressed_files_are_read(tmp_path: Path, suffix: str, opener: object) -> None:
    file = tmp_path / f"q.jsonl{suffix}"
    assert callable(opener)
    with opener(file, "wt", encoding="utf-8") as stream:
        stream.write(json.dumps({"question": "Wo liegt Köln?", "answer": "Rhein"}))
    assert read_questions(file)[0] == Question("1", "Wo liegt Köln?", ("Rhein",))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"answers": []}', "no 'question'"),
        ('{"question": "  ", "answers": []}', "no 'question'"),
        ('{"question": 7, "answers": []}', "'question' is 7"),
        ('{"question": "q"}', "no 'answers'"),
        ('{"question": "q", "answers": [1]}', "list of strings"),
        ('{"question": "q", "answers": {"text": []}}', "list of strings"),
        ('{"question": "q", "answers": [], "title": 1}', "'title' is 1"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text(json.dumps(ROW) + "\n" + line + "\n")
    with pytest.raises(UserError, match=message) as caught:
        read_questions(file)
    assert str(caught.value).startswith(f"{file}:2: ")
    assert "\n" not in str(caught.value)


def test_unreadable_files_are_the_users_to_mend(tmp_path: Path) -> None:
    empty, binary, cut = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl.gz"))
    empty.write_text("\n")
    binary.write_bytes(b'{"question": "\xff"}')
    cut.write_bytes(gzip.compress(json.dumps(ROW).encode() * 99)[:-9])
    for file, message in [
        (empty, "no questions"),
        (binary, "not UTF-8"),
        (cut, "unreadable"),
        (tmp_path / "none", "no such file"),
        (tmp_path, "unreadable"),
    ]:
        with pytest.raises(UserError, match=message):
            read_questions(file)


def test_sample_draws_by_seed_and_keeps_the_order() -> None:
    questions = [Question(str(n), "?", ()) for n in range(50)]
    drawn = sample(questions, 10, seed=1)
    assert len(set(drawn)) == 10
    assert drawn == sorted(drawn, key=lambda q: int(q.id)) == sample(questions, 10, seed=1)
    assert drawn != sample(questions, 10, seed=2)
    assert sample(questions, None) == sample(questions, 99) == questions


def test_passages_are_found_by_text_and_copies_count() -> None:
    found = gold(("1", "T", "some  text\n"), ("2", "U", "some text"), ("3", "T", "other"))
    question = Question("q", "?", ("a",), context="some text", title="T")
    assert found.passage(question) == {"1", "2"}
    assert found.passage(Question("q", "?", (), context="some Text")) == set()
    assert found.passage(Question("q", "?", (), title="T")) == set()


def test_an_article_is_every_document_with_a_title_of_the_passage() -> None:
    found = gold(("1", "New York", "p"), ("2", "New_York", "x"), ("3", "", "y"), ("4", "", "z"))
    assert found.article(Question("q", "?", (), context="p")) == {"1", "2"}
    assert found.article(Question("q", "?", (), title="new york")) == {"1", "2"}
    # Documents without a title are not one article.
    assert found.article(Question("q", "?", (), context="y")) == {"3"}


def test_questions_of_one_article_share_a_group() -> None:
    found = gold(("1", "New York", "p"))
    by_title = Question("a", "?", (), title="New_York")
    assert found.group(by_title) == found.group(Question("b", "?", (), context="p"))
    assert found.group(Question("c", "?", ())) == "c"


def test_an_index_without_the_passages_is_the_users_mistake() -> None:
    questions = [Question("q", "?", ("a",), context="p"), Question("r", "?", ("a",), context="n")]
    assert with_passage(questions, gold(("1", "", "p"))) == questions[:1]
    with pytest.raises(UserError, match="none of the 2 questions' passages"):
        with_passage(questions, gold(("1", "", "else")))


def test_what_holds_the_answers_sentence_word_for_word_is_a_copy() -> None:
    passage = "Rocks fold. Maclure mapped the rocks in 1809.  He was a Scot."
    asked = Question("q", "When did Maclure map the rocks?", ("1809",), passage, "Geology")
    known = gold(
        ("p", "Geology", passage),
        ("long", "Maps", "Much else.\nMaclure mapped the  rocks in 1809. And more."),
        ("other", "Scots", "He was a Scot. Maclure mapped the rocks in 1810."),
        asked=(asked,),
    )
    assert known.copies(asked) == {"p", "long"}
    assert known.passage(asked) == known.article(asked) == {"p"}
    assert known.copies(Question("r", "Who was a Scot?", ("He",), passage)) == set()
