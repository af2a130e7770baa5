"""Questions paired with themselves, on a real index with keys by hashing."""

from __future__ import annotations

from pathlib import Path

import pytest
from eval_fakes import PASSAGES, LookUp, build_tiny_index, squad_rows

from eval.conditions import (
    ARTICLE_REMOVED,
    PASSAGE_REMOVED,
    PRESENT,
    UNANSWERABLE,
    num_predictions,
    pair_with_itself,
)
from eval.questions import GoldDocuments, Question
from index.keys import HashingKeyEncoder
from index.retriever import Retriever
from retro.types import Answer


class Recorder(LookUp):
    """Notes what was left out of each retrieval, and what was found all the same."""

    def __init__(self, retriever: Retriever) -> None:
        super().__init__(retriever)
        self.excluded: list[set[str]] = []
        self.found: list[set[str]] = []

    def answer_batch(self, questions, *, exclude=None, **more) -> list[Answer]:  # type: ignore[no-untyped-def]
        self.excluded += [set(some) for some in exclude]
        brought = self.retriever.search_batch(questions, more["k"], exclude)
        self.found += [set(neighbours.doc_ids) for neighbours in brought]
        return super().answer_batch(questions, exclude=exclude, **more)


@pytest.fixture(scope="module")
def retriever(tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    folder: Path = tmp_path_factory.mktemp("eval")
    return Retriever.open(build_tiny_index(folder), HashingKeyEncoder())


def asked() -> list[Question]:
    return [
        Question(r["id"], r["question"], tuple(r["answers"]), r["context"], r["title"])
        for r in squad_rows()
    ]


def test_each_question_is_asked_with_and_without_its_facts(retriever: Retriever) -> None:
    answerer, gold = Recorder(retriever), GoldDocuments(retriever.store)
    rows = list(pair_with_itself(answerer, asked()[:1], gold))
    assert [row.condition for row in rows] == [PRESENT, ARTICLE_REMOVED, PASSAGE_REMOVED]
    assert answerer.excluded == [set(), {"d0", "d1"}, {"d0"}]
    assert [{"d0", "d1"} & found for found in answerer.found] == [{"d0", "d1"}, set(), {"d1"}]
    assert len({row.question for row in rows}) == 1
    assert [row.right["em"] for row in rows] == [True, False, False]


def test_copies_of_the_answers_sentence_are_taken_away_too(
    retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    answerer, gold = Recorder(retriever), GoldDocuments(retriever.store)
    monkeypatch.setattr(gold, "copies", lambda _: frozenset({"d0", "d4"}))
    list(pair_with_itself(answerer, asked()[:1], gold))
    assert answerer.excluded == [set(), {"d0", "d1", "d4"}, {"d0", "d4"}]


def test_batches_change_nothing_and_keep_pairs_together(retriever: Retriever) -> None:
    gold = GoldDocuments(retriever.store)
    alone = list(pair_with_itself(LookUp(retriever), asked(), gold, batch_size=1))
    together = list(pair_with_itself(LookUp(retriever), asked(), gold, batch_size=4))
    assert len(alone) == num_predictions(asked()) == 3 * len(PASSAGES)
    assert {row.question.id for row in together[:12]} == {f"q{n}" for n in range(4)}

    def key(rows: list) -> dict:  # type: ignore[type-arg]
        return {(row.question.id, row.condition): row.answer.candidate for row in rows}

    assert key(alone) == key(together)


def test_an_unanswerable_question_is_asked_as_it_is(retriever: Retriever) -> None:
    question = Question("u", "How deep is the Nile?", (), PASSAGES[0][1], "Rivers")
    answerer, gold = Recorder(retriever), GoldDocuments(retriever.store)
    (row,) = pair_with_itself(answerer, [question], gold)
    assert row.condition == UNANSWERABLE
    assert answerer.excluded == [set()]
    assert row.right == {"em": False, "f1": False}
    assert num_predictions([question]) == 1


def test_a_prediction_as_a_row_leaves_the_long_texts_out(retriever: Retriever) -> None:
    gold = GoldDocuments(retriever.store)
    row = next(pair_with_itself(LookUp(retriever), asked()[:1], gold)).to_dict()
    assert row["condition"] == PRESENT
    assert row["answers"] == ["Mediterranean Sea"]
    assert (row["em"], row["f1"], row["confidence"]) == (1.0, 1.0, 0.9)
    assert row["group"] == "rivers"
    assert row["evidence"][0]["doc_id"].startswith("d")
    assert "text" not in row["evidence"][0]
