"""From an index and question files to a training run; knows where things come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from index.errors import UserError
from index.retriever import Retriever
from index.sources import Document
from index.weights import load_tokenizer
from retro.examples import Example, Sampler, WindowTable, read_examples, read_jsonl
from retro.model import RetroForCausalLM
from retro.prompts import Prompter
from retro.retrofit import FROZEN, retrofit
from retro.train_qa import LOSSES, Reading, TrainConfig, reading_quality, train
from retro.windows import Windower

DEPTH = 24
"""Neighbours searched for a question, from which distractors are drawn."""

NUM_CHECKED = 200
"""Held-out questions on which a run reports EM and F1 of its reading."""


def run_qa(
    config: TrainConfig,
    index: Path,
    data: Sequence[Path],
    out: Path,
    start: Path | None,
    *,
    searched: bool,
    hold_out: int,
    threads: int | None = None,
) -> None:
    """Trains one stage and writes the checkpoint to ``out``.

    Raises:
        UserError: the stage is unknown, or no question's passage is in the index.
    """
    if config.stage not in LOSSES:
        raise UserError(f"--stage {config.stage}: choose one of {', '.join(LOSSES)}")
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(config.seed)
    retriever = Retriever.open(index)
    documents = all_documents(retriever)
    model = start_from(start)
    windower = Windower(
        load_tokenizer(model.config.encoder_name), load_tokenizer(model.config.base_name)
    )
    print(f"Cutting {len(documents):,} documents into windows ...", flush=True)
    table = WindowTable.build(documents, windower, retriever.manifest.chunk_size)
    rows = (row for path in data for row in read_jsonl(path))
    examples = read_examples(rows, documents, table, windower)
    held = held_out_titles([documents[e.document].title for e in examples], hold_out)
    learned = [e for e in examples if documents[e.document].title not in held]
    checked = [e for e in examples if documents[e.document].title in held and e.gold]
    learned = usable(learned, config)
    retrieved = searched_once(retriever, learned, out) if searched else None
    prompter = Prompter(windower.decoder, model.eos, model.config.chunk_size)
    reading = Reading(
        model,
        learned,
        table,
        windower,
        prompter,
        Sampler(
            learned,
            table,
            num_neighbours=config.num_neighbours,
            removed=config.removed,
            retrieved=retrieved,
            seed=config.seed,
        ),
    )
    print(f"{len(learned):,} questions to learn from, {len(held)} titles held out", flush=True)
    train(reading, config, out, quality_on(reading, checked), log=_log)


def quality_on(
    reading: Reading, checked: Sequence[Example]
) -> Callable[[], dict[str, float]] | None:
    """Reading quality on held-out questions with their own passage, or None without any."""
    if not checked:
        return None
    part = checked[:: -(-len(checked) // NUM_CHECKED)]
    own = [reading.table.covering(example.document)[:8] for example in part]
    return lambda: reading_quality(reading, part, own)


def usable(examples: Sequence[Example], config: TrainConfig) -> list[Example]:
    """Examples the stage can learn from, no more than its steps will see, evenly drawn."""
    kept = [e for e in examples if e.gold or (config.stage == "reader" and not e.answers)]
    if not kept:
        raise UserError("no question to learn from: the index must hold the questions' passages")
    wanted = min(len(kept), config.steps * config.batch_size)
    order = np.random.default_rng(config.seed).permutation(len(kept))[:wanted]
    return [kept[i] for i in sorted(order)]


def all_documents(retriever: Retriever) -> list[Document]:
    """Every document of the index, in its own order (window i begins with chunk i)."""
    return [retriever.store.document(i) for i in range(retriever.store.num_documents)]


def held_out_titles(titles: Iterable[str], count: int) -> set[str]:
    """The same ``count`` titles for training and for the confidence head."""
    names = sorted(set(titles))
    return {names[i] for i in np.random.default_rng(7).permutation(len(names))[:count]}


def searched_once(
    retriever: Retriever, examples: Sequence[Example], out: Path
) -> list[list[int]]:
    """Neighbours of all examples, kept in ``out`` so that a resumed run need not search again."""
    file = out / "neighbours.npz"
    ids = np.asarray([f"{e.id} {e.question}" for e in examples])
    if file.is_file():
        with np.load(file, allow_pickle=False) as kept:
            if np.array_equal(kept["ids"], ids):
                return [[int(c) for c in row if c >= 0] for row in kept["chunks"]]
    found = search_all(retriever, examples)
    chunks = np.full((len(found), DEPTH), -1, np.int64)
    for row, values in zip(chunks, found, strict=True):
        row[: len(values)] = values
    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, ids=ids, chunks=chunks)
    return found


def search_all(retriever: Retriever, examples: Sequence[Example]) -> list[list[int]]:
    """Window ids of ``DEPTH`` neighbours of every example's question."""
    out: list[list[int]] = []
    for begin in range(0, len(examples), 512):
        questions = [e.question for e in examples[begin : begin + 512]]
        found = retriever.search_batch(questions, DEPTH)
        out += [[int(c) for c in neighbours.chunk_ids] for neighbours in found]
        print(f"\rsearched {len(out):,}/{len(examples):,}", end="", flush=True)
    print()
    return out


def start_from(folder: Path | None) -> RetroForCausalLM:
    """A fresh model, with the trained weights of a checkpoint folder if one is given."""
    model = retrofit()
    if torch.cuda.is_available():
        model.to("cuda")
    if folder is not None:
        file = folder / "model.safetensors"
        if not file.is_file():
            raise UserError(f"{folder}: no checkpoint here to start from")
        state = {k: v for k, v in load_file(file).items() if not k.startswith(FROZEN)}
        model.load_state_dict(state, strict=False)
    return model


def _log(line: str) -> None:
    print(line, flush=True)
