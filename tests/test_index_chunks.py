from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from index_fakes import tiny_tokenizer

from index.chunks import (
    LONGEST_WORD,
    chunk_lens,
    tokenize,
    tokenizer_fingerprint,
    whole_words,
)


@given(num_tokens=st.integers(0, 5000), chunk_size=st.integers(1, 128))
def test_chunks_hold_all_tokens_and_only_the_last_is_short(
    num_tokens: int, chunk_size: int
) -> None:
    lens = chunk_lens(num_tokens, chunk_size)
    assert sum(lens) == num_tokens
    assert all(size == chunk_size for size in lens[:-1])
    assert all(0 < size <= chunk_size for size in lens)


@pytest.mark.parametrize(
    ("cut", "whole"),
    [
        ("built in |20|14, they", "2014"),
        ("built in 2|01|4, they", "2014"),
        ("some |332|,137 were", "332,137"),
        ("some |332,|137 were", "332,137"),
        ("some 332|,13|7 were", "332,137"),
        ("at 8|:3|0 it", "8:30"),
        ("the wor|k_m|em is", "work_mem"),
        ("the |word|, and", "word"),
        ("the| word |and", " word "),
        ("ends in |2014.| Then", "2014."),
        ("ends in |2014|. 3 more", "2014"),
        ("|whole|", "whole"),
        ("|wh|ole", "whole"),
        ("who|le|", "whole"),
        (f"{'x' * 30}|y|{'z' * 30}", "y"),
        (f"{'x' * (LONGEST_WORD - 1)}|y|{'z' * 30}", f"{'x' * (LONGEST_WORD - 1)}y"),
    ],
)
def test_words_and_numbers_at_the_ends_are_whole(cut: str, whole: str) -> None:
    before, middle, _ = cut.split("|")
    text = cut.replace("|", "")
    start, end = whole_words(text, len(before), len(before) + len(middle))
    assert text[start:end] == whole


@given(st.text("a1 .,_", max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_whole_words_never_lose_a_character(text: str, one: int, other: int) -> None:
    start, end = sorted((min(one, len(text)), min(other, len(text))))
    before, behind = whole_words(text, start, end)
    assert 0 <= before <= start <= end <= behind <= len(text)
    if (before, behind) != (start, end):
        assert whole_words(text, before, behind)[0] <= before


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=200))
def test_offsets_lie_in_the_text_in_order_and_tokens_give_it_back(text: str) -> None:
    [tokens] = tokenize(tiny_tokenizer(), [text])
    assert tiny_tokenizer().decode(tokens.ids) == text
    starts, ends = tokens.offsets.T
    assert (starts <= ends).all()
    assert (ends <= len(text)).all()
    assert (starts[1:] >= starts[:-1]).all()
    assert starts[0] == 0
    assert ends[-1] == len(text)


def test_tokenize_adds_no_special_tokens_and_takes_an_empty_text() -> None:
    empty, word = tokenize(tiny_tokenizer(), ["", "planet"])
    assert len(empty.ids) == 0
    assert empty.offsets.shape == (0, 2)
    assert tiny_tokenizer().decode(word.ids) == "planet"


@given(st.text("ab \n", max_size=60))
def test_a_long_text_is_read_in_pieces_without_losing_a_character(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("index.chunks.PIECE", 5)
        [tokens] = tokenize(tiny_tokenizer(), [text])
    assert tiny_tokenizer().decode(tokens.ids) == text
    assert "".join(text[start:end] for start, end in tokens.offsets) == text


def test_fingerprint_is_stable_and_sees_a_new_token() -> None:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    copy = Tokenizer.from_str(tiny_tokenizer().backend_tokenizer.to_str())
    same = PreTrainedTokenizerFast(tokenizer_object=copy)
    assert tokenizer_fingerprint(same) == tokenizer_fingerprint(tiny_tokenizer())
    same.add_tokens(["zzz"])
    assert tokenizer_fingerprint(same) != tokenizer_fingerprint(tiny_tokenizer())
