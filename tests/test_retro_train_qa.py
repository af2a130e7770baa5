"""Training: it learns, trains what it says, and stopped and resumed is as if never stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import test_retro_examples as asked
import tiny
import torch
from torch import Tensor

from index import weights
from index.errors import UserError
from index.retriever import Retriever
from retro import cli, train_qa, train_setup
from retro import retrofit as retrofit_module
from retro.answer import model_sha256
from retro.examples import Example, Sampler
from retro.model import RetroForCausalLM
from retro.prepared import Prepared
from retro.prompts import Prompter
from retro.ranking import DEPTH, Ranker
from retro.retrofit import load, read_checkpoint, retrofit, write_checkpoint
from retro.shipped import DEFAULT_CHECKPOINT, ranker_of
from retro.train_prior import WEIGHTS, _right
from retro.train_qa import (
    LOSSES,
    Reading,
    TrainConfig,
    answering_quality,
    batches,
    reader_loss,
    reading_quality,
    stage_modules,
    train,
)
from retro.windows import Window

CONFIG = TrainConfig(
    steps=8, batch_size=3, num_neighbours=2, removed=0.2, lr=3e-3, warmup=2, checkpoint_minutes=99
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("weights")
    return tiny.write_base(folder / "base"), tiny.write_encoder(folder / "encoder")


Make = Callable[..., Reading]


@pytest.fixture
def reading(folders: tuple[Path, Path]) -> Make:
    """Makes the same model and the same questions each time it is called."""

    def make(removed: float = 0.2, chunk_size: int = asked.CHUNK) -> Reading:
        torch.manual_seed(0)
        model = fresh(folders)
        made = asked.table(chunk_size)
        examples = asked.examples(made)
        sampler = Sampler(examples, made, num_neighbours=2, removed=removed, seed=1)
        prompter = Prompter(asked.WINDOWER.decoder, model.eos, model.config.chunk_size)
        return Reading(model, examples, made, asked.WINDOWER, prompter, sampler)

    return make


SHAPE: dict[str, Any] = {"chunk_size": 32, "max_span": 12, "cca_layers": [0, 1]}


def fresh(folders: tuple[Path, Path]) -> RetroForCausalLM:
    base, encoder = folders
    return retrofit(str(base), str(encoder), **SHAPE)


def state(model: RetroForCausalLM) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def silent(_: str) -> None: ...


# -- what is learned ------------------------------------------------------------------------


@pytest.mark.parametrize("stage", LOSSES)
def test_a_short_run_lowers_the_loss_and_touches_its_own_stage_alone(
    stage: str, reading: Make, tmp_path: Path
) -> None:
    made = reading(removed=0.0)
    if stage == "answer":
        made.examples = [e for e in made.examples if e.gold]
    batch = [(n, made.sampler.draw(n, 0)) for n in range(6)]
    before = state(made.model)
    with torch.no_grad():
        loss = LOSSES[stage](made, made.drawn(batch)).item()
    config = replace(CONFIG, stage=stage, steps=40, removed=0.0)
    train(made, config, tmp_path, log=silent)
    assert not made.model.training
    with torch.no_grad():
        assert LOSSES[stage](made, made.drawn(batch)).item() < 0.95 * loss
    after = made.model.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"reader": {"encoder", "reader"}, "answer": {"cca", "gate"}}[stage]
    assert torch.equal(before["encoder.tokens.weight"], after["encoder.tokens.weight"])


def test_layers_below_the_first_one_that_learns_stay_as_they_are(
    reading: Make, tmp_path: Path
) -> None:
    made = reading()
    before = state(made.model)
    train(made, replace(CONFIG, first_layer=1), tmp_path, log=silent)
    after = made.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert {".".join(name.split(".")[:3]) for name in changed if name.startswith("encoder")} == {
        "encoder.layers.1"
    }
    assert any(name.startswith("reader") for name in changed)


def test_the_reader_learns_to_find_answers(reading: Make, tmp_path: Path) -> None:
    made = reading()
    part = [e for e in made.examples if e.gold]
    own = [made.table.covering(e.document) for e in part]
    before = reading_quality(made, part, own)
    train(made, replace(CONFIG, steps=80, lr=6e-3), tmp_path, log=silent)
    after = reading_quality(made, part, own)
    assert after["f1"] > before["f1"] + 20
    assert 0 <= after["null"] <= 1


def test_what_is_told_of_the_decoder_is_the_likelihood_of_the_answers(
    reading: Make, tmp_path: Path
) -> None:
    made = reading(removed=0.0)
    part = [e for e in made.examples if e.gold]
    own = [sorted(made.table.covering(e.document), key=lambda c: c not in e.gold) for e in part]
    before = answering_quality(made, part, own)
    alone = [answering_quality(made, [e], [chunks]) for e, chunks in zip(part, own, strict=True)]
    each = [loss["loss"] for loss in alone]
    assert min(each) < before["loss"] < max(each)
    config = replace(CONFIG, stage="answer", steps=40, removed=0.0)
    train(made, config, tmp_path, log=silent)
    after = answering_quality(made, part, own)
    assert after["loss"] < 0.95 * before["loss"]
    assert after["decoder"] < before["decoder"]


def test_gold_spans_of_the_loss_spell_the_answers(reading: Make) -> None:
    made = reading(removed=0.0)
    batch = [(n, made.sampler.draw(n, 0)) for n in range(len(made.examples))]
    drawn = made.drawn(batch)
    rows, positive = drawn.rows, drawn.positive
    found = {}
    for row, start, extra in torch.nonzero(positive).tolist():
        assert rows.may_start[row, start]
        assert rows.may_end[row, start + extra]
        text = asked.WINDOWER.decoder.decode(rows.tokens[row, start : start + extra + 1])
        found[row] = text.strip()
    numbers = [n for n, chunks in batch for _ in chunks]
    for row, text in found.items():
        assert text == made.examples[numbers[row]].answers[0]
    assert {numbers[row] for row in found} == set(range(len(asked.ASKED)))


def test_the_readers_loss_is_that_of_none_where_gold_is_taken_away(reading: Make) -> None:
    made = reading()
    (number,) = (n for n, e in enumerate(made.examples) if not e.gold)
    batch = [(number, made.sampler.draw(number, 0)[:1])]
    with torch.no_grad():
        drawn = made.drawn(batch)
        loss = reader_loss(made, drawn)
        null = made.model.read(drawn.rows).spans.log_null
    torch.testing.assert_close(loss, -1.5 * null[0])  # together, and half of it row by row


# -- order, stopping and resuming -----------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [asked.CHUNK, 64])
def test_batches_are_a_function_of_the_seed_and_can_be_entered_anywhere(
    chunk_size: int, reading: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 64 tokens a chunk a passage is one window, and a question whose gold window is taken
    away has none left and drops out: entered later, the batches were others."""
    monkeypatch.setattr(train_qa, "POOL", 2)
    made = reading(removed=0.6, chunk_size=chunk_size)
    whole = list(islice(batches(made, CONFIG), 25))
    assert whole == list(islice(batches(reading(removed=0.6, chunk_size=chunk_size), CONFIG), 25))
    other = list(islice(batches(made, replace(CONFIG, seed=2)), 25))
    assert whole != other
    for begin in (1, 2, 3, 7, 20):
        assert list(islice(batches(made, CONFIG, begin), 5)) == whole[begin : begin + 5]
    assert all(chunks for batch in whole for _, chunks in batch)


def test_an_epoch_has_every_question_once(reading: Make) -> None:
    made = reading(removed=0.0)
    count = -(-len(made.examples) // CONFIG.batch_size)
    for epoch in range(2):
        part = islice(batches(made, CONFIG), epoch * count, (epoch + 1) * count)
        numbers = sorted(n for batch in part for n, _ in batch)
        assert numbers == list(range(len(made.examples)))


class Stopped(Exception):
    """The machine is taken away."""


@pytest.mark.parametrize("stage", LOSSES)
def test_stopped_and_resumed_is_as_if_never_stopped(
    stage: str, reading: Make, tmp_path: Path
) -> None:
    """Dropout included: its masks went on from wherever the process stood, so that a resumed run
    trained with others."""
    config = replace(CONFIG, stage=stage, removed=0.0 if stage == "answer" else 0.2)

    def run(name: str, stop_at: int | None = None, **changes: float) -> Reading:
        made = reading(removed=config.removed)
        if stage == "answer":
            made.examples = [e for e in made.examples if e.gold]
        seen = []

        def evaluate() -> dict[str, float]:
            seen.append(1)
            if len(seen) == stop_at:
                raise Stopped
            return {"em": 0.0}

        train(made, replace(config, **changes), tmp_path / name, evaluate, log=silent)
        return made

    whole = run("whole")
    torch.manual_seed(1234)
    with pytest.raises(Stopped):
        run("parts", stop_at=3, checkpoint_minutes=0)
    assert json.loads((tmp_path / "parts/step.json").read_text())["step"] == 3
    torch.manual_seed(4321)
    parts = run("parts")
    ours, theirs = whole.model.state_dict(), parts.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert json.loads((tmp_path / "parts/step.json").read_text())["step"] == config.steps


@pytest.mark.parametrize("minutes", [0, 99])
def test_a_loss_that_is_no_number_stops_the_run_and_takes_no_checkpoints_place(
    minutes: float, reading: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(made := reading(), replace(CONFIG, steps=4), tmp_path, log=silent)
    before = (tmp_path / "model.safetensors").read_bytes()
    usual = LOSSES["reader"]
    monkeypatch.setitem(LOSSES, "reader", lambda *given: usual(*given) * float("nan"))
    with pytest.raises(UserError, match=r"no number at or before step"):
        train(made, replace(CONFIG, checkpoint_minutes=minutes), tmp_path, log=silent)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert json.loads((tmp_path / "step.json").read_text())["step"] == 4


def test_a_gradient_that_is_no_number_takes_no_checkpoints_place_either(
    reading: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the last step, whose own loss is still a number."""
    train(made := reading(), replace(CONFIG, steps=4), tmp_path, log=silent)
    before = (tmp_path / "model.safetensors").read_bytes()
    usual, length = LOSSES["reader"], made.model.reader.length
    monkeypatch.setitem(
        LOSSES, "reader", lambda *given: usual(*given) + (length.float() * 0).sum().sqrt()
    )
    with pytest.raises(UserError, match="or its gradient"):
        train(made, replace(CONFIG, steps=5), tmp_path, log=silent)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_finished_run_started_again_changes_nothing(reading: Make, tmp_path: Path) -> None:
    made = reading()
    train(made, CONFIG, tmp_path, log=silent)
    before = (tmp_path / "model.safetensors").read_bytes()
    train(reading(), CONFIG, tmp_path, log=silent)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_another_recipe_does_not_resume(reading: Make, tmp_path: Path) -> None:
    train(reading(), CONFIG, tmp_path, log=silent)
    again = reading()
    train(again, replace(CONFIG, seed=3), tmp_path, log=silent)
    fresh_run = reading()
    train(fresh_run, replace(CONFIG, seed=3), tmp_path / "elsewhere", log=silent)
    ours, theirs = again.model.state_dict(), fresh_run.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_reports_and_leaves_a_checkpoint_that_loads(reading: Make, tmp_path: Path) -> None:
    made, lines = reading(), []
    train(made, replace(CONFIG, steps=20), tmp_path, lambda: {"em": 12.5}, log=lines.append)
    assert lines[0].startswith("step 20/20  loss ")
    assert lines[1] == "step 20  em 12.500"
    again = load(tmp_path)
    ours, theirs = made.model.state_dict(), again.state_dict()
    assert all(torch.equal(ours[name].bfloat16(), theirs[name].bfloat16()) for name in ours)
    answers = replace(CONFIG, stage="answer")
    assert stage_modules(again, answers) == [again.cca, again.gate]


# -- from the command line ------------------------------------------------------------------


@pytest.fixture
def ready(folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an index and questions; the weights called by name are tiny ones."""
    base, encoder = folders
    names = {"tiny": base, "minilm": encoder}
    monkeypatch.setattr(weights, "resolve", lambda name: names.get(name) or Path(name))
    monkeypatch.setattr(retrofit_module, "resolve", weights.resolve)
    monkeypatch.setattr(train_setup, "retrofit", partial(retrofit, **SHAPE))
    tiny.write_index(tmp_path / "index")
    lines = "".join(json.dumps(row) + "\n" for row in asked.rows())
    (tmp_path / "asked.jsonl").write_text(lines)
    return tmp_path


def prepare(folder: Path, *more: str) -> int:
    index, data, out = (str(folder / n) for n in ("index", "asked.jsonl", "set.npz"))
    given = ["--index", index, "--data", data, "--out", out, "--hold-out", "2"]
    return cli.main(["train", "prepare", *given, *more])


def qa(folder: Path, out: str, *more: str) -> int:
    given = ["--prepared", str(folder / "set.npz"), "--out", str(folder / out)]
    small = ["--steps", "3", "--batch-size", "2"]
    return cli.main(["train", "qa", *given, *small, *more])


def test_a_shortened_encoder_learns_by_adapters_and_a_next_run_takes_it_over(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(ready) == cli.DONE
    shape = ["--encoder-layers", "1", "--encoder-lora", "2"]
    assert qa(ready, "read", *shape) == cli.DONE
    assert qa(ready, "again", "--start", str(ready / "read")) == cli.DONE
    assert qa(ready, "never", "--start", str(ready / "read"), *shape) == cli.USER_MISTAKE
    assert "leave them out with --start" in capsys.readouterr().err
    assert qa(ready, "never", "--encoder-layers", "3") == cli.USER_MISTAKE  # they would be random
    assert "the pretrained encoder has 2: ask for no more" in capsys.readouterr().err
    first, second = (read_checkpoint(ready / name)[1] for name in ("read", "again"))
    config = load(ready / "again").config.encoder_config()
    assert (config.num_hidden_layers, config.lora_rank, config.dropout_from) == (1, 2, 0)
    adapters = {n for n in first if n.startswith("encoder.")}
    assert adapters
    assert all("lora_" in n for n in adapters)
    assert any(not torch.equal(first[n], second[n]) for n in adapters)
    other = read_checkpoint(ready / "read")[0]
    other.encoder_name = "another"
    write_checkpoint(other, first, ready / "other")
    assert qa(ready, "never", "--start", str(ready / "other")) == cli.USER_MISTAKE
    assert "prepare it with --encoder another" in capsys.readouterr().err


@pytest.mark.parametrize("work", [prepare, qa])
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    work: Callable[..., int], ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was a traceback at the first checkpoint, five minutes later."""
    assert prepare(ready) == cli.DONE
    (ready / "file").touch()
    place = {"prepare": ("--out", str(ready / "file/set.npz")), "qa": ("file/out",)}
    capsys.readouterr()
    assert work(ready, *place[work.__name__]) == cli.USER_MISTAKE
    shown = capsys.readouterr()
    assert "cannot write there" in shown.err
    assert "give another --out" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("distractors", ["--given", "--searched"])
def test_both_stages_run_from_the_command_line(
    ready: Path, distractors: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a share of gold windows taken away the answer stage was a traceback: without one there
    is nothing to write."""
    assert prepare(ready, distractors) == cli.DONE
    assert qa(ready, "read") == cli.DONE
    file = ready / "read" / "config.json"  # as `retro train prior` sets it
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prior_weight": 1.5}))
    more = ["--stage", "answer", "--start", str(ready / "read"), "--removed", "0.9"]
    assert qa(ready, "write", *more) == cli.DONE
    read, write = load(ready / "read").state_dict(), load(ready / "write").state_dict()
    changed = {name.split(".")[0] for name in read if not torch.equal(read[name], write[name])}
    assert changed == {"cca", "gate"}
    assert load(ready / "write").config.prior_weight == 1.5
    shown = capsys.readouterr().out
    assert "  em " in shown
    assert "  decoder " in shown


def test_the_decoder_learns_with_a_neighbour_in_its_context_where_asked(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(ready) == cli.DONE
    more = ["--context-neighbours", "1"]
    assert qa(ready, "never", *more) == cli.USER_MISTAKE
    assert "the decoder learns in --stage answer only" in capsys.readouterr().err
    answer = ["--stage", "answer", "--removed", "0"]
    assert qa(ready, "plain", *answer) == cli.DONE
    assert qa(ready, "plus", *answer, *more) == cli.DONE
    assert qa(ready, "again", *answer, "--start", str(ready / "plus")) == cli.DONE
    made = {name: load(ready / name) for name in ("plain", "plus", "again")}
    assert [m.config.context_neighbours for m in made.values()] == [0, 1, 1]
    learned = [m.cca.state_dict() for m in made.values()]
    assert any(not torch.equal(value, learned[1][name]) for name, value in learned[0].items())


@pytest.mark.parametrize("base", ["lora", "full"])
def test_the_base_learns_to_answer_where_asked(
    base: str, ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(ready) == cli.DONE
    assert qa(ready, "never", "--base", base) == cli.USER_MISTAKE
    assert "the decoder learns in --stage answer only" in capsys.readouterr().err
    answer = ["--stage", "answer", "--removed", "0"]
    assert qa(ready, "write", *answer, "--base", base) == cli.DONE
    made = load(ready / "write")
    assert made.config.base_training == base
    assert qa(ready, "again", *answer, "--start", str(ready / "write")) == cli.DONE
    again = load(ready / "again").state_dict()
    moved = {n for n, value in made.state_dict().items() if not torch.equal(value, again[n])}
    assert {name.split(".")[0] for name in moved} == {"cca", "gate"}  # kept, and frozen now
    held = made.base.state_dict()
    if base == "lora":
        assert any(value.any() for name, value in held.items() if "lora_B" in name)
    else:
        assert qa(ready, "frozen", *answer) == cli.DONE
        pretrained = load(ready / "frozen").base.state_dict()
        assert any(not torch.equal(value, pretrained[name]) for name, value in held.items())


def test_the_weight_of_search_is_the_one_that_makes_answers_likeliest(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(ready) == cli.DONE
    assert qa(ready, "read") == cli.DONE
    assert load(ready / "read").config.prior_weight == 0.0
    before = model_sha256(ready / "read")
    capsys.readouterr()
    given = {"--index": "index", "--data": "asked.jsonl", "--checkpoint": "read"}
    options = [str(part) for name, file in given.items() for part in (name, ready / file)]
    assert cli.main(["train", "prior", *options, "--hold-out", "0"]) == cli.DONE
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "loss" in line]
    losses = {float(weight): float(loss) for _, weight, _, loss in lines}
    assert tuple(losses) == WEIGHTS
    assert len(set(losses.values())) > 1
    assert losses[load(ready / "read").config.prior_weight] == min(losses.values())
    assert model_sha256(ready / "read") != before  # what was fitted or certified before is void
    after = model_sha256(ready / "read")
    (ready / "asked.jsonl").write_text(json.dumps({"question": "Who?", "answers": ["Ann"]}))
    assert cli.main(["train", "prior", *options, "--hold-out", "0"]) == cli.USER_MISTAKE
    assert "no question with answers has its passage" in capsys.readouterr().err
    assert model_sha256(ready / "read") == after


def test_only_spans_that_spell_an_answer_are_right() -> None:
    text = "Probes came in 1974, and left in 1975; not in 19745."
    (window,) = asked.WINDOWER.windows([text], [""])
    logits = torch.zeros(1, len(window.tokens), 30)
    right = _right(["1974", "left in 1975"], [window], [text], logits)
    found = {
        text[window.starts[start] : window.ends[start + more]]
        for _, start, more in torch.nonzero(right).tolist()
    }
    assert found == {"1974", "left in 1975"}
    assert int(right.sum()) == 2


def test_a_prepared_set_comes_back_as_it_was(ready: Path) -> None:
    out = ready / "set.npz"
    sources = (ready / "index", [ready / "asked.jsonl"], out)
    made = train_setup.prepare(*sources, searched=True, hold_out=2, limit=5, seed=0)
    again = Prepared.load(out)
    assert again.examples == _comparable(made.examples, again.examples)
    assert (again.table.texts, again.table.titles) == (made.table.texts, made.table.titles)
    assert again.table.chunks_of == made.table.chunks_of
    assert (again.retrieved, again.held) == (made.retrieved, made.held)
    for ours, theirs in zip(made.table.windows, again.table.windows, strict=True):
        assert all((a == b).all() for a, b in zip(_fields(ours), _fields(theirs), strict=True))


def test_a_searched_set_holds_what_is_asked_about_or_found(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows are those of the database's documents in order, without the others."""
    monkeypatch.setattr(train_setup, "KEPT", 2)
    source = (ready / "index", [ready / "asked.jsonl"], ready / "part.npz")
    given = {"hold_out": 0, "limit": None, "seed": 0}
    whole = train_setup.prepare(*source, searched=False, **given)
    part = train_setup.prepare(*source, searched=True, **{**given, "limit": 1})
    [asked], [found] = part.examples, part.retrieved or []
    assert 1 <= len(part.table.chunks_of) <= 3 < len(whole.table.chunks_of)
    texts = [part.table.texts[chunk] for chunk in found]
    retriever = Retriever.open(ready / "index")
    ranker = Ranker.load(ranker_of(DEFAULT_CHECKPOINT))
    found = retriever.search(asked.question, DEPTH)
    read = ranker.rank(asked.question, found, retriever.vocabulary().idf, 2)
    assert texts == list(read.texts)
    [same] = [e for e in whole.examples if e.id == asked.id]
    assert [part.table.texts[c] for c in asked.gold] == [whole.table.texts[c] for c in same.gold]
    assert part.title(asked) == whole.title(same)


def test_joined_sets_train_on_the_questions_of_all(ready: Path) -> None:
    """Two databases as one: every question keeps its passage, its spans and its neighbours."""
    source = (ready / "index", [ready / "asked.jsonl"], ready / "set.npz")
    one = train_setup.prepare(*source, searched=True, hold_out=2, limit=None, seed=0)
    joined = Prepared.joined([one, one])
    windows, documents = len(one.table.windows), len(one.table.chunks_of)
    assert len(joined.table.windows) == 2 * windows
    assert joined.table.covering(documents) == [c + windows for c in one.table.covering(0)]
    assert joined.table.document_of[windows] == documents
    first, again = joined.examples[: len(one.examples)], joined.examples[len(one.examples) :]
    for ours, theirs in zip(first, again, strict=True):
        assert theirs.document == ours.document + documents
        assert theirs.gold == {c + windows: spans for c, spans in ours.gold.items()}
        assert joined.title(theirs) == joined.title(ours)
    assert one.retrieved is not None
    assert joined.retrieved is not None
    assert joined.retrieved[-1] == [c + windows for c in one.retrieved[-1]]
    more = ["--prepared", str(ready / "set.npz")]
    assert qa(ready, "read", *more) == cli.DONE


def test_a_set_that_counts_several_times_repeats_what_is_learned_alone(ready: Path) -> None:
    file = ready / "set.npz"
    source = (ready / "index", [ready / "asked.jsonl"], file)
    one = train_setup.prepare(*source, searched=True, hold_out=2, limit=None, seed=0)
    assert one.retrieved is not None
    learned = [e.id for e in one.examples if one.title(e) not in one.held]
    assert 0 < len(learned) < len(one.examples)
    mixed = Prepared.mixture([f"{file}:3", str(file)])
    assert mixed.retrieved is not None
    ids = [e.id for e in mixed.examples]
    assert ids == [e.id for e in one.examples] + learned * 2 + [e.id for e in one.examples]
    number = len(one.examples)
    assert mixed.retrieved[number] == one.retrieved[[e.id for e in one.examples].index(learned[0])]
    assert len(mixed.table.windows) == 2 * len(one.table.windows)
    with pytest.raises(UserError, match=r"set\.npz:0: cannot be read"):
        Prepared.mixture([f"{file}:0"])


def test_sets_that_do_not_go_together_are_one_line(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(ready, "--given") == cli.DONE
    (ready / "set.npz").rename(ready / "given.npz")
    assert prepare(ready, "--searched") == cli.DONE
    assert qa(ready, "out", "--prepared", str(ready / "given.npz")) == cli.USER_MISTAKE
    _one_line(capsys, "do not go together")


def _comparable(ours: list[Example], theirs: list[Example]) -> list[Example]:
    """``ours`` with the other's arrays where they are equal (arrays have no truth of their own)."""
    assert all((a.query == b.query).all() for a, b in zip(ours, theirs, strict=True))
    return [replace(a, query=b.query) for a, b in zip(ours, theirs, strict=True)]


def _fields(window: Window) -> list[Any]:
    return list(vars(window).values())


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--stage", "writer"], "choose one of reader, answer"),
        (["--start", "nowhere"], "nowhere: no checkpoint here"),
        (["--prepared", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_a_mistake_in_training_is_one_line(
    ready: Path, more: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(ready) == cli.DONE
    assert qa(ready, "out", *more) == cli.USER_MISTAKE
    _one_line(capsys, says)


def _one_line(capsys: pytest.CaptureFixture[str], says: str) -> None:
    shown = capsys.readouterr().err
    assert shown.startswith("retro: ")
    assert says in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--data", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["--index", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_in_preparing_is_one_line(
    ready: Path, more: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(ready, *more) == cli.USER_MISTAKE
    _one_line(capsys, says)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04cut off"])
def test_a_file_that_is_no_prepared_set_is_one_line(
    ready: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (ready / "set.npz").write_bytes(content)
    assert qa(ready, "out") == cli.USER_MISTAKE
    _one_line(capsys, "set.npz")


def test_nothing_left_to_learn_from_is_one_line(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With fewer titles than are held out, a run went through a million empty epochs."""
    assert prepare(ready, "--hold-out", "40") == cli.USER_MISTAKE
    assert "--hold-out 40: the questions are of 9 titles" in capsys.readouterr().err
    assert prepare(ready) == cli.DONE
    made = Prepared.load(ready / "set.npz")
    titles = frozenset(made.title(example) for example in made.examples)
    replace(made, held=titles).save(ready / "set.npz")
    assert qa(ready, "out") == cli.USER_MISTAKE
    assert "no question to learn from" in capsys.readouterr().err


def test_questions_about_other_documents_are_one_line(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ready / "asked.jsonl").write_text('{"question": "Who?", "context": "unheard of"}\n')
    assert prepare(ready) == cli.USER_MISTAKE
    _one_line(capsys, "no question to learn from")
