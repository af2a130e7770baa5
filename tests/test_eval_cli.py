"""The commands end to end: a real index with keys by hashing, an answerer that looks things up."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from eval_fakes import LookUp, build_tiny_index, squad_rows, write_jsonl

from retro.cli import main


class Answerer(LookUp):
    """Opens like the real one."""

    @classmethod
    def open(cls, index: Path, checkpoint: str | None = None, *, threshold: float | None) -> LookUp:
        from index.keys import HashingKeyEncoder
        from index.retriever import Retriever

        retriever = Retriever.open(index, HashingKeyEncoder())
        return cls(retriever, 0.5 if threshold is None else threshold)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_index(tmp_path_factory.mktemp("index"))


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("retro.answer")
    module.Answerer = Answerer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "retro.answer", module)


def evaluate(name: str, index: Path, rows: list[dict[str, Any]], out: Path, *more: str) -> Any:
    data = write_jsonl(out.parent / "questions.jsonl", rows)
    arguments = ["eval", name, "--index", str(index), "--data", str(data), "--out", str(out)]
    assert main([*arguments, *more]) == 0
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


def test_abstention_reports_what_the_look_up_does(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is right and sure exactly when retrieval brings the passage: every figure is known."""
    out = tmp_path / "out"
    lacking = squad_rows()[0] | {"id": "u", "question": "How deep is the Nile?", "answers": []}
    elsewhere = lacking | {"id": "x", "context": "No such passage."}
    asked = [*squad_rows(), lacking, elsewhere]
    report = evaluate("abstention", index, asked, out, "--seed", "3", "--resamples", "20")
    for absent in ("article_removed", "passage_removed", "unanswerable"):
        assert report["separation"][absent]["confidence"][0] == 1.0
        assert report["conditions"][absent]["coverage"] == 0.0
    assert report["conditions"]["present"]["em"] == 1.0
    assert report["conditions"]["present"]["crag_em"] == 1.0
    assert report["num_without_passage"] == 1
    mixed = report["selection"]["article_removed"]["em"]
    assert mixed["scores"]["confidence"]["coverage_at_5%_risk"] == 0.5
    assert mixed["intervals"]["ece"][0] == pytest.approx(0.15)
    assert mixed["intervals"]["brier"][0] == pytest.approx((0.1**2 + 0.2**2) / 2)
    assert report["separation"]["passage_removed"]["signals"]["noise"]["auroc"] == 0.5
    assert report["timing_ms"] == {"reading": 4.0, "retrieval": 2.0}
    assert report["origin"]["seed"] == 3
    assert report["origin"]["index"]["num_documents"] == 6
    page = (out / "report.md").read_text(encoding="utf-8")
    assert page in capsys.readouterr().out
    assert "| confidence | 1.000 [1.000, 1.000] |" in page
    said = (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(said) == 3 * 6 + 1
    pictures = {file.name for file in out.glob("*.png")}
    assert "confidence.png" in pictures
    assert {f"risk_coverage_{n}.png" for n in ("present", "article_removed")} <= pictures
    assert all(f"![{name}]({name})" in page for name in pictures)


def test_reading_gives_the_passage_whatever_retrieval_would_bring(
    index: Path, tmp_path: Path
) -> None:
    report = evaluate("reading", index, squad_rows(), tmp_path / "out")
    assert report["forced"]["em"][0] == 1.0
    assert report["with_abstention"]["f1"] == 1.0
    said = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    ids = [json.loads(line)["evidence"][0]["doc_id"] for line in said]
    assert ids == [f"d{number}" for number in range(6)]


def test_open_retrieves_and_counts_recall(index: Path, tmp_path: Path) -> None:
    report = evaluate("open", index, squad_rows(), tmp_path / "out", "-k", "6")
    assert report["recall"]["passage"]["6"] == 1.0
    assert report["recall"]["num_with_passage"] == 6
    assert report["recall"]["passage"]["1"] <= report["recall"]["passage"]["4"]
    assert report["forced"]["em"][0] == 1.0
    assert report["confidence"]["em"]["share_right"] == 1.0
    without = [{key: row[key] for key in ("question", "answers")} for row in squad_rows()]
    report = evaluate("open", index, without, tmp_path / "out", "-k", "6", "--limit", "4")
    assert report["num"] == 4
    assert report["recall"]["passage"] == {}
    assert report["recall"]["answer"]["6"] == 1.0


def test_demo_lists_its_failures(index: Path, tmp_path: Path) -> None:
    known = [row | {"kind": "answerable"} for row in squad_rows()]
    far = {"id": "f", "question": "Who won the cup?", "answers": [], "kind": "far"}
    report = evaluate("demo", index, [*known, far], tmp_path / "out")
    assert report["kinds"]["answerable"] == {"num": 6, "num_right": 6, "share": 1.0}
    assert report["kinds"]["far"]["share"] == 1.0
    assert report["failures"] == []
    report = evaluate("demo", index, [*known, far], tmp_path / "out", "--threshold", "0.1")
    assert [failure["id"] for failure in report["failures"]] == ["f"]


def test_reasons_counts_what_every_state_ends_in(index: Path, tmp_path: Path) -> None:
    report = evaluate("reasons", index, squad_rows(), tmp_path / "out", "-k", "6")
    assert report["matrix"]["present"]["answered"] == 6
    assert report["wanted"]["article_removed"] == 1.0
    assert report["origin"]["k"] == 6


def test_invented_needs_names_to_learn_from(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_jsonl(tmp_path / "q.jsonl", squad_rows())
    arguments = ["--index", str(index), "--data", str(data), "--out", str(tmp_path / "out")]
    assert main(["eval", "invented", *arguments, "--selfaware", str(data)]) == 2
    assert "fewer than 20 names" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["abstention", "reading"])
def test_an_index_of_other_texts_is_one_line_and_exit_code_2(
    name: str, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_jsonl(tmp_path / "q.jsonl", [squad_rows()[0] | {"context": "Another text."}])
    arguments = ["--index", str(index), "--data", str(data), "--out", str(tmp_path / "out")]
    assert main(["eval", name, *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "none of the 1 questions' passages" in error


def test_a_missing_question_file_is_found_before_the_model_is_loaded(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--index", str(index), "--data", str(tmp_path / "none"), "--out", str(tmp_path)]
    sys.modules.pop("retro.answer")
    assert main(["eval", "open", *arguments]) == 2
    assert "no such file" in capsys.readouterr().err


def test_an_unknown_part_of_the_ablations_is_one_line(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_jsonl(tmp_path / "q.jsonl", squad_rows())
    arguments = ["--index", str(index), "--data", str(data), "--out", str(tmp_path / "out")]
    assert main(["eval", "ablations", *arguments, "--part", "read", "--part", "colour"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("retro: --part colour: choose of neighbours, read, written by, trained")
    assert "\n" not in error
