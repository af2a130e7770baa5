"""Which of two alike passages a question is about."""

from __future__ import annotations

import pytest

from retro.naming import headed_by, misnamed, set_apart, spelled_out

MANUAL = "Operating manual › Brisa {} › Warranty"
COMMON = ("music", "history", "One")
TEXTS = ("Two years are granted.", "Three years are granted.")


def asked(question: str, *titles: str, texts: tuple[str, ...] = TEXTS, source: int = 0) -> bool:
    return misnamed(question, titles, texts, source, lambda word: 1.0 if word in COMMON else 9.0)


@pytest.mark.parametrize(
    ("question", "titles"),
    [
        ("How long is the Brisa Duo covered?", (MANUAL.format("One"), MANUAL.format("Duo"))),
        ("How long is the Brisa One covered?", (MANUAL.format("Duo"), MANUAL.format("One"))),
        ("How deep is a leek planted?", ("Garden › Carrots", "Garden › Leeks")),
        ("How many weeks of sick leave are there?", ("Parental leave", "Sick leave")),
        ("How many weeks of sick leave are there?", ("3.1 Parental leave", "3.2. Sick leave")),
    ],
)
def test_the_question_names_another_passage(question: str, titles: tuple[str, str]) -> None:
    assert asked(question, *titles)
    assert not asked(question, *titles, source=1)


@pytest.mark.parametrize(
    ("question", "titles", "text"),
    [
        ("How many years are granted?", ("Brisa One", "Brisa Duo"), ""),  # names neither
        ("Are the Brisa Duo and One covered?", ("Brisa One", "Brisa Duo"), "As is the Duo."),
        ("Is the sick cat covered?", ("Cats", "Sick leave"), ""),  # a part of the heading
        ("What holds after the installation?", ("First steps", "Installation"), "Once installed"),
        ("Who reads the manual?", ("Manual", "Manual"), ""),
        ("Who is it?", ("A", "The"), ""),
        ("What music school did Ann attend?", ("Ann › Early life", "Ann › Music"), ""),
    ],
)
def test_the_question_names_none_other(question: str, titles: tuple[str, str], text: str) -> None:
    assert not asked(question, *titles, texts=(text or TEXTS[0], TEXTS[1]))


def test_passages_that_are_headed_by_another_identifier_than_was_asked_about() -> None:
    titles = ("Memory › hash_mem_multiplier (float)", "Memory › work_mem (integer)", "Memory")
    assert headed_by("What is the default of Work_Mem?", titles) == [-1, 1, 0]
    assert headed_by("What multiplies the memory?", titles) == [0] * 3
    assert headed_by("What is mem_limit?", titles) == [0] * 3  # none describes it
    assert headed_by("What is work_mem?", ()) == []
    methods = ("Popen › Popen.kill()", "Popen › Popen.wait()", "2.1. Popen")
    assert headed_by("What does Popen.wait do?", methods) == [-1, 1, 0]


def test_only_the_headings_of_neighbours_are_named() -> None:
    assert not asked("How long is the Brisa Duo covered?", "Brisa One", texts=TEXTS[:1])
    assert not asked("", "Brisa One", "")


def test_what_sets_two_passages_apart() -> None:
    question = "How long is the warranty of the Xbox One?"
    assert set_apart(question, "Xbox One", "Xbox 360: one year of warranty")
    assert not set_apart(question, "Xbox One", "Consoles: the Xbox One has one year of warranty")
    assert not set_apart(question, "Consoles", "Xbox 360: one year of warranty")


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("What does LVM stand for?", "LVM, the Logical Volume Manager, is"),
        ("what does lvm stand for", "a logical-volume manager"),
        ("What is the full form of TARDIS?", "Time and Relative Dimension in Space"),
        ("What does ASCII mean?", "American Standard Code for Information Interchange"),
        ("What is the RAID?", "a Redundant Array of Independent Disks (RAID)"),
        ("The ALU is short for what?", "an arithmetic logic unit"),
    ],
)
def test_an_abbreviation_is_spelled_out(question: str, text: str) -> None:
    assert spelled_out(question, [text, "", f"It is {question}", "Long lines of words"]) == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "question",
    [
        "Which LVM is that?",  # not asked for what it means
        "What does the Left stand for?",  # none
        "What is Logical?",
        "what is lvm?",  # may be a word
        "What does BBC-LVM-XXXXXXXX-2 stand for?".replace("LVM", "LVX"),
        "",
    ],
)
def test_nothing_is_spelled_out(question: str) -> None:
    assert spelled_out(question, ["the Logical Volume Manager"]) == [False]
