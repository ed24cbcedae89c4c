"""Decoders with attention inside the recurrence: LSTM and GRU over a whole target, or step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mathkernels.nn._decoder import AttentionDecoder
from mathkernels.ops import gru, gru_attention, lstm, lstm_attention

_SHARED = """

    Step t with ``query="after"`` (Luong et al. 2015): h_t = cell([x_t ; f_{t-1}], h_{t-1}), context_t attends
    with h_t; with ``query="before"`` (Bahdanau et al. 2015): context_t attends with h_{t-1},
    h_t = cell([x_t ; context_t], h_{t-1}). With ``attentional_size`` a_t = tanh(W [context_t ; h_t]). What is
    fed, f_t: nothing, context_t (of all heads, before any output projection) or a_t; f_{-1} is 0. With
    ``cross`` (cross attention as in Vaswani et al. 2017): o_t = LayerNorm(h_t + W_O context_t).

    Shapes: x ``(T, B, I)`` or token ids ``(T, B)``, memory ``(S, B, M)``, with ``batch_first`` ``(B, T, I)``
    and ``(B, S, M)``, without a batch ``(T, I)`` and ``(S, M)``; memory may be a PackedSequence or what
    `prepare` returned. The output, in the place of x: o_t with ``cross``, a_t with ``attentional_size``, else
    h_t. States ``(B, H)``, of what is fed ``(B, F)``. With ``models=E`` every tensor and parameter has a
    leading E; masks and lengths may have one.
    Parameters: ``weight_ih`` (G*H, I+F), columns of x first, ``weight_hh``, ``bias_ih``, ``bias_hh`` as in
    torch.nn's cell, U(-1/sqrt(H), 1/sqrt(H)); those of ``attention``, an `Attention`; ``weight_output``
    (A, N*R+H) and ``bias_output``; ``norm_weight`` and ``norm_bias`` (H) with ``cross``.

    Args:
        input_size, hidden_size, memory_size: I, H and M.
        score, heads, key_size, value_size: as in `Attention`.
        query: "after" the cell or "before" it.
        feed: "none", "context" or "attentional": what the next step's input is joined with (query="before":
            the same step's).
        attentional_size: A, columns of a_t.
        cross: adds W_O and a LayerNorm behind the attention.
        norm_eps: of that LayerNorm.
        bias: biases of the cell and of a_t.
        attention_bias: biases of the projections of attention.
        models: E independent models in one call.
        bfloat16, token_ids: as in `LSTM`.

    Raises:
        ValueError: an argument is out of its range or does not go with another, or a tensor of a call does
            not have the right shape.
        TypeError: a tensor of a call does not have the right type.
    """


class AttentionLSTM(AttentionDecoder):
    __doc__ = (
        "An LSTM decoder that attends to a memory at every step; states are (h, c), or (h, c, f)." + _SHARED
    )

    gates, cell_states = 4, ("h0", "c0")

    def _fused(
        self, x: Tensor, weights: Sequence[Any], source: Sequence[Any], states: Sequence[Any], **rest: Any
    ) -> Any:
        h, c, f, lengths = states
        given: list[Any] = [x, *weights, *source[:3], h, c, f, lengths]
        return lstm_attention(*given, **rest)

    def _recurrence(self, x: Tensor, weights: Sequence[Any], states: Sequence[Any], bfloat16: bool) -> tuple:
        h, c, lengths = states
        given: list[Any] = [x, *weights, h, c, lengths]
        return lstm(*given, bfloat16=bfloat16)


class AttentionGRU(AttentionDecoder):
    __doc__ = "A GRU decoder that attends to a memory at every step; states are (h,), or (h, f)." + _SHARED

    gates, cell_states = 3, ("h0",)

    def _fused(
        self, x: Tensor, weights: Sequence[Any], source: Sequence[Any], states: Sequence[Any], **rest: Any
    ) -> Any:
        h, _, f, lengths = states
        given: list[Any] = [x, *weights, *source[:3], h, f, lengths]
        return gru_attention(*given, **rest)

    def _recurrence(self, x: Tensor, weights: Sequence[Any], states: Sequence[Any], bfloat16: bool) -> tuple:
        h, _, lengths = states
        given: list[Any] = [x, *weights, h, lengths]
        return gru(*given, bfloat16=bfloat16)
