"""Training on text: no neighbour from its own document, a loss that falls, a run that resumes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from index import weights
from index.keys import HashingKeyEncoder
from index.retriever import Retriever
from retro import cli, train_setup
from retro import retrofit as retrofit_module
from retro.model import RetroForCausalLM
from retro.retrofit import load, retrofit
from retro.text_data import NOTHING, TextSet, prepare_text
from retro.train_lm import Text, TextRecipe, _batches, bits_per_byte, train_text
from retro.tuning import Base
from retro.windows import Windower

WINDOWER = Windower(tiny.encoder_tokenizer(), tiny.decoder_tokenizer())
CHUNK = 8
RECIPE = TextRecipe(steps=6, batch_size=3, lr=3e-3, warmup=2, checkpoint_minutes=99)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("weights")
    return tiny.write_base(folder / "base"), tiny.write_encoder(folder / "encoder")


@pytest.fixture(scope="module")
def retriever(tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    index = tiny.write_index(tmp_path_factory.mktemp("index") / "index", CHUNK)
    return Retriever.open(index, HashingKeyEncoder())


def sequences(retriever: Retriever, limit: int | None = None, num_chunks: int = 3) -> TextSet:
    return prepare_text(
        retriever,
        WINDOWER,
        num_chunks=num_chunks,
        num_neighbours=2,
        limit=limit,
        seed=0,
        names=("smollm2-135m", "minilm"),
    )


@pytest.fixture
def text(folders: tuple[Path, Path], retriever: Retriever) -> Callable[[], Text]:
    """Makes the same model on the same sequences each time it is called."""
    return lambda: Text(fresh(folders), sequences(retriever), WINDOWER)


SHAPE: dict[str, Any] = {"chunk_size": CHUNK, "max_span": 4, "cca_layers": [0, 1]}


def fresh(folders: tuple[Path, Path]) -> RetroForCausalLM:
    torch.manual_seed(0)
    base, encoder = folders
    return retrofit(str(base), str(encoder), **SHAPE)


def silent(_: str) -> None: ...


def state(text: Text) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in text.model.state_dict().items()}


# -- sequences ------------------------------------------------------------------------------


def test_sequences_are_the_documents_own_tokens_in_order(retriever: Retriever) -> None:
    data, store = sequences(retriever), retriever.store
    at = 0
    for row in range(store.num_documents):
        chunks = store.chunks_of(row)
        for first in range(chunks.start, chunks.stop, 3):
            part = range(first, min(first + 3, chunks.stop))
            if len(part) < 2:
                continue
            expected = np.concatenate([store.tokens(c) for c in part])
            assert data.tokens[at][: len(expected)].tolist() == expected.tolist()
            assert (data.tokens[at][len(expected) :] == NOTHING).all()
            said = tiny.decoder_tokenizer().decode(expected)
            blanks = len(part)  # one before a chunk is of no chunk's text
            assert data.num_bytes[at].sum() == pytest.approx(len(said.encode()), abs=blanks)
            at += 1
    assert at == len(data)


def test_no_neighbour_comes_from_its_own_document(retriever: Retriever) -> None:
    data, store = sequences(retriever), retriever.store
    owner = {}
    for row in range(store.num_documents):
        for first in list(store.chunks_of(row))[::3]:
            owner[tuple(store.tokens(first).tolist())] = row
    seen = 0
    for tokens, found in zip(data.tokens, data.neighbours, strict=True):
        row = owner[tuple(tokens[:CHUNK].tolist())]
        own = store.tokenized(row).ids.tolist()
        for number in found[found != NOTHING].tolist():
            window = data.windows[number].tokens.tolist()
            assert all(own[i : i + len(window)] != window for i in range(len(own)))
            seen += 1
    assert seen > len(data)


def test_a_neighbour_is_what_search_finds_in_other_documents(retriever: Retriever) -> None:
    data, store = sequences(retriever), retriever.store
    row = next(r for r in range(store.num_documents) if len(store.chunks_of(r)) > 1)
    document = store.document(row)
    _, start, end = store.chunk_span(store.chunks_of(row)[0])
    [found] = retriever.search_batch([document.text[start:end]], 2, [[document.id]])
    heard = [data.windows[n] for n in data.neighbours[0, 0]]
    expected = WINDOWER.windows(found.texts, found.titles)
    assert [w.tokens.tolist() for w in heard] == [w.tokens.tolist() for w in expected]
    assert [w.title_ids.tolist() for w in heard] == [w.title_ids.tolist() for w in expected]


def test_only_windows_that_were_found_are_kept_and_each_once(retriever: Retriever) -> None:
    """All windows of a corpus of 117,000 documents took more than 20 GB."""
    data = sequences(retriever, limit=2)
    heard = data.neighbours[data.neighbours != NOTHING]
    assert sorted(set(heard.tolist())) == list(range(len(data.windows)))
    assert len(data.windows) < len(retriever.store)


@pytest.mark.parametrize("limit", [None, 4])
def test_whole_documents_are_held_out(retriever: Retriever, limit: int | None) -> None:
    data = sequences(retriever, limit)
    assert 0 < data.held.sum() < len(data)


def test_a_set_comes_back_as_it_was(retriever: Retriever, tmp_path: Path) -> None:
    data = sequences(retriever, limit=7)
    assert len(data) == 7
    data.save(tmp_path / "text.npz")
    again = TextSet.load(tmp_path / "text.npz")
    for name in ("tokens", "neighbours", "num_bytes", "held"):
        assert np.array_equal(getattr(again, name), getattr(data, name))
    assert [q.tolist() for q in again.queries] == [q.tolist() for q in data.queries]
    for ours, theirs in zip(data.windows, again.windows, strict=True):
        assert ours.tokens.tolist() == theirs.tokens.tolist()
        assert ours.first.tolist() == theirs.first.tolist()
    assert (again.base, again.encoder) == (data.base, data.encoder)


# -- training -------------------------------------------------------------------------------


def test_bits_per_byte_without_retrieval_are_the_bases_own(text: Callable[[], Text]) -> None:
    made = text()
    nats = 0.0
    for number in range(3):
        tokens = made.data.tokens[number]
        ids = torch.from_numpy(tokens[tokens >= 0]).long()[None]
        with torch.no_grad():
            loss = made.model.base(ids, labels=ids).loss
        nats += float(loss) * (ids.shape[1] - 1)
    expected = nats / math.log(2) / made.data.num_bytes[:3].sum()
    assert bits_per_byte(made, range(3), "off") == pytest.approx(expected, rel=1e-4)


def test_a_fresh_model_gains_nothing_from_neighbours(text: Callable[[], Text]) -> None:
    made = text()
    off, on, random = (bits_per_byte(made, range(4), how) for how in ("off", "on", "random"))
    assert on == pytest.approx(off, rel=1e-6)
    assert random == pytest.approx(off, rel=1e-6)


@pytest.mark.parametrize("encoder", [False, True])
def test_a_short_run_lowers_the_loss_and_touches_what_it_trains(
    encoder: bool, text: Callable[[], Text], tmp_path: Path
) -> None:
    made = text()
    learned = np.flatnonzero(~made.data.held)[:6].tolist()
    before, start = state(made), bits_per_byte(made, learned, "on")
    train_text(
        made, replace(RECIPE, steps=60, lr=5e-3, noise=0.0, encoder=encoder), tmp_path, log=silent
    )
    assert bits_per_byte(made, learned, "on") < 0.995 * start
    assert bits_per_byte(made, learned, "off") == pytest.approx(start, rel=1e-6)
    after = made.model.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == ({"cca", "encoder"} if encoder else {"cca"})


def test_a_pointer_is_learned_beside_and_lost_by_no_restart(
    folders: tuple[Path, Path], text: Callable[[], Text], tmp_path: Path
) -> None:
    base, encoder = folders
    model = retrofit(str(base), str(encoder), pointer=True, **SHAPE)
    made = Text(model, text().data, WINDOWER)
    before = state(made)
    recipe = replace(RECIPE, steps=4, cross_attention=False)
    train_text(made, recipe, tmp_path, log=silent)
    after = made.model.state_dict()
    assert {n for n in before if not torch.equal(before[n], after[n])} == {
        n for n in before if n.startswith("pointer.")
    }
    again = load(tmp_path)
    assert again.pointer is not None
    torch.testing.assert_close(again.pointer.matched, after["pointer.matched"], rtol=0.01, atol=0)


@pytest.mark.parametrize("base", ["lora", "full"])
def test_a_base_that_learns_is_kept_and_goes_on(
    base: Base, text: Callable[[], Text], tmp_path: Path
) -> None:
    made, recipe = text(), replace(RECIPE, steps=4, base=base)
    before = state(made)
    train_text(made, recipe, tmp_path / "whole", log=silent)
    after = made.model.state_dict()
    changed = {
        n.split(".")[0] for n, v in after.items() if n not in before or (v != before[n]).any()
    }
    assert changed == {"base", "cca"}
    if base == "lora":
        assert all(
            torch.equal(after[n.replace(".weight", ".base_layer.weight")], before[n])
            for n in before
            if n.startswith("base.") and n not in after
        )
    again = load(tmp_path / "whole").state_dict()
    assert again.keys() == after.keys()
    for name, value in after.items():  # what was trained is kept in bfloat16
        torch.testing.assert_close(again[name], value, rtol=0.01, atol=1e-6)
    first, second = text(), text()
    train_text(first, replace(recipe, steps=2), tmp_path / "parts", log=silent)
    train_text(second, recipe, tmp_path / "parts", log=silent)
    assert second.model.state_dict().keys() == after.keys()
    assert json.loads((tmp_path / "parts/step.json").read_text())["step"] == 4


def test_what_is_held_out_is_not_trained_on(text: Callable[[], Text]) -> None:
    made = text()
    numbers = {n for _, batch in islice(_batches(made, RECIPE, 0), 30) for n in batch}
    assert numbers == set(np.flatnonzero(~made.data.held).tolist())


def test_batches_can_be_entered_anywhere(text: Callable[[], Text]) -> None:
    made = text()
    whole = list(islice(_batches(made, RECIPE, 0), 20))
    for begin in (1, 5, 13):
        assert list(islice(_batches(made, RECIPE, begin), 4)) == whole[begin : begin + 4]


def test_noise_replaces_about_its_share_and_never_what_is_missing(text: Callable[[], Text]) -> None:
    made = text()
    found = np.repeat(made.data.neighbours, 50, axis=0)
    noisy = made.noisy(found, 0.3, np.random.default_rng(0))
    assert ((noisy == NOTHING) == (found == NOTHING)).all()
    there = found != NOTHING
    assert (noisy != found)[there].mean() == pytest.approx(0.3, abs=0.05)
    assert np.array_equal(made.noisy(found, 0.0, np.random.default_rng(0)), found)


class Stopped(Exception):
    """The machine is taken away."""


def test_stopped_and_resumed_is_as_if_never_stopped(
    text: Callable[[], Text], tmp_path: Path
) -> None:
    whole, first, second = text(), text(), text()
    train_text(whole, RECIPE, tmp_path / "whole", log=silent)
    seen: list[int] = []

    def stop() -> dict[str, float]:
        seen.append(1)
        if len(seen) == 3:
            raise Stopped
        return {}

    often = replace(RECIPE, checkpoint_minutes=0)
    with pytest.raises(Stopped):
        train_text(first, often, tmp_path / "parts", stop, log=silent)
    torch.manual_seed(99)
    train_text(second, RECIPE, tmp_path / "parts", log=silent)
    ours, theirs = whole.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


# -- from the command line ------------------------------------------------------------------


def test_it_runs_from_the_command_line(
    folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base, encoder = folders
    names = {"tiny": base, "other": encoder}
    monkeypatch.setattr(weights, "resolve", lambda name: names.get(name) or Path(name))
    monkeypatch.setattr(retrofit_module, "resolve", weights.resolve)
    monkeypatch.setattr(train_setup, "retrofit", partial(retrofit, **SHAPE))
    index = tiny.write_index(tmp_path / "index", CHUNK)
    file, out = str(tmp_path / "text.npz"), str(tmp_path / "out")
    prepare = ["train", "prepare-text", "--index", str(index), "--out", file, "--chunks", "3"]
    assert cli.main([*prepare, "--encoder", "other"]) == cli.DONE
    run = ["train", "lm", "--prepared", file, "--out", out, "--steps", "2", "--batch-size", "2"]
    assert cli.main(run) == cli.DONE
    assert "bpb off" in capsys.readouterr().out
    assert load(Path(out)).config.chunk_size == CHUNK
    assert load(Path(out)).pointer is not None
    assert cli.main([*run[:5], out + "-without", *run[6:], "--no-pointer"]) == cli.DONE
    assert load(Path(out + "-without")).pointer is None
    idle = [*run[:5], out + "-idle", *run[6:], "--no-pointer", "--no-cross-attention"]
    assert cli.main(idle) == cli.USER_MISTAKE
    assert "nothing learns" in capsys.readouterr().err
    tuned = str(tmp_path / "tuned")
    assert cli.main([*run[:5], tuned, *run[6:], "--base", "lora"]) == cli.DONE
    assert cli.main([*run[:5], tuned + "2", *run[6:], "--start", tuned]) == cli.DONE
    assert load(Path(tuned + "2")).config.base_training == "lora"
    assert cli.main([*run[:3], str(tmp_path / "no.npz"), *run[4:]]) == cli.USER_MISTAKE
    assert "no.npz" in capsys.readouterr().err
