"""What a kind of signal adds beside the others: known by how the cases were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.gains import families_of, out_of_fold
from retro.cli import main
from retro.signals import MODEL_SIGNALS, SIGNALS


def cases(num: int = 240, num_titles: int = 12) -> list[dict[str, Any]]:
    """``match_best`` tells whether the facts are there, ``span_probability`` whether they were
    read rightly, ``dense_spread`` nothing."""
    rng = np.random.default_rng(5)
    rows = []
    for number in range(num):
        present = bool(rng.random() < 0.5)
        right = present and bool(rng.random() < 0.6)
        signals = {
            "match_best": float(rng.normal() + 3 * present),
            "span_probability": float(1 / (1 + np.exp(-rng.normal() - 2 * right))),
            "dense_spread": float(rng.normal()),
        }
        told = {"title": f"t{number % num_titles}", "answers": ["Bern"], "present": present}
        candidate = "Bern" if right else "Oslo"
        rows.append({**told, "candidate": candidate, "label": right, "signals": signals})
    return rows


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "signals.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in cases()))
    return path


def test_a_kind_that_tells_gains_and_one_that_does_not_gains_nothing(
    file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert main(["eval", "gains", "--signals", str(file), "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    by_signal = {found["signals"][0]: found for found in report["without"].values()}
    assert by_signal["match_best"]["present"]["gain"][1] > 0.1
    assert by_signal["span_probability"]["label"]["gain"][1] > 0.01
    value, low, high = by_signal["dense_spread"]["present"]["gain"]
    assert low < 0.02
    assert high > -0.02
    assert abs(value) < 0.02
    assert report["num_cases"] == 240
    assert "without: " in (out / "report.md").read_text()


def test_without_a_signal_means_that_its_values_change_nothing() -> None:
    rows = cases(120)
    other = [{**r, "signals": {**r["signals"], "match_best": 0.5}} for r in rows]
    first, second = (out_of_fold(some, {"match_best"}, 0) for some in (rows, other))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, out_of_fold(rows, (), 0))


def test_the_kinds_part_the_signals() -> None:
    signals = dict.fromkeys(SIGNALS | MODEL_SIGNALS, 0.0)
    found = families_of([{"signals": signals}])
    assert sorted(name for names in found.values() for name in names) == sorted(signals)
    assert {"mc_bald", "mc_flip_rate"} <= next(n for n in found.values() if "mc_entropy" in n)


def test_cases_of_few_titles_are_not_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in cases(40, num_titles=2)))
    arguments = ["eval", "gains", "--signals", str(path), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "40 cases of 2 titles: at least 5 titles" in capsys.readouterr().err
    assert main([*arguments[:3], str(tmp_path / "absent"), *arguments[4:]]) == 2
    assert "no such file" in capsys.readouterr().err
