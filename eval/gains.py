"""What each kind of signal adds to the confidence beside all others; asks no model.

The head is fitted again without the signals of one source, on the same cases and folds, and its
confidences on articles that it has not seen are compared with those of the whole head. A signal
may separate well alone and add nothing: that is what this tells.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval import metrics
from eval.report import Report, Table, watched
from index.errors import UserError
from retro.signals import MODEL_SIGNALS, SIGNALS
from retro.train_head import fit_cases, read_cases
from retro.uncertainty import NUM_FOLDS, folds_of

Floats = NDArray[np.float64]
Row = Mapping[str, Any]

LABELS = {"present": "facts there", "label": "right"}


def run(files: Sequence[Path], *, seed: int, num_resamples: int) -> Report:
    """The report, from cases that ``retro train signals`` collected.

    Raises:
        UserError: a file is missing or damaged, or the cases are of fewer than five titles.
    """
    rows = read_cases(files)
    titles = [row["title"] for row in rows]
    if len(set(titles)) < NUM_FOLDS:
        raise UserError(
            f"{len(rows)} cases of {len(set(titles))} titles: at least {NUM_FOLDS} titles are "
            "needed; collect more with: retro train signals"
        )
    families = families_of(rows)
    whole = out_of_fold(rows, (), seed)
    labels = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in LABELS}
    figures: dict[str, Any] = {
        "num_cases": len(rows),
        "num_titles": len(set(titles)),
        "whole": {name: metrics.auroc(whole, label) for name, label in labels.items()},
        "without": {},
    }
    for source, names in watched(families.items(), len(families), "kinds of signal"):
        without = out_of_fold(rows, names, seed)
        figures["without"][source] = {
            "signals": sorted(names),
            **{
                name: {
                    "auroc": metrics.auroc(without, label),
                    "gain": list(
                        metrics.bootstrap(
                            _difference(whole, without, label),
                            titles,
                            num_resamples=num_resamples,
                            seed=seed,
                        )
                    ),
                }
                for name, label in labels.items()
            },
        }
    return Report("gains", figures, [_table(figures)], remarks=[_REMARK])


def families_of(rows: Sequence[Row]) -> dict[str, set[str]]:
    """The signals that the cases have, by the source of the idea (``retro.signals``)."""
    found: dict[str, set[str]] = {}
    known = SIGNALS | MODEL_SIGNALS
    for name in rows[0]["signals"]:
        found.setdefault(known[name].source, set()).add(name)
    return found


def out_of_fold(rows: Sequence[Row], without: Collection[str], seed: int) -> Floats:
    """Confidence [n] of each case by a head that has not seen its title nor the signals
    ``without``."""
    folds = folds_of([row["title"] for row in rows], seed)
    kept = [
        {**row, "signals": {n: v for n, v in row["signals"].items() if n not in without}}
        for row in rows
    ]
    confidence = np.empty(len(rows))
    for held in range(NUM_FOLDS):
        head = fit_cases([kept[i] for i in np.flatnonzero(folds != held)], seed)
        unseen = np.flatnonzero(folds == held)
        confidence[unseen] = head.score_rows([kept[i]["signals"] for i in unseen])
    return confidence


def _difference(
    whole: Floats, without: Floats, label: Floats
) -> Callable[[NDArray[np.int64]], float]:
    def gain(picked: NDArray[np.int64]) -> float:
        some = label[picked]
        return metrics.auroc(whole[picked], some) - metrics.auroc(without[picked], some)

    return gain


_REMARK = (
    "AUROC of confidence on titles that the head has not seen. *Gain*: that of the whole head "
    "minus that of a head fitted without these signals; brackets: 95 % bootstrap interval over "
    "titles, both heads on the same draws."
)


def _table(figures: Mapping[str, Any]) -> Table:
    rows: list[list[Any]] = [["all signals", "–"]]
    for name in LABELS:
        rows[0] += [figures["whole"][name], None]
    for source, found in figures["without"].items():
        row: list[Any] = [f"without: {source}", ", ".join(found["signals"])]
        for name in LABELS:
            row += [found[name]["auroc"], found[name]["gain"]]
        rows.append(row)
    columns = ["head", "signals"]
    for label in LABELS.values():
        columns += [f"AUROC, {label}", "gain"]
    return Table("What each kind of signal adds", columns, rows)
