"""Counts of right and wrong answers of an index that is built for it; shared by benchmarks."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from retro import cli
from retro.answer import Answerer
from retro.conflict import agree

Counts = dict[str, int]
"""How many were answered rightly, wrongly, and though there is no answer."""


def questions(file: Path) -> list[dict[str, Any]]:
    """The rows of a file of questions."""
    with file.open() as lines:
        return [json.loads(line) for line in lines]


def print_forms(told: str, forms: Iterable[str], measure: Callable[[str, Path], Counts]) -> None:
    """Prints a JSON line for each of the forms that the command line names, or for all: what
    ``measure`` counts of it in an empty folder. ``told``: what ``--help`` says."""
    parser = argparse.ArgumentParser(description=told)
    parser.add_argument("--form", choices=list(forms), action="append", help="default: all")
    for form in parser.parse_args().form or forms:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps({"form": form} | measure(form, Path(folder))), flush=True)


def print_pdf(page: Path) -> None:
    """Puts a PDF in the place of a page of HTML, of the same name without the last ending."""
    options = "--headless --no-sandbox --disable-gpu --no-pdf-header-footer".split()
    command = ["chromium", *options, f"--print-to-pdf={page.with_suffix('')}", str(page)]
    subprocess.run(command, check=True, capture_output=True)
    page.unlink()


def counts(documents: Path, asked: Mapping[str, Sequence[str]], out: Path) -> Counts:
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
