"""Somebody's own decoder, RETROfitted by the commands of docs/training.md, from index to answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import test_retro_examples as asked
import tiny
import torch

from index import weights
from retro import cli
from retro import retrofit as retrofit_module
from retro.retrofit import load, retrofit, save
from retro.shipped import DEFAULT_CHECKPOINT


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a GPT-2, a reader that was trained around a Llama, documents and
    questions."""
    encoder = tiny.write_encoder(tmp_path / "encoder")
    monkeypatch.setattr(weights, "resolve", lambda name: Path(name).absolute())
    monkeypatch.setattr(retrofit_module, "resolve", weights.resolve)
    monkeypatch.chdir(tmp_path)
    tiny.write_base(tmp_path / "llama")
    tiny.write_base(tmp_path / "gpt2", "gpt2")
    other = retrofit("llama", str(encoder), chunk_size=8, max_span=6, pointer=True)
    tiny.randomise(other)
    save(other, tmp_path / "reader")
    tiny.write_index(tmp_path / "docs")
    (tmp_path / "documents.jsonl").write_bytes((tmp_path / "docs-source.jsonl").read_bytes())
    rows = "".join(json.dumps(row) + "\n" for row in asked.rows())
    (tmp_path / "asked.jsonl").write_text(rows)
    return tmp_path


def run(command: str) -> None:
    assert cli.main(command.split()[1:]) == cli.DONE, command


def test_from_documents_to_answers(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("retro index build documents.jsonl --out index --tokenizer gpt2 --embedder hashing")
    more = f"--encoder {here / 'encoder'} --hold-out 2"
    run(f"retro train prepare --index index --data asked.jsonl --searched --out qa.npz {more}")
    run(
        "retro train qa --prepared qa.npz --start reader --stage answer --steps 2 --batch-size 2 "
        "--removed 0 --out mine"
    )
    assert "reader has another decoder, llama: what reads is taken over" in capsys.readouterr().out
    mine, before = load("mine"), load("reader")
    assert (mine.config.base["model_type"], mine.config.pointer) == ("gpt2", False)
    for name, value in before.state_dict().items():
        if name.startswith(("encoder.", "reader.")):
            assert torch.equal(value, mine.state_dict()[name]), name
    tiny.write_head(here / "mine")
    capsys.readouterr()
    run("retro ask --index index --checkpoint mine --json When?")
    answer = json.loads(capsys.readouterr().out)
    assert 0 <= answer["confidence"] <= 1
    assert answer["evidence"]


def test_the_shipped_checkpoint_is_called_by_name(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--encoder", str(here / "encoder"), "--decoder", "gpt2", "--hold-out", "2"]
    given = ["--index", "docs", "--data", "asked.jsonl", "--out", "qa.npz"]
    assert cli.main(["train", "prepare", *given, *more]) == cli.DONE
    run = ["train", "qa", "--prepared", "qa.npz", "--start", "shipped", "--out", "mine"]
    assert cli.main(run) == cli.USER_MISTAKE
    assert f"{DEFAULT_CHECKPOINT}: its encoder is mpnet" in capsys.readouterr().err


def test_a_run_goes_on_from_a_model_of_another_shape(here: Path) -> None:
    """Cross-attention in other layers than the default was left out without a word."""
    begun = retrofit("gpt2", str(here / "encoder"), max_span=6, cca_layers=[0])
    tiny.randomise(begun)
    save(begun, here / "begun")
    run("retro index build documents.jsonl --out index --tokenizer gpt2 --embedder hashing")
    more = f"--encoder {here / 'encoder'} --hold-out 2"
    run(f"retro train prepare --index index --data asked.jsonl --out qa.npz {more}")
    run("retro train qa --prepared qa.npz --start begun --steps 1 --batch-size 1 --out mine")
    before, after = load("begun").state_dict(), load("mine").state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("cca"))
    assert any(name.startswith("cca.") for name in before)
    assert before.keys() == after.keys()


def test_another_decoders_tokens_are_one_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text of a set for the language model was taken from the index in whatever tokens."""
    other = tiny.decoder_tokenizer().__class__.from_pretrained("gpt2")
    other.add_tokens(["zeppelin"])
    other.backend_tokenizer.save(str(here / "gpt2" / "tokenizer.json"))
    for work in ("prepare --data asked.jsonl", "prepare-text"):
        given = ["--index", "docs", "--out", "set.npz", "--decoder", "gpt2", "--encoder", "encoder"]
        assert cli.main(["train", *work.split(), *given]) == cli.USER_MISTAKE
        assert "the index holds tokens of 'tiny'" in capsys.readouterr().err
