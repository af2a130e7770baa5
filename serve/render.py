"""Answers as HTML: pure functions that know no model and no Gradio, and escape all they get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

from retro.types import PROMISE_VOID, REASONS, Answer, Evidence

if TYPE_CHECKING:
    from index.manifest import Manifest

SHOWN = 3
"""Passages shown unfolded; the others follow under a fold."""

_LEGEND = (
    "Distance: how far a passage is from the question, 0 is the same text. "
    "Score: the model’s probability that its answer stands there, 0 too where it did not read on: "
    "it reads the best matches only."
)


def header(manifest: Manifest, where: str = "") -> str:
    """The page's title and one line about the database it answers from; ``where``: the part."""
    documents = _count(manifest.num_documents, "document")
    chunks = _count(manifest.num_chunks, "chunk")
    facts = f"{documents}, {chunks}, built {_day(manifest.built)}"
    part = f"; only {escape(where)}" if where else ""
    return (
        '<header class="ra-header"><h1>Ask the database</h1>'
        "<p>I answer only from these documents, and say so when they don’t hold the answer.</p>"
        f'<p class="ra-facts">{facts}{part}</p></header>'
    )


def examples(questions: Mapping[str, Sequence[str]]) -> str:
    """Questions to offer as buttons, by the heading they stand under."""
    return "".join(
        f'<section class="ra-examples"><h2>{escape(heading)}</h2><ul>'
        + "".join(f'<li><button type="button">{escape(text)}</button></li>' for text in texts)
        + "</ul></section>"
        for heading, texts in questions.items()
    )


def notice(text: str) -> str:
    """One calm line, for a question that is missing."""
    return f'<p class="ra-notice" role="alert">{escape(text)}</p>'


def failure(text: str) -> str:
    """One line saying what went wrong."""
    return f'<p class="ra-notice ra-failure" role="alert">{escape(_one_line(text))}</p>'


def pending(question: str) -> str:
    """What stands in the answer's place while the model reads."""
    return f'<p class="ra-pending">Reading what is closest to “{escape(question)}” …</p>'


def verdict(answer: Answer, threshold: float) -> str:
    """The answer, or the refusal with its reason; the confidence against ``threshold`` (0..1)."""
    body = _declined(answer, threshold) if answer.abstained else _answered(answer, threshold)
    state = "declined" if answer.abstained else "answered"
    more = f"{_way(answer)}{_wording(answer)}{_promise(answer)}"
    return f'<section class="ra-card ra-verdict ra-{state}">{body}{more}</section>'


def passages(answer: Answer) -> str:
    """The evidence as cards, best first; an answer's place is marked, and those of two sides that
    disagree, but not that of a guess that is withheld."""
    if not answer.evidence:
        return '<p class="ra-notice">The database gave no passage for this question.</p>'
    title = "Nearest passages" if answer.abstained else "Evidence"
    cards = [_card(rank, item, answer) for rank, item in enumerate(answer.evidence, start=1)]
    folded = cards[SHOWN:]
    more = _fold(_count(len(folded), "more passage"), _list(folded, SHOWN + 1)) if folded else ""
    return (
        f'<section class="ra-passages"><h2>{title}</h2><p class="ra-legend">{_LEGEND}</p>'
        f"{_list(cards[:SHOWN], 1)}{more}</section>"
    )


def details(answer: Answer, meanings: Mapping[str, str]) -> str:
    """Timings on a line, all signals folded in a table; ``meanings`` says what a signal is."""
    table = _table(answer.signals, meanings)
    summary = f"{_count(len(answer.signals), 'signal')} behind the confidence"
    fold = _fold(summary, table) if answer.signals else ""
    return f'<section class="ra-details">{_timings(answer.timing_ms)}{fold}</section>'


def mark(text: str, start: int, end: int) -> str:
    """``text`` escaped, with its characters [start, end) marked; as is if that is no span of it."""
    if not 0 <= start < end <= len(text):
        return escape(text)
    before, span, after = text[:start], text[start:end], text[end:]
    return f"{escape(before)}<mark>{escape(span)}</mark>{escape(after)}"


def _answered(answer: Answer, threshold: float) -> str:
    source = next((e.title for e in answer.evidence if e.highlighted), None)
    where = f"I found this in <cite>{escape(source)}</cite>." if source else ""
    return (
        f'<p class="ra-answer">{escape(answer.answer or "")}</p><p class="ra-why">{where}</p>'
        f"{_meter(answer.confidence, threshold)}"
    )


def _declined(answer: Answer, threshold: float) -> str:
    reason = _sentence(REASONS[answer.reason or "insufficient"])
    if conflict := answer.disagreement():
        head, reason = "The database contradicts itself.", conflict
    else:
        head = "I can’t find this in the database."
    return (
        f'<p class="ra-answer">{head}</p>'
        f'<p class="ra-why">{escape(reason)}</p>'
        f"{_meter(answer.confidence, threshold)}{_withheld(answer)}"
    )


def _withheld(answer: Answer) -> str:
    if not answer.candidate.strip():
        return ""
    warning = "Not an answer: I would not rely on it."
    guess = f'<p class="ra-guess"><q>{escape(answer.candidate)}</q> <span>{warning}</span></p>'
    return _fold("Show the guess I withheld", guess)


def _meter(confidence: float, threshold: float) -> str:
    sure, bar = _percents(confidence, threshold)
    side = "enough" if confidence >= threshold else "too little"
    return (
        f'<div class="ra-meter" role="meter" aria-label="Confidence" aria-valuemin="0"'
        f' aria-valuemax="100" aria-valuenow="{100 * confidence:.1f}"'
        f' aria-valuetext="{sure}, the threshold is {bar}">'
        f'<span class="ra-fill" style="width:{100 * confidence:.1f}%"></span>'
        f'<span class="ra-tick" style="left:{100 * threshold:.1f}%"></span></div>'
        f'<p class="ra-scale"><strong>I am {sure} sure</strong>: {side}, I answer from {bar}.</p>'
    )


def _way(answer: Answer) -> str:
    way = answer.way()
    return f'<p class="ra-scale ra-way">{escape(way)}</p>' if way else ""


def _wording(answer: Answer) -> str:
    told = [escape(line) for line in answer.wording()]
    button = f'<button type="button">{escape(answer.suggestion)}</button>'
    told += [f"Did you mean: {button}"] if answer.suggestion else []
    return "".join(f'<p class="ra-scale ra-wording">{line}</p>' for line in told)


def _promise(answer: Answer) -> str:
    if answer.promise:
        return f'<p class="ra-scale">Certified: {escape(str(answer.promise))}.</p>'
    void = f'<p class="ra-scale ra-void">{escape(_sentence(PROMISE_VOID))}</p>'
    return void if answer.promise_void else ""


def _percents(confidence: float, threshold: float) -> tuple[str, str]:
    """Both in per cent, with decimals only where whole numbers would hide which is larger."""
    close = confidence != threshold and round(100 * confidence) == round(100 * threshold)
    digits = 2 if close else 0
    return f"{100 * confidence:.{digits}f} %", f"{100 * threshold:.{digits}f} %"


def _card(rank: int, item: Evidence, answer: Answer) -> str:
    shown = answer.points_at(item)
    source = " ra-source" if shown and (rank == 1 or answer.abstained) else ""
    start, end = item.start - item.window_start, item.end - item.window_start
    text = mark(item.text, start, end) if shown else escape(item.text)
    page = f"<div><dt>page</dt><dd>{item.page}</dd></div>" if item.page else ""
    trust = f"<div><dt>trust</dt><dd>{escape(item.trust)}</dd></div>" if item.trust else ""
    return (
        f'<li class="ra-card ra-passage{source}">'
        f"<h3><span>{rank}</span> {escape(item.title or item.doc_id)}</h3>"
        f"<blockquote>{'… ' if item.window_start else ''}{text}</blockquote><dl>"
        f"<div><dt>document</dt><dd><code>{escape(item.doc_id)}</code></dd></div>{page}"
        f"<div><dt>distance</dt><dd>{item.distance:.3f}</dd></div>"
        f"<div><dt>score</dt><dd>{item.score:.2f}</dd></div>{trust}</dl></li>"
    )


def _timings(timing_ms: Mapping[str, float]) -> str:
    if not timing_ms:
        return ""
    stages = {name: ms for name, ms in timing_ms.items() if name != "total"}
    total = timing_ms.get("total", sum(stages.values()))
    parts = [f"{escape(name.replace('_', ' '))} {ms:.0f} ms" for name, ms in stages.items()]
    spent = "".join(f", {part}" for part in parts)
    return f'<p class="ra-timings"><strong>{total / 1000:.2f} s</strong>{spent}</p>'


def _table(signals: Mapping[str, float], meanings: Mapping[str, str]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("signal", "value", "meaning"))
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code></th><td>{value:.4g}</td>'
        f"<td>{escape(meanings.get(name, ''))}</td></tr>"
        for name, value in signals.items()
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="ra-table">{table}</div>'


def _list(cards: Sequence[str], start: int) -> str:
    return f'<ol start="{start}">{"".join(cards)}</ol>'


def _fold(summary: str, body: str) -> str:
    return f'<details class="ra-fold"><summary>{escape(summary)}</summary>{body}</details>'


def _day(built: str) -> str:
    """``2026-11-23T…`` as ``23 November 2026``; anything else as it is."""
    try:
        day = datetime.fromisoformat(built)
    except ValueError:
        return escape(built)
    return f"{day.day} {day:%B %Y}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _one_line(text: str) -> str:
    return " ".join(text.split())
