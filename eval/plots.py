"""Draws the figures of a report as PNG files; knows numbers and labels, not their origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


def risk_coverage(path: Path, curves: Mapping[str, Sequence[Sequence[float]]], title: str) -> None:
    """Points ``[coverage, selective risk]``, one line a score, the first one in bold."""
    figure, axes = _axes(title, "coverage (answered / all)", "selective risk (wrong / answered)")
    for number, (name, points) in enumerate(curves.items()):
        coverage, risk = [p[0] for p in points], [p[1] for p in points]
        look: Any = {"linewidth": 2.5} if number == 0 else {"linewidth": 1.2, "linestyle": "--"}
        dot = "." if len(points) == 1 else None  # a constant score has one point and no line
        axes.plot(coverage, risk, marker=dot, label=name.replace("_", " "), **look)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    _save(figure, path)


def reliability(path: Path, bins: Mapping[str, Sequence[Sequence[float]]], title: str) -> None:
    """Share right over mean confidence, one line a meaning of right.

    Bins ``[confidence, right, rows]`` of equal mass.
    """
    figure, axes = _axes(title, "confidence", "share right")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, label="perfectly calibrated")
    for name, points in bins.items():
        axes.plot([p[0] for p in points], [p[1] for p in points], "o-", label=f"right: {name}")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    _save(figure, path)


def histograms(path: Path, confidences: Mapping[str, NDArray[Any]], title: str) -> None:
    """How confidence is spread under each condition, as shares of the condition's rows."""
    figure, axes = _axes(title, "confidence", "share of the questions")
    edges = [i / 20 for i in range(21)]
    for name, values in confidences.items():
        weights = [1 / len(values)] * len(values)
        axes.hist(
            values,
            edges,
            weights=weights,
            histtype="step",
            linewidth=2,
            label=name.replace("_", " "),
        )
    axes.legend()
    _save(figure, path)


def _axes(title: str, x: str, y: str) -> tuple[Any, Any]:
    """A figure without pyplot: no global state, no display needed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=120)
