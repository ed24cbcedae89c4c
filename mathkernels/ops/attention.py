"""Attention and decoders that hold it, for E independent models."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from torch import Tensor

from mathkernels import reference

FEEDS = ("none", "context", "attentional")


class AttentionOutput(NamedTuple):
    """What a decoder returns; see `lstm_attention`."""

    y: Tensor
    context: Tensor
    attentional: Tensor | None
    hn: Tensor
    cn: Tensor | None
    feed: Tensor | None
    weights: Tensor | None


def attention_step(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    weight_score: Tensor | None = None,
    *,
    heads: int = 1,
    scale: float = 1.0,
    return_weights: bool = False,
) -> Any:
    """Context (E,B,Q,N*R), and with ``return_weights`` the weights (E,B,N,Q,S)."""
    context, weights = reference.attention_step(query, keys, values, mask, weight_score, heads, scale)
    return (context, weights) if return_weights else context


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
    given = (x, weight_ih, weight_hh, bias_ih, bias_hh, keys, values, mask, h0, c0, feed0, lengths)
    more = (weight_query, bias_query, weight_score, weight_output, bias_output, heads, scale)
    found = reference.lstm_attention(*given, *more, query == "before", FEEDS.index(feed), bfloat16)
    return AttentionOutput(*found[:6], found[6] if return_weights else None)  # pyright: ignore


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
    given = (x, weight_ih, weight_hh, bias_ih, bias_hh, keys, values, mask, h0, None, feed0, lengths)
    more = (weight_query, bias_query, weight_score, weight_output, bias_output, heads, scale)
    found = reference.gru_attention(*given, *more, query == "before", FEEDS.index(feed), bfloat16)
    return AttentionOutput(*found[:6], found[6] if return_weights else None)  # pyright: ignore
