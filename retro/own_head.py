"""A confidence head of an index's own, fitted on questions made from it; knows files, no model.

    DIR/confidence/questions.jsonl   the questions, made by ``retro.own_questions``
    DIR/confidence/…-signals.jsonl   what ``retro train signals`` sees of them
    DIR/confidence/head.json         the head, and policy.json its threshold
    DIR/confidence/about.json        which index and model they are about; written last

It stands beside the index, not in the checkpoint: it is right for these documents alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from index.errors import UserError
from retro.own_questions import OwnQuestion, make_questions
from retro.records import read_record, write_record

FOLDER = "confidence"
"""Its place in the index folder."""

ABOUT, QUESTIONS, SIGNALS = "about.json", "questions.jsonl", "signals.jsonl"

FEWEST = 20
"""Questions below which a head of an index's own is not worth having."""


@dataclass(frozen=True)
class OwnHead:
    """``index``, ``model``: fingerprints of what the head was fitted with."""

    index: str
    model: str
    num_questions: int
    created: str

    @classmethod
    def load(cls, index: Path) -> OwnHead | None:
        """That of an index folder, None if it has none. Raises UserError when it is damaged."""
        file = index / FOLDER / ABOUT
        return read_record(cls, file, "not readable", "retro train head --index")

    def fits(self, index: str, model: str) -> bool:
        """Whether it is about this database and these weights."""
        return (self.index, self.model) == (index, model)


def refit(index: Path, checkpoint: Path, *, limit: int, seed: int) -> None:
    """Makes questions from an index, asks them with and without their passage, fits head and
    threshold on that, and stores them beside the index.

    A run that is cut short goes on where it stood, if nothing else has changed.

    Raises:
        UserError: the documents give too few questions.
    """
    from index.retriever import Retriever
    from retro.answer import model_sha256
    from retro.train_head import collect, fit, known_policy
    from retro.train_setup import present_documents

    retriever = Retriever.open(index)
    made = make_questions(present_documents(retriever), limit, seed)
    if len(made) < FEWEST:
        raise UserError(
            f"{index}: its documents give {len(made)} questions, at least {FEWEST} are needed; "
            "use the checkpoint's head, or ask questions of your own with: retro train signals"
        )
    folder = index / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / ABOUT).unlink(missing_ok=True)
    about = OwnHead(
        index=retriever.manifest.fingerprint,
        model=model_sha256(checkpoint),
        num_questions=len(made),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    rows = folder / f"{about.index[:8]}-{about.model[:8]}-{limit}-{seed}-{SIGNALS}"
    for old in folder.glob(f"*{SIGNALS}"):
        if old != rows:
            old.unlink()
    _write(folder / QUESTIONS, made)
    collect(index, [folder / QUESTIONS], checkpoint, rows, limit=len(made), hold_out=0, seed=seed)
    fit([rows], folder, seed, policy=known_policy(checkpoint))
    write_record(about, folder / ABOUT)


def _write(file: Path, questions: Sequence[OwnQuestion]) -> None:
    rows = ({**q._asdict(), "answers": [q.answer]} for q in questions)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file.write_text("".join(lines), encoding="utf-8")
