"""What is hidden counts as absent: words are as common as in an index without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index.lexical import LexicalIndex, write_lexical
from index.retriever import NO_CHUNKS
from index.vocabulary import Vocabulary

TEXTS = ["copper wire", "copper", "camel wire wire", "", "camel copper work_mem", "wire"]
WORDS = ["Copper's", "wire", "camel", "work_mem", "mem", "zeppelin", "the", ""]


def vocabulary(folder: Path, texts: list[str], hidden: list[int]) -> Vocabulary:
    write_lexical(texts, folder)
    return Vocabulary(LexicalIndex(folder, len(texts)), np.array(hidden, dtype=np.int64))


@pytest.mark.parametrize("hidden", [[], [0], [3], [0, 2], [4, 1, 0], [0, 1, 2, 3, 4, 5]])
def test_hidden_chunks_count_as_absent(tmp_path: Path, hidden: list[int]) -> None:
    rest = [text for i, text in enumerate(TEXTS) if i not in hidden]
    built = vocabulary(tmp_path / "rest", rest, [])
    whole = vocabulary(tmp_path / "whole", TEXTS, [])
    for seen in (whole.without(np.array(hidden, dtype=np.int64)), whole_less(whole, hidden)):
        assert [seen.idf(word) for word in WORDS] == [built.idf(word) for word in WORDS]
        for stem in ("copper", "wire", "camel", "work_mem", "zeppelin"):
            kept = [text for i, text in enumerate(TEXTS) if i in seen.chunks(stem)]
            assert kept == [text for text in rest if stem in text.split()]
            assert seen.count(stem) == len(kept)
            assert seen.count(stem) == len(kept)  # the second time from what is kept


def test_hidden_chunks_make_words_no_commoner(tmp_path: Path) -> None:
    """As in an index without them, but for the mean length; here all are of one."""
    texts = ["copper wire", "copper camel", "camel wire", "zeppelin wire"]
    built = vocabulary(tmp_path / "rest", texts[1:], [])
    whole = vocabulary(tmp_path / "whole", texts, [0])
    for asked in ("copper wire", "wire", "camel zeppelin", "planet"):
        np.testing.assert_allclose(whole.scores(asked)[1:], built.scores(asked), rtol=1e-6)


def whole_less(whole: Vocabulary, hidden: list[int]) -> Vocabulary:
    """One chunk after the other."""
    for chunk in hidden:
        whole = whole.without(np.array([chunk], dtype=np.int64))
    return whole


def test_rare_words_weigh_more_and_unseen_most(tmp_path: Path) -> None:
    made = vocabulary(tmp_path, TEXTS, [])
    assert made.idf("copper") < made.idf("camel") < made.idf("work_mem") < made.idf("zeppelin")
    assert made.idf("Copper's") == made.idf("copper")
    assert made.idf("work_mem") > made.idf("wire")
    assert made.without(NO_CHUNKS) is made
