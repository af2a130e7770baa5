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


HANDBOOK = """# Handbook of {year}

## Annual leave

In the first two years there are {days} days of it, and from the third year on there are 29.
What is not taken by the end of March is lost.

## Parental leave

Each parent may take 18 weeks. For twins four weeks are added.
"""


def test_sections_and_versions_of_a_handbook_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sentence says under which heading, and in which year's edition, it holds."""
    docs = tmp_path / "docs"
    docs.mkdir()
    for year, days in ((2022, 24), (2024, 26)):
        (docs / f"{year}.md").write_text(HANDBOOK.format(year=year, days=days))
    index, questions = tmp_path / "index", tmp_path / "questions.jsonl"
    assert cli.main(["index", "build", str(docs), "--out", str(index)]) == 0
    asked = [
        "How many weeks of parental leave are added for twins?",
        "How many weeks of annual leave are added for twins?",
        "How many days of annual leave are there in the first two years?",
        "How many days of annual leave were there in the first two years in 2022?",
    ]
    questions.write_text("".join(json.dumps({"question": text}) + "\n" for text in asked))
    capsys.readouterr()
    assert cli.main(["ask", "--index", str(index), "--questions", str(questions), "--json"]) == 0
    twins, no_such, either, of_2022 = map(json.loads, capsys.readouterr().out.splitlines())
    assert "four" in twins["answer"]
    assert twins["evidence"][0]["title"].endswith("› Parental leave")
    assert no_such["answer"] is None
    assert either["reason"] == "conflicting"
    assert {side["answer"] for side in either["sides"]} == {"24", "26"}
    assert of_2022["answer"] == "24"
