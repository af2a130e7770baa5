"""The HTML of answers: what it says, and that it escapes all it is given."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from serve_fakes import ANSWERABLE, HOSTILE, MANIFEST, evidence, make_answer

from retro.types import REASONS, Answer, Hop, Side
from serve import render

VOID = {"br", "hr", "img", "input", "meta", "link"}


class Checked(HTMLParser):
    """Fails on tags that are not closed in order; keeps the text and the tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self._open = "", list[str](), list[str]()
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in VOID
        self.tags.append(tag)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def all_of(answer: Answer, threshold: float = 0.44) -> str:
    return (
        render.verdict(answer, threshold)
        + render.passages(answer)
        + render.details(answer, {"dense_top1": "distance of the nearest chunk"})
    )


def test_an_answer_shows_its_source_its_span_and_its_numbers() -> None:
    html = all_of(make_answer(ANSWERABLE, 0.93))
    text = Checked(html).text
    assert "<mark>Jupiter</mark>" in html
    assert html.count("<mark>") == 1
    for part in ("I found this in Ganymede.", "I am 93 % sure", "I answer from 44 %", "0.93 s"):
        assert part in text
    for part in ("solar-system/ganymede.md", "0.214", "0.91", "span_probability", "search 41 ms"):
        assert part in text
    assert "distance of the nearest chunk" in text


@pytest.mark.parametrize("reason", REASONS)
def test_a_refusal_speaks_in_the_first_person_and_says_why(reason: str) -> None:
    declined = replace(make_answer("x", 0.2, abstained=True), reason=reason)
    text = Checked(render.verdict(declined, 0.44)).text
    assert "I can’t find this in the database." in text
    assert REASONS[reason].lower() in text.lower()


def test_a_refusal_folds_the_guess_and_marks_it_nowhere() -> None:
    html = all_of(make_answer("x", 0.2, abstained=True))
    before, _, folded = html.partition("Show the guess I withheld")
    assert "Jupiter" not in before
    assert "<q>Jupiter</q>" in folded
    assert "Not an answer" in folded
    assert "Nearest passages" in html
    assert "<mark>" not in html
    assert "ra-source" not in html


def test_a_contradiction_shows_both_sides() -> None:
    sides = (
        Side("Jupiter", "jupiter.md", "Jupiter", 0, 7, 0.9),
        Side(HOSTILE, "saturn.md", "", 4, 9, 0.8),
    )
    made = make_answer("x", 0.02, abstained=True)
    html = render.verdict(replace(made, reason="conflicting", sides=sides), 0.44)
    text = Checked(html).text
    assert "The database contradicts itself." in text
    assert f"Two sources disagree: Jupiter says “Jupiter”, saturn.md says “{HOSTILE}”." in text
    assert "<script" not in html
    assert "disagree" not in render.verdict(replace(made, sides=sides), 0.44)
    same = tuple(replace(side, title="Jupiter") for side in sides)
    assert "saturn.md says" in render.verdict(replace(made, reason="conflicting", sides=same), 0.44)


def test_both_sides_are_marked_in_their_passages() -> None:
    made = make_answer("x", 0.02, abstained=True)
    ours, rival, *_ = made.evidence
    rival = replace(rival, start=3, end=9, highlighted=True)
    sides = tuple(Side("a", e.doc_id, e.title, e.start, e.end, 0.9) for e in (ours, rival))
    answer = replace(
        made, reason="conflicting", sides=sides, evidence=(ours, rival, replace(ours, start=41))
    )
    html = render.passages(answer)
    assert html.count("<mark>") == html.count("ra-source") == 2
    assert f"<mark>{rival.text[3:9]}</mark>" in html


def test_a_card_shows_the_trust_label_of_its_document() -> None:
    answer = make_answer(ANSWERABLE, 0.9)
    assert "<dt>trust</dt>" not in render.passages(answer)
    labelled = tuple(replace(item, trust="<forum>") for item in answer.evidence[:1])
    shown = render.passages(replace(answer, evidence=labelled))
    assert "<dt>trust</dt><dd>&lt;forum&gt;</dd>" in shown


def test_a_card_shows_the_page() -> None:
    answer = make_answer(ANSWERABLE, 0.9)
    assert "<dt>page</dt>" not in render.passages(answer)
    paged = tuple(replace(item, page=12) for item in answer.evidence[:1])
    assert "<dt>page</dt><dd>12</dd>" in render.passages(replace(answer, evidence=paged))


def test_a_void_promise_is_told() -> None:
    answer = make_answer(ANSWERABLE, 0.93)
    assert "no promise" not in render.verdict(answer, 0.44).lower()
    html = render.verdict(replace(answer, promise_void=True), 0.44)
    assert "No promise: the questions asked differ" in Checked(html).text


def test_a_refusal_without_a_guess_has_nothing_to_fold() -> None:
    silent = replace(make_answer("x", 0.0, abstained=True), candidate=" ")
    assert "withheld" not in render.verdict(silent, 0.44)


def test_whatever_documents_and_questions_hold_is_text() -> None:
    bad = HOSTILE + "\"'&"
    items = tuple(replace(e, title=bad, doc_id=bad, text=bad + e.text) for e in evidence("Jupiter"))
    answer = replace(
        make_answer(bad, 0.9),
        answer=bad,
        candidate=bad,
        evidence=items,
        signals={bad: 1.0},
        timing_ms={bad: 1.0},
    )
    declined = replace(answer, answer=None, abstained=True, reason="insufficient")
    html = all_of(answer) + all_of(declined) + render.failure(bad) + render.pending(bad)
    html += render.notice(bad) + render.examples({bad: [bad]}) + render.mark(bad, 0, 5)
    checked = Checked(html)
    assert "script" not in checked.tags
    assert bad in checked.text
    assert not re.search(r"<[^>]*owned", html)


def test_the_span_is_found_in_a_window_that_begins_inside_its_document() -> None:
    assert render.mark("a <b> c", 2, 5) == "a <mark>&lt;b&gt;</mark> c"
    first = replace(evidence("Jupiter")[0], title="", highlighted=True)
    html = render.passages(replace(make_answer("x", 0.9), evidence=(first,)))
    assert "It circles <mark>Jupiter</mark> once" in html
    assert "… Ganymede is the largest" in html
    assert "</span> solar-system/ganymede.md</h3>" in html


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 3), (2, 1), (0, 99)])
def test_a_span_outside_the_text_marks_nothing(start: int, end: int) -> None:
    assert render.mark("a & b", start, end) == "a &amp; b"


def test_passages_beyond_the_third_are_folded_and_keep_their_rank() -> None:
    shown, _, folded = render.passages(make_answer("x", 0.9)).partition("3 more passages")
    assert shown.count("<li") == 3
    assert folded.count("<li") == 3
    assert "<span>4</span>" in folded
    few = replace(make_answer("x", 0.9), evidence=evidence("Jupiter")[:3])
    assert "more passage" not in render.passages(few)


def test_an_empty_database_says_so() -> None:
    nothing = replace(make_answer("x", 0.0, abstained=True), evidence=(), signals={}, timing_ms={})
    assert "no passage" in Checked(render.passages(nothing)).text
    assert Checked(render.details(nothing, {})).text == ""


@pytest.mark.parametrize(
    ("confidence", "threshold", "shown"),
    [
        (0.93, 0.4372, ("93 %", "44 %")),
        (0.4368, 0.4372, ("43.68 %", "43.72 %")),
        (0.44, 0.44, ("44 %", "44 %")),
        (0.0, 1.0, ("0 %", "100 %")),
    ],
)
def test_per_cents_show_which_of_the_two_is_larger(
    confidence: float, threshold: float, shown: tuple[str, str]
) -> None:
    text = Checked(render.verdict(make_answer("x", confidence), threshold)).text
    assert f"{shown[0]} sure" in text
    assert f"from {shown[1]}." in text
    assert ("enough" in text) == (confidence >= threshold)


def test_the_meter_speaks_to_screen_readers() -> None:
    html = render.verdict(make_answer("x", 0.93), 0.4372)
    assert 'role="meter"' in html
    assert 'aria-valuenow="93.0"' in html
    assert 'aria-valuetext="93 %, the threshold is 44 %"' in html
    assert "width:93.0%" in html
    assert "left:43.7%" in html


def test_the_header_tells_counts_and_the_day_of_the_build() -> None:
    assert "128 documents, 2,431 chunks, built 23 November 2026" in render.header(MANIFEST)


def test_a_failure_is_one_line() -> None:
    assert "a b c" in render.failure("a\n  b\nc")


def test_the_way_over_another_fact_is_told() -> None:
    hop = Hop(HOSTILE, "a/b.md", "Moons", 3, 9, 0.7)
    answer = replace(make_answer(ANSWERABLE, 0.93), hops=(hop,))
    assert f"In two steps: Moons leads to “{HOSTILE}”." in Checked(all_of(answer)).text
    declined = replace(answer, answer=None, abstained=True, reason="insufficient")
    assert ", and no further." in Checked(all_of(declined)).text
    assert "ra-way" not in all_of(make_answer(ANSWERABLE, 0.93))


def test_another_wording_and_spelling_are_shown_as_text() -> None:
    told = {"read_as": HOSTILE, "suggestion": HOSTILE, "unheard": (HOSTILE, "b")}
    answer = replace(make_answer(ANSWERABLE, 0.93), **told)  # type: ignore[arg-type]
    html = all_of(answer)
    text = Checked(html).text
    assert f"Read as: {HOSTILE}" in text
    assert f"Did you mean: {HOSTILE}" in text
    assert f"No document mentions “{HOSTILE}” and “b”." in text
    assert html.count('<button type="button">') == 1
    assert "ra-wording" not in all_of(make_answer(ANSWERABLE, 0.93))
