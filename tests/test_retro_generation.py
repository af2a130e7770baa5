"""Text continued from an index: what is reported is what was read, and it came from there."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch

from index.errors import UserError
from index.keys import HashingKeyEncoder
from index.retriever import Retriever
from retro.generation import Continuation, Generator
from retro.windows import Windower

WINDOWER = Windower(tiny.encoder_tokenizer(), tiny.decoder_tokenizer())
PROMPTS = ["Mars has two moons", "Gold"]
LENGTH = 13


@pytest.fixture(scope="module")
def retriever(tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    index = tiny.write_index(tmp_path_factory.mktemp("index") / "index")
    return Retriever.open(index, HashingKeyEncoder())


@pytest.fixture(params=[False, True], ids=["", "pointer"])
def generator(retriever: Retriever, request: pytest.FixtureRequest) -> Generator:
    return Generator(tiny.model(pointer=request.param), retriever, WINDOWER)


def written(generator: Generator, prompts: list[str], **options: object) -> list[Continuation]:
    settings = {"max_new_tokens": LENGTH, "min_new_tokens": LENGTH, "do_sample": False}
    return generator.generate(prompts, **settings | options)


def test_what_is_reported_was_searched_for_each_chunk(
    generator: Generator, retriever: Retriever
) -> None:
    for prompt, found in zip(PROMPTS, written(generator, PROMPTS), strict=True):
        tokens = WINDOWER.decoder(prompt)["input_ids"]
        short = len(tokens) % 4 or 4
        assert found.retrieved[0].query == WINDOWER.decoder.decode(tokens[:short])
        assert len(found.retrieved) == -(-len(tokens) // 4) + LENGTH // 4
        assert found.text == WINDOWER.decoder.decode(found.tokens)
        for chunk in found.retrieved:
            again = retriever.search(chunk.query, 2)
            assert chunk.neighbours.doc_ids == again.doc_ids
            assert chunk.neighbours.chunk_ids.tolist() == again.chunk_ids.tolist()
            assert chunk.neighbours.distances.tolist() == pytest.approx(again.distances.tolist())


def test_a_prompt_is_continued_alike_alone_and_in_company(generator: Generator) -> None:
    together = written(generator, PROMPTS)
    for prompt, expected in zip(PROMPTS, together, strict=True):
        [alone] = written(generator, [prompt])
        assert alone.tokens == expected.tokens
        assert [r.query for r in alone.retrieved] == [r.query for r in expected.retrieved]


def test_an_excluded_document_is_not_read(generator: Generator) -> None:
    [found] = written(generator, PROMPTS[:1], exclude={"mars"})
    assert all("mars" not in chunk.neighbours.doc_ids for chunk in found.retrieved)
    assert any("mars" in c.neighbours.doc_ids for c in written(generator, PROMPTS[:1])[0].retrieved)


def test_the_index_matters(generator: Generator) -> None:
    with torch.no_grad():
        ids = torch.tensor([WINDOWER.decoder(PROMPTS[0])["input_ids"]])
        plain = generator.model.generate(
            ids, max_new_tokens=LENGTH, min_new_tokens=LENGTH, do_sample=False, pad_token_id=0
        )
    assert tuple(plain[0, ids.shape[1] :].tolist()) != written(generator, PROMPTS)[0].tokens


def test_several_continuations_of_each_prompt_stand_together(generator: Generator) -> None:
    found = written(generator, PROMPTS, num_beams=2, num_return_sequences=2)
    first = [one.retrieved[0].query for one in found]
    assert first[0] == first[1] != first[2] == first[3]


def test_an_empty_prompt_is_the_users_mistake(generator: Generator) -> None:
    with pytest.raises(UserError, match="prompt 2 is empty"):
        generator.generate(["Gold", ""])


def test_it_knows_its_tokenizers_by_the_configuration(retriever: Retriever, tmp_path: Path) -> None:
    made = tiny.model()
    made.config.base_name = str(tiny.write_base(tmp_path / "base"))
    made.config.encoder_name = str(tiny.write_encoder(tmp_path / "encoder"))
    generator = Generator.of(made, retriever)
    assert generator.windower.decoder.get_vocab() == WINDOWER.decoder.get_vocab()
    assert generator.windower.encoder.get_vocab() == WINDOWER.encoder.get_vocab()
