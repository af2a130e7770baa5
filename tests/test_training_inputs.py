"""What the default checkpoint is made from: the same files each time; what is measured on is not
learned from."""

from __future__ import annotations

import gzip
import json
import lzma
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "training" / "inputs.py"
INPUTS = runpy.run_path(str(SCRIPT))
Rows = list[dict[str, Any]]


def write(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    packed = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
    path.write_bytes(packed(text))


def asked(kind: str, number: int, title: str | None = None) -> dict[str, Any]:
    context = f"In {kind} {number} the answer{number} stands."
    row = {"question": f"What of {kind} {number}?", "context": context}
    return row | {"answers": [f"answer{number}"]} | ({"title": title} if title else {})


def two(number: int) -> dict[str, Any]:
    passages = [f"Paragraph 1: Anna {number} knows Berta.", f"Paragraph 2: Berta has cat{number}."]
    return asked("hop", number) | {"context": "\n\n".join(passages), "answers": [f"cat{number}"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    titles = [f"title {n}" for n in range(60)]
    dev = [asked("dev", n, f"dev {n % 24}") for n in range(48)]
    none = [row | {"answers": [], "question": f"{row['question']} No?"} for row in dev]
    rows: dict[str, Rows] = {
        "squad/train-v1.1.jsonl.gz": [asked("squad", n, t) for n, t in enumerate(titles)],
        "squad/dev-v1.1-open.jsonl.gz": dev,
        "squad/dev-v2.0-open.jsonl.gz": dev + none,
        "unanswerable/squad2-train-part.jsonl.gz": [
            asked("squad2", n) | ({"answers": []} if n % 2 else {}) for n in range(6)
        ],
        "unanswerable/nq.jsonl.gz": [asked("nq", n % 3) for n in range(6)],
        "unanswerable/musique.jsonl.gz": [*map(two, range(7)), asked("musique", 1)],
        "halueval/qa.jsonl.gz": [
            {"question": f"q{n}", "knowledge": f"k{n} a{n}.", "right_answer": f"a{n}"}
            for n in range(1300)
        ]
        + [{"question": "no", "knowledge": "elsewhere", "right_answer": "gone"}],
        "webquestions/webquestions.jsonl.gz": [
            {"question": "w", "answers": ["x"], "split": "train"},
            *({"question": f"w{n}", "answers": ["x"], "split": "test"} for n in range(700)),
        ],
        "entityquestions/train.jsonl.gz": [{"question": "e", "answers": ["y"]}],
        "entityquestions/dev.jsonl.gz": [
            {"question": f"d{n}", "answers": ["y"], "relation": "of"} for n in range(700)
        ],
        "nq_open/NQ-open.dev.jsonl": [{"question": f"n{n}", "answer": ["z"]} for n in range(700)],
        "corpus/wiki.jsonl.xz": [
            {"id": "a", "title": "A", "text": "x" * 1000 + "\n\n" + "y" * 300 + "\n" + "z"}
        ],
    }
    for name, held in rows.items():
        write(folder / name, held)
    return folder


@pytest.fixture(scope="module")
def made(data: Path) -> dict[str, Rows]:
    return {name: list(rows) for name, rows in INPUTS["files"](data)}


def questions(rows: Rows) -> set[str]:
    return {row["question"] for row in rows}


def test_what_is_measured_on_is_not_learned_from(made: dict[str, Rows]) -> None:
    assert len(made["hotpot.jsonl"]) == 900
    assert len(made["hotpot-fit.jsonl"]) == len(made["hotpot-held.jsonl"]) == 200
    for learned, *measured in (
        ["hotpot.jsonl", "hotpot-fit.jsonl", "hotpot-held.jsonl"],
        ["hotpot-fit.jsonl", "hotpot-held.jsonl"],
        ["musique.jsonl", "musique-held.jsonl"],
        ["dev-v1.1-fit.jsonl", "dev-v1.1-rest.jsonl"],
        ["dev-v2.0-fit.jsonl", "dev-v2.0-rest.jsonl"],
        *(
            [learned, f"{name}-{part}.jsonl"]
            for name in ("nq-open", "webquestions", "entityquestions")
            for learned, part in (
                ("short-questions.jsonl", "fit"),
                ("short-questions.jsonl", "rest"),
                ("asked-questions.jsonl", "fit"),
                ("asked-questions.jsonl", "rest"),
                (f"{name}-fit.jsonl", "rest"),
            )
        ),
        ["train-v1.1.jsonl", "dev-v1.1-fit.jsonl", "dev-v1.1-rest.jsonl"],
    ):
        for name in measured:
            assert made[name]
            assert questions(made[learned]).isdisjoint(questions(made[name])), (learned, name)
    for name in ("1.1", "2.0"):
        fit, rest = (
            {r["title"] for r in made[f"dev-v{name}-{part}.jsonl"]} for part in ("fit", "rest")
        )
        assert (len(fit), len(rest), fit & rest) == (12, 12, set())
    assert questions(made["dev-v2.0-none.jsonl"]) < questions(made["dev-v2.0-fit.jsonl"])
    assert not any(row["answers"] for row in made["dev-v2.0-none.jsonl"])


def test_every_passage_is_a_document_once(made: dict[str, Rows]) -> None:
    for name, asking in (
        ("squad", ["train-v1.1.jsonl", "dev-v2.0-fit.jsonl", "dev-v1.1-rest.jsonl"]),
        ("nq", ["nq.jsonl"]),
        ("hotpot", ["hotpot.jsonl", "hotpot-held.jsonl"]),
        ("hotpot-held", ["hotpot-fit.jsonl", "hotpot-held.jsonl"]),
    ):
        texts = [row["text"] for row in made[f"{name}-passages.jsonl"]]
        assert (
            len(set(texts)) == len(texts) == len({r["id"] for r in made[f"{name}-passages.jsonl"]})
        )
        assert {row["context"] for file in asking for row in made[file]} <= set(texts)
    assert len(made["nq-passages.jsonl"]) == 3
    hops = {row["text"] for row in made["hop-held-passages.jsonl"]}
    assert {"Anna 3 knows Berta.", "Berta has cat4."} <= hops


def test_small_databases_are_of_titles_that_no_reader_learns_from(made: dict[str, Rows]) -> None:
    from retro.train_setup import held_out_titles

    held = held_out_titles([row["title"] for row in made["train-v1.1.jsonl"]], 40)
    titles = [{row["title"] for row in made[f"small{n}-passages.jsonl"]} for n in range(3)]
    assert [len(some) for some in titles] == [5, 8, 13]
    assert len(set.union(*titles)) == 26
    assert set.union(*titles) < held


def test_what_is_read_in_the_corpus_is_of_no_held_out_title(made: dict[str, Rows]) -> None:
    from retro.train_setup import held_out_titles

    train = made["train-v1.1.jsonl"]
    held = held_out_titles([row["title"] for row in train], 40)
    learned = made["train-learned.jsonl"]
    assert learned == [row for row in train if row["title"] not in held]
    assert 0 < len(learned) < len(train)


def test_short_questions_have_answers_and_documents_are_whole(made: dict[str, Rows]) -> None:
    short = [(r["question"], r["answers"]) for r in made["short-questions.jsonl"]]
    assert [short[0], short[-1]] == [("w", ["x"]), ("e", ["y"])]
    assert len(short) == 2 + 50 + 50  # the rest of both sets' 700 are kept for the head
    made_by_templates = ("e", ["y"])
    asked = [(r["question"], r["answers"]) for r in made["asked-questions.jsonl"]]
    assert asked == [row for row in short if row != made_by_templates]
    [whole] = made["wiki-passages.jsonl"]
    assert whole["text"] == "x" * 1000 + "\n\n" + "y" * 300 + "\nz"


def test_the_script_writes_the_same_files_each_time(data: Path, tmp_path: Path) -> None:
    written = []
    for name in ("first", "second"):
        out = tmp_path / name
        subprocess.run([sys.executable, str(SCRIPT), str(data), str(out)], check=True, env=_env())
        written.append({file.name: file.read_bytes() for file in out.iterdir()})
    assert written[0] == written[1]
    assert written[0].keys() == {name for name, _ in INPUTS["files"](data)}


def test_a_missing_set_is_one_line(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env=_env(),
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("inputs: ")
    assert "train-v1.1.jsonl.gz: no such file" in ended.stderr
    assert ended.stderr.count("\n") == 1


def _env() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": str(SCRIPT.parents[1])}
