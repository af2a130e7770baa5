"""The name that leads from one fact to the next, and the second search through it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import tiny

from retro.answer import Answerer
from retro.ask_cli import in_words
from retro.chaining import READ_FOR_BRIDGES, best_bridge, first_hop, second_hop
from retro.policy import AbstentionPolicy
from retro.types import Answer, Reading

ASKED = "Who is the brother of the director of Faun?"
TEXTS = ["Faun was directed by Alexander Korda.", "Fauns have horns, says Ovid."]
KORDA, FAUNS, OVID = Reading(21, 36, 0.6), Reading(0, 5, 0.9), Reading(23, 27, 0.4)


def test_the_likeliest_reading_is_the_bridge_with_its_place() -> None:
    found = best_bridge(ASKED, TEXTS, [KORDA, OVID])
    assert found is not None
    assert (found.name, found.source, found.probability) == ("Alexander Korda", 0, 0.6)
    assert TEXTS[0][found.start : found.end] == found.name


def test_what_the_question_says_already_leads_nowhere() -> None:
    assert best_bridge("Who has Fauns?", TEXTS, [replace_p(KORDA, 0.0), FAUNS]) is None
    found = best_bridge("Who has Fauns?", TEXTS, [KORDA, FAUNS])
    assert found is not None
    assert found.source == 0


def test_an_improbable_bridge_is_not_followed() -> None:
    assert best_bridge(ASKED, TEXTS, [replace_p(KORDA, 0.29), replace_p(OVID, 0.1)]) is None


def replace_p(reading: Reading, probability: float) -> Reading:
    return reading._replace(probability=probability)


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    world = tiny.world(tmp_path_factory.mktemp("world"))
    made = Answerer.open(world.index, world.checkpoint, threshold=0.5, num_samples=2)
    made.drafter.model.float()
    return made


QUESTION = "When did probes come to Mercury?"


def chained(
    answerer: Answerer,
    monkeypatch: pytest.MonkeyPatch,
    *,
    probability: float = 0.8,
    surer: float = 1.0,
    below: float = 0.7,
) -> tuple[Answer, Answer, list[str]]:
    """The answer without and with a bridge (the first words of the best neighbour) so probable, and
    what the reader was asked for bridges; ``surer``: what the head makes of the second search."""
    monkeypatch.setattr(answerer, "policy", AbstentionPolicy(0.5, 0.0, 1e9))
    plain = answerer.answer(QUESTION, k=3)
    monkeypatch.setattr(answerer, "policy", replace(answerer.policy, chain_below=below))
    asked: list[str] = []

    def read(questions: list[str], windows: list[list[Any]]) -> list[tuple[Reading, ...]]:
        asked.extend(questions)
        return [
            tuple(Reading(0, 40, probability / (i + 1)) for i in range(len(w))) for w in windows
        ]

    score = answerer.confidence
    monkeypatch.setattr(answerer.drafter, "read", read)
    monkeypatch.setattr(
        answerer,
        "confidence",
        lambda signals, searched: surer if asked else min(0.3, score(signals)),
    )
    return plain, answerer.answer(QUESTION, k=3), asked


def test_a_declined_question_is_asked_again_through_its_bridge(
    answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, answer, asked = chained(answerer, monkeypatch)
    assert asked == [first_hop(QUESTION)]
    [hop] = answer.hops
    [source] = [d for d in tiny.DOCUMENTS if d.lower() == hop.doc_id]
    assert tiny.DOCUMENTS[source][hop.start : hop.end] == hop.bridge
    again = answerer.retriever.search(second_hop(QUESTION, hop.bridge), 3)
    assert {e.doc_id for e in answer.evidence} <= set(again.doc_ids)
    assert (answer.question, answer.abstained) == (QUESTION, False)
    assert answer.confidence == pytest.approx(0.8)  # the bridge's probability times the head's
    assert answer.to_dict()["hops"] == [vars(hop)]
    assert f"In two steps: {hop.title} leads to “{hop.bridge}”." in in_words(answer)
    assert not plain.hops
    assert "hops" not in plain.to_dict()


@pytest.mark.parametrize(("surer", "below"), [(0.0, 1.0), (1.0, 0.85)])
def test_a_second_step_that_leaves_a_question_open_changes_nothing(
    answerer: Answerer, monkeypatch: pytest.MonkeyPatch, surer: float, below: float
) -> None:
    """It is 0 or .8 sure. That a little doubt went made questions that nothing answers surer."""
    plain, answer, _ = chained(answerer, monkeypatch, surer=surer, below=below)
    assert answer.confidence == pytest.approx(min(0.3, plain.confidence))
    first = answerer.retriever.search(QUESTION, 3)
    assert {e.doc_id for e in answer.evidence} <= set(first.doc_ids)
    assert answer.abstained
    assert answer.confidence > 0.0
    assert answer.hops
    assert answer.way().endswith(", and no further.")


def test_without_a_probable_bridge_nothing_changes(
    answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, answer, asked = chained(answerer, monkeypatch, probability=0.2)
    assert asked
    assert not answer.hops
    assert answer.way() == ""


def test_a_sure_answer_is_not_asked_again(
    answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, answer, asked = chained(answerer, monkeypatch, below=0.0)
    assert not asked
    assert not answer.hops


def test_where_nothing_is_found_no_bridge_is_looked_for(
    answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answerer, "policy", AbstentionPolicy(0.5, chain_below=1.0))
    gone = [{title.lower() for title in tiny.DOCUMENTS}]
    [answer] = answerer.answer_batch([QUESTION], exclude=gone)
    assert answer.reason == "out_of_scope"
    assert not answer.hops


def test_bridges_are_looked_for_in_the_first_neighbours_alone(
    answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    found = answerer.retriever.search_batch([QUESTION], READ_FOR_BRIDGES + 2)

    def read(questions: list[str], windows: list[list[Any]]) -> list[tuple[Reading, ...]]:
        seen.append(len(windows[0]))
        return [tuple(Reading(0, 0, 0.0) for _ in windows[0])]

    monkeypatch.setattr(answerer.drafter, "read", read)
    assert answerer._bridges([QUESTION], found) == [None]
    assert seen == [READ_FOR_BRIDGES]


def test_what_every_passage_alone_says_is_what_a_draft_says(answerer: Answerer) -> None:
    [found] = answerer.retriever.search_batch([QUESTION], 3)
    windows = answerer.windows_of([found], [len(found)])
    [draft] = answerer.drafter.draft([QUESTION], windows, [found.texts])
    [alone] = answerer.drafter.read([QUESTION], windows)
    assert [(r.start, r.end) for r in alone] == [(r.start, r.end) for r in draft.readings]
    for ours, theirs in zip(alone, draft.readings, strict=True):
        assert ours.probability == pytest.approx(theirs.probability, abs=1e-4)


def test_only_what_is_near_and_unsure_is_asked_on() -> None:
    policy = AbstentionPolicy(0.5, scope_match=1.0, chain_below=0.4)
    near = {"match_best": 1.5, "num_neighbours": 8.0, "num_conflicting": 0.0, "grounded": 1.0}
    assert policy.asks_on(0.39, near)
    assert not policy.asks_on(0.4, near)
    assert not policy.asks_on(0.1, near | {"match_best": 0.5})
    assert not policy.asks_on(0.1, near | {"num_conflicting": 1.0})
    assert not AbstentionPolicy(0.5).asks_on(0.0, near)
