"""Planted contradictions: another answer of the same form, in a copy behind the passage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from eval_fakes import build_tiny_index

from eval.planted import PLANTED, changed, other_answer, plant
from eval.questions import Question
from index.keys import HashingKeyEncoder
from index.retriever import Retriever
from retro.conflict import differ

POOL = [
    Question("c", "Which country has llamas?", ("Peru",)),
    Question("w", "Who painted it?", ("Frida Kahlo",)),
]


@pytest.fixture(scope="module")
def retriever(tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    return Retriever.open(build_tiny_index(tmp_path_factory.mktemp("index")), HashingKeyEncoder())


def other(question: str, *answers: str) -> tuple[str, str] | None:
    return other_answer(Question("q", question, answers), POOL, np.random.default_rng(0))


@pytest.mark.parametrize("answer", ["1707", "14 December 1911", "1,085 degrees", "three", "0", "7"])
def test_a_number_becomes_another(answer: str) -> None:
    found = other("When was it?", answer)
    assert found is not None
    assert found[0] == answer
    assert differ(*found)


def test_a_name_becomes_the_answer_to_the_question_most_alike() -> None:
    assert other("Which country has fjords?", "Norway") == ("Norway", "Peru")
    assert other("Who wrote it, and when?", "Jane Austen") == ("Jane Austen", "Frida Kahlo")
    assert other("Where is it?", "Norway") is None, "no question is alike"
    assert other("Which metal is it?", "Gold") is None, "which alone asks for anything"
    assert other("Which country has llamas?", "Peru") is None, "that is the answer itself"
    long = Question("l", "Which country is it?", ("some of those in the far north",))
    rng = np.random.default_rng(0)
    assert other_answer(long, [replace(long, answers=("any " * 7,))], rng) is None


def test_every_mention_is_changed_and_no_part_of_a_word() -> None:
    text = "In 1707 it erupted. 17070 tons fell in 1707."
    assert changed(text, "1707", "1720") == "In 1720 it erupted. 17070 tons fell in 1720."
    assert changed(text, "1800", "1720") is None


def test_the_copy_stands_behind_its_passage_and_the_number_stays(retriever: Retriever) -> None:
    found = retriever.search("At how many degrees does copper melt?", 3)
    planted = plant(found, "1085", "1100")
    assert planted is not None
    place = next(n for n, d in enumerate(planted.doc_ids) if d.startswith(PLANTED))
    assert len(planted) == len(found) == 3
    assert planted.texts[place] == planted.texts[place - 1].replace("1085", "1100")
    assert planted.distances[place] == planted.distances[place - 1]
    assert planted.doc_ids[place] == f"{PLANTED}{planted.doc_ids[place - 1]}"
    assert plant(found, "9999", "1") is None


def test_the_last_passage_makes_room_for_its_copy(retriever: Retriever) -> None:
    found = retriever.search("copper", 3)
    last = found.texts[2].split()[1]
    planted = plant(found, last, "zebras")
    assert planted is not None
    assert len(planted) == 3
    assert "zebras" in "".join(planted.texts)
