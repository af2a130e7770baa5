"""Which neighbours of a question are read: what is counted of them, and what is learned of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny

from index.errors import UserError
from index.retriever import Neighbours
from retro import cli
from retro.ranking import DEPTH, FEATURES, Ranker, features
from retro.shipped import DEFAULT_CHECKPOINT, ranker_of
from retro.train_ranker import Asked, Lists, _list, fit_ranker, recall

ASKED = "When did Nikola Tesla build the coil?"


def idf(word: str) -> float:
    return {"tesla": 6.0, "nikola": 5.5, "coil": 5.0, "build": 2.0}.get(word, 3.0)


def found(
    *texts: str, titles: tuple[str, ...] = (), distances: tuple[float, ...] = ()
) -> Neighbours:
    """Neighbours with these texts, each of a document of its own unless titles repeat."""
    count = len(texts)
    titles = titles or tuple(f"title {i}" for i in range(count))
    zeros, whole = np.zeros(count, np.float32), np.zeros(count, np.int64)
    return Neighbours(
        chunk_ids=np.arange(count),
        doc_ids=titles,
        titles=titles,
        trusts=("",) * count,
        texts=texts,
        starts=whole,
        ends=whole,
        tokens=(np.zeros(0, np.int32),) * count,
        offsets=(np.zeros((0, 2), np.int64),) * count,
        distances=np.asarray(distances or zeros, np.float32),
        lexical=zeros,
        scores=zeros,
        dense_top=zeros,
        lexical_top=zeros,
        dense_rank=np.arange(count, dtype=np.int32),
        lexical_rank=np.full(count, -1, np.int32),
    )


def counted(name: str, neighbours: Neighbours, question: str = ASKED) -> list[float]:
    return list(features(question, neighbours, idf)[:, FEATURES.index(name)])


def only(name: str) -> Ranker:
    """A ranker that goes by one feature alone."""
    linear = tuple(float(one == name) for one in FEATURES)
    zeros, ones = (0.0,) * len(FEATURES), (1.0,) * len(FEATURES)
    return Ranker(zeros, ones, linear, (zeros,), (0.0,), (0.0,))


def test_a_passage_that_holds_more_of_the_question_is_counted_higher() -> None:
    both = found("Tesla built the coil in 1891.", "He came to town in 1891.")
    for name in ("cover", "sentence", "sentence_alone", "pair", "mean_sentence"):
        more, less = counted(name, both)
        assert 0.0 <= less < more <= 1.0
    assert counted("names_missing", both)[0] < counted("names_missing", both)[1]
    assert counted("rarest", both) == [1.0, 0.0]


def test_what_search_says_is_measured_against_the_best_neighbour() -> None:
    near = found("a", "b", distances=(0.5, 0.7))
    far = found("a", "b", distances=(0.2, 0.4))
    assert counted("nearness", near) == pytest.approx([0.0, -0.2])
    assert counted("nearness", near) == pytest.approx(counted("nearness", far))
    assert counted("lexical_rank", near)[0] > counted("dense_rank", near)[1]


def test_a_date_counts_only_where_one_is_asked_for_and_is_not_in_the_question() -> None:
    dated, plain = "Tesla built the coil in 1891.", "Tesla built the coil in a shed."
    assert counted("date", found(dated, plain)) == [1.0, 0.0]
    assert counted("date", found(dated, plain), "Who built the coil?") == [0.0, 0.0]
    assert counted("date", found(dated), "When, if not in 1891, was the coil built?") == [0.0]
    assert counted("person", found(dated, "the coil"), "Who built the coil?") == [1.0, 0.0]


def test_neighbours_of_one_document_are_counted_together() -> None:
    siblings = counted("siblings", found("a", "b", "c", titles=("x", "y", "x")))
    assert siblings == pytest.approx([np.log(2), 0.0, np.log(2)])


def test_no_neighbours_have_no_features_and_no_order() -> None:
    assert features(ASKED, found(), idf).shape == (0, len(FEATURES))
    assert len(only("cover").rank(ASKED, found(), idf)) == 0


def test_the_order_in_which_neighbours_are_given_changes_no_score() -> None:
    texts = ("Tesla built the coil.", "He came in 1891.", "A coil, a coil.", "Nikola Tesla")
    ranker = Ranker.load(ranker_of(DEFAULT_CHECKPOINT))
    given = found(*texts, distances=(0.1, 0.2, 0.3, 0.4))
    turned = given.select([3, 1, 0, 2])
    one, other = (ranker.rank(ASKED, n, idf) for n in (given, turned))
    assert one.texts == other.texts
    assert one.scores == pytest.approx(other.scores)


def test_the_likeliest_come_first_with_their_scores() -> None:
    ranked = only("cover").rank(ASKED, found("nothing", "Nikola Tesla", "the Tesla coil"), idf, 2)
    assert ranked.texts == ("Nikola Tesla", "the Tesla coil")
    assert ranked.chunk_ids.tolist() == [1, 2]
    assert ranked.scores[0] > ranked.scores[1] > 0


def test_what_spells_out_the_abbreviation_comes_first() -> None:
    texts = ("LVM and more LVM", "the Logical Volume Manager")
    for question, first in (("What does LVM stand for?", 1), ("How old is LVM?", 0)):
        ranked = only("cover").rank(question, found(*texts, titles=("a", "b")), idf)
        assert ranked.texts[0] == texts[first]


def test_what_describes_the_identifier_comes_first_and_another_one_last() -> None:
    titles = ("hash_mem_multiplier", "Memory", "work_mem (integer)")
    both = found("of work_mem 2", "4 MB", "5 MB", titles=titles, distances=(0.1, 0.2, 0.3))
    ranked = only("nearness").rank("How large is work_mem?", both, idf)
    assert ranked.titles == ("work_mem (integer)", "Memory", "hash_mem_multiplier")
    assert only("nearness").rank("How large is mem?", both, idf).titles[0] == titles[0]


def test_of_texts_that_say_the_same_the_likeliest_is_read() -> None:
    ranker = only("nearness")
    copies = found("Two years.", "two  years.", "Three years.", distances=(0.3, 0.2, 0.4))
    assert ranker.rank("How long?", copies, idf, k=3).texts == ("two  years.", "Three years.")
    assert ranker.rank("How long?", copies, idf, k=1).texts == ("two  years.",)
    assert len(ranker.rank("How long?", copies, idf)) == 3  # all of one document


def test_a_ranker_is_stored_whole(tmp_path: Path) -> None:
    made = replace(only("cover"), data_hash="x", statistics={"num_questions": 3.0})
    made.save(tmp_path / "ranker.json")
    assert Ranker.load(tmp_path / "ranker.json") == made


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 0},
        {"features": ["cover"]},
        {"linear": [1.0]},
        {"bias": [1.0, 2.0]},
        {"mean": ["a"] * len(FEATURES)},
        {"out": None},
    ],
)
def test_a_ranker_that_does_not_fit_is_refused(tmp_path: Path, damage: dict[str, object]) -> None:
    file = tmp_path / "ranker.json"
    only("cover").save(file)
    file.write_text(json.dumps(json.loads(file.read_text()) | damage))
    with pytest.raises(UserError, match="retro train ranker"):
        Ranker.load(file)


def test_a_missing_ranker_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        Ranker.load(tmp_path / "ranker.json")


def lists(seed: int, count: int = 300) -> Lists:
    """Questions whose answer stands where the third feature is highest."""
    counted = np.random.default_rng(seed).normal(size=(count, DEPTH, len(FEATURES)))
    holds = counted[..., 2] == counted[..., 2].max(1, keepdims=True)
    return Lists.of(counted, holds, np.ones_like(holds))


def test_it_learns_what_tells_the_neighbour_that_answers() -> None:
    ranker, unseen = fit_ranker(lists(0), 0, epochs=20), lists(1)
    assert recall(unseen, ranker.score(unseen.counted.astype(float)))[1] > 0.5
    assert recall(unseen, -np.tile(np.arange(DEPTH), (300, 1)))[1] < 0.1
    assert fit_ranker(lists(0), 0, epochs=20) == ranker


def test_what_is_neither_right_nor_wrong_teaches_nothing() -> None:
    """A neighbour that does not count may say anything."""
    made = lists(0)
    counts = made.counts & (np.arange(DEPTH) != 7)
    holds = made.holds & counts
    wild = made.counted.copy()
    wild[:, 7] = 1e3
    one = fit_ranker(Lists(made.counted, holds, counts), 0, epochs=1)
    assert fit_ranker(Lists(wild, holds, counts), 0, epochs=1) == one


def test_places_without_a_neighbour_are_no_neighbours() -> None:
    made = lists(0)
    fewer = made.counted.copy()
    fewer[:, 10:] = np.nan
    there = np.isfinite(fewer[..., 0])
    few = Lists(fewer, made.holds & there, there)
    ranker = fit_ranker(few, 0, epochs=20)
    scores = ranker.score(fewer.astype(float))
    assert recall(few, scores)[8] == pytest.approx(few.holds.any(1).mean())


def test_without_an_answer_nothing_is_fitted() -> None:
    made = lists(0)
    with pytest.raises(UserError, match="no neighbour holds an answer"):
        fit_ranker(replace(made, holds=np.zeros_like(made.holds)), 0)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an index, questions about its documents, and some without a passage."""
    folder = tmp_path_factory.mktemp("asked")
    tiny.write_index(folder / "index")
    rows = [
        {"question": f"What of {title}, {n}?", "context": text, "title": title, "answers": [last]}
        for title, text in tiny.DOCUMENTS.items()
        for n, last in enumerate(text.split()[-3:])
    ]
    write(folder / "asked.jsonl", rows)
    write(
        folder / "short.jsonl", [{"question": "what conducts electricity", "answers": ["copper"]}]
    )
    write(folder / "other.jsonl", [{**rows[0], "context": "No document of the index."}])
    return folder


def write(file: Path, rows: list[dict[str, object]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def fitted(asked: Path, out: Path, *files: str, hold_out: int = 0) -> int:
    out.mkdir()
    data = [part for name in files for part in ("--data", str(asked / name))]
    where = ["--index", str(asked / "index"), "--out", str(out / "ranker.json")]
    return cli.main(["train", "ranker", *where, *data, "--hold-out", str(hold_out)])


def test_a_ranker_is_fitted_on_questions_with_a_passage_and_without(
    asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fitted(asked, tmp_path / "both", "asked.jsonl", "short.jsonl") == cli.DONE
    told = dict(line.split() for line in capsys.readouterr().out.splitlines() if "_" in line)
    made = Ranker.load(ranker_of(tmp_path / "both"))
    assert made.statistics["num_questions"] == 3 * len(tiny.DOCUMENTS) + 1
    assert 0 < made.statistics["num_tested"] < made.statistics["num_questions"]
    assert float(told["ranked_1"]) == pytest.approx(made.statistics["ranked_1"], rel=1e-3)
    assert fitted(asked, tmp_path / "again", "asked.jsonl", "short.jsonl") == cli.DONE
    assert Ranker.load(ranker_of(tmp_path / "again")) == made
    assert fitted(asked, tmp_path / "one", "asked.jsonl") == cli.DONE
    assert Ranker.load(ranker_of(tmp_path / "one")).data_hash != made.data_hash


def test_held_out_titles_are_not_learned_from(asked: Path, tmp_path: Path) -> None:
    assert fitted(asked, tmp_path / "fewer", "asked.jsonl", hold_out=4) == cli.DONE
    left = 3 * (len(tiny.DOCUMENTS) - 4)
    assert Ranker.load(ranker_of(tmp_path / "fewer")).statistics["num_questions"] == left


def test_where_nothing_can_be_written_nothing_is_searched(
    asked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = asked / "asked.jsonl" / "ranker.json"
    where = ["--index", str(asked / "index"), "--out", str(out)]
    given = ["--data", str(asked / "asked.jsonl")]
    assert cli.main(["train", "ranker", *where, *given]) == cli.USER_MISTAKE
    shown = capsys.readouterr()
    assert str(asked / "asked.jsonl") in shown.err
    assert "searched" not in shown.out


def test_questions_about_other_documents_fit_no_ranker(
    asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fitted(asked, tmp_path / "none", "other.jsonl") == cli.USER_MISTAKE
    assert "check --data" in capsys.readouterr().err
    assert not (tmp_path / "none" / "ranker.json").exists()


def test_a_question_without_a_passage_is_answered_by_whatever_holds_an_answer() -> None:
    one = Asked("q", ("Copper",), "", None)
    texts = found("Copper is red.", "Gold is not.", titles=("copper", "gold"))
    assert _list(one, texts, idf)[1][:2].tolist() == [True, False]
    gold = replace(one, documents={"gold"})
    _, holds, counts = _list(gold, texts, idf)
    assert (holds[:2].tolist(), counts[:2].tolist()) == ([False, False], [False, True])
