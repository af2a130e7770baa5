"""Answers questions from an index, or says why not: the one way through the whole system.

wording → search → rank → windows → draft → signals → confidence → policy → Answer; and once more
where a question needs two facts (``retro.chaining``). Knows each part by its narrow interface;
holds no arithmetic of its own.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.errors import UserError
from index.weights import file_sha256
from index.where import EVERYWHERE, Where
from retro.certificate import FILE, Certificate
from retro.chaining import READ_FOR_BRIDGES, Bridge, best_bridge, first_hop, second_hop
from retro.conflict import dispute_sides, dispute_signals, find_dispute
from retro.drift import Monitor, watched
from retro.own_head import FOLDER, OwnHead
from retro.policy import AbstentionPolicy
from retro.ranking import Ranker
from retro.shipped import DEFAULT_CHECKPOINT, NUM_SAMPLES, ranker_of
from retro.signals import (
    SCOPE,
    SEARCHED,
    answer_signals,
    retrieval_signals,
)
from retro.types import Answer, Evidence, Hop, Promise, Reading
from retro.uncertainty import ConfidenceHead
from retro.wording import as_question

if TYPE_CHECKING:
    from index.retriever import Neighbours, Retriever
    from retro.drafting import Draft, Drafter
    from retro.windows import Window

BATCH = 8
"""Questions that go through the model together."""

HEAD, POLICY = "head.json", "policy.json"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chosen:
    """The first neighbours of one question, which are read: of each its window, its text and what
    search says of it: its score minus the best one's, at most 0."""

    windows: Sequence[Window]
    texts: Sequence[str]
    priors: Sequence[float]


class Answerer:
    """An open index with a model, its confidence head and its abstention policy.

    ``checkpoint``: the folder that the model came from; ``fitted``: the one that head and policy
    came from (the index's own, or the checkpoint). ``num_read``: how many of the neighbours found
    are read (default: as the model's configuration says). ``ranker``: which ones these are
    (default: by the ranker that is shipped). ``certificate``: what is promised of the
    answers at its own threshold.
    """

    def __init__(
        self,
        retriever: Retriever,
        drafter: Drafter,
        head: ConfidenceHead | None,
        policy: AbstentionPolicy,
        checkpoint: Path | None = None,
        fitted: Path | None = None,
        num_read: int | None = None,
        ranker: Ranker | None = None,
    ) -> None:
        self.retriever, self.drafter = retriever, drafter
        self.ranker = ranker or Ranker.load(ranker_of(DEFAULT_CHECKPOINT))
        self.num_read = drafter.model.config.num_read if num_read is None else num_read
        self.head, self.policy = head, policy
        self.checkpoint, self.fitted = checkpoint, fitted
        self.certificate: Certificate | None = None
        self.monitor: Monitor | None = None

    @classmethod
    def open(
        cls,
        index: Path,
        checkpoint: Path | str | None = None,
        *,
        threshold: float | None = None,
        num_samples: int = NUM_SAMPLES,
        calibrated: bool = True,
        where: Where = EVERYWHERE,
    ) -> Answerer:
        """Opens an index folder and a checkpoint folder (default: the one shipped).

        Head and policy are the index's own (``retro.own_head``), else the checkpoint's. The
        threshold is ``threshold``, else that of the index's certificate, else the policy's.
        ``num_samples``: Monte-Carlo dropout samples. Not ``calibrated``: without a confidence
        head, to fit one; confidence is then the span posterior. ``where``: only documents that it
        allows are found; of such a part of the database nothing is certified.

        Raises:
            UserError: either is missing, damaged or does not fit the other.
        """
        from index.chunks import tokenizer_fingerprint
        from index.devices import fast_integers
        from index.retriever import Retriever
        from retro.drafting import Drafter
        from retro.prompts import Prompter
        from retro.retrofit import load, load_windower

        folder = DEFAULT_CHECKPOINT if checkpoint is None else Path(checkpoint)
        retriever = Retriever.open(index, where=where)
        model = load(folder)
        model.fold()
        if integers := fast_integers(model.device):
            model.in_eight_bits(integers)
        windower = load_windower(model.config.encoder_name, model.config.base_name)
        tokenizer = windower.decoder
        retriever.manifest.check_tokenizer(tokenizer_fingerprint(tokenizer), model.config.base_name)
        prompter = Prompter(tokenizer, model.eos, model.config.chunk_size)
        fitted = _fitted(index, folder, retriever.manifest.fingerprint) if calibrated else folder
        head = ConfidenceHead.load(fitted / HEAD) if calibrated else None
        policy = AbstentionPolicy.load(fitted / POLICY) if calibrated else AbstentionPolicy()
        drafter = Drafter(model, windower, prompter, num_samples)
        ranker = Ranker.load(ranker_of(folder))
        opened = cls(retriever, drafter, head, policy, folder, fitted, ranker=ranker)
        if calibrated and not where:
            opened.trust(Certificate.load(index), index)
        if threshold is not None:
            opened.policy = replace(policy, threshold=threshold)
        return opened

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all that a confidence comes from: the model, the head in use, and which
        questions are asked again."""
        assert self.checkpoint is not None
        assert self.fitted is not None
        parts = model_sha256(self.checkpoint) + file_sha256(self.fitted / HEAD)
        if self.policy.chain_below:
            parts += f"{self.policy.chain_below:g}"
        return hashlib.sha256(parts.encode()).hexdigest()

    def trust(self, certificate: Certificate | None, index: Path) -> None:
        """Answers from the certificate's threshold, if it is about this database and model."""
        if certificate is None:
            return
        found = (self.retriever.manifest.fingerprint, self.fingerprint)
        if certificate.holds_for(*found, self.drafter.num_samples):
            self.certificate = certificate
            self.monitor = Monitor(certificate.calibration) if certificate.calibration else None
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
        candidates: Sequence[str] | None = None,
    ) -> list[Answer]:
        """Answers in the order of the questions.

        ``exclude``: per question, ids of documents treated as absent. ``neighbours``: given
        instead of searched. ``candidates``: answers from elsewhere, judged as if they had been
        written here; nothing is promised of them. Raises UserError if a question or a candidate is
        empty.
        """
        for number, question in enumerate(questions):
            if not question.strip():
                raise UserError(f"question {number + 1} is empty; ask something")
        for number, candidate in enumerate(candidates or ()):
            if not candidate.strip():
                raise UserError(f"candidate {number + 1} is empty; give an answer to judge")
        read = [as_question(question) for question in questions]
        answers = []
        for start in range(0, len(questions), BATCH):
            part = slice(start, start + BATCH)
            answers += self._answer(
                read[part],
                (ids or [None] * len(questions))[part],
                k,
                None if exclude is None else exclude[part],
                None if neighbours is None else neighbours[part],
                None if candidates is None else candidates[part],
            )
        return [
            replace(answer, question=typed, read_as=asked if asked != typed else "")
            for answer, asked, typed in zip(answers, read, questions, strict=True)
        ]

    def _answer(
        self,
        questions: Sequence[str],
        ids: Sequence[str | None],
        k: int,
        exclude: Sequence[Collection[str]] | None,
        neighbours: Sequence[Neighbours] | None,
        candidates: Sequence[str] | None,
    ) -> list[Answer]:
        timing: dict[str, float] = {}
        with _timed(timing, "search"):
            found = neighbours or self.find(questions, k, exclude)
        with _timed(timing, "draft"):
            drafts = self.drafts(questions, found, candidates)
        with _timed(timing, "decide"):
            decided = [
                self._decide(*row) for row in zip(ids, questions, found, drafts, strict=True)
            ]
        if self.policy.chain_below and neighbours is None and candidates is None:
            with _timed(timing, "chain"):
                decided = self._chained(decided, found, k, exclude)
        if exclude is None and neighbours is None and candidates is None:  # else others answer
            decided = [self._promised(answer, k) for answer in decided]
        shared = {name: value / len(questions) for name, value in timing.items()}
        return [replace(answer, timing_ms=dict(shared)) for answer in decided]

    def _chained(
        self,
        answers: Sequence[Answer],
        found: Sequence[Neighbours],
        k: int,
        exclude: Sequence[Collection[str]] | None,
    ) -> list[Answer]:
        """The answers, and where a question's own neighbours leave it open that of a second search
        through a bridge, if one is found and its answer leaves nothing open: to have looked twice
        is no evidence.

        Which are open does not depend on the threshold in force: nor does any confidence.
        """
        out = list(answers)
        open_ = [
            i
            for i, answer in enumerate(out)
            if len(found[i]) and self.policy.asks_on(answer.confidence, answer.signals)
        ]
        if not open_:
            return out
        bridges = self._bridges([out[i].question for i in open_], [found[i] for i in open_])
        kept = [(i, bridge) for i, bridge in zip(open_, bridges, strict=True) if bridge]
        if not kept:
            return out
        asked = [second_hop(out[i].question, bridge.name) for i, bridge in kept]
        absent = None if exclude is None else [exclude[i] for i, _ in kept]
        further = self.find(asked, k, absent)
        drafts = self.drafts(asked, further)
        for (i, bridge), question, neighbours, draft in zip(
            kept, asked, further, drafts, strict=True
        ):
            first, hop = out[i], _hop(bridge, found[i])
            last = self._decide(first.id, question, neighbours, draft, bridge.probability)
            surer = last if last.confidence >= self.policy.chain_below else first
            out[i] = replace(
                surer, question=first.question, suggestion=first.suggestion, hops=(hop,)
            )
        return out

    def _bridges(
        self, questions: Sequence[str], found: Sequence[Neighbours]
    ) -> list[Bridge | None]:
        """The likeliest bridge of each question, read in the first of its neighbours."""
        windows = self.windows_of(found, [READ_FOR_BRIDGES] * len(found))
        readings = self.drafter.read([first_hop(q) for q in questions], windows)
        return [
            best_bridge(question, neighbours.texts[:READ_FOR_BRIDGES], read)
            for question, neighbours, read in zip(questions, found, readings, strict=True)
        ]

    def _promised(self, answer: Answer, k: int) -> Answer:
        """The answer with what is certified of it, as long as questions are like those before."""
        made = self.certificate
        if made is None or (made.k, made.threshold) != (k, self.policy.threshold):
            return answer
        if self.monitor and self.monitor.see(watched(answer.signals, answer.confidence)):
            return replace(answer, promise_void=True)
        return replace(answer, promise=Promise(made.risk, made.delta))

    def drafts(
        self,
        questions: Sequence[str],
        found: Sequence[Neighbours],
        candidates: Sequence[str] | None = None,
    ) -> list[Draft | None]:
        """Drafts where there is a neighbour, None elsewhere; ``candidates`` as above."""
        held = [i for i, n in enumerate(found) if len(n)]
        some = [found[i] for i in held]
        out: list[Draft | None] = [None] * len(questions)
        if held:
            asked = [questions[i] for i in held]
            given = None if candidates is None else [candidates[i] for i in held]
            chosen = self.chosen(some)
            drafts = self.drafter.draft(
                asked,
                [c.windows for c in chosen],
                [c.texts for c in chosen],
                given,
                [c.priors for c in chosen],
            )
            for i, draft in zip(held, drafts, strict=True):
                out[i] = draft.among(len(found[i]))
        return out

    def find(
        self,
        questions: Sequence[str],
        k: int = 8,
        exclude: Sequence[Collection[str]] | None = None,
    ) -> list[Neighbours]:
        """The ``k`` neighbours of each question that likeliest hold its answer, best first, of the
        ``DEPTH`` that search finds (``retro.ranking``); ``exclude`` as in ``answer_batch``."""
        return self.ranker.find(self.retriever, list(questions), k, exclude)

    def find_in(self, doc_id: str, question: str) -> Neighbours:
        """All windows of one document as the neighbours of a question, best first.

        Raises:
            KeyError: the index has no such document.
        """
        found = self.retriever.document_neighbours(doc_id, question)
        return self.ranker.rank(question, found, self.retriever.vocabulary().idf)

    def chosen(self, found: Sequence[Neighbours]) -> list[Chosen]:
        """Of each question's neighbours, best first, those that are read: the first ``num_read``.
        Those that were not searched for, a document that somebody chose, are all read."""
        counts = [min(len(n), self.num_read) if n.searched else len(n) for n in found]
        windows = self.windows_of(found, counts)
        return [
            Chosen(read, n.texts[:count], (n.scores - n.scores.max())[:count].tolist())
            for count, read, n in zip(counts, windows, found, strict=True)
        ]

    def windows_of(self, found: Sequence[Neighbours], counts: Sequence[int]) -> list[list[Window]]:
        """Of each question's neighbours the first ``counts``, as the reader takes them, tokenised
        together."""
        both = list(zip(found, counts, strict=True))
        flat = self.drafter.windower.windows(
            [text for n, count in both for text in n.texts[:count]],
            [title for n, count in both for title in n.titles[:count]],
        )
        source = iter(flat)
        return [list(islice(source, len(n.texts[:count]))) for n, count in both]

    def _decide(
        self,
        id: str | None,
        question: str,
        found: Neighbours,
        draft: Draft | None,
        premise: float = 1.0,
    ) -> Answer:
        """``premise``: the probability of what the question takes for granted."""
        is_word, absent = self.drafter.windower.is_word, found.absent
        spelling = self.retriever.spelling(question, is_word, absent)
        told: dict[str, Any] = {"suggestion": spelling.respelt, "unheard": spelling.unheard}
        if draft is None:
            return Answer(id, question, None, True, "out_of_scope", "", 0.0, **told)
        dispute = find_dispute(question, draft, found, self.retriever.vocabulary(absent).idf)
        signals = self.signals(question, found, draft) | dispute_signals(dispute)
        signals["unheard"] = float(bool(spelling.unheard))
        confidence = premise * self.confidence(signals, found.searched) if draft.text else 0.0
        decision = self.policy.decide(confidence if draft.text else math.nan, signals)
        sides = dispute.sides if dispute and decision.reason == "conflicting" else {}
        return Answer(
            id=id,
            question=question,
            answer=None if decision.abstained else draft.text,
            abstained=decision.abstained,
            reason=decision.reason,
            candidate=draft.text,
            confidence=confidence,
            evidence=evidence(found, draft, sides),
            signals=signals,
            sides=dispute_sides(dispute, found),
            **told,
        )

    def confidence(self, signals: Mapping[str, float], searched: bool = True) -> float:
        """The head's, which has met the reader's own answers alone: another one has as much of it
        as the reader gives it beside its own (``backing``). It is shared with the rival where there
        is a dispute: of two answers that exclude each other, ours is right with own / (own + rival)
        of the probability; and so it is with a passage whose heading the question names, and with
        what could be meant by a name that stands in no document. Where
        nothing was ``searched``, what tells of a search counts as unknown, and in a database of one
        document how far its texts are from each other."""
        unknown = dict.fromkeys(SEARCHED, math.nan)
        known = {SCOPE: math.nan, **signals} if searched else {**signals, **unknown}
        rivals = sum(signals[name] for name in ("dispute", "misnamed", "unheard"))
        if self.head is None:
            return signals["span_probability"] / (1.0 + rivals)
        return self.head.score(known) * signals["backing"] / (1.0 + rivals)

    def signals(self, question: str, found: Neighbours, draft: Draft) -> dict[str, float]:
        """Everything that is known about one draft, by name."""
        idf = self.retriever.vocabulary(found.absent).idf
        source = draft.source if draft.source >= 0 else None
        own = self.retriever.manifest.own_distances
        return {
            **retrieval_signals(question, found, idf, own),
            **answer_signals(question, draft.text, found, idf, source),
            **draft.signals,
        }


def model_sha256(checkpoint: Path) -> str:
    """SHA-256 over a checkpoint's weights and configuration, and the ranker of what it reads."""
    files = (checkpoint / "model.safetensors", checkpoint / "config.json", ranker_of(checkpoint))
    return hashlib.sha256("".join(map(file_sha256, files)).encode()).hexdigest()


def _fitted(index: Path, checkpoint: Path, fingerprint: str) -> Path:
    """The folder of the confidence head: the index's own, if it has one that is about both."""
    own = OwnHead.load(index)
    if own is None:
        return checkpoint
    if own.fits(fingerprint, model_sha256(checkpoint)):
        return index / FOLDER
    _LOG.warning(
        "%s is void: the index or the model changed since; make it again with: "
        "retro train head --index %s",
        index / FOLDER,
        index,
    )
    return checkpoint


def _hop(bridge: Bridge, found: Neighbours) -> Hop:
    """The bridge with its place in the document it was read in."""
    i, begin = bridge.source, int(found.starts[bridge.source])
    place = (begin + bridge.start, begin + bridge.end)
    return Hop(bridge.name, found.doc_ids[i], found.titles[i], *place, round(bridge.probability, 6))


def evidence(found: Neighbours, draft: Draft, sides: Mapping[int, Reading]) -> tuple[Evidence, ...]:
    """The neighbours, those likeliest to hold the answer first, with the answer's place; before
    them the two ``sides`` of a dispute, each with the place of its own answer.

    Windows of one document overlap; two with the answer at the same place are shown as one, with
    the scores of both.
    """
    spans = dict(enumerate(draft.spans)) | {k: (said.start, said.end) for k, said in sides.items()}
    first = list(sides) or [draft.source] * (draft.source >= 0)
    shown: dict[tuple[str, int, int, bool], Evidence] = {}
    others = (i for i in range(len(found)) if i not in first)
    for i in (*first, *sorted(others, key=lambda i: -draft.scores[i])):
        item = _evidence(found, i, spans[i], draft.scores[i])
        place = (item.doc_id, item.start, item.end, item.highlighted)
        if (same := shown.get(place)) is not None:
            item = replace(same, score=round(same.score + item.score, 6))
        shown[place] = item
    items = list(shown.values())
    kept = len(first)  # these stay where they are
    return (*items[:kept], *sorted(items[kept:], key=lambda e: -e.score))


def _evidence(found: Neighbours, i: int, span: tuple[int, int] | None, score: float) -> Evidence:
    window_start = int(found.starts[i])
    start, end = span or (0, len(found.texts[i]))
    return Evidence(
        doc_id=found.doc_ids[i],
        title=found.titles[i],
        text=found.texts[i],
        start=window_start + start,
        end=window_start + end,
        distance=round(float(found.distances[i]), 6),
        score=round(score, 6),
        window_start=window_start,
        highlighted=span is not None,
        trust=found.trusts[i],
        page=found.page_of(i, window_start + start),
    )


@contextmanager
def _timed(timing: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timing[stage] = (time.perf_counter() - start) * 1000
