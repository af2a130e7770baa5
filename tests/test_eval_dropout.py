"""More samples, more certain: an answerer whose dropout is drawn by chance, known beforehand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_fakes import LookUp, build_tiny_index, squad_rows, write_jsonl

from eval.dropout import SIGNALS, TARGETS, Way, ask, run, tables
from eval.questions import GoldDocuments, read_questions
from index.errors import UserError
from index.retriever import Retriever
from retro.types import Answer

OWN, OTHER = object(), object()


class Drawn:
    num_samples = 7
    sampler: Any = OWN


class Noisy(LookUp):
    """``mc_probability_mean`` is the confidence and noise, the less the more samples; one pass
    says nothing. What it was asked with is kept in ``seen``."""

    def __init__(self, retriever: Retriever) -> None:
        super().__init__(retriever)
        self.drafter = Drawn()
        self.seen: list[tuple[int, int]] = []
        self.samplers: list[object] = []
        self.rng = np.random.default_rng(0)

    def answer_batch(self, questions: Any, **how: Any) -> list[Answer]:
        num = self.drafter.num_samples
        self.seen.append((num, len(questions)))
        self.samplers.append(self.drafter.sampler)
        return [self._noised(a, num) for a in super().answer_batch(questions, **how)]

    def _noised(self, answer: Answer, num: int) -> Answer:
        signals = dict.fromkeys(SIGNALS, 0.5)
        noise = float(self.rng.normal()) * 2 / num**0.5
        signals["mc_probability_mean"] = answer.confidence + noise
        return replace(answer, signals=signals, timing_ms={"draft": 10.0 + num})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Retriever, Path]:
    folder = tmp_path_factory.mktemp("dropout")
    index = build_tiny_index(folder)
    return Retriever.open(index), write_jsonl(folder / "asked.jsonl", squad_rows())


def test_every_batch_is_asked_with_every_number_of_samples(world: tuple[Retriever, Path]) -> None:
    retriever, data = world
    answerer, gold = Noisy(retriever), GoldDocuments(retriever.store)
    other: Any = OTHER
    ways = [Way("dropout", 1), Way("laplace", 4, other)]
    rows = list(ask(answerer, read_questions(data), ways, gold, k=3, batch_size=4))
    assert answerer.seen == [(1, 4), (1, 4), (4, 4), (4, 4), (1, 2), (1, 2), (4, 2), (4, 2)]
    assert answerer.samplers == 2 * [OWN, OWN, OTHER, OTHER]
    assert len(rows) == 24
    assert {(r.way, r.prediction.condition) for r in rows} == {
        (way, condition) for way in ways for condition in ("present", "passage_removed")
    }
    assert (answerer.drafter.num_samples, answerer.drafter.sampler) == (7, OWN)


def test_more_samples_tell_more_and_cost_more(world: tuple[Retriever, Path]) -> None:
    retriever, data = world
    ways = [Way("dropout", 1), Way("dropout", 400)]
    report = run(Noisy(retriever), read_questions(data), ways, k=3, num_resamples=20)
    few, many = (row["facts there"] for row in report.figures["ways"])
    assert many["auroc"]["mc_probability_mean"] > few["auroc"]["mc_probability_mean"]
    assert many["auroc"]["confidence"] == few["auroc"]["confidence"] == 1.0
    assert many["auroc"]["span_probability"] == 0.5
    assert many["gain"][0] == pytest.approx(many["auroc"]["mc_probability_mean"] - 0.5)
    found = tables(report.figures)
    assert [table.title for table in found] == [f"AUROC: {target}" for target in TARGETS]
    assert found[0].rows[1][:2] == ["dropout", 400]
    assert found[0].rows[1][-1] == pytest.approx(410 / 11)
    assert json.dumps(report.markdown({"command": "retro eval dropout"}))


def test_a_file_without_answerable_questions_is_told(
    world: tuple[Retriever, Path], tmp_path: Path
) -> None:
    retriever, _ = world
    rows = [row | {"answers": []} for row in squad_rows()]
    data = write_jsonl(tmp_path / "asked.jsonl", rows)
    with pytest.raises(UserError, match="no answerable question in --data has its passage"):
        run(Noisy(retriever), read_questions(data), [Way("dropout", 1)])
