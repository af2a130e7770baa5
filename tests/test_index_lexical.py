from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from index.lexical import LexicalIndex, words, write_lexical

TEXTS = ["red copper wire", "copper copper", "the violin has strings", "camel", "of the"]


def write(folder: Path, texts: Sequence[str] = TEXTS) -> LexicalIndex:
    write_lexical(texts, folder)
    return LexicalIndex(folder, len(texts))


@pytest.fixture
def lexical(tmp_path: Path) -> LexicalIndex:
    return write(tmp_path / "bm25")


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


def test_blocks_give_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "one")
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "remains").touch()
    monkeypatch.setattr("index.lexical.BLOCK", 3)
    write(tmp_path / "many")
    for file in (tmp_path / "one").iterdir():
        assert (tmp_path / "many" / file.name).read_bytes() == file.read_bytes()
    assert len(list((tmp_path / "many").iterdir())) == 4


def test_files_that_do_not_fit_together_are_told(tmp_path: Path) -> None:
    write(tmp_path / "one")
    (tmp_path / "one" / "vocab.json").write_text('["copper"]')
    with pytest.raises(ValueError, match="do not fit"):
        LexicalIndex(tmp_path / "one", len(TEXTS))


def test_rare_words_weigh_more_and_unseen_most(lexical: LexicalIndex) -> None:
    assert lexical.idf("copper") < lexical.idf("camel") < lexical.idf("zeppelin")
    assert lexical.idf("Copper's") == lexical.idf("copper")


def test_words_fold_case_accents_and_endings() -> None:
    assert words("Zoë's NAÏVE cafés") == words("zoe's naive café")
    assert words("the of and") == []
    assert words("ガラス STRASSE Ⅳ") == ["ガラス", "strass", "iv"]
    assert words("In 1990, 12.5 µm") == ["1990", "12", "5", "μm"]


def test_a_corpus_of_stop_words_can_be_searched(tmp_path: Path) -> None:
    lexical = write(tmp_path / "bm25", ["the", "of the"])
    assert lexical.scores(words("anything")).tolist() == [0, 0]
