"""Sections: what headings begin, in every format, and what they bound in an index."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import ingest_fakes as fakes
import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from index_fakes import small_index, tiny_tokenizer

from index import wikitext
from index.assemble import key_text
from index.chunks import cut, tokenize
from index.documents import DOCUMENT_CHARACTERS, Document, named
from index.filters import Filters
from index.grow import add_documents, compact_index, merge_indexes, remove_documents
from index.keys import HashingKeyEncoder
from index.retriever import Retriever
from index.sections import (
    DEEPEST,
    LEVELS,
    LONGEST,
    MARK,
    Outline,
    Section,
    bold_heading,
    end_of,
    heading,
)
from index.sources import read_documents
from index.store import TokenStore
from retro.examples import WindowTable
from retro.text_data import prepare_text
from retro.windows import Windower

PAGE = """# Operating manual

Read this first.

## Brisa One

The small machine for two people.

### Warranty

Two years from the date of purchase, and the seals are excluded from it as is the jug.

## Brisa Duo

### Warranty

Three years.
"""
NAMES = ["Brisa One", "Brisa One › Warranty", "Brisa Duo › Warranty"]


def read(file: Path, content: bytes | str) -> Document:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    [document] = read_documents([file])
    assert isinstance(document, Document)
    return document


def told(document: Document) -> list[tuple[str, str]]:
    """The name of each section, and its text."""
    names = ["", *(section.name for section in document.sections)]
    return list(zip(names, (part.strip() for part in document.parts()), strict=True))


# -- outlines -------------------------------------------------------------------------------


def test_a_section_is_named_by_its_headings_below_the_title(tmp_path: Path) -> None:
    document = read(tmp_path / "a.md", PAGE)
    assert document.title == "Operating manual"
    assert [name for name, _ in told(document)] == ["", *NAMES]
    assert told(document)[0][1] == "Read this first."
    assert told(document)[3][1] == "Brisa Duo\n\nWarranty\n\nThree years."  # one section, not two
    assert MARK not in document.text
    assert document.title_at(0) == "Operating manual"
    place = document.text.index("Three years")
    assert document.title_at(place) == "Operating manual › Brisa Duo › Warranty"
    assert document.title_at(document.text.index("Warranty")) == f"Operating manual › {NAMES[1]}"


def test_what_the_title_says_is_not_said_again_nor_more_than_the_nearest_headings() -> None:
    outline = Outline("The Camel | Zoo")
    marked = "\n".join(
        heading(n + 1, words) for n, words in enumerate(["the camel", "A", "B", "C"])
    )
    _, [section] = outline.read(f"{marked}\ntext")
    assert section == Section(0, "B › C")  # a letter of the title is no word of it
    assert DEEPEST == 2
    _, [section] = Outline("").read(f"{heading(1, 'x' * 500)}\ntext")
    assert section.name == "x" * LONGEST


def test_a_text_without_headings_has_no_sections(tmp_path: Path) -> None:
    document = read(tmp_path / "a.md", "# Camels\n\nA hump.")
    assert document.sections == ()
    assert document.title_at(3) == "Camels"
    assert document.parts() == ["A hump."]


def test_parts_of_a_long_text_go_on_in_their_section() -> None:
    line = f"{'word ' * 20}\n"
    pieces = [f"{heading(2, 'Legs')}\n", *[line] * (DOCUMENT_CHARACTERS // len(line) + 9)]
    first, second = named("a", "Camel", pieces, "a.md")
    assert isinstance(first, Document)
    assert isinstance(second, Document)
    assert first.sections == second.sections == (Section(0, "Legs"),)


@pytest.mark.parametrize("words", ["", "  ", "Stop!", "See below.", "12", "y" * (LONGEST + 1)])
def test_what_is_in_bold_type_and_no_heading(words: str) -> None:
    assert bold_heading(words) == ""


def test_a_heading_without_words_is_none() -> None:
    assert heading(2, " ") == ""
    assert heading(9, "a  b") == f"{MARK}6a b"


# -- formats --------------------------------------------------------------------------------


def test_headings_of_markdown(tmp_path: Path) -> None:
    page = (
        "Legs\n----\nfour\n\nno heading\nat all\n---\n\n**Humps:**\n\none\n\n**Stop!**\n\n"
        "```\n# a comment\n```\nend"
    )
    document = read(tmp_path / "a.md", f"# Camel\n\n{page}")
    assert [section.name for section in document.sections] == ["Legs", "Legs › Humps"]
    assert document.title_at(document.text.index("end")) == "Camel › Legs › Humps"


def test_headings_of_html(tmp_path: Path) -> None:
    page = (
        "<title>Zoo</title><h1>The <i>ca</i>mel</h1>x<h2>Legs<br>and feet</h2><p>four</p>"
        "<p><b>Humps</b></p><p>one</p><p><b>Never</b> two</p><h2></h2><h3>never closed <p>y</p>"
        + "<p>z z z z z z z</p>"
        * 60
    )
    document = read(tmp_path / "a.html", page)
    assert told(document)[:4] == [
        ("", ""),
        ("The camel", "The camel\nx"),
        ("The camel › Legs and feet", "Legs and feet\nfour"),
        ("Legs and feet › Humps", document.parts()[3].strip()),
    ]
    assert len(document.sections) == 3


def test_a_term_heads_its_definition_or_begins_its_line(tmp_path: Path) -> None:
    long = "It sets how much memory is used. " * 8
    page = (
        "<title>Options</title><h2>Memory</h2><dl>"
        f"<dt><code>work_mem</code> (integer)<dd><p>{long}</p><p>4 MB.</p>"
        f"<dt>-j <i>n</i><br>--jobs<dt>--parallel<dd>{long}<dl><dt>0</dt><dd>as<br>many</dd></dl>"
        f"<dt>-v<dd><p>more words</p><dt>alone</dt><dt>{'long ' * 50}<dd>{long}"
        "</dl>Behind it."
    )
    document = read(tmp_path / "a.html", page)
    names = [name for name, _ in told(document)]
    assert names == [
        "",
        "Memory › work_mem (integer)",
        "Memory › -j n, --jobs, --parallel",
        "Memory",
    ]
    _, first, second, short = document.parts()
    assert first.split("\n")[:3] == ["Memory", "work_mem (integer)", long.strip()]
    assert second.endswith("\n0: as many\n")
    assert short.strip().split("\n")[0] == "-v: more words"
    assert short.split("\n")[-1] == "Behind it."
    assert MARK not in document.text


def test_terms_in_a_definition_have_no_section_of_their_own(tmp_path: Path) -> None:
    long = "It sets how much memory is used. " * 8
    page = f"<dl><dt>Oil<dd><p>{long}</p><dl><dt>Egg<dd>{long}</dl><p>of oil</p></dl><p>after</p>"
    document = read(tmp_path / "a.html", page)
    assert [name for name, _ in told(document)] == ["", "Oil", ""]
    assert document.parts()[1].endswith("of oil\n")
    headed = read(tmp_path / "b.html", "<dl><dt><h4>Oil</h4><dd>no word</dl>")
    assert headed.text == "Oil\nno word"
    assert [name for name, _ in told(headed)] == ["", "Oil"]


def test_headings_that_come_again_are_below_the_one_before_them() -> None:
    def names(*words: str, level: int = LEVELS) -> list[str]:
        marked = "\n".join(f"{heading(level, word)}\nText." for word in words)
        return [section.name for section in Outline("Manual").read(marked)[1]]

    told = names("Safety", "One", "Use", "Care", "Two", "Use", "Hints", "Care")
    assert told[:4] == ["Safety", "One", "One › Use", "One › Care"]
    assert told[4:] == ["Two", "Two › Use", "Two › Hints", "Two › Care"]
    assert names("One", "Use", "Two", "Care") == ["One", "Use", "Two", "Care"]
    ranked = names("One", "Use", "Two", "Use", level=2)
    assert ranked == ["One", "Use", "Two", "Use"]  # their marks say so


def test_the_end_of_a_section_ends_those_below_it() -> None:
    lines = [heading(1, "A"), "x", heading(3, "B"), heading(5, "C"), "y", end_of(3), "z"]
    _, sections = Outline("").read("\n".join(lines))
    assert [s.name for s in sections] == ["A", "B › C", "A"]


def styled(style: str, text: str) -> str:
    return f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>'


def test_headings_of_a_word_document_are_known_by_the_names_of_their_styles(tmp_path: Path) -> None:
    """The ids are of the language in which it was written: berschrift1, Titre1."""
    bold = "<w:p><w:r><w:rPr><w:b/></w:rPr><w:t>{}</w:t></w:r>{}</w:p>"
    body = (
        fakes.paragraph("Before.")
        + styled("berschrift1", "Legs")
        + styled("Standard", "Four.")
        + bold.format("Feet", "")
        + fakes.paragraph("Two toes.")
        + bold.format("Never", "<w:r><w:t> a heading</w:t></w:r>")
        + bold.format("Off", "").replace("<w:b/>", '<w:b w:val="0"/>')
        + styled("berschrift1", "Humps")
        + fakes.paragraph("One.")
    )
    styles = (
        '<w:styles xmlns:w="urn:w"><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/>'
        '</w:style><w:style w:styleId="Standard"><w:name w:val="Normal"/></w:style></w:styles>'
    )
    document = read(tmp_path / "a.docx", fakes.docx(body, "Camel", styles=styles))
    assert told(document) == [
        ("", "Before."),
        ("Legs", "Legs\nFour."),
        ("Legs › Feet", "Feet\nTwo toes.\nNever a heading\nOff"),
        ("Humps", "Humps\nOne."),
    ]


def test_broken_styles_of_a_word_document_lose_its_headings_alone(tmp_path: Path) -> None:
    body = styled("Heading1", "Legs") + fakes.paragraph("Four.")
    document = read(tmp_path / "a.docx", fakes.docx(body, "Camel", styles="<w:styles"))
    assert (document.text, document.sections) == ("Legs\nFour.", ())


LONG = "This is a line of the text that the page is made of, word by word by word"


def test_headings_of_a_pdf_are_set_in_larger_type_or_in_bold(tmp_path: Path) -> None:
    page = [
        fakes.Line("Camels", 24),
        LONG,
        fakes.Line("Legs of the", 18),
        fakes.Line("camel", 18),
        f"{LONG}. And one more.",
        fakes.Line("Feet", bold=True),
        "Two toes. " + LONG,
        fakes.Line("Humps", 18, scaled=True),
        "One. " + LONG,
    ]
    other = [
        fakes.Line("Not said in a heading but in a sentence.", 18),
        fakes.Line("Humps . . . . . . . . . 17", 18),
        fakes.Line("1 2 3", 18),
        LONG,
        fakes.Line("1.2 Humps, legs, etc.", 18),
        LONG,
    ]
    document = read(tmp_path / "a.pdf", fakes.pdf([page, other], "Zoo"))
    assert [name for name, _ in told(document)] == [
        "",
        "Camels",
        "Camels › Legs of the camel",
        "Legs of the camel › Feet",
        "Camels › Humps",
        "Camels › 1.2 Humps, legs, etc.",
    ]
    assert told(document)[3][1] == f"Feet\nTwo toes. {LONG}"
    assert "Humps . . ." in told(document)[4][1]


def test_a_line_that_stands_above_every_page_is_no_heading(tmp_path: Path) -> None:
    """Left and right pages may have one each, with the number of the page."""
    pages = [
        [
            fakes.Line(f"{n} Annual report" if n % 2 else f"Camels {n}", 18),
            f"{word}. {LONG}",
            f"{LONG} {word}.",
            f"{word}, {LONG}",
        ]
        for n, word in enumerate(("one", "two", "three", "four", "five"), 1)
    ]
    pages[4][2:2] = [fakes.Line("Legs", 18)]
    document = read(tmp_path / "a.pdf", fakes.pdf(pages, "Zoo"))
    assert [section.name for section in document.sections] == [
        "1 Annual report",
        "Camels 2",
        "Legs",
    ]


def test_the_last_line_of_a_page_is_no_heading(tmp_path: Path) -> None:
    pages = [[LONG, f"{LONG} {n}.", fakes.Line(f"{n} Annual report", bold=True)] for n in range(3)]
    assert read(tmp_path / "a.pdf", fakes.pdf(pages, "Zoo")).sections == ()
    only = [[fakes.Line("Title", 30)], [LONG, LONG]]
    assert read(tmp_path / "b.pdf", fakes.pdf(only, "Zoo")).sections == ()


def test_bold_text_among_bold_text_is_no_heading(tmp_path: Path) -> None:
    lines = [fakes.Line(words, bold=True) for words in ("Camels", LONG, LONG)]
    assert read(tmp_path / "a.pdf", fakes.pdf([lines])).sections == ()


def test_a_paragraph_of_a_pdf_goes_on_where_its_lines_are_full(tmp_path: Path) -> None:
    """Rows of a table, which are lines of one length too, stay apart."""
    lines = [
        f"{LONG} by the",
        f"Nile, {LONG}",
        "which ends here",
        "Short",
        "and low",
        f"{LONG}.",
        "new or not",
        LONG,
        "- item",
        *(f"Row {n} of a table {LONG} {n} m" for n in range(3)),
        LONG,
        "c. item",
        f"{LONG} took exactly",
        f"74 days or more {LONG} till",
        "[never] it says",
        f"{LONG[:60]} x",
        "9 more",
    ]
    document = read(tmp_path / "a.pdf", fakes.pdf([lines]))
    whole = [" ".join(lines[:3]), *lines[3:-5], " ".join(lines[-5:-2]), *lines[-2:]]
    assert document.text.split("\n") == whole


def test_headings_of_wiki_markup() -> None:
    text, sections = Outline("Camel").read(
        wikitext.plain("One.\n== Legs ==\nFour.\n=== Feet ===\nTwo.\n==  ==\nx\n== Camel ==\nEnd.")
    )
    assert [name for _, name in sections] == ["Legs", "Legs › Feet", ""]
    assert text == "One.\nLegs\nFour.\nFeet\nTwo.\nx\nCamel\nEnd."


@pytest.mark.parametrize("name", ["a.md", "a.html"])
def test_a_mark_in_a_page_is_no_heading(tmp_path: Path, name: str) -> None:
    assert read(tmp_path / name, f"one\n\n{MARK}2two\n").sections == ()


# -- chunks ---------------------------------------------------------------------------------


@given(
    lens=st.lists(st.integers(1, 30), min_size=1, max_size=6), size=st.sampled_from([1, 4, 8, 64])
)
@settings(max_examples=60, deadline=None)
def test_chunks_fill_each_section(lens: Sequence[int], size: int) -> None:
    bounds = np.cumsum([0, *lens])
    offsets = np.stack([np.arange(bounds[-1]) * 3, np.arange(bounds[-1]) * 3 + 2], 1)
    found, numbers = cut(offsets, [3 * int(start) for start in bounds[1:-1]], size)
    for number, length in enumerate(lens):
        own = [n for n, s in zip(found, numbers, strict=True) if s == number]
        assert sum(own) == length
        assert all(n == size for n in own[:-1])
        assert 0 < own[-1] <= size
    assert numbers == sorted(numbers)


def test_a_section_without_tokens_has_no_chunk() -> None:
    offsets = np.asarray([[0, 3], [4, 9]])
    assert cut(offsets, [4, 9, 30], 8) == ([1, 1], [0, 1])
    assert cut(offsets, [0], 8) == ([2], [0])


# -- indexes --------------------------------------------------------------------------------


def build(folder: Path, page: str = PAGE, name: str = "manual.md") -> Path:
    source, out = folder / "source", folder / "index"
    source.mkdir(exist_ok=True)
    (source / name).write_text(page)
    small_index(source, out)
    return out


def opened(index: Path) -> Retriever:
    return Retriever.open(index, HashingKeyEncoder())


def test_no_window_reaches_into_another_section(tmp_path: Path) -> None:
    store = opened(build(tmp_path)).store
    document = store.document(0)
    bounds = [0, *(section.start for section in document.sections), len(document.text)]
    ids = np.concatenate([store.tokens(chunk) for chunk in store.chunks_of(0)])
    assert ids.tolist() == tokenize(tiny_tokenizer(), [document.text])[0].ids.tolist()
    assert len(store.sections_of(0)) == len(document.sections) + 1
    for chunks, (start, end) in zip(store.sections_of(0), pairwise(bounds), strict=True):
        for chunk in chunks:
            _, begin, stop = store.span(chunk)
            assert start <= begin < stop <= end
            assert store.continuation(chunk) == min(chunk + 1, chunks[-1])
            title = document.title_at(start)
            assert key_text(store, chunk).startswith(f"{title}. ")
    assert [c for chunks in store.sections_of(0) for c in chunks] == list(store.chunks_of(0))


def test_neighbours_are_titled_by_their_section_and_words_of_a_heading_are_found(
    tmp_path: Path,
) -> None:
    found = opened(build(tmp_path)).search("jug seals Duo", k=20)
    titles = {f"Operating manual › {name}" for name in NAMES}
    assert set(found.titles) == {"Operating manual", *titles}
    [seals] = [i for i, text in enumerate(found.texts) if text.rstrip().endswith("jug.")]
    assert found.titles[seals] == f"Operating manual › {NAMES[1]}"
    scores = dict(zip(found.titles, found.lexical, strict=True))
    assert (
        scores[f"Operating manual › {NAMES[2]}"] > 0
    )  # all of that section, whose text names it in its heading alone


def test_an_index_from_before_there_were_sections_is_read(tmp_path: Path) -> None:
    index = build(tmp_path, "# Camel\n\n" + "It drinks water in the morning. " * 8)
    folder = index / "v1"
    (folder / "chunk_sections.npy").unlink()
    store = TokenStore(folder)
    assert store.sections_of(0) == [store.chunks_of(0)]
    assert store.continuation(0) == 1
    assert "sections" not in json.loads((folder / "documents.jsonl").read_text())


def test_another_heading_gives_other_keys(tmp_path: Path) -> None:
    """Keys that an index holds are copied for documents that did not change."""
    page = "# Manual\n\n{} Duo\n\nThree years.\n"
    build(tmp_path, page.format("##"))
    before = np.load(tmp_path / "index/v1/keys.npy")
    index = build(tmp_path, page.format(""))
    after = np.load(index / "v2/keys.npy")
    assert opened(index).store.document(0).text == "Duo\n\nThree years."
    assert not np.array_equal(before[0], after[0])


def test_sections_stay_when_an_index_grows(tmp_path: Path) -> None:
    index = build(tmp_path)
    (tmp_path / "b.md").write_text("# Camel\n\n## Legs\n\nFour.\n")
    add_documents(
        index,
        [tmp_path / "b.md"],
        encoder=HashingKeyEncoder(),
        tokenizer=tiny_tokenizer(),
        progress=False,
    )
    remove_documents(index, ["b.md"])
    compact_index(index, progress=False)
    (tmp_path / "other").mkdir()
    other = build(tmp_path / "other", "# Zoo\n\n## Hours\n\nNine to five.\n", "zoo.md")
    merge_indexes([index, other], tmp_path / "both", progress=False)
    store = opened(tmp_path / "both").store
    names = [[section.name for section in store.document(row).sections] for row in range(2)]
    assert names == [NAMES, ["Hours"]]
    assert [len(store.sections_of(row)) for row in range(2)] == [4, 1]


def test_redacting_keeps_sections_where_they_begin() -> None:
    text = "call a@b.example\nHours c@d.example\nNine."
    document = Document("d", "t", text, "d.md", sections=(Section(17, "Hours c@d.example"),))
    [changed, note] = Filters(redact=True).apply([document])
    assert isinstance(changed, Document)
    assert changed.parts() == ["call [e-mail]\n", "Hours [e-mail]\nNine."]
    assert changed.sections == (Section(14, "Hours [e-mail]"),)
    assert "2 [e-mail]" in note.reason


# -- training -------------------------------------------------------------------------------


def test_windows_to_train_on_are_those_of_the_index(tmp_path: Path) -> None:
    store = opened(build(tmp_path)).store
    windower = Windower(tiny.encoder_tokenizer(), tiny_tokenizer())
    made = WindowTable.build([store.document(0)], windower, 8)
    document = store.document(0)
    assert made.texts == [document.text[a:b] for _, a, b in map(store.span, range(len(store)))]
    place = made.texts.index(next(text for text in made.texts if "Three" in text))
    assert made.titles[place] == "Operating manual"
    ends = [store.span(chunk)[2] for chunk in made.covering(0)]
    for chunks in store.sections_of(0):  # each is covered to its end, once
        assert ends.count(store.span(chunks[-1])[2]) == 1
    [expected] = windower.windows(["Three"], [f"Operating manual › {NAMES[2]}"])
    assert made.windows[place].title_ids.tolist() == expected.title_ids.tolist()


def test_sequences_of_text_stay_in_their_section(tmp_path: Path) -> None:
    """All chunks but the last of a sequence are full, as the model counts them."""
    other = "".join(f"{word} of the camel is long. " * 3 for word in ("Neck", "Tail"))
    index = build(tmp_path)
    (tmp_path / "source" / "b.md").write_text(f"# Camel\n\n{other}")
    small_index(tmp_path / "source", index)
    windower = Windower(tiny.encoder_tokenizer(), tiny_tokenizer())
    made = prepare_text(
        opened(index), windower, num_chunks=3, num_neighbours=1, limit=None, seed=0,
        names=("smollm2-135m", "minilm"),
    )  # fmt: skip
    lens = (made.tokens.reshape(len(made.tokens), 3, 8) >= 0).sum(-1)
    for row in lens.tolist():
        used = [n for n in row if n]
        assert len(used) > 1
        assert all(n == 8 for n in used[:-1])
