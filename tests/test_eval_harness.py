"""lm-evaluation-harness's own requests, answered as the model's plain passes say."""

from __future__ import annotations

import pytest
import tiny
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from eval.harness import RetroLM, cut
from index.errors import UserError
from index.keys import HashingKeyEncoder
from index.retriever import Retriever
from retro.generation import Generator, IndexSearch
from retro.windows import Windower

WINDOWER = Windower(tiny.encoder_tokenizer(), tiny.decoder_tokenizer())
PAIRS = [
    ("Mars has two moons.", " Phobos is the larger one"),
    ("Gold is", " a soft yellow metal. It melts"),
    ("", "Copper"),
    ("A camel stores ", "fat"),
]


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    index = tiny.write_index(tmp_path_factory.mktemp("index") / "index")
    return Generator(tiny.model(), Retriever.open(index, HashingKeyEncoder()), WINDOWER)


def requests(kind: str, arguments: list[tuple[object, ...]]) -> list[Instance]:
    return [Instance(kind, {}, args, i) for i, args in enumerate(arguments)]


def tokens(text: str) -> list[int]:
    return WINDOWER.decoder(text)["input_ids"]


@torch.no_grad()
def slowly(generator: Generator, context: list[int], wanted: list[int], k: int) -> float:
    """log P of tokens one at a time, all done anew for each; chunks counted from the context."""
    total, made = 0.0, generator.model
    for i, token in enumerate(wanted):
        ids, found = torch.tensor([[*context, *wanted[:i]]]), None
        if k:
            search = IndexSearch(generator.retriever, WINDOWER, k)
            found = made.retrieved(made.retrieval(search, len(context)), ids, None)
        total += float(made(ids, neighbours=found).logits[0, -1].log_softmax(-1)[token])
    return total


@pytest.mark.parametrize("retrieval", ["on", "off"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_continuations_have_the_log_probability_of_their_tokens(
    generator: Generator, retrieval: str, batch_size: int
) -> None:
    lm = RetroLM(generator, retrieval, batch_size=batch_size)
    found = lm.loglikelihood(requests("loglikelihood", PAIRS))
    for (context, continuation), (score, _) in zip(PAIRS, found, strict=True):
        context, wanted = context.rstrip(), tokens(context + continuation)
        head = wanted[: len(tokens(context))]
        expected = slowly(generator, head or [0], wanted[len(head) :], 2 * (retrieval == "on"))
        assert score == pytest.approx(expected, rel=1e-4)


def test_retrieval_changes_what_is_likely(generator: Generator) -> None:
    on, off = (
        RetroLM(generator, how).loglikelihood(requests("loglikelihood", PAIRS[:1]))
        for how in ("on", "off")
    )
    assert on[0][0] != pytest.approx(off[0][0], rel=1e-4)


@pytest.mark.parametrize("retrieval", ["on", "off"])
def test_what_is_written_is_greedy_and_ends_before_its_stop(
    generator: Generator, retrieval: str
) -> None:
    lm = RetroLM(generator, retrieval)
    settings = {"max_gen_toks": 9, "until": [], "temperature": 0.0, "do_sample": False}
    [whole] = lm.generate_until(requests("generate_until", [("Gold is", settings)]))
    assert whole
    stop = whole[len(whole) // 2 :]
    settings = settings | {"until": [stop]}
    [short] = lm.generate_until(requests("generate_until", [("Gold is", settings)]))
    assert short == whole[: whole.index(stop)]
    written = tokens("Gold is" + whole)[len(tokens("Gold is")) :]
    if tokens("Gold is") + written == tokens("Gold is" + whole) and len(written) == 9:
        [(_, greedy)] = lm.loglikelihood(requests("loglikelihood", [("Gold is", whole)]))
        assert greedy


@pytest.mark.parametrize("retrieval", ["on", "off"])
def test_a_rolling_text_is_scored_whole_from_its_first_token(
    generator: Generator, retrieval: str
) -> None:
    lm = RetroLM(generator, retrieval)
    text = tiny.DOCUMENTS["Gold"]
    [score] = lm.loglikelihood_rolling(requests("loglikelihood_rolling", [(text,)]))
    expected = slowly(generator, [0], tokens(text), 2 * (retrieval == "on"))
    assert score == pytest.approx(expected, rel=1e-4)


def test_a_text_longer_than_the_decoder_is_scored_in_windows(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = RetroLM(generator, "off")
    monkeypatch.setattr(RetroLM, "max_length", 11)
    ids = tokens(tiny.DOCUMENTS["Gold"])
    [score] = lm.loglikelihood_rolling(
        requests("loglikelihood_rolling", [(tiny.DOCUMENTS["Gold"],)])
    )
    windows = [make_disjoint_window(w) for w in get_rolling_token_windows(ids, 0, 10, 1)]
    assert len(windows) > 2
    assert [token for _, wanted in windows for token in wanted] == ids
    assert score == pytest.approx(sum(slowly(generator, *w, 0) for w in windows), rel=1e-4)


def test_the_harness_knows_it_by_name() -> None:
    assert get_model("retro") is RetroLM


def test_wrong_arguments_are_the_users_mistake() -> None:
    with pytest.raises(UserError, match="choose on or off"):
        RetroLM("somewhere", "maybe")
    with pytest.raises(UserError, match="index=FOLDER"):
        RetroLM()


def test_text_is_cut_before_the_first_stop() -> None:
    assert cut("one\ntwo. three", ["\n", "."]) == "one"
    assert cut("one", ["\n"]) == "one"
    assert cut("one", []) == "one"


def test_a_task_that_wants_more_than_the_decoder_holds_gets_what_fits(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole prompt was kept then, and the decoder ran past its last position."""
    monkeypatch.setattr(RetroLM, "max_length", 8)
    lengths = []
    plain = Generator.continued

    def watched(self: Generator, prompts: list[list[int]], **settings: object) -> object:
        lengths.append((len(prompts[0]), settings["max_new_tokens"]))
        return plain(self, prompts, **settings)

    monkeypatch.setattr(Generator, "continued", watched)
    context = "Mars has two moons. Phobos is the larger one. " * 3
    settings = {"max_gen_toks": 99, "until": []}
    RetroLM(generator, "off").generate_until(requests("generate_until", [(context, settings)]))
    assert lengths == [(1, 7)]
