"""Fits how much search counts when the answers of several neighbours are weighed.

One number, chosen by likelihood on questions that the reader was not trained on; knows questions,
an answerer and spans.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from index.disk import write_atomically
from index.errors import UserError
from retro.answer import Answerer
from retro.examples import answer_spans
from retro.reader import posterior, span_loss
from retro.train_head import Case, make_cases
from retro.train_setup import present_documents
from retro.windows import Rows, Window

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)


def fit_prior(
    index: Path, data: Sequence[Path], checkpoint: Path, *, limit: int, hold_out: int, seed: int
) -> None:
    """Writes the weight at which the answers' spans (or none, where no neighbour holds them) are
    likeliest into the checkpoint's ``config.json``, and prints the loss at every weight.

    Raises:
        UserError: no question with answers has its passage in the index.
    """
    answerer = Answerer.open(index, checkpoint, calibrated=False)
    documents = present_documents(answerer.retriever)
    cases = make_cases(documents, data, limit=limit, hold_out=hold_out, seed=seed)
    present = [case for case in cases if case.held]
    if not present:
        raise UserError("no question with answers has its passage in the index; check --data")
    losses = torch.zeros(len(WEIGHTS))
    for number, case in enumerate(present, 1):
        losses += _losses(answerer, case)
        print(f"\r{number:,}/{len(present):,} questions", end="", flush=True)
    losses /= max(1, len(present))
    print()
    for weight, loss in zip(WEIGHTS, losses.tolist(), strict=True):
        print(f"weight {weight:<5g} loss {loss:.4f}")
    best = WEIGHTS[int(losses.argmin())]
    file = checkpoint / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | {"prior_weight": best}
    write_atomically(file, json.dumps(config, indent=2, sort_keys=True) + "\n")
    print(
        f"{file}: prior_weight {best:g}; fit the head again: retro train signals, retro train head"
    )


@torch.no_grad()
def _losses(answerer: Answerer, case: Case) -> Tensor:
    """[len(WEIGHTS)]: -log P of the answer's spans among all that search finds."""
    drafter = answerer.drafter
    model, windower = drafter.model, drafter.windower
    [found] = answerer.find([case.question], model.config.num_neighbours)
    if not len(found):
        return torch.zeros(len(WEIGHTS))
    windows = windower.windows(found.texts, found.titles)
    rows = windower.rows([windower.question(case.question)], [windows]).to(model.device)
    logits, relevance = model.reader.row_logits(
        model.encoder(rows.ids, rows.mask, rows.segments), rows
    )
    prior = logits.new_tensor(found.scores - found.scores.max())
    right = _right(case.answers, windows, found.texts, logits).flatten(0, 1)[None]
    weighed = [logits + weight * prior[:, None, None] for weight in WEIGHTS]
    return torch.stack([_loss(each, relevance, rows, right) for each in weighed])


def _loss(logits: Tensor, relevance: Tensor, rows: Rows, right: Tensor) -> Tensor:
    return span_loss(posterior(logits, relevance, rows.tokens, rows.place[:, 0]), right)[0].cpu()


def _right(
    answers: Sequence[str], windows: Sequence[Window], texts: Sequence[str], logits: Tensor
) -> Tensor:
    """[K, R, W] bool: spans that spell an accepted answer, like ``logits``."""
    out = torch.zeros_like(logits, dtype=torch.bool)
    for k, (window, text) in enumerate(zip(windows, texts, strict=True)):
        for first, last in answer_spans(answers, window, text):
            if last - first < out.shape[2]:
                out[k, first, last - first] = True
    return out
