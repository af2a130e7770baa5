from __future__ import annotations

import math
import os
import random
import string
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from index.lexical import K1, B, LexicalIndex, idf, main_word, words, write_lexical

CLEAR_REFS = Path("/proc/self/clear_refs")
TEXTS = ["red copper wire", "copper copper", "the violin has strings", "camel", "of the"]


def write(folder: Path, texts: Sequence[str] = TEXTS) -> LexicalIndex:
    write_lexical(texts, folder)
    return LexicalIndex(folder, len(texts))


@pytest.fixture
def lexical(tmp_path: Path) -> LexicalIndex:
    return write(tmp_path / "bm25")


def bm25(word: str, text: str) -> float:
    """Lucene's BM25 written out (Robertson & Zaragoza 2009, equation 3.15), without k1 + 1."""
    lens = [len(words(t)) for t in TEXTS]
    seen = sum(word in words(t) for t in TEXTS)
    count = words(text).count(word)
    norm = K1 * (1 - B + B * len(words(text)) / (sum(lens) / len(lens)))
    idf = math.log(1 + (len(TEXTS) - seen + 0.5) / (seen + 0.5))
    return idf * count / (count + norm)


def test_scores_are_bm25(lexical: LexicalIndex) -> None:
    expected = [bm25("copper", t) + bm25("wire", t) for t in TEXTS]
    np.testing.assert_allclose(lexical.scores(words("copper wire")), expected, rtol=1e-5)


def test_an_identifier_is_a_word_beside_its_parts(tmp_path: Path) -> None:
    assert words("The work_mem of __init__") == ["work", "mem", "init", "work_mem"]
    made = write(
        tmp_path / "bm25", ["work_mem is small", "maintenance_work_mem", "work mem", "mem"]
    )
    assert made.scores(words("work_mem")).argmax() == 0
    assert made.scores(words("work mem")).all()
    assert (made.count("work_mem"), made.count("mem")) == (1, 4)
    assert (main_word("work_mem"), main_word("mem")) == ("work_mem", "mem")
    assert made.has_identifiers
    assert not write(tmp_path / "none").has_identifiers


def test_unknown_words_score_nothing(lexical: LexicalIndex) -> None:
    assert not lexical.scores(words("zeppelin")).any()
    assert not lexical.scores([]).any()


def test_blocks_give_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "one")
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "remains").touch()
    monkeypatch.setattr("index.lexical.BLOCK", 3)
    write(tmp_path / "many")
    for file in (tmp_path / "one").iterdir():
        assert (tmp_path / "many" / file.name).read_bytes() == file.read_bytes()
    assert len(list((tmp_path / "many").iterdir())) == 4


def drawn(num: int) -> Iterator[str]:
    """Texts of some 20 words: one that nearly all have, the others from a vocabulary of 676."""
    pairs = [a + b for a in string.ascii_lowercase for b in string.ascii_lowercase]
    generator = random.Random(0)
    for i in range(num):
        yield " ".join(["zebra"] * (i % 7) + generator.choices(pairs, k=generator.randint(0, 40)))


@pytest.mark.parametrize("block", [1, 60, 1 << 18])
def test_ranges_of_words_and_pieces_of_a_word_give_what_one_sort_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("index.lexical.BLOCK", block)
    texts = [words(text) for text in drawn(200)]
    lexical = write(tmp_path / "bm25", list(drawn(200)))
    mean_len = sum(map(len, texts)) / len(texts)
    for word in {word for text in texts for word in text}:
        part = lexical._postings(word)
        chunks = [i for i, text in enumerate(texts) if word in text]
        tf = np.array([texts[i].count(word) for i in chunks])
        norm = K1 * (1 - B + B * np.array([len(texts[i]) for i in chunks]) / mean_len)
        scores = idf(len(chunks), len(texts)) * tf / (tf + norm)
        assert lexical._indices[part].tolist() == chunks
        np.testing.assert_array_equal(lexical._data[part], scores.astype(np.float32))
    assert lexical._indices.dtype == np.int32
    assert lexical._data.dtype == np.float32


@pytest.mark.skipif(not os.access(CLEAR_REFS, os.W_OK), reason="no peak that can be set back")
def test_memory_does_not_grow_with_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were mapped to be sorted added their pages up: 16 bytes a posting."""
    monkeypatch.setattr("index.lexical.BLOCK", 1 << 14)
    monkeypatch.setattr("index.lexical.words", str.split)

    def grown(num: int) -> int:
        CLEAR_REFS.write_text("5")  # forgets the peak until now
        before = resident("VmRSS")
        write_lexical(drawn(num), tmp_path / "bm25")
        return resident("VmHWM") - before

    grown(1_000)
    assert grown(50_000) < 6_000  # kB; of some 1,000,000 postings


def resident(key: str) -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(f"{key}:"))


def test_files_that_do_not_fit_together_are_told(tmp_path: Path) -> None:
    write(tmp_path / "one")
    (tmp_path / "one" / "vocab.json").write_text('["copper"]')
    with pytest.raises(ValueError, match="do not fit"):
        LexicalIndex(tmp_path / "one", len(TEXTS))


def test_words_fold_case_accents_and_endings() -> None:
    assert words("Zoë's NAÏVE cafés") == words("zoe's naive café")
    assert words("the of and") == []
    assert words("ガラス STRASSE Ⅳ") == ["ガラス", "strass", "iv"]
    assert words("In 1990, 12.5 µm") == ["1990", "12", "5", "μm"]


def test_a_corpus_of_stop_words_can_be_searched(tmp_path: Path) -> None:
    lexical = write(tmp_path / "bm25", ["the", "of the"])
    assert lexical.scores(words("anything")).tolist() == [0, 0]
