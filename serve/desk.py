"""What the page does with a question and with the slider: texts and numbers in, HTML out."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from index.errors import UserError
from retro.signals import MODEL_SIGNALS, SIGNALS
from retro.types import Answer
from serve import render

if TYPE_CHECKING:
    from index.retriever import Retriever
    from retro.policy import AbstentionPolicy

EMPTY = "Type a question first, then press Enter."
_MEANINGS = {name: signal.meaning for name, signal in (SIGNALS | MODEL_SIGNALS).items()}


class Answering(Protocol):
    """What the page needs of ``retro.answer.Answerer``."""

    @property
    def policy(self) -> AbstentionPolicy: ...

    @property
    def retriever(self) -> Retriever: ...

    def answer(self, question: str) -> Answer: ...


class View(NamedTuple):
    """What the page shows of one question; ``answer`` is what the slider decides on again."""

    answer: Answer | None
    verdict: str
    passages: str = ""
    details: str = ""


@dataclass(frozen=True)
class Desk:
    """Takes questions for one answerer. ``percent`` is where the slider stands, 0..100."""

    answerer: Answering

    @property
    def percent(self) -> int:
        """Where the slider starts: the stored threshold in whole per cent."""
        return round(100 * self.answerer.policy.threshold)

    def ask(self, question: str, percent: float) -> Iterator[View]:
        """First a word that the model reads, then its answer; a mistake or a bug as one line."""
        if not question.strip():
            yield View(None, render.notice(EMPTY))
            return
        yield View(None, render.pending(question))
        try:
            answer = self.answerer.answer(question.strip())
        except Exception as error:  # the page outlives whatever one question does to the model
            yield View(None, render.failure(_explain(error)))
            return
        yield View(answer, *self.decide(answer, percent), render.details(answer, _MEANINGS))

    def decide(self, answer: Answer, percent: float) -> tuple[str, str]:
        """Verdict and passages of the last answer under the slider's threshold."""
        policy = self._policy(percent)
        decided = redecide(answer, policy)
        if policy is not self.answerer.policy:  # nothing is promised of another threshold
            decided = replace(decided, promise=None, promise_void=False)
        return render.verdict(decided, policy.threshold), render.passages(decided)

    def ask_json(self, question: str) -> dict[str, Any]:
        """One answer in the JSON form of the contract; raises UserError on an empty question."""
        if not question.strip():
            raise UserError("question is empty: send some text")
        return self.answerer.answer(question.strip()).to_dict()

    def _policy(self, percent: float) -> AbstentionPolicy:
        """The stored policy, whose threshold is no whole per cent, where the slider starts."""
        policy = self.answerer.policy
        return policy if percent == self.percent else replace(policy, threshold=percent / 100)


def redecide(answer: Answer, policy: AbstentionPolicy) -> Answer:
    """The same answer under another policy: no model runs, its numbers stay as they are."""
    if not answer.candidate.strip():
        return answer
    decision = policy.decide(answer.confidence, answer.signals)
    text = None if decision.abstained else answer.candidate
    return replace(answer, answer=text, abstained=decision.abstained, reason=decision.reason)


def _explain(error: Exception) -> str:
    """The line for the page; a bug's traceback goes to the terminal."""
    if isinstance(error, UserError):
        return str(error)
    traceback.print_exception(error, file=sys.stderr)
    return f"Something went wrong while answering: {type(error).__name__}: {error}"
