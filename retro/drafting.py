"""Drafts answers: encodes the neighbours, writes the likeliest answer and says how sure it was.

Knows the model and tensors of one batch of questions; knows no index and no policy.

Axes: B questions, K neighbours, N = K * R neighbour tokens, T answer tokens, P dropout samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from retro.conflict import agree
from retro.context import NeighbourContext
from retro.model import AnswerScores, RetroForCausalLM
from retro.prompts import Prompter
from retro.reader import SpanPosterior
from retro.sampling import Dropout, Sampler, first_dropped
from retro.shipped import NUM_SAMPLES
from retro.text import one_line
from retro.types import Reading
from retro.windows import Rows, Window, Windower

DROPOUT_NEIGHBOURS = 2
"""Neighbours that are read again under dropout: those most likely to hold the answer."""

LIKELIEST_SPANS = 16
"""Spans among which those that say the same as an answer are looked for."""


@dataclass(frozen=True)
class Draft:
    """The likeliest answer to one question before anybody decides whether to give it.

    ``text`` is the evidence's own wording, on one line, where the answer stands in a neighbour;
    ``source`` is that neighbour, -1 if there is none. ``spans``: for each neighbour the characters
    of the answer in its text, or None. ``scores``: for each neighbour the probability that the
    answer stands there. ``readings``: what each neighbour would answer were it the only one.
    ``signals``: what the model can say, by name (``retro.signals``).
    """

    text: str
    source: int
    spans: tuple[tuple[int, int] | None, ...]
    scores: tuple[float, ...]
    signals: dict[str, float]
    readings: tuple[Reading, ...] = ()

    def among(self, num: int) -> Draft:
        """The same draft with its neighbours the first among ``num``, of which the others were not
        read: in these no answer stands."""
        unread = num - len(self.scores)
        return replace(
            self,
            spans=self.spans + (None,) * unread,
            scores=self.scores + (0.0,) * unread,
            readings=self.readings + (Reading(0, 0, 0.0),) * unread,
        )


@dataclass(frozen=True)
class _Written:
    """Answers of a batch: ``tokens`` [B, T] padded by -1; of their greedy generation the mean
    next-token entropy and the first token's margin, [B]."""

    tokens: Tensor
    entropy: Tensor
    margin: Tensor


class Drafter:
    """Answers batches of questions from their neighbours' windows."""

    def __init__(
        self,
        model: RetroForCausalLM,
        windower: Windower,
        prompter: Prompter,
        num_samples: int = NUM_SAMPLES,
        seed: int = 0,
    ) -> None:
        self.model, self.windower, self.prompter = model, windower, prompter
        self.num_samples, self.seed = num_samples, seed
        self.sampler: Sampler = Dropout(model)

    @torch.no_grad()
    def draft(
        self,
        questions: Sequence[str],
        windows: Sequence[Sequence[Window]],
        texts: Sequence[Sequence[str]],
        candidates: Sequence[str] | None = None,
        priors: Sequence[Sequence[float]] | None = None,
    ) -> list[Draft]:
        """One draft a question; every question needs at least one window.

        ``texts``: the windows' own texts. ``candidates``: answers to judge instead of writing some;
        a likely span that says the same speaks for one, in the passage's wording.
        ``priors``: what search says of each window (``retro.answer.Chosen``).
        """
        rows = self._rows(questions, windows, priors)
        encoder, top = self.model.encoder, first_dropped(self.model)
        x = encoder.embed(rows.ids, rows.segments)
        below = encoder.run_by_length(x, rows.mask, last=top)
        states = encoder.run_by_length(below, rows.mask, first=top)
        context = self.model.read_states(rows, states)
        assert context.spans is not None
        likely = [
            _likeliest(context.spans, b, *pair)
            for b, pair in enumerate(zip(windows, texts, strict=True))
        ]
        if candidates is not None:
            candidates = [_worded(*pair) for pair in zip(candidates, likely, strict=True)]
        written, signals = self._write(questions, context, candidates)
        answer = written.tokens
        alone = context.spans.alone()
        out = []
        for b, question in enumerate(questions):
            own = _Own.of(context, answer, b)
            sampled = self._sampled(question, own, below, rows, b)
            found = {name: float(values[b]) for name, values in signals.items()}
            text, source, spans = self._locate(own, windows[b], texts[b])
            if candidates is not None and source < 0:
                text = candidates[b]
            backing = _backing(text, own.probability, likely[b])
            out.append(
                Draft(
                    text=text,
                    source=source,
                    spans=spans,
                    scores=tuple(own.neighbour_mass()[: len(windows[b])].tolist()),
                    signals={**found, **own.signals(), "backing": backing, **sampled},
                    readings=_readings(alone, b, windows[b]),
                )
            )
        return out

    @torch.no_grad()
    def read(
        self, questions: Sequence[str], windows: Sequence[Sequence[Window]]
    ) -> list[tuple[Reading, ...]]:
        """What each window, judged alone, answers to its question; nothing is written.
        Every question needs at least one window."""
        context = self.context(questions, windows)
        assert context.spans is not None
        alone = context.spans.alone()
        return [_readings(alone, b, row) for b, row in enumerate(windows)]

    @torch.no_grad()
    def context(
        self,
        questions: Sequence[str],
        windows: Sequence[Sequence[Window]],
        priors: Sequence[Sequence[float]] | None = None,
    ) -> NeighbourContext:
        """The windows encoded and read, before anything is written; arguments as of ``draft``."""
        return self.model.read(self._rows(questions, windows, priors))

    def _rows(
        self,
        questions: Sequence[str],
        windows: Sequence[Sequence[Window]],
        priors: Sequence[Sequence[float]] | None,
    ) -> Rows:
        queries = [self.windower.question(q) for q in questions]
        weight = self.model.config.prior_weight
        known = priors and [[weight * value for value in row] for row in priors]
        return self.windower.rows(queries, windows, known).to(self.model.device)

    def _write(
        self,
        questions: Sequence[str],
        context: NeighbourContext,
        candidates: Sequence[str] | None = None,
    ) -> tuple[_Written, dict[str, Tensor]]:
        """Answers, and what their generation says of them.

        Token by token, the greedy answer can stray from the likeliest one ("The", because many
        spans begin with it); so the likeliest copied string is scored too, and the better of the
        two under the mixture is the answer.
        """
        device = self.model.device
        passages = context.likeliest(self.model.config.context_neighbours)
        ids, mask, context.first = self.prompter.prompts(questions, passages)
        ids, mask, context.prompt_len = ids.to(device), mask.to(device), ids.shape[1]
        assert context.copy is not None
        copied = _with_end(context.copy.likeliest(), self.model.eos)
        on = self.model.score(ids, mask, copied, context, following=True)
        written = self._greedy(ids, mask, context, copied, on)
        if candidates is None:
            ended, on = self._better(ids, mask, context, written.tokens, copied, on)
        else:
            ended = self._spelled(candidates).to(device)
            on = self.model.score(ids, mask, ended, context)
        if passages is not None:  # without neighbours there is none in the context either
            ids, mask = (t.to(device) for t in self.prompter.prompts(questions)[:2])
        off = self.model.score(ids, mask, ended, None)
        count = on.mask.sum(1).clamp(min=1)
        tokens = ended.masked_fill(ended == self.model.eos, -1)
        return _Written(tokens, written.entropy, written.margin), {
            "answer_log_probability": on.mixed.sum(1) / count,
            "decoder_log_probability": on.decoder.sum(1) / count,
            "evidence_pmi": (on.mixed - off.mixed).sum(1) / count,
            "copy_mass": on.gate.sum(1) / count,
            "answer_entropy": written.entropy,
            "answer_margin": written.margin,
        }

    def _spelled(self, candidates: Sequence[str]) -> Tensor:
        """Answers as the decoder would write them, behind a blank, at most as long as it may:
        [B, T + 1]."""
        spelled = self.prompter.tokenizer([f" {c.strip()}" for c in candidates])["input_ids"]
        return self.prompter.answers([t[: self.model.config.max_span] for t in spelled])

    def _better(
        self,
        ids: Tensor,
        mask: Tensor,
        context: NeighbourContext,
        greedy: Tensor,
        copied: Tensor,
        on: AnswerScores,
    ) -> tuple[Tensor, AnswerScores]:
        """Of the greedy answers [B, T] and the likeliest copied strings, with their scores ``on``,
        those that the mixture prefers, ended by ``eos``, and their scores. An empty answer is
        never preferred."""
        eos = self.model.eos
        written, copied = _same_width(_with_end(greedy, eos), copied)
        on = _widened(on, written.shape[1])
        differ = (written != copied).any(1).nonzero()[:, 0]
        if not len(differ):
            return copied, on
        part = self.model.score(ids[differ], mask[differ], written[differ], context.select(differ))
        wins = (part.mixed.sum(1) >= on.mixed[differ].sum(1)) & (written[differ, 0] != eos)
        wins |= copied[differ, 0] == eos
        won = differ[wins]
        copied[won] = written[won]
        for name in _PER_TOKEN:
            getattr(on, name)[won] = getattr(part, name)[wins]
        return copied, on

    def _greedy(
        self,
        ids: Tensor,
        mask: Tensor,
        context: NeighbourContext,
        copied: Tensor,
        on: AnswerScores,
    ) -> _Written:
        """What greedy generation writes. Where each token of the likeliest copied string is the
        likeliest next one, it is that string: known from one pass instead of one a token
        (speculative decoding, Leviathan et al. 2023, with the span posterior as the draft)."""
        assert on.following is not None
        agree = ((on.following.argmax(-1) == copied) | ~on.mask).all(1)
        tokens = copied.masked_fill(copied == self.model.eos, -1)
        known = _Written(tokens, *_certainty(on.following, tokens < 0))
        if agree.all():
            return known
        rows = (~agree).nonzero()[:, 0]
        part = self._generate(ids[rows], mask[rows], context.select(rows))
        tokens, others = _same_width(known.tokens, part.tokens)
        tokens[rows], known.entropy[rows], known.margin[rows] = others, part.entropy, part.margin
        return _Written(tokens, known.entropy, known.margin)

    def _generate(self, ids: Tensor, mask: Tensor, context: NeighbourContext) -> _Written:
        model: Any = self.model
        out = model.generate(
            ids,
            attention_mask=mask,
            neighbours=context,
            max_new_tokens=self.model.config.max_span,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
            pad_token_id=self.model.eos,
        )
        tokens = out.sequences[:, ids.shape[1] :]
        done = (tokens == self.model.eos).cumsum(1) > 0
        log_p = torch.stack(out.logits, 1).float()
        return _Written(tokens.masked_fill(done, -1), *_certainty(log_p, done))

    def _locate(
        self, own: _Own, windows: Sequence[Window], texts: Sequence[str]
    ) -> tuple[str, int, tuple[tuple[int, int] | None, ...]]:
        """The answer's text, the neighbour it comes from, and where it stands in each."""
        length = len(own.answer)
        spans: list[tuple[int, int] | None] = []
        masses = []
        for number, window in enumerate(windows):
            mass = own.complete[number]
            start = int(mass.argmax())
            masses.append(float(mass[start]))
            if masses[-1] <= 0:
                spans.append(None)
                continue
            spans.append((int(window.starts[start]), int(window.ends[start + length - 1])))
        source = max(range(len(masses)), key=masses.__getitem__)
        span = spans[source]
        if span is None:
            text = self.prompter.tokenizer.decode(own.answer.tolist(), skip_special_tokens=True)
            return text.strip(), -1, tuple(spans)
        return one_line(texts[source][span[0] : span[1]]), source, tuple(spans)

    def _sampled(
        self, question: str, own: _Own, below: Tensor, rows: Rows, b: int
    ) -> dict[str, float]:
        """What samples of the reader (``retro.sampling``) say of the answer."""
        if not self.num_samples:
            return {}
        mass = own.neighbour_mass()[: own.count]
        kept = mass.topk(min(DROPOUT_NEIGHBOURS, own.count)).indices
        index = rows.place[b, 0, kept]
        size = int(rows.mask[index].sum(1).max())
        part = _part(rows, index, size)
        generator = _generator(self.seed, question)
        spans = self.sampler.draw(below[index, :size], part, self.num_samples, generator)
        return _spread(spans, own.answer, own.context_tokens(kept), own.heads(kept))


@dataclass(frozen=True)
class _Own:
    """What belongs to one question of the batch. Axes: K, R, W as in ``retro.reader``."""

    answer: Tensor  # [T]
    spans: Tensor  # [K, R, W] probabilities, "none" included in their normalisation
    null: float
    complete: Tensor  # [K, R] mass of spans that are exactly the answer, given an answer
    tokens: Tensor  # [K, R]
    first_tokens: Tensor  # [K, R]
    relevance: Tensor  # [K]
    count: int

    @classmethod
    def of(cls, context: NeighbourContext, answers: Tensor, b: int) -> _Own:
        spans, copy = context.spans, context.copy
        assert spans is not None
        assert copy is not None
        places = context.rows.place[b, 0]
        shape = (places.shape[0], -1)
        answer = answers[b][answers[b] >= 0]
        one = context.select(torch.tensor([b], device=answers.device))
        assert one.copy is not None
        return cls(
            answer=answer,
            spans=spans.log_spans[b].exp().unflatten(0, shape),
            null=float(spans.log_null[b].exp()),
            complete=one.copy.complete(answer[None])[0].view(shape),
            tokens=spans.tokens[b].view(shape),
            first_tokens=copy.heads[b].view(shape),
            relevance=spans.relevance[b],
            count=int((places >= 0).sum()),
        )

    def neighbour_mass(self) -> Tensor:
        """[K]: probability that the answer, whatever it is, stands in neighbour k."""
        return self.spans.flatten(1).sum(1)

    def context_tokens(self, kept: Tensor) -> Tensor:
        """[len(kept) * R] tokens of some neighbours."""
        return self.tokens[kept].flatten()

    def heads(self, kept: Tensor) -> Tensor:
        """The same as first tokens."""
        return self.first_tokens[kept].flatten()

    @property
    def probability(self) -> float:
        """That the answer is right: its mentions added up."""
        return float(self.complete.sum()) * (1 - self.null)

    def signals(self) -> dict[str, float]:
        """What the span posterior says."""
        p = self.spans.flatten()
        best = self.relevance[: self.count].sort(descending=True).values
        second = best[1] if self.count > 1 else best[0]
        log_p = p.clamp(min=1e-12).log()
        log_null = torch.tensor(max(self.null, 1e-12)).log()
        return {
            "null_probability": self.null,
            "span_probability": self.probability,
            "span_agreement": float(self.complete.sum()),
            "span_entropy": float(-(p * log_p).sum() - self.null * log_null),
            "relevance_top": float(best[0]),
            "relevance_gap": float(best[0] - second),
            "num_agreeing": float((self.complete.sum(1) > 0.01).sum()),
        }


def _likeliest(
    spans: SpanPosterior, b: int, windows: Sequence[Window], texts: Sequence[str]
) -> list[tuple[str, float]]:
    """Question b's likeliest spans, their texts and probabilities, likeliest first, none
    impossible."""
    p = spans.log_spans[b].exp().unflatten(0, (spans.num_neighbours, -1))
    size, width = p.shape[1:]
    top = p.flatten().topk(min(LIKELIEST_SPANS, p.numel()))
    out = []
    for probability, index in zip(top.values.tolist(), top.indices.tolist(), strict=True):
        if probability > 0:
            k, (first, extra) = index // (size * width), divmod(index % (size * width), width)
            window = windows[k]
            said = one_line(texts[k][window.starts[first] : window.ends[first + extra]])
            out.append((said, probability))
    return out


def _worded(candidate: str, likeliest: Sequence[tuple[str, float]]) -> str:
    """The likeliest span that says the same, else the candidate itself."""
    candidate = candidate.strip()
    return next((said for said, _ in likeliest if agree(said, candidate)), candidate)


def _backing(answer: str, probability: float, likeliest: Sequence[tuple[str, float]]) -> float:
    """Probability of what says the same as the answer (``retro.conflict.agree``), by that of what
    says the same as the likeliest span; at most 1. Where no span is possible nothing is likelier.

    ``probability``: of the answer word for word, which may be among the likeliest spans or not.
    """

    def of(text: str) -> float:
        return sum(p for other, p in likeliest if agree(other, text))

    if not likeliest:
        return 1.0
    return min(1.0, max(of(answer), probability) / of(likeliest[0][0]))


def _readings(
    alone: tuple[Tensor, Tensor, Tensor], b: int, windows: Sequence[Window]
) -> tuple[Reading, ...]:
    """Question b's part of ``SpanPosterior.alone``, in characters; an empty window says nothing."""
    probability, first, last = (values[b].tolist() for values in alone)
    return tuple(
        Reading(int(w.starts[first[k]]), int(w.ends[last[k]]), probability[k])
        if len(w.tokens)
        else Reading(0, 0, 0.0)
        for k, w in enumerate(windows)
    )


def _same_width(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two [B, T] padded by -1 to the longer T."""
    width = max(first.shape[1], second.shape[1])
    a, b = (F.pad(t, (0, width - t.shape[1]), value=-1) for t in (first, second))
    return a, b


_PER_TOKEN = ("mixed", "decoder", "copied", "gate", "mask")


def _widened(scores: AnswerScores, width: int) -> AnswerScores:
    """The scores of given tokens, padded to ``width``."""
    values = (getattr(scores, name) for name in _PER_TOKEN)
    return AnswerScores(*(F.pad(t, (0, width - t.shape[1])) for t in values))


def _certainty(logits: Tensor, done: Tensor) -> tuple[Tensor, Tensor]:
    """Mean next-token entropy before ``done`` [B, T] and the first token's margin, [B], of
    logits [B, T, V]."""
    log_p = logits.log_softmax(-1)
    entropy = -(log_p.exp() * log_p).sum(-1).masked_fill(done, 0.0)
    length = (~done).sum(1).clamp(min=1)
    best = log_p[:, 0].exp().topk(2, dim=-1).values
    return entropy.sum(1) / length, best[:, 0] - best[:, 1]


def _with_end(tokens: Tensor, eos: int) -> Tensor:
    """[B, T] padded by -1 -> [B, T + 1] with ``eos`` behind each answer."""
    padded = torch.cat([tokens, tokens.new_full((tokens.shape[0], 1), -1)], 1)
    lengths = (tokens >= 0).sum(1, keepdim=True)
    return padded.scatter(1, lengths, eos)


def _generator(seed: int, question: str) -> torch.Generator:
    """Masks are a function of (seed, question, sample): the same question, the same numbers."""
    digest = hashlib.blake2b(f"{seed}\0{question}".encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest))


def _part(rows: Rows, index: Tensor, size: int) -> Rows:
    """Some rows alone, cut to ``size`` encoder tokens."""
    picked = {k: v[index] for k, v in vars(rows).items() if k != "place"}
    picked |= {k: picked[k][:, :size] for k in ("ids", "mask", "segments")}
    return Rows(**picked, place=torch.arange(len(index), device=index.device)[None, None])


def _spread(
    sampled: SpanPosterior, answer: Tensor, tokens: Tensor, heads: Tensor
) -> dict[str, float]:
    """Signals from the spread of P span posteriors ([P, N, W]) about one answer [T]."""
    match = _matches(answer, tokens, heads)
    p = sampled.log_spans.exp()
    last = min(len(answer), p.shape[2]) - 1
    given = (p[:, :, last] * match).sum(1) if last >= 0 else p.new_zeros(p.shape[0])
    null = sampled.log_null.exp()
    outcomes = torch.cat([p.flatten(1), null[:, None]], 1)
    each = _entropy(outcomes)
    whole = _entropy(outcomes.mean(0, keepdim=True))[0]
    top = p.flatten(1).argmax(1)
    same = match[top // p.shape[2]] & (top % p.shape[2] == last)
    return {
        "mc_probability_mean": float(given.mean()),
        "mc_probability_std": float(given.std()) if len(given) > 1 else 0.0,
        "mc_null_mean": float(null.mean()),
        "mc_entropy": float(whole),
        "mc_bald": float((whole - each.mean()).clamp(min=0)),
        "mc_flip_rate": float((~same).float().mean()),
    }


def _matches(answer: Tensor, tokens: Tensor, heads: Tensor) -> Tensor:
    """[N] bool: the answer's tokens stand here."""
    if not len(answer):
        return torch.zeros_like(tokens, dtype=torch.bool)
    match = heads == answer[0]
    for step, token in enumerate(answer[1:].tolist(), 1):
        shifted = torch.full_like(tokens, -1)
        shifted[:-step] = tokens[step:]
        match = match & (shifted == token)
    return match


def _entropy(p: Tensor) -> Tensor:
    """Entropy in nats of distributions [..., V]."""
    return -(p * p.clamp(min=1e-12).log()).sum(-1)
