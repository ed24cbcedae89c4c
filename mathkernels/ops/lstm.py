"""Long short-term memory over whole sequences, for E independent models."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from mathkernels import reference
from mathkernels.ops._sequences import apply_sequence, define_sequence

define_sequence("lstm", reference.lstm, reference.lstm_backward)


@overload
def lstm(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    return_cells: Literal[False] = False,
    bfloat16: bool = False,
) -> tuple[Tensor, Tensor, Tensor]: ...
@overload
def lstm(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    return_cells: bool,
    bfloat16: bool = False,
) -> tuple[Tensor, ...]: ...
def lstm(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    return_cells: bool = False,
    bfloat16: bool = False,
) -> tuple[Tensor, ...]:
    """Run one layer of E LSTMs along whole sequences, in one direction (D = 1) or both (D = 2).

    i, f, o = sigmoid and g = tanh of W_ih x_t + b_ih + W_hh h_{t-1} + b_hh;  c_t = f c_{t-1} + i g;
    h_t = o tanh(c_t).

    Args:
        x: inputs, (E,T,B,I), float32 or float64; or token ids, (E,T,B), int64 in [0, I), which stand for
            one-hot rows and are checked behind the end of a row as well.
        weight_ih, weight_hh: (E,D,4H,I) and (E,D,4H,H), rows in the order i, f, g, o as in torch; forward
            direction first. Their dtype and device are those of all tensors.
        bias_ih, bias_hh: (E,D,4H), both or neither.
        h0, c0: states before the first step, (E,D,B,H); 0 by default.
        lengths: valid steps of each row, (E,B), int64 from 0 to T. From there on y and cells are 0, hn and cn
            are the states after the last valid step, and the second direction starts there. x beyond a
            row's length is ignored.
        return_cells: return all cells as well.
        bfloat16: round the weights and what they are multiplied by to bfloat16, in forward and backward.
            States and sums stay float32, as do all tensors.

    Returns:
        y (E,T,B,D*H), the forward direction first; hn and cn (E,D,B,H); with ``return_cells`` cells
        (E,T,B,D*H). Differentiable to any order.

    Raises:
        ValueError: shapes disagree, one bias is missing, or a token id or a length is out of its range; the
            message names it.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.

    Source: Hochreiter & Schmidhuber 1997, *Long Short-Term Memory*; forget gate: Gers, Schmidhuber & Cummins
    2000, *Learning to Forget*.
    """
    given = (x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, lengths)
    return apply_sequence("lstm", *given, return_cells, bfloat16)[: 4 if return_cells else 3]
