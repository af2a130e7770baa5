"""The product as it is shipped: real weights, the default checkpoint, documents, questions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from retro import cli

CORPUS = Path(__file__).parent.parent / "demo" / "corpus"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The articles on the solar system and on animals, indexed by the command."""
    folder = tmp_path_factory.mktemp("real")
    for topic in ("solar-system", "animals"):
        shutil.copytree(CORPUS / topic, folder / "docs" / topic)
    assert cli.main(["index", "build", str(folder / "docs"), "--out", str(folder / "index")]) == 0
    return folder / "index"


def test_a_file_of_questions_is_answered_or_declined(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = tmp_path / "questions.jsonl"
    rows = [
        {"id": "held", "question": "Who discovered Titan, the moon of Saturn?"},
        {"id": "far", "question": "How do I reset the password of my router?"},
        {"question": ""},
    ]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["ask", "--index", str(index), "--questions", str(questions), "--json"]
    assert cli.main(arguments) == 0
    held, far, broken = map(json.loads, capsys.readouterr().out.splitlines())
    assert "Huygens" in held["answer"]
    best = held["evidence"][0]
    window = best["text"][best["start"] - best["window_start"] : best["end"] - best["window_start"]]
    assert window == held["answer"]
    assert (far["id"], far["answer"], far["abstained"]) == ("far", None, True)
    assert far["reason"] == "out_of_scope"
    assert far["confidence"] < held["confidence"]
    assert "error" in broken


def test_the_same_question_has_the_same_answer_to_the_last_digit(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = []
    for _ in range(2):
        question = "How many hearts does an octopus have?"
        assert cli.main(["ask", "--index", str(index), question, "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
        del answers[-1]["timing_ms"]
    assert answers[0] == answers[1]
