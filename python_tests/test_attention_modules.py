"""Attention and its decoders against torch.nn's layers and loops, and what callers may count on."""

import copy
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn as torch_nn

from mathkernels import nn

B, S, T, M, H, I, A = 3, 6, 5, 4, 4, 3, 5
DOUBLE = {"dtype": torch.float64}
close = torch.testing.assert_close


def draw(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype)


def bits(one, other):
    close(one, other, rtol=0, atol=0)


# ---- attention


@pytest.mark.parametrize("memory_size", [8, 6])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_multi_head_attention_of_torch_with_its_state_dict(memory_size, batch_first, bias):
    options = {"bias": bias, "batch_first": batch_first, **DOUBLE}
    theirs = torch_nn.MultiheadAttention(8, 2, kdim=memory_size, vdim=memory_size, **options)
    sizes = {"heads": 2, "key_size": 4, "value_size": 4, "output_size": 8}
    ours = nn.Attention(8, memory_size, **sizes, **options)
    if bias:
        torch_nn.init.normal_(theirs.in_proj_bias)
    ours.load_state_dict(theirs.state_dict())
    shapes = ((B, T, 8), (B, S, memory_size)) if batch_first else ((T, B, 8), (S, B, memory_size))
    query, memory = (draw(*shape).requires_grad_() for shape in shapes)
    allowed = torch.arange(S) < torch.tensor([6, 2, 4])[:, None]
    right, right_weights = theirs(
        query, memory, memory, key_padding_mask=~allowed, average_attn_weights=False
    )
    found, weights = ours(query, memory, allowed, return_weights=True)
    close([found, weights], [right, right_weights])
    for result, value in ((right, found),):
        close(
            torch.autograd.grad(value.sin().sum(), (query, memory)),
            torch.autograd.grad(result.sin().sum(), (query, memory)),
        )


def test_attention_without_a_batch_and_with_models():
    module = nn.Attention(H, M, score="general", heads=2, models=2, **DOUBLE)
    query, memory = draw(2, T, B, H), draw(2, S, B, M)
    lengths = torch.tensor([[1, 2, 3], [6, 5, 4]])
    whole, weights = module(query, memory, lengths=lengths, return_weights=True)
    assert weights.shape == (2, B, 2, T, S)
    shared = module(query, memory, lengths=lengths[1])
    close(shared[1], whole[1])
    row, alpha = module(query[:, :, 1], memory[:, :, 1], lengths=lengths[:, 1], return_weights=True)
    bits(row, whole[:, :, 1])
    bits(alpha, weights[:, 1])
    state = {name: p[1] for name, p in module.state_dict().items()}
    alone = nn.Attention(H, M, score="general", heads=2, **DOUBLE)
    alone.load_state_dict(state)
    bits(alone(query[1], memory[1], lengths=lengths[1]), whole[1])


def test_attention_names_what_is_wrong():
    for arguments, options, message in [
        ((0, 4), {}, "query_size is 0"),
        (
            (4, 4),
            {"score": "cosine"},
            "score is 'cosine'; needs one of 'dot', 'scaled_dot', 'general', 'additive'",
        ),
        ((4, 4), {"heads": 3}, "query_size 4 is not divisible by heads 3"),
        ((4, 3), {"heads": 2, "key_size": 2}, "memory_size 3 is not divisible by heads 2"),
        ((4, 3), {}, "query_size 4 and memory_size 3 differ; needs key_size"),
        ((4, 3), {"score": "general", "key_size": 3}, "heads * key_size is 3; 'general' needs query_size 4"),
        ((4, 4), {"models": 0}, "models is 0"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            nn.Attention(*arguments, **options)
    module = nn.Attention(4, 4)
    x = torch.zeros(2, 3, 4)
    for given, error, message in [
        ((x[..., :3], x), ValueError, "query has shape (2, 3, 3); needs (Q, B, 4) or (Q, 4)"),
        ((x, x[..., :3]), ValueError, "memory has shape (2, 3, 3); needs (S, B, 4)"),
        ((x, x[:, 0]), ValueError, "memory has shape (2, 4); needs (S, B, 4)"),
        ((x, x[:, :2]), ValueError, "memory has 2 rows; needs the 3 of query"),
        (([1.0], x), TypeError, "query is list"),
    ]:
        with pytest.raises(error, match=re.escape(message)):
            module(*given)


# ---- decoders


def input_feeding_loop(cell, attend, combine, x, memory, h, c, feeds):
    """A decoder as it is written over torch.nn.LSTMCell; ``feeds``: its context (0) or what comes of it."""
    context, fed, outputs = None, x.new_zeros(x.shape[1], (M, A)[feeds]), []
    for step in x:
        h, c = cell(torch.cat([step, fed], -1), (h, c))
        context = attend(h)
        attentional = torch.tanh(combine(torch.cat([context, h], -1)))
        fed = (context, attentional)[feeds]
        outputs.append(attentional)
    return torch.stack(outputs), h, c, fed


@pytest.mark.parametrize("feed", ["context", "attentional"])
def test_a_decoder_with_input_feeding_is_the_loop_over_torchs_cell(feed):
    module = nn.AttentionLSTM(I, H, M, score="general", feed=feed, attentional_size=A, **DOUBLE)
    cell = torch_nn.LSTMCell(I + module.fed_size, H, **DOUBLE)
    assert module.load_state_dict(cell.state_dict(), strict=False).unexpected_keys == []
    x, memory, h, c = draw(T, B, I), draw(S, B, M), draw(B, H), draw(B, H)

    def attend(h):
        keys = memory.transpose(0, 1)
        scores = torch.einsum("bh,hm,bsm->bs", h, module.attention.k_proj_weight, keys)
        return torch.einsum("bs,bsm->bm", torch.softmax(scores, -1), keys)

    def combine(rows):
        return F.linear(rows, module.weight_output, module.bias_output)

    right = input_feeding_loop(cell, attend, combine, x, memory, h, c, int(feed == "attentional"))
    output, states = module(x, memory, (h, c))
    close([output, *states], list(right))


def make(kind, **options):
    return getattr(nn, kind)(I, H, M, **{"score": "general", **DOUBLE, **options})


WAYS = [
    ("AttentionLSTM", {"feed": "attentional", "attentional_size": A}),
    ("AttentionLSTM", {"query": "before", "feed": "context", "score": "additive"}),
    ("AttentionGRU", {"cross": True, "heads": 2, "score": "scaled_dot", "key_size": 3, "value_size": 3}),
    ("AttentionGRU", {"feed": "context"}),
]
every_way = pytest.mark.parametrize(("kind", "options"), WAYS)


@every_way
def test_single_steps_are_the_whole_for_one_row_or_many_of_each_source(kind, options):
    module = make(kind, **options)
    x, memory, lengths = draw(T, B, I), draw(S, B, M), torch.tensor([6, 1, 4])
    whole, ends, weights = module(x, memory, memory_lengths=lengths, return_weights=True)
    source = module.prepare(memory, lengths=lengths)
    for k in (1, 3):
        states, outputs, alphas = None, [], []
        for step in x:
            output, states, alpha = module.step(step.repeat_interleave(k, 0), states, source, True)
            outputs.append(output)
            alphas.append(alpha)
        close(torch.stack(outputs), whole.repeat_interleave(k, 1))
        close(torch.stack(alphas), weights.repeat_interleave(k, 1))
        close(states, tuple(end.repeat_interleave(k, 0) for end in ends))


@every_way
def test_token_ids_are_one_hot_rows(kind, options):
    module = make(kind, **options)
    ids, memory = torch.randint(0, I, (T, B)), draw(S, B, M)
    close(module(ids, memory), module(F.one_hot(ids, I).double(), memory))
    source = module.prepare(memory)
    states = tuple(
        draw(2 * B, n) for n in (*[H] * len(module.cell_states), module.fed_size)[: len(module.states)]
    )
    one = module.step(torch.tensor([0, 1, 2, 2, 1, 0]), states, source)
    close(one, module.step(F.one_hot(torch.tensor([0, 1, 2, 2, 1, 0]), I).double(), states, source))


@every_way
def test_batch_first_and_no_batch(kind, options):
    module = make(kind, **options)
    turned = make(kind, **options, batch_first=True)
    turned.load_state_dict(module.state_dict())
    x, memory, ends = draw(T, B, I), draw(S, B, M), torch.tensor([5, 2, 1])
    whole, states, weights = module(x, memory, lengths=ends, return_weights=True)
    other = turned(x.transpose(0, 1), memory.transpose(0, 1), lengths=ends, return_weights=True)
    bits([other[0].transpose(0, 1), other[2].transpose(0, 1)], [whole, weights])
    bits(other[1], states)
    output, ends_of_one, alpha = module(x[:2, 1], memory[:, 1], return_weights=True)
    bits([output, alpha], [whole[:2, 1], weights[:2, 1]])
    bits(ends_of_one, tuple(state[1] for state in states))


@every_way
def test_any_number_of_threads(kind, options):
    module = make(kind, **options, bias=True)
    x, memory = draw(9, 70, I).requires_grad_(), draw(S, 70, M).requires_grad_()
    found, threads = [], torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        output, states = module(x, memory)
        total = output.sin().sum() + sum(state.cos().sum() for state in states)
        found.append([output, *states, *torch.autograd.grad(total, [x, memory, *module.parameters()])])
    torch.set_num_threads(threads)
    bits(*found)


@every_way
@pytest.mark.parametrize("how", ["bfloat16=True", "autocast", ".bfloat16()", ".half()"])
def test_narrow_numbers(kind, options, how):
    module = make(kind, **{**options, "dtype": torch.float32})
    x, memory = draw(T, B, I, dtype=torch.float32), draw(S, B, M, dtype=torch.float32)
    right, states = module(x, memory)
    tolerance = {"rtol": 0.06, "atol": 0.06, "check_dtype": False}
    if how == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            found = module(x, memory.bfloat16())
        assert found[0].dtype == torch.float32
    elif how == "bfloat16=True":
        narrow = make(kind, **{**options, "dtype": torch.float32, "bfloat16": True})
        narrow.load_state_dict(module.state_dict())
        found = narrow(x, memory)
        assert not torch.equal(found[0], right)
    else:
        dtype = torch.bfloat16 if "b" in how else torch.float16
        found = copy.deepcopy(module).to(dtype)(x.to(dtype), memory.to(dtype))
        assert {part.dtype for part in (found[0], *found[1])} == {dtype}
    close(found[0], right, **tolerance)
    close(found[1], states, **tolerance)


def test_decoders_name_what_is_wrong():
    for options, message in [
        ({"feed": "attentional"}, "feed is 'attentional'; needs attentional_size"),
        (
            {"query": "before", "feed": "attentional", "attentional_size": 2},
            "feed is 'attentional'; needs one of",
        ),
        ({"cross": True, "attentional_size": 2}, "cross and attentional_size are given"),
        ({"query": "during"}, "query is 'during'"),
        ({"heads": 3}, "Attention: query_size 4 is not divisible by heads 3"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            make("AttentionLSTM", **options)
    module, x, memory = make("AttentionLSTM", feed="context"), draw(T, B, I), draw(S, B, M)
    h = draw(B, H)
    for given, options, error, message in [
        ((x[..., :2], memory), {}, ValueError, "x, real numbers, has shape (5, 3, 2); needs (T, B, 3)"),
        ((x, memory[:, :2]), {}, ValueError, "memory has 2 rows; needs the 3 of x"),
        ((x, memory, h), {}, TypeError, "hx is 1 of them; needs (h0, c0, feed0)"),
        ((x, memory, (h, h, h[:, :1])), {}, ValueError, "feed0 has shape (3, 1); needs (3, 4)"),
        ((x, memory), {"lengths": [1, 2]}, ValueError, "lengths has shape (2,)"),
        ((x.float(), memory), {}, TypeError, "x is torch.float32"),
        ((torch.full((T, B), 3), memory), {}, ValueError, "x holds 3; needs token ids from 0 to 2"),
    ]:
        with pytest.raises(error, match=re.escape(message)):
            module(*given, **options)
    with pytest.raises(
        ValueError, match=re.escape("x has shape (4, 3); needs rows, a multiple of memory's 3")
    ):
        module.step(draw(4, I), None, module.prepare(memory))
