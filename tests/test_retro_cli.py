"""The command line's edge: what it loads, what it prints, and with which code it ends."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import typer

from index.errors import UserError
from retro import cli, doctor

HEAVY = {"torch", "transformers", "faiss", "gradio", "numpy", "pyarrow", "typer"}

StandIn = Callable[[Callable[[], None]], None]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Puts a function in the place of ``retro ask``."""

    def install(function: Callable[[], None]) -> None:
        module = ModuleType("stand_in_cli")
        module.app = typer.Typer()  # type: ignore[attr-defined]
        module.app.command()(function)
        monkeypatch.setitem(sys.modules, "stand_in_cli", module)
        monkeypatch.setitem(cli.COMMANDS, "ask", ("stand_in_cli", "a stand-in"))

    return install


def test_help_loads_no_heavy_module() -> None:
    code = (
        "import sys; from retro.cli import main; code = main(['--help']);"
        f"print('loaded:', sorted({HEAVY!r} & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_names_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == cli.DONE
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in cli.COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == cli.DONE
    assert capsys.readouterr().out.startswith("retro 0.")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == cli.DONE
    shown = capsys.readouterr().out
    assert shown.strip().startswith(f"Usage: retro {name}")
    assert "completion" not in shown


def _one_line(capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    return shown.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["idnex"], "did you mean 'index'?"),
        (["zzz"], "choose one of index, ask"),
        (["weights", "--nope"], "No such option: --nope (see retro weights --help)"),
        (["serve"], "Missing option '--index'"),
        (["weights", "no/such/weights"], "no/such/weights"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == cli.USER_MISTAKE
    assert says in _one_line(capsys)


def test_user_error_is_one_line_whatever_it_holds(
    stand_in: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask() -> None:
        raise UserError("notes/: no readable file\nadd some .txt or .md files")

    stand_in(ask)
    assert cli.main(["ask"]) == cli.USER_MISTAKE
    assert _one_line(capsys) == "retro: notes/: no readable file add some .txt or .md files\n"


def test_a_bug_keeps_its_traceback(stand_in: StandIn) -> None:
    def ask() -> None:
        raise ZeroDivisionError("a bug")

    stand_in(ask)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cli.main(["ask"])


@pytest.mark.parametrize(
    ("raised", "code"),
    [(KeyboardInterrupt(), cli.INTERRUPTED), (typer.Abort(), 130), (typer.Exit(3), 3)],
)
def test_exit_codes_pass_through(stand_in: StandIn, raised: BaseException, code: int) -> None:
    def ask() -> None:
        raise raised

    stand_in(ask)
    assert cli.main(["ask"]) == code


def test_a_missing_extra_is_named(stand_in: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    def ask() -> None:
        raise ModuleNotFoundError("No module named 'gradio'", name="gradio.blocks")

    stand_in(ask)
    assert cli.main(["ask"]) == cli.USER_MISTAKE
    assert "pip install 'retro-abstain[ui]'" in _one_line(capsys)


def test_two_builds_of_faiss_stop_every_command_that_searches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_version", {"faiss-cpu": "1.9", "faiss-gpu-cu12": "1.9"}.get)
    assert cli.main(["index", "--help"]) == cli.USER_MISTAKE
    assert "pip uninstall -y faiss-cpu faiss-gpu-cu12 && pip install" in _one_line(capsys)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EACCES, "/there: Permission denied; check its permissions"),
        (errno.ENOSPC, "/there: No space left on device; free some space"),
    ],
)
def test_what_the_disk_refuses_is_one_line(
    number: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object) -> int:
        raise OSError(number, os.strerror(number), "/there")

    monkeypatch.setattr(cli, "_call", refused)
    assert cli.main(["weights"]) == cli.USER_MISTAKE
    assert says in _one_line(capsys)


def test_another_failure_of_the_system_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(cli, "_call", failed)
    with pytest.raises(OSError, match="Input/output"):
        cli.main(["weights"])


def test_weights_names_what_the_shipped_checkpoint_stands_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from index.weights import KNOWN
    from retro.retrofit import read_checkpoint
    from retro.shipped import DEFAULT_CHECKPOINT

    assert cli.main(["weights", "--packages"]) == cli.DONE
    config, _ = read_checkpoint(DEFAULT_CHECKPOINT)
    names = dict.fromkeys((config.base_name, "minilm", config.encoder_name))
    assert capsys.readouterr().out.splitlines() == [KNOWN[str(n)].packages for n in names]


def test_doctor_finds_this_environment_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == cli.DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [
        "python", "torch", "faiss", "transformers", "gradio", "weights", "disk", "memory",
    ]  # fmt: skip


def test_doctor_reports_what_is_broken_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_version", {"transformers": "4.57.1"}.get)
    monkeypatch.setitem(sys.modules, "faiss", None)  # a spec that cannot even be looked up
    assert cli.main(["doctor"]) == cli.USER_MISTAKE
    shown = capsys.readouterr().out
    assert "FIX  torch         not installed: pip install torch" in shown
    assert "FIX  faiss" in shown
    assert "4.57.1; 5 or newer is needed" in shown
    assert "note gradio" in shown
    assert len(shown.splitlines()) == 8
