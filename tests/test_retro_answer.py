"""From a question to an answer with its evidence, on a tiny model and a real index."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny

from index.errors import UserError
from retro.answer import BATCH, POLICY, Answerer, evidence, model_sha256
from retro.calibration import PLAIN, Calibration
from retro.drafting import Draft
from retro.policy import AbstentionPolicy
from retro.ranking import DEPTH, FEATURES, Ranker
from retro.signals import SIGNALS
from retro.types import Answer, Reading
from retro.uncertainty import ConfidenceHead, Factor, Feature

ASKED = [
    "When did probes come to Mercury?",
    "Who built the first piano?",
    "Which metal melts at 1,064 degrees?",
    "Where was Marie Curie born, and when, and how many prizes did she win in all?",
    "Zürich café?",
    "What has strings?",
    "How many moons has Mars?",
    "Which bird builds the largest nest in North America?",
    "Where does the Danube rise?",
    "What conducts electricity?",
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tiny.World:
    return tiny.world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def answerer(world: tiny.World) -> Answerer:
    """In float32, so that a batch and its questions one by one can be compared closely."""
    made = Answerer.open(world.index, world.checkpoint, threshold=0.5, num_samples=3)
    made.drafter.model.float()
    return made


def untimed(answer: Answer) -> Answer:
    return replace(answer, timing_ms={})


def alike(a: Answer, b: Answer) -> None:
    """Equal but for the times and the last digits of numbers."""
    plain = {"signals": {}, "timing_ms": {}, "confidence": 0.0, "evidence": (), "sides": ()}
    assert replace(a, **plain) == replace(b, **plain)  # type: ignore[arg-type]
    assert a.confidence == pytest.approx(b.confidence, abs=1e-3)
    assert a.signals == pytest.approx(b.signals, rel=1e-3, abs=1e-3)
    for ours, theirs in zip(a.evidence, b.evidence, strict=True):
        assert replace(ours, score=0.0) == replace(theirs, score=0.0)
        assert ours.score == pytest.approx(theirs.score, abs=1e-3)
    for one, other in zip(a.sides, b.sides, strict=True):
        assert replace(one, probability=0.0) == replace(other, probability=0.0)
        assert one.probability == pytest.approx(other.probability, abs=1e-3)


def test_the_same_question_gives_the_same_answer_and_signals(answerer: Answerer) -> None:
    first, second = (untimed(answerer.answer(ASKED[0])) for _ in range(2))
    assert first == second
    assert first.signals


def test_an_answerer_opened_again_gives_the_same(world: tiny.World) -> None:
    answers = [
        untimed(Answerer.open(world.index, world.checkpoint, num_samples=3).answer(ASKED[1]))
        for _ in range(2)
    ]
    assert answers[0] == answers[1]


def test_a_batch_is_its_questions_one_by_one(answerer: Answerer) -> None:
    """More questions than go through the model together, so that the parts are joined too."""
    assert len(ASKED) > BATCH
    ids = [f"q{i}" for i in range(len(ASKED))]
    together = answerer.answer_batch(ASKED, ids=ids, k=4)
    assert [a.id for a in together] == ids
    for question, id, answer in zip(ASKED, ids, together, strict=True):
        alike(answer, answerer.answer(question, id=id, k=4))


def test_a_question_has_its_answer_whatever_its_place(answerer: Answerer) -> None:
    forwards = answerer.answer_batch(ASKED, k=3)
    backwards = answerer.answer_batch(ASKED[::-1], k=3)
    for a, b in zip(forwards, backwards[::-1], strict=True):
        alike(a, b)


def test_evidence_is_the_documents_own_text(answerer: Answerer) -> None:
    titles = {title.lower(): title for title in tiny.DOCUMENTS}
    highlighted = 0
    for answer in answerer.answer_batch(ASKED):
        assert answer.evidence
        for number, e in enumerate(answer.evidence):
            document = tiny.DOCUMENTS[titles[e.doc_id]]
            assert document[e.window_start : e.window_start + len(e.text)] == e.text
            assert e.title == titles[e.doc_id]
            marked = document[e.start : e.end]
            assert marked in e.text
            if not e.highlighted:
                assert marked == e.text
                continue
            highlighted += 1
            assert marked.split() == answer.candidate.split()
            if number == 0:
                assert " ".join(marked.split()) == answer.candidate
    assert highlighted > 0


def test_evidence_that_holds_the_answer_stands_first(answerer: Answerer) -> None:
    for answer in answerer.answer_batch(ASKED):
        scores = [e.score for e in answer.evidence[1:]]
        assert scores == sorted(scores, reverse=True)
        if any(e.highlighted for e in answer.evidence):
            assert answer.evidence[0].highlighted
        assert sum(e.score for e in answer.evidence) <= 1 + 1e-3


def test_the_threshold_decides_unless_documents_disagree(answerer: Answerer) -> None:
    made = Answerer(answerer.retriever, answerer.drafter, answerer.head, AbstentionPolicy(0.5))
    confidences = [a.confidence for a in made.answer_batch(ASKED)]
    assert max(confidences) > min(confidences)
    for threshold in (min(confidences), max(confidences), 1.1):
        made.policy = replace(made.policy, threshold=threshold)
        for answer in made.answer_batch(ASKED):
            disputed = answer.signals["dispute"] > 0
            assert answer.abstained == (disputed or answer.confidence < threshold)
            assert (answer.answer is None) == answer.abstained == (answer.reason is not None)
            assert answer.answer in (None, answer.candidate)


def test_a_draft_without_words_is_declined_at_any_threshold(
    answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Answerer(answerer.retriever, answerer.drafter, answerer.head, AbstentionPolicy(0.0))
    draft = made.drafter.draft
    monkeypatch.setattr(
        made.drafter, "draft", lambda *given: [replace(d, text="") for d in draft(*given)]
    )
    answer = made.answer(ASKED[0])
    assert (answer.answer, answer.abstained, answer.confidence) == (None, True, 0.0)
    assert answer.reason is not None


def test_signals_are_those_that_are_documented(answerer: Answerer) -> None:
    signals = answerer.answer(ASKED[0]).signals
    assert signals.keys() >= SIGNALS.keys() - {"scope_p"}  # that one wants a larger database
    assert {"span_probability", "null_probability", "mc_bald", "evidence_pmi"} <= signals.keys()
    assert all(isinstance(v, float) for v in signals.values())


def test_the_head_scores_the_signals(answerer: Answerer) -> None:
    assert answerer.head is not None
    answer = answerer.answer(ASKED[2])
    assert answer.candidate
    assert answer.confidence == pytest.approx(answerer.head.score(answer.signals))


def test_without_a_head_confidence_is_the_span_posterior(world: tiny.World) -> None:
    made = Answerer.open(world.index, world.checkpoint, calibrated=False, num_samples=0)
    assert made.head is None
    for answer in made.answer_batch(ASKED[:3]):
        rivals = sum(answer.signals[name] for name in ("dispute", "misnamed", "unheard"))
        assert answer.confidence == answer.signals["span_probability"] / (1 + rivals)


def test_no_neighbour_is_out_of_scope(answerer: Answerer) -> None:
    everything = [title.lower() for title in tiny.DOCUMENTS]
    hidden = [everything, (), everything]
    answers = answerer.answer_batch(ASKED[:3], ids=["a", "b", "c"], exclude=hidden)
    for answer in (answers[0], answers[2]):
        assert (answer.abstained, answer.reason) == (True, "out_of_scope")
        assert (answer.answer, answer.candidate, answer.confidence) == (None, "", 0.0)
        assert answer.evidence == ()
    assert [a.id for a in answers] == ["a", "b", "c"]
    alike(answers[1], answerer.answer(ASKED[1], id="b"))


def test_a_database_of_one_document_answers(answerer: Answerer) -> None:
    """It has no distances between documents; the shipped head asks for what they tell."""
    feature = Feature("scope_p", "identity", mean=0.5, deviation=0.1, weight=1.0)
    head = ConfidenceHead((Factor((feature,), 0.0),), PLAIN)
    made = Answerer(answerer.retriever, answerer.drafter, head, answerer.policy)
    several = made.answer(ASKED[0])
    whole = made.retriever.manifest
    made.retriever.manifest = replace(whole, own_distances=())
    try:
        alone = made.answer(ASKED[0])
    finally:
        made.retriever.manifest = whole
    assert "scope_p" in several.signals
    assert "scope_p" not in alone.signals
    assert alone.confidence == head.score({"scope_p": 0.5}) * alone.signals["backing"]


def test_hidden_documents_are_no_evidence(answerer: Answerer) -> None:
    for answer in answerer.answer_batch(ASKED[:2], exclude=[["mercury"], ["piano"]]):
        assert {"mercury", "piano"}.isdisjoint({answer.evidence[0].doc_id}) or answer.evidence
    found = answerer.answer_batch([ASKED[0]], exclude=[["mercury"]])[0]
    assert found.evidence
    assert all(e.doc_id != "mercury" for e in found.evidence)


def test_given_neighbours_are_not_searched(answerer: Answerer) -> None:
    own = answerer.find_in("gold", ASKED[0])
    (answer,) = answerer.answer_batch([ASKED[0]], neighbours=[own])
    assert {e.doc_id for e in answer.evidence} == {"gold"}
    places = {(e.doc_id, e.start, e.end, e.highlighted) for e in answer.evidence}
    assert 1 <= len(places) == len(answer.evidence) <= len(own)


def test_a_chosen_document_is_not_judged_by_how_a_search_went(answerer: Answerer) -> None:
    near = Feature("dense_top1", "identity", 0.5, 0.1, -1.0)
    head = ConfidenceHead((Factor((near,), 0.0),), Calibration("platt", (1.0,), (0.0,)))
    answerer = Answerer(answerer.retriever, answerer.drafter, head, answerer.policy)
    own = answerer.find_in("gold", ASKED[0])
    farther = replace(own, dense_top=own.dense_top + 0.5, lexical_top=own.lexical_top / 9)
    found = [own, farther, replace(own, searched=True), replace(farther, searched=True)]
    confidences = [a.confidence for a in answerer.answer_batch([ASKED[0]] * 4, neighbours=found)]
    assert confidences[0] == confidences[1]
    assert confidences[2] > confidences[3]


def by_shortness() -> Ranker:
    """A ranker that prefers short texts: another order than any search's."""
    linear = tuple(-float(name == "length") for name in FEATURES)
    zeros, ones = (0.0,) * len(FEATURES), (1.0,) * len(FEATURES)
    return Ranker(zeros, ones, linear, (), (), ())


def test_of_all_that_search_finds_the_likeliest_are_kept_best_first(answerer: Answerer) -> None:
    made = Answerer(
        answerer.retriever, answerer.drafter, None, answerer.policy, ranker=by_shortness()
    )
    wide = made.retriever.search_batch(ASKED[:3], DEPTH)
    for many, kept in zip(wide, made.find(ASKED[:3], 3), strict=True):
        assert len(many) > 3
        words = {int(c): len(t.split()) for c, t in zip(many.chunk_ids, many.texts, strict=True)}
        counts = [words[int(c)] for c in kept.chunk_ids]
        assert counts == sorted(words.values())[:3]
        assert kept.scores.tolist() == sorted(kept.scores, reverse=True)
    (hidden,) = made.find(ASKED[:1], 3, [set(wide[0].doc_ids[:1])])
    assert wide[0].doc_ids[0] not in hidden.doc_ids
    assert len(made.answer(ASKED[0], k=2).evidence) <= 2


def test_a_checkpoints_own_ranker_is_used_and_is_part_of_what_is_certified(
    world: tiny.World, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    shutil.copytree(world.checkpoint, own)
    before = model_sha256(own)
    by_shortness().save(own / "ranker.json")
    assert model_sha256(own) != before
    assert Answerer.open(world.index, own).ranker == by_shortness()
    assert Answerer.open(world.index, world.checkpoint).ranker != by_shortness()


def test_the_first_neighbours_are_read_and_no_others(answerer: Answerer) -> None:
    made = Answerer(answerer.retriever, answerer.drafter, None, answerer.policy, num_read=2)
    found = made.find(ASKED[:3], 8)
    for question, n, chosen in zip(ASKED, found, made.chosen(found), strict=False):
        assert len(n) > 2
        unread = range(2, len(n))
        assert list(chosen.texts) == list(n.texts[:2])
        assert list(chosen.priors) == pytest.approx([0.0, float(n.scores[1] - n.scores[0])])
        (draft,) = made.drafts([question], [n])
        assert draft is not None
        assert draft.source in (0, 1)
        for values in (draft.scores, draft.spans, draft.readings):
            assert len(values) == len(n)
        assert all(draft.scores[i] == 0 and draft.spans[i] is None for i in unread)
        assert all(draft.readings[i] == Reading(0, 0, 0.0) for i in unread)
        assert all(draft.scores[i] > 0 for i in (0, 1))


def test_what_is_read_is_read_as_if_it_alone_had_been_found(answerer: Answerer) -> None:
    found = answerer.retriever.search(ASKED[0], 8)
    made = Answerer(answerer.retriever, answerer.drafter, None, answerer.policy, num_read=2)
    [chosen] = made.chosen([found])
    [draft] = made.drafts([ASKED[0]], [found])
    [alone] = made.drafter.draft(
        [ASKED[0]], [chosen.windows], [chosen.texts], None, [chosen.priors]
    )
    assert draft is not None
    assert (draft.text, draft.signals) == (alone.text, alone.signals)
    assert (draft.scores[:2], draft.spans[:2]) == (alone.scores, alone.spans)
    assert draft.source == alone.source


def test_all_of_a_chosen_document_is_read(answerer: Answerer) -> None:
    own = answerer.find_in("gold", ASKED[0])
    assert len(own) > 1
    made = Answerer(answerer.retriever, answerer.drafter, None, answerer.policy, num_read=1)
    [whole] = made.chosen([own])
    [searched] = made.chosen([replace(own, searched=True)])
    assert (len(whole.windows), len(searched.windows)) == (len(own), 1)


@pytest.mark.parametrize(("source", "span"), [(0, (3, 4)), (-1, None)])
def test_of_neighbours_that_were_not_read_a_draft_says_nothing(
    source: int, span: tuple[int, int] | None
) -> None:
    draft = Draft("x", source, (span,), (0.5,), {}, (Reading(1, 2, 0.3),))
    unread = Reading(0, 0, 0.0)
    assert draft.among(3) == Draft(
        *("x", source, (span, None, None), (0.5, 0.0, 0.0), {}),
        readings=(Reading(1, 2, 0.3), unread, unread),
    )


def contradicted(answerer: Answerer, strength: float) -> Answer:
    """The answer to a question that two documents of the index answer, each its own way."""
    found = answerer.retriever.search(ASKED[0], 2)
    (draft,) = answerer.drafts([ASKED[0]], [found])
    assert draft is not None
    texts = ("Probes came to Mercury in 1974.", "To Mercury came probes in 1999.")
    found = replace(found, texts=texts, doc_ids=("a", "b"), starts=np.array([0, 100]))
    draft = replace(
        draft,
        text="1974",
        source=0,
        spans=((26, 30), None),
        readings=(Reading(26, 30, 0.8), Reading(26, 30, 0.8 * strength)),
    )
    return answerer._decide(None, ASKED[0], found, draft)


def test_documents_that_disagree_are_declined_with_both_sides(answerer: Answerer) -> None:
    """At any threshold: of two answers that exclude each other, neither is given."""
    made = Answerer(answerer.retriever, answerer.drafter, answerer.head, AbstentionPolicy(0.0))
    answer = contradicted(made, 1.0)
    assert (answer.reason, answer.answer, answer.candidate) == ("conflicting", None, "1974")
    assert made.head is not None
    assert answer.confidence == pytest.approx(made.head.score(answer.signals) / 2)
    assert [(side.answer, side.doc_id) for side in answer.sides] == [("1974", "a"), ("1999", "b")]
    assert (answer.sides[1].start, answer.sides[1].end) == (126, 130)
    assert [side["answer"] for side in answer.to_dict()["sides"]] == ["1974", "1999"]
    assert "says “1974”" in answer.disagreement()
    assert answer.disagreement().startswith("Two sources disagree: ")
    places = [(e.doc_id, e.start - e.window_start, e.highlighted) for e in answer.evidence]
    assert places == [("a", 26, True), ("b", 26, True)]
    assert all(answer.points_at(e) for e in answer.evidence)
    assert not answer.points_at(replace(answer.evidence[0], start=1)), "that place is in no dispute"


def test_a_passage_whose_heading_the_question_names_has_half_of_the_confidence(
    answerer: Answerer,
) -> None:
    found = answerer.retriever.search(ASKED[0], 2)
    (draft,) = answerer.drafts([ASKED[0]], [found])
    assert draft is not None
    assert draft.source >= 0
    assert answerer.head is not None
    for named, share in (("Venus", 1), ("Probes", 2)):
        titles = ["Planets › Mars", "Planets › Mars"]
        titles[1 - draft.source] = f"Planets › {named}"
        told = replace(found, titles=tuple(titles), texts=("It is red.",) * 2)
        answer = answerer._decide(None, ASKED[0], told, draft)
        assert answer.signals["misnamed"] == share - 1
        assert answer.confidence == pytest.approx(answerer.head.score(answer.signals) / share)


def test_a_name_that_no_document_holds_leaves_half_of_the_confidence(answerer: Answerer) -> None:
    answer = answerer.answer("Who built the first piano of Quzzbert?")
    assert answer.unheard == ("Quzzbert",)
    assert answer.to_dict()["unheard"] == ["Quzzbert"]
    assert answer.signals["unheard"] == 1.0
    rivals = answer.signals["dispute"] + answer.signals["misnamed"]
    assert answerer.head is not None
    whole = answerer.head.score(answer.signals) * answer.signals["backing"]
    assert answer.confidence == pytest.approx(whole / (2 + rivals))
    assert answerer.answer(ASKED[1]).signals["unheard"] == 0.0


def test_a_name_is_unheard_where_its_document_counts_as_absent(answerer: Answerer) -> None:
    asked = "What is true of Mercury?"
    assert answerer.answer(asked).unheard == ()
    [without] = answerer.answer_batch([asked], exclude=[["mercury"]])
    assert without.unheard == ("Mercury",)
    assert without.signals["unheard"] == 1.0


def test_a_weaker_rival_changes_nothing_and_is_not_told_of(answerer: Answerer) -> None:
    made = Answerer(answerer.retriever, answerer.drafter, answerer.head, AbstentionPolicy(0.0))
    answer = contradicted(made, 0.5)
    assert answer.signals["dispute"] == 0.0
    assert made.head is not None
    assert answer.confidence == made.head.score(answer.signals)
    assert answer.reason is None
    assert "sides" not in answer.to_dict()
    assert answer.disagreement() == ""
    assert [e.highlighted for e in answer.evidence] == [True, False]
    declined = replace(answer, reason="insufficient")
    assert [answer.points_at(e) for e in answer.evidence] == [True, False]
    assert not any(declined.points_at(e) for e in answer.evidence), "a withheld guess"


def test_a_candidate_from_elsewhere_is_judged_and_found_unverified(answerer: Answerer) -> None:
    policy = AbstentionPolicy(threshold=1.1, scope_match=-9.0)
    made = Answerer(answerer.retriever, answerer.drafter, answerer.head, policy)
    forged, held = made.answer_batch([ASKED[0]] * 2, candidates=["zebras", "1974"])
    assert (forged.candidate, forged.reason) == ("zebras", "unverified")
    assert forged.signals["grounded"] == forged.signals["span_probability"] == 0.0
    assert forged.signals["backing"] == forged.confidence == 0.0
    assert (held.candidate, held.signals["grounded"]) == ("in 1974", 1.0)  # as it is likelier there
    assert held.reason != "unverified"


def test_one_place_in_two_windows_is_one_piece_of_evidence(answerer: Answerer) -> None:
    """Overlapping windows of a document were shown as two cards with the same sentence."""
    found = answerer.retriever.search(ASKED[0], 3)
    (draft,) = answerer.drafts([ASKED[0]], [found])
    assert draft is not None
    found = replace(found, doc_ids=("a", "a", "b"), starts=np.array([5, 9, 5]))
    draft = replace(draft, source=0, spans=((10, 14), (6, 10), (10, 14)), scores=(0.5, 0.25, 0.125))
    shown = evidence(found, draft, {})
    assert [(e.doc_id, e.start, e.score) for e in shown] == [("a", 15, 0.75), ("b", 15, 0.125)]


def test_two_windows_shown_as_one_stand_where_their_scores_together_belong(
    answerer: Answerer,
) -> None:
    """Each of the two had less than the passage before them; they have more together."""
    found = answerer.retriever.search(ASKED[0], 4)
    (draft,) = answerer.drafts([ASKED[0]], [found])
    assert draft is not None
    found = replace(found, doc_ids=("own", "b", "a", "a"), starts=np.array([5, 5, 5, 9]))
    spans = ((10, 14), (10, 14), (10, 14), (6, 10))
    draft = replace(draft, source=0, spans=spans, scores=(0.125, 0.3, 0.25, 0.25))
    assert [e.doc_id for e in evidence(found, draft, {})] == ["own", "a", "b"]
    written = replace(draft, source=-1)
    assert [e.doc_id for e in evidence(found, written, {})] == ["a", "b", "own"]


@pytest.mark.parametrize("question", ["", "  \n\t"])
def test_an_empty_question_is_a_users_mistake(answerer: Answerer, question: str) -> None:
    with pytest.raises(UserError, match="question 2 is empty"):
        answerer.answer_batch(["Who?", question])
    with pytest.raises(UserError, match="question 1 is empty"):
        answerer.answer(question)


def test_no_questions_have_no_answers(answerer: Answerer) -> None:
    assert answerer.answer_batch([]) == []


@pytest.mark.parametrize(
    "question",
    ["?", "word " * 500, "東京は？🦙", "\u202eWho\x00?", "a" * 3000, "<|endoftext|> Who?"],
)
def test_any_question_gets_an_answer(answerer: Answerer, question: str) -> None:
    answer = answerer.answer(question)
    assert 0 <= answer.confidence <= 1
    assert len(answer.evidence) <= 8


def test_times_are_those_of_the_stages(answerer: Answerer) -> None:
    timing = answerer.answer(ASKED[0]).timing_ms
    assert list(timing) == ["search", "draft", "decide"]
    assert all(value >= 0 for value in timing.values())


def test_as_json_it_is_plain_data(answerer: Answerer) -> None:
    import json

    answer = answerer.answer(ASKED[0], id="q")
    data = json.loads(json.dumps(answer.to_dict(), allow_nan=False))
    assert data["id"] == "q"
    assert data["evidence"][0]["doc_id"] == answer.evidence[0].doc_id
    assert data["signals"] == answer.signals


def test_evidence_carries_the_trust_label_of_its_document(answerer: Answerer) -> None:
    question = ASKED[0]
    found = answerer.retriever.search(question)
    labelled = found.doc_ids[0]
    labels = tuple("forum" if doc_id == labelled else "" for doc_id in found.doc_ids)
    [answer] = answerer.answer_batch([question], neighbours=[replace(found, trusts=labels)])
    rows = answer.to_dict()["evidence"]
    assert {row["doc_id"] for row in rows} > {labelled}
    for row in rows:
        assert row.get("trust") == ("forum" if row["doc_id"] == labelled else None)


def test_evidence_tells_the_page_of_its_answer(answerer: Answerer) -> None:
    question = ASKED[0]
    found = answerer.retriever.search(question)
    assert "page" not in answerer.answer(question).to_dict()["evidence"][0]
    paged = replace(found, pages=((0, 0, 7),) * len(found))
    [answer] = answerer.answer_batch([question], neighbours=[paged])
    rows = answer.to_dict()["evidence"]
    assert [row["page"] for row in rows] == [2 + (row["start"] >= 7) for row in rows]
    assert answer.evidence[0].place == f"{rows[0]['doc_id']}, page {rows[0]['page']}"


def test_opening_what_is_not_there_is_one_line(world: tiny.World, tmp_path: Path) -> None:
    for index, checkpoint in [
        (tmp_path / "none", world.checkpoint),
        (world.index, tmp_path / "none"),
    ]:
        with pytest.raises(UserError, match="none") as raised:
            Answerer.open(index, checkpoint)
        assert "\n" not in str(raised.value)


def test_an_index_of_other_tokens_is_refused(world: tiny.World, tmp_path: Path) -> None:
    other = tiny.write_index(tmp_path / "other", tokenizer=tiny.encoder_tokenizer())
    with pytest.raises(UserError, match="build the index again") as raised:
        Answerer.open(other, world.checkpoint)
    assert "\n" not in str(raised.value)


def test_the_policy_is_the_checkpoints_unless_a_threshold_is_given(world: tiny.World) -> None:
    stored = AbstentionPolicy.load(world.checkpoint / POLICY)
    assert Answerer.open(world.index, world.checkpoint).policy == stored
    given = Answerer.open(world.index, world.checkpoint, threshold=0.9).policy
    assert given == replace(stored, threshold=0.9)


def test_how_many_are_read_is_the_checkpoints_configuration(
    world: tiny.World, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(world.checkpoint, folder)
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    usual = Answerer.open(world.index, folder)
    assert usual.num_read == config["num_read"]
    before = usual.fingerprint
    file.write_text(json.dumps(config | {"num_read": 2}), encoding="utf-8")
    changed = Answerer.open(world.index, folder)
    assert changed.num_read == 2
    assert changed.fingerprint != before  # what was certified before is void
    file.write_text(json.dumps(config | {"num_read": 0}), encoding="utf-8")
    with pytest.raises(UserError, match="num_read is 0: read 1 or more"):
        Answerer.open(world.index, folder)


def test_what_is_no_question_is_read_as_one_and_kept_as_typed(answerer: Answerer) -> None:
    typed = answerer.answer("piano strings")
    asked = answerer.answer("What are the piano strings?")
    assert (typed.question, typed.read_as) == ("piano strings", asked.question)
    assert asked.read_as == ""
    alike(replace(typed, question="", read_as=""), replace(asked, question=""))
    assert typed.to_dict()["read_as"] == asked.question
    assert "read_as" not in asked.to_dict()


def test_another_spelling_is_suggested_and_not_answered_from(answerer: Answerer) -> None:
    slipped = answerer.answer("Who built the first pirano?")
    assert slipped.suggestion == "Who built the first piano?"
    assert slipped.question == "Who built the first pirano?"
    assert slipped.to_dict()["suggestion"] == slipped.suggestion
    meant = answerer.answer(slipped.suggestion)
    assert "suggestion" not in meant.to_dict()
    assert slipped.signals["rarest_found"] < meant.signals["rarest_found"]
