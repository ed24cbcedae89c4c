"""Masks, padding and rows that do not count: in attention and in every decoder with it."""

import itertools
import math

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from mathkernels import nn

B, S, T, M, H, I = 4, 7, 5, 6, 5, 3
LENGTHS = torch.tensor([7, 3, 1, 4])
SCORES = {
    "scaled_dot": {"score": "scaled_dot", "key_size": 4, "value_size": 2},
    "general": {"score": "general"},
    "additive": {"score": "additive", "key_size": 4},
}
FEEDS = {
    "output": {"attentional_size": 4},
    "context": {"feed": "context"},
    "attentional": {"feed": "attentional", "attentional_size": 4},
    "before": {"query": "before", "feed": "context"},
    "cross": {"cross": True, "attention_bias": True},
}
DECODERS = list(itertools.product(("AttentionLSTM", "AttentionGRU"), FEEDS))
every_score = pytest.mark.parametrize("score", SCORES)
every_decoder = pytest.mark.parametrize(("kind", "feed"), DECODERS)


def attention(score, **options):
    return nn.Attention(H, M, **SCORES[score], **{"bias": score != "general", **options})


def decoder(kind, feed, score="additive", **options):
    return getattr(nn, kind)(I, H, M, **SCORES[score], **FEEDS[feed], **options)


def inputs(seed=0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    x, query, memory = (
        torch.randn(*shape, generator=g, dtype=dtype) for shape in ((T, B, I), (T, B, H), (S, B, M))
    )
    return x, query, memory


def bool_mask():
    return torch.arange(S) < LENGTHS[:, None]


def padded(memory, filling):
    return memory.masked_fill(~bool_mask().T[..., None], filling)


def flat(result):
    parts = [result] if isinstance(result, torch.Tensor) else [p for r in result for p in flat(r)]
    return list(parts)


def same_bits(one, other):
    for a, b in zip(flat(one), flat(other), strict=True):
        assert torch.equal(a, b)


def with_gradients(module, call, *leaves):
    """The results of a call, and the gradients of the leaves and of all parameters."""
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    results = flat(call(*leaves))
    total = sum((r * torch.linspace(-1, 1, r.numel()).to(r).reshape(r.shape)).sum() for r in results)
    gradients = torch.autograd.grad(total, [*leaves, *module.parameters()], allow_unused=True)
    return [r.detach() for r in results], [g for g in gradients if g is not None]


@every_score
def test_every_kind_of_mask_says_the_same(score):
    _, query, memory = inputs()
    module, allowed = attention(score, heads=1), bool_mask()
    right = module(query, memory, allowed, return_weights=True)
    same_bits(right, module(query, memory, lengths=LENGTHS, return_weights=True))
    same_bits(right, module(query, memory, lengths=LENGTHS.tolist(), return_weights=True))
    same_bits(right, module(query, memory, allowed, LENGTHS, return_weights=True))
    packed = pack_padded_sequence(memory, LENGTHS, enforce_sorted=False)
    same_bits(right, module(query, packed, return_weights=True))
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for value in (-math.inf, torch.finfo(dtype).min):
            mask = torch.zeros(B, S, dtype=dtype).masked_fill(~allowed, value)
            same_bits(right, module(query, memory, mask, return_weights=True))


@every_score
def test_the_mass_on_padding_is_zero_and_nothing_arrives_from_it(score):
    _, query, memory = inputs()
    module, found = attention(score, heads=1), []
    for filling in (0.0, 1e30, math.inf, math.nan):
        call = lambda q, m: module(q, m, lengths=LENGTHS, return_weights=True)  # noqa: E731
        found.append(with_gradients(module, call, query, padded(memory, filling)))
        (_, weights), (_, dmemory, *_) = found[-1]
        assert (weights[~bool_mask()[:, None, None].expand_as(weights)] == 0).all()
        assert (dmemory[~bool_mask().T] == 0).all()
        same_bits(found[0], found[-1])
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, 1, T))


@every_score
@pytest.mark.parametrize("how", ["mask", "lengths"])
def test_a_row_that_sees_nothing_gives_zeros(score, how):
    _, query, memory = inputs()
    module = attention(score, bias=False)
    allowed, lengths = bool_mask(), LENGTHS.clone()
    allowed[2], lengths[2] = False, 0
    given = {"mask": allowed} if how == "mask" else {"lengths": lengths}
    memory[:, 2] = math.nan
    query[:, 2] = math.inf
    (context, weights), gradients = with_gradients(
        module, lambda q, m: module(q, m, **given, return_weights=True), query, padded(memory, math.nan)
    )
    for part in (context[:, 2], weights[2], gradients[0][:, 2], gradients[1][:, 2]):
        assert (part == 0).all()
    assert all(g.isfinite().all() for g in gradients[1:])


@every_score
def test_nan_in_a_live_place_arrives_in_its_row_alone(score):
    _, query, memory = inputs()
    module = attention(score)
    right = module(query, memory, lengths=LENGTHS)
    query[2, 1, 0] = math.nan
    found = module(query, memory, lengths=LENGTHS)
    bad = found.isnan()
    assert bad[2, 1].all()
    assert bad.sum() == bad[2, 1].numel()
    assert torch.equal(found[~bad], right[~bad])


@every_score
def test_the_weights_cost_nothing_in_digits(score):
    _, query, memory = inputs()
    module = attention(score)
    with_weights = module(query, memory, lengths=LENGTHS, return_weights=True)
    same_bits(with_weights[0], module(query, memory, lengths=LENGTHS))


@every_score
def test_a_row_alone_is_the_row_in_a_padded_batch(score):
    _, query, memory = inputs()
    module = attention(score)
    whole, weights = module(query, memory, lengths=LENGTHS, return_weights=True)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, one = module(query[:, row], memory[:length, row], return_weights=True)
        same_bits([alone, one], [whole[:, row], weights[row, ..., :length]])


def test_bfloat16_masks_and_modules_do_not_overflow():
    _, query, memory = inputs()
    module = attention("scaled_dot").bfloat16()
    for value in (-math.inf, torch.finfo(torch.bfloat16).min, torch.finfo(torch.float16).min):
        mask = torch.zeros(B, S, dtype=torch.bfloat16).masked_fill(~bool_mask(), value)
        context, weights = module(query.bfloat16(), memory.bfloat16(), mask, return_weights=True)
        assert context.dtype == weights.dtype == torch.bfloat16
        assert context.isfinite().all()
        assert (weights[1, ..., 3:] == 0).all()


# ---- decoders


@every_decoder
def test_the_mask_reaches_the_scores_of_every_step(kind, feed):
    x, _, memory = inputs()
    module = decoder(kind, feed)
    *_, weights = module(x, memory, memory_lengths=LENGTHS, return_weights=True)
    assert weights.shape == (T, B, 1, S)
    assert (weights[:, ~bool_mask()[:, None]] == 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(T, B, 1))


@every_decoder
def test_nothing_arrives_from_padding_of_source_or_target(kind, feed):
    x, _, memory = inputs()
    module, ends = decoder(kind, feed), torch.tensor([5, 2, 0, 3])
    ended, found = torch.arange(T)[:, None] >= ends, []
    for filling in (0.0, math.inf, math.nan):
        given = {"memory_lengths": LENGTHS, "return_context": True, "return_weights": True}
        call = lambda x, m, given=given: module(x, m, None, ends, **given)  # noqa: E731
        spoilt = x.masked_fill(ended[..., None], filling)
        found.append(with_gradients(module, call, spoilt, padded(memory, filling)))
        same_bits(found[0], found[-1])
    results, (dx, dmemory, *_) = found[-1]
    output, context, weights = results[0], *results[-2:]
    for part in (output, context, weights, dx):
        assert (part[ended] == 0).all()
    assert (dmemory[:, 2] == 0).all()  # of no step


@every_decoder
def test_a_row_alone_is_the_row_in_a_batch_of_decoders(kind, feed):
    x, _, memory = inputs()
    module, ends = decoder(kind, feed), torch.tensor([5, 2, 1, 3])
    whole = module(x, memory, None, ends, memory_lengths=LENGTHS, return_weights=True)
    for row, (end, length) in enumerate(zip(ends.tolist(), LENGTHS.tolist(), strict=True)):
        output, states, weights = module(x[:end, row], memory[:length, row], return_weights=True)
        same_bits(output, whole[0][:end, row])
        same_bits(states, [state[row] for state in whole[1]])
        same_bits(weights, whole[2][:end, row, :, :length])


@every_decoder
def test_a_spoilt_row_or_model_stays_alone(kind, feed):
    x, _, memory = inputs()
    module = decoder(kind, feed)
    right = module(x, memory, memory_lengths=LENGTHS)
    spoilt = memory.clone()
    spoilt[0, 1] = math.nan
    found = module(x, spoilt, memory_lengths=LENGTHS)
    others = [0, 2, 3]
    same_bits(found[0][:, others], right[0][:, others])
    assert found[0][-1, 1].isnan().all()
    many = decoder(kind, feed, models=2)
    both = many(torch.stack([x, x]), torch.stack([memory, spoilt * math.nan]), memory_lengths=LENGTHS)
    same_bits(
        both[0][0], many(torch.stack([x, x]), torch.stack([memory, memory]), memory_lengths=LENGTHS)[0][0]
    )


@every_decoder
def test_a_row_without_a_source_decodes_with_contexts_of_zero(kind, feed):
    x, _, memory = inputs()
    module, lengths = decoder(kind, feed), torch.tensor([7, 0, 1, 4])
    output, _, context = module(x, memory, memory_lengths=lengths, return_context=True)
    assert output.isfinite().all()
    assert (context[:, 1] == 0).all()


@pytest.mark.parametrize("feed", ["context", "attentional"])
def test_feeding_takes_the_step_before_and_begins_anew_in_every_call(feed):
    x, _, memory = inputs()
    module = decoder("AttentionLSTM", feed)
    first = module(x, memory)
    same_bits(first, module(x, memory))
    changed = x.clone()
    changed[2:] += 1
    other = module(changed, memory)
    same_bits(first[0][:2], other[0][:2])
    cut, states = module(x[:2], memory)
    rest, _ = module(x[2:], memory, states)
    torch.testing.assert_close(torch.cat([cut, rest]), first[0])
    without, _ = module(x[2:], memory, states[:2])  # what is fed left out: another result
    assert not torch.allclose(without, first[0][2:])


def test_masks_that_cannot_be_meant_are_refused():
    _, query, memory = inputs()
    module = attention("general")
    for mask, error, message in [
        (torch.ones(B, S), ValueError, "mask holds 1; a mask of real numbers needs 0"),
        (torch.full((B, S), -1e4), ValueError, "mask holds -10000"),
        (torch.full((B, S), math.nan), ValueError, "mask holds nan"),
        (torch.ones(S, B, dtype=torch.bool), ValueError, r"mask has shape \(7, 4\); needs \(4, 7\)"),
        (torch.ones(B, S, dtype=torch.int64), TypeError, r"mask is torch.int64; needs torch.bool"),
        ([[True]], TypeError, "mask is list"),
    ]:
        with pytest.raises(error, match=message):
            module(query, memory, mask)
    for lengths, error, message in [
        ([8, 1, 1, 1], ValueError, "lengths of the source holds 8; needs steps from 0 to 7"),
        ([-1, 1, 1, 1], ValueError, "lengths of the source holds -1"),
        ([1, 1], ValueError, r"lengths of the source has shape \(2,\); needs \(4,\)"),
        ([1.0, 1, 1, 1], TypeError, "lengths is torch.float32"),
    ]:
        with pytest.raises(error, match=message):
            module(query, memory, lengths=lengths)
    prepared = module.prepare(memory, lengths=LENGTHS)
    with pytest.raises(ValueError, match="the memory is prepared"):
        module(query, prepared, lengths=LENGTHS)
