from __future__ import annotations

import sys
from pathlib import Path

import pytest
from index_fakes import small_index, tiny_tokenizer, write_jsonl

from index.assemble import read_skipped
from index.documents import Document, Item, Skipped
from index.errors import UserError
from index.filters import Filters, read_words, without_persons
from index.grow import add_documents
from index.keys import HashingKeyEncoder
from index.retriever import Retriever
from index.sections import Section
from retro.cli import main

ENGLISH = (
    "The bridge was built over the river by a company of masons who came from the north, and it "
    "stood for more than four hundred years until a flood carried two of its arches away."
)
GERMAN = (
    "Die Brücke wurde von einer Gesellschaft von Maurern über den Fluss gebaut, die aus dem Norden "
    "kamen, und sie stand mehr als vierhundert Jahre, bis eine Flut zwei Bögen mit sich riss."
)


def document(text: str, title: str = "") -> Document:
    return Document("d", title, text, "d.txt", "forum")


def result(filters: Filters, *items: Item) -> list[str]:
    """The texts that stay, and the reasons of what was skipped or noted."""
    found = filters.apply(items)
    return [item.text if isinstance(item, Document) else item.reason for item in found]


def test_without_filters_nothing_changes() -> None:
    items = [document(GERMAN), Skipped("a", "empty"), document("1 2 3 " * 30)]
    assert list(Filters().apply(items)) == items


def test_a_label_is_over_that_of_a_row() -> None:
    skipped = Skipped("a", "empty")
    found = list(Filters(trust="reviewed").apply([document("Tin."), skipped]))
    assert found == [Document("d", "", "Tin.", "d.txt", "reviewed"), skipped]


def test_texts_in_other_languages_are_left_out() -> None:
    found = result(Filters(language="en"), document(ENGLISH), document(GERMAN), document("Ja!"))
    assert found == [ENGLISH, "'d' is in 'de', not in 'en'", "Ja!"]


def test_an_unknown_language_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match=r"--language english: unknown, give one of: .* en "):
        Filters(language="english").apply([])


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)
    with pytest.raises(UserError, match=r"pip install 'retro-abstain\[ingest\]'"):
        Filters(language="en").apply([])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("row 12 13.5 14 " * 20, "25% of its words have a letter"),
        ("a b c d " * 20, "its words have 1.0 characters on average"),
        ("gluedwordsthathavelost theirspaces " * 20, "its words have 16.5 characters on average"),
        (f"{ENGLISH}\n" + "Subscribe now\n" * 3, "50% of its lines repeat another"),
        (f"{ENGLISH}\nIt was rebuilt.\n" + "Subscribe now\n" * 2, ""),
        ("1 2 3", ""),
        (ENGLISH, ""),
        (GERMAN, ""),
    ],
)
def test_what_does_not_read_like_prose_is_left_out(text: str, fault: str) -> None:
    expected = f"'d' is of low quality: {fault}" if fault else text
    assert result(Filters(min_quality=True), document(text)) == [expected]


def test_texts_with_a_blocked_word_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("Darn\n\nzut\n")
    filters = Filters(block_words=read_words(tmp_path / "words.txt"))
    items = [document("Oh, DARN it."), document("Darned socks."), document("x", title="Zut!")]
    assert result(filters, *items) == [
        "'d' holds the blocked word 'darn'",
        "Darned socks.",
        "'d' holds the blocked word 'zut'",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"two words\n", "'two words' is not one word"), (b" \n", "no words"), (b"\xff", "read")],
)
def test_a_list_that_is_none_is_the_users_mistake(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "words.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"words.txt.*{message}"):
        read_words(tmp_path / "words.txt")


def test_a_judge_of_ones_own_gives_its_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = "def rude(title, text):\n    return 'toxic .93' if 'darn' in text else ''\n"
    (tmp_path / "my_judges.py").write_text(judge + "def broken(title, text):\n    1 / 0\n")
    monkeypatch.chdir(tmp_path)
    rude = Filters(judge="my_judges:rude")
    assert list(rude.apply([document("darn"), document("fine")])) == [
        Skipped("d.txt", "'d' was judged: toxic .93", by="judge"),
        document("fine"),
    ]
    with pytest.raises(UserError, match=r"my_judges:broken failed on 'd' .ZeroDivisionError"):
        list(Filters(judge="my_judges:broken").apply([document("fine")]))
    for name in ("my_judges", "my_judges:other", "absent:rude", ":rude", "my_judges:"):
        with pytest.raises(UserError, match=f"--judge {name}: not found"):
            Filters(judge=name).apply([])


def test_redacting_leaves_a_note() -> None:
    found = list(Filters(redact=True).apply([document("to a@b.example", "A c@d.example")]))
    assert found == [
        Document("d", "A [e-mail]", "to [e-mail]", "d.txt", "forum"),
        Skipped("d.txt", "'d' was redacted: 2 [e-mail]", kept=True),
    ]
    assert result(Filters(redact=True), document(ENGLISH)) == [ENGLISH]


def test_pages_begin_where_they_do_when_a_text_is_redacted() -> None:
    text = "Write to ann@zoo.example. Then go.\nLegs: ask ben@zoo.example or cy@zoo.example now."
    pages = tuple(map(text.index, ("Write", "Then", "Then", "Legs", "or cy", "now")))
    section = Section(text.index("Legs"), "Legs")
    document = Document("a", "A", text, "a", sections=(section,), pages=pages)
    [told] = [d for d in without_persons([document]) if isinstance(d, Document)]
    assert "zoo" not in told.text
    assert [told.text[page:][:3] for page in told.pages] == [
        "Wri",
        "The",
        "The",
        "Leg",
        "or ",
        "now",
    ]
    assert [told.page_at(told.text.index(word)) for word in ("go", "ask", "now")] == [3, 4, 6]


def test_each_option_makes_another_request() -> None:
    words = frozenset({"darn"})
    asked = [
        Filters(),
        Filters(trust="x"),
        Filters(language="en"),
        Filters(min_quality=True),
        Filters(redact=True),
        Filters(judge="mine:judge"),
        Filters(block_words=words),
        Filters(block_words=words | {"zut"}),
    ]
    assert len({str(sorted(filters.identity().items())) for filters in asked}) == len(asked)


ROWS = [
    {"id": "tin", "text": "Tin melts early.", "trust": "forum"},
    {"id": "who", "text": "Ask jo@mail.example about lead."},
    {"id": "brücke", "text": GERMAN},
]
FILTERS = Filters(trust="reviewed", language="en", redact=True)


def test_building_and_adding_filter_alike(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", ROWS)
    small_index(source, tmp_path / "whole", 64, filters=FILTERS)
    small_index(write_jsonl(source, ROWS[:1]), tmp_path / "out", 64, filters=FILTERS)
    add_documents(
        tmp_path / "out",
        [write_jsonl(source, ROWS[1:])],
        filters=FILTERS,
        encoder=HashingKeyEncoder(),
        tokenizer=tiny_tokenizer(),
        progress=False,
    )
    for name in ("whole", "out"):
        found = Retriever.open(tmp_path / name).search("Ask about lead", 2)
        assert (found.doc_ids, found.trusts) == (("who", "tin"), ("reviewed", "reviewed"))
        assert found.texts[0] == "Ask [e-mail] about lead."
        assert [s.kept for s in read_skipped(tmp_path / name)] == [True, False]


def test_a_build_with_other_filters_starts_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(HashingKeyEncoder):
        def encode(self, texts: object) -> object:  # type: ignore[override]
            if len(texts) > 1:  # type: ignore[arg-type]
                raise RuntimeError("power cut")
            return super().encode(texts)  # type: ignore[arg-type]

    source = write_jsonl(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(RuntimeError, match="power cut"):
        small_index(source, tmp_path / "out", 64, embedder=Broken())
    small_index(source, tmp_path / "out", 64, filters=Filters(redact=True), progress=True)
    assert "starting anew, other than last time: redact" in capsys.readouterr().err
    assert Retriever.open(tmp_path / "out").search("lead", 1).texts[0].startswith("Ask [e-mail]")


def test_filters_from_the_shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.build.load_tokenizer", lambda name: tiny_tokenizer())
    monkeypatch.setattr("index.grow.load_tokenizer", lambda name: tiny_tokenizer())
    source, out = write_jsonl(tmp_path / "rows.jsonl", ROWS), tmp_path / "out"
    (tmp_path / "words.txt").write_text("lead\n")
    options = "--trust reviewed --language en --min-quality --redact --block-words".split()
    options.append(str(tmp_path / "words.txt"))
    made = ["index", "build", str(source), "--out", str(out), "--embedder", "hashing"]
    assert main([*made, *options]) == 0
    shown = capsys.readouterr()
    assert "1 documents" in shown.out
    assert "'brücke' is in 'de', not in 'en'" in shown.err
    assert "'who' holds the blocked word 'lead'" in shown.err
    assert main(["index", "update", str(out), str(source), *options]) == 0
    assert "(nothing has changed)" in capsys.readouterr().out
    assert main(["index", "add", str(out), str(source), "--language", "xx"]) == 2
