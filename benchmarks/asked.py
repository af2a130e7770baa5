"""Counts of right and wrong answers of an index that is built for it; shared by benchmarks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path

from retro import cli
from retro.answer import Answerer
from retro.conflict import agree


def counts(documents: Path, asked: Mapping[str, Sequence[str]], out: Path) -> dict[str, int]:
    """Indexes ``documents`` in ``out`` and asks: ``asked`` holds the answers that are right, none
    where the documents do not say it."""
    with redirect_stdout(sys.stderr):
        built = cli.main(["index", "build", str(documents), "--out", str(out)])
    if built != cli.DONE:
        raise SystemExit(f"{documents}: the index was not built")
    answers = [a.answer for a in Answerer.open(out).answer_batch(list(asked))]
    given = [(a, right) for a, right in zip(answers, asked.values(), strict=True) if a is not None]
    right = sum(any(agree(answer, one) for one in accepted) for answer, accepted in given)
    absent = sum(not accepted for accepted in asked.values())
    without = sum(not accepted for _, accepted in given)
    return {
        "answerable": len(asked) - absent,
        "right": right,
        "wrong": len(given) - without - right,
        "absent": absent,
        "answered though absent": without,
    }
