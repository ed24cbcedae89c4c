"""The tensors of a sequence-to-sequence model: torch's names, first values, places in the kernel's memory.

The names are those of a module with ``encoder = nn.LSTM(A, H, bidirectional=True)``, ``encoder_norm =
nn.BatchNorm1d(2 * H)``, ``decoder = nn.LSTM(2 * H, H, bidirectional=True)``, ``decoder_norm`` and ``output =
nn.Linear(2 * H, A)``. Each LSTM has one bias, ``bias_ih_l0``; ``bias_hh_l0`` is zero and stays so.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mathkernels.initial import keras

GATES = 4  # i, f, g, o
DIRECTIONS = ("", "_reverse")
NORMS = ("encoder_norm", "decoder_norm")
RUNNING = ("running_mean", "running_var")


def shapes(alphabet: int, hidden: int, batch_norm: bool) -> dict[str, tuple[int, ...]]:
    """Return the shape of each trained tensor of one model, by name, in torch's order."""
    rows, features = GATES * hidden, 2 * hidden
    found: dict[str, tuple[int, ...]] = {}
    for layer, inputs in (("encoder", alphabet), ("decoder", features)):
        for suffix in DIRECTIONS:
            found[f"{layer}.weight_ih_l0{suffix}"] = (rows, inputs)
            found[f"{layer}.weight_hh_l0{suffix}"] = (rows, hidden)
            found[f"{layer}.bias_ih_l0{suffix}"] = (rows,)
        if batch_norm:
            found[f"{layer}_norm.weight"] = found[f"{layer}_norm.bias"] = (features,)
    found["output.weight"], found["output.bias"] = (alphabet, features), (alphabet,)
    return found


def running_shapes(hidden: int, batch_norm: bool) -> dict[str, tuple[int, ...]]:
    """Return the shape of each running statistic of one model."""
    names = [f"{norm}.{part}" for norm in NORMS for part in RUNNING] if batch_norm else []
    return {name: (2 * hidden,) for name in names}


def first_values(alphabet: int, hidden: int, batch_norm: bool, seed: int) -> dict[str, Tensor]:
    """Draw a model's tensors as Keras does, in float64, see :func:`mathkernels.initial.keras.draw`."""
    source = torch.Generator().manual_seed(seed)
    named = {**shapes(alphabet, hidden, batch_norm), **running_shapes(hidden, batch_norm)}
    return keras.draw(named, source, dtype=torch.float64)


def places(offsets: dict[Any, Any], alphabet: int, hidden: int, batch_norm: bool) -> dict[str, Tensor]:
    """Return where each number of each tensor lies among a model's parameters; ``offsets`` is _C's."""
    row = offsets["gate_row"]
    unit = torch.arange(hidden)
    columns = torch.cat(
        [unit * GATES + gate for gate in range(GATES)]
    )  # torch has all units of a gate together
    found: dict[str, Tensor] = {}
    for layer, inputs in (("encoder", alphabet), ("decoder", 2 * hidden)):
        for direction, suffix in enumerate(DIRECTIONS):
            at = offsets[layer, direction]
            found[f"{layer}.weight_ih_l0{suffix}"] = at[0] + torch.arange(inputs) * row + columns[:, None]
            found[f"{layer}.weight_hh_l0{suffix}"] = at[1] + unit * row + columns[:, None]
            found[f"{layer}.bias_ih_l0{suffix}"] = at[2] + columns
    features, tokens = torch.arange(2 * hidden), torch.arange(alphabet)
    for index, norm in enumerate(NORMS if batch_norm else ()):
        gamma, beta = offsets["norm", index]
        found[f"{norm}.weight"], found[f"{norm}.bias"] = gamma + features, beta + features
    weight, bias = offsets["output"]
    found["output.weight"] = weight + features * offsets["output_row"] + tokens[:, None]
    found["output.bias"] = bias + tokens
    return found
