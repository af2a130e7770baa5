"""What was typed, in the form of a question."""

from __future__ import annotations

import pytest

from retro.wording import as_question

READ = {
    "brisa duo warranty": "What is the brisa duo warranty?",
    "planetarium show times": "What are the planetarium show times?",
    "towns on the border of Texas": "What are the towns on the border of Texas?",
    "glass of the windows": "What is the glass of the windows?",
    "default of shared_buffers": "What is the default of shared_buffers?",
    "Brisa Duo": "What is Brisa Duo?",
    "The annual rainfall of Somerset ": "What is the annual rainfall of Somerset?",
    "Tell me the extension of the help desk.": "What is the extension of the help desk?",
    "Please give me the curator's name": "What is the curator's name?",
    "Can you please tell me when the shop opens?": "When the shop opens?",
    "I’d like to know who leads the team": "Who leads the team?",
    "Tell me for how long it holds": "For how long it holds?",
    "I'd like to know: who leads it?": "Who leads it?",
    "Name three large lakes.": "What are three large lakes?",
    "name of the curator": "What is the name of the curator?",
    "list of kings": "What is the list of kings?",
    "Describe the main hall.": "What is the main hall?",
    "Tell me, Hall of Compasses curator": "What is the Hall of Compasses curator?",
}
AS_IT_IS = [
    "When was it built?",
    "in what year was it built",
    "is vinegar allowed",
    "Do you know if dogs are allowed?",
    "whats the warranty",
    "Isn't it open on Mondays",
    "This makes the rock thinner.",
    "capital of France?",
    "Philo of Byzantium ____ surmised this",
    "during the war the economy",
    "the golden age took place in the rule of the",
    "tell me",
    "Tell me about Titan",
    "Titan",
    "?!",
    "",
    " ",
]


@pytest.mark.parametrize(("typed", "read"), READ.items())
def test_what_is_no_question_is_made_one(typed: str, read: str) -> None:
    assert as_question(typed) == read
    assert as_question(read) == read


@pytest.mark.parametrize("typed", AS_IT_IS)
def test_others_are_read_as_they_are(typed: str) -> None:
    assert as_question(typed) == typed
