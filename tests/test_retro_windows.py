"""Two tokenisations of one text, aligned by characters."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from retro import windows as module
from retro.windows import Window, Windower

WORDS = st.sampled_from(["Denver", "1995", "12,064", "naïve", "—", "’s", "東京", "🦙", "3×2", "a"])
GAPS = st.sampled_from(["", " ", "  ", "\n\n", "\t", "\u00a0", " \n "])
SENTENCES = st.lists(st.tuples(GAPS, WORDS), min_size=1, max_size=12).map(
    lambda pairs: "".join(gap + word for gap, word in pairs)
)
TEXTS = SENTENCES | st.text(st.characters(codec="utf-8"), max_size=40)


@pytest.fixture(scope="module")
def windower() -> Windower:
    return Windower(tiny.encoder_tokenizer(), tiny.decoder_tokenizer())


def _window(windower: Windower, text: str) -> Window:
    return windower.windows([text], [""])[0]


@settings(max_examples=300)
@given(TEXTS)
def test_a_decoder_token_lies_over_the_encoder_tokens_that_share_its_characters(text: str) -> None:
    windower = Windower(tiny.encoder_tokenizer(), tiny.decoder_tokenizer())
    window = _window(windower, text)
    encoded = windower.encoder(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = encoded["offset_mapping"]
    assert list(window.encoder_ids) == encoded["input_ids"]
    for token in range(len(window.tokens)):
        start, end = int(window.starts[token]), int(window.ends[token])
        sharing = [i for i, (a, b) in enumerate(offsets) if a < end and start < b]
        if start < end and sharing:
            assert (window.first[token], window.last[token]) == (sharing[0], sharing[-1])


@settings(max_examples=300)
@given(SENTENCES, st.data())
def test_a_span_covers_its_characters_and_breaks_no_word(text: str, data: st.DataObject) -> None:
    windower = Windower(tiny.encoder_tokenizer(), tiny.decoder_tokenizer())
    window = _window(windower, text)
    solid = [i for i, c in enumerate(text) if not c.isspace()]
    start = data.draw(st.sampled_from(solid))
    end = data.draw(st.sampled_from([i for i in solid if i >= start])) + 1
    span = window.span_of(start, end)
    if span is None:
        return
    first, last = span
    assert window.may_start[first]
    assert window.may_end[last]
    assert window.starts[first] <= start
    assert window.ends[last] >= end
    if first > 0 and window.starts[first] < start:  # as tight as the words allow
        assert not any(
            window.may_start[t] and window.starts[t] <= start
            for t in range(first + 1, len(window.tokens))
            if window.starts[t] < window.ends[t]
        )


@settings(max_examples=200)
@given(SENTENCES)
def test_an_answer_may_begin_at_every_word_and_within_none(text: str) -> None:
    windower = Windower(tiny.encoder_tokenizer(), tiny.decoder_tokenizer())
    window = _window(windower, text)
    solid = np.flatnonzero(window.starts < window.ends)
    for before, token in zip([-1, *solid], solid, strict=False):
        shared = before >= 0 and window.first[token] <= window.last[before]
        assert window.may_start[token] == (not shared)
        if before >= 0:
            assert window.may_end[before] == (not shared)
    blank = window.starts >= window.ends
    assert not (window.may_start | window.may_end)[blank].any()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It was built in 1995 by a team", "1995"),
        ("The end.\n\nParis fell", "Paris"),
        ("with 12,064 men", "12,064"),
        ("by Denver's team", "Denver"),
        ("Zoë’s naïve café", "naïve café"),
    ],
)
def test_numbers_and_first_words_of_paragraphs_can_be_answers(
    windower: Windower, text: str, answer: str
) -> None:
    """A blank that is a token of its own (before each number, at each line's end) was said to
    share the next word's encoder token, so that no answer could begin at that word: "1995" was
    learned and given as "in 1995", "Paris" as ". Paris"."""
    window, start = _window(windower, text), text.index(answer)
    span = window.span_of(start, start + len(answer))
    assert span is not None
    assert text[window.starts[span[0]] : window.ends[span[1]]] == answer


TEXT = "One two three four, five six. Seven eight nine ten eleven twelve."


@pytest.mark.parametrize("kept", range(1, 16))
def test_an_answer_beyond_what_is_kept_is_no_answer(
    windower: Windower, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """An answer across the cut gave the part before it, taught as if it were the whole."""
    monkeypatch.setattr(module, "MAX_NEIGHBOUR", kept)
    window = _window(windower, TEXT)
    assert len(window.encoder_ids) == kept
    assert window.last.max() == kept - 1
    for answer in ("two", "four, five", "Seven eight nine", TEXT):
        start = TEXT.index(answer)
        span = window.span_of(start, start + len(answer))
        if span is not None:
            assert window.ends[span[1]] >= start + len(answer)
        else:
            assert start + len(answer) > window.ends[-1]


def test_no_span_outside_the_text(windower: Windower) -> None:
    window = _window(windower, "Denver won")
    assert window.span_of(20, 25) is None
    assert window.span_of(3, 3) is None
    assert _window(windower, "").span_of(0, 1) is None


def test_rows_hold_question_title_and_neighbour(windower: Windower) -> None:
    texts, titles = ["Gold melts.", "Mars has two moons: Phobos", "It rusts"], ["Gold", "Mars", ""]
    windows = windower.windows(texts, titles)
    queries = [windower.question("Which metal melts?"), windower.question("What?")]
    rows = windower.rows(queries, [windows[:2], windows[2:]])
    assert rows.place.tolist() == [[[0, 1]], [[2, -1]]]
    for row, (query, window) in enumerate(zip([0, 0, 1], windows, strict=True)):
        head = [windower.cls, *queries[query], windower.sep]
        tail = [*window.title_ids, windower.sep, *window.encoder_ids, windower.sep]
        length = len(head) + len(tail)
        assert rows.ids[row, :length].tolist() == [*head, *tail]
        assert rows.mask[row].tolist() == [i < length for i in range(rows.ids.shape[1])]
        assert rows.segments[row, :length].tolist() == [0] * len(head) + [1] * len(tail)
        assert (rows.ids[row, length:] == windower.pad).all()
        size = len(window.tokens)
        assert rows.tokens[row, :size].tolist() == window.tokens.tolist()
        assert (rows.tokens[row, size:] == -1).all()
        assert not (rows.may_start | rows.may_end)[row, size:].any()
        for token in range(size):  # the same encoder tokens, where they now stand
            here = rows.ids[row, rows.first[row, token] : rows.last[row, token] + 1].tolist()
            own = window.encoder_ids[window.first[token] : window.last[token] + 1].tolist()
            assert here == own


def test_rows_of_no_neighbours(windower: Windower) -> None:
    rows = windower.rows([windower.question("Who?")], [[]])
    assert rows.place.tolist() == [[[-1]]]
    assert rows.ids.shape[0] == rows.tokens.shape[0] == 0
    assert windower.windows([], []) == []


def test_long_questions_and_titles_are_cut(windower: Windower) -> None:
    assert len(windower.question("why " * 100)) == module.MAX_QUESTION
    window = windower.windows(["Gold"], ["very long " * 30])[0]
    assert len(window.title_ids) == module.MAX_TITLE


def test_of_a_long_chunk_the_end_is_kept(windower: Windower) -> None:
    """A chunk of 64 tokens was cut like a question: its end, where text goes on, was not read."""
    text = "why " * 100 + "Denver"
    assert len(windower.chunk(text)) == module.MAX_CHUNK > 64
    assert windower.chunk(text)[-1] == windower.question("Denver")[-1]
    assert windower.chunk("Denver").tolist() == windower.question("Denver").tolist()


def test_a_neighbour_of_blanks_alone_has_no_answer(windower: Windower) -> None:
    window = _window(windower, " \n ")
    assert not window.may_start.any()
    assert window.span_of(0, 1) is None
    rows = windower.rows([windower.question("Who?")], [[window]])
    assert int(rows.last.max()) < rows.ids.shape[1]


def test_words_that_the_encoder_holds_whole_are_words(windower: Windower) -> None:
    assert windower.is_word("piano")
    assert not windower.is_word("pianoo")
    assert not windower.is_word("электричество")
