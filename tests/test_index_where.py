"""Searching a part of an index: chosen by source, trust label and date."""

from __future__ import annotations

import json
from pathlib import Path

import ingest_fakes as fakes
import numpy as np
import pyarrow
import pytest
from index_fakes import small_index, write_jsonl
from pyarrow import parquet
from test_index_dense import Exhaustive, clustered_keys

from index import retriever as retrieving
from index.dates import first_day, iso_date, last_day
from index.errors import UserError
from index.export import export_parquet
from index.faiss_store import FaissStore
from index.grow import remove_documents
from index.retriever import Retriever
from index.sources import Document, read_documents
from index.where import EVERYWHERE, Origin, Where
from retro.cli import main

ROWS = [
    {"id": "tin", "text": "Tin melts early.", "source": "web/tin", "date": "2019"},
    {"id": "lead", "text": "Lead melts later.", "source": "web/lead", "trust": "forum"},
    {"id": "iron", "text": "Iron melts last.", "source": "books/iron", "date": "2021-03-04"},
    {"id": "zinc", "text": "Zinc melts too.", "source": "books/zinc", "trust": "reviewed"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_index(write_jsonl(tmp_path / "rows.jsonl", ROWS), tmp_path / "out")
    return tmp_path / "out"


def found(folder: Path, where: Where) -> set[str]:
    return set(Retriever.open(folder, where=where).search("What melts?").doc_ids)


@pytest.mark.parametrize(
    ("said", "date"),
    [
        ("2024", "2024"),
        (" 2024-05 ", "2024-05"),
        ("2024-05-31", "2024-05-31"),
        ("2024-05-31T10:00:00Z", "2024-05-31"),
        ("2024-05-31 10:00", "2024-05-31"),
        ("D:20240531102030+01'00'", "2024-05-31"),
        ("20240531", "2024-05-31"),
        ("2023-02-29", ""),
        ("2024-13", ""),
        ("24-05-31", ""),
        ("31.5.2024", ""),
        ("2024-5", ""),
        ("", ""),
    ],
)
def test_dates_are_as_much_as_is_known(said: str, date: str) -> None:
    assert iso_date(said) == date


def test_a_month_begins_and_ends() -> None:
    assert (first_day("2024"), last_day("2024")) == ("2024-01-01", "2024-12-31")
    assert (first_day("2024-05"), last_day("2024-05")) == ("2024-05-01", "2024-05-31")
    assert first_day("2024-05-07") == last_day("2024-05-07") == "2024-05-07"


@pytest.mark.parametrize(
    ("where", "dates"),
    [
        (Where(since="2020"), ["2020", "2020-01-01", "2021-05"]),
        (Where(since="2020-02"), ["2021-05"]),
        (Where(until="2020"), ["2019-12-31", "2020", "2020-01-01"]),
        (Where(until="2020-06"), ["2019-12-31", "2020-01-01"]),
        (Where(since="2020", until="2020"), ["2020", "2020-01-01"]),
    ],
)
def test_all_of_a_date_lies_between_the_bounds(where: Where, dates: list[str]) -> None:
    every = ["", "2019-12-31", "2020", "2020-01-01", "2021-05"]
    rows = where.rows(Origin("", "", "", date) for date in every)
    assert [every[row] for row in sorted(rows)] == dates


@pytest.mark.parametrize("name", ["since", "until"])
def test_a_bound_that_is_no_date_is_told(name: str) -> None:
    for said in ("soon", "2024-13", "2024-05-31T10:00"):
        with pytest.raises(UserError, match=f"--{name} {said}: not a date"):
            Where(**{name: said})


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (EVERYWHERE, {"tin", "lead", "iron", "zinc"}),
        (Where(sources=("web/*",)), {"tin", "lead"}),
        (Where(sources=("web/t*", "*zinc")), {"tin", "zinc"}),
        (Where(sources=("iro?",)), {"iron"}),
        (Where(trust=("reviewed", "forum")), {"lead", "zinc"}),
        (Where(since="2020"), {"iron"}),
        (Where(sources=("web/*",), trust=("forum",)), {"lead"}),
    ],
)
def test_only_documents_that_meet_every_condition_are_found(
    folder: Path, where: Where, ids: set[str]
) -> None:
    assert found(folder, where) == ids


def test_a_part_is_searched_as_an_index_of_that_part_would_be(folder: Path, tmp_path: Path) -> None:
    small_index(write_jsonl(tmp_path / "rows.jsonl", ROWS[2:]), tmp_path / "books")
    alone = Retriever.open(tmp_path / "books").search("What melts last?")
    part = Retriever.open(folder, where=Where(sources=("books/*",))).search("What melts last?")
    assert part.doc_ids == alone.doc_ids
    np.testing.assert_allclose(part.distances, alone.distances, atol=1e-6)
    np.testing.assert_allclose(part.dense_top, alone.dense_top, atol=1e-6)
    assert (part.lexical > 0).all()


def test_what_was_removed_is_in_no_part(folder: Path) -> None:
    remove_documents(folder, ["tin"])
    assert found(folder, Where(sources=("web/*",))) == {"lead"}
    with pytest.raises(UserError, match=r"no document is there with --until 2019"):
        Retriever.open(folder, where=Where(until="2019"))


def test_a_damaged_table_chooses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where an index is too large to be compared with its hashes when it is opened."""
    monkeypatch.setattr("index.manifest.CHECKED_AT_OPEN", -1)
    [file] = folder.glob("v*/document_table.jsonl")
    file.write_bytes(file.read_bytes().replace(b"2019", b"2029"))
    assert found(folder, EVERYWHERE)
    with pytest.raises(UserError, match=r"document_table.jsonl is damaged"):
        found(folder, Where(since="2020"))


def test_a_few_of_many_keys_are_searched_exactly(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inverted lists that hold few of them may not be among those visited."""
    monkeypatch.setattr(retrieving, "EXACT", len(Retriever.open(folder).store) - 1)
    monkeypatch.setattr(FaissStore, "open", None)
    assert found(folder, Where(sources=("books/*",))) == {"iron", "zinc"}


@pytest.mark.parametrize("kind", ["Flat", "IVF16,SQ8", "few"])
def test_hidden_keys_are_never_found(tmp_path: Path, kind: str) -> None:
    keys = clustered_keys(2000)
    shown = np.flatnonzero(np.random.default_rng(3).random(len(keys)) < 0.3)
    hidden = np.setdiff1d(np.arange(len(keys)), shown)
    if kind == "few":
        store = FaissStore.of_few(keys, shown)
    else:
        FaissStore.write(tmp_path / "faiss.index", keys, kind)
        store = FaissStore.open(tmp_path / "faiss.index", keys.shape, 16, hidden)
    queries = keys[:40].astype(np.float32)
    ids = store.search(queries, 10)
    exact = shown[Exhaustive(keys[shown]).search(queries, 10)]
    assert np.isin(ids, shown).all()
    shared = [len(set(a) & set(b)) for a, b in zip(ids, exact, strict=True)]
    assert np.mean(shared) / 10 > 0.95


def test_the_shell_searches_a_part(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["index", "search", str(folder), "What melts?", "--json"]
    assert main([*words, "--source", "books/*", "--trust", "reviewed"]) == 0
    assert [json.loads(r)["doc_id"] for r in capsys.readouterr().out.splitlines()] == ["zinc"]
    for wrong in (["--since", "soon"], ["--trust", "nobody"]):
        assert main([*words, *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_what_a_part_is_chosen_by_is_exported(folder: Path, tmp_path: Path) -> None:
    export_parquet(folder, tmp_path / "all.parquet")
    table = parquet.read_table(tmp_path / "all.parquet")
    rows = {(r["source"], r["trust"], r["date"]) for r in table.to_pylist()}
    assert rows == {(r["source"], r.get("trust", ""), r.get("date", "")) for r in ROWS}


def test_dates_that_files_and_rows_tell(tmp_path: Path) -> None:
    meta = "<meta property='og:type' content=x><meta property='article:published_time' content="
    changed = "<dcterms:modified xmlns:dcterms='urn:t'>2023-04-05T06:07:08Z</dcterms:modified>"
    files = {
        "a.md": b"---\ntitle: T\ndate: '2020-02-03'\n---\nText",
        "b.html": f"<head>{meta}'2021-03-04T05:06Z'></head><body>Text of a page</body>".encode(),
        "c.docx": fakes.docx(fakes.paragraph("Text of Word"), properties=changed),
        "d.pdf": fakes.pdf([["Text of PDF"]], properties="/ModDate(D:20220607080910Z)"),
        "e.xml": fakes.dump([fakes.page("Mars", "Mars is red.")]),
        "f.jsonl": b'{"text": "Row one", "date": 1999}\n{"text": "Row two", "date": "May 1999"}\n',
        "g.txt": b"Plain text",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    items = list(read_documents([tmp_path]))
    dates = {d.id.partition("!")[0]: d.date for d in items if isinstance(d, Document)}
    assert dates == {
        "a.md": "2020-02-03",
        "b.html": "2021-03-04",
        "c.docx": "2023-04-05",
        "d.pdf": "2022-06-07",
        "e.xml": "2006-03-04",
        "f.jsonl:1": "1999",
        "f.jsonl:2": "",
        "g.txt": "",
    }
    [note] = [item for item in items if not isinstance(item, Document)]
    assert note.kept
    assert "date 'May 1999' was left out" in note.reason


def test_dates_of_a_parquet_file(tmp_path: Path) -> None:
    import datetime

    columns = {"text": ["One", "Two"], "date": [datetime.date(2001, 2, 3), None]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    items = list(read_documents([tmp_path / "a.parquet"]))
    assert [d.date for d in items if isinstance(d, Document)] == ["2001-02-03", ""]
