"""The neighbour encoder: BERT's arithmetic, rows apart, and dropout that can be repeated."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch import Tensor

from index.errors import UserError
from retro.encoder import (
    GROUP,
    Conditioning,
    EncoderConfig,
    NeighbourEncoder,
    TokenSharedDropout,
    attend,
    draw_mask,
    pretrained_state,
)

CONFIG = EncoderConfig(
    vocab_size=50,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=16,
)


def encoder(seed: int = 0, **changes: object) -> NeighbourEncoder:
    torch.manual_seed(seed)
    made = NeighbourEncoder(EncoderConfig(**{**vars(CONFIG), **changes}))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.4)
    return made.eval()


def batch(count: int = 3, size: int = 6, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 50, (count, size), generator=draw)
    lengths = torch.arange(size, size - count, -1).clamp(min=2)
    segments = (torch.arange(size) > 2).long().expand(count, -1)
    return ids, torch.arange(size) < lengths[:, None], segments


def test_computes_what_transformers_bert_computes(tmp_path: Path) -> None:
    from transformers import BertModel

    folder = tiny.write_encoder(tmp_path)
    bert = BertModel.from_pretrained(folder).float().eval()
    ours = NeighbourEncoder(EncoderConfig.of_pretrained(bert.config.to_dict())).eval()
    state = pretrained_state(load_file(folder / "model.safetensors"))
    assert set(state) == set(ours.state_dict())
    ours.load_state_dict(state)
    ids, mask, segments = batch()
    with torch.no_grad():
        expected = bert(ids, attention_mask=mask.long(), token_type_ids=segments)
        found = ours(ids, mask, segments)
    torch.testing.assert_close(found[mask], expected.last_hidden_state[mask], rtol=1e-4, atol=1e-5)


def test_computes_what_transformers_mpnet_computes() -> None:
    """On rows so long that distances fall into every kind of bucket."""
    from transformers import MPNetConfig, MPNetModel

    torch.manual_seed(1)
    config = MPNetConfig(
        vocab_size=51,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=302,
    )
    mpnet = MPNetModel(config).eval()
    with torch.no_grad():
        mpnet.encoder.relative_attention_bias.weight.normal_()
        ours = NeighbourEncoder(EncoderConfig.of_pretrained(config.to_dict())).eval()
        state = pretrained_state(mpnet.state_dict())
        assert set(state) == set(ours.state_dict())
        ours.load_state_dict(state)
        ids, mask, segments = batch(size=300)
        ids = (ids + 1).masked_fill(~mask, config.pad_token_id)
        expected = mpnet(ids, attention_mask=mask.long()).last_hidden_state
        found = ours(ids, mask, segments)
    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-4, atol=1e-5)


def test_another_family_is_named() -> None:
    with pytest.raises(UserError, match="encoder of type roberta: only bert and mpnet"):
        EncoderConfig.of_pretrained({"model_type": "roberta"})


def test_adapters_change_nothing_at_first_and_need_no_backward_pass_below() -> None:
    plain, adapted = encoder(), encoder(lora_rank=2, lora_from=1)
    adapted.load_state_dict(plain.state_dict(), strict=False)
    for name, p in adapted.named_parameters():
        if name.endswith("lora_b"):
            p.data.zero_()  # as a fresh one is
    ids, mask, segments = batch()
    x = plain.embed(ids, segments).detach()
    torch.testing.assert_close(adapted.run(x, mask), plain.run(x, mask))
    learning = {n: p for n, p in adapted.named_parameters() if "lora_" in n}
    assert {n.split(".")[1] for n in learning} == {"1"}
    adapted.requires_grad_(False)
    for p in learning.values():
        p.requires_grad_()
        p.data.normal_()
    assert adapted.run(x, mask, last=1).grad_fn is None
    adapted.run(x, mask)[0].pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in learning.values())
    layer = adapted.layers[1].up
    whole = layer.weight + 2 * layer.lora_b @ layer.lora_a
    torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, whole, layer.bias))


def test_names_with_a_prefix_are_the_same_state(tmp_path: Path) -> None:
    state = load_file(tiny.write_encoder(tmp_path) / "model.safetensors")
    prefixed = pretrained_state({f"bert.{name}": value for name, value in state.items()})
    assert prefixed.keys() == pretrained_state(state).keys()


def test_plain_attention_is_torchs() -> None:
    q, k, v = torch.randn(3, 2, 4, 5, 8).unbind()
    mask = torch.arange(5)[None, None, None] < torch.tensor([5, 3])[:, None, None, None]
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    bias = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    torch.testing.assert_close(attend(q, k, v, bias), expected)


def test_a_row_hears_neither_other_rows_nor_its_padding() -> None:
    made, (ids, mask, segments) = encoder(), batch()
    x = made.embed(ids, segments).detach().requires_grad_()
    states = made.run(x, mask)
    states[1][mask[1]].pow(2).sum().backward()
    heard = x.grad.abs().sum(-1) > 0
    assert torch.equal(heard, mask & (torch.arange(3) == 1)[:, None])
    short = made(ids[1:2, :5], mask[1:2, :5], segments[1:2, :5])
    torch.testing.assert_close(short[0], states[1, :5])


def test_no_rows_at_all() -> None:
    """A batch in which no question has a neighbour."""
    made, (ids, mask, segments) = encoder(), batch()
    assert made(ids[:0], mask[:0], segments[:0]).shape == (0, 6, 8)
    nothing = made.embed(ids[:0], segments[:0])
    assert made.run_by_length(nothing, mask[:0], last=1).shape == (0, 6, 8)


def test_rows_of_like_length_together_are_the_rows_as_they_stand() -> None:
    made, (ids, mask, segments) = encoder(), batch(count=2 * GROUP + 3, size=12)
    mask = torch.arange(12) < torch.randint(1, 13, (len(ids), 1))
    with torch.no_grad():
        x = made.embed(ids, segments)
        for layers in ({}, {"last": 1}, {"first": 1}):
            expected, found = made.run(x, mask, **layers), made.run_by_length(x, mask, **layers)
            torch.testing.assert_close(found[mask], expected[mask])


def test_conditioning_starts_at_nothing_and_then_hears_its_own_chunk_only() -> None:
    made, (ids, mask, segments) = encoder(conditioning_size=10), batch()
    chunk = torch.randn(3, 4, 10, requires_grad=True)
    heard = Conditioning(chunk, torch.ones(3, 4, dtype=torch.bool))
    made(ids, mask, segments, heard)[1].pow(2).sum().backward()
    assert (chunk.grad.abs().sum((1, 2)) > 0).tolist() == [False, True, False]
    assert chunk.grad[1].abs().sum(1).min() > 0
    fresh = NeighbourEncoder(made.config).eval()
    with torch.no_grad():
        torch.testing.assert_close(fresh(ids, mask, segments, heard), fresh(ids, mask, segments))


def test_conditioning_hears_what_is_seen_of_a_chunk() -> None:
    made, rows = encoder(conditioning_size=10), batch()
    chunk = torch.randn(3, 4, 10)
    seen = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]) > 0
    with torch.no_grad():
        found = made(*rows, Conditioning(chunk, seen))
        short = made(*(t[1:2] for t in rows), Conditioning(chunk[1:2, 2:], seen[1:2, 2:]))
    torch.testing.assert_close(found[1], short[0])
    assert found.isfinite().all()  # a chunk of which nothing is seen, too


def test_dropout_shares_one_mask_among_a_rows_tokens() -> None:
    drop = TokenSharedDropout(0.25).train()
    x = torch.ones(500, 3, 8)
    y = drop(x)
    assert torch.equal(y, y[:, :1].expand_as(y))
    assert y.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert y.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(drop.eval()(x), x)
    assert torch.equal(TokenSharedDropout(0.0).train()(x), x)


def test_a_mask_is_a_function_of_its_generator() -> None:
    like = torch.zeros(1, dtype=torch.bfloat16)
    drawn = [draw_mask((4, 1, 8), 0.5, torch.Generator().manual_seed(s), like) for s in (3, 3, 4)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert drawn[0].dtype == torch.bfloat16


def samples(
    made: NeighbourEncoder, data: tuple[Tensor, Tensor, Tensor], count: int, seed: int = 0
) -> Tensor:
    ids, mask, segments = data
    below = made.run(made.embed(ids, segments), mask, last=1)
    return made.suffix_samples(below, mask, 1, count, torch.Generator().manual_seed(seed))


def test_suffix_samples_are_repeatable_and_differ_from_each_other() -> None:
    made, data = encoder(dropout=0.3), batch()
    found = samples(made, data, 4)
    assert found.shape == (4, 3, 6, 8)
    assert torch.equal(found, samples(made, data, 4))
    assert not torch.equal(found, samples(made, data, 4, seed=1))
    for a in range(4):
        for b in range(a):
            assert not torch.allclose(found[a], found[b])


def test_layers_below_those_that_are_sampled_train_without_dropout() -> None:
    made, (ids, mask, segments) = encoder(dropout=0.3, dropout_from=1).train(), batch()
    x = made.embed(ids, segments)
    below = [made.run(x, mask, last=1) for _ in range(2)]
    above = [made.run(below[0], mask, first=1) for _ in range(2)]
    assert torch.equal(*below)
    assert not torch.equal(*above)


def test_without_dropout_every_sample_is_the_plain_pass() -> None:
    made, data = encoder(dropout=0.0), batch()
    found = samples(made, data, 2)
    torch.testing.assert_close(found, made(*data).expand(2, -1, -1, -1))


def test_a_sample_drops_the_same_features_for_every_row() -> None:
    """So a row's sample does not depend on which rows it is batched with."""
    made, (ids, mask, segments) = encoder(dropout=0.3), batch()
    alone = samples(made, (ids[2:], mask[2:], segments[2:]), 4)
    torch.testing.assert_close(alone[:, 0], samples(made, (ids, mask, segments), 4)[:, 2])


def test_config_reads_berts_fields_and_takes_changes() -> None:
    config = EncoderConfig.of_pretrained({"hidden_size": 8, "model_type": "bert"}, dropout=0.3)
    assert (config.hidden_size, config.dropout, config.num_hidden_layers) == (8, 0.3, 6)
