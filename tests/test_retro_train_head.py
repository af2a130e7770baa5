"""Cases for the confidence head: every question with its facts, and with them taken away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_fakes import small_index, write_facts

from index.errors import UserError
from index.grow import remove_documents
from index.retriever import Retriever
from index.sources import Document
from retro.answer import HEAD, POLICY
from retro.cli import main
from retro.policy import AbstentionPolicy
from retro.train_head import Case, _row, evened, fit_cases, make_cases, read_cases, whole_lines
from retro.train_setup import prepare, prepare_sequences, present_documents
from retro.types import Answer, Evidence


def document(number: int, title: str) -> Document:
    return Document(id=f"d{number}", title=title, source="here", text=f"Passage {number}.")


DOCUMENTS = [document(0, "Bern"), document(1, "Bern"), document(2, "Oslo")]


def cases(tmp_path: Path, *rows: tuple[str, str, list[str]]) -> list[Case]:
    data = tmp_path / "questions.jsonl"
    keys = ("question", "context", "answers")
    data.write_text("".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in rows))
    return make_cases(DOCUMENTS, [data], limit=100, hold_out=0, seed=0)


def test_an_answerable_question_is_asked_with_and_without_passage_and_article(
    tmp_path: Path,
) -> None:
    found = cases(tmp_path, ("Who?", "Passage 1.", ["Ann"]))
    assert [(sorted(c.hidden), c.held) for c in found] == [
        ([], True),
        (["d1"], False),
        (["d0", "d1"], False),
    ]


def test_an_article_of_one_passage_is_taken_away_once(tmp_path: Path) -> None:
    found = cases(tmp_path, ("Who?", "Passage 2.", ["Ann"]))
    assert [(sorted(c.hidden), c.held) for c in found] == [([], True), (["d2"], False)]


def test_documents_without_a_title_are_no_article(tmp_path: Path) -> None:
    """They counted as one: with it the whole database was taken away, and no head was fitted."""
    untitled = [document(0, ""), document(1, "")]
    data = tmp_path / "questions.jsonl"
    data.write_text(json.dumps({"question": "Who?", "context": "Passage 1.", "answers": ["Ann"]}))
    found = make_cases(untitled, [data], limit=9, hold_out=0, seed=0)
    assert [(sorted(c.hidden), c.title) for c in found] == [([], "d1"), (["d1"], "d1")]


def test_a_question_without_answers_is_asked_once_and_never_held(tmp_path: Path) -> None:
    assert cases(tmp_path, ("Who?", "Passage 0.", [])) == [
        Case("Who?", (), "Bern", frozenset(), False)
    ]


def test_a_question_without_a_passage_is_asked_once_as_it_is(tmp_path: Path) -> None:
    data = tmp_path / "open.jsonl"
    rows = [{"question": "Who?", "answers": ["Ann"]}, {"question": "Where?", "answers": []}]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = make_cases(DOCUMENTS, [data], limit=9, hold_out=0, seed=0)
    assert sorted(found, key=lambda c: c.question) == [
        Case("Where?", (), "Where?", frozenset(), None),
        Case("Who?", ("Ann",), "Who?", frozenset(), None),
    ]
    with pytest.raises(UserError, match="check --index, --data and --hold-out"):
        make_cases(DOCUMENTS, [data], limit=9, hold_out=3, seed=0)
    data.write_text(json.dumps({"question": "Who?", "answer": ["Ann"]}))
    with pytest.raises(UserError, match=r"open\.jsonl: 'Who\?' has no 'answers'"):
        make_cases(DOCUMENTS, [data], limit=9, hold_out=0, seed=0)


@pytest.mark.parametrize(
    ("candidate", "text", "answers", "present"),
    [
        ("Ann Lee", "Nobody knows.", ["Ann"], True),
        ("Bob", "Ann Lee and Bob were here.", ["Ann Lee"], True),
        ("Bob", "Anne and Bob were here.", ["Ann"], False),
        ("Bob", "Bob was here.", [], False),
    ],
)
def test_an_open_questions_facts_are_there_if_an_answer_was_found(
    candidate: str, text: str, answers: list[str], present: bool
) -> None:
    given = answer(candidate, text)
    row = _row(Case("Who?", tuple(answers), "Who?", frozenset(), None), given)
    assert (row["present"], row["open"]) == (present, True)
    known = _row(Case("Who?", tuple(answers), "Bern", frozenset({"d0"}), False), given)
    assert (known["present"], known["open"]) == (False, False)


def answer(candidate: str, text: str) -> Answer:
    """As it comes, from one passage."""
    passage = Evidence(
        doc_id="d0", title="", text=text, start=0, end=len(text), distance=0.1, score=1.0
    )
    return Answer(
        id="q",
        question="Who?",
        answer=candidate,
        abstained=False,
        reason=None,
        candidate=candidate,
        confidence=0.5,
        evidence=(passage,),
        signals={"match_best": 1.0},
        timing_ms={},
    )


def test_questions_of_other_passages_are_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no question's passage is in the index"):
        cases(tmp_path, ("Who?", "Another passage.", ["Ann"]))


def case(number: int, present: bool, label: bool) -> dict[str, Any]:
    noise = np.random.default_rng(number).normal(size=2)
    near, sure = (
        (0.5 if good else -0.5) + x for good, x in zip((present, label), noise, strict=True)
    )
    signals = {"span_probability": float(sure), "match_best": float(near)}
    return {"title": f"t{number}", "label": label, "present": present, "signals": signals}


def test_cases_with_and_without_their_facts_are_evened() -> None:
    there, gone = [case(n, True, True) for n in range(3)], [case(n, False, False) for n in range(8)]
    rows = evened([*there, *gone])
    assert [row for row in rows if row["present"]] == there * 3
    assert [row for row in rows if not row["present"]] == gone
    assert evened(gone) == gone
    asked = [{**case(n, n > 4, False), "open": True} for n in range(9)]
    assert evened([*asked, *there, *gone]) == [*rows, *asked]
    assert evened([]) == []


def test_confidence_is_calibrated_for_even_chances() -> None:
    """Facts were taken away twice a question: its mean was a third where half are answerable."""
    rows = [case(n, n % 4 == 0, n % 4 == 0 and n % 16 > 0) for n in range(480)]
    head = fit_cases(rows, seed=0)
    confidence = head.score_rows([row["signals"] for row in rows])
    there = np.array([row["present"] for row in rows])
    right = np.array([row["label"] for row in rows])
    even = (confidence[there].mean() + confidence[~there].mean()) / 2
    assert abs(even - (right[there].mean() + right[~there].mean()) / 2) < 0.05


def test_open_questions_do_not_calibrate() -> None:
    """Of their right answers few are accepted."""
    pairs = [case(n, n % 2 == 0, n % 2 == 0 and n % 8 > 0) for n in range(400)]
    asked = [{**case(n, n % 2 == 0, n % 8 == 0), "open": True} for n in range(400, 800)]
    head = fit_cases([*pairs, *asked], seed=0)
    confidence = head.score_rows([row["signals"] for row in pairs])
    assert abs(confidence.mean() - np.mean([row["label"] for row in pairs])) < 0.04


def collected(candidate: str, answers: list[str], present: bool) -> dict[str, Any]:
    told = {"title": "Bern", "answers": answers, "candidate": candidate, "present": present}
    return {**told, "signals": {"match_best": 1.0}}


@pytest.mark.parametrize(
    ("candidate", "present", "label"),
    [
        ("in May 1990", True, True),
        ("5 May 1990", True, True),
        ("1990", True, True),
        ("1991", True, False),
        ("", True, False),
        ("5 May 1990", False, None),
        ("1990", False, False),
    ],
)
def test_what_counts_as_right_is_decided_when_cases_are_read(
    candidate: str, present: bool, label: bool | None, tmp_path: Path
) -> None:
    """An answer cut longer or shorter than the only accepted one is right; one that another
    passage still gives has no label."""
    file = tmp_path / "signals.jsonl"
    file.write_text(json.dumps(collected(candidate, ["5 May 1990"], present)) + "\n")
    assert [row["label"] for row in read_cases([file])] == ([] if label is None else [label])


def test_cases_of_an_earlier_release_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "signals.jsonl"
    file.write_text(
        json.dumps({"title": "Bern", "label": True, "present": True, "signals": {}}) + "\n"
    )
    with pytest.raises(UserError, match="cases lack answers, candidate; collect the signals again"):
        read_cases([file])


def written(folder: Path, noise: float) -> Path:
    """Cases whose signal separates by title as ``noise`` lets it."""
    rng = np.random.default_rng(1)
    rows = []
    for number in range(300):
        present, right = number % 3 == 0, number % 3 == 0 and number % 9 > 0
        row = collected("Bern" if right else "Oslo", ["Bern"], present)
        signals = {
            "match_best": float(present + noise * rng.normal()),
            "span_probability": float(right + noise * rng.normal()),
        }
        rows.append(row | {"title": f"t{number % 30}", "signals": signals})
    file = folder / "signals.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_head_and_threshold_are_written_and_a_given_threshold_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, 0.5)
    given = ["train", "head", "--rows", str(file), "--checkpoint", str(tmp_path)]
    assert main(given) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["threshold"] == told["best"] == AbstentionPolicy.load(tmp_path / POLICY).threshold
    assert 0.2 < told["best"] < 0.8
    head = (tmp_path / HEAD).read_bytes()
    assert main([*given, "--threshold", "0.3"]) == 0
    assert json.loads(capsys.readouterr().out)["best"] == told["best"]
    assert AbstentionPolicy.load(tmp_path / POLICY).threshold == 0.3
    assert (tmp_path / HEAD).read_bytes() == head


def test_a_line_torn_by_a_kill_is_cut_off(tmp_path: Path) -> None:
    """What was collected next was appended to half a line, and no head could be fitted."""
    rows = tmp_path / "signals.jsonl"
    assert whole_lines(rows) == 0
    rows.write_bytes(b'{"a": 1}\n{"a": 2}\n{"a"')
    assert whole_lines(rows) == 2
    assert rows.read_bytes() == b'{"a": 1}\n{"a": 2}\n'


def test_removed_documents_are_not_learned(tmp_path: Path) -> None:
    """Questions were made from them, and asked as if the database still held the answer."""
    out = tmp_path / "index"
    small_index(write_facts(tmp_path), out)
    remove_documents(out, ["venus"])
    present = {document.id for document in present_documents(Retriever.open(out))}
    assert present == {"mercury", "copper", "violin", "camel"}
    common = {"limit": None, "seed": 0}
    with pytest.raises(UserError, match=r"holds removed documents.* retro index compact"):
        prepare(out, [], tmp_path / "set.npz", searched=False, hold_out=0, **common)
    with pytest.raises(UserError, match=r"holds removed documents.* retro index compact"):
        prepare_sequences(out, tmp_path / "set.npz", num_chunks=2, num_neighbours=1, **common)
