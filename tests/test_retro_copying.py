"""Copying: the posterior over spans, read left to right, against enumeration of all spans."""

from __future__ import annotations

from collections import defaultdict

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retro.copying import CopyTables, blank_spellings
from retro.reader import SpanPosterior, posterior

EOS, VOCAB, MAX_SPAN = 0, 7, 3
WITH_BLANK = torch.tensor([0, 5, 2, 6, 4, 5, 6])
"""1 is spelled 5 and 3 is spelled 6 where an answer begins; the rest are as they are."""

String = tuple[int, ...]


def spans_of(seed: int, null: float = 0.0) -> SpanPosterior:
    """Few different tokens, so that strings repeat, within a neighbour and across."""
    rows = tiny.rows([[[0, 1]], [[2, -1]]], seed=seed)
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 5, rows.tokens.shape, generator=draw)
    tokens = tokens.masked_fill(rows.tokens < 0, -1)
    logits = torch.randn(*tokens.shape, MAX_SPAN, generator=draw) - null
    starts = torch.arange(tokens.shape[1])[:, None] + torch.arange(MAX_SPAN)
    inside = torch.nn.functional.pad(tokens, (0, MAX_SPAN), value=-1)[:, starts] >= 0
    logits = logits.masked_fill(~inside, -1e4)
    return posterior(logits, torch.zeros(3), tokens, rows.place[:, 0])


def strings(spans: SpanPosterior, b: int) -> dict[String, float]:
    """P(answer string), given that there is an answer: every span spelled out and counted."""
    found: dict[String, float] = defaultdict(float)
    p = spans.log_spans[b].double().exp()
    for start in range(p.shape[0]):
        for extra in range(MAX_SPAN):
            if p[start, extra] > 0:
                string = spans.tokens[b, start : start + extra + 1].tolist()
                string[0] = int(WITH_BLANK[string[0]])
                found[(*string, EOS)] += float(p[start, extra])
    total = sum(found.values())
    return {string: mass / total for string, mass in found.items()}


def following(answers: dict[String, float], prefix: String) -> torch.Tensor:
    """P(next token | prefix), by enumeration; zeros where no answer begins so."""
    out = torch.zeros(VOCAB, dtype=torch.float64)
    for string, mass in answers.items():
        if string[: len(prefix)] == prefix and len(string) > len(prefix):
            out[string[len(prefix)]] += mass
    return out


@settings(max_examples=25)
@given(st.integers(0, 999))
def test_the_next_token_is_that_of_all_spans_enumerated(seed: int) -> None:
    spans = spans_of(seed)
    tables = CopyTables.of(spans, WITH_BLANK)
    for b in range(2):
        answers = strings(spans, b)
        prefixes = {s[:t] for s in answers for t in range(len(s))} | {(4, 4), (6, 5, 4)}
        for prefix in sorted(prefixes):
            given_so_far = torch.tensor([prefix, prefix], dtype=torch.long).view(2, -1)
            found, mass = tables.next_token(given_so_far, EOS, VOCAB)
            expected = following(answers, prefix)
            assert mass[b].item() == pytest.approx(float(expected.sum()), abs=1e-5)
            if expected.sum() > 0:
                assert found[b].sum().item() == pytest.approx(1, abs=1e-5)
                expected = expected / expected.sum()
            torch.testing.assert_close(found[b].double(), expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=25)
@given(st.integers(0, 999))
def test_the_strings_probabilities_sum_to_one(seed: int) -> None:
    """The product of the next-token probabilities of every string, end token included."""
    spans = spans_of(seed)
    tables = CopyTables.of(spans, WITH_BLANK)
    for b in range(2):
        answers = strings(spans, b)
        chained = {}
        for string in answers:
            probability = 1.0
            for t, token in enumerate(string):
                prefix = torch.tensor([string[:t]] * 2, dtype=torch.long).view(2, -1)
                probability *= tables.next_token(prefix, EOS, VOCAB)[0][b, token].item()
            chained[string] = probability
        assert chained == pytest.approx(answers, abs=1e-5)
        assert sum(chained.values()) == pytest.approx(1, abs=1e-4)


@settings(max_examples=25)
@given(st.integers(0, 999))
def test_targets_are_the_next_tokens_of_given_answers(seed: int) -> None:
    """Of answers longer than any span too: the token after one was an IndexError."""
    spans = spans_of(seed)
    tables = CopyTables.of(spans, WITH_BLANK)
    choices = [[*strings(spans, b), (4, 4, 4, 4, EOS), (EOS,)] for b in range(2)]
    draw = torch.Generator().manual_seed(seed)
    for _ in range(6):
        pair = [c[int(torch.randint(len(c), (), generator=draw))] for c in choices]
        answer = torch.full((2, max(map(len, pair)) + 1), -1)
        for b, string in enumerate(pair):
            answer[b, : len(string)] = torch.tensor(string)
        found, masses = tables.targets(answer, EOS)
        for b, string in enumerate(pair):
            for t, token in enumerate(string):
                prefix = torch.tensor([string[:t]] * 2, dtype=torch.long).view(2, -1)
                expected, mass = tables.next_token(prefix, EOS, VOCAB)
                assert found[b, t].item() == pytest.approx(expected[b, token].item(), abs=1e-5)
                assert masses[b, t].item() == pytest.approx(mass[b].item(), abs=1e-5)


@settings(max_examples=25)
@given(st.integers(0, 999))
def test_complete_spans_are_those_that_spell_the_answer(seed: int) -> None:
    spans = spans_of(seed)
    tables = CopyTables.of(spans, WITH_BLANK)
    answers = [strings(spans, b) for b in range(2)]
    pairs = [(a, c) for a in answers[0] for c in list(answers[1])[:2]] + [((4, 4, 4, 4, 0), (0,))]
    for pair in pairs:
        answer = torch.full((2, 5), -1)
        for b, string in enumerate(pair):
            answer[b, : len(string) - 1] = torch.tensor(string[:-1])
        complete = tables.complete(answer)
        for b, string in enumerate(pair):
            expected = answers[b].get(string, 0.0)
            assert complete[b].sum().item() == pytest.approx(expected, abs=1e-5)
            for start in torch.nonzero(complete[b])[:, 0].tolist():
                here = spans.tokens[b, start : start + len(string) - 1].tolist()
                assert here[1:] == list(string[1:-1])
                assert int(WITH_BLANK[here[0]]) == string[0]


@settings(max_examples=25)
@given(st.integers(0, 999))
def test_the_likeliest_string_adds_up_its_mentions(seed: int) -> None:
    spans = spans_of(seed)
    likeliest = CopyTables.of(spans, WITH_BLANK).likeliest(num_spans=1000)
    for b in range(2):
        answers = strings(spans, b)
        string = tuple(t for t in likeliest[b].tolist() if t >= 0)
        assert answers[(*string, EOS)] == pytest.approx(max(answers.values()), abs=1e-6)


@pytest.mark.parametrize("null", [10.0, 17.0, 40.0])
def test_given_an_answer_the_strings_have_mass_one_however_unlikely_an_answer_is(
    null: float,
) -> None:
    """P("none") rounded to 1 in float32, and the masses given an answer became infinite: the
    answer to a question far from the database was whatever token NaN compares to."""
    spans = spans_of(3, null)
    tables = CopyTables.of(spans, WITH_BLANK)
    found, mass = tables.next_token(torch.zeros(2, 0, dtype=torch.long), EOS, VOCAB)
    torch.testing.assert_close(mass, torch.ones(2))
    likely = CopyTables.of(spans_of(3), WITH_BLANK)
    torch.testing.assert_close(tables.ends, likely.ends, rtol=1e-3, atol=1e-6)
    assert torch.isfinite(found).all()


def test_without_any_span_nothing_can_be_copied() -> None:
    spans = posterior(
        torch.full((1, 4, MAX_SPAN), -1e4),
        torch.zeros(1),
        torch.tensor([[1, 2, 3, 4]]),
        torch.tensor([[0], [-1]]),
    )
    tables = CopyTables.of(spans, WITH_BLANK)
    _, mass = tables.next_token(torch.zeros(2, 0, dtype=torch.long), EOS, VOCAB)
    assert mass.tolist() == [0.0, 0.0]
    assert not tables.complete(torch.tensor([[5], [5]])).any()
    assert tables.likeliest().shape == (2, 0)


def test_blank_spellings() -> None:
    tokenizer = tiny.decoder_tokenizer()
    vocab = tokenizer.get_vocab()
    table = blank_spellings(tokenizer, len(tokenizer))
    assert table[vocab["b"]] == vocab["\u0120b"] == table[vocab["\u0120b"]]
    lonely = next(t for t in vocab if "\u0120" + t not in vocab and t != "\u0120")
    assert table[vocab[lonely]] == vocab[lonely]
    for token, spelled in enumerate(table.tolist()):
        text, other = tokenizer.decode([token]), tokenizer.decode([spelled])
        assert other in (text, " " + text)


def test_blank_spellings_beyond_the_models_vocabulary_are_left_out() -> None:
    tokenizer = tiny.decoder_tokenizer()
    table = blank_spellings(tokenizer, 300)
    assert table.shape == (300,)
    assert table.max() < 300
