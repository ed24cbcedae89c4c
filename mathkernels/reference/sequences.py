"""What the references of LSTM and GRU share: token ids, lengths, order of steps, rounding, and products."""

from collections.abc import Sequence

import torch
from torch import Tensor


def rows_of(x: Tensor, inputs: int, valid: Tensor, like: Tensor) -> Tensor:
    """x (E,T,B,I), or token ids (E,T,B) as one-hot rows; 0 where a step is not valid, whatever is there."""
    if not x.is_floating_point():
        x = (x[..., None] == torch.arange(inputs, device=x.device)).to(like.dtype)
    return torch.where(valid, x, 0)


def valid_steps(x: Tensor, lengths: Tensor | None) -> Tensor:
    """(E,T,B,1): whether step t comes before the end of its row; lengths (E,B)."""
    step = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
    if lengths is None:
        return (step < x.shape[1]).expand(x.shape[0], -1, x.shape[2], 1)
    return step < lengths[:, None, :, None]


def order_of(steps: int, direction: int) -> list[int]:
    """The steps as a direction takes them: the second one from the last to the first."""
    return list(range(steps)) if direction == 0 else list(reversed(range(steps)))


def rounded(values: Tensor, bfloat16: bool) -> Tensor:
    """The values as a product takes them. A gradient passes the rounding unchanged."""
    if not bfloat16:
        return values
    exact = values.detach()
    return values + (exact.bfloat16().to(exact.dtype) - exact)


def times(rows: Tensor, weight: Tensor, bfloat16: bool) -> Tensor:
    """rows (E,...,K) times weight (E,N,K) -> (E,...,N)."""
    return torch.einsum("e...k,enk->e...n", rounded(rows, bfloat16), rounded(weight, bfloat16))


def outer(rows: Tensor, others: Tensor, bfloat16: bool) -> Tensor:
    """rows (E,T,B,N), others (E,T,B,K) -> (E,N,K), summed over steps and rows."""
    return torch.einsum("etbn,etbk->enk", rounded(rows, bfloat16), rounded(others, bfloat16))


def at_steps(values: Sequence[Tensor], order: Sequence[int], empty: Tensor) -> Tensor:
    """Values in the order in which they came, as one tensor in the order of time: (E,T,B,...)."""
    in_time = sorted(zip(order, values, strict=True), key=lambda pair: pair[0])
    return torch.stack([value for _, value in in_time], dim=1) if values else empty


def states_before(states: Tensor, first: Tensor, valid: Tensor, order: Sequence[int]) -> Tensor:
    """States after each step (E,T,B,H) and the first one (E,B,H) -> the states before each step.

    A direction that starts at a row's last valid step finds the first state there. At steps that are not
    valid: 0, whatever the first state holds.
    """
    previous = [torch.where(valid[:, t], states[:, t], first) for t in order]
    return torch.where(valid, at_steps([first, *previous][: len(order)], order, states), 0)
