"""The specification of attention and its decoders: against torch's own layers in loops; what it promises."""

import math

import pytest
import torch
import torch.nn.functional as F

from mathkernels.reference import attention_step, gru_attention, lstm_attention

E, T, B, I, H, S = 2, 3, 3, 2, 4, 5
CELLS = {"lstm": (lstm_attention, torch.lstm_cell, 4), "gru": (gru_attention, torch.gru_cell, 3)}
ROLES = [
    ("after", "none"),
    ("after", "context"),
    ("after", "attentional"),
    ("before", "none"),
    ("before", "context"),
]
NAMES = (
    *("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "keys", "values", "mask", "h0", "c0", "feed0"),
    *("lengths", "weight_query", "bias_query", "weight_score", "weight_output", "bias_output"),
)
close = torch.testing.assert_close


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64) * 0.7


def mask_of(*lengths):
    """(E,B,S): the first positions of each row."""
    return (torch.arange(S) < torch.tensor(lengths)[:, None]).expand(E, -1, -1)


def decoder_inputs(kind, query, feed, heads=2, P=2, R=3, A=3, additive=False):
    """Arguments by name; every optional one is there where it may be."""
    gates, NP, NR = CELLS[kind][2], heads * P, heads * R
    fed = {"none": 0, "context": NR, "attentional": A}[feed]
    shapes = {
        "x": (E, T, B, I),
        "weight_ih": (E, gates * H, I + fed),
        "weight_hh": (E, gates * H, H),
        "bias_ih": (E, gates * H),
        "bias_hh": (E, gates * H),
        "keys": (E, B, S, NP),
        "values": (E, B, S, NR),
        "h0": (E, B, H),
        "c0": (E, B, H),
        "weight_query": (E, NP, H),
        "bias_query": (E, NP),
        "weight_output": (E, A, NR + H),
        "bias_output": (E, A),
    }
    given = {name: draw(*shape) for name, shape in shapes.items()}
    given["weight_score"] = draw(E, NP) if additive else None
    given["feed0"] = draw(E, B, fed) if fed and query == "after" else None
    given["mask"], given["lengths"] = mask_of(5, 3, 0), torch.tensor([[3, 2, 1], [0, 3, 3]])
    options = (
        heads,
        1.0 if additive else P**-0.5,
        query == "before",
        ["none", "context", "attentional"].index(feed),
    )
    return given, options


def call(kind, given, options, bfloat16=False):
    return CELLS[kind][0](*(given[name] for name in NAMES), *options, bfloat16)


# ---- one step


@pytest.mark.parametrize("heads", [1, 2])
def test_dot_products_are_those_of_torch(heads):
    q, k, v = draw(E, B, 2, heads * 3), draw(E, B, S, heads * 3), draw(E, B, S, heads * 2)
    mask = mask_of(5, 2, 3)
    context, weights = attention_step(q, k, v, mask, None, heads, 3**-0.5)
    split = [part.unflatten(-1, (heads, -1)).transpose(2, 3) for part in (q, k, v)]
    right = F.scaled_dot_product_attention(*split, attn_mask=mask[:, :, None, None])
    close(context, right.transpose(2, 3).flatten(-2))
    assert weights.shape == (E, B, heads, 2, S)
    close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    assert (weights[~mask[:, :, None, None].expand_as(weights)] == 0).all()


def test_additive_scores_are_bahdanaus():
    q, k, v, score, mask = draw(E, B, 2, 3), draw(E, B, S, 3), draw(E, B, S, 2), draw(E, 3), mask_of(1, 5, 4)
    context, weights = attention_step(q, k, v, mask, score)
    for e in range(E):
        for b in range(B):
            for i in range(2):
                live = int(mask[e, b].sum())
                scores = torch.stack([score[e] @ torch.tanh(q[e, b, i] + k[e, b, s]) for s in range(live)])
                alpha = torch.softmax(scores, 0)
                close(weights[e, b, 0, i, :live], alpha)
                close(context[e, b, i], alpha @ v[e, b, :live])


@pytest.mark.parametrize("additive", [False, True])
def test_derivatives_of_a_step(additive):
    leaves = [draw(1, 2, 2, 4), draw(1, 2, 3, 4), draw(1, 2, 3, 2)] + ([draw(1, 4)] if additive else [])
    mask = torch.tensor([[[True, False, True], [False, False, False]]])

    def step(q, k, v, score=None):
        return attention_step(q, k, v, mask, score, 2, 1.0 if additive else 0.6)

    leaves = [leaf.requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(step, leaves)
    assert torch.autograd.gradgradcheck(step, leaves)


@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_masked_never_arrives_and_a_row_of_nothing_gives_exact_zeros(additive, bad):
    mask = mask_of(5, 2, 0)
    parts = [draw(E, B, 2, 3), draw(E, B, S, 3), draw(E, B, S, 2)]
    score = [draw(E, 3)] if additive else []
    spoilt = [part.clone() for part in parts]
    spoilt[0][:, 2] = bad
    for part in spoilt[1:]:
        part[~mask] = bad
    found = []
    for given in (parts, spoilt):
        leaves = [part.clone().requires_grad_() for part in (*given, *score)]
        context, weights = attention_step(*leaves[:3], mask, *leaves[3:])
        found.append(
            [context, weights, *torch.autograd.grad((context.sin().sum() + weights.cos().sum()), leaves)]
        )
    close(found[0], found[1], rtol=0, atol=0)
    context, weights, dq, dk, dv, *_ = found[1]
    for zero in (context[:, 2], weights[:, 2], dq[:, 2], dk[~mask], dv[~mask]):
        assert (zero == 0).all()


def test_nan_in_a_live_query_arrives_in_its_row_alone():
    q, k, v = draw(E, B, 2, 3), draw(E, B, S, 3), draw(E, B, S, 2)
    q[0, 1, 1] = math.nan
    context, _ = attention_step(q, k, v, mask_of(5, 2, 3))
    bad = context.isnan()
    assert bad[0, 1, 1].all()
    assert bad.sum() == 2


def test_a_source_without_positions():
    q, k, v = (part.requires_grad_() for part in (draw(E, B, 2, 3), draw(E, B, 0, 3), draw(E, B, 0, 2)))
    context, weights = attention_step(q, k, v)
    assert weights.shape == (E, B, 1, 2, 0)
    assert context.shape == (E, B, 2, 2)
    assert (context == 0).all()
    assert (torch.autograd.grad(context.sum(), q)[0] == 0).all()


# ---- whole decoders


def loop(kind, given, options):
    """One model at a time, one step at a time, with torch's own cells and attention; no lengths."""
    heads, scale, before, feed = options
    cell, lstm = CELLS[kind][1], kind == "lstm"
    results = []
    for e in range(E):
        one = {name: part if part is None else part[e] for name, part in given.items()}
        keys, values = (one[n].unflatten(-1, (heads, -1)).transpose(1, 2) for n in ("keys", "values"))
        h, c, f = one["h0"], one["c0"], one["feed0"]

        def attend(h, keys=keys, values=values, one=one):
            q = F.linear(h, one["weight_query"], one["bias_query"]).unflatten(-1, (heads, 1, -1))
            if one["weight_score"] is None:
                mask = one["mask"][:, None, None]
                return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, scale=scale).flatten(1)
            scores = (torch.tanh(q + keys) * one["weight_score"].view(heads, 1, -1)).sum(-1)
            alpha = torch.softmax(scores.masked_fill(~one["mask"][:, None], -math.inf), -1)
            return (alpha[..., None] * values).sum(2).flatten(1)

        outs = []
        for x in one["x"]:
            context = attend(h) if before else None
            fed = context if before and feed else f
            x = x if fed is None else torch.cat([x, fed], -1)
            weights = one["weight_ih"], one["weight_hh"], one["bias_ih"], one["bias_hh"]
            h, c = cell(x, (h, c), *weights) if lstm else (cell(x, h, *weights), c)
            context = context if before else attend(h)
            attentional = torch.tanh(
                F.linear(torch.cat([context, h], -1), one["weight_output"], one["bias_output"])
            )
            f = f if before else (None, context, attentional)[feed]
            outs.append((h, context, attentional))
        y, context, attentional = (torch.stack(part) for part in zip(*outs, strict=True))
        results.append([y, context, attentional, h, *([c] if lstm else []), *([f] if f is not None else [])])
    return [torch.stack(part) for part in zip(*results, strict=True)]


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(("query", "feed"), ROLES)
@pytest.mark.parametrize("additive", [False, True])
def test_a_decoder_is_the_loop_over_torchs_cells(kind, query, feed, additive):
    given, options = decoder_inputs(kind, query, feed, additive=additive)
    given["lengths"], given["mask"] = None, mask_of(5, 3, 1)
    y, context, attentional, hn, cn, fed, weights = call(kind, given, options)
    found = [part for part in (y, context, attentional, hn, cn, fed) if part is not None]
    close(found, loop(kind, given, options))
    assert weights.shape == (E, T, B, 2, S)
    assert (cn is None) == (kind == "gru")
    assert (fed is None) == (query == "before" or feed == "none")


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(("query", "feed"), ROLES)
def test_derivatives_of_a_decoder(kind, query, feed):
    given, options = decoder_inputs(kind, query, feed, additive=query == "before")
    given = {
        name: part if part is None else part[:1, ..., :2, :, :] if name == "x" else part[:1]
        for name, part in given.items()
    }
    given["lengths"] = torch.tensor([[2, 1, 0]])
    given["c0"] = given["c0"] if kind == "lstm" else None
    names = [name for name, part in given.items() if part is not None and part.is_floating_point()]
    leaves = [given[name].requires_grad_() for name in names]
    place = torch.randn(200, dtype=torch.float64)

    def value(*leaves):
        results = call(kind, {**given, **dict(zip(names, leaves, strict=True))}, options)
        flat = torch.cat([part.flatten() for part in results if part is not None])
        return (flat * place.repeat(1 + len(flat) // 200)[: len(flat)]).sum()

    assert torch.autograd.gradcheck(value, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(value, leaves, fast_mode=True)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(("query", "feed"), ROLES)
def test_where_a_row_has_ended_outputs_are_zero_states_stay_and_nothing_arrives(kind, query, feed):
    given, options = decoder_inputs(kind, query, feed)
    ended = torch.arange(T)[None, :, None] >= given["lengths"][:, None]
    spoilt = {**given, "x": given["x"].masked_fill(ended[..., None], math.nan)}
    for name in ("keys", "values"):
        nothing = ~given["mask"] | (given["lengths"] == 0)[..., None]
        spoilt[name] = given[name].masked_fill(nothing[..., None], math.nan)
    found = []
    for arguments in (given, spoilt):
        leaves = {
            name: part.clone().requires_grad_()
            for name, part in arguments.items()
            if part is not None and part.is_floating_point()
        }
        if kind == "gru":
            del leaves["c0"]
        results = [part for part in call(kind, {**arguments, **leaves}, options) if part is not None]
        total = sum(part.sin().sum() for part in results)
        found.append([*results, *torch.autograd.grad(total, list(leaves.values()))])
    close(found[0], found[1], rtol=0, atol=0)
    y, context, attentional, hn, cn, fed, weights = call(kind, spoilt, options)
    for part in (y, context, attentional, weights):
        assert (part[ended] == 0).all()
    short = {**given, "x": given["x"][:, :2], "lengths": given["lengths"].clamp(max=2)}
    *_, h2, c2, f2, _ = call(kind, short, options)
    same = given["lengths"] <= 2
    for long, brief in ((hn, h2), (cn, c2), (fed, f2)):
        if long is not None:
            close(long[same], brief[same], rtol=0, atol=0)
    close(hn[1, 0], given["h0"][1, 0], rtol=0, atol=0)  # of no step


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(("query", "feed"), ROLES)
def test_one_step_after_the_other_is_the_whole(kind, query, feed):
    given, options = decoder_inputs(kind, query, feed)
    given["lengths"] = None
    whole = call(kind, given, options)
    parts, now = [], dict(given)
    for t in range(T):
        result = call(kind, {**now, "x": given["x"][:, t : t + 1]}, options)
        parts.append(result)
        now.update(h0=result[3], c0=result[4], feed0=result[5])
    for index in (0, 1, 2, 6):
        close(torch.cat([part[index] for part in parts], 1), whole[index])
    assert all(a is b or torch.allclose(a, b) for a, b in zip(parts[-1][3:6], whole[3:6], strict=True))


def test_token_ids_are_one_hot_rows():
    given, options = decoder_inputs("lstm", "after", "context")
    ids = torch.randint(0, I, (E, T, B))
    rows = F.one_hot(ids, I).double()
    close(call("lstm", {**given, "x": ids}, options), call("lstm", {**given, "x": rows}, options))


def test_no_steps_and_no_options():
    given, _ = decoder_inputs("lstm", "after", "none")
    x, h0 = draw(E, 0, B, I), draw(E, B, H)
    keys = draw(E, B, S, H)
    weights = given["weight_ih"], given["weight_hh"], None, None
    y, context, attentional, hn, cn, fed, alpha = lstm_attention(x, *weights, keys, keys, None, h0)
    assert (y.shape, context.shape, alpha.shape) == ((E, 0, B, H), (E, 0, B, H), (E, 0, B, 1, S))
    assert attentional is None
    assert fed is None
    close(hn, h0)
    close(cn, torch.zeros_like(h0))


def test_bfloat16_rounds_factors_only():
    given, options = decoder_inputs("lstm", "after", "attentional")
    exact, rounded = call("lstm", given, options), call("lstm", given, options, bfloat16=True)
    for one, other in zip(exact, rounded, strict=True):
        close(one, other, rtol=0.05, atol=0.05)
    assert not torch.equal(exact[0], rounded[0])
