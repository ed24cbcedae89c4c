"""What a user gives a sequence module, checked: one message names what does not fit and what would."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def text(shape: Sequence[object]) -> str:
    """A shape as a message shows it."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def is_symbols(name: str, x: Tensor) -> bool:
    """Whether x holds symbols; raises where it holds neither those nor real numbers."""
    if x.is_floating_point():
        return False
    if x.dtype not in WHOLE:
        raise TypeError(f"{name}: x is {x.dtype}; needs real numbers, or whole numbers for symbols")
    return True


def check_input(
    name: str, x: Tensor, axes: Sequence[str], inputs: int, models: int | None
) -> tuple[bool, bool]:
    """Whether x holds symbols and whether it has a batch axis; ``axes`` are those of a batch, ("T", "B")."""
    symbols, lead = is_symbols(name, x), () if models is None else (models,)
    features = () if symbols else (inputs,)
    missing = len(lead) + len(axes) + len(features) - x.dim()
    fits = missing in (0, 1) and x.shape[: len(lead)] == lead and (symbols or x.shape[-1] == inputs)
    if not fits:
        short = [axis for axis in axes if axis != "B"]
        right = [text((*lead, *some, *features)) for some in (axes, short)]
        kind = f"symbols below {inputs}" if symbols else "real numbers"
        raise ValueError(f"{name}: x, {kind}, has shape {text(x.shape)}; needs {right[0]} or {right[1]}")
    return symbols, missing == 0


def check_state(name: str, state_name: str, state: Tensor | None, right: tuple[int, ...]) -> Tensor:
    if not isinstance(state, Tensor):
        raise TypeError(
            f"{name}: {state_name} is {type(state).__name__}; needs a tensor of shape {text(right)}"
        )
    if state.shape != right:
        raise ValueError(f"{name}: {state_name} has shape {text(state.shape)}; needs {text(right)}")
    return state


def split_states(name: str, hx: object, names: tuple[str, ...]) -> Sequence[Tensor | None]:
    """The initial states: a tensor where there is one, a pair of them where there are two, or nothing."""
    if hx is None:
        return [None for _ in names]
    if len(names) == 1:
        return [hx]  # pyright: ignore[reportReturnType]
    if not isinstance(hx, (tuple, list)) or len(hx) != len(names):
        given = f"{len(hx)} of them" if isinstance(hx, (tuple, list)) else type(hx).__name__
        raise TypeError(f"{name}: hx is {given}; needs a pair ({', '.join(names)})")
    return hx


def check_lengths(
    name: str, lengths: Tensor | Sequence[int], x: Tensor, batched: bool, models: int | None
) -> Tensor:
    """Lengths (E,B) from those of the rows, shared by the models or not; x is (E,T,B,...)."""
    lengths = torch.as_tensor(lengths, device=x.device)
    if lengths.dtype not in WHOLE:
        raise TypeError(f"{name}: lengths is {lengths.dtype}; needs whole numbers")
    lead, rows = () if models is None else (models,), (x.shape[2],) if batched else ()
    if lengths.shape not in (rows, (*lead, *rows)):
        right = text(rows) if models is None else f"{text(rows)} or {text((*lead, *rows))}"
        raise ValueError(f"{name}: lengths has shape {text(lengths.shape)}; needs {right}")
    lengths = lengths.long() if batched else lengths.long().unsqueeze(-1)
    return lengths.expand(x.shape[0], x.shape[2])
