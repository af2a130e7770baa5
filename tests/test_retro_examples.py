"""What a question is trained with: windows as the database cuts them, gold spans, distractors."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny

from index.errors import UserError
from index.sources import Document
from retro.examples import (
    Example,
    Sampler,
    WindowTable,
    gold_spans,
    holds_answer,
    occurrences,
    read_examples,
    read_jsonl,
)
from retro.windows import Windower

CHUNK = 8
ASKED = {
    "Mercury": "88",
    "Mars": "1877",
    "Gold": "1,064",
    "Piano": "Cristofori",
    "Violin": "four strings",
    "Curie": "Warsaw",
    "Danube": "the Black Sea",
    "Café": "Zürich",
}
WINDOWER = Windower(tiny.encoder_tokenizer(), tiny.decoder_tokenizer())


def documents() -> list[Document]:
    return [Document(t.lower(), t, text, "made up") for t, text in tiny.DOCUMENTS.items()]


def table(chunk_size: int = CHUNK) -> WindowTable:
    return WindowTable.build(documents(), WINDOWER, chunk_size)


def rows() -> list[dict[str, Any]]:
    """A question for every document of ``ASKED``, and one that its passage does not answer."""
    asked = [
        {"id": title, "question": f"What of {title}?", "context": tiny.DOCUMENTS[title]}
        for title in ASKED
    ]
    for row, answer in zip(asked, ASKED.values(), strict=True):
        row["answers"] = [answer]
    return [*asked, {"question": "Who?", "context": tiny.DOCUMENTS["Eagle"], "answers": []}]


def examples(made: WindowTable) -> list[Example]:
    return read_examples(rows(), documents(), made, WINDOWER)


# -- windows --------------------------------------------------------------------------------


def test_window_i_is_the_value_of_chunk_i(tmp_path: Path) -> None:
    """The table numbers windows as the index numbers chunks: searched neighbours are looked up."""
    from index.keys import HashingKeyEncoder
    from index.retriever import Retriever

    store = Retriever.open(tiny.write_index(tmp_path / "index", CHUNK), HashingKeyEncoder()).store
    held = [store.document(i) for i in range(store.num_documents)]
    made = WindowTable.build(held, WINDOWER, CHUNK)
    assert len(made.windows) == len(made.texts) == len(made.titles) == len(store)
    for chunk, text in enumerate(made.texts):
        row, start, end = store.span(chunk)
        assert (made.document_of[chunk], text) == (row, store.document(row).text[start:end])
        assert chunk in made.chunks_of[row]
        assert made.titles[chunk] == store.document(row).title


def test_covering_windows_hold_the_whole_document_and_no_window_within_another() -> None:
    made = table()
    for row, document in enumerate(documents()):
        own = made.covering(row)
        places = [document.text.find(made.texts[c]) for c in own]
        ends = [place + len(made.texts[c]) for place, c in zip(places, own, strict=True)]
        assert all(after <= end for end, after in zip(ends, places[1:], strict=False))
        assert document.text.startswith(made.texts[own[0]])
        assert document.text.endswith(made.texts[own[-1]])
        for a in own:
            assert not any(made.texts[a] in made.texts[b] for b in own if b != a)


# -- gold spans -----------------------------------------------------------------------------


def test_occurrences_are_whole_words() -> None:
    assert list(occurrences("art", "art, the art of start and arts; Art art")) == [0, 9, 36]
    assert list(occurrences("art", "artart")) == []
    assert list(occurrences("aa", "aa aa")) == [0, 3]
    assert list(occurrences("", "any")) == []


def test_gold_spans_spell_the_answer() -> None:
    made = table()
    for row, document in enumerate(documents()):
        answer = ASKED.get(document.title)
        gold = gold_spans([answer] if answer else [], row, made)
        assert bool(gold) == bool(answer), document.title
        for chunk, spans in gold.items():
            window = made.windows[chunk]
            for first, last in spans:
                assert made.texts[chunk][window.starts[first] : window.ends[last]] == answer


def test_every_mention_is_gold() -> None:
    text = "Gold is dear. Gold is soft, and gold is not Golden."
    made = WindowTable.build([Document("g", "", text, "")], WINDOWER, 64)
    (spans,) = gold_spans(["Gold", "soft"], 0, made).values()
    assert len(spans) == 3
    assert spans == sorted(spans)


def test_examples_are_questions_whose_passage_is_held() -> None:
    made = table()
    strange = {"id": 7, "question": "Where?", "context": "not in the database", "answers": ["x"]}
    padded = {"question": "What?", "context": f"  {tiny.DOCUMENTS['Gold']}\n", "answers": ["soft"]}
    nothing = {"question": "What?"}
    asked = [*rows(), strange, padded, nothing]
    found = read_examples(asked, documents(), made, WINDOWER)
    assert [e.id for e in found] == [*ASKED, "8", "10"]
    assert [bool(e.gold) for e in found] == [True] * len(ASKED) + [False, True]
    for example in found:
        assert example.query.tolist() == WINDOWER.question(example.question).tolist()


# -- question files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)]
)
def test_reads_plain_and_packed_files(tmp_path: Path, suffix: str, pack: Any) -> None:
    file = tmp_path / f"asked.jsonl{suffix}"
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows())
    file.write_bytes(pack(lines.encode()))
    assert list(read_jsonl(file)) == rows()


@pytest.mark.parametrize("line", ["{", "[1]", '"question"', "{}", "7", ""])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "asked.jsonl"
    file.write_text(f'{{"question": "Who?"}}\n{line}\n')
    with pytest.raises(UserError, match=r"asked\.jsonl:2: not a JSON object with a question"):
        list(read_jsonl(file))


def test_a_string_of_answers_is_one_answer(tmp_path: Path) -> None:
    """Cases for the confidence head took it for a list of letters; only `certify` did not."""
    file = tmp_path / "asked.jsonl"
    file.write_text('{"question": "Who?", "answers": "Bach"}\n{"question": "Who?"}\n')
    assert [row.get("answers") for row in read_jsonl(file)] == [["Bach"], None]


@pytest.mark.parametrize("answers", ["[1]", '{"text": "Bach"}', "7"])
def test_answers_that_are_no_strings_are_named(tmp_path: Path, answers: str) -> None:
    file = tmp_path / "asked.jsonl"
    file.write_text(f'{{"question": "Who?", "answers": {answers}}}\n')
    with pytest.raises(UserError, match=r"asked\.jsonl:1: 'answers' must be a list of strings"):
        list(read_jsonl(file))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl: no such file"):
        list(read_jsonl(tmp_path / "none.jsonl"))


# -- draws ----------------------------------------------------------------------------------


def sampler(made: WindowTable, **changes: Any) -> Sampler:
    settings: dict[str, Any] = {"num_neighbours": 3, "removed": 0.3, "seed": 5} | changes
    return Sampler(examples(made), made, **settings)


def draws(one: Sampler, epochs: int = 40) -> list[tuple[Example, list[int]]]:
    return [
        (example, one.draw(number, epoch))
        for number, example in enumerate(one.examples)
        for epoch in range(epochs)
    ]


def test_a_draw_is_a_function_of_seed_epoch_and_number() -> None:
    made = table()
    first, again, other = (draws(sampler(made, seed=seed)) for seed in (5, 5, 6))
    assert [c for _, c in first] == [c for _, c in again]
    assert [c for _, c in first] != [c for _, c in other]


@pytest.mark.parametrize("searched", [False, True])
def test_draws_hold_gold_or_nothing_of_the_answer(searched: bool) -> None:
    made = table()
    every = list(range(len(made.texts)))
    retrieved: Sequence[Sequence[int]] | None = [every] * (len(ASKED) + 1) if searched else None
    with_gold = total = 0
    for example, chunks in draws(sampler(made, retrieved=retrieved)):  # no window twice
        assert len(set(chunks)) == len(chunks) <= 3
        gold = [c for c in chunks if c in example.gold]
        assert len(gold) <= 1
        assert not any(holds_answer(made.texts[c], example.answers) for c in set(chunks) - {*gold})
        if example.answers:
            with_gold, total = with_gold + len(gold), total + 1
        else:
            own = made.covering(example.document)
            assert any(c in own for c in chunks)
    assert with_gold / total == pytest.approx(0.7, abs=0.08)


def test_gold_stands_anywhere_among_the_neighbours() -> None:
    made = table()
    one = sampler(made, removed=0.0, retrieved=[list(range(len(made.texts)))] * (len(ASKED) + 1))
    places = [
        next(i for i, c in enumerate(chunks) if c in example.gold)
        for example, chunks in draws(one)
        if example.gold
    ]
    assert set(places) == {0, 1, 2}


def test_a_passage_that_does_not_answer_shows_its_nearest_window() -> None:
    made = table()
    unanswered = next(i for i, e in enumerate(examples(made)) if not e.gold)
    own = made.covering(examples(made)[unanswered].document)
    assert len(own) > 1
    for order in (own, own[::-1]):
        one = sampler(made, num_neighbours=1, retrieved=[order] * (len(ASKED) + 1))
        assert {c for epoch in range(20) for c in one.draw(unanswered, epoch)} == {order[0]}
    missed = [c for c in range(len(made.texts)) if c not in own]
    one = sampler(made, num_neighbours=1, retrieved=[missed] * (len(ASKED) + 1))
    assert {c for epoch in range(60) for c in one.draw(unanswered, epoch)} == {*own}


def test_searched_distractors_are_the_nearest() -> None:
    made = table()
    near = [c for c in range(len(made.texts)) if "88" not in made.texts[c]]
    one = sampler(made, removed=0.0, retrieved=[near] * (len(ASKED) + 1))
    example = one.examples[0]
    drawn = {c for epoch in range(60) for c in one.draw(0, epoch) if c not in example.gold}
    assert drawn == set(near[:4])  # twice as many as the two that are wanted
