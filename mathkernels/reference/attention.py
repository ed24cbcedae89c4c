"""Attention over a source (Bahdanau 2015, Luong 2015, Vaswani 2017), and decoders that hold it inside."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from mathkernels.reference.sequences import at_steps, rows_of, times, valid_steps


def attention_step(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    weight_score: Tensor | None = None,
    heads: int = 1,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """query (E,B,Q,NP), keys (E,B,S,NP), values (E,B,S,NR) -> context (E,B,Q,NR), weights (E,B,N,Q,S).

    scores_qs = scale sum_p query_qp keys_sp, or with weight_score (E,NP), which is v:
    sum_p v_p tanh(query_qp + keys_sp);  weights = softmax of the scores over the s that mask (E,B,S) allows,
    0 elsewhere;  context = sum_s weights_s values_s. Every one of N heads has its own P and R columns.

    Keys and values that are not allowed are read as 0, and where a row allows none, so is its query: no
    gradient is found there, whatever stands there.
    """
    mask = keys.new_ones(keys.shape[:3], dtype=torch.bool) if mask is None else mask
    allowed, live = mask[:, :, None, None, :], mask.any(-1)[:, :, None, None]
    query = torch.where(live, query, 0)
    keys, values = torch.where(mask[..., None], keys, 0), torch.where(mask[..., None], values, 0)
    q, k, v = _of_heads(query, heads), _of_heads(keys, heads), _of_heads(values, heads)
    if weight_score is None:
        scores = scale * torch.einsum("ebqnp,ebsnp->ebnqs", q, k)
    else:
        sums = torch.tanh(q[:, :, :, None] + k[:, :, None])
        scores = torch.einsum("ebqsnp,enp->ebnqs", sums, _of_heads(weight_score, heads))
    nothing = torch.where(live[..., None], -torch.inf, 0.0).to(scores.dtype)
    weights = torch.softmax(torch.where(allowed, scores, nothing), dim=-1)
    weights = torch.where(allowed, weights, 0)
    return torch.einsum("ebnqs,ebsnr->ebqnr", weights, v).flatten(-2), weights


def lstm_attention(*arguments: Tensor | float | None) -> tuple[Tensor | None, ...]:
    """A decoder of LSTM cells. Arguments and results are those of `decoder` behind the cell."""
    return decoder(_lstm_cell, *arguments)  # pyright: ignore[reportArgumentType]


def gru_attention(*arguments: Tensor | float | None) -> tuple[Tensor | None, ...]:
    """The same of GRU cells, with the reset gate after the product; c0 is ignored and cn is None."""
    return decoder(_gru_cell, *arguments)  # pyright: ignore[reportArgumentType]


def decoder(
    cell: Callable[..., tuple[Tensor, Tensor | None]],
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    feed0: Tensor | None = None,
    lengths: Tensor | None = None,
    weight_query: Tensor | None = None,
    bias_query: Tensor | None = None,
    weight_score: Tensor | None = None,
    weight_output: Tensor | None = None,
    bias_output: Tensor | None = None,
    heads: int = 1,
    scale: float = 1.0,
    query_before: bool = False,
    feed: int = 0,
    bfloat16: bool = False,
) -> tuple[Tensor | None, ...]:
    """x (E,T,B,I) -> y (E,T,B,H), context (E,T,B,NR), attentional (E,T,B,A), hn, cn, feed, weights.

    Query after the cell (Luong):  h_t, c_t = cell([x_t ; f_{t-1}], h_{t-1}, c_{t-1});  q_t = W_q h_t + b_q,
    or h_t;  context_t = attention_step(q_t);  a_t = tanh(W_o [context_t ; h_t] + b_o);  f_t is what is fed:
    nothing (feed 0), context_t (1) or a_t (2).
    Query before it (Bahdanau):  q_t of h_{t-1};  context_t = attention_step(q_t);
    h_t, c_t = cell([x_t ; context_t], h_{t-1}, c_{t-1}) with feed 1, and cell(x_t, ...) with feed 0.

    Where a row has ended, states and what is fed stay, and y, context, attentional and weights are 0. What
    stands at such steps goes into no product.

    Weights weight_ih (E,GH,I+F), weight_hh (E,GH,H), weight_query (E,NP,H), weight_output (E,A,NR+H), their
    biases (E,GH), (E,NP), (E,A); keys, values, mask, weight_score as in `attention_step`; states (E,B,H),
    feed0 (E,B,F), lengths (E,B). Whole numbers x (E,T,B) stand for one-hot rows. With bfloat16, the factors
    of the cell's products are rounded to it. What is not there is None: attentional without weight_output,
    cn of a GRU, feed where no step takes it from the step before; the weights returned are (E,T,B,N,S).
    """
    valid = valid_steps(x, lengths)
    fed = 0 if feed == 0 else values.shape[-1] if feed == 1 else weight_output.shape[1]  # pyright: ignore[reportOptionalMemberAccess]
    rows = rows_of(x, weight_ih.shape[2] - fed, valid, weight_ih)
    (E, T, B), H, S = x.shape[:3], weight_hh.shape[2], keys.shape[2]
    h, c = (rows.new_zeros(E, B, H) if state is None else state for state in (h0, c0))
    f = rows.new_zeros(E, B, fed) if feed0 is None else feed0
    mask = keys.new_ones((E, B, S), dtype=torch.bool) if mask is None else mask
    linear = partial(_linear, bfloat16=bfloat16)

    def attend(h: Tensor, take: Tensor) -> tuple[Tensor, Tensor]:
        query = h if weight_query is None else _linear(h, weight_query, bias_query)
        given = query[:, :, None], keys, values, mask & take, weight_score, heads, scale
        context, weights = attention_step(*given)
        return context[:, :, 0], weights[:, :, :, 0]

    steps = []
    for t in range(T):
        take = valid[:, t]
        h_before, f_before = torch.where(take, h, 0), torch.where(take, f, 0)
        before = attend(h_before, take) if query_before else None
        if before is not None and feed:
            f_before = before[0]
        from_x = linear(torch.cat([rows[:, t], f_before], -1), weight_ih, bias_ih)
        from_h = linear(h_before, weight_hh, bias_hh)
        from_x, from_h = torch.where(take, from_x, 0), torch.where(take, from_h, 0)
        new_h, new_c = cell(from_x, from_h, h_before, torch.where(take, c, 0))
        y = torch.where(take, new_h, 0)
        context, weights = attend(y, take) if before is None else before
        attentional = None
        if weight_output is not None:
            attentional = torch.tanh(_linear(torch.cat([context, y], -1), weight_output, bias_output))
            attentional = torch.where(take, attentional, 0)
        steps.append((y, context, attentional, weights))
        h, c = torch.where(take, new_h, h), c if new_c is None else torch.where(take, new_c, c)
        if feed and not query_before:
            f = torch.where(take, attentional if feed == 2 else context, f)  # pyright: ignore[reportCallIssue,reportArgumentType]

    attentional_size = None if weight_output is None else (weight_output.shape[1],)
    sizes = (H,), (values.shape[-1],), attentional_size, (heads, S)
    y, context, attentional, weights = (
        None if size is None else at_steps(found, range(T), rows.new_zeros(E, 0, B, *size))
        for found, size in zip(zip(*steps, strict=True) if steps else [()] * 4, sizes, strict=True)
    )
    fed_back = f if feed and not query_before else None
    return y, context, attentional, h, c if cell is _lstm_cell else None, fed_back, weights


def _of_heads(columns: Tensor, heads: int) -> Tensor:
    """(...,NP) -> (...,N,P)."""
    return columns.unflatten(-1, (heads, columns.shape[-1] // heads))


def _linear(rows: Tensor, weight: Tensor, bias: Tensor | None, bfloat16: bool = False) -> Tensor:
    """rows (E,B,K), weight (E,N,K), bias (E,N) -> (E,B,N)."""
    product = times(rows, weight, bfloat16)
    return product if bias is None else product + bias[:, None]


def _lstm_cell(from_x: Tensor, from_h: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The states after a step, from W_ih x + b_ih, W_hh h + b_hh (E,B,4H) and those before; see `lstm`."""
    i, f, g, o = (from_x + from_h).chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _gru_cell(from_x: Tensor, from_h: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, None]:
    """The state after a step, from W_ih x + b_ih, W_hh h + b_hh (E,B,3H) and that before; see `gru`."""
    H = h.shape[-1]
    r, z = torch.sigmoid(from_x[..., : 2 * H] + from_h[..., : 2 * H]).chunk(2, dim=-1)
    n = torch.tanh(from_x[..., 2 * H :] + r * from_h[..., 2 * H :])
    return (1 - z) * n + z * h, None
