from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from index.lexical import LexicalIndex, words

TEXTS = ["red copper wire", "copper copper", "the violin has strings", "camel", "of the"]


@pytest.fixture
def lexical() -> LexicalIndex:
    return LexicalIndex.build(TEXTS)


def bm25(word: str, text: str) -> float:
    """Lucene's BM25 written out (Robertson & Zaragoza 2009, equation 3.15), without k1 + 1."""
    from index.lexical import K1, B

    lens = [len(words(t)) for t in TEXTS]
    seen = sum(word in words(t) for t in TEXTS)
    count = words(text).count(word)
    norm = K1 * (1 - B + B * len(words(text)) / (sum(lens) / len(lens)))
    idf = math.log(1 + (len(TEXTS) - seen + 0.5) / (seen + 0.5))
    return idf * count / (count + norm)


def test_scores_are_bm25(lexical: LexicalIndex) -> None:
    expected = [bm25("copper", t) + bm25("wire", t) for t in TEXTS]
    np.testing.assert_allclose(lexical.scores(words("copper wire")), expected, rtol=1e-5)


def test_unknown_words_score_nothing(lexical: LexicalIndex) -> None:
    assert not lexical.scores(words("zeppelin")).any()
    assert not lexical.scores([]).any()


def test_scores_survive_the_disk(lexical: LexicalIndex, tmp_path: Path) -> None:
    lexical.save(tmp_path)
    opened = LexicalIndex.open(tmp_path)
    query = words("red copper strings")
    np.testing.assert_array_equal(opened.scores(query), lexical.scores(query))
    assert not list(tmp_path.glob("*.pkl"))


def test_rare_words_weigh_more_and_unseen_most(lexical: LexicalIndex) -> None:
    assert lexical.idf("copper") < lexical.idf("camel") < lexical.idf("zeppelin")
    assert lexical.idf("Copper's") == lexical.idf("copper")


def test_words_fold_case_accents_and_endings() -> None:
    assert words("Zoë's NAÏVE cafés") == words("zoe's naive café")
    assert words("the of and") == []
    assert words("ガラス STRASSE Ⅳ") == ["ガラス", "strass", "iv"]
    assert words("In 1990, 12.5 µm") == ["1990", "12", "5", "μm"]


def test_a_corpus_of_stop_words_can_be_searched() -> None:
    lexical = LexicalIndex.build(["the", "of the"])
    assert lexical.scores(words("anything")).tolist() == [0, 0]
