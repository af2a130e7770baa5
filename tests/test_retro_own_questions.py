"""Questions made by rules: what they ask, and what is never asked."""

from __future__ import annotations

import numpy as np
import pytest

from index.sources import Document
from retro.own_questions import make_questions, questions_of

TEXT = (
    "Mary Colter designed several buildings of the canyon. It became a national park on 26 "
    "February 1919, and it is visited by many people. The tower, which Gustave Eiffel disliked, "
    "was painted in red for the exhibition in Brussels. In 1884 a small pyramid of metal was "
    "placed on the tip.\nThe river is 446 kilometres long. He left. The law was proposed by Josef "
    "Stein. They met again."
)


def asked(sentence: str, title: str = "Title") -> dict[str, str]:
    """Answers to questions, with every exchange of words made."""

    class Always:
        def random(self) -> float:
            return 0.9

    return {a: q for q, a in questions_of(sentence, title, Always())}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sentence", "answer", "question"),
    [
        ("The palace was finished in 1748.", "1748", "The palace was completed in what year?"),
        (
            "Mary Colter designed several of its old buildings.",
            "Mary Colter",
            "Who designed some of its old buildings?",
        ),
        (
            "It became a national park on 26 February 1919.",
            "26 February 1919",
            "Grand Canyon became a national park on what date?",
        ),
        (
            "In 1884 a small pyramid was placed on the tip.",
            "1884",
            "A small pyramid was placed on the tip in what year?",
        ),
        (
            "The old royal chapel, which nobody liked, was painted by Josef Stein (a friend).",
            "Josef Stein",
            "The old royal chapel was painted by whom?",
        ),
        (
            "The narrow river is about 446 kilometres long.",
            "446",
            "The narrow river is how many kilometres long?",
        ),
        (
            "The old library stood in Leipzig, near a pond.",
            "Leipzig",
            "The old library stood in what place, near a pond?",
        ),
    ],
)
def test_a_question_of_a_sentence(sentence: str, answer: str, question: str) -> None:
    assert asked(sentence, "Grand Canyon")[answer] == question


@pytest.mark.parametrize(
    "sentence",
    [
        "This was built in 1850 by a king.",
        "His father came to the town in 1850.",
        "Seen in 1850.",
        "The great old wall is very long and was never finished.",
        "The Soviet probe Luna 2 hit the dark surface.",
    ],
)
def test_no_question_where_none_would_stand_alone(sentence: str) -> None:
    assert asked(sentence) == {}


def test_questions_are_drawn_from_all_documents_and_their_answers_stand_there() -> None:
    documents = [Document(id=f"d{n}", title=f"Title{n}", source="", text=TEXT) for n in range(4)]
    made = make_questions(documents, 8, seed=1)
    assert len(made) == 8
    assert {q.title for q in made} == {d.title for d in documents}
    for question in made:
        assert question.answer in question.context
        assert question.answer.lower() not in question.question.lower()
        assert question.question.endswith("?")
        assert " He " not in question.question
    assert len({(q.title, q.answer) for q in made}) == 8
    assert make_questions(documents, 8, seed=1) == made
    assert make_questions(documents, 8, seed=2) != made
    assert make_questions(documents, 4, seed=1) == made[:4]


def test_words_are_exchanged_most_of_the_time_and_not_always() -> None:
    rng = np.random.default_rng(0)
    seen = {
        q for _ in range(20) for q, _ in questions_of("The palace was finished in 1748.", "T", rng)
    }
    assert seen == {
        "The palace was completed in what year?",
        "The palace was finished in what year?",
    }
