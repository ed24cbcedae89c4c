"""What attention and the decoders with it share: shape checks, and gradients through the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def vjp(
    function: Callable, given: Sequence[Tensor | None], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients of the tensors of floats among those given, from those of the results; None for zeros."""
    at = [k for k, tensor in enumerate(given) if tensor is not None and tensor.is_floating_point()]

    def of_leaves(*leaves: Tensor) -> tuple[Tensor, ...]:
        filled = list(given)
        for k, leaf in zip(at, leaves, strict=True):
            filled[k] = leaf
        found = function(*filled)
        return tuple(result for result, dy in zip(found, grads, strict=True) if dy is not None)

    arriving = tuple(dy for dy in grads if dy is not None)
    gradients: list[Tensor | None] = [None] * len(given)
    found = torch.func.vjp(of_leaves, *(given[k] for k in at))[1](arriving)
    for k, gradient in zip(at, found, strict=True):
        gradients[k] = gradient
    return gradients


def new_gradients(
    new: Callable, given: Sequence[Tensor | None], wanted: Sequence[bool], models: int
) -> tuple[Tensor, ...]:
    """Without elements those that are not wanted."""
    shapes = (
        tensor.shape if tensor is not None and want else (models, 0)
        for tensor, want in zip(given, wanted, strict=True)
    )
    return tuple(map(new, shapes))


def only_wanted(
    found: Sequence[Tensor | None], given: Sequence[Tensor | None], wanted: Sequence[bool], models: int
) -> tuple[Tensor, ...]:
    """What the reference found, zeros where it found that nothing depends on a tensor."""
    like = next(tensor for tensor in given if tensor is not None and tensor.is_floating_point())
    none = new_gradients(like.new_empty, given, [False] * len(wanted), models)
    return tuple(
        (torch.zeros_like(tensor) if value is None else value) if want and tensor is not None else no
        for value, tensor, want, no in zip(found, given, wanted, none, strict=True)
    )


def told(letters: dict[str, str], tensors: dict[str, Tensor | None]) -> str:
    """The shapes of the tensors that are there, each with its letters."""
    return ", ".join(
        f"{name} ({letters[name]})={tuple(tensor.shape)}"
        for name, tensor in tensors.items()
        if tensor is not None
    )


def check_shapes(
    op: str, letters: dict[str, str], sizes: dict[str, int], tensors: dict[str, Tensor | None]
) -> None:
    """Raise unless every tensor has the sizes that its letters stand for, and the first's dtype and device.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtype or device differ.
    """
    for name, tensor in tensors.items():
        if tensor is not None and tuple(tensor.shape) != tuple(
            sizes[axis] for axis in letters[name].split(",")
        ):
            raise ValueError(f"{op}: shapes disagree: {told(letters, tensors)}")
    first = next(name for name, t in tensors.items() if t is not None and t.is_floating_point())
    like = tensors[first]
    assert like is not None
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        right = {"mask": torch.bool, "lengths": torch.int64}.get(name, like.dtype)
        ids = name == "x" and tensor.dtype == torch.int64
        if (tensor.dtype != right and not ids) or tensor.device != like.device:
            found, more = (
                f"{tensor.dtype} on {tensor.device}",
                ", or torch.int64 for token ids" * (name == "x"),
            )
            raise TypeError(f"{op}: {name} is {found}; needs {right} on {like.device} like {first}{more}")


def own(*tensors: Any) -> tuple:
    """Copies of masks, lengths and token ids: their owner may fill them anew before backward."""
    return tuple(
        tensor if tensor is None or tensor.is_floating_point() else tensor.clone() for tensor in tensors
    )
