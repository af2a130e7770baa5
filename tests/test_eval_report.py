"""Reports as files: Markdown cells, plain JSON, and plots that are pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from eval_fakes import prediction

from eval import plots
from eval.metrics import Interval
from eval.report import Report, Table, cell, commit, write_rows
from index.disk import claim
from index.errors import UserError


def test_cells_show_what_was_computed_and_a_dash_for_the_unknown() -> None:
    assert cell(0.91249) == "0.912"
    assert cell(7) == "7"
    assert cell(None) == cell(float("nan")) == "–"
    assert cell(Interval(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"
    assert cell(Interval(0.5, float("nan"), float("nan"))) == "0.500 [–, –]"
    assert cell("a|b\nc") == "a\\|b c"


def test_a_table_is_markdown() -> None:
    text = Table("Name", ["a", "b"], [["x", 1.0], ["y", None]], "How to read it.").markdown()
    assert text == (
        "## Name\n\nHow to read it.\n\n| a | b |\n| --- | --- |\n| x | 1.000 |\n| y | – |\n"
    )


def test_json_has_no_nan_and_keeps_every_figure(tmp_path: Path) -> None:
    figures = {"area": Interval(0.5, 0.4, float("nan")), "by_k": {8: 0.9}}
    report = Report("name", figures, [], ["plot.png"], ["A remark."])
    report.save(tmp_path, {"command": "retro eval name", "index": {"num_chunks": 3, "files": {}}})
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved["area"] == [0.5, 0.4, None]
    assert saved["by_k"] == {"8": 0.9}
    assert saved["origin"]["index"] == {"num_chunks": 3, "files": {}}
    page = (tmp_path / "report.md").read_text()
    assert "- command: `retro eval name`" in page
    assert "- index: num_chunks 3\n" in page
    assert "![plot.png](plot.png)" in page
    assert "A remark." in page


def test_rows_are_on_disk_before_the_next_one_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"

    def asked() -> object:
        yield prediction("a", 0.9, right=True)
        assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == ["a"]
        yield prediction("b", 0.1, right=False)

    assert len(write_rows(file, asked())) == 2  # type: ignore[arg-type]
    assert len(file.read_text().splitlines()) == 2


def test_an_old_report_goes_with_its_predictions_and_not_before(tmp_path: Path) -> None:
    """Removed earlier, a mistyped --index cost the report of the run before."""
    (tmp_path / "report.json").write_text("old")
    claim(tmp_path)
    assert (tmp_path / "report.json").exists()
    write_rows(tmp_path / "rows.jsonl", [])
    assert not (tmp_path / "report.json").exists()


def test_an_output_folder_that_is_a_file_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="give another --out"):
        claim(tmp_path / "file")


def test_the_commit_or_the_version_is_named() -> None:
    name = commit()
    hexadecimal = len(name.split()[0]) == 40 and set(name.split()[0]) <= set("0123456789abcdef")
    assert hexadecimal or name.startswith("retro-abstain ") or name == "unknown"


def test_plots_are_pictures(tmp_path: Path) -> None:
    curves = {"confidence": [[0.5, 0.0], [1.0, 0.5]], "question_only": [[1.0, 0.5]]}
    plots.risk_coverage(tmp_path / "a.png", curves, "title")
    plots.reliability(tmp_path / "b.png", {"em": [[0.1, 0.2, 5], [0.9, 0.8, 5]]}, "title")
    plots.histograms(tmp_path / "c.png", {"present": np.array([0.2, 1.0])}, "title")
    for name in "abc":
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
