"""The retrieval and answer signals, on neighbours made by hand."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retro.signals import SIGNALS, answer_signals, retrieval_signals

RARE = {"who": 0.1, "the": 0.1, "tesla": 7.0, "coil": 6.0, "invented": 3.0, "year": 1.0}
QUANTILES = [0.1, 0.2, 0.3, 0.4, 0.5]


def idf(word: str) -> float:
    return RARE.get(word, 9.0)


@dataclass(frozen=True)
class Fake:
    """As many neighbours as there are texts, with arrays to match."""

    texts: tuple[str, ...]
    titles: tuple[str, ...] = ()
    distances: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    lexical: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    dense_top: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    lexical_top: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    dense_rank: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    lexical_rank: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    @property
    def doc_ids(self) -> tuple[str, ...]:
        return tuple(f"d{i}" for i in range(len(self.texts)))


def near(*texts: str, titles: Sequence[str] = ()) -> Fake:
    k = len(texts)
    ranks = np.arange(k, dtype=np.int32)
    rising = np.linspace(0.2, 0.4, k, dtype=np.float32)
    falling = np.linspace(12.0, 4.0, k, dtype=np.float32)
    names = tuple(titles) or ("",) * k
    return Fake(texts, names, rising, falling, rising, falling, ranks, ranks)


ASKED = "Who invented the Tesla coil?"
HELD = near("Nikola Tesla invented the coil in 1891.", "The year was cold.")
NOT_HELD = near("Edison invented the phonograph.", "The year was cold.")


def test_every_signal_is_documented_and_every_documented_one_is_given() -> None:
    given_names = retrieval_signals(ASKED, HELD, idf, QUANTILES).keys()
    given_names |= answer_signals(ASKED, "1891", HELD, idf).keys()
    assert given_names == SIGNALS.keys()
    assert all(signal.sign in (-1, 0, 1) for signal in SIGNALS.values())


def test_evidence_moves_the_overlap_signals_by_their_sign() -> None:
    held, missing = (retrieval_signals(ASKED, n, idf) for n in (HELD, NOT_HELD))
    moved = {name for name in held if held[name] != missing[name]}
    assert {"match_best", "match_missing", "match_names_missing", "rarest_found"} <= moved
    for name in moved:
        assert (held[name] - missing[name]) * SIGNALS[name].sign > 0, name


def test_coverage_is_the_rarity_weighted_share() -> None:
    signals = retrieval_signals(ASKED, near("a coil", "he invented it"), idf)
    total = 7.0 + 6.0 + 3.0
    assert signals["cover_best"] == pytest.approx(6.0 / total)
    assert signals["cover_union"] == pytest.approx(9.0 / total)
    assert signals["cover_mean"] == pytest.approx(4.5 / total)
    assert signals["match_missing"] == 2.0
    assert signals["question_words"] == 3.0


def test_a_larger_database_changes_nothing() -> None:
    """All rarities and BM25 scores grow with the logarithm of the number of chunks."""
    tenfold = replace(HELD, lexical=10 * HELD.lexical, lexical_top=10 * HELD.lexical_top)
    large = retrieval_signals(ASKED, tenfold, lambda word: 10 * idf(word))
    assert large == pytest.approx(retrieval_signals(ASKED, HELD, idf))


def test_words_meet_across_endings_and_accents() -> None:
    signals = retrieval_signals("Amazônia forests?", near("a forest in Amazonia"), idf)
    assert signals["cover_best"] == pytest.approx(1.0)


def test_a_title_counts_as_said_in_every_sentence() -> None:
    text = "It was late. He invented the coil."
    signals = retrieval_signals(ASKED, near(text, titles=["Nikola Tesla"]), idf)
    assert signals["cover_sentence"] == pytest.approx(1.0)
    assert retrieval_signals(ASKED, near(text), idf)["cover_sentence"] < 1.0


def test_words_of_two_sentences_do_not_make_one() -> None:
    apart = retrieval_signals(ASKED, near("Tesla came. Ada invented a coil."), idf)
    assert apart["cover_best"] == pytest.approx(1.0)
    assert apart["cover_sentence"] == pytest.approx(9.0 / 16.0)


def test_a_name_that_nobody_holds_shows() -> None:
    signals = retrieval_signals(ASKED, NOT_HELD, idf)
    assert signals["match_names_missing"] == pytest.approx(7.0 / 16.0)
    assert signals["rarest_found"] == 0.0


def test_the_best_match_is_one_neighbour_both_near_and_telling() -> None:
    """Half in the near one and half in the far one is worth less than all of it in one."""
    spread = retrieval_signals(ASKED, near("Tesla came.", "He invented a coil."), idf)
    joined = retrieval_signals(ASKED, near("Tesla invented a coil.", "He came."), idf)
    assert spread["cover_union"] == joined["cover_union"] == pytest.approx(1.0)
    assert joined["match_best"] > spread["match_best"] + 0.5


def test_the_gap_is_to_another_document() -> None:
    @dataclass(frozen=True)
    class OneDocument(Fake):
        @property
        def doc_ids(self) -> tuple[str, ...]:
            return ("d0",) * len(self.texts)

    fields = {f.name: getattr(HELD, f.name) for f in dataclasses.fields(HELD)}
    assert retrieval_signals(ASKED, HELD, idf)["match_gap"] > 0.0
    assert retrieval_signals(ASKED, OneDocument(**fields), idf)["match_gap"] == 0.0


def test_phrases_are_adjacent_content_words() -> None:
    in_order = retrieval_signals(ASKED, near("the Tesla coil"), idf)["match_phrase"]
    turned = retrieval_signals(ASKED, near("a coil by Tesla"), idf)["match_phrase"]
    assert (in_order, turned) == (0.5, 0.0)


def test_agreement_wants_the_same_neighbour_in_both_lists() -> None:
    both = retrieval_signals(ASKED, HELD, idf)
    assert (both["agreement"], both["joint_rank"]) == (1.0, 1.0)
    apart = replace(HELD, lexical_rank=np.array([-1, 5], np.int32))
    signals = retrieval_signals(ASKED, apart, idf)
    assert (signals["agreement"], signals["joint_rank"]) == (0.5, pytest.approx(1 / 6))


@pytest.mark.parametrize(
    ("distance", "expected"), [(0.05, 1.0), (0.1, 1.0), (0.3, 0.5), (0.35, 0.375), (0.9, 0.0)]
)
def test_scope_p_is_the_share_of_own_distances_at_least_as_far(
    distance: float, expected: float
) -> None:
    far = replace(HELD, dense_top=np.array([distance], np.float32))
    signals = retrieval_signals(ASKED, far, idf, QUANTILES)
    assert signals["scope_p"] == pytest.approx(expected, abs=1e-6)


def test_no_own_distances_no_scope() -> None:
    assert "scope_p" not in retrieval_signals(ASKED, HELD, idf)


def test_without_neighbours_every_signal_is_at_its_worst() -> None:
    nothing = retrieval_signals(ASKED, Fake(()), idf, QUANTILES)
    something = retrieval_signals(ASKED, HELD, idf, QUANTILES)
    assert nothing.keys() == something.keys()
    for name, value in nothing.items():
        assert (something[name] - value) * SIGNALS[name].sign >= 0, name
    nothing = answer_signals(ASKED, "1891", Fake(()), idf)
    assert (nothing["grounded"], nothing["source_cover"], nothing["source_distance"]) == (0, 0, 1)


@given(st.text(max_size=40), st.lists(st.text(max_size=60), max_size=3), st.text(max_size=20))
def test_any_text_gives_finite_signals(question: str, texts: list[str], answer: str) -> None:
    neighbours = near(*texts)
    signals = retrieval_signals(question, neighbours, idf, QUANTILES)
    signals |= answer_signals(question, answer, neighbours, idf)
    assert all(type(v) is float and math.isfinite(v) for v in signals.values())


def test_the_answer_is_grounded_only_in_its_own_neighbour() -> None:
    found = answer_signals(ASKED, "nikola tesla", HELD, idf, source=0)
    assert (found["grounded"], found["num_supporting"], found["answer_len"]) == (1.0, 1.0, 2.0)
    assert found["answer_echo"] == 0.5
    assert found["source_sentence"] == pytest.approx(1.0)
    assert found["source_distance"] == pytest.approx(0.2)
    elsewhere = answer_signals(ASKED, "nikola tesla", HELD, idf, source=1)
    assert (elsewhere["grounded"], elsewhere["source_sentence"]) == (0.0, 0.0)


def test_without_a_source_the_first_neighbour_that_holds_the_answer_is_it() -> None:
    assert answer_signals(ASKED, "cold", HELD, idf) == answer_signals(ASKED, "cold", HELD, idf, 1)
    assert answer_signals(ASKED, "warm", HELD, idf)["grounded"] == 0.0


def test_part_of_a_word_is_not_the_word() -> None:
    assert answer_signals(ASKED, "col", HELD, idf)["num_supporting"] == 0.0


def test_importing_the_signals_loads_no_model_and_no_index() -> None:
    heavy = "import sys, retro.signals, retro.uncertainty, retro.policy; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert not {"torch", "faiss", "sklearn", "transformers"} & set(done.stdout.split())
