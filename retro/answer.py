"""Answers questions from an index, or says why not: the one way through the whole system.

search → windows → draft → signals → confidence → policy → Answer. Knows each part by its
narrow interface; holds no arithmetic of its own.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from index.errors import UserError
from index.weights import file_sha256
from retro.certificate import FILE, Certificate
from retro.policy import AbstentionPolicy
from retro.signals import answer_signals, retrieval_signals
from retro.types import Answer, Evidence, Promise
from retro.uncertainty import ConfidenceHead

if TYPE_CHECKING:
    from index.retriever import Neighbours, Retriever
    from retro.drafting import Draft, Drafter

BATCH = 8
"""Questions that go through the model together."""

HEAD, POLICY = "head.json", "policy.json"

_LOG = logging.getLogger(__name__)


class Answerer:
    """An open index with a model, its confidence head and its abstention policy.

    ``checkpoint``: the folder that the model came from. ``certificate``: what is promised of the
    answers at its own threshold.
    """

    def __init__(
        self,
        retriever: Retriever,
        drafter: Drafter,
        head: ConfidenceHead | None,
        policy: AbstentionPolicy,
        checkpoint: Path | None = None,
    ) -> None:
        self.retriever, self.drafter = retriever, drafter
        self.head, self.policy = head, policy
        self.checkpoint = checkpoint
        self.certificate: Certificate | None = None

    @classmethod
    def open(
        cls,
        index: Path,
        checkpoint: Path | str | None = None,
        *,
        threshold: float | None = None,
        num_samples: int = 16,
        calibrated: bool = True,
    ) -> Answerer:
        """Opens an index folder and a checkpoint folder (default: the one shipped).

        The threshold is ``threshold``, else that of the index's certificate, else the
        checkpoint's. ``num_samples``: Monte-Carlo dropout samples. Not ``calibrated``: without the
        checkpoint's confidence head, to fit one; confidence is then the span posterior.

        Raises:
            UserError: either is missing, damaged or does not fit the other.
        """
        from index.chunks import tokenizer_fingerprint
        from index.retriever import Retriever
        from index.weights import load_tokenizer
        from retro.drafting import Drafter
        from retro.prompts import Prompter
        from retro.retrofit import DEFAULT_CHECKPOINT, load
        from retro.windows import Windower

        folder = DEFAULT_CHECKPOINT if checkpoint is None else Path(checkpoint)
        retriever = Retriever.open(index)
        model = load(folder)
        tokenizer = load_tokenizer(model.config.base_name)
        retriever.manifest.check_tokenizer(tokenizer_fingerprint(tokenizer), model.config.base_name)
        windower = Windower(load_tokenizer(model.config.encoder_name), tokenizer)
        prompter = Prompter(tokenizer, model.eos, model.config.chunk_size)
        head = ConfidenceHead.load(folder / HEAD) if calibrated else None
        policy = AbstentionPolicy.load(folder / POLICY) if calibrated else AbstentionPolicy()
        drafter = Drafter(model, windower, prompter, num_samples)
        opened = cls(retriever, drafter, head, policy, folder)
        if calibrated:
            opened.trust(Certificate.load(index), index)
        if threshold is not None:
            opened.policy = replace(policy, threshold=threshold)
        return opened

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the checkpoint's weights and head: another model, another fingerprint."""
        assert self.checkpoint is not None
        files = (self.checkpoint / name for name in ("model.safetensors", HEAD))
        return hashlib.sha256("".join(map(file_sha256, files)).encode()).hexdigest()

    def trust(self, certificate: Certificate | None, index: Path) -> None:
        """Answers from the certificate's threshold, if it is about this database and model."""
        if certificate is None:
            return
        found = (self.retriever.manifest.fingerprint, self.fingerprint)
        if certificate.holds_for(*found, self.drafter.num_samples):
            self.certificate = certificate
            self.policy = replace(self.policy, threshold=certificate.threshold)
            return
        _LOG.warning(
            "%s is void: the index, the model or --samples changed since; make it again with: "
            "retro certify",
            index / FILE,
        )

    def answer(self, question: str, *, k: int = 8, id: str | None = None) -> Answer:
        """One question's answer. Raises UserError if the question is empty."""
        return self.answer_batch([question], ids=[id], k=k)[0]

    def answer_batch(
        self,
        questions: Sequence[str],
        *,
        ids: Sequence[str | None] | None = None,
        k: int = 8,
        exclude: Sequence[Collection[str]] | None = None,
        neighbours: Sequence[Neighbours] | None = None,
    ) -> list[Answer]:
        """Answers in the order of the questions.

        ``exclude``: per question, ids of documents treated as absent. ``neighbours``: given
        instead of searched. Raises UserError if a question is empty.
        """
        for number, question in enumerate(questions):
            if not question.strip():
                raise UserError(f"question {number + 1} is empty; ask something")
        answers = []
        for start in range(0, len(questions), BATCH):
            part = slice(start, start + BATCH)
            answers += self._answer(
                questions[part],
                (ids or [None] * len(questions))[part],
                k,
                None if exclude is None else exclude[part],
                None if neighbours is None else neighbours[part],
            )
        return answers

    def _answer(
        self,
        questions: Sequence[str],
        ids: Sequence[str | None],
        k: int,
        exclude: Sequence[Collection[str]] | None,
        neighbours: Sequence[Neighbours] | None,
    ) -> list[Answer]:
        timing: dict[str, float] = {}
        with _timed(timing, "search"):
            found = neighbours or self.retriever.search_batch(list(questions), k, exclude)
        with _timed(timing, "draft"):
            drafts = self.drafts(questions, found)
        with _timed(timing, "decide"):
            decided = [
                replace(self._decide(*row), promise=self._promise(k))
                for row in zip(ids, questions, found, drafts, strict=True)
            ]
        shared = {name: value / len(questions) for name, value in timing.items()}
        return [replace(answer, timing_ms=dict(shared)) for answer in decided]

    def _promise(self, k: int) -> Promise | None:
        made = self.certificate
        if made is None or (made.k, made.threshold) != (k, self.policy.threshold):
            return None
        return Promise(made.risk, made.delta)

    def drafts(self, questions: Sequence[str], found: Sequence[Neighbours]) -> list[Draft | None]:
        """Drafts where there is a neighbour, None elsewhere."""
        held = [i for i, n in enumerate(found) if len(n)]
        texts = [found[i].texts for i in held]
        flat = self.drafter.windower.windows(
            [t for row in texts for t in row], [t for i in held for t in found[i].titles]
        )
        source = iter(flat)
        windows = [[next(source) for _ in row] for row in texts]
        out: list[Draft | None] = [None] * len(questions)
        if held:
            drafts = self.drafter.draft([questions[i] for i in held], windows, texts)
            for i, draft in zip(held, drafts, strict=True):
                out[i] = draft
        return out

    def _decide(
        self, id: str | None, question: str, found: Neighbours, draft: Draft | None
    ) -> Answer:
        if draft is None:
            return Answer(id, question, None, True, "out_of_scope", "", 0.0)
        signals = self.signals(question, found, draft)
        confidence = self.head.score(signals) if self.head else signals["span_probability"]
        if not draft.text:
            confidence = 0.0
        decision = self.policy.decide(confidence if draft.text else math.nan, signals)
        return Answer(
            id=id,
            question=question,
            answer=None if decision.abstained else draft.text,
            abstained=decision.abstained,
            reason=decision.reason,
            candidate=draft.text,
            confidence=confidence,
            evidence=evidence(found, draft),
            signals=signals,
        )

    def signals(self, question: str, found: Neighbours, draft: Draft) -> dict[str, float]:
        """Everything that is known about one draft, by name."""
        idf = self.retriever.idf
        source = draft.source if draft.source >= 0 else None
        own = self.retriever.manifest.own_distances
        return {
            **retrieval_signals(question, found, idf, own),
            **answer_signals(question, draft.text, found, idf, source),
            **draft.signals,
        }


def evidence(found: Neighbours, draft: Draft) -> tuple[Evidence, ...]:
    """The neighbours, those likeliest to hold the answer first, with the answer's place."""
    order = sorted(range(len(found)), key=lambda i: (i != draft.source, -draft.scores[i]))
    out = []
    for i in order:
        window_start, span = int(found.starts[i]), draft.spans[i]
        start, end = span or (0, len(found.texts[i]))
        out.append(
            Evidence(
                doc_id=found.doc_ids[i],
                title=found.titles[i],
                text=found.texts[i],
                start=window_start + start,
                end=window_start + end,
                distance=round(float(found.distances[i]), 6),
                score=round(draft.scores[i], 6),
                window_start=window_start,
                highlighted=span is not None,
            )
        )
    return tuple(out)


@contextmanager
def _timed(timing: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timing[stage] = (time.perf_counter() - start) * 1000
