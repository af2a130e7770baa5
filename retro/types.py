"""Plain data that leaves the package: an answer and its evidence; knows no model and no index."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

Reason = Literal["out_of_scope", "insufficient", "conflicting", "unverified"]

REASONS: dict[Reason, str] = {
    "out_of_scope": "nothing in the database is close to this question",
    "insufficient": "the closest passages do not answer this question",
    "conflicting": "passages in the database contradict each other",
    "unverified": "the passages do not support this answer",
}
"""What each reason tells a person, in the words the page and the shell show."""


@dataclass(frozen=True)
class Evidence:
    """One retrieved passage.

    ``text`` is the document's own text of the retrieved window. ``start`` and ``end`` are
    characters *in the document*: of the highlighted answer span where there is one
    (``highlighted``), else of the whole window. ``window_start`` is where ``text`` begins in the
    document. ``distance`` is 1 - cosine; ``score`` is the probability that the answer stands here.
    ``trust`` is the document's label, empty where it has none; ``page`` the number of the page,
    from 1, that ``start`` is on, 0 where there are none.
    """

    doc_id: str
    title: str
    text: str
    start: int
    end: int
    distance: float
    score: float
    window_start: int = 0
    highlighted: bool = False
    trust: str = ""
    page: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Its JSON form; ``trust`` and ``page`` only where there is one."""
        return {k: v for k, v in asdict(self).items() if v or k not in ("trust", "page")}

    @property
    def place(self) -> str:
        """Its document, and the page of it, for a person."""
        return f"{self.doc_id}, page {self.page}" if self.page else self.doc_id


class Reading(NamedTuple):
    """What one passage, judged alone, says: characters of its text, and how probable that is."""

    start: int
    end: int
    probability: float


@dataclass(frozen=True)
class Side:
    """One of two documents that disagree: what it says, and at which of its characters.

    ``probability``: that it answers so, judged alone.
    """

    answer: str
    doc_id: str
    title: str
    start: int
    end: int
    probability: float


@dataclass(frozen=True)
class Hop:
    """The first of two facts that an answer needs: ``bridge``, the name that leads on, read at
    these characters of a document. ``probability``: that it does, judged alone."""

    bridge: str
    doc_id: str
    title: str
    start: int
    end: int
    probability: float


@dataclass(frozen=True)
class Promise:
    """At most ``risk`` of the answers given are wrong, with probability 1 - ``delta`` over the
    questions that it was certified with (``retro.certificate``)."""

    risk: float
    delta: float

    def __str__(self) -> str:
        share, sure = 100 * self.risk, 100 * (1 - self.delta)
        return f"at most {share:.3g} % of the answers given are wrong ({sure:.3g} % sure)"


PROMISE_VOID = "no promise: the questions asked differ from those it was certified with"
"""What a person is told of an answer that ``promise_void`` marks."""


@dataclass(frozen=True)
class Answer:
    """The answer to one question, or the reason why there is none.

    ``confidence`` is in 0..1, higher is surer: the probability that ``candidate`` is right and
    supported by the database. ``candidate`` is kept when abstaining; ``answer`` is then None.
    ``promise``: what is certified of the threshold in force, None if nothing is. ``sides``: the
    two documents that disagree most, the candidate's first; none if no two do. ``promise_void``:
    a certificate exists, but the questions asked by now differ from those it was made with.
    ``hops``: the facts that were read on the way to the last one; none where one passage was asked
    alone. If the question was declined then, the last one is missing. ``read_as``: the question
    that was read, where that is not what was typed (``retro.wording``). ``suggestion``: the
    question in another spelling, where words of it stand in no document and ones like them do.
    ``unheard``: names and identifiers in it that stand in no document and are like nothing there.
    """

    id: str | None
    question: str
    answer: str | None
    abstained: bool
    reason: Reason | None
    candidate: str
    confidence: float
    evidence: tuple[Evidence, ...] = ()
    signals: dict[str, float] = field(default_factory=dict, hash=False)
    timing_ms: dict[str, float] = field(default_factory=dict, hash=False)
    promise: Promise | None = None
    sides: tuple[Side, ...] = ()
    promise_void: bool = False
    hops: tuple[Hop, ...] = ()
    read_as: str = ""
    suggestion: str = ""
    unheard: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form of the contract, plain types only; ``sides`` only when conflicting;
        ``hops``, ``read_as``, ``suggestion`` and ``unheard`` only where there are some."""
        out = asdict(self) | {"evidence": [e.to_dict() for e in self.evidence]}
        sides = list(out.pop("sides"))
        rare = {name: out.pop(name) for name in ("hops", "read_as", "suggestion", "unheard")}
        rare |= {name: list(rare[name]) for name in ("hops", "unheard")}
        out |= {"sides": sides} if self.reason == "conflicting" else {}
        return out | {name: value for name, value in rare.items() if value}

    def way(self) -> str:
        """The facts read on the way, in words, for a person; empty if there were none."""
        found = "; ".join(f"{h.title or h.doc_id} leads to “{h.bridge}”" for h in self.hops)
        if not found:
            return ""
        return f"In two steps: {found}{', and no further' if self.abstained else ''}."

    def wording(self) -> list[str]:
        """What is to be said of the question's own words, for a person: how it was read, and which
        names in it no document holds."""
        names = " and ".join(f"“{name}”" for name in self.unheard)
        read = [f"Read as: {self.read_as}"] if self.read_as else []
        return read + ([f"No document mentions {names}."] if names else [])

    def points_at(self, item: Evidence) -> bool:
        """Whether a person is shown the place in it: where the answer stands, or where either side
        of a disagreement does. A guess that is withheld is not pointed at."""
        disputed = {(side.doc_id, side.start, side.end) for side in self.sides}
        denied = self.reason == "conflicting" and (item.doc_id, item.start, item.end) in disputed
        return item.highlighted and (self.reason is None or denied)

    def disagreement(self) -> str:
        """Both sides in words, for a person; empty unless conflicting."""
        if self.reason != "conflicting" or not self.sides:
            return ""
        alike = len({side.title for side in self.sides}) == 1  # the id tells them apart
        names = [side.doc_id if alike else side.title or side.doc_id for side in self.sides]
        ours, rival = (
            f"{name} says “{side.answer}”" for name, side in zip(names, self.sides, strict=True)
        )
        return f"Two sources disagree: {ours}, {rival}."
