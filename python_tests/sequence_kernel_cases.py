"""Raw calls of the sequence kernels and their meaning in plain torch, for tests below the ops."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mathkernels import _C

GATES = {"lstm": 4, "gru": 3}
GUARD = 64  # numbers before and behind every output that must stay as they were


@dataclass
class Case:
    """One call: shapes E, D, T, B, I, H and what is present."""

    kind: str
    shape: tuple[int, int, int, int, int, int]
    dtype: torch.dtype = torch.float64
    symbols: bool = False
    lengths: bool = False
    biases: bool = True
    states: bool = True
    bfloat16: bool = False
    threads: int = 2
    inputs: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self):
        if not self.inputs:
            self.inputs = random_inputs(self)

    def call(self):
        E, D, T, B, I, H = self.shape
        dtype = 0 if self.dtype == torch.float32 else 1
        kind = _C.sequence_kinds[self.kind]
        return _C.sequence_call(kind, dtype, self.bfloat16, self.symbols, E, D, T, B, I, H, self.threads)


def random_inputs(case: Case) -> dict[str, Tensor]:
    E, D, T, B, I, H = case.shape
    G = GATES[case.kind]

    def uniform(*shape: int) -> Tensor:
        return (torch.rand(*shape, dtype=torch.float64) * 2 - 1).to(case.dtype)

    scale = 1 / math.sqrt(max(H, 1))
    inputs = {
        "x": torch.randint(0, max(I, 1), (E, T, B)) if case.symbols else uniform(E, T, B, I),
        "weight_ih": uniform(E, D, G * H, I) * scale,
        "weight_hh": uniform(E, D, G * H, H) * scale,
    }
    if case.biases:
        inputs |= {"bias_ih": uniform(E, D, G * H) * scale, "bias_hh": uniform(E, D, G * H) * scale}
    if case.states:
        inputs["h0"] = uniform(E, D, B, H)
        if case.kind == "lstm":
            inputs["c0"] = uniform(E, D, B, H)
    if case.lengths:
        inputs["lengths"] = torch.randint(0, T + 1, (E, B))
    return inputs


NAMES = ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "h0", "c0")


def address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


class Guarded:
    """Outputs filled with NaN between bands that must not change."""

    def __init__(self, dtype: torch.dtype):
        self.dtype, self.blocks = dtype, []

    def make(self, *shape: int) -> Tensor:
        count = math.prod(shape)
        block = torch.full((count + 2 * GUARD,), 7.0, dtype=self.dtype)
        block[GUARD : GUARD + count] = math.nan
        self.blocks.append((block, count))
        return block[GUARD : GUARD + count].view(*shape)

    def check(self) -> None:
        for block, count in self.blocks:
            assert (block[:GUARD] == 7).all(), "written before an output"
            assert (block[GUARD + count :] == 7).all(), "written behind an output"


def workspace(count: int) -> Tensor:
    """Scratch at an odd address, full of NaN."""
    return torch.full((count + 1,), 255, dtype=torch.uint8)[1:]


def forward(case: Case, *, save: bool = True) -> dict[str, Tensor]:
    """The kernel's y, hn, cn, gates and cells."""
    E, D, T, B, _, H = case.shape
    guarded, call = Guarded(case.dtype), case.call()
    out = {"y": guarded.make(E, T, B, D * H), "hn": guarded.make(E, D, B, H)}
    if case.kind == "lstm":
        out["cn"] = guarded.make(E, D, B, H)
    if save:
        out["gates"] = guarded.make(E * D * T * B * 4 * H)
        if case.kind == "lstm":
            out["cells"] = guarded.make(E, T, B, D * H)
    scratch = workspace(_C.sequence_forward_workspace(call))
    inputs = [address(case.inputs.get(name)) for name in (*NAMES, "lengths")]
    outputs = [address(out.get(name)) for name in ("y", "hn", "cn", "gates", "cells")]
    _C.sequence_forward(call, *inputs, *outputs, scratch.data_ptr())
    guarded.check()
    return out


def backward(
    case: Case, saved: dict[str, Tensor], arriving: dict[str, Tensor], wanted: tuple[str, ...] = NAMES
) -> dict[str, Tensor]:
    """The kernel's gradients of the inputs that are there and `wanted`."""
    guarded, call = Guarded(case.dtype), case.call()
    out = {
        name: guarded.make(*case.inputs[name].shape)
        for name in NAMES
        if name in case.inputs and name in wanted and not (name == "x" and case.symbols)
    }
    kept = {name: tensor.clone() for name, tensor in saved.items()}
    scratch = workspace(_C.sequence_backward_workspace(call))
    incoming = [address(arriving.get(name)) for name in ("y", "hn", "cn", "cells")]
    inputs = [address(case.inputs.get(name)) for name in (*NAMES, "lengths")]
    values = [address(saved.get(name)) for name in ("y", "gates", "cells")]
    outputs = [address(out.get(name)) for name in NAMES]
    _C.sequence_backward(call, *incoming, *inputs, *values, *outputs, scratch.data_ptr())
    guarded.check()
    for name, tensor in kept.items():
        assert torch.equal(saved[name].nan_to_num(3.0), tensor.nan_to_num(3.0)), f"backward changed {name}"
    return out


def cell(kind: str, ih: Tensor, hh: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    if kind == "lstm":
        i, f, g, o = (ih + hh).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c
    (r, z, n), (hr, hz, hn) = ih.chunk(3, -1), hh.chunk(3, -1)
    n = (n + (r + hr).sigmoid() * hn).tanh()
    z = (z + hz).sigmoid()
    h = (1 - z) * n + z * h
    return h, h


def rounded(value: Tensor) -> Tensor:
    """To the nearest bfloat16; gradients pass as if it were nothing."""
    return value + (value.to(torch.bfloat16).to(value.dtype) - value).detach()


def meaning(case: Case, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """y, hn, cn and cells by a loop over steps; differentiable."""
    product = rounded if case.bfloat16 else lambda value: value
    E, D, T, B, I, H = case.shape
    dtype = inputs["weight_ih"].dtype
    x = inputs["x"]
    if case.symbols:
        x = torch.nn.functional.one_hot(x, I).to(dtype)
    lengths = inputs.get("lengths", torch.full((E, B), T))
    zeros = torch.zeros(E, B, H, dtype=dtype)
    ys, cells, hn, cn = [], [], [], []
    for d in range(D):
        h = inputs["h0"][:, d] if "h0" in inputs else zeros
        c = inputs["c0"][:, d] if "c0" in inputs else zeros
        y_of, c_of = [zeros] * T, [zeros] * T
        for t in range(T) if d == 0 else reversed(range(T)):
            ih = torch.einsum("ebi,egi->ebg", product(x[:, t]), product(inputs["weight_ih"][:, d]))
            hh = torch.einsum("ebi,egi->ebg", product(h), product(inputs["weight_hh"][:, d]))
            if case.biases:
                ih, hh = ih + inputs["bias_ih"][:, d, None], hh + inputs["bias_hh"][:, d, None]
            new_h, new_c = cell(case.kind, ih, hh, h, c)
            valid = (t < lengths)[..., None]
            h, c = torch.where(valid, new_h, h), torch.where(valid, new_c, c)
            y_of[t], c_of[t] = torch.where(valid, h, zeros), torch.where(valid, c, zeros)
        ys.append(torch.stack(y_of, 1) if T else torch.zeros(E, T, B, H, dtype=dtype))
        cells.append(torch.stack(c_of, 1) if T else torch.zeros(E, T, B, H, dtype=dtype))
        hn.append(h)
        cn.append(c)
    out = {"y": torch.cat(ys, -1), "hn": torch.stack(hn, 1)}
    if case.kind == "lstm":
        out |= {"cn": torch.stack(cn, 1), "cells": torch.cat(cells, -1)}
    return out


def gradients(case: Case, inputs: dict[str, Tensor], arriving: dict[str, Tensor]) -> dict[str, Tensor]:
    leaves = {
        name: value.clone().requires_grad_() for name, value in inputs.items() if value.is_floating_point()
    }
    out = meaning(case, {**inputs, **leaves})
    total = torch.stack([(out[name] * value).sum() for name, value in arriving.items()]).sum()
    total = total + sum(0 * leaf.sum() for leaf in leaves.values())  # so that there is a graph without steps
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if grad is None else grad
        for (name, leaf), grad in zip(leaves.items(), found, strict=True)
    }


def arriving_at(out: dict[str, Tensor]) -> dict[str, Tensor]:
    """Random gradients of the outputs that have one."""
    return {name: torch.randn_like(value) for name, value in out.items() if name != "gates"}


def as_type(inputs: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}
