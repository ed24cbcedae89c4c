"""The tensors of every module: sizes, initial values, penalties and clamps, in the compiled order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from mathkernels.ensemble.custom.module import Custom
from mathkernels.ensemble.modules import (
    GNALU,
    INALU,
    NAC,
    NALU,
    NAU,
    NMRU,
    NMU,
    NPU,
    NRU,
    Linear,
    Module,
    NACMul,
    RealNPU,
    Stack,
    Unit,
)
from mathkernels.initial import (
    Initial,
    Normal,
    Uniform,
    accumulator_bound,
    constrained_bound,
    draw_,
    glorot_bound,
    glorot_deviation,
    he_bound,
)

UNIT_INTERVAL, SIGNED_INTERVAL = (0.0, 1.0), (-1.0, 1.0)


class Tensor(NamedTuple):
    """One tensor (O, columns) of a layer.

    ``penalty`` is weighed by ``strength`` and averaged over the entries, or summed if not ``mean``. It
    follows the run's ramp, or counts in full after iteration ``after``; with ``below``, while the last
    validation error is below that.
    """

    name: str
    columns: int
    initial: Initial
    penalty: str = "none"
    strength: float = 0.0
    clamp: tuple[float, float] | None = None
    mean: bool = True
    after: int | None = None
    below: float | None = None


class Layer(NamedTuple):
    """A layer of ``outputs`` units of one compiled cell; a unit has one row of every tensor."""

    cell: str
    outputs: int
    tensors: tuple[Tensor, ...]
    epsilon: float
    custom: Custom | None = None  # the module whose library has the cell "custom"

    @property
    def unit_size(self) -> int:
        """How many parameters one unit has."""
        return sum(tensor.columns for tensor in self.tensors)


def layers(module: Module, inputs: int) -> tuple[Layer, ...]:
    """Return the one or two layers of a module on I inputs, in their order."""
    if isinstance(module, Stack):
        return _layer(module.first, inputs, module.hidden), _layer(module.second, module.hidden, 1)
    return (_layer(module, inputs, 1),)


def _layer(unit: Unit, inputs: int, outputs: int) -> Layer:
    cell, tensors = _tensors(unit, inputs, outputs)
    custom = unit if isinstance(unit, Custom) else None
    return Layer(cell, outputs, tensors, getattr(unit, "epsilon", 0.0), custom)


def _tensors(unit: Unit, inputs: int, outputs: int) -> tuple[str, tuple[Tensor, ...]]:
    n, glorot = inputs, glorot_bound(inputs, outputs)
    signed = Uniform(-constrained_bound(n, outputs), constrained_bound(n, outputs))
    middle, wide = Uniform(0.25, 0.75), Uniform(-glorot, glorot)
    hat = Uniform(-accumulator_bound(n, outputs), accumulator_bound(n, outputs))
    match unit:
        case NAU(penalty=strength):
            return "nau", (Tensor("weight", n, signed, "ternary", strength, SIGNED_INTERVAL),)
        case NMU(penalty=strength):
            return "nmu", (Tensor("weight", n, middle, "unit", strength, UNIT_INTERVAL),)
        case NRU(penalty=strength, separate_signs=separate):
            weight = Tensor("weight", n, signed, "ternary", strength, SIGNED_INTERVAL)
            return "nru_separate" if separate else "nru", (weight,)
        case NMRU():
            return _nmru(unit, n)
        case RealNPU() | NPU():
            return _npu(unit, n, wide if unit.init == "xavier" else signed)
        case Linear(activation=activation):
            bound = glorot if activation == "none" else he_bound(n)
            tensors = Tensor("weight", n, Uniform(-bound, bound)), Tensor("bias", 1, 0.0)
            return "linear" if activation == "none" else activation, tensors
        case NAC():
            return "nac", (Tensor("weight_hat", n, hat), Tensor("m_hat", n, hat))
        case NACMul(weights="normal"):
            return "nac_mul", (Tensor("weight_hat", n, hat), Tensor("m_hat", n, hat))
        case NACMul(weights="sigma"):
            return "nac_sigma", (Tensor("weight_hat", n, Normal(0.0, glorot_deviation(n, outputs))),)
        case NACMul(penalty=strength):
            return "nac_nmu", (Tensor("weight", n, middle, "unit", strength, UNIT_INTERVAL),)
        case NALU(weights="nau-nmu", penalty=strength):
            add = Tensor("weight", n, signed, "ternary", strength, SIGNED_INTERVAL)
            multiply = Tensor("mul_weight", n, middle, "unit", strength, UNIT_INTERVAL)
            return "nalu_nau_nmu", (add, multiply, Tensor("gate", n, wide))
        case NALU() | GNALU():
            names, cell = ["weight_hat", "m_hat"], "gnalu" if isinstance(unit, GNALU) else "nalu"
            if isinstance(unit, NALU) and unit.weights == "separate":
                names, cell = [*names, "mul_weight_hat", "mul_m_hat"], "nalu_separate"
            return cell, (*(Tensor(name, n, hat) for name in names), Tensor("gate", n, wide))
        case INALU():
            values = {"weight_hat": 0.88, "m_hat": 0.5, "mul_weight_hat": 0.88, "mul_m_hat": 0.5}
            columns = dict.fromkeys(values, n) | {"gate": 1}
            return "inalu", tuple(
                Tensor(
                    name,
                    count,
                    Normal(values.get(name, 0.0), 0.2),
                    "distant",
                    unit.penalty,
                    after=unit.penalty_after,
                    below=unit.penalty_below,
                )
                for name, count in columns.items()
            )
        case Custom(tensors=described):
            return "custom", tuple(
                Tensor(
                    each.name,
                    each.columns(n),
                    each.values(n, outputs),
                    each.penalty,
                    each.strength,
                    each.clamp,
                )
                for each in described
            )


def _nmru(unit: NMRU, n: int) -> tuple[str, tuple[Tensor, ...]]:
    weight = Tensor("weight", 2 * n, Uniform(0.25, 0.75), "unit", unit.penalty, UNIT_INTERVAL)
    if unit.gated:
        return "nmru_gated", (weight, Tensor("gate", 2 * n, 0.5, "unit", unit.gate_penalty, UNIT_INTERVAL))
    return "nmru" if unit.sign_retrieval else "nmru_unsigned", (weight,)


def _npu(unit: RealNPU | NPU, n: int, initial: Uniform) -> tuple[str, tuple[Tensor, ...]]:
    clamp = {
        letter: SIGNED_INTERVAL if letter in unit.clip and unit.clip != "none" else None for letter in "wi"
    }
    weight = Tensor("weight", n, initial, unit.weight_target, unit.weight_penalty, clamp["w"])
    gate = Tensor("gate", n, 0.5, "unit", unit.gate_penalty, UNIT_INTERVAL if "g" in unit.clip else None)
    if isinstance(unit, RealNPU):
        return "real_npu", (weight, gate)
    penalty = unit.imaginary_penalty
    return "npu", (weight, Tensor("imaginary", n, 0.0, "absolute", penalty, clamp["i"], mean=False), gate)


def initial_parameters(module: Module, inputs: int, seed: int) -> np.ndarray:
    """Return the parameters (P,) of a model before its first update; see :func:`starting_points`."""
    return starting_points(module, inputs, seed, 1)[0]


def starting_points(module: Module, inputs: int, seed: int, count: int) -> np.ndarray:
    """Return the parameters (count, P) that a model and its restarts start from, float32, in compiled order.

    torch's generator is seeded with the run's seed and all tensors are drawn twice, because the published
    scripts initialise in the constructor and once more; so single layers equal their initial weights bit for
    bit. A restart draws once more. Sources: Madsen & Johansen 2020 (NAU, NMU, NAC), Heim et al. 2020 (NPU),
    Mistry et al. 2021 (NRU, NMRU), Schloer et al. 2020 (iNALU).
    """
    generator = torch.Generator().manual_seed(seed)
    found = layers(module, inputs)
    drawn = []
    for _ in range(1 + count):
        units = [[_draw(tensor, layer.outputs, generator) for tensor in layer.tensors] for layer in found]
        drawn.append(np.concatenate([np.concatenate(rows, axis=1).ravel() for rows in units]))
    return np.stack(drawn[1:])


def _draw(tensor: Tensor, outputs: int, generator: torch.Generator) -> np.ndarray:
    return draw_(torch.empty(outputs, tensor.columns), tensor.initial, generator).numpy()


def split(found: tuple[Layer, ...], values: np.ndarray) -> dict[str, np.ndarray]:
    """Cut the parameters (P,) of a model into its tensors, by name.

    A single layer gives vectors (columns,), a stack matrices (O, columns) named "first.weight" and so on.
    """
    parts: dict[str, np.ndarray] = {}
    at = 0
    for prefix, layer in zip(("first.", "second."), found, strict=False):
        size = layer.outputs * layer.unit_size
        rows, column = values[at : at + size].reshape(layer.outputs, layer.unit_size), 0
        at += size
        for tensor in layer.tensors:
            block = rows[:, column : column + tensor.columns]
            column += tensor.columns
            parts[prefix + tensor.name if len(found) > 1 else tensor.name] = (
                block.copy() if len(found) > 1 else block[0].copy()
            )
    return parts


def join(found: tuple[Layer, ...], parts: dict[str, np.ndarray]) -> np.ndarray:
    """Inverse of :func:`split`."""
    rows, prefixes = [], ("first.", "second.") if len(found) > 1 else ("",)
    for prefix, layer in zip(prefixes, found, strict=True):
        blocks = [np.atleast_2d(parts[prefix + tensor.name]) for tensor in layer.tensors]
        rows.append(np.concatenate(blocks, axis=1).ravel())
    return np.concatenate(rows)
