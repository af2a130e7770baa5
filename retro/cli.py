"""The ``retro`` command: knows the names of the subcommands and the exit codes, nothing of what
they do. Each one is imported when it is called, so that ``retro --help`` loads no model library.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from index.errors import UserError

DISTRIBUTION = "retro-abstain"

COMMANDS = {
    "index": ("index.cli", "build, change, search and check a token database"),
    "ask": ("retro.ask_cli", "answer questions from a database, or say that it cannot"),
    "certify": (
        "retro.certify_cli",
        "prove, on your questions, how few answers are wrong",
    ),
    "serve": ("serve.cli", "open the page in which to ask questions"),
    "train": ("retro.train_cli", "train the model and its uncertainty head"),
    "eval": ("eval.cli", "measure answers, abstention and calibration"),
    "doctor": ("retro.doctor", "check this machine and say how to mend what is missing"),
    "weights": ("retro.weights_cli", "bring the weights and say where they are"),
}
"""Name: the module whose ``app`` is its Typer application, and one line of help."""

EXTRAS = {
    "faiss": "cpu",
    "gradio": "ui",
    "pyarrow": "ingest",
    "selectolax": "ingest",
    "matplotlib": "eval",
    "sklearn": "eval",
    "peft": "train",
    "lm_eval": "harness",
}
"""The extra of this distribution that installs an optional module."""

DISK = {
    errno.EACCES: "check its permissions, or give another place",
    errno.EPERM: "check its permissions, or give another place",
    errno.EROFS: "give a place that can be written to",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.ENOTDIR: "a file is in the way; give another place",
    errno.EISDIR: "a folder is in the way; give another place",
}
"""What a disk refuses, wherever it is met, and how to mend it."""

DONE, BUG, USER_MISTAKE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. A bug leaves as its own exception (traceback, code 1)."""
    try:
        return _dispatch(list(sys.argv[1:] if arguments is None else arguments))
    except UserError as error:
        print("retro:", " ".join(str(error).split()), file=sys.stderr)
        return USER_MISTAKE
    except KeyboardInterrupt:
        return INTERRUPTED


def _dispatch(arguments: list[str]) -> int:
    name = arguments[0] if arguments else "--help"
    if name in {"-h", "--help"}:
        print(_help())
    elif name in {"-V", "--version"}:
        from importlib.metadata import version

        print("retro", version(DISTRIBUTION))
    else:
        return _run(name, arguments[1:])
    return DONE


def _help() -> str:
    lines = [f"  {name:<9}{summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "Usage: retro COMMAND [OPTIONS]      (retro COMMAND --help tells more)",
            "",
            "Answers questions from your documents, and says when they do not hold the answer.",
            "",
            *lines,
            "",
            "Exit codes: 0 done, 2 a mistake you can mend (one line on stderr), 1 a bug.",
        ]
    )


def _run(name: str, arguments: list[str]) -> int:
    """Import the command and run it; raises UserError for what the user can mend."""
    if name not in COMMANDS:
        raise UserError(_unknown(name))
    try:
        return _call(name, arguments)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise UserError(
            f"{name} needs {error.name}, which is not installed: "
            f"pip install '{DISTRIBUTION}[{extra}]'"
        ) from error
    except OSError as error:
        advice = DISK.get(error.errno or 0)
        if advice is None:
            raise
        raise UserError(f"{error.filename or name}: {error.strerror}; {advice}") from error


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, COMMANDS, n=1)
    return f"no command {name!r}: " + (
        f"did you mean '{close[0]}'?" if close else f"choose one of {', '.join(COMMANDS)}"
    )


def _call(name: str, arguments: list[str]) -> int:
    """Run the command's Typer application, with one-line errors."""
    import typer

    program = f"retro {name}"
    try:
        result = _command(name).main(arguments, prog_name=program, standalone_mode=False)
    except typer.Abort:
        return INTERRUPTED
    except typer.TyperException as error:
        message = error.format_message()
        hint = "" if "\n" in message else f" (see {program} --help)"
        print(f"{program}: {message}{hint}", file=sys.stderr)
        return USER_MISTAKE
    return result if isinstance(result, int) else DONE


def _command(name: str) -> Any:
    """The command of a Typer application: plain text, and no completion set-up of its own."""
    from typer.main import get_command

    from retro.doctor import require_one_faiss

    if name not in {"doctor", "weights"}:
        require_one_faiss()
    app = import_module(COMMANDS[name][0]).app
    app.rich_markup_mode = None
    command = get_command(app)
    command.params = [p for p in command.params if not str(p.name).endswith("_completion")]
    return command


if __name__ == "__main__":
    sys.exit(main())
