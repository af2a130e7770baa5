"""One fact in several wordings: agreement counted by hand, and ParaRel made into such questions."""

from __future__ import annotations

import json
import lzma
import tarfile
from pathlib import Path
from typing import Any

import pytest
from eval_fakes import LookUp, build_tiny_index, write_jsonl

from eval import pararel
from eval.paraphrases import Agreement, held, run
from eval.questions import read_questions
from index.errors import UserError
from index.retriever import Retriever

WORDINGS = [
    ("nile", "Into which sea does the Nile flow?", "Mediterranean Sea"),
    ("nile", "The Nile flows into what?", "Mediterranean Sea"),
    ("nile", "Egypt's Nile ends in what?", "Mediterranean Sea"),
    ("ostrich", "How fast does the ostrich run?", "70 kilometres an hour"),
    ("ostrich", "The ostrich runs at what?", "70 kilometres an hour"),
    ("alone", "Which metal is liquid at room temperature?", "Mercury"),
]


class Forgetful(LookUp):
    """Knows the Nile in every wording, and the ostrich in the first alone: else it is unsure, and
    says something else."""

    def __init__(self, retriever: Retriever) -> None:
        super().__init__(retriever)
        self.known = {q: a for _, q, a in WORDINGS} | {WORDINGS[4][1]: "fast"}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_index(tmp_path_factory.mktemp("paraphrases"))


def written(folder: Path, rows: list[tuple[str, str, str]]) -> Path:
    keys = ("title", "question", "answers")
    made = [dict(zip(keys, (t, q, [a]), strict=True)) | {"id": q} for t, q, a in rows]
    return write_jsonl(folder / "asked.jsonl", made)


def test_pairs_of_wordings_are_counted(index: Path, tmp_path: Path) -> None:
    data = written(tmp_path, WORDINGS)
    answerer = Forgetful(Retriever.open(index))
    report = run(answerer, read_questions(data), tmp_path, k=2, num_resamples=20)
    every = report.figures["all"]
    assert (every["num_facts"], every["num_wordings"]) == (2, 5)
    assert every["candidates"][0] == every["shown"][0] == 0.5
    assert every["both_answered"][0] == 1.0
    assert every["right"][0] == every["answered"][0] == 0.75
    assert report.figures["found"]["num_facts"] == 2
    assert [row["title"] for row in report.figures["mixed"]] == ["ostrich"]
    assert len((tmp_path / "predictions.jsonl").read_text().splitlines()) == 5
    assert "same outcome" in report.markdown({})


def test_agreement_tells_candidates_from_what_is_shown(index: Path, tmp_path: Path) -> None:
    data = written(tmp_path, WORDINGS)
    shy = Forgetful(Retriever.open(index))
    shy.threshold = 0.95  # declines all
    report = run(shy, read_questions(data), tmp_path, k=2, num_resamples=5)
    every = report.figures["all"]
    assert (every["candidates"][0], every["shown"][0]) == (0.5, 1.0)
    assert every["both_answered"] is None
    assert Agreement.of([]) == Agreement(0, 0, 0, 0, 0, 0)
    assert held([])


def test_an_answer_at_more_length_is_near_but_not_alike(index: Path, tmp_path: Path) -> None:
    answerer = Forgetful(Retriever.open(index))
    answerer.known[WORDINGS[2][1]] = "Mediterranean"
    data = written(tmp_path, WORDINGS[:3])
    report = run(answerer, read_questions(data), tmp_path, k=2, num_resamples=5)
    every = report.figures["all"]
    assert (every["both_answered"][0], every["both_near"][0]) == (pytest.approx(1 / 3), 1.0)


def test_questions_without_a_second_wording_are_told(index: Path, tmp_path: Path) -> None:
    data = written(tmp_path, [WORDINGS[0], WORDINGS[5]])
    with pytest.raises(UserError, match="no two rows of --data have one 'title'"):
        run(LookUp(Retriever.open(index)), read_questions(data), tmp_path)


def archive(folder: Path, files: dict[str, list[dict[str, Any]]]) -> Path:
    for name, rows in files.items():
        (folder / "pararel" / name).parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(folder / "pararel" / name, rows)
    (folder / "pararel" / "graphs.pickle").write_bytes(b"not read")
    with tarfile.open(folder / "pararel.tar.gz", "w:gz") as out:
        out.add(folder / "pararel", "pararel")
    return folder / "pararel.tar.gz"


def test_pararel_becomes_questions_and_a_corpus_that_holds_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = [("Ann Ek", "Oslo"), ("Bo Dahl", "Rome"), ("Cy Berg", "Bern")]
    labels = [{"sub_label": subject, "obj_label": answer} for subject, answer in facts]
    borders = [{"sub_label": "Bears", "obj_label": "Bern"}]
    made = archive(
        tmp_path, {"trex_lms_vocab/P19.jsonl": labels, "trex_lms_vocab/P47.jsonl": borders}
    )
    documents = [
        {"id": "a", "title": "Ann Ek", "text": "Ann Ek comes from Oslo."},
        {"id": "b", "title": "Bo Dahl", "text": "Bo Dahl never saw Romeo."},
        {"id": "c", "title": "Bears", "text": "Bears live in Bern."},
    ]
    corpus = tmp_path / "corpus.jsonl.xz"
    with lzma.open(corpus, "wt") as out:
        out.writelines(json.dumps(row) + "\n" for row in documents)
    out = tmp_path / "out"
    options = ["--out", str(out), "--others", "1", "--wordings", "9"]
    pararel.main([str(made), "--corpus", str(corpus), *options])
    assert "5 questions of 1 facts, 2 documents" in capsys.readouterr().out
    asked = read_questions(out / "questions.jsonl")
    assert {q.question for q in asked} == {
        "Where was Ann Ek born?",
        "In what city was Ann Ek born?",
        "What city is Ann Ek originally from?",
        "Where is Ann Ek a native of?",
        "What is the birthplace of Ann Ek?",
    }
    assert {(q.title, q.answers) for q in asked} == {("P19 Ann Ek", ("Oslo",))}
    kept = [json.loads(line) for line in (out / "passages.jsonl").read_text().splitlines()]
    assert kept[0] == documents[0]


def test_another_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="not ParaRel's archive"):
        pararel.read(tmp_path / "x.tar.gz")
    with pytest.raises(UserError, match=r"no trex_lms_vocab/\*.jsonl"):
        pararel.read(archive(tmp_path, {"other/P1.jsonl": [{"pattern": "x"}]}))


def test_every_relation_has_several_questions_about_its_subject() -> None:
    for relation, forms in pararel.FORMS.items():
        assert len(set(forms)) >= 4, relation
        assert all(form.count("[X]") == 1 and form.endswith("?") for form in forms), relation
