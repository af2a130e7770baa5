"""``retro serve``: its options, its one-line mistakes, and how little its help loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from serve_fakes import FakeAnswerer

from index.errors import UserError
from index.where import Where
from retro import cli


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the command opened, built and ran, in order; nothing of it is real."""
    import serve.app

    calls: list[tuple[Any, ...]] = []
    answerer = FakeAnswerer()
    document = SimpleNamespace(source="elsewhere/notes.md")
    answerer.retriever.store = SimpleNamespace(document=lambda row: document)

    class Answerer:
        @staticmethod
        def open(index: Path, checkpoint: str | None, where: Where) -> FakeAnswerer:
            calls.append((index, checkpoint, *([where] if where else [])))
            return answerer

    module = ModuleType("retro.answer")
    module.Answerer = Answerer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "retro.answer", module)
    monkeypatch.setattr(serve.app, "build", lambda answerer, examples: examples)
    monkeypatch.setattr(serve.app, "run", lambda page, **options: calls.append((page, options)))
    return calls


def test_the_page_is_local_unless_told_otherwise(calls: list[tuple[Any, ...]]) -> None:
    assert cli.main(["serve", "--index", "there"]) == 0
    options = {"host": "127.0.0.1", "port": 7860, "share": False, "open_browser": False}
    assert calls == [(Path("there"), None), ({}, options)]


def test_every_option_reaches_the_page(calls: list[tuple[Any, ...]], tmp_path: Path) -> None:
    examples = tmp_path / "q.jsonl"
    examples.write_text('{"question": "Why?", "kind": "far"}\n', encoding="utf-8")
    words = "serve --index i --checkpoint c --host ::1 --port 80 --share --open --examples"
    assert cli.main([*words.split(), str(examples)]) == 0
    options = {"host": "::1", "port": 80, "share": True, "open_browser": True}
    assert calls == [(Path("i"), "c"), ({"Far outside": ["Why?"]}, options)]
    calls.clear()
    words = "serve --index i --source a* --source b* --trust forum --since 2020 --until 2021-05"
    assert cli.main(words.split()) == 0
    assert calls[0][2] == Where(("a*", "b*"), ("forum",), "2020", "2021-05")


def test_mistakes_are_one_line(
    calls: list[tuple[Any, ...]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cli.main(["serve"]) == 2
    assert cli.main(["serve", "--index", "i", "--port", "70000"]) == 2

    def refuse(*args: object, **options: object) -> None:
        raise UserError("i: no index there")

    monkeypatch.setattr(sys.modules["retro.answer"].Answerer, "open", refuse)
    assert cli.main(["serve", "--index", "i"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[2].endswith("i: no index there")


def test_help_loads_neither_gradio_nor_the_model() -> None:
    code = (
        "import sys; from retro.cli import main; main(['serve', '--help']);"
        "sys.exit(any(m in sys.modules for m in ('gradio', 'torch', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "127.0.0.1" in done.stdout
