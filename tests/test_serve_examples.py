"""Which example questions the page offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.errors import UserError
from serve import examples


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_first_questions_of_each_kind_stand_under_its_heading(tmp_path: Path) -> None:
    rows = [
        f'{{"question": "{k} {i}", "kind": "{k}"}}'
        for i in (100, 10, 1)
        for k in ("far", "answerable")
    ]
    found = examples.read(write(tmp_path / "q.jsonl", *rows))
    assert found == {
        "In the database": ["answerable 100", "answerable 10"],
        "Far outside": ["far 100", "far 10"],
    }


@pytest.mark.parametrize("line", ["{", '{"question": "x"}', "[1]", '"x"'])
def test_a_broken_row_is_named(tmp_path: Path, line: str) -> None:
    good = '{"question": "x", "kind": "far"}'
    with pytest.raises(UserError, match=r"q\.jsonl:2: "):
        examples.read(write(tmp_path / "q.jsonl", good, line))


def test_a_missing_file_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--examples"):
        examples.read(tmp_path / "none.jsonl")


def test_only_an_index_of_the_demo_corpus_gets_its_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "_DEMO", tmp_path)
    inside = str(tmp_path / "corpus" / "animals" / "octopus.md")
    assert examples.of_demo(inside) is None
    questions = write(tmp_path / "questions.jsonl", "")
    assert examples.of_demo(inside) == questions
    assert examples.of_demo("elsewhere/corpus/octopus.md") is None
