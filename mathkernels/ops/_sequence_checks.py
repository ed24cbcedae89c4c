"""Shape rule of the sequence ops, and what only the values of their tensors can tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from mathkernels.ops._library import check_dtype

GATES = {"lstm": 4, "gru": 3}


class Given(NamedTuple):
    """What a sequence op computes from. A GRU has no c0."""

    x: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    h0: Tensor | None
    c0: Tensor | None
    lengths: Tensor | None


class Sizes(NamedTuple):
    """Models, steps, batch, inputs or token ids, directions, hidden units."""

    E: int
    T: int
    B: int
    I: int
    D: int
    H: int

    @property
    def most(self) -> int:
        """No tensor of a call, its gradients included, has more numbers: gates, x or weights."""
        return (
            self.E
            * self.D
            * max(max(self.T, 1) * self.B * max(4 * self.H, self.I), 4 * self.H * max(self.I, self.H, 1))
        )


def check_sequence(kind: str, given: Given, bfloat16: bool) -> Sizes:
    """The sizes of one call of "lstm" or "gru".

    Raises:
        ValueError: shapes or options disagree; the message names every tensor, its letters and its shape.
        TypeError: dtype or device differ or are not supported; the message names the tensor.
    """
    ids, G = given.x.dtype == torch.int64, GATES[kind]
    sizes = _sizes(given, ids, G)
    if sizes is None:
        raise ValueError(f"{kind}: shapes disagree: {_told(given, ids, G)}")
    _check_options(kind, given, sizes, bfloat16)
    weight_ih = given.weight_ih
    dtype, device = weight_ih.dtype, weight_ih.device
    for name, tensor in zip(Given._fields, given, strict=True):
        whole = name == "lengths" or (name == "x" and ids)
        if tensor is not None and (
            tensor.dtype != (torch.int64 if whole else dtype) or tensor.device != device
        ):
            raise TypeError(_wrong_type(kind, name, tensor, weight_ih))
    return sizes


def _sizes(given: Given, ids: bool, G: int) -> Sizes | None:
    """The sizes if all shapes agree."""
    x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, lengths = given
    if x.dim() != (3 if ids else 4) or weight_ih.dim() != 4 or weight_hh.dim() != 4:
        return None
    (E, T, B), I, (_, D, _, H) = x.shape[:3], weight_ih.shape[3], weight_hh.shape
    fits = (
        (ids or x.shape[3] == I)
        and weight_ih.shape == (E, D, G * H, I)
        and weight_hh.shape == (E, D, G * H, H)
        and (bias_ih is None or bias_ih.shape == (E, D, G * H))
        and (bias_hh is None or bias_hh.shape == (E, D, G * H))
        and (h0 is None or h0.shape == (E, D, B, H))
        and (c0 is None or c0.shape == (E, D, B, H))
        and (lengths is None or lengths.shape == (E, B))
    )
    return Sizes(E, T, B, I, D, H) if fits else None


def _check_options(kind: str, given: Given, sizes: Sizes, bfloat16: bool) -> None:
    _, weight_ih, weight_hh, bias_ih, bias_hh, *_ = given
    if sizes.D not in (1, 2):
        raise ValueError(f"{kind}: weight_hh {tuple(weight_hh.shape)} has {sizes.D} directions; needs 1 or 2")
    if kind == "gru" and given.c0 is not None:
        raise ValueError("gru: c0 is given; a GRU has no cells")
    if (bias_ih is None) != (bias_hh is None):
        one, other = ("bias_ih", "bias_hh") if bias_hh is None else ("bias_hh", "bias_ih")
        raise ValueError(f"{kind}: {one} is given without {other}; needs both or neither")
    check_dtype(kind, "weight_ih", weight_ih)
    if bfloat16 and weight_ih.dtype != torch.float32:
        raise TypeError(f"{kind}: bfloat16 rounds torch.float32; weight_ih is {weight_ih.dtype}")


def _told(given: Given, ids: bool, G: int) -> str:
    state, bias = "E,D,B,H", f"E,D,{G}H"
    axes = ("E,T,B" if ids else "E,T,B,I", f"E,D,{G}H,I", f"E,D,{G}H,H", bias, bias, state, state, "E,B")
    parts = zip(Given._fields, given, axes, strict=True)
    return ", ".join(
        f"{name} ({letters})={tuple(tensor.shape)}" for name, tensor, letters in parts if tensor is not None
    )


def _wrong_type(kind: str, name: str, tensor: Tensor, like: Tensor) -> str:
    right = "torch.int64" if name == "lengths" else str(like.dtype)
    found, ids = (
        f"{tensor.dtype} on {tensor.device}",
        ", or torch.int64 for token ids" if name == "x" else "",
    )
    return f"{kind}: {name} is {found}; needs {right} on {like.device} like weight_ih{ids}"


def check_results(kind: str, sizes: Sizes, like: Tensor, **tensors: tuple[Tensor | None, str]) -> None:
    """Raise unless each tensor, axes given by letters ("S" is D*H, "G" is 4H), fits the sizes, or is None."""
    E, T, B, _, D, H = sizes
    letters = {"E": E, "T": T, "B": B, "D": D, "H": H, "S": D * H, "G": 4 * H}
    for name, (tensor, axes) in tensors.items():
        if tensor is None:
            continue
        right = tuple(letters[axis] for axis in axes)
        if tensor.shape != right:
            raise ValueError(f"{kind}_backward: {name} has shape {tuple(tensor.shape)}; needs {right}")
        if tensor.dtype != like.dtype or tensor.device != like.device:
            raise TypeError(_wrong_type(f"{kind}_backward", name, tensor, like))


def check_values(kind: str, given: Given, sizes: Sizes) -> None:
    """Raise where a token id or a length is out of its range; the message names the first value that is."""
    x, lengths = given.x, given.lengths
    if x.dtype == torch.int64:
        check_range(kind, "x", x, 0, sizes.I - 1, f"token ids from 0 to {sizes.I - 1}")
    if lengths is not None:
        check_range(kind, "lengths", lengths, 0, sizes.T, f"steps from 0 to {sizes.T}")


def check_range(kind: str, name: str, values: Tensor, low: int, high: int, right: str) -> None:
    if values.numel() == 0:
        return
    least, most = (int(end) for end in torch.aminmax(values))
    if least < low or most > high:
        raise ValueError(f"{kind}: {name} holds {least if least < low else most}; needs {right}")


def own_integers(given: Given) -> Given:
    """Copies of token ids and lengths, which index memory: nobody else can change what was checked."""
    x, lengths = given.x, given.lengths
    x = x if x.is_floating_point() else x.clone()
    return given._replace(x=x, lengths=lengths if lengths is None else lengths.clone())


def address(tensor: Tensor | None) -> int:
    """Where the values are, 0 for no tensor."""
    return 0 if tensor is None else tensor.data_ptr()


def dense(tensors: Iterable[Tensor | None]) -> list[Tensor | None]:
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]
