"""Samples of what the reader might say, drawn three ways behind one interface."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
import test_retro_drafting as drafting
import test_retro_train_qa as training
import torch

from index.errors import UserError
from retro import cli
from retro.posteriors import LAST, encoded, ensemble, laplace
from retro.sampling import Ensemble, Laplace, Readers, load_members, save_members
from retro.train_qa import batches

folders, reading, ready = training.folders, training.reading, training.ready
Make = training.Make

SHORT = {q: t for q, t in drafting.ASKED.items() if len(t) <= 4}
"""Questions all of whose neighbours are read again."""


def nothing_moves(made: drafting.Drafter) -> None:
    """Every sample is what was read in one pass."""
    for *_, draft in drafting.drafts(made, SHORT):
        signals = draft.signals
        assert signals["mc_null_mean"] == pytest.approx(signals["null_probability"], abs=1e-4)
        assert signals["mc_probability_std"] == pytest.approx(0, abs=1e-5)
        assert signals["mc_bald"] == pytest.approx(0, abs=1e-4)


def test_readers_that_are_the_reader_itself_say_what_it_says() -> None:
    made = drafting.drafter()
    own = made.model.reader.state_dict()
    made.sampler = Ensemble(made.model, [own, own])
    nothing_moves(made)
    still = {name: torch.zeros_like(own[name]) for name in LAST}
    made.sampler = Laplace(made.model, still)
    nothing_moves(made)


@pytest.mark.parametrize("way", ["laplace", "ensemble"])
def test_readers_that_differ_spread_and_repeat(way: str) -> None:
    made = drafting.drafter()
    own = made.model.reader.state_dict()
    sampler: Readers = Laplace(
        made.model, {"start.weight": torch.full_like(own["start.weight"], 2)}
    )
    if way == "ensemble":
        sampler = Ensemble(made.model, [own, {n: v + 0.5 for n, v in own.items()}])
    made.sampler = sampler
    first, second = (drafting.drafts(made, SHORT) for _ in range(2))
    for (*_, a), (*_, b) in zip(first, second, strict=True):
        drafting.same(a, b, 0)
        assert a.signals["mc_probability_std"] > 0 or a.signals["mc_bald"] > 0
    assert {n: v for n, v in made.model.reader.state_dict().items() if not v.equal(own[n])} == {}


def test_an_ensemble_has_as_many_samples_as_members() -> None:
    made = drafting.drafter()
    own = made.model.reader.state_dict()
    members = Ensemble(made.model, [own, own, own]).readers(16, torch.Generator())
    assert len(members) == 3
    drawn = Laplace(made.model, {"length": own["length"]}).readers(16, torch.Generator())
    assert len(drawn) == 16


def test_what_is_written_is_read_again_and_only_for_this_reader(tmp_path: Path) -> None:
    made = drafting.drafter().model
    own = {name: made.reader.state_dict()[name] for name in LAST}
    file = tmp_path / "members.safetensors"
    save_members([own, {n: v + 1 for n, v in own.items()}], file)
    first, second = load_members(file, made)
    assert all(torch.equal(first[n], v) and torch.equal(second[n], v + 1) for n, v in own.items())
    save_members([{"start.weight": torch.zeros(2, 2)}], file)
    with pytest.raises(UserError, match=r"0\.start\.weight is no weight of this model's span"):
        load_members(file, made)
    file.write_bytes(b"no weights")
    with pytest.raises(UserError, match="cannot be read"):
        load_members(file, made)


# -- how they are fitted --------------------------------------------------------------------


def test_the_laplace_posterior_is_the_inverse_of_fisher_and_prior(reading: Make) -> None:
    """By hand: a weight's squared gradients summed over questions, scaled to all, and the prior."""
    made = reading(removed=0.0)
    made.model.float().eval()
    some = list(islice(batches(made, training.CONFIG), 2))
    deviations, told = laplace(made, some, made, some[:1], num_learned=60)
    assert deviations.keys() == set(LAST)
    count = sum(len(batch) for batch in some)
    assert told["num_fisher"] == count
    squares = torch.zeros_like(deviations["start.bias"])
    for batch in some:
        for question in batch:
            [(states, rows, positive)] = encoded(made, [[question]])
            made.model.reader.zero_grad()
            logits, _ = made.model.reader.row_logits(states, rows)
            log_p = torch.cat([logits.flatten(), torch.zeros(1)]).log_softmax(0)
            gold = torch.cat([positive.flatten(), ~positive.any()[None]])
            (-log_p[gold].logsumexp(0)).backward()
            gradient = made.model.reader.start.bias.grad
            assert gradient is not None
            squares += gradient**2
    wanted = (60 / count * squares + told["prior_precision"]) ** -0.5
    torch.testing.assert_close(deviations["start.bias"], wanted, rtol=2e-3, atol=1e-6)
    assert told["loss"] <= told["loss_without"] + 0.05


def test_an_ensembles_members_learn_and_differ(reading: Make) -> None:
    made = reading(removed=0.0)
    before = {n: v.clone() for n, v in made.model.state_dict().items()}
    first, second = ensemble(made, batches(made, training.CONFIG), num_members=2, steps=30, lr=1e-2)
    assert not torch.equal(first["start.weight"], second["start.weight"])
    assert all(v.equal(before[n]) for n, v in made.model.state_dict().items())
    untrained, _ = ensemble(made, [], num_members=2, steps=1)

    def loss(weights: dict[str, torch.Tensor]) -> float:
        made.model.reader.load_state_dict(weights)
        with torch.no_grad():
            batch = next(batches(made, training.CONFIG))
            return float(training.reader_loss(made, made.drawn(batch)))

    assert loss(first) < 0.9 * loss(untrained)


@pytest.mark.parametrize("kind", ["laplace", "ensemble"])
def test_from_the_command_line(ready: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert training.prepare(ready) == cli.DONE
    assert training.qa(ready, "read") == cli.DONE
    out = ready / f"{kind}.safetensors"
    given = ["--prepared", str(ready / "set.npz"), "--checkpoint", str(ready / "read")]
    small = ["--out", str(out), "--kind", kind, "--steps", "2", "--members", "2"]
    assert cli.main(["train", "posterior", *given, *small]) == cli.DONE
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith(f"{out}: ")
    assert json.loads(told.removeprefix(f"{out}: "))
    assert out.is_file()
