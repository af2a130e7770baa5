"""From an index and question files to a training run; knows where things come from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch

from index.chunks import tokenizer_fingerprint
from index.disk import claim
from index.errors import UserError
from index.recipe import lasting
from index.sources import Document
from retro.examples import (
    Example,
    Sampler,
    WindowTable,
    numbers_by_text,
    read_examples,
    read_jsonl,
)
from retro.model import RetroForCausalLM
from retro.posteriors import ensemble, laplace
from retro.prepared import Prepared
from retro.processes import processes, tell
from retro.prompts import Prompter
from retro.ranking import Ranker
from retro.retrofit import is_base, load_windower, read_checkpoint, retrofit
from retro.sampling import save_members
from retro.shipped import DEFAULT_CHECKPOINT, ranker_of
from retro.text_data import TextSet, prepare_text
from retro.train_lm import RETRIEVALS, Text, TextRecipe, bits_per_byte, train_text
from retro.train_qa import (
    LOSSES,
    Reading,
    TrainConfig,
    answering_quality,
    batches,
    reading_quality,
    train,
)
from retro.tuning import Base, tune

if TYPE_CHECKING:
    from index.retriever import Retriever
    from index.store import TokenStore
    from retro.windows import Windower

KEPT = 24
"""Neighbours of a question from which distractors are drawn: those that would be read first."""

NUM_CHECKED = 200
"""Held-out questions on which a run reports EM and F1 of its reading."""

READS = ("encoder", "reader")
"""Parts of a model that know no decoder."""

READING = "chunk_size num_neighbours num_read neighbour_len max_span prior_weight dropout_layers"
WRITING = "cca_layers cca_dropout copy_head context_neighbours lora_rank"
"""What a model's configuration says of how it reads, and how it writes."""

Asked = tuple[int, dict[str, Any]]
"""The number of the document that a question is about, and the question's row."""


def prepare(
    index: Path,
    data: Sequence[Path],
    out: Path,
    *,
    searched: bool,
    hold_out: int,
    limit: int | None,
    seed: int,
    decoder: str | None = None,
    encoder: str = "minilm",
) -> Prepared:
    """Everything ``run_qa`` needs, in one file; with ``limit`` only that many questions, drawn
    evenly, and those of the held-out titles. With ``searched`` it holds the windows of the
    documents that are asked about or found, and not the whole database. ``decoder``: whose base
    is to be RETROfitted; default: whose tokens the index holds.

    Raises:
        UserError: no question's passage is in the index, documents were removed from it, it holds
            another decoder's tokens, all titles are held out, or ``out`` cannot be written.
    """
    claim(out.parent)
    retriever = _open_compact(index)
    windower, base = _windower(retriever, decoder, encoder)
    documents = present_documents(retriever)
    rows = _about(documents, (row for path in data for row in read_jsonl(path)))
    titles = [documents[own].title for own, _ in rows]
    held = held_out_titles(titles, hold_out)
    if held and held.issuperset(titles):
        raise UserError(
            f"--hold-out {hold_out}: the questions are of {len(held)} titles, and none is left to "
            "learn from; give less"
        )
    rows = _drawn(rows, [title in held for title in titles], limit, seed)
    found = search_all(retriever, [row["question"] for _, row in rows]) if searched else None
    used = _used(retriever.store, [own for own, _ in rows], found)
    kept = [documents[number] for number in used]
    print(f"Cutting {len(kept):,} documents into windows ...", flush=True)
    table = WindowTable.build(kept, windower, retriever.manifest.chunk_size)
    examples = read_examples((row for _, row in rows), kept, table, windower)
    keep = [i for i, e in enumerate(examples) if e.gold or not e.answers]
    if not keep:
        raise UserError("no question to learn from: the index must hold the questions' passages")
    if found is not None:
        moved = _moved(retriever.store, used, table)
        found = [[moved[chunk] for chunk in found[i]] for i in keep]
    prepared = Prepared(table, [examples[i] for i in keep], found, frozenset(held), base, encoder)
    prepared.save(out)
    print(f"{out}: {len(keep):,} questions, {len(table.windows):,} windows", flush=True)
    return prepared


def _about(documents: Sequence[Document], rows: Iterable[dict[str, Any]]) -> list[Asked]:
    """The rows whose ``context`` is a document, with its number; numbered where they have no id."""
    number_of = numbers_by_text(documents)
    found = ((number_of.get(row.get("context", "").strip()), row) for row in rows)
    return [(own, {"id": i, **row}) for i, (own, row) in enumerate(found) if own is not None]


def _drawn(
    rows: Sequence[Asked], held: Sequence[bool], limit: int | None, seed: int
) -> list[Asked]:
    """All held-out questions that are checked, and ``limit`` of the others."""
    order = np.random.default_rng(seed).permutation(len(rows))
    learned = [i for i in order if not held[i]][:limit]
    checked = [i for i in order if held[i] and rows[i][1].get("answers")][:NUM_CHECKED]
    return [rows[i] for i in sorted([*learned, *checked])]


def _used(
    store: TokenStore, own: Sequence[int], found: Sequence[Sequence[int]] | None
) -> Sequence[int]:
    """The documents that questions are about or find; all, where nothing was searched."""
    if found is None:
        return range(store.num_documents)
    chunks = np.asarray([chunk for row in found for chunk in row], np.int64)
    used = np.union1d(np.asarray(own, np.int64), store.document_rows()[chunks])
    return [int(number) for number in used]


def _moved(store: TokenStore, used: Sequence[int], table: WindowTable) -> dict[int, int]:
    """The window of each chunk of the documents in use."""
    chunks = (chunk for number in used for chunk in store.chunks_of(number))
    windows = (window for row in table.chunks_of for window in row)
    return dict(zip(chunks, windows, strict=True))


@processes()
def run_qa(
    config: TrainConfig,
    prepared: Prepared,
    out: Path,
    start: Path | None,
    threads: int | None = None,
) -> None:
    """Trains one stage on a prepared set and writes the checkpoint to ``out``.

    Raises:
        UserError: the stage is unknown or does not train the base, a run that starts from a
            checkpoint is to change its encoder's shape, or ``out`` cannot be written.
    """
    if config.stage not in LOSSES:
        raise UserError(f"--stage {config.stage}: choose one of {', '.join(LOSSES)}")
    if config.stage == "reader" and config.base != "frozen":
        raise UserError(f"--base {config.base}: the decoder learns in --stage answer only")
    if start is not None and (config.encoder_lora or config.encoder_layers is not None):
        raise UserError(
            f"--encoder-layers, --encoder-lora: {start} has its own; leave them out with --start"
        )
    if config.stage == "reader" and config.context_neighbours:
        raise UserError("--context-neighbours: the decoder learns in --stage answer only")
    claim(out)
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(config.seed)
    model = start_from(start, prepared, config.encoder_changes())
    if config.context_neighbours is not None:
        model.config.context_neighbours = config.context_neighbours
    reading, checked = reading_of(prepared, model, config)
    tell(f"{len(reading.examples):,} questions to learn from, {len(checked)} to check")
    train(reading, config, out, quality_on(reading, checked, config.stage))


def reading_of(
    prepared: Prepared, model: RetroForCausalLM, config: TrainConfig
) -> tuple[Reading, list[Example]]:
    """What a stage trains on, without the held-out titles; and their questions, to be checked.

    Raises:
        UserError: nothing is left to train on.
    """
    windower = load_windower(prepared.encoder, prepared.base)
    keep = [
        i
        for i, e in enumerate(prepared.examples)
        if prepared.title(e) not in prepared.held and (e.gold or config.stage == "reader")
    ]
    if not keep:
        raise UserError("--prepared: no question to learn from, all are held out or not answered")
    learned = [prepared.examples[i] for i in keep]
    found = prepared.retrieved
    sampler = Sampler(
        learned,
        prepared.table,
        num_neighbours=config.num_neighbours,
        removed=config.removed,
        retrieved=None if found is None else [found[i] for i in keep],
        seed=config.seed,
    )
    prompter = Prompter(windower.decoder, model.eos, model.config.chunk_size)
    reading = Reading(model, learned, prepared.table, windower, prompter, sampler)
    return reading, [e for e in prepared.examples if prepared.title(e) in prepared.held and e.gold]


def fit_posterior(
    kind: Literal["laplace", "ensemble"],
    prepared: Prepared,
    checkpoint: Path,
    out: Path,
    *,
    steps: int,
    num_members: int,
    seed: int,
    threads: int | None = None,
) -> None:
    """Fits what span readers are drawn from (``retro.posteriors``) on ``steps`` batches.

    Raises:
        UserError: the data was prepared for another encoder, has no held-out questions (Laplace),
            or ``out`` cannot be written.
    """
    claim(out.parent)
    if threads:
        torch.set_num_threads(threads)
    model = start_from(checkpoint, prepared)
    torch.nn.Module.eval(model)
    config = TrainConfig(num_neighbours=2, seed=seed, removed=0.15)
    reading, checked = reading_of(prepared, model, config)
    drawn = batches(reading, config)
    if kind == "ensemble":
        members = ensemble(reading, drawn, num_members=num_members, steps=steps, seed=seed)
        told: dict[str, float] = {"members": num_members, "steps": steps}
    else:
        if not checked:
            raise UserError("--prepared: no held-out questions to choose the prior's precision on")
        own = replace(reading, examples=checked)
        held = [[(n, reading.table.covering(checked[n].document)[:2])] for n in range(len(checked))]
        tell(f"Fisher information of {steps * config.batch_size:,} questions ...")
        learned = list(islice(drawn, steps))
        fitted, told = laplace(reading, learned, own, held, len(reading.examples), seed)
        members = [fitted]
    save_members(members, out)
    tell(f"{out}: {json.dumps(told)}")


NUM_MEASURED = 64
"""Held-out sequences on which a run on text reports bits per byte."""


def prepare_sequences(
    index: Path,
    out: Path,
    *,
    num_chunks: int,
    num_neighbours: int,
    limit: int | None,
    seed: int,
    decoder: str | None = None,
    encoder: str = "minilm",
) -> TextSet:
    """Everything ``run_text`` needs, in one file; ``decoder`` as in ``prepare``.

    Raises:
        UserError: there is no text to model, documents were removed from the index, it holds
            another decoder's tokens, or ``out`` cannot be written.
    """
    claim(out.parent)
    retriever = _open_compact(index)
    windower, base = _windower(retriever, decoder, encoder)
    data = prepare_text(
        retriever,
        windower,
        num_chunks=num_chunks,
        num_neighbours=num_neighbours,
        limit=limit,
        seed=seed,
        names=(base, encoder),
    )
    data.save(out)
    print(f"{out}: {len(data):,} sequences, {int(data.held.sum()):,} of them held out", flush=True)
    return data


@processes()
def run_text(
    recipe: TextRecipe, data: TextSet, out: Path, start: Path | None, threads: int | None = None
) -> None:
    """Trains on text and writes the checkpoint to ``out``; reports bits per byte on held-out
    documents with retrieval off, on and random.

    Raises:
        UserError: every document is held out, ``start`` is no checkpoint, the text was cut into
            chunks of another size than its, or ``out`` cannot be written.
    """
    if data.held.all():
        raise UserError("all sequences are held out: prepare more text")
    claim(out)
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    text = Text.of(start_from(start, data, pointer=recipe.pointer), data)
    held = [int(n) for n in np.flatnonzero(data.held)[:NUM_MEASURED]]
    tell(f"{int((~data.held).sum()):,} sequences to learn from, {len(held)} to check")

    def measure() -> dict[str, float]:
        return {f"bpb {how}": bits_per_byte(text, held, how) for how in RETRIEVALS}

    train_text(text, recipe, out, measure if held else None)


def quality_on(
    reading: Reading, checked: Sequence[Example], stage: str
) -> Callable[[], dict[str, float]] | None:
    """What the stage learns, measured on held-out questions with their own passage: how they are
    read, or how likely their answers are written. None without any."""
    if not checked:
        return None
    part = checked[:: -(-len(checked) // NUM_CHECKED)]
    own = [_own_windows(reading, example) for example in part]
    measure = {"reader": reading_quality, "answer": answering_quality}[stage]
    return lambda: measure(reading, part, own)


def _own_windows(reading: Reading, example: Example) -> list[int]:
    """At most eight of the example's passage, those with an answer first."""
    own = reading.table.covering(example.document)
    return sorted(own, key=lambda chunk: chunk not in example.gold)[:8]


def present_documents(retriever: Retriever) -> list[Document]:
    """The documents of the index that were not removed, in its order."""
    return [retriever.store.document(i) for i in retriever.store.present()]


def _open_compact(index: Path) -> Retriever:
    """An index of which each document may be learned: window i begins with chunk i.

    Raises:
        UserError: some were removed and are in its files still.
    """
    from index.retriever import Retriever

    retriever = Retriever.open(index)
    if retriever.manifest.removed:
        raise UserError(
            f"{index}: holds removed documents, which are not to be learned; "
            f"free it of them first: retro index compact {index}"
        )
    return retriever


def _windower(retriever: Retriever, decoder: str | None, encoder: str) -> tuple[Windower, str]:
    """What tokenises for an encoder and a decoder, and the decoder's name.

    Raises:
        UserError: the index holds another decoder's tokens.
    """
    name = lasting(decoder or retriever.manifest.tokenizer)
    windower = load_windower(encoder, name)
    retriever.manifest.check_tokenizer(tokenizer_fingerprint(windower.decoder), name)
    return windower, name


def held_out_titles(titles: Iterable[str], count: int) -> set[str]:
    """The same ``count`` titles for training and for the confidence head."""
    names = sorted(set(titles))
    return {names[i] for i in np.random.default_rng(7).permutation(len(names))[:count]}


def search_all(retriever: Retriever, questions: Sequence[str]) -> list[list[int]]:
    """Chunk ids of the first ``KEPT`` neighbours of every question, as the ranker that is shipped
    orders them."""
    ranker = Ranker.load(ranker_of(DEFAULT_CHECKPOINT))
    out: list[list[int]] = []
    for begin in range(0, len(questions), 512):
        found = ranker.find(retriever, questions[begin : begin + 512], KEPT)
        out += [[int(c) for c in neighbours.chunk_ids] for neighbours in found]
        print(f"\rsearched {len(out):,}/{len(questions):,}", end="", flush=True)
    print()
    return out


def start_from(
    folder: Path | None,
    prepared: Prepared | TextSet,
    encoder: dict[str, int] | None = None,
    *,
    pointer: bool = False,
) -> RetroForCausalLM:
    """A fresh model, with the trained weights of a checkpoint folder if one is given.

    Of a checkpoint around another decoder than the data was prepared for, what reads is taken over
    (encoder and span reader: they know no decoder); cross-attention begins anew.
    ``encoder``: fields of ``EncoderConfig`` for a model that begins from nothing; one that goes on
    has those of its checkpoint. ``pointer``: whether the model gets one if it has none.

    Raises:
        UserError: the data was prepared for another encoder than the checkpoint's.
    """
    if folder is None:
        changes: dict[str, Any] = {"encoder": encoder or {}, "pointer": pointer}
        return _placed(retrofit(prepared.base, prepared.encoder, **changes))
    config, trained = read_checkpoint(folder)
    if config.encoder_name != prepared.encoder:
        raise UserError(
            f"{folder}: its encoder is {config.encoder_name}, the data was prepared for "
            f"{prepared.encoder}; prepare it with --encoder {config.encoder_name}"
        )
    same = is_base(prepared.base, config)
    kept = f"{READING} {WRITING}" if same else READING
    changes = {name: getattr(config, name) for name in kept.split()}
    changes |= {"encoder": config.encoder, "pointer": pointer or (same and config.pointer)}
    model = _placed(retrofit(prepared.base, prepared.encoder, **changes))
    if same:
        tune(model, cast(Base, config.base_training))
    else:
        tell(f"{folder} has another decoder, {config.base_name}: what reads is taken over")
        trained = {name: w for name, w in trained.items() if name.split(".")[0] in READS}
    model.load_state_dict(trained, strict=False)
    return model


def _placed(model: RetroForCausalLM) -> RetroForCausalLM:
    if torch.cuda.is_available():
        torch.nn.Module.to(model, "cuda")
    return model
