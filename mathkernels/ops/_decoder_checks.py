"""Shape rule of decoders with attention, and what only the values of their tensors can tell."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mathkernels.ops._attention import check_shapes, told
from mathkernels.ops._library import check_dtype
from mathkernels.ops._sequence_checks import GATES, check_range
from mathkernels.ops.attention_step import check_heads

FEEDS = ("none", "context", "attentional")


class Given(NamedTuple):
    """The tensors a decoder computes from; all but the last two have gradients. A GRU has no c0."""

    x: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    keys: Tensor
    values: Tensor
    h0: Tensor | None
    c0: Tensor | None
    feed0: Tensor | None
    weight_query: Tensor | None
    bias_query: Tensor | None
    weight_score: Tensor | None
    weight_output: Tensor | None
    bias_output: Tensor | None
    mask: Tensor | None
    lengths: Tensor | None


class Options(NamedTuple):
    heads: int
    scale: float
    query_before: bool
    feed: int  # a place in FEEDS
    bfloat16: bool


class Sizes(NamedTuple):
    """Models, steps, batch, inputs or token ids, hidden units, places of the source, columns of keys and of
    values, attentional size, what is fed, heads."""

    E: int
    T: int
    B: int
    I: int
    H: int
    S: int
    NP: int
    NR: int
    A: int
    F: int
    N: int

    @property
    def most(self) -> int:
        """No tensor of a call, its gradients included, has more numbers."""
        wide = max(4 * self.H, self.I, self.NP, self.NR, self.A, self.N * self.S)
        weights = 4 * self.H * (self.I + self.F + self.H) + (self.NP + self.A) * (self.NR + self.H)
        source = self.B * self.S * max(self.NP, self.NR)
        return self.E * max(max(self.T, 1) * self.B * wide, weights, source, 1)


def letters(kind: str) -> dict[str, str]:
    G = GATES[kind]
    return {
        "x": "E,T,B,I",
        "weight_ih": f"E,{G}H,I+F",
        "weight_hh": f"E,{G}H,H",
        "bias_ih": f"E,{G}H",
        "bias_hh": f"E,{G}H",
        "keys": "E,B,S,N*P",
        "values": "E,B,S,N*R",
        "h0": "E,B,H",
        "c0": "E,B,H",
        "feed0": "E,B,F",
        "weight_query": "E,N*P,H",
        "bias_query": "E,N*P",
        "weight_score": "E,N*P",
        "weight_output": "E,A,N*R+H",
        "bias_output": "E,A",
        "mask": "E,B,S",
        "lengths": "E,B",
    }


def check_decoder(op: str, kind: str, given: Given, options: Options) -> Sizes:
    """The sizes of one call of a decoder of "lstm" or "gru" cells.

    Raises:
        ValueError: shapes or options disagree; the message names them.
        TypeError: dtype or device differ or are not supported; the message names the tensor.
    """
    check_dtype(op, "weight_ih", given.weight_ih)
    ids = given.x.dtype == torch.int64
    names = letters(kind)
    if ids:
        names["x"] = "E,T,B"
    _check_options(op, kind, given, options)
    sizes = _sizes(given, options, ids)
    if sizes is None:
        raise ValueError(f"{op}: shapes disagree: {told(names, given._asdict())}")
    G = GATES[kind]
    axes = "E", "T", "B", "I", "H", "S", "N*P", "N*R", "A", "F", "N"
    numbers: dict[str, int] = {axis: size for axis, size in zip(axes, sizes, strict=True)}
    numbers.update({f"{G}H": G * sizes.H, "I+F": sizes.I + sizes.F, "N*R+H": sizes.NR + sizes.H})
    check_shapes(op, names, numbers, {"weight_ih": given.weight_ih, **given._asdict()})
    if given.weight_query is None and sizes.NP != sizes.H:
        raise ValueError(
            f"{op}: keys have {sizes.NP} columns; without weight_query they need the {sizes.H} of h"
        )
    return sizes


def _sizes(given: Given, options: Options, ids: bool) -> Sizes | None:
    x, weight_ih, weight_hh, keys, values = (
        given.x,
        given.weight_ih,
        given.weight_hh,
        given.keys,
        given.values,
    )
    dims = (x.dim(), weight_ih.dim(), weight_hh.dim(), keys.dim(), values.dim())
    if dims != (3 if ids else 4, 3, 3, 4, 4):
        return None
    if given.weight_output is not None and given.weight_output.dim() != 3:
        return None
    (E, T, B), H = x.shape[:3], weight_hh.shape[2]
    A = 0 if given.weight_output is None else given.weight_output.shape[1]
    F = (0, values.shape[3], A)[options.feed]
    I = weight_ih.shape[2] - F
    if I < 0:
        return None
    return Sizes(E, T, B, I, H, keys.shape[2], keys.shape[3], values.shape[3], A, F, options.heads)


def _check_options(op: str, kind: str, given: Given, options: Options) -> None:
    if given.keys.dim() == given.values.dim() == 4:
        check_heads(op, given.keys, given.values, options.heads)
    if not 0 <= options.feed < len(FEEDS):
        raise ValueError(f"{op}: feed is {options.feed}; needs 0, 1 or 2 for {', '.join(FEEDS)}")
    for one, other in (("bias_ih", "bias_hh"), ("bias_hh", "bias_ih")):
        if getattr(given, one) is not None and getattr(given, other) is None:
            raise ValueError(f"{op}: {one} is given without {other}; needs both or neither")
    for bias, weight in (("bias_query", "weight_query"), ("bias_output", "weight_output")):
        if getattr(given, bias) is not None and getattr(given, weight) is None:
            raise ValueError(f"{op}: {bias} is given without {weight}")
    if kind == "gru" and given.c0 is not None:
        raise ValueError(f"{op}: c0 is given; a GRU has no cells")
    feed = FEEDS[options.feed]
    if feed == "attentional" and given.weight_output is None:
        raise ValueError(f"{op}: feed is 'attentional' without weight_output; needs one")
    if feed == "attentional" and options.query_before:
        raise ValueError(f"{op}: feed is 'attentional' with query 'before'; needs 'context' or 'none'")
    if given.feed0 is not None and (feed == "none" or options.query_before):
        why = "nothing is fed" if feed == "none" else "with query 'before' each step makes what it is fed"
        raise ValueError(f"{op}: feed0 is given, but {why}; needs None")
    if given.weight_score is not None and options.scale != 1:
        raise ValueError(f"{op}: scale is {options.scale} beside weight_score; an additive score needs 1")
    if options.bfloat16 and given.weight_ih.dtype != torch.float32:
        raise TypeError(f"{op}: bfloat16 rounds torch.float32; weight_ih is {given.weight_ih.dtype}")


def check_values(op: str, given: Given, sizes: Sizes) -> None:
    """Raise where a token id or a length is out of its range; the message names the first value that is."""
    if given.x.dtype == torch.int64:
        check_range(op, "x", given.x, 0, sizes.I - 1, f"token ids from 0 to {sizes.I - 1}")
    if given.lengths is not None:
        check_range(op, "lengths", given.lengths, 0, sizes.T, f"steps from 0 to {sizes.T}")
