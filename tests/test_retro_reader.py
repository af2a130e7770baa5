"""The span posterior: a distribution, over spans that can be, of every neighbour and "none"."""

from __future__ import annotations

import math

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from retro.reader import SpanPosterior, SpanReader, positive_loss, posterior, row_loss, span_loss
from retro.windows import Rows

WIDTH, MAX_SPAN = 8, 3
PLACE = [[[0, 1]], [[2, -1]], [[3, 4]]]


def reader(seed: int = 0) -> SpanReader:
    torch.manual_seed(seed)
    made = SpanReader(WIDTH, MAX_SPAN, rank=4)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.5)
    return made


def read(rows: Rows, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """States, span logits and relevance of rows."""
    draw = torch.Generator().manual_seed(seed)
    states = torch.randn(*rows.ids.shape, WIDTH, generator=draw)
    return states, *reader(seed).row_logits(states, rows)


def spans_of(place: list[list[list[int]]] = PLACE, seed: int = 0) -> tuple[SpanPosterior, Rows]:
    rows = tiny.rows(place, seed=seed)
    _, logits, relevance = read(rows, seed)
    return posterior(logits, relevance, rows.tokens, rows.place[:, 0]), rows


@settings(max_examples=30)
@given(st.integers(0, 999))
def test_all_spans_and_none_have_mass_one(seed: int) -> None:
    spans, _ = spans_of(seed=seed)
    total = spans.log_spans.exp().flatten(1).sum(1) + spans.log_null.exp()
    torch.testing.assert_close(total, torch.ones(3))
    assert spans.num_neighbours == 2


@settings(max_examples=30)
@given(st.integers(0, 999), st.floats(-3, 3))
def test_a_prior_multiplies_the_odds_of_all_spans_of_its_neighbour(seed: int, prior: float) -> None:
    rows = tiny.rows(PLACE, seed=seed)
    _, logits, relevance = read(rows, seed)
    before = posterior(logits, relevance, rows.tokens, rows.place[:, 0])
    rows.prior[1] = prior  # the second neighbour of the first sequence
    _, logits, weighed = read(rows, seed)
    after = posterior(logits, weighed, rows.tokens, rows.place[:, 0])
    torch.testing.assert_close(weighed, relevance)
    odds = [
        (s.log_spans - s.log_null[:, None, None]).unflatten(1, (2, -1)).exp()
        for s in (before, after)
    ]
    factor = torch.ones(3, 2, 1, 1)
    factor[0, 1] = math.exp(prior)
    torch.testing.assert_close(odds[1], odds[0] * factor, rtol=1e-4, atol=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 999))
def test_a_neighbour_judged_alone_is_one_without_the_others(seed: int) -> None:
    spans, _ = spans_of(seed=seed)
    probability, first, last = (values.detach() for values in spans.alone())
    rows = tiny.rows(PLACE, seed=seed)
    _, logits, relevance = read(rows, seed)
    for b, k, row in [(0, 0, 0), (0, 1, 1), (1, 0, 2), (2, 0, 3), (2, 1, 4)]:
        single = posterior(logits, relevance, rows.tokens, torch.tensor([[row]]))
        p = single.log_spans[0].exp().detach()
        start, end = divmod(int(p.argmax()), MAX_SPAN)
        end += start
        assert (int(first[b, k]), int(last[b, k])) == (start, end)
        overlapping = sum(
            float(p[n, w])
            for n in range(p.shape[0])
            for w in range(MAX_SPAN)
            if n <= end and n + w >= start
        )
        assert float(probability[b, k]) == pytest.approx(overlapping, abs=1e-5)
    assert float(probability[1, 1]) == pytest.approx(0.0), "an absent neighbour says nothing"


@settings(max_examples=30)
@given(st.integers(0, 999))
def test_only_spans_that_can_be_have_mass(seed: int) -> None:
    """None longer than W, none across two neighbours, none from or to where no word begins or
    ends, none in an absent neighbour."""
    spans, rows = spans_of(seed=seed)
    width = rows.tokens.shape[1]
    mass = spans.log_spans.exp()
    assert mass.shape == (3, 2 * width, MAX_SPAN)
    for b, (places,) in enumerate(PLACE):
        for k, row in enumerate(places):
            for start in range(width):
                for extra in range(MAX_SPAN):
                    end = start + extra
                    possible = row >= 0 and end < width
                    possible = possible and bool(
                        rows.may_start[row, start] & rows.may_end[row, end]
                    )
                    assert (mass[b, k * width + start, extra] > 0) == possible
    assert (spans.tokens[1, width:] == -1).all()
    assert spans.tokens[2].tolist() == [*rows.tokens[3].tolist(), *rows.tokens[4].tolist()]


def test_a_spans_logit_is_the_sum_of_its_parts() -> None:
    rows = tiny.rows(PLACE)
    states, logits, relevance = read(rows)
    made = reader()
    row, start, extra = torch.nonzero(logits > -1e3)[7].tolist()
    a = made.start(states[row, rows.first[row, start]])
    b = made.end(states[row, rows.last[row, start + extra]])
    expected = a[0] + b[0] + a[1:] @ b[1:] / math.sqrt(4) + made.length[extra] + relevance[row]
    torch.testing.assert_close(logits[row, start, extra], expected)
    pooled = made.relevance(torch.tanh(made.pool(states[row, 0])))
    torch.testing.assert_close(relevance[row], pooled[0])


def test_a_row_is_judged_without_the_others() -> None:
    rows = tiny.rows(PLACE)
    states, logits, relevance = read(rows)
    one = Rows(**{name: value[2:3] for name, value in vars(rows).items()})
    alone, own = reader().row_logits(states[2:3], one)
    torch.testing.assert_close(alone[0], logits[2])
    torch.testing.assert_close(own[0], relevance[2])
    states.requires_grad_()
    reader().row_logits(states, rows)[0][2].clamp(min=-100).sum().backward()
    heard = states.grad.abs().sum((1, 2)) > 0
    assert heard.tolist() == [False, False, True, False, False]


def test_token_mass_is_the_mass_of_the_spans_over_a_token() -> None:
    spans, _ = spans_of()
    p = spans.log_spans.exp()
    expected = torch.zeros_like(p[:, :, 0])
    for start in range(p.shape[1]):
        for extra in range(MAX_SPAN):
            if start + extra < p.shape[1]:
                expected[:, start : start + extra + 1] += p[:, start, extra, None]
    torch.testing.assert_close(spans.token_mass(), expected)
    assert (spans.token_mass()[spans.tokens < 0] == 0).all()


def test_without_any_neighbour_all_mass_is_on_none() -> None:
    rows = tiny.rows(PLACE)
    place = torch.full((2, 3), -1)
    empty = rows.tokens[:0]
    spans = posterior(torch.zeros(0, 5, MAX_SPAN), torch.zeros(0), empty, place)
    assert spans.log_null.tolist() == [0.0, 0.0]
    assert spans.log_spans.shape == (2, 15, MAX_SPAN)
    assert not spans.log_spans.exp().any()
    assert (spans.tokens == -1).all()


def test_select_picks_sequences() -> None:
    spans, _ = spans_of()
    picked = spans.select(torch.tensor([2, 0, 2]))
    for name, value in vars(picked).items():
        assert torch.equal(value, getattr(spans, name)[[2, 0, 2]]), name


def test_the_loss_is_that_of_the_positive_spans_together_or_of_none() -> None:
    spans, _ = spans_of()
    p = spans.log_spans.exp()
    positive = torch.zeros_like(p, dtype=torch.bool)
    allowed = torch.nonzero(p[0] > 0)
    for n, w in allowed[:2].tolist():
        positive[0, n, w] = True
    loss = span_loss(spans, positive)
    torch.testing.assert_close(loss[0], -p[0][positive[0]].sum().log())
    torch.testing.assert_close(loss[1:], -spans.log_null[1:])


def test_the_row_loss_is_the_loss_of_a_posterior_of_one_neighbour() -> None:
    rows = tiny.rows(PLACE)
    _, logits, relevance = read(rows)
    positive = logits > logits.flatten(1).sort(descending=True).values[:, 2, None, None]
    positive[3] = False
    single = posterior(logits, relevance, rows.tokens, torch.arange(5)[:, None])
    torch.testing.assert_close(
        row_loss(logits, positive), positive_loss(single.log_spans, single.log_null, positive)
    )


@pytest.mark.parametrize("marked", [True, False])
def test_the_loss_teaches(marked: bool) -> None:
    """A step against the gradient makes what was annotated likelier."""
    rows = tiny.rows([[[0]]])
    logits = torch.zeros(1, 5, MAX_SPAN, requires_grad=True)
    positive = torch.zeros(1, 5, MAX_SPAN, dtype=torch.bool)
    positive[0, 1, 1] = marked
    for _ in range(2):
        spans = posterior(logits, torch.zeros(1), rows.tokens, rows.place[:, 0])
        loss = span_loss(spans, positive).sum()
        (gradient,) = torch.autograd.grad(loss, logits)
        logits = (logits - gradient).detach().requires_grad_()
    assert (gradient[0, 1, 1] < 0) == marked
    assert gradient.sum() < 0 if marked else gradient.min() > 0
