"""The model in EleutherAI's lm-evaluation-harness, with retrieval on or off.

    python -m eval.harness --model retro --tasks lambada_openai \\
        --model_args index=demo/index,retrieval=on

Knows the harness's requests, tokens and the model; knows no task. Chunks are counted as in
generation (``retro.context``): the end of a request's context closes one, so the first token that
is scored or written hears what the context retrieved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from torch import Tensor
from transformers import StoppingCriteria

from index.errors import UserError
from retro.generation import Generator, IndexSearch, padded

MAX_NEW_TOKENS = 256
"""Tokens written where a task sets no limit."""


@dataclass(frozen=True)
class _Scored:
    """Tokens of which the last ``len(wanted)`` are scored."""

    context: list[int]
    wanted: list[int]


@register_model("retro")
class RetroLM(LM):  # type: ignore[misc]
    """``index``: folder of an index, or an open ``Generator`` (tests). ``retrieval``: on or off.
    ``k``: neighbours a chunk; ``checkpoint``: default the shipped one."""

    def __init__(
        self,
        index: str | Generator = "",
        retrieval: str = "on",
        checkpoint: str | None = None,
        k: int = 2,
        batch_size: int | str = 1,
        **_: Any,
    ) -> None:
        super().__init__()
        if retrieval not in ("on", "off"):
            raise UserError(f"retrieval={retrieval}: choose on or off")
        self.generator = index if isinstance(index, Generator) else _opened(index, checkpoint)
        self.k = int(k) if retrieval == "on" else 0
        self.batch_size = int(batch_size) if str(batch_size).isdigit() else 1

    @property
    def _eos(self) -> int:
        return self.generator.model.eos

    @property
    def max_length(self) -> int:
        """Positions of the base decoder."""
        return int(self.generator.model.base.config.max_position_embeddings)

    def tok_encode(self, text: str) -> list[int]:
        """Tokens of a text, nothing added."""
        ids: list[int] = self.generator.windower.decoder(text, add_special_tokens=False)[
            "input_ids"
        ]
        return ids

    # -- the three kinds of request --------------------------------------------------------

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """(log P of the continuation, whether greedy decoding writes it) of (context,
        continuation) pairs; an empty context is the end token."""
        return self._score([self._pair(*request.args) for request in requests])

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """log P of whole texts, each from its beginning, in windows of the decoder's length."""
        totals = []
        for request in requests:
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self._eos,
                max_seq_len=self.max_length - 1,
                context_len=1,
            )
            parts = [_Scored(*make_disjoint_window(window)) for window in windows]
            totals.append(sum(score for score, _ in self._score(parts)))
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """What is written behind each context, up to the first of its ``until`` strings."""
        return [self._written(*request.args) for request in requests]

    # -- how -------------------------------------------------------------------------------

    def _pair(self, context: str, continuation: str) -> _Scored:
        """Blanks that end the context belong to the continuation, as its tokens would have it."""
        blanks = len(context) - len(context.rstrip())
        if blanks:
            context, continuation = context[:-blanks], context[-blanks:] + continuation
        whole = self.tok_encode(context + continuation)
        cut = len(self.tok_encode(context))
        head = whole[:cut] or [self._eos]
        room = self.max_length - (len(whole) - cut)
        return _Scored(head[-room:], whole[cut:])

    def _score(self, parts: Sequence[_Scored]) -> list[tuple[float, bool]]:
        out: list[tuple[float, bool]] = [(0.0, True)] * len(parts)
        order = sorted(range(len(parts)), key=lambda i: -len(parts[i].context))
        for begin in range(0, len(order), self.batch_size):
            batch = order[begin : begin + self.batch_size]
            for i, scored in zip(batch, self._batch([parts[i] for i in batch]), strict=True):
                out[i] = scored
        return out

    @torch.no_grad()
    def _batch(self, parts: Sequence[_Scored]) -> Iterator[tuple[float, bool]]:
        """Contexts padded in front, what is scored padded behind."""
        model = self.generator.model
        head, seen = padded([part.context for part in parts], self._eos)
        width = max(len(part.wanted) for part in parts)
        tail = torch.full((len(parts), width), -1)
        for row, part in zip(tail, parts, strict=True):
            row[: len(part.wanted)] = torch.tensor(part.wanted, dtype=torch.long)
        ids = torch.cat([head, tail.clamp(min=0)], 1).to(model.device)
        mask = torch.cat([seen, (tail >= 0).long()], 1).to(model.device)
        log_p = self._log_p(ids, mask, head.shape[1])
        for row, part in zip(log_p, parts, strict=True):
            wanted = torch.tensor(part.wanted, device=row.device, dtype=torch.long)[:, None]
            own = row[: len(wanted)]
            greedy = bool((own.argmax(-1, keepdim=True) == wanted).all())
            yield float(own.gather(1, wanted).sum()), greedy

    def _log_p(self, ids: Tensor, mask: Tensor, prompt_len: int) -> Tensor:
        """Next-token log-probabilities at every position from the last of the context on."""
        model, neighbours = self.generator.model, None
        if self.k:
            retrieval = model.retrieval(self._search(), prompt_len)
            neighbours = model.retrieved(retrieval, ids, mask)
        logits = model(
            ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            neighbours=neighbours,
            use_cache=False,
        ).logits
        scores: Tensor = logits[:, prompt_len - 1 : -1].float().log_softmax(-1)
        return scores

    def _search(self) -> IndexSearch:
        return IndexSearch(self.generator.retriever, self.generator.windower, self.k)

    def _written(self, context: str, settings: dict[str, Any]) -> str:
        options = dict(settings)
        until = options.pop("until", None) or []
        until = [until] if isinstance(until, str) else [stop for stop in until if stop]
        length = min(int(options.pop("max_gen_toks", MAX_NEW_TOKENS)), self.max_length - 1)
        if not options.get("do_sample"):
            options = {"do_sample": False}
        prompt = self.tok_encode(context)[-(self.max_length - length) :] or [self._eos]
        [out] = self.generator.continued(
            [prompt],
            k=self.k,
            max_new_tokens=length,
            stopping_criteria=[_Until(until, self.generator.windower.decoder.decode, len(prompt))],
            **options,
        )
        return cut(out.text, until)


class _Until(StoppingCriteria):
    """Ends a sequence whose written text holds one of the strings."""

    def __init__(self, until: Sequence[str], decode: Callable[..., str], prompt_len: int) -> None:
        self.until, self.decode, self.prompt_len = until, decode, prompt_len

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        texts = [self.decode(row[self.prompt_len :]) for row in input_ids]
        done = [any(stop in text for stop in self.until) for text in texts]
        return torch.tensor(done, device=input_ids.device)


def cut(text: str, until: Sequence[str]) -> str:
    """The text before the first of the strings."""
    places = [text.find(stop) for stop in until]
    return text[: min([len(text), *(place for place in places if place >= 0)])]


def _opened(index: str, checkpoint: str | None) -> Generator:
    from index.retriever import Retriever
    from retro.retrofit import load
    from retro.shipped import DEFAULT_CHECKPOINT

    if not index:
        raise UserError("give an index: --model_args index=FOLDER")
    return Generator.of(load(checkpoint or DEFAULT_CHECKPOINT), Retriever.open(Path(index)))


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
