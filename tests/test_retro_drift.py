"""The shift alarm: silent while nothing changes, quick when something does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from retro.drift import ALPHA, SIGNALS, Gambler, Monitor, watched


def values(rng: np.random.Generator, num: int, shift: float = 0.0) -> list[dict[str, float]]:
    """Signals of questions; not normal, and correlated, as real ones are."""
    common = rng.normal(size=num)
    columns = [np.exp(0.5 * (common + rng.normal(size=num))) + shift for _ in SIGNALS]
    return [dict(zip(SIGNALS, map(float, row), strict=True)) for row in zip(*columns, strict=True)]


def monitor(rng: np.random.Generator, num: int = 100) -> Monitor:
    rows = values(rng, num)
    return Monitor({name: sorted(row[name] for row in rows) for name in SIGNALS})


def first_alarm(seen: Monitor, rows: list[dict[str, float]]) -> int | None:
    return next((n for n, row in enumerate(rows, 1) if seen.see(row)), None)


def test_without_a_change_the_alarm_is_silent_however_long_one_watches() -> None:
    """60 runs of 150 questions, each looked at 150 times: at most 0.06 alarms are expected."""
    rng = np.random.default_rng(0)
    assert [first_alarm(monitor(rng), values(rng, 150)) for _ in range(60)] == [None] * 60


def test_without_a_change_no_bet_wins() -> None:
    """The capital's mean stays at 1 and it passes 10 in at most one of ten runs (Ville)."""
    rng, highest = np.random.default_rng(1), []
    for _ in range(100):
        seen = monitor(rng, 40)
        highest.append(max(seen.capital for row in values(rng, 60) if seen.see(row) is not None))
    assert np.mean(np.array(highest) >= 10) <= 0.1


@pytest.mark.parametrize(("shift", "within"), [(0.8, 90), (1.5, 60), (-1.0, 60)])
def test_a_change_is_found(shift: float, within: int) -> None:
    rng = np.random.default_rng(2)
    found = [first_alarm(monitor(rng), values(rng, 120, shift)) for _ in range(20)]
    assert all(n is not None for n in found)
    assert np.median([n for n in found if n]) <= within


def test_ranks_are_uniform_and_ties_are_broken_by_chance() -> None:
    rng = np.random.default_rng(3)
    for draw in (lambda: float(rng.normal()), lambda: float(rng.integers(3))):
        gambler = Gambler([draw() for _ in range(50)], rng)
        ranks = [gambler._rank(draw()) for _ in range(800)]
        assert kstest(ranks, "uniform").pvalue > 0.01


def test_an_alarm_stays() -> None:
    rng = np.random.default_rng(4)
    seen = monitor(rng)
    assert seen.capital == pytest.approx(1.0)
    assert first_alarm(seen, values(rng, 150, 3.0))
    assert seen.capital >= 1 / ALPHA
    for row in values(rng, 300):
        assert seen.see(row)


def test_what_is_watched_needs_no_label() -> None:
    signals = {"dense_top1": 0.12345678, "match_best": 2.0, "grounded": 1.0}
    assert watched(signals, 0.5) == {
        "dense_top1": 0.123457,
        "match_best": 2.0,
        "confidence": 0.5,
    }
