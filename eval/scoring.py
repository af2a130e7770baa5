"""Is an answer the right one: SQuAD's scores, no-answer included; knows text and no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from retro import text

RIGHT_F1 = text.RIGHT_F1
"""F1 from which an answer counts as right under the lenient label."""


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1.0 if the normalised prediction equals a normalised answer, else 0.0.

    Rajpurkar et al. 2016, the official script. The strict label: it never calls a wrong date right,
    but counts "in 1991" for "1991" as wrong. No answers means that the right thing to say is
    nothing (SQuAD 2, Rajpurkar et al. 2018): then only an empty prediction matches.
    """
    return float(text.exact_match(prediction, answers or [""]))


def f1(prediction: str, answers: Sequence[str]) -> float:
    """Token F1 (0..1) with the closest answer; the official script, no answers as above.

    Forgives span borders that annotators themselves disagree on (humans: EM 77, F1 87), at the
    price of credit for "5 May 1990" against "5 May 1991". Read it beside exact match.
    """
    return text.f1(prediction, answers or [""])


def share(outcomes: Iterable[bool]) -> float:
    """How many of the outcomes are true, 0..1; NaN where there is none."""
    known = list(outcomes)
    return sum(known) / len(known) if known else float("nan")
