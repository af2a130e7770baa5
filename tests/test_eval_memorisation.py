"""What was copied from the database: the longest run by brute force, and the whole report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from index_fakes import small_index, write_facts

from eval import memorisation
from eval.memorisation import Database
from index.chunks import TokenizedText
from index.errors import UserError
from index.grow import remove_documents
from index.keys import HashingKeyEncoder
from index.retriever import Retriever
from retro import cli
from retro.generation import Continuation, Generator, Retrieved
from retro.windows import Windower

Texts = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=4)


class Store:
    """Documents that are all present."""

    def __init__(self, documents: list[list[int]]) -> None:
        self.documents = documents

    def present(self) -> range:
        return range(len(self.documents))

    def tokenized(self, row: int) -> TokenizedText:
        ids = np.array(self.documents[row], np.int64)
        return TokenizedText(ids, np.zeros((len(ids), 2), np.int64))


@given(Texts, st.lists(st.integers(0, 3), max_size=9), st.integers(-1, 3))
def test_the_longest_run_stands_in_one_document(
    documents: list[list[int]], tokens: list[int], absent: int
) -> None:
    database = Database(Store(documents))  # type: ignore[arg-type]
    length, start, place = database.longest_run(tokens, absent)
    runs = [tokens[i:j] for i in range(len(tokens)) for j in range(i + 1, len(tokens) + 1)]
    texts = [d for row, d in enumerate(documents) if row != absent]
    held = [r for r in runs if any(d[i : i + len(r)] == r for d in texts for i in range(len(d)))]
    assert length == max(map(len, held), default=0)
    if length:
        assert database.tokens[place : place + length].tolist() == tokens[start : start + length]
        own = set(database.documents[place : place + length])
        assert len(own) == 1
        assert own != {absent}


@pytest.fixture
def generator(tmp_path: Path) -> Generator:
    windower = Windower(tiny.encoder_tokenizer(), tiny.decoder_tokenizer())
    index = tiny.write_index(tmp_path / "index")
    return Generator(tiny.model(), Retriever.open(index, HashingKeyEncoder()), windower)


class Parrot:
    """With retrieval it writes the first thing that it found; without, one token for ever."""

    def __init__(self, generator: Generator) -> None:
        self.retriever, self.model = generator.retriever, generator.model
        self.windower = generator.windower

    def generate(
        self, prompts: list[str], *, k: int, exclude: set[str], **_: object
    ) -> list[Continuation]:
        if not k:
            return [Continuation("", (0,) * 12, ())]
        found = self.retriever.search(prompts[0], k, exclude)
        assert exclude.isdisjoint(found.doc_ids)
        tokens = tuple(found.tokens[0][:12].tolist())
        return [Continuation("", tokens, (Retrieved(prompts[0], found),))]


def test_a_model_that_repeats_what_it_reads_is_found_out(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memorisation, "LONG", 4)
    parrot: Any = Parrot(generator)
    found = memorisation.run(parrot, num_prompts=5, num_chunks=3, k=1).figures
    assert found["on"]["mean_share"] == 1.0
    assert found["on"]["long"] > found["on"]["num_chunks"] / 2  # a document may end sooner
    assert found["on"]["long_heard"] >= found["on"]["long"] / 2  # another may hold the same
    assert found["off"]["mean_run"] == 0.0
    assert 0 < found["people"]["mean_share"] < 1
    assert found["longest"][0]["length"] == 4


def test_nothing_to_continue_is_the_users_mistake(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(generator.retriever.store), "chunks_of", lambda *_: range(1))
    with pytest.raises(UserError, match="nothing to continue"):
        memorisation.run(generator, num_prompts=1, num_chunks=1, k=1)


def test_it_runs_from_the_command_line(
    generator: Generator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("retro.retrofit.load", lambda _: generator.model)
    monkeypatch.setattr(Generator, "of", lambda *_: generator)
    monkeypatch.setattr(Retriever, "open", lambda *_: generator.retriever)
    given = ["--index", str(tmp_path / "index"), "--out", str(tmp_path / "out")]
    assert cli.main(["eval", "copying", *given, "--prompts", "2"]) == cli.DONE
    assert "Copied word for word" in capsys.readouterr().out
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["on"]["num_chunks"] == 4


def test_removed_documents_are_nobody_to_copy_from(tmp_path: Path) -> None:
    """They were compared with, and continued, though no search finds them."""
    small_index(write_facts(tmp_path), tmp_path / "index")
    store = Retriever.open(tmp_path / "index").store
    tokens = store.tokenized(store.rows["camel"]).ids.tolist()
    assert Database(store).longest_run(tokens)[0] == len(tokens)
    remove_documents(tmp_path / "index", ["camel"])
    left = Database(Retriever.open(tmp_path / "index").store)
    assert left.longest_run(tokens)[0] < len(tokens)
