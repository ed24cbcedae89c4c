"""Decoders of LSTM and GRU cells with attention inside the recurrence, for E independent models."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

from mathkernels import reference
from mathkernels.ops._decoder_checks import FEEDS, Given, Options
from mathkernels.ops._decoders import apply_decoder, define_decoder

define_decoder("lstm", reference.lstm_attention)
define_decoder("gru", reference.gru_attention)


class AttentionOutput(NamedTuple):
    """What a decoder returns; None where it has no such thing.

    Attributes:
        y: states after each step, (E,T,B,H).
        context: (E,T,B,N*R).
        attentional: the attentional states, (E,T,B,A), with ``weight_output``.
        hn, cn: states after the last step of each row, (E,B,H); cn of an LSTM.
        feed: what the last step of each row fed to the next, (E,B,F): ``feed0`` of a call that goes on.
        weights: of the attention, (E,T,B,N,S), where they are asked for.
    """

    y: Tensor
    context: Tensor
    attentional: Tensor | None
    hn: Tensor
    cn: Tensor | None
    feed: Tensor | None
    weights: Tensor | None


def _call(kind: str, given: Given, options: Options, return_weights: bool) -> AttentionOutput:
    y, context, attentional, hn, cn, feed, weights = apply_decoder(kind, given, options, return_weights)
    fed = options.feed != 0 and not options.query_before
    return AttentionOutput(
        y,
        context,
        None if given.weight_output is None else attentional,
        hn,
        cn if kind == "lstm" else None,
        feed if fed else None,
        weights if return_weights else None,
    )


def _options(op: str, heads: int, scale: float, query: str, feed: str, bfloat16: bool) -> Options:
    if query not in ("after", "before"):
        raise ValueError(f"{op}: query is {query!r}; needs 'after' or 'before'")
    if feed not in FEEDS:
        raise ValueError(f"{op}: feed is {feed!r}; needs one of {', '.join(map(repr, FEEDS))}")
    return Options(heads, scale, query == "before", FEEDS.index(feed), bfloat16)


def lstm_attention(
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
    *,
    weight_query: Tensor | None = None,
    bias_query: Tensor | None = None,
    weight_score: Tensor | None = None,
    weight_output: Tensor | None = None,
    bias_output: Tensor | None = None,
    heads: int = 1,
    scale: float = 1.0,
    query: Literal["after", "before"] = "after",
    feed: Literal["none", "context", "attentional"] = "none",
    return_weights: bool = False,
    bfloat16: bool = False,
) -> AttentionOutput:
    """Run E decoders of LSTM cells with attention over whole sequences, in one call.

    Query after the cell (Luong):  h_t, c_t = cell([x_t; f_{t-1}], h_{t-1}, c_{t-1});  q_t = W_q h_t + b_q, or
    h_t;  context_t as in `attention_step`;  a_t = tanh(W_o [context_t; h_t] + b_o);  f_t is what is fed.
    Query before it (Bahdanau):  q_t of h_{t-1};  context_t;  h_t, c_t = cell([x_t; context_t], h_{t-1},
    c_{t-1}).

    Args:
        x: inputs, (E,T,B,I), float32 or float64; or token ids, (E,T,B), int64 in [0, I), for one-hot rows.
        weight_ih, weight_hh: (E,4H,I+F) and (E,4H,H), rows in the order i, f, g, o as in torch; the last F
            columns of ``weight_ih`` meet what is fed. Their dtype and device are those of all floats.
        bias_ih, bias_hh: (E,4H), both or neither.
        keys, values: of the source, (E,B,S,N*P) and (E,B,S,N*R).
        mask: (E,B,S), bool: which places of the source take part; all by default.
        h0, c0: states before the first step, (E,B,H); 0 by default.
        feed0: what is fed to the first step, (E,B,F); 0 by default.
        lengths: valid steps of each row, (E,B), int64 from 0 to T. From there on all outputs are 0; hn, cn
            and feed are those of the last valid step.
        weight_query, bias_query: (E,N*P,H) and (E,N*P); without a weight N*P must be H.
        weight_score: (E,N*P), makes the score additive.
        weight_output, bias_output: (E,A,N*R+H) and (E,A), of the attentional state.
        heads: N.
        scale: of dot scores.
        query: "after" or "before" the cell.
        feed: what each step takes besides x: "none" (F = 0), "context" (F = N*R) or, with query "after",
            "attentional" (F = A).
        return_weights: return the attention's weights as well.
        bfloat16: round the factors of the cell's products to bfloat16, in forward and backward; the attention
            itself stays float32, as do all tensors.

    Returns:
        `AttentionOutput`. Differentiable to any order in all floats, through the weights as well.

    Raises:
        ValueError: shapes or options disagree, heads do not divide keys or values, or a token id or a length
            is out of its range; the message names it.
        TypeError: dtypes or devices differ or are not supported; CUDA tensors, unless plain torch is enabled.

    Source: Bahdanau, Cho & Bengio 2015, *Neural Machine Translation by Jointly Learning to Align and
    Translate*; Luong, Pham & Manning 2015, *Effective Approaches to Attention-based Neural Machine
    Translation*.
    """
    options = _options("lstm_attention", heads, scale, query, feed, bfloat16)
    cells = (x, weight_ih, weight_hh, bias_ih, bias_hh, keys, values, h0, c0, feed0)
    more = (weight_query, bias_query, weight_score, weight_output, bias_output)
    return _call("lstm", Given(*cells, *more, mask, lengths), options, return_weights)


def gru_attention(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    h0: Tensor | None = None,
    feed0: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    weight_query: Tensor | None = None,
    bias_query: Tensor | None = None,
    weight_score: Tensor | None = None,
    weight_output: Tensor | None = None,
    bias_output: Tensor | None = None,
    heads: int = 1,
    scale: float = 1.0,
    query: Literal["after", "before"] = "after",
    feed: Literal["none", "context", "attentional"] = "none",
    return_weights: bool = False,
    bfloat16: bool = False,
) -> AttentionOutput:
    """Run E decoders of GRU cells with attention over whole sequences: `lstm_attention` without cells.

    weight_ih (E,3H,I+F), weight_hh (E,3H,H) and biases (E,3H) are in torch's order r, z, n; everything else
    is as there, and ``cn`` of the result is None.

    Raises:
        ValueError, TypeError: as `lstm_attention`.

    Source: Cho et al. 2014, *Learning Phrase Representations using RNN Encoder-Decoder*; Bahdanau, Cho &
    Bengio 2015.
    """
    options = _options("gru_attention", heads, scale, query, feed, bfloat16)
    cells = (x, weight_ih, weight_hh, bias_ih, bias_hh, keys, values, h0, None, feed0)
    more = (weight_query, bias_query, weight_score, weight_output, bias_output)
    return _call("gru", Given(*cells, *more, mask, lengths), options, return_weights)
