"""The ranker: what it says of a passage, what a checkpoint keeps of it, and who is read by it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from index.errors import UserError
from retro.answer import Answerer
from retro.model import RetroForCausalLM
from retro.ranker import Ranker, ranking_loss, shared_ids
from retro.retrofit import load, read_checkpoint, retrofit, save, trained_parameters
from retro.signals import match_prior

ASKED = [
    "When did probes come to Mercury?",
    "Who built the first piano?",
    "Which metal melts at 1,064 degrees?",
]

ENCODED = ("ids", "mask", "segments")


class Words:
    """A tokenizer's vocabulary."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def get_vocab(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}


def made(**changes: Any) -> RetroForCausalLM:
    encoder = tiny.model().config.encoder
    model = tiny.model(ranker={**encoder, **changes})
    assert model.ranker is not None
    model.ranker.own_ids = torch.arange(len(tiny.encoder_tokenizer()))
    return model


# -- tokens ---------------------------------------------------------------------------------


def test_tokens_are_the_rankers_own_by_name_and_marks_by_what_they_mark() -> None:
    reader = Words("<s>", "<pad>", "</s>", "red", "green", *map(str, range(20)))
    ranker = Words("[PAD]", "[UNK]", "[CLS]", "[SEP]", "green", *map(str, range(20)))
    own = shared_ids(reader, ranker, 30).tolist()
    assert own[:5] == [2, 0, 3, 1, 4]
    assert own[5:25] == list(range(5, 25))
    assert own[25:] == [1] * 5


def test_a_ranker_of_another_language_is_refused() -> None:
    with pytest.raises(UserError, match="knows 3 of the encoder's 5 tokens"):
        shared_ids(Words("[CLS]", "[SEP]", "[PAD]", "a", "b"), Words("[PAD]", "[CLS]", "[SEP]"), 5)


# -- logits and their loss ------------------------------------------------------------------


def test_a_passage_has_its_logit_whatever_stands_beside_it() -> None:
    ranker = made(dropout=0.0).ranker
    assert ranker is not None
    rows = tiny.rows([[[0, 1]], [[2, 3]]])
    lengths = rows.mask.sum(1).tolist()
    assert len(set(lengths)) > 1
    with torch.no_grad():
        together = ranker(rows)
        alone = [
            ranker(replace(rows, **{n: getattr(rows, n)[i : i + 1, :size] for n in ENCODED}))
            for i, size in enumerate(lengths)
        ]
        training = ranker.train()(rows)
    assert together.shape == (4,)
    assert len(set(together.tolist())) == 4
    torch.testing.assert_close(together, torch.cat(alone))
    torch.testing.assert_close(training, together)


def test_it_reads_its_own_ids() -> None:
    ranker = made().ranker
    assert ranker is not None
    rows = tiny.rows([[[0]]])
    with torch.no_grad():
        before = ranker(rows)
        ranker.own_ids = torch.roll(ranker.own_ids, 1)
        assert not torch.allclose(ranker(rows), before)
        moved = replace(rows, ids=torch.roll(torch.arange(len(ranker.own_ids)), -1)[rows.ids])
        torch.testing.assert_close(ranker(moved), before)


def softmax(*logits: float) -> list[float]:
    total = sum(map(math.exp, logits))
    return [math.exp(one) / total for one in logits]


def test_the_loss_is_that_of_the_gold_passages_or_of_none() -> None:
    logits = torch.tensor([0.5, -1.0, 2.0, 0.3])
    place = torch.tensor([[0, 1, -1], [2, 3, -1], [-1, -1, -1]])

    def loss(*gold: int) -> list[float]:
        right = torch.zeros(4, dtype=torch.bool)
        right[list(gold)] = True
        return [float(x) for x in ranking_loss(logits, right, place)]

    none, first, second = softmax(0.0, 0.5, -1.0)
    assert loss(0)[0] == pytest.approx(-math.log(first), abs=1e-4)
    assert loss(0, 1)[0] == pytest.approx(-math.log(first + second), abs=1e-4)
    assert loss(2)[0] == pytest.approx(-math.log(none), abs=1e-4)
    assert loss(3)[1] == pytest.approx(-math.log(softmax(0.0, 2.0, 0.3)[2]), abs=1e-4)
    assert loss(0)[2] == pytest.approx(0.0, abs=1e-4)  # nothing found: none, surely


# -- checkpoints ----------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return tiny.write_base(tmp_path / "base"), tiny.write_encoder(tmp_path / "encoder")


@pytest.mark.parametrize("rank", [0, 2])
def test_a_checkpoint_keeps_what_the_ranker_learned(
    rank: int, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    base, encoder = map(str, folders)
    ranker = {"lora_rank": rank, "num_hidden_layers": 1}
    model = retrofit(
        base, encoder, chunk_size=4, cca_layers=[1], ranker_name=encoder, ranker=ranker
    )
    assert isinstance(model.ranker, Ranker)
    assert model.ranker.own_ids.tolist() == list(range(len(tiny.encoder_tokenizer())))
    learning = {n for n, p in model.ranker.named_parameters() if p.requires_grad}
    assert {"logit.weight", "logit.bias"} < learning
    assert "encoder.tokens.weight" not in learning
    assert any("lora_" in name for name in learning) == bool(rank)
    assert rank == 0 or all("lora_" in n for n in learning if n.startswith("encoder."))
    with torch.no_grad():
        for weight in trained_parameters(model.ranker):
            weight.add_(torch.randn_like(weight) * 0.1).copy_(weight.bfloat16())
    save(model, tmp_path / "saved")
    _, held = read_checkpoint(tmp_path / "saved")
    kept = {n.removeprefix("ranker.") for n in held if n.startswith("ranker.")}
    assert kept == learning | {"own_ids"}
    again = load(tmp_path / "saved")
    ours, theirs = model.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_folded_and_rounded_it_ranks_nearly_alike(folders: tuple[Path, Path]) -> None:
    base, encoder = map(str, folders)
    more: dict[str, Any] = {"ranker_name": encoder, "ranker": {"lora_rank": 2}}
    model = retrofit(base, encoder, chunk_size=4, cca_layers=[1], dtype=torch.float32, **more)
    tiny.randomise(model)
    assert model.ranker is not None
    rows = tiny.rows([[[0, 1]], [[2, 3]]])
    with torch.no_grad():
        before = model.ranker(rows)
        model.fold()
        torch.testing.assert_close(model.ranker(rows), before, atol=1e-4, rtol=1e-4)
        model.in_eight_bits()
        after = model.ranker(rows)
    assert not torch.equal(after, before)
    assert (after - before).norm() < 0.1 * before.norm()


# -- answering ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    """A tiny world whose checkpoint has a ranker."""
    folder = tmp_path_factory.mktemp("world")
    world = tiny.world(folder)
    encoder = str(world.encoder)
    more: dict[str, Any] = {"ranker_name": encoder, "ranker": {}, "match_weight": 0.5}
    shape: dict[str, Any] = {"chunk_size": 32, "max_span": 6, "cca_layers": [1], "num_read": 2}
    model = retrofit(str(world.base), encoder, **shape, **more)
    tiny.randomise(model)
    save(model, world.checkpoint)
    opened = Answerer.open(world.index, world.checkpoint, num_samples=2)
    opened.drafter.model.float()
    return opened


def test_passages_rank_by_their_logit_and_their_match(answerer: Answerer) -> None:
    found = answerer.retriever.search_batch(ASKED, 6)
    ranks = answerer.rank_scores(ASKED, found)
    windows = answerer.windows_of(found, [range(len(n)) for n in found])
    logits = answerer.drafter.rank(ASKED, windows)
    for question, n, row, own in zip(ASKED, found, ranks, logits, strict=True):
        match = match_prior(question, n, answerer.retriever.idf)
        assert row == pytest.approx([a + 0.5 * b for a, b in zip(own, match, strict=True)])
        assert len(set(own)) > 1


def test_the_highest_are_found_and_of_them_the_highest_read(
    answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = answerer.retriever.search(ASKED[0], 6)
    [ranks] = answerer.rank_scores(ASKED[:1], [wide])
    best = sorted(range(6), key=lambda i: -ranks[i])
    [kept] = answerer.find(ASKED[:1], 3)
    assert set(kept.chunk_ids.tolist()) == {int(wide.chunk_ids[i]) for i in best[:3]}
    read: list[list[str]] = []
    draft, ranked = answerer.drafter.draft, []

    def watched(questions: Any, windows: Any, texts: Any, *rest: Any) -> Any:
        read.extend(texts)
        return draft(questions, windows, texts, *rest)

    rank = answerer.drafter.rank

    def counted(questions: Any, windows: Any) -> Any:
        ranked.append([len(row) for row in windows])
        return rank(questions, windows)

    monkeypatch.setattr(answerer.drafter, "draft", watched)
    monkeypatch.setattr(answerer.drafter, "rank", counted)
    answer = answerer.answer(ASKED[0], k=3)
    assert [set(texts) for texts in read] == [{wide.texts[i] for i in best[:2]}]
    assert ranked == [[6]]  # once for all that was searched
    assert answer.signals["rank_best"] == pytest.approx(ranks[best[0]], abs=1e-4)
    assert answer.signals["rank_gap"] == pytest.approx(ranks[best[0]] - ranks[best[1]], abs=1e-4)


def test_given_passages_are_ranked_too(answerer: Answerer) -> None:
    found = answerer.find(ASKED[:2], 3)
    given = answerer.answer_batch(ASKED[:2], neighbours=found)
    searched = answerer.answer_batch(ASKED[:2], k=3)
    for ours, theirs in zip(given, searched, strict=True):
        assert ours.candidate == theirs.candidate
        assert ours.signals == pytest.approx(theirs.signals, rel=1e-3, abs=1e-3)


def test_nothing_found_is_nothing_to_rank(answerer: Answerer) -> None:
    store = answerer.retriever.store
    everything = {store.document(row).id for row in store.present()}
    (answer,) = answerer.answer_batch(ASKED[:1], exclude=[everything])
    assert answer.reason == "out_of_scope"
    assert "rank_best" not in answer.signals


def test_it_is_part_of_the_configuration(answerer: Answerer) -> None:
    assert answerer.checkpoint is not None
    config = json.loads((answerer.checkpoint / "config.json").read_text())
    assert config["ranker"]["num_hidden_layers"] == 2
    assert config["match_weight"] == 0.5
