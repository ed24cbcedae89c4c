"""What a user gives a sequence module, checked: one message names what does not fit and what would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from mathkernels.nn._tensors import check_tensor, is_wrapped

WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def text(shape: Sequence[object]) -> str:
    """A shape as a message shows it."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def is_token_ids(name: str, x: Tensor) -> bool:
    """Whether x holds token ids; raises where it holds neither those nor real numbers."""
    if x.is_floating_point():
        return False
    if x.dtype not in WHOLE:
        raise TypeError(f"{name}: x is {x.dtype}; needs real numbers, or whole numbers for token ids")
    return True


def check_input(name: str, x: Any, axes: Sequence[str], inputs: int, models: int | None) -> tuple[bool, bool]:
    """Whether x holds token ids and whether it has a batch axis; ``axes`` are a batch's, ("T", "B")."""
    x = check_tensor(name, "x", x)
    ids, lead = is_token_ids(name, x), () if models is None else (models,)
    features = () if ids else (inputs,)
    missing = len(lead) + len(axes) + len(features) - x.dim()
    fits = missing in (0, 1) and x.shape[: len(lead)] == lead and (ids or x.shape[-1] == inputs)
    if not fits:
        short = [axis for axis in axes if axis != "B"]
        right = [text((*lead, *some, *features)) for some in (axes, short)]
        kind = f"token ids below {inputs}" if ids else "real numbers"
        floats = "; features need .float()" if ids and x.shape[-1:] == (inputs,) else ""
        raise ValueError(
            f"{name}: x, {kind}, has shape {text(x.shape)}; needs {right[0]} or {right[1]}{floats}"
        )
    return ids, missing == 0


def check_embedding(name: str, table: Any, x: Tensor, inputs: int, models: int | None) -> Tensor:
    """The rows (E,V,I) of a table that token ids x stand for."""
    table = check_tensor(name, "embedding", table)
    lead = () if models is None else (models,)
    if table.dim() != len(lead) + 2 or table.shape[: len(lead)] != lead or table.shape[-1] != inputs:
        right = text((*lead, "V", inputs))
        raise ValueError(f"{name}: embedding has shape {text(table.shape)}; needs {right}")
    if x.is_floating_point():
        raise TypeError(f"{name}: x is {x.dtype} beside embedding; needs whole numbers, rows of it")
    return table if lead else table.unsqueeze(0)


def check_token_ids(name: str, x: Tensor, axes: Sequence[str], inputs: int) -> None:
    """Refuse zeros and ones that may as well be the features of one sequence, such as one-hot rows.

    That is the case where the last axis, a batch to token ids, has as many elements as there are inputs. In a
    graph the same is asserted when it runs.

    Raises:
        ValueError: x is such a tensor, or it may be and its values cannot be read (inside torch.func.vmap).
        RuntimeError: the same in a compiled or exported graph.
    """
    short = [axis for axis in axes if axis != "B"]
    message = (
        f"{name}: x, whole numbers of shape (..., {inputs}) that are all 0 or 1, may be token ids"
        f" {text(axes)} or features {text((*short, inputs))}; needs token_ids=True in the constructor for"
        " token ids, or x.float() for features"
    )
    if torch.compiler.is_compiling():  # the size may be a token id, which a comparison in Python would fix
        other_size = torch.scalar_tensor(x.shape[-1]) != inputs
        torch.ops.aten._assert_async.msg(other_size | (x > 1).any().cpu(), message)
        return
    if x.shape[-1] != inputs or x.numel() == 0 or x.is_meta or isinstance(x, FakeTensor):
        return
    if is_wrapped(x) or not (x > 1).any():
        raise ValueError(message)


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
    try:
        lengths = torch.as_tensor(lengths, device=x.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name}: lengths is {lengths!r}; needs whole numbers") from error
    if lengths.dtype not in WHOLE and lengths.numel():
        raise TypeError(f"{name}: lengths is {lengths.dtype}; needs whole numbers")
    lead, rows = () if models is None else (models,), (x.shape[2],) if batched else ()
    if lengths.shape not in (rows, (*lead, *rows)):
        right = text(rows) if models is None else f"{text(rows)} or {text((*lead, *rows))}"
        raise ValueError(f"{name}: lengths has shape {text(lengths.shape)}; needs {right}")
    lengths = lengths.long() if batched else lengths.long().unsqueeze(-1)
    return lengths.expand(x.shape[0], x.shape[2])
