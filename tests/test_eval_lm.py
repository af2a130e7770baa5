"""What neighbours give to language modelling: overlap by hand, and the report of a tiny model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import test_retro_train_lm as made
import tiny
from hypothesis import given
from hypothesis import strategies as st

from eval import lm
from index.errors import UserError
from index.retriever import Retriever
from retro import cli
from retro.retrofit import save
from retro.text_data import NOTHING
from retro.train_lm import Text

folders, retriever = made.folders, made.retriever
Tokens = st.lists(st.integers(0, 3), max_size=12)


@given(Tokens, Tokens)
def test_the_longest_run_is_that_of_all_runs(a: list[int], b: list[int]) -> None:
    runs = [a[i:j] for i in range(len(a)) for j in range(i + 1, len(a) + 1)]
    held = [len(r) for r in runs if any(b[k : k + len(r)] == r for k in range(len(b)))]
    assert lm.longest_run(np.array(a, int), np.array(b, int)) == max(held, default=0)


@pytest.fixture
def text(folders: tuple[Path, Path], retriever: Retriever) -> Text:
    model = made.fresh(folders)
    tiny.randomise(model)
    return Text(model.eval(), made.sequences(retriever), made.WINDOWER)


def test_a_chunk_overlaps_what_the_chunk_before_it_retrieved(text: Text) -> None:
    data = text.data
    shared = lm.overlaps(data, [0, 1], made.CHUNK)
    assert shared.shape == (2, 2)
    chunk = data.tokens[0].reshape(-1, made.CHUNK)[1]
    chunk = chunk[chunk != NOTHING]
    heard = [data.windows[c].tokens for c in data.neighbours[0, 0]]
    assert shared[0, 0] == max(lm.longest_run(chunk, h) for h in heard) / made.CHUNK
    data.windows.append(replace(data.windows[0], tokens=chunk))
    data.neighbours[0, 0, 0] = len(data.windows) - 1  # all of the chunk stands there
    assert lm.overlaps(data, [0], made.CHUNK)[0, 0] == len(chunk) / made.CHUNK


def test_retrieval_changes_the_bits_and_every_level_counts_fewer_chunks(text: Text) -> None:
    report = lm.run(text, None, num_resamples=20)
    levels = report.figures["levels"]
    assert [row["alpha"] for row in levels] == list(lm.ALPHAS)
    counts = [row["num_chunks"] for row in levels]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 0
    first = levels[0]
    assert len({first["off"], first["on"], first["random"]}) == 3
    assert first["gain"][0] == pytest.approx(1 - first["on"] / first["off"])
    assert first["gain_over_random"][0] == pytest.approx(1 - first["on"] / first["random"])


def test_nothing_held_out_is_the_users_mistake(text: Text) -> None:
    text.data.held[:] = False
    with pytest.raises(UserError, match="no held-out sequence"):
        lm.run(text, None)


def test_text_in_chunks_of_another_size_is_the_users_mistake(text: Text) -> None:
    """It was a failed assertion in the middle of the model."""
    text.model.config.chunk_size *= 2
    with pytest.raises(UserError, match=r"cut into chunks of .* the model wants"):
        Text.of(text.model, text.data)


def test_it_runs_from_the_command_line(
    text: Text, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(text.model, tmp_path / "checkpoint")
    text.data.save(tmp_path / "text.npz")
    monkeypatch.setattr("retro.retrofit.load_tokenizer", _tokenizer)
    given = ["--data", str(tmp_path / "text.npz"), "--checkpoint", str(tmp_path / "checkpoint")]
    out = ["--out", str(tmp_path / "out"), "--resamples", "10"]
    assert cli.main(["eval", "lm", *given, *out]) == cli.DONE
    assert "Bits per byte" in capsys.readouterr().out
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["levels"][0]["off"] > 0
    assert "index" not in report["origin"]


def _tokenizer(name: str) -> object:
    return tiny.encoder_tokenizer() if name == "minilm" else tiny.decoder_tokenizer()
