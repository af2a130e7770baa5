"""Questions without passages: the passage that holds an answer's words is found, or none is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny

from retro.cli import main


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_index(tmp_path_factory.mktemp("distant") / "index", chunk_size=32)


def distant(index: Path, rows: list[dict[str, Any]], folder: Path, *more: str) -> int:
    data, out = folder / "asked.jsonl", folder / "new" / "found.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ["--index", str(index), "--data", str(data), "--out", str(out)]
    return main(["train", "distant", *given, *more])


def test_the_passage_that_holds_an_answer_is_found(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"id": 1, "question": "Where was Marie Curie born?", "answers": ["Kraków", "Warsaw"]},
        {"id": 2, "question": "Where was the piano built?", "answers": "Florence"},
        {"id": 3, "question": "Who plays the violin with a bow?", "answers": ["Menuhin"]},
        {"id": 4, "question": "Is copper a red metal?", "answers": ["red metal"]},
        {"id": 5, "question": "How many moons has Mars?", "answers": ["2"]},
        {"id": 6, "question": "Which metal conducts electricity?", "answers": ["Copp"]},
        {"id": 7, "question": "What is told of nothing?", "answers": []},
    ]
    assert distant(index, rows, tmp_path) == 0
    assert "2 of 7 questions" in capsys.readouterr().out
    found = [json.loads(line) for line in (tmp_path / "new/found.jsonl").read_text().splitlines()]
    assert [(row["id"], row["answers"]) for row in found] == [(1, ["Warsaw"]), (2, ["Florence"])]
    assert [row["context"] for row in found] == [tiny.DOCUMENTS["Curie"], tiny.DOCUMENTS["Piano"]]


def test_only_the_best_passages_are_looked_at(index: Path, tmp_path: Path) -> None:
    """The Danube's passage alone holds the answer, and is not the nearest to this question."""
    rows = [{"question": "Which planet is the hottest planet, Venus?", "answers": ["Germany"]}]
    assert distant(index, rows, tmp_path, "--depth", "1") == 2
    assert distant(index, rows, tmp_path, "--depth", "12") == 0


def test_passages_too_long_or_about_something_else_are_left_out(
    index: Path, tmp_path: Path
) -> None:
    rows = [{"question": "Where was Marie Curie born?", "answers": ["Warsaw"]}]
    length = len(tiny.DOCUMENTS["Curie"])
    assert distant(index, rows, tmp_path, "--longest", str(length), "--words", "1") == 0
    assert distant(index, rows, tmp_path, "--longest", str(length - 1)) == 2
    other = [{"question": "Where did Marie Curie learn to swim?", "answers": ["Warsaw"]}]
    assert distant(index, other, tmp_path, "--words", ".5") == 0
    assert distant(index, other, tmp_path, "--words", ".8") == 2
    namesake = [{"question": "Where was Marie Dupont Curie born?", "answers": ["Warsaw"]}]
    assert distant(index, namesake, tmp_path) == 0
    assert distant(index, namesake, tmp_path, "--words", ".5") == 2


def test_nothing_found_is_told_and_nothing_written(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"question": "Who plays the violin?", "answers": ["Menuhin"]}]
    assert distant(index, rows, tmp_path) == 2
    assert "none of 1 questions has an answer in its 4 best passages" in capsys.readouterr().err
    assert not (tmp_path / "new/found.jsonl").exists()


def test_what_is_found_can_be_prepared_for_training(index: Path, tmp_path: Path) -> None:
    """The passage is a document of the index, word for word, as ``read_examples`` wants it."""
    from index.retriever import Retriever
    from retro.distant import Wanted, answered

    retriever = Retriever.open(index)
    rows = [{"question": "Where does the Danube rise?", "answers": ["Germany"]}]
    (row,) = answered(retriever, rows, Wanted())
    assert row["context"] in {retriever.store.document(d).text for d in retriever.store.present()}
