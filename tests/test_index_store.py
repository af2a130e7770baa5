from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_fakes import tiny_tokenizer

from index.chunks import tokenize, whole_words
from index.sources import Document
from index.store import StoreWriter, TokenStore

LENS = (3, 8, 9, 40, 1)
"""Words a document, so that chunks of 8 tokens are partial, full and several."""


def documents() -> list[Document]:
    words = "naïve camels drink water in 東京 and Zoë's violin".split()
    texts = [" ".join(words[i % len(words)] for i in range(n)) for n in LENS]
    labels = ["", "peer reviewed", "", "", "forum"]
    rows = enumerate(zip(texts, labels, strict=True))
    return [Document(f"d{i}", f"Title {i}", text, "a.txt", trust) for i, (text, trust) in rows]


def write(folder: Path, vocab_size: int = 400) -> TokenStore:
    folder.mkdir(exist_ok=True)
    with StoreWriter(folder, vocab_size, chunk_size=8) as writer:
        for document in documents():
            writer.add(document, tokenize(tiny_tokenizer(), [document.text])[0])
    return TokenStore(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return write(tmp_path_factory.mktemp("store"))


def test_documents_come_back_as_they_were(store: TokenStore) -> None:
    assert [store.document(row) for row in range(store.num_documents)] == documents()
    assert store.rows == {d.id: row for row, d in enumerate(documents())}
    with pytest.raises(IndexError, match="row 5, the store has 5"):
        store.document(5)


def test_a_document_without_a_label_is_written_as_before_there_were_labels(
    store: TokenStore,
) -> None:
    """So that indexes of both times are read by programs of both times."""
    lines = (store.folder / "documents.jsonl").read_text().splitlines()
    assert ["trust" in json.loads(line) for line in lines] == [False, True, False, False, True]


def test_chunks_of_a_document_are_its_tokens(store: TokenStore) -> None:
    for row, document in enumerate(documents()):
        chunks = [store.tokens(c) for c in store.chunks_of(row)]
        expected = tokenize(tiny_tokenizer(), [document.text])[0].ids
        assert np.concatenate(chunks).tolist() == expected.tolist()
        assert all(len(c) == 8 for c in chunks[:-1])


def test_value_is_the_chunk_and_its_continuation_in_the_same_document(store: TokenStore) -> None:
    for row in range(store.num_documents):
        chunks = store.chunks_of(row)
        for chunk in chunks:
            alone, following = store.tokens(chunk), chunk + 1
            rest = store.tokens(following) if following in chunks else alone[:0]
            assert store.value(chunk).tolist() == [*alone, *rest]
            assert store.continuation(chunk) == (following if following in chunks else chunk)


def test_span_is_the_text_of_the_window(store: TokenStore) -> None:
    for chunk in range(len(store)):
        row, start, end = store.span(chunk)
        text = store.document(row).text[start:end]
        decoded = tiny_tokenizer().decode(store.value(chunk))
        assert decoded.strip("\N{REPLACEMENT CHARACTER}") in text
        offsets = store.offsets(chunk)
        whole = whole_words(store.document(row).text, offsets[0, 0], offsets[-1, 1])
        assert whole == (start, end)
        assert len(offsets) == len(store.value(chunk))


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_535, np.uint16), (65_536, np.uint32)])
def test_token_type_follows_the_vocabulary(tmp_path: Path, vocab_size: int, dtype: type) -> None:
    assert write(tmp_path, vocab_size).value(0).dtype == dtype


@settings(max_examples=25)
@given(lens=st.lists(st.integers(1, 40), min_size=1, max_size=6), chunk_size=st.integers(1, 16))
def test_every_token_is_in_one_chunk(
    lens: list[int], chunk_size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from index.chunks import TokenizedText

    folder = tmp_path_factory.mktemp("any")
    with StoreWriter(folder, 300, chunk_size) as writer:
        for row, size in enumerate(lens):
            ids = np.arange(size)
            writer.add(
                Document(str(row), "", "x" * size, ""), TokenizedText(ids, np.c_[ids, ids + 1])
            )
    store = TokenStore(folder)
    assert store.num_tokens == sum(lens)
    assert [c for row in range(len(lens)) for c in store.chunks_of(row)] == list(range(len(store)))
    assert sum(len(store.tokens(c)) for c in range(len(store))) == sum(lens)
    assert all(len(store.value(c)) <= 2 * chunk_size for c in range(len(store)))
