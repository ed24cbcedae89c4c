"""Gated recurrent unit over whole sequences, for E independent models."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mathkernels import reference
from mathkernels.ops._sequences import apply_sequence, define_sequence


def _reference(*arguments: Any) -> tuple[Tensor | None, ...]:
    y, hn, gates = reference.gru(*arguments[:6], *arguments[7:])
    return y, hn, None, None, gates


def _reference_backward(*arguments: Any) -> tuple[Tensor | None, ...]:
    lengths, y, _, gates, bfloat16 = arguments[11:]
    given = (*arguments[:2], *arguments[4:10], lengths, y, gates, bfloat16)
    return *reference.gru_backward(*given), None


define_sequence("gru", _reference, _reference_backward)


def gru(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    h0: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    bfloat16: bool = False,
) -> tuple[Tensor, Tensor]:
    """Run one layer of E GRUs along whole sequences, in one direction (D = 1) or both (D = 2).

    r, z = sigmoid(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh);  n = tanh(W_in x_t + b_in + r (W_hn h_{t-1} +
    b_hn)); h_t = (1 - z) n + z h_{t-1}.

    Args:
        x: inputs, (E,T,B,I), float32 or float64; or token ids, (E,T,B), int64 in [0, I), which stand for
            one-hot rows and are checked behind the end of a row as well.
        weight_ih, weight_hh: (E,D,3H,I) and (E,D,3H,H), rows in the order r, z, n as in torch; forward
            direction first. Their dtype and device are those of all tensors.
        bias_ih, bias_hh: (E,D,3H), both or neither.
        h0: state before the first step, (E,D,B,H); 0 by default.
        lengths: valid steps of each row, (E,B), int64 from 0 to T. From there on y is 0, hn is the state
            after the last valid step, and the second direction starts there. x beyond a row's length is
            ignored.
        bfloat16: round the weights and what they are multiplied by to bfloat16, in forward and backward.
            States and sums stay float32, as do all tensors.

    Returns:
        y (E,T,B,D*H), the forward direction first, and hn (E,D,B,H). Differentiable to any order.

    Raises:
        ValueError: shapes disagree, one bias is missing, or a token id or a length is out of its range; the
            message names it.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.

    Source: Cho et al. 2014, *Learning Phrase Representations using RNN Encoder-Decoder*; the reset gate is
    applied after the product with W_hn, as in torch and cuDNN.
    """
    y, hn, _, _ = apply_sequence(
        "gru", x, weight_ih, weight_hh, bias_ih, bias_hh, h0, None, lengths, False, bfloat16
    )
    return y, hn
