"""RetroForCausalLM: its base when retrieval is off, causal when it is on, the same however run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from torch import Tensor

from index.devices import Integers
from index.errors import UserError
from retro.context import NeighbourContext, arranged
from retro.families import FAMILIES, attention_of, decoder_layers
from retro.model import RetroForCausalLM
from retro.retrofit import load, read_checkpoint, retrofit, save, trained_parameters
from retro.tuning import Base, tune
from retro.windows import Rows

M = 4
"""Tokens of a chunk in ``tiny.model``."""

QUESTIONS = [[[0, 1]], [[2, -1]]]


def ids(batch: int, size: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(1, len(tiny.decoder_tokenizer()), (batch, size), generator=draw)


def part(rows: Rows, b: int) -> Rows:
    """The rows of sequence ``b`` alone, without the padding that the others needed."""
    index = rows.place[b][rows.place[b] >= 0]
    place = rows.place[b : b + 1].clone()
    place[place >= 0] = torch.arange(len(index))
    width = int((rows.tokens[index] >= 0).sum(1).max())
    picked = {k: v[index] for k, v in vars(rows).items() if k != "place"}
    for name in ("tokens", "first", "last", "may_start", "may_end"):
        picked[name] = picked[name][:, :width]
    keep = [k for k in range(place.shape[2]) if (place[0, :, k] >= 0).any()]
    return Rows(**picked, place=place[:, :, keep])


def prompts(lengths: Sequence[int], size: int = M, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Left-padded prompts of these lengths: ids and mask."""
    tokens = ids(len(lengths), size, seed)
    mask = (torch.arange(size) >= size - torch.tensor(lengths)[:, None]).long()
    return tokens.masked_fill(mask == 0, 0), mask


# -- retrieval off --------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_retrieval_off_is_the_base_bit_for_bit(family: str) -> None:
    base = tiny.decoder(family)
    tokens = ids(2, 9)
    with torch.no_grad():
        expected = base(tokens).logits
        made = tiny.model(family)
        assert made.cca["0"].out.weight.abs().min() > 0  # trained weights are there, and unused
        assert torch.equal(made(tokens).logits, expected)
        neighbours = made.read(tiny.rows(QUESTIONS))
        assert not torch.allclose(made(tokens, neighbours=neighbours).logits, expected)
        assert torch.equal(made(tokens).logits, expected)  # and nothing stays behind


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_model_is_its_base_with_neighbours_too(family: str) -> None:
    made = tiny.model(family)
    for layer in made.cca.values():
        torch.nn.init.zeros_(layer.out.weight)
    tokens = ids(2, 9)
    with torch.no_grad():
        neighbours = made.read(tiny.rows(QUESTIONS))
        assert torch.equal(made(tokens, neighbours=neighbours).logits, made.base(tokens).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_says_where_layers_and_attention_are(family: str) -> None:
    layers = decoder_layers(tiny.decoder(family), family)
    assert len(layers) == 2
    assert all("Attention" in type(attention_of(layer, family)).__name__ for layer in layers)


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(UserError, match="'t5' is not known"):
        decoder_layers(tiny.decoder(), "t5")


# -- causality ------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_a_token_hears_neighbours_of_earlier_chunks_only(family: str) -> None:
    """The last token of C_u is the first to hear the neighbours of C_u (RETRO §2.4)."""
    made = tiny.model(family)
    rows = tiny.rows([[[0, 1], [2, 3], [4, 5]]])
    context = made.read(rows)
    states = context.encoded.states.detach().requires_grad_()
    context.encoded.states = states
    logits = made(ids(1, 3 * M), neighbours=context).logits
    for i in range(3 * M):
        (gradient,) = torch.autograd.grad(logits[0, i].pow(2).sum(), states, retain_graph=True)
        heard = gradient.abs().sum((0, 2, 3)) > 0
        assert heard.tolist() == [i >= (u + 1) * M - 1 for u in range(3)], i


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_a_token_hears_no_later_token(family: str) -> None:
    made = tiny.model(family, encoder={"conditioning_size": 32})
    rows = tiny.rows([[[0, 1], [2, 3]]])
    tokens = ids(1, 2 * M + 2)
    x = made.get_input_embeddings()(tokens).detach().requires_grad_()
    logits = made(inputs_embeds=x, neighbours=NeighbourContext(rows)).logits
    for i in range(x.shape[1]):
        (gradient,) = torch.autograd.grad(logits[0, i].pow(2).sum(), x, retain_graph=True)
        assert (gradient[0].abs().sum(1) > 0).tolist() == [j <= i for j in range(x.shape[1])], i


def test_an_incomplete_last_chunk_equals_a_complete_one() -> None:
    made = tiny.model()
    neighbours = made.read(tiny.rows([[[0, 1], [2, 3]]]))
    tokens = ids(1, 3 * M)
    whole = made(tokens, neighbours=neighbours).logits
    for size in range(1, 3 * M):
        found = made(tokens[:, :size], neighbours=neighbours).logits
        torch.testing.assert_close(found, whole[:, :size], rtol=1e-4, atol=1e-5)


def test_a_sequence_does_not_depend_on_its_batch() -> None:
    made = tiny.model()
    rows = tiny.rows([[[0, 1], [2, -1]], [[3, 4], [5, 6]]], width=6)
    rows.tokens[:3, 3:] = -1  # the first sequence has short neighbours, the second long ones
    rows.tokens[3:] = rows.tokens[3:].clamp(min=1)
    tokens = ids(2, 2 * M + 1)
    together = made(tokens, neighbours=made.read(rows)).logits
    for b in range(2):
        alone = made(tokens[b : b + 1], neighbours=made.read(part(rows, b))).logits
        torch.testing.assert_close(alone[0], together[b], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("conditioned", [False, True])
def test_padding_behind_a_sequence_changes_nothing(conditioned: bool) -> None:
    """The last chunk is partly padding: its neighbours, if it retrieved any, are heard by none."""
    made = tiny.model(encoder={"conditioning_size": 32 * conditioned})
    rows = tiny.rows([[[0, 1], [2, 3]], [[4, 5], [6, 7]]])
    size = M + 3
    tokens, mask = ids(2, 3 * M), torch.ones(2, 3 * M, dtype=torch.long)
    mask[0, size:] = 0
    with torch.no_grad():
        padded = made(tokens, attention_mask=mask, neighbours=NeighbourContext(rows)).logits
        alone = part(replace(rows, place=rows.place[:, :1]), 0)
        if conditioned:
            context = NeighbourContext(alone)
        else:
            states = made.encoder(alone.ids, alone.mask, alone.segments)
            context = NeighbourContext(alone, encoded=arranged(states, alone, None))
        short = made(tokens[:1, :size], neighbours=context).logits
    torch.testing.assert_close(padded[0, :size], short[0], rtol=1e-4, atol=1e-5)


def test_a_question_without_neighbours_in_a_batch_is_its_base() -> None:
    made = tiny.model()
    tokens = ids(2, M + 2)
    with torch.no_grad():
        some = made(tokens, neighbours=made.read(tiny.rows([[[0]], [[-1]]]))).logits
        none = made(tokens, neighbours=made.read(_no_rows(2))).logits
        base = made(tokens).logits
    assert not torch.allclose(some[0], base[0])
    torch.testing.assert_close(some[1], base[1])
    torch.testing.assert_close(none, base)


def _no_rows(batch: int) -> Rows:
    rows = tiny.rows([[[0]]])
    empty = {name: value[:0] for name, value in vars(rows).items() if name != "place"}
    return Rows(**empty, place=torch.full((batch, 1, 1), -1))


# -- encoding conditioned on the querying chunk ---------------------------------------------


def test_encodings_hear_the_chunk_that_retrieved_them_and_no_other() -> None:
    made = tiny.model(encoder={"conditioning_size": 32}, cca_layers=[0])
    rows = tiny.rows([[[0, 1], [2, -1]], [[3, -1], [4, 5]]])
    tokens = ids(2, 2 * M + 1)
    x = made.get_input_embeddings()(tokens).detach().requires_grad_()
    context = NeighbourContext(rows)
    made(inputs_embeds=x, neighbours=context)
    states, mask = context.encoded.states, context.encoded.mask
    for b in range(2):
        for u in range(2):
            own = states[b, u][mask[b, u]].pow(2).sum()
            (gradient,) = torch.autograd.grad(own, x, retain_graph=True)
            heard = gradient.abs().sum(-1) > 0
            # the first layer's attention has mixed earlier tokens into H_u, never later ones
            assert heard[1 - b].sum() == 0
            assert heard[b].tolist() == [i < (u + 1) * M for i in range(2 * M + 1)]


def test_conditioning_is_on_the_activations_of_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """H_u as handed to the encoder: row by row the m activations of the chunk in ``place``."""
    made = tiny.model(encoder={"conditioning_size": 32})
    rows = tiny.rows([[[0, 3], [2, -1]], [[1, -1], [5, 4]]])
    seen: list[Tensor] = []
    layer = made.cca["0"]
    encode, attend = made.encoder.forward, layer.forward
    monkeypatch.setattr(
        made.encoder, "forward", lambda *a: (seen.append(a[3].activations), encode(*a))[1]
    )
    monkeypatch.setattr(layer, "forward", lambda x, *a: (seen.append(x), attend(x, *a))[1])
    with torch.no_grad():
        made(ids(2, 2 * M + 2), neighbours=NeighbourContext(rows))
    chunk, x = seen
    assert chunk.shape == (6, M, 32)
    for b, places in enumerate(rows.place.tolist()):
        for u, row in ((u, r) for u, rs in enumerate(places) for r in rs if r >= 0):
            assert torch.equal(chunk[row], x[b, u * M : (u + 1) * M])


def test_a_conditioned_encoder_cannot_read_without_its_chunk() -> None:
    made = tiny.model(encoder={"conditioning_size": 32})
    with pytest.raises(ValueError, match="conditioned"):
        made.read(tiny.rows(QUESTIONS))


# -- generation and scoring -----------------------------------------------------------------


def answered(
    made: RetroForCausalLM,
    prompt: Tensor,
    mask: Tensor,
    context: NeighbourContext | None,
    *,
    steps: int = 6,
    **options: object,
) -> Tensor:
    """Greedy answer tokens [B, t], 0 from the end token on."""
    if context is not None:
        context.prompt_len = prompt.shape[1]
    with torch.no_grad():
        out = made.generate(
            prompt,
            attention_mask=mask,
            neighbours=context,
            max_new_tokens=steps,
            do_sample=False,
            pad_token_id=0,
            **options,
        )
    return out[:, prompt.shape[1] :]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "qwen2"])
@pytest.mark.parametrize("copy_head", [True, False])
def test_cached_generation_is_uncached_generation(family: str, copy_head: bool) -> None:
    made = tiny.model(family, copy_head=copy_head)
    prompt, mask = prompts([M, M - 1])
    rows = tiny.rows(QUESTIONS)
    outs = [
        answered(made, prompt, mask, made.read(rows), use_cache=cached) for cached in (True, False)
    ]
    assert torch.equal(*outs)
    assert not torch.equal(outs[0], answered(made, prompt, mask, None)[:, : outs[0].shape[1]])


def test_generation_across_chunks_reads_each_chunks_own_neighbours() -> None:
    """Longer than a chunk, with neighbours for several: the cache keeps the position."""
    made = tiny.model()
    rows = tiny.rows([[[0], [1], [2]]])
    prompt, mask = prompts([M])
    with torch.no_grad():
        outs = [
            answered(made, prompt, mask, made.read(rows), steps=2 * M + 1, use_cache=c)
            for c in (True, False)
        ]
        assert torch.equal(*outs)
        for i in range(outs[0].shape[1]):
            so_far = torch.cat([prompt, outs[0][:, :i]], 1)
            step = made(so_far, neighbours=made.read(rows)).logits[0, -1]
            assert step.argmax() == outs[0][0, i]


def test_neighbours_are_encoded_once_however_much_is_written() -> None:
    made = tiny.model()
    calls: list[int] = []
    made.encoder.layers[0].register_forward_hook(lambda *_: calls.append(1))
    prompt, mask = prompts([M, 2])
    context = made.read(tiny.rows(QUESTIONS))
    answered(made, prompt, mask, context)
    assert len(calls) == 1
    projected = dict(context.encoded.projected)
    assert len(projected) == 2  # a layer's keys and values, made once as well
    answered(made, prompt, mask, context)
    assert all(context.encoded.projected[k] is v for k, v in projected.items())


def test_left_padding_does_not_change_an_answer() -> None:
    made = tiny.model()
    rows = tiny.rows(QUESTIONS)
    prompt, mask = prompts([M, 2])
    together = answered(made, prompt, mask, made.read(rows), min_new_tokens=6)
    for b, length in enumerate([M, 2]):
        context = made.read(part(rows, b))
        context.first = M - length  # padding that nobody shares is left out, and only counted
        short, ones = prompt[b : b + 1, M - length :], mask[b : b + 1, M - length :]
        alone = answered(made, short, ones, context, min_new_tokens=6)
        assert torch.equal(alone[0], together[b])


def test_beams_read_the_neighbours_of_their_own_question() -> None:
    made = tiny.model()
    prompt, mask = prompts([M, 3])
    rows = tiny.rows(QUESTIONS)
    context = made.read(rows)
    context.prompt_len = M
    with torch.no_grad():
        out = made.generate(
            prompt,
            attention_mask=mask,
            neighbours=context,
            max_new_tokens=4,
            num_beams=3,
            num_return_sequences=3,
            do_sample=False,
            length_penalty=0.0,
            return_dict_in_generate=True,
            output_scores=True,
            pad_token_id=0,
        )
        each = made.read(tiny.rows([QUESTIONS[0]] * 3 + [QUESTIONS[1]] * 3))
        prompt, mask = (t.repeat_interleave(3, 0) for t in (prompt, mask))
        scores = made.score(prompt, mask, _ended(out.sequences[:, M:]), each)
    torch.testing.assert_close(scores.mixed.sum(1), out.sequences_scores, rtol=1e-4, atol=1e-4)


def _ended(tokens: Tensor) -> Tensor:
    """Generated tokens as ``score`` wants them: -1 behind the end token."""
    return tokens.masked_fill((tokens == 0).cumsum(1) > 1, -1)


def test_a_context_for_beams_repeats_each_question_in_its_place() -> None:
    context = tiny.model().read(tiny.rows(QUESTIONS))
    context.first = 3
    beams = context.expanded(6)
    assert beams is context.expanded(6)  # the same at every step, with its kept keys and values
    assert context.expanded(2) is context
    assert beams.first == 3
    for row in range(6):
        for name in ("encoded", "spans", "copy"):
            for field, value in vars(getattr(context, name)).items():
                if isinstance(value, Tensor):
                    assert torch.equal(vars(getattr(beams, name))[field][row], value[row // 3])


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("copy_head", [True, False])
def test_scores_are_the_log_probabilities_of_generation(family: str, copy_head: bool) -> None:
    """One pass over a given answer and token by token with a cache: the same mixture."""
    made = tiny.model(family, copy_head=copy_head)
    prompt, mask = prompts([M, 2])
    rows = tiny.rows(QUESTIONS)
    context = made.read(rows)
    context.prompt_len = M
    with torch.no_grad():
        out = made.generate(
            prompt,
            attention_mask=mask,
            neighbours=context,
            max_new_tokens=4,
            do_sample=True,
            top_k=0,
            return_dict_in_generate=True,
            output_logits=True,
            pad_token_id=0,
        )
        tokens = _ended(out.sequences[:, M:])
        log_p = torch.stack(out.logits, 1).log_softmax(-1)
        scores = made.score(prompt, mask, tokens, made.read(rows))
    steps = log_p.gather(2, tokens.clamp(min=0)[..., None])[..., 0].masked_fill(tokens < 0, 0)
    torch.testing.assert_close(scores.mixed, steps, rtol=1e-4, atol=1e-4)
    assert torch.equal(scores.mask, tokens >= 0)
    if copy_head:
        mixture = scores.gate * scores.copied.exp() + (1 - scores.gate) * scores.decoder.exp()
        torch.testing.assert_close(
            mixture.log()[scores.mask], scores.mixed[scores.mask], rtol=1e-4, atol=1e-4
        )
    else:
        assert torch.equal(scores.mixed, scores.decoder)
        assert not scores.gate.any()


@pytest.mark.parametrize("count", [1, 2])
def test_the_output_head_is_given_answers_in_one_piece(count: int) -> None:
    """Not as a view into whole sequences, for which it would copy its weight."""
    made, seen = tiny.model(), []
    prompt, mask = prompts([M, 2][:count])
    head = made.base.get_output_embeddings()
    head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        made.score(prompt, mask, torch.full((count, 3), 5), None)
    [hidden] = seen
    assert hidden.shape[:2] == (count, 3)
    assert hidden.stride() == torch.empty(hidden.shape).stride()


def test_what_can_be_written_next_has_mass_one() -> None:
    made = tiny.model()
    prompt, _ = prompts([M, 2])
    context = made.read(tiny.rows(QUESTIONS))
    with torch.no_grad():
        for written in ([], [[0], [0]], [[5], [9]]):
            prefix = torch.tensor(written, dtype=torch.long).view(2, -1)
            tokens = torch.cat([prompt, prefix], 1)
            logits = made(tokens, neighbours=context, answer_prefix=prefix).logits
            torch.testing.assert_close(logits.exp().sum(-1), torch.ones(2, 1), rtol=0, atol=1e-4)


def test_generation_ends_at_the_decoders_end_token() -> None:
    made = tiny.model()
    with torch.no_grad():
        made.gate.weight.zero_()
        made.gate.bias.fill_(30.0)  # copies, and nothing else
    prompt, mask = prompts([M])
    rows = tiny.rows([[[0]]], width=2)
    rows.may_start[:], rows.may_end[:] = rows.tokens >= 0, rows.tokens >= 0
    found = answered(made, prompt, mask, made.read(rows), steps=9)
    assert found[0, -1] == 0
    assert 2 <= found.shape[1] <= 3


def test_labels_give_a_loss_with_a_gradient_to_what_is_trained_alone() -> None:
    made = tiny.model()
    made.base.requires_grad_(False)
    tokens = ids(2, 2 * M)
    made(tokens, neighbours=made.read(tiny.rows(QUESTIONS)), labels=tokens).loss.backward()
    assert all(p.grad is None for p in made.base.parameters())
    touched = [n for n, p in made.cca.named_parameters() if p.grad is not None and p.grad.any()]
    assert {"0.query.weight", "1.out.weight", "1.bias_scale"} <= set(touched)


# -- checkpoints ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("weights")
    return tiny.write_base(folder / "base"), tiny.write_encoder(folder / "encoder")


@pytest.fixture
def trained(folders: tuple[Path, Path], tmp_path: Path) -> tuple[RetroForCausalLM, Path]:
    """A model whose every trained weight was changed, and its checkpoint."""
    base, encoder = folders
    made = retrofit(str(base), str(encoder), chunk_size=M, max_span=3, cca_layers=[0, 1])
    with torch.no_grad():
        for p in trained_parameters(made):
            p.copy_((p + torch.randn_like(p) * 0.1).bfloat16())  # as a checkpoint keeps it
    save(made, tmp_path / "checkpoint")
    return made, tmp_path / "checkpoint"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fresh_model_has_the_pretrained_weights(
    folders: tuple[Path, Path], dtype: torch.dtype
) -> None:
    from safetensors.torch import load_file

    base, encoder = folders
    made = retrofit(str(base), str(encoder), dtype=dtype)
    theirs = load_file(encoder / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert torch.equal(made.encoder.tokens.weight, theirs.to(dtype))
    assert {p.dtype for p in made.parameters()} == {dtype}
    frozen = [n for n, p in made.named_parameters() if not p.requires_grad]
    assert all(n.startswith(("base.", "encoder.tokens.")) for n in frozen)
    assert {n for n, _ in made.named_parameters() if n.startswith("base.")} < set(frozen)
    theirs = load_file(base / "model.safetensors")
    held = dict(made.base.state_dict())
    assert all(torch.equal(held[name], value.to(dtype)) for name, value in theirs.items())
    assert made.config.cca_layers == [1]
    config = made.config.encoder_config()
    assert config.dropout_from == config.num_hidden_layers - made.config.dropout_layers
    vocab = tiny.decoder_tokenizer().get_vocab()
    assert made.with_blank[vocab["b"]] == vocab["\u0120b"]


def test_a_checkpoint_comes_back_as_it_was(trained: tuple[RetroForCausalLM, Path]) -> None:
    made, folder = trained
    again = load(folder)
    ours, theirs = made.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert {p.dtype for p in load(folder, dtype=torch.bfloat16).parameters()} == {torch.bfloat16}
    for name in ("cca_layers", "chunk_size", "max_span", "encoder", "base_name", "base_hash"):
        assert getattr(again.config, name) == getattr(made.config, name)
    assert torch.equal(again.with_blank, made.with_blank)
    tokens, rows = ids(2, 2 * M), tiny.rows(QUESTIONS)
    with torch.no_grad():
        a, b = (m(tokens, neighbours=m.read(rows)).logits for m in (made, again))
    assert torch.equal(a, b)


def test_a_checkpoint_holds_what_was_trained_and_no_pickle(
    trained: tuple[RetroForCausalLM, Path],
) -> None:
    from safetensors import safe_open

    made, folder = trained
    text = (folder / "config.json").read_text()
    assert text.count(str(made.config.base_name)) == 1  # no other trace of this machine's folders
    assert {f.name for f in folder.iterdir()} == {"config.json", "model.safetensors"}
    with safe_open(folder / "model.safetensors", "pt") as stored:
        names = set(stored.keys())
    assert not [n for n in names if n.startswith(("base.", "encoder.tokens."))]
    parts = {"encoder", "reader", "cca", "gate", "with_blank"}
    assert {n.partition(".")[0] for n in names} == parts


def test_our_code_reads_and_writes_no_pickle() -> None:
    import retro

    for file in Path(retro.__file__).parent.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        for word in ("import pickle", "torch.load(", "torch.save(", "allow_pickle=True"):
            assert word not in text, file.name


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "no checkpoint here"),
        (lambda f: (f / "config.json").unlink(), "no checkpoint here"),
        (lambda f: _cut(f / "model.safetensors"), "damaged"),
        (lambda f: (f / "config.json").write_text("{"), "damaged config.json"),
        (lambda f: (f / "config.json").write_text("[1]"), "damaged config.json"),
        (lambda f: _edited(f, '"max_span": 3', '"max_span": 5'), "does not fit"),
        (lambda f: _edited(f, '"cca_layers"', '"cca_layers": [0], "x"'), "does not fit"),
        (lambda f: _edited(f, '"base_name": "', '"base_name": "gone'), "gone"),
    ],
)
def test_a_broken_checkpoint_is_one_line(
    trained: tuple[RetroForCausalLM, Path], damage: object, says: str
) -> None:
    _, folder = trained
    damage(folder)  # type: ignore[operator]
    with pytest.raises(UserError, match=says) as raised:
        load(folder)
    assert "\n" not in str(raised.value)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _edited(folder: Path, old: str, new: str) -> None:
    file = folder / "config.json"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_transformers_own_saving_and_loading(tmp_path: Path) -> None:
    made = tiny.model()
    made.with_blank[5] = 9
    made.save_pretrained(tmp_path)
    again = RetroForCausalLM.from_pretrained(tmp_path).eval()
    tokens, rows = ids(2, 2 * M), tiny.rows(QUESTIONS)
    with torch.no_grad():
        a, b = (m(tokens, neighbours=m.read(rows)).logits for m in (made, again))
    assert torch.equal(a, b)
    assert torch.equal(again.with_blank, made.with_blank)


def test_of_an_encoder_with_adapters_these_alone_are_kept(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    base, encoder = folders
    changes = {"lora_rank": 2, "lora_from": 1, "num_hidden_layers": 2}
    made = retrofit(str(base), str(encoder), chunk_size=M, max_span=3, encoder=changes)
    learning = {n for n, p in made.encoder.named_parameters() if p.requires_grad}
    assert learning
    assert all(n.startswith("layers.1.") and "lora_" in n for n in learning)
    with torch.no_grad():
        for p in trained_parameters(made):
            p.copy_((p + torch.randn_like(p) * 0.1).bfloat16())
        save(made, tmp_path)
        _, held = read_checkpoint(tmp_path)
        kept = {n.removeprefix("encoder.") for n in held if n.startswith("encoder.")}
        assert kept == learning
        again = load(tmp_path)
        ours, theirs = made.state_dict(), again.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_folded_adapters_read_alike_and_can_be_saved(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    base, encoder = folders
    changes = {"lora_rank": 2, "num_hidden_layers": 2}
    made = retrofit(
        str(base), str(encoder), chunk_size=M, max_span=3, encoder=changes, dtype=torch.float32
    ).eval()
    with torch.no_grad():
        for p in trained_parameters(made):
            p.add_(torch.randn_like(p) * 0.1)
        x = torch.randn(2, 5, made.encoder.config.hidden_size)
        seen = torch.ones(2, 5, dtype=torch.bool)
        unfolded = made.encoder.run(x, seen)
        made.fold()
        assert not any("lora_" in n for n, _ in made.named_parameters())
        torch.testing.assert_close(made.encoder.run(x, seen), unfolded)
        save(made, tmp_path)
        again = load(tmp_path, dtype=torch.float32)
        torch.testing.assert_close(again.encoder.run(x, seen), unfolded, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("integers", ["vnni", "avx2"])
@pytest.mark.parametrize("family", FAMILIES)
def test_in_eight_bits_it_says_nearly_the_same(family: str, integers: Integers) -> None:
    made = tiny.model(family)
    tokens = ids(2, 9)
    exact = [made.gate, made.base.get_output_embeddings(), made.reader.start, made.reader.end]
    weights = [part.weight.detach().clone() for part in exact]
    with torch.no_grad():
        alone = made(tokens).logits
        together = made(tokens, neighbours=made.read(tiny.rows(QUESTIONS))).logits
        made.in_eight_bits(integers)
        rounded = made(tokens).logits
        read = made(tokens, neighbours=made.read(tiny.rows(QUESTIONS))).logits
    assert 0 < (read - together).norm() / together.norm() < 0.05
    if integers == "avx2":  # few tokens at a time are no faster: the decoder stays
        assert torch.equal(rounded, alone)
    elif family != "gpt2":  # whose layers are no linear ones
        assert 0 < (rounded - alone).norm() / alone.norm() < 0.05
    assert not any(isinstance(m, torch.nn.Linear) for m in made.encoder.modules())
    assert not any(isinstance(m, torch.nn.Linear) for m in made.cca.modules())
    for part, weight in zip(exact, weights, strict=True):
        assert torch.equal(part.weight, weight)


def test_a_decoder_with_adapters_is_not_rounded(folders: tuple[Path, Path]) -> None:
    base, encoder = folders
    made = retrofit(str(base), str(encoder), chunk_size=M, max_span=3, cca_layers=[0, 1])
    tune(made, "lora")
    with torch.no_grad():
        before = made(ids(1, M)).logits
        made.in_eight_bits("vnni")
        assert torch.equal(made(ids(1, M)).logits, before)
    assert not any(isinstance(m, torch.nn.Linear) for m in made.encoder.modules())


# -- a base that learns too -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["lora", "full"])
def test_a_trained_base_is_part_of_the_checkpoint(
    how: Base, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    base, encoder = folders
    made = retrofit(str(base), str(encoder), chunk_size=M, max_span=3, cca_layers=[0, 1])
    tokens = ids(2, 2 * M)
    with torch.no_grad():
        before = made(tokens).logits
        [module] = tune(made, how)
        assert module is made.base
        assert torch.equal(made(tokens).logits, before)  # nothing is different before training
        learn = {n: p for n, p in made.base.named_parameters() if p.requires_grad}
        assert all(("lora_" in n) == (how == "lora") for n in learn)
        assert learn
        for p in learn.values():
            p.copy_((p + torch.randn_like(p) * 0.1).bfloat16())
        save(made, tmp_path)
        again = load(tmp_path)
        rows = tiny.rows(QUESTIONS)
        assert not torch.allclose(again(tokens).logits, before)
        a, b = (m(tokens, neighbours=m.read(rows)).logits for m in (made, again))
    assert torch.equal(a, b)
    assert not any(p.requires_grad for p in again.base.parameters())
    assert again.base.get_input_embeddings().weight is not None
    tune(again, how)  # a run that starts from there
    assert {n for n, p in again.base.named_parameters() if p.requires_grad} == set(learn)


def test_a_base_trained_one_way_is_not_trained_another() -> None:
    made = tiny.model()
    assert tune(made, "frozen") == []
    tune(made, "full")
    with pytest.raises(UserError, match="trained whole"):
        tune(made, "lora")
    made.config.base_training = "lora"
    with pytest.raises(UserError, match="has adapters"):
        tune(made, "full")


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    made = tiny.model("gpt2")
    tune(made, "full")
    save(made, tmp_path)
    names = set(load_file(tmp_path / "model.safetensors"))
    assert len({"base.lm_head.weight", "base.transformer.wte.weight"} & names) == 1


def test_other_base_weights_than_those_trained_on_are_told(
    trained: tuple[RetroForCausalLM, Path], caplog: pytest.LogCaptureFixture
) -> None:
    made, folder = trained
    load(folder)
    assert not caplog.records
    _edited(folder, made.config.base_hash, "0" * 64)
    load(folder)
    [record] = caplog.records
    assert "was trained on other weights than those found as" in record.getMessage()
    assert "\n" not in record.getMessage()
