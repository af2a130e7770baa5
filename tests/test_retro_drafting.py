"""Drafts: the likeliest answer, where it stands, and signals that depend on nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from retro.conflict import agree
from retro.context import NeighbourContext
from retro.drafting import (
    DROPOUT_NEIGHBOURS,
    Draft,
    Drafter,
    _backing,
    _same_width,
    _with_end,
    _worded,
)
from retro.prompts import TEMPLATE, Prompter
from retro.windows import Window, Windower

EOS = 0
WINDOWER = Windower(tiny.encoder_tokenizer(), tiny.decoder_tokenizer())
TITLES = list(tiny.DOCUMENTS)
ASKED = {
    "When did probes come to Mercury?": ["Mercury", "Mars", "Venus"],
    "Who built the first piano?": ["Piano"],
    "What melts, what rusts, what conducts electricity, and what of it is soft?": TITLES[3:],
    "Where was Marie Curie born?": ["Danube", "Curie"],
}


def drafter(num_samples: int = 4, chunk_size: int = 32, **changes: object) -> Drafter:
    encoder = {"max_position_embeddings": 512, "dropout": 0.2}
    model = tiny.model(encoder=encoder, chunk_size=chunk_size, max_span=5, **changes)
    prompter = Prompter(tiny.decoder_tokenizer(), EOS, chunk_size)
    return Drafter(model, WINDOWER, prompter, num_samples)


def windows_of(titles: Sequence[str]) -> list[Window]:
    return WINDOWER.windows([tiny.DOCUMENTS[t] for t in titles], titles)


def drafts(
    made: Drafter, asked: dict[str, list[str]] | None = None
) -> list[tuple[str, list[str], Draft]]:
    asked = asked or ASKED
    texts = [[tiny.DOCUMENTS[t] for t in titles] for titles in asked.values()]
    found = made.draft(list(asked), [windows_of(t) for t in asked.values()], texts)
    return list(zip(asked, asked.values(), found, strict=True))


def same(a: Draft, b: Draft, tolerance: float) -> None:
    assert (a.text, a.source, a.spans) == (b.text, b.source, b.spans)
    assert a.scores == pytest.approx(b.scores, abs=tolerance)
    assert a.signals.keys() == b.signals.keys()
    for name, value in a.signals.items():
        assert value == pytest.approx(b.signals[name], abs=tolerance, rel=tolerance), name


# -- drafts ---------------------------------------------------------------------------------


def test_asked_again_every_number_is_the_same() -> None:
    made = drafter()
    torch.manual_seed(1)
    first = drafts(made)
    torch.manual_seed(2)  # the dropout samples have their own generator
    assert [d for *_, d in drafts(made)] == [d for *_, d in first]


def test_a_batch_is_its_questions_one_by_one() -> None:
    """Padding, the longest neighbour and the others' dropout masks change nothing."""
    made = drafter()
    for question, titles, draft in drafts(made):
        ((*_, alone),) = drafts(made, {question: titles})
        same(draft, alone, 1e-4)


def test_the_order_of_the_questions_changes_nothing() -> None:
    made = drafter()
    backwards = dict(reversed(ASKED.items()))
    for (*_, a), (*_, b) in zip(drafts(made), reversed(drafts(made, backwards)), strict=True):
        same(a, b, 1e-4)


def test_text_and_spans_stand_in_the_neighbours() -> None:
    found = drafts(drafter())
    assert any(draft.source >= 0 for *_, draft in found)
    for _, titles, draft in found:
        assert len(draft.spans) == len(draft.scores) == len(titles)
        for number, span in enumerate(draft.spans):
            if span is None:
                assert number != draft.source
                continue
            text = tiny.DOCUMENTS[titles[number]][slice(*span)]
            assert text == text.strip() != ""
            assert text.split() == draft.text.split()
            if number == draft.source:
                assert text == draft.text
        if any(draft.spans):
            assert draft.source >= 0


def test_the_source_is_any_neighbour_that_holds_the_answer_best() -> None:
    made, sources = drafter(num_samples=0), set()
    for seed in range(6):
        tiny.randomise(made.model, seed)
        ((*_, draft),) = drafts(made, {"What has 88?": ["Gold", "Mercury", "Piano", "Venus"]})
        if draft.source >= 0:
            sources.add(draft.source)
            assert draft.spans[draft.source] is not None
    assert len(sources) > 1


def test_scores_and_none_have_mass_one() -> None:
    for *_, draft in drafts(drafter()):
        total = sum(draft.scores) + draft.signals["null_probability"]
        assert total == pytest.approx(1, abs=1e-4)


def test_signals_are_finite_and_probabilities_are() -> None:
    shares = "span_probability null_probability span_agreement copy_mass mc_probability_mean"
    shares += " mc_null_mean mc_flip_rate answer_margin"
    for *_, draft in drafts(drafter()):
        assert all(math.isfinite(value) for value in draft.signals.values())
        for name in shares.split():
            assert -1e-5 <= draft.signals[name] <= 1 + 1e-5, name
        assert draft.signals["answer_log_probability"] <= 0
        assert draft.signals["mc_bald"] >= 0


def test_one_sample_has_no_spread() -> None:
    """The standard deviation of one sample was NaN, with a warning."""
    for *_, draft in drafts(drafter(num_samples=1)):
        assert draft.signals["mc_probability_std"] == 0
        assert all(math.isfinite(value) for value in draft.signals.values())


def test_without_samples_there_are_no_dropout_signals() -> None:
    some, none = drafts(drafter()), drafts(drafter(num_samples=0))
    for (*_, a), (*_, b) in zip(some, none, strict=True):
        dropped = {name for name in a.signals if name.startswith("mc_")}
        assert len(dropped) == 6
        assert b.signals == {k: v for k, v in a.signals.items() if k not in dropped}


def test_without_dropout_every_sample_is_the_posterior() -> None:
    made = drafter()
    for module in made.model.encoder.modules():
        if hasattr(module, "p"):
            module.p = 0.0
    made.model.encoder.config = type(made.model.encoder.config)(
        **{**vars(made.model.encoder.config), "dropout": 0.0}
    )
    few = {q: t for q, t in ASKED.items() if len(t) <= DROPOUT_NEIGHBOURS}
    assert few
    for *_, draft in drafts(made, few):
        signals = draft.signals
        assert signals["mc_null_mean"] == pytest.approx(signals["null_probability"], abs=1e-4)
        assert signals["mc_probability_std"] == pytest.approx(0, abs=1e-5)
        assert signals["mc_bald"] == pytest.approx(0, abs=1e-4)
        assert signals["mc_entropy"] == pytest.approx(signals["span_entropy"], rel=1e-3)
        if draft.text:
            spread = signals["mc_probability_mean"]
            assert spread == pytest.approx(signals["span_probability"], abs=1e-4)


def test_a_neighbour_of_blanks_is_no_evidence_and_disturbs_nobody() -> None:
    """No span can stand in it: with equal masses, dropout could read another question's rows."""
    made = drafter()
    blank = WINDOWER.windows([" \n "] * 2, ["", ""])
    question, titles = "Who built the first piano?", ["Piano", "Gold", "Camel", "Eagle", "Mars"]
    texts = [tiny.DOCUMENTS[t] for t in titles]
    both = made.draft(["What?", question], [blank, windows_of(titles)], [[" \n "] * 2, texts])
    alone = made.draft(["What?"], [blank], [[" \n "] * 2])
    assert both[0].source == -1
    assert both[0].spans == (None, None)
    assert both[0].signals["null_probability"] == pytest.approx(1)
    same(both[0], alone[0], 1e-4)
    ((*_, other),) = drafts(made, {question: titles})
    same(both[1], other, 1e-4)


def test_the_answer_is_the_likelier_of_the_greedy_and_the_likeliest_copied_one() -> None:
    """And the signals are those of the one that is given."""
    made = drafter()
    for question, titles, draft in drafts(made):
        rows = WINDOWER.rows([WINDOWER.question(question)], [windows_of(titles)])
        with torch.no_grad():
            context = made.model.read(rows)
            written, signals = made._write([question], context)
            ids, mask, context.first = made.prompter.prompts([question])
            greedy = made._generate(ids, mask, context).tokens
            scores = [
                made.model.score(ids, mask, ended(tokens), context).mixed.sum().item()
                for tokens in (written.tokens, greedy, context.copy.likeliest())
            ]
        length = int((written.tokens >= 0).sum()) + 1
        assert scores[0] == pytest.approx(max(scores), abs=1e-3)
        assert float(signals["answer_log_probability"]) * length == pytest.approx(
            scores[0], abs=1e-3
        )
        spelled = tiny.decoder_tokenizer().decode(written.tokens[written.tokens >= 0])
        assert spelled.split() == draft.text.split()


def ended(tokens: torch.Tensor) -> torch.Tensor:
    real = tokens[tokens >= 0]
    return torch.cat([real, torch.tensor([EOS])])[None]


def test_the_answer_is_at_least_as_likely_as_the_likeliest_copied_string() -> None:
    made = drafter()
    with torch.no_grad():
        made.model.gate.weight.zero_()
        made.model.gate.bias.fill_(30.0)  # copies, and nothing else
    for question, titles, draft in drafts(made):
        rows = WINDOWER.rows([WINDOWER.question(question)], [windows_of(titles)])
        with torch.no_grad():
            copy = made.model.read(rows).copy
            best = copy.complete(copy.likeliest())[0].sum().item()
        assert draft.signals["span_agreement"] >= best - 1e-5
        assert draft.signals["copy_mass"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("answer", "backing"), [("1974", 1.0), ("in 1974", 1.0), ("1981", 0.5), ("zebras", 0.0)]
)
def test_an_answer_is_backed_by_all_that_say_the_same(answer: str, backing: float) -> None:
    likeliest = [("in 1974", 0.4), ("1981", 0.3), ("1974", 0.2)]
    assert _backing(answer, 0.0, likeliest) == pytest.approx(backing)
    assert _backing("zebras", 0.15, likeliest) == pytest.approx(0.25)
    assert _backing(answer, 0.0, []) == 1.0


def test_a_candidate_is_judged_by_the_span_that_says_the_same() -> None:
    likeliest = [("in 1974", 0.4), ("1981", 0.3), ("1974", 0.2)]
    assert [_worded(c, likeliest) for c in ("the 1974", " July 1981 ", " zebras")] == [
        "in 1974",
        "1981",
        "zebras",
    ]


def test_a_candidate_is_backed_by_the_spans_that_read_so() -> None:
    made, (question, titles) = drafter(num_samples=0), next(iter(ASKED.items()))
    texts = [tiny.DOCUMENTS[t] for t in titles]
    rows = WINDOWER.rows([WINDOWER.question(question)], [windows_of(titles)])
    with torch.no_grad():
        spans = made.model.read(rows).spans
    assert spans is not None
    p = spans.log_spans[0].exp().unflatten(0, (len(titles), -1))
    masses, places = p.flatten().topk(16)
    said = []
    for place in places.tolist():
        k, first, extra = (int(i) for i in np.unravel_index(place, p.shape))
        window = windows_of(titles)[k]
        said.append(texts[k][window.starts[first] : window.ends[first + extra]])
    for candidate in said[:6]:
        (draft,) = made.draft([question], [windows_of(titles)], [texts], [candidate])
        mass, most = (
            sum(m for m, t in zip(masses.tolist(), said, strict=True) if agree(t, x))
            for x in (candidate, said[0])
        )
        assert draft.signals["backing"] == pytest.approx(min(1.0, mass / most), abs=1e-4)
    (draft,) = made.draft([question], [windows_of(titles)], [texts], ["zebras"])
    assert draft.signals["backing"] == 0.0


# -- prompts --------------------------------------------------------------------------------


def test_prompts_close_their_chunk() -> None:
    prompter = Prompter(tiny.decoder_tokenizer(), EOS, 32)
    questions = ["Who?", "  Where was\n Marie Curie   born? "]
    ids, mask, first = prompter.prompts(questions)
    assert first + ids.shape[1] == 32
    for row, question in enumerate(["Who?", "Where was Marie Curie born?"]):
        length = int(mask[row].sum())
        assert mask[row].tolist() == [0] * (ids.shape[1] - length) + [1] * length
        text = tiny.decoder_tokenizer().decode(ids[row, -length:])
        assert text == TEMPLATE.format(question=question)
        assert (ids[row, :-length] == EOS).all()
    assert mask.sum(1).max() == ids.shape[1]  # shared padding is counted, not computed


def test_a_long_question_keeps_both_ends_and_fills_one_chunk() -> None:
    ids, mask, first = Prompter(tiny.decoder_tokenizer(), EOS, 32).prompts(["why so " * 60])
    assert (first, ids.shape) == (0, (1, 32))
    assert mask.all()
    text = tiny.decoder_tokenizer().decode(ids[0])
    assert text.startswith("Question: why")
    assert text.endswith("\nAnswer:")


def test_passages_stand_before_the_question_which_still_closes_its_chunk() -> None:
    """RETRO++ (Wang et al. 2023)."""
    tokenizer = tiny.decoder_tokenizer()
    prompter = Prompter(tokenizer, EOS, 32)
    questions = ["Who?", "Where was Marie Curie born?"]
    given = [tokenizer("Marie Curie was born in Warsaw." * 3)["input_ids"], []]
    ids, mask, first = prompter.prompts(questions, given)
    assert first + ids.shape[1] == 32
    assert first < 0
    texts = [tokenizer.decode(row[seen > 0]) for row, seen in zip(ids, mask, strict=True)]
    before = tokenizer.decode(given[0])
    assert texts == [
        f"{before}\n{TEMPLATE.format(question=questions[0])}",
        TEMPLATE.format(question=questions[1]),
    ]


def test_the_likeliest_neighbours_stand_in_the_decoders_context_the_best_one_last() -> None:
    made = drafter(context_neighbours=2)
    question, titles = next(iter(ASKED.items()))
    windows = windows_of(titles)
    context = made.context([question], [windows])
    [draft] = made.draft([question], [windows], [[tiny.DOCUMENTS[t] for t in titles]])
    second, best = sorted(range(len(titles)), key=lambda i: draft.scores[i])[-2:]
    both = [*windows[second].tokens.tolist(), *windows[best].tokens.tolist()]
    assert context.likeliest(2) == [both]
    assert context.likeliest(1) == [windows[best].tokens.tolist()]
    assert context.likeliest(9) is not None
    assert context.likeliest(0) is None


def test_a_neighbour_in_the_context_is_read_by_the_decoder_and_by_its_answer_alone() -> None:
    """What the context holds changes the answer's probability; chunked cross-attention is heard
    from the question's last token on, as without it; and the base alone gets no passage."""
    plain, plus = drafter(0), drafter(0, context_neighbours=1)
    plus.model.load_state_dict(plain.model.state_dict())
    for (*_, without), (*_, within) in zip(drafts(plain), drafts(plus), strict=True):
        assert without.scores == pytest.approx(within.scores, abs=1e-5)
        name = "decoder_log_probability"
        assert without.signals[name] != pytest.approx(within.signals[name], abs=1e-6)
    question, titles = next(iter(ASKED.items()))
    context = plus.context([question], [windows_of(titles)])
    ids, _, context.first = plus.prompter.prompts([question], context.likeliest(1))
    with torch.no_grad():
        heard = plus.model(ids, neighbours=context).logits
        alone = plus.model(ids).logits
    assert torch.equal(heard[:, :-1], alone[:, :-1])
    assert not torch.allclose(heard[:, -1], alone[:, -1], atol=1e-4)


def test_with_a_neighbour_in_the_context_cached_generation_is_uncached() -> None:
    """Token for token: the position in the chunk, negative at first, goes on behind the cache."""
    made = drafter(0, context_neighbours=1)
    questions = list(ASKED)
    context = made.context(questions, [windows_of(t) for t in ASKED.values()])
    given = context.likeliest(1)
    ids, mask, context.first = made.prompter.prompts(questions, given)
    context.prompt_len = ids.shape[1]
    options = {"attention_mask": mask, "max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    model: Any = made.model
    with torch.no_grad():
        cached, uncached = (
            model.generate(ids, neighbours=context, use_cache=use, **options)
            for use in (True, False)
        )
    assert torch.equal(cached, uncached)


def test_answers_end_and_are_padded() -> None:
    answers = Prompter(tiny.decoder_tokenizer(), EOS, 32).answers([[5, 6], [7]])
    assert answers.tolist() == [[5, 6, EOS], [7, EOS, -1]]


def test_shared_padding_left_out_is_padding_computed() -> None:
    """The model reads a prompt of n tokens as one of m whose first m - n are padding."""
    made = drafter()
    question, titles = next(iter(ASKED.items()))
    rows = WINDOWER.rows([WINDOWER.question(question)], [windows_of(titles)])
    ids, mask, first = made.prompter.prompts([question])
    assert first > 0
    pad = torch.zeros(1, first, dtype=torch.long)
    answer = torch.tensor([[9, 8, EOS]])
    with torch.no_grad():
        encoded = made.model.read(rows)
        short = NeighbourContext(rows, first, None, encoded.encoded, encoded.spans, encoded.copy)
        a = made.model.score(ids, mask, answer, short)
        whole = (torch.cat([pad, ids], 1), torch.cat([pad, mask], 1))
        b = made.model.score(*whole, answer, made.model.read(rows))
    torch.testing.assert_close(a.mixed, b.mixed, rtol=1e-4, atol=1e-4)


def test_what_search_says_of_a_neighbour_counts_by_its_weight() -> None:
    """At weight 0 nothing changes; else a neighbour that matches worse loses to the others."""
    question, titles = next((q, t) for q, t in ASKED.items() if len(t) > 1)
    given = ([question], [windows_of(titles)], [[tiny.DOCUMENTS[t] for t in titles]])
    priors = [[-2.0, *[0.0] * (len(titles) - 1)]]
    (plain,) = drafter().draft(*given)
    (ignored,) = drafter().draft(*given, priors=priors)
    (weighed,) = drafter(prior_weight=1.0).draft(*given, priors=priors)
    same(plain, ignored, 0.0)
    assert weighed.scores[0] < plain.scores[0]
    assert all(a > b for a, b in zip(weighed.scores[1:], plain.scores[1:], strict=True))


@pytest.mark.parametrize(("gate", "all_written"), [(-12.0, True), (12.0, False)])
def test_what_is_known_from_one_pass_is_what_greedy_generation_writes(
    gate: float, all_written: bool
) -> None:
    """Where the decoder copies, the draft is confirmed; where it does not, it is written out."""
    torch.manual_seed(0)
    made = drafter(chunk_size=16)
    with torch.no_grad():
        made.model.gate.weight.zero_()
        made.model.gate.bias.fill_(gate)
        made.model.reader.start.weight.mul_(50.0)  # so that one span has nearly all the mass
    questions = list(ASKED)
    queries = [WINDOWER.question(q) for q in questions]
    rows = WINDOWER.rows(queries, [windows_of(titles) for titles in ASKED.values()])
    context = made.model.read(rows)
    ids, mask, context.first = made.prompter.prompts(questions)
    context.prompt_len = ids.shape[1]
    generated = []
    plain = made._generate

    def counted(*given: Any) -> Any:
        generated.append(len(given[0]))
        return plain(*given)

    made._generate = counted  # type: ignore[method-assign]
    with torch.no_grad():
        assert context.copy is not None
        copied = _with_end(context.copy.likeliest(), made.model.eos)
        on = made.model.score(ids, mask, copied, context, following=True)
        quick, slow = made._greedy(ids, mask, context, copied, on), plain(ids, mask, context)
    assert (sum(generated) == len(questions)) == all_written
    one, other = _same_width(quick.tokens, slow.tokens)
    assert torch.equal(one, other)
    torch.testing.assert_close(quick.entropy, slow.entropy, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(quick.margin, slow.margin, rtol=1e-3, atol=1e-4)
