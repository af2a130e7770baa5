"""Promises counted on questions that they were not certified with; predictions made by chance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval import promise
from eval.promise import SPLITS, Asked, by_article, by_question, from_all, judge
from retro.certificate import Outcome
from retro.cli import main


def predictions(num: int = 300, num_articles: int = 10) -> list[dict[str, Any]]:
    """Confidence is the probability of being right; with the facts gone nothing is right."""
    rng = np.random.default_rng(3)
    rows = []
    for number in range(num):
        for condition in ("present", "article_removed"):
            sure = float(rng.beta(2, 0.5) if condition == "present" else rng.beta(0.5, 4))
            right = condition == "present" and rng.random() < sure
            rows.append(
                {
                    "id": f"q{number}",
                    "condition": condition,
                    "group": f"a{number % num_articles}",
                    "candidate": "Bern",
                    "confidence": sure,
                    "reason": None,
                    "answers": ["Bern"] if right else ["Oslo"],
                    "f1": float(right),
                }
            )
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked.read(write(tmp_path / "predictions.jsonl", predictions()))


def test_a_promise_of_the_very_questions_is_kept_as_often_as_it_says(asked: Asked) -> None:
    found = judge(asked, 1, from_all, 0.2, 0.1, 300, 0)
    assert found["kept"] >= 0.9
    assert found["proved"] > 0.9
    assert 0.3 < found["coverage"] <= 1
    assert 0 < found["realised"] < 0.2


def test_a_promise_made_without_proof_is_seen_to_be_broken(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promise, "certify", lambda *_: Outcome(0.0, 1, 0))
    for split in SPLITS.values():
        found = judge(asked, 1, split, 0.2, 0.1, 50, 0)
        assert found["kept"] < 0.05
        assert found["coverage"] == 1.0
        assert found["realised"] > 0.4


def test_where_nothing_can_be_proved_nothing_is_answered(asked: Asked) -> None:
    found = judge(asked, 1, by_question, 0.001, 0.05, 20, 0)
    assert (found["kept"], found["proved"], found["coverage"]) == (1.0, 0.0, 0.0)
    assert np.isnan(found["realised"])


def test_the_parts_share_no_question_and_no_article(asked: Asked) -> None:
    rng = np.random.default_rng(0)
    first, second = by_question(asked, rng)
    assert sorted([*first, *second]) == list(range(len(asked)))
    first, second = by_article(asked, rng)
    assert sorted([*first, *second]) == list(range(len(asked)))
    assert not set(asked.article[first]) & set(asked.article[second])


def test_what_is_never_given_and_what_is_half_asked(tmp_path: Path) -> None:
    rows = predictions(4)
    rows[0]["candidate"] = ""
    rows[2]["reason"] = "conflicting"
    asked = Asked.read(write(tmp_path / "p.jsonl", rows[:-1]))
    assert len(asked) == 3
    assert asked.conditions == ("present", "article_removed")
    assert (asked.confidence[0] == -1).tolist() == [True, True, False]
    assert asked.right[1].sum() == 0


def test_the_command_reports_every_risk(tmp_path: Path) -> None:
    file, out = write(tmp_path / "predictions.jsonl", predictions(120)), tmp_path / "out"
    given = ["eval", "certificate", "--predictions", str(file), "--out", str(out)]
    assert main([*given, "--risk", "0.3", "--risk", "0.1", "--splits", "20"]) == 0
    report = json.loads((out / "report.json").read_text())
    assert [row["risk"] for row in report["promises"]] == [0.3, 0.1] * len(SPLITS)
    assert (report["num_questions"], report["num_articles"]) == (120, 10)
    assert "other articles" in (out / "report.md").read_text()


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (None, "no such file"),
        ("{", "not JSON lines"),
        ('{"question": "Who?"}\n', "not what retro eval abstention writes"),
        ("", "not what retro eval abstention writes"),
        ("present", "no questions with and without their facts"),
        ("one article", "questions of one article only"),
    ],
)
def test_other_files_are_refused(
    content: str | None, wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "predictions.jsonl"
    if content == "present":
        write(file, [row for row in predictions(9) if row["condition"] == "present"])
    elif content == "one article":
        write(file, predictions(9, num_articles=1))
    elif content is not None:
        file.write_text(content)
    given = ["eval", "certificate", "--predictions", str(file), "--out", str(tmp_path / "out")]
    assert main(given) == 2
    assert wanted in capsys.readouterr().err


def test_risks_are_shares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["eval", "certificate", "--predictions", "p.jsonl", "--out", str(tmp_path)]
    assert main([*given, "--risk", "5"]) == 2
    assert "give shares between 0 and 1" in capsys.readouterr().err
