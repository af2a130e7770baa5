"""One part changed at a time: who writes, from how many neighbours, found how."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from eval.ablations import (
    CLOSED,
    CROSS,
    IN_CONTEXT,
    LONGEST_PROMPT,
    READER,
    TOGETHER,
    Variant,
    Writers,
    ask,
    run,
    variants,
)
from eval.questions import Question
from index.errors import UserError
from index.fusion import LEXICAL_WEIGHT
from retro import cli
from retro.answer import HEAD, POLICY, Answerer

QUESTIONS = [
    Question("a", "When did probes come to Mercury?", ("1974",), title="Mercury"),
    Question("b", "Who built the first piano?", ("Bartolomeo Cristofori",), title="Piano"),
    Question("c", "Where was Marie Curie born?", ("Warsaw",), title="Curie"),
]


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    world = tiny.world(tmp_path_factory.mktemp("world"))
    made = Answerer.open(world.index, world.checkpoint, num_samples=0)
    made.drafter.model.float()
    return made


def test_only_one_part_changes_at_a_time() -> None:
    for one in variants(8):
        read = one.k if one.part == "neighbours" else None
        changed = [
            one.k != 8,
            one.num_read != read,
            one.found_by != "both",
            one.written_by != TOGETHER,
        ]
        assert sum(changed) <= 1
    tried = variants(5)
    assert [v.k for v in tried if v.part == "neighbours"] == [1, 2, 4, 5, 8, 16, 5, 5]
    assert [(v.k, v.num_read) for v in tried if v.part == "read"] == [(5, 1), (5, 2), (5, 4)]
    assert len({(v.part, v.name) for v in tried}) == len(tried)


def test_every_question_is_asked_in_every_variant_and_what_is_shipped_is_asked_too(
    answerer: Answerer,
) -> None:
    tried = [Variant("neighbours", 2), Variant("written by", 2, written_by=READER)]
    rows = list(ask(answerer, QUESTIONS, tried, 2))
    assert [(r.question.id, r.variant) for r in rows] == [
        (q, v) for some in ("ab", "c") for v in tried for q in some
    ]
    shipped = [answerer.answer(q.question, k=2).candidate for q in QUESTIONS]
    assert [r.said for r in rows if r.variant == tried[0]] == shipped


def test_as_many_are_read_as_the_variant_says(
    answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = answerer.num_read
    read = []
    draft = answerer.drafter.draft

    def watched(questions: Any, windows: Any, *given: Any) -> Any:
        read.append({len(row) for row in windows})
        return draft(questions, windows, *given)

    monkeypatch.setattr(answerer.drafter, "draft", watched)
    tried = [Variant("neighbours", 6, 6), Variant("read", 6, 2), Variant("neighbours", 6)]
    list(ask(answerer, QUESTIONS[:2], tried, 2))
    assert read == [{6}, {2}, {before}]
    assert answerer.num_read == before


def test_neighbours_are_found_by_words_or_by_meaning_alone(
    answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = []
    search = answerer.retriever.search_batch

    def watched(*given: Any) -> Any:
        weights.append(answerer.retriever.lexical_weight)
        return search(*given)

    monkeypatch.setattr(answerer.retriever, "search_batch", watched)
    list(ask(answerer, QUESTIONS[:1], variants(8), 1))
    assert weights == [LEXICAL_WEIGHT] * 5 + [0.0, 1.0] + [LEXICAL_WEIGHT] * 9
    assert answerer.retriever.lexical_weight == LEXICAL_WEIGHT


def test_who_writes_hears_what_it_should(
    answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base alone sees no passage, in its prompt it sees them, and cross-attention copies
    nothing."""
    seen: dict[str, Any] = {}
    model: Any = answerer.drafter.model
    generate = model.generate

    def watched(ids: torch.Tensor, **how: Any) -> Any:
        seen[writer] = ids, how.get("neighbours")
        return generate(ids, **how)

    monkeypatch.setattr(model, "generate", watched)
    found = answerer.retriever.search_batch([QUESTIONS[0].question], 2)
    by = Writers(answerer).by
    for writer in (CROSS, IN_CONTEXT, CLOSED):
        [said] = by[writer](QUESTIONS[:1], found)
        assert "\n" not in said
    decode = answerer.drafter.prompter.tokenizer.decode
    (cross, heard), (with_passages, nothing), (closed, _) = seen.values()
    assert heard is not None
    assert heard.copy is None
    assert nothing is None
    assert torch.equal(cross, closed)
    text = decode(with_passages[0])
    assert all(passage.split()[0] in text for passage in found[0].texts)
    assert text.index(found[0].texts[1][:12]) < text.index(found[0].texts[0][:12])
    assert with_passages.shape[1] <= LONGEST_PROMPT


def test_the_reader_alone_says_a_string_of_the_passages(answerer: Answerer) -> None:
    found = answerer.retriever.search_batch([q.question for q in QUESTIONS], 3)
    for said, neighbours in zip(Writers(answerer).by[READER](QUESTIONS, found), found, strict=True):
        assert said
        assert any("".join(said.split()) in "".join(t.split()) for t in neighbours.texts)


def test_the_report_has_a_table_a_part(answerer: Answerer) -> None:
    report = run(answerer, QUESTIONS, k=2, batch_size=3, num_resamples=5)
    neighbours, read, writers = report.tables
    assert [t.title for t in (neighbours, read, writers)] == ["Neighbours", "Read", "Written by"]
    assert [row[0] for row in read.rows] == ["1 of 2"]
    assert [row[0] for row in writers.rows] == [READER, TOGETHER, CROSS, IN_CONTEXT, CLOSED]
    assert len(neighbours.rows) == 7
    by_name = {row["name"]: row for row in report.figures["variants"]}
    assert by_name[TOGETHER]["em"] == by_name["2, by both"]["em"]


def test_other_checkpoints_are_asked_by_cross_attention_and_together(
    answerer: Answerer, tmp_path: Path
) -> None:
    """With the same weights they say the same, with others they may not."""
    world = tiny.world(tmp_path)
    other = Answerer.open(world.index, world.checkpoint, num_samples=0)
    other.drafter.model.float()
    tiny.randomise(other.drafter.model, seed=9)
    options: dict[str, Any] = {"k": 3, "batch_size": 2, "num_resamples": 5}
    both = {"same": answerer, "other": other}
    parts = ("written by", "trained")
    report = run(answerer, QUESTIONS, others=both, parts=parts, **options)
    written, trained = report.tables
    names = [f"{name}, {who}" for name in both for who in (CROSS, TOGETHER)]
    assert [row[0] for row in trained.rows] == names
    found = {str(row[0]): row[1:3] for table in (written, trained) for row in table.rows}
    for who in (CROSS, TOGETHER):
        assert found[f"same, {who}"] == found[who]
    rows = list(ask(answerer, QUESTIONS, variants(3, both, ["trained"]), 2, both))
    said = {who: [r.said for r in rows if r.variant.name == who] for who in names}
    assert said[names[0]] != said[names[2]]


def test_a_decoder_is_asked_as_training_leaves_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a confidence head, which is fitted later."""
    world = tiny.world(tmp_path)
    trained = shutil.copytree(world.checkpoint, tmp_path / "trained")
    (trained / HEAD).unlink()
    (trained / POLICY).unlink()
    rows = [{"question": q.question, "answers": q.answers, "title": q.title} for q in QUESTIONS]
    data = tmp_path / "asked.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = {"index": world.index, "checkpoint": world.checkpoint, "data": data}
    options = [part for name, path in given.items() for part in (f"--{name}", str(path))]
    more = ["--part", "trained", "--decoder", str(trained), "--out", str(tmp_path / "out")]
    assert cli.main(["eval", "ablations", *options, *more, "--resamples", "5"]) == cli.DONE
    assert f"{trained}, {TOGETHER}" in capsys.readouterr().out


def test_a_part_without_variants_is_told(answerer: Answerer) -> None:
    with pytest.raises(UserError, match="nothing to compare in trained"):
        run(answerer, QUESTIONS, parts=["trained"])


def test_questions_without_answers_are_told(answerer: Answerer) -> None:
    with pytest.raises(UserError, match="no question in --data has answers"):
        run(answerer, [Question("x", "Why?", ())])
