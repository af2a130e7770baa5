"""A stand-in for the answerer: canned answers with real passages, no model and no index."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from index.errors import UserError
from index.where import EVERYWHERE
from retro.policy import AbstentionPolicy
from retro.types import Answer, Evidence

ANSWERABLE = "Which planet has the moon Ganymede?"
NEAR_MISS = "Who composed the anthem of Jupiter?"
SLIPPED = "Which planet has the moon Ganimede?"
MISTAKE = "What breaks the index?"
BUG = "What breaks the model?"
MANIFEST = SimpleNamespace(num_documents=128, num_chunks=2431, built="2026-11-23T18:20:05+00:00")
HOSTILE = "<script>document.title = 'owned'</script> {{7*7}} ${7*7}"

_JUPITER = (
    "Ganymede is the largest moon in the Solar System, larger even than the planet Mercury. "
    "It circles Jupiter once every seven days, and it is the only moon known to make a magnetic "
    "field of its own.\n\nThe Italian astronomer Galileo Galilei saw it in January 1610, together "
    "with Io, Europa and Callisto."
)
_OTHERS = (
    ("jupiter.md", "Jupiter", "Jupiter is the fifth planet from the Sun and by far the largest."),
    ("mercury.md", "Mercury", "Mercury is the smallest planet and the closest to the Sun."),
    ("hostile.md", HOSTILE, f"A document may hold anything, {HOSTILE} among it."),
    ("galilei.md", "Galileo Galilei", "He turned a telescope of his own making to the sky."),
    ("saturn.md", "Saturn", "Saturn is known for its rings, made of ice and rock."),
)


def evidence(answer: str) -> tuple[Evidence, ...]:
    """Six passages, the answer marked in the first of them, which begins at character 40."""
    start = 40 + _JUPITER.index(answer)
    first = Evidence(
        doc_id="solar-system/ganymede.md",
        title="Ganymede",
        text=_JUPITER,
        start=start,
        end=start + len(answer),
        distance=0.2143,
        score=0.91,
        window_start=40,
        highlighted=True,
    )
    rest = [
        Evidence(f"solar-system/{name}", title, text, 0, len(text), 0.3 + i / 20, 0.04 / (i + 1))
        for i, (name, title, text) in enumerate(_OTHERS)
    ]
    return (first, *rest)


def make_answer(question: str, confidence: float, *, abstained: bool = False) -> Answer:
    return Answer(
        id=None,
        question=question,
        answer=None if abstained else "Jupiter",
        abstained=abstained,
        reason="insufficient" if abstained else None,
        candidate="Jupiter",
        confidence=confidence,
        evidence=evidence("Jupiter"),
        signals={"dense_top1": 0.2143, "cover_best": 0.87, "span_probability": 0.912},
        timing_ms={"search": 41.0, "read": 702.0, "dropout": 187.0, "total": 930.0},
    )


@dataclass
class FakeAnswerer:
    """Sure of one question, unsure of all others; ``asked`` counts how often the model ran."""

    policy: AbstentionPolicy = field(default_factory=lambda: AbstentionPolicy(threshold=0.4372))
    retriever: Any = field(
        default_factory=lambda: SimpleNamespace(manifest=MANIFEST, where=EVERYWHERE)
    )
    asked: list[str] = field(default_factory=list)

    def answer(self, question: str) -> Answer:
        self.asked.append(question)
        if question == MISTAKE:
            raise UserError("index is truncated:\n build it again")
        if question == BUG:
            raise ValueError("shapes [2, 3] and [4] differ")
        sure = question == ANSWERABLE
        answer = make_answer(question, 0.93 if sure else 0.21, abstained=not sure)
        return replace(answer, suggestion=ANSWERABLE if question == SLIPPED else "")
