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


@settings(deadline=None, max_examples=300)
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


@settings(deadline=None, max_examples=300)
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


@settings(deadline=None, max_examples=200)
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
