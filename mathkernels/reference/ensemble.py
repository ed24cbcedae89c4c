"""One training run in plain torch with autograd: what `mathkernels.ensemble.fit` means, read slowly.

The order of work follows the published experiments of Mistry, Farrahi & Hare 2021 (arXiv 2110.05177): in
iteration t = 0 … T evaluate (where t is a multiple of the interval), forward, mean squared error plus
penalties, backward, limit of the gradient, optimiser step, clamps, restart. Only the training data differ:
they come from :mod:`mathkernels.reference.random`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mathkernels import reference
from mathkernels.reference import random
from mathkernels.reference.nac import nac_weight

if TYPE_CHECKING:
    from mathkernels.ensemble.describe import Run

Samples = Callable[[int], np.ndarray]  # iteration -> inputs (B,I)
Parameters = dict[str, Tensor]  # tensors by name, with a leading model axis of 1
Formula = Callable[..., Tensor]  # of a custom module: inputs (B,I) and its tensors (columns,) -> outputs (B)


class Row(NamedTuple):
    """What is logged at ``step``, before its update; ``loss`` is the batch's, without the penalty."""

    step: int
    valid: float
    test: float
    sparsity: float
    loss: float
    penalty: float


@dataclass(frozen=True)
class Trained:
    """The logged rows of a run, and its parameters after the last update: vectors, of stacks (O,columns)."""

    rows: list[Row]
    parameters: Parameters


def _uniform(low: float, high: float) -> Callable[..., Any]:
    return lambda values, generator: values.uniform_(low, high, generator=generator)


def _initial(unit: Any, inputs: int, outputs: int) -> dict[str, tuple[int, Callable[..., Any]]]:
    """Return the columns of each tensor of a unit and what draws it; a constant draws nothing."""
    glorot = math.sqrt(6 / (inputs + outputs))
    wide, signed = _uniform(-glorot, glorot), _uniform(-min(0.5, glorot), min(0.5, glorot))
    middle, hat = _uniform(0.25, 0.75), _uniform(*_accumulator_range(inputs, outputs))
    n, name = inputs, unit.name
    half = 2 * n if name == "NMRU" else n, lambda values, generator: values.fill_(0.5)
    if name == "NMRU":
        return {"weight": (2 * n, middle)} | ({"gate": half} if unit.gated else {})
    if name in ("RealNPU", "NPU"):
        weight = {"weight": (n, wide if unit.init == "xavier" else signed)}
        zero = {"imaginary": (n, lambda values, generator: values.zero_())} if name == "NPU" else {}
        return weight | zero | {"gate": half}
    if name == "Linear":
        bound = glorot if unit.activation == "none" else math.sqrt(6 / n)
        return {"weight": (n, _uniform(-bound, bound)), "bias": (1, lambda values, generator: values.zero_())}
    if name == "NACMul" and unit.weights == "sigma":
        deviation = math.sqrt(2 / (inputs + outputs))
        return {"weight_hat": (n, lambda v, generator: v.normal_(0.0, deviation, generator=generator))}
    if name == "NALU" and unit.weights == "nau-nmu":
        return {"weight": (n, signed), "mul_weight": (n, middle), "gate": (n, wide)}
    if name == "Custom":
        return {
            each.name: (each.columns(n), _custom_values(each.values(n, outputs))) for each in unit.tensors
        }
    if name == "INALU":
        means = {"weight_hat": 0.88, "m_hat": 0.5, "mul_weight_hat": 0.88, "mul_m_hat": 0.5, "gate": 0.0}
        return {
            key: (
                1 if key == "gate" else n,
                lambda v, generator, mean=mean: v.normal_(mean, 0.2, generator=generator),
            )
            for key, mean in means.items()
        }
    if name in ("NAC", "NACMul", "NALU", "GNALU") and getattr(unit, "weights", "") != "nmu":
        separate = name == "NALU" and unit.weights == "separate"
        names = ["weight_hat", "m_hat"] + (["mul_weight_hat", "mul_m_hat"] if separate else [])
        gate = {"gate": (n, wide)} if name in ("NALU", "GNALU") else {}
        return {key: (n, hat) for key in names} | gate
    return {"weight": (n, middle if name in ("NMU", "NACMul") else signed)}


def _custom_values(initial: Any) -> Callable[..., Any]:
    if not isinstance(initial, tuple):
        return lambda values, generator: values.fill_(initial)
    if hasattr(initial, "deviation"):
        return lambda values, generator: values.normal_(*initial, generator=generator)
    return _uniform(*initial)


@functools.cache
def _accumulator_range(inputs: int, outputs: int) -> tuple[float, float]:
    """Where tanh(a) sigmoid(b) of uniform a and b has the variance 2 / (I + O) (Madsen & Johansen 2020)."""
    wanted = 2 / max(inputs + outputs, 5)
    r = np.linspace(1e-4, 10, 1_000_001)
    variance = (1 - np.tanh(r) / r) * (r - np.tanh(r / 2)) / (2 * r)
    bound = float(np.interp(wanted, variance, r))
    return -bound, bound


def layers_of(run: Run) -> list[tuple[str, Any, int, int]]:
    """Return name, unit, inputs and outputs of the layers of a run; the name is empty if there is one."""
    module: Any = run.module
    if module.name != "Stack":
        return [("", module, run.task.inputs, 1)]
    return [
        ("first.", module.first, run.task.inputs, module.hidden),
        ("second.", module.second, module.hidden, 1),
    ]


def initial_parameters(run: Run) -> Parameters:
    """Return the tensors of all layers, (1,O,columns), float32; the gate of an NPU or NMRU is (1,columns)."""
    return next(starts(run))


def starts(run: Run) -> Iterator[Parameters]:
    """Yield what the run starts from, then what each restart starts from, as :func:`initial_parameters`.

    The published scripts initialise twice from torch's generator, so that the second draw counts.
    """
    source = torch.Generator().manual_seed(run.seed)
    drawn = 0
    while True:
        parameters: Parameters = {}
        for prefix, unit, inputs, outputs in layers_of(run):
            for name, (columns, fill) in _initial(unit, inputs, outputs).items():
                values = torch.empty(1, outputs, columns)
                fill(values, generator=source)
                shared_gate = name == "gate" and unit.name in ("RealNPU", "NPU", "NMRU")
                parameters[prefix + name] = values[:, 0] if shared_gate else values
        drawn += 1
        if drawn > 1:
            yield parameters


def apply_unit(unit: Any, tensors: list[Tensor], x: Tensor, training: bool) -> Tensor:
    """Return the outputs (1,B,O) of one layer for inputs x (1,B,I); the tensors stand in their order."""
    name = unit.name
    formulas: Any = reference  # their arguments differ
    if name in ("NAU", "NMU"):
        return (formulas.nau if name == "NAU" else formulas.nmu)(x, *tensors)
    if name in ("RealNPU", "NPU"):
        return (formulas.npu if name == "NPU" else formulas.real_npu)(x, *tensors, epsilon=unit.epsilon)
    if name == "NRU":
        return (formulas.nru_separate if unit.separate_signs else formulas.nru)(x, *tensors, training)
    if name == "NMRU" and unit.gated:
        return formulas.nmru_gated(x, *tensors, unit.epsilon, training)
    if name == "NMRU":
        return formulas.nmru(x, *tensors, unit.epsilon, training, unit.sign_retrieval)
    if name == "Linear":
        weight, bias = tensors
        z = torch.einsum("ebi,eoi->ebo", x, weight) + bias.transpose(1, 2)
        return {"none": lambda v: v, "relu": torch.relu, "relu6": nn.functional.relu6}[unit.activation](z)
    packed = torch.cat(tensors, dim=-1)
    if name == "NAC":
        return formulas.nac(x, packed)
    if name == "NALU" and unit.weights == "nau-nmu":
        return formulas.nalu_nau_nmu(x, packed)
    functions = {
        "NACMul normal": formulas.nac_mul,
        "NACMul sigma": formulas.nac_sigma,
        "NACMul nmu": formulas.nac_nmu,
        "NALU shared": formulas.nalu,
        "NALU separate": formulas.nalu_separate,
        "GNALU": formulas.gnalu,
        "INALU": formulas.inalu,
    }
    return functions[f"{name} {getattr(unit, 'weights', '')}".strip()](x, packed, unit.epsilon)


def predict(
    run: Run, parameters: Parameters, x: Tensor, training: bool, formulas: Sequence[Formula] = ()
) -> Tensor:
    """Return the module's output (B) for inputs x (B,I)."""
    values, own = x[None], iter(formulas)
    for prefix, unit, inputs, outputs in layers_of(run):
        tensors = [parameters[prefix + name] for name in _initial(unit, inputs, outputs)]
        if unit.name == "Custom":
            formula = next(own)
            each = [formula(values[0], *(p[0, o] for p in tensors)) for o in range(outputs)]
            values = torch.stack(each, dim=-1)[None]
        else:
            values = apply_unit(unit, tensors, values, training)
    return values[0, :, 0]


def criterion(run: Run, z: Tensor, target: Tensor) -> Tensor:
    """Return what is trained on, of predictions and targets (B)."""
    if run.criterion == "mape":
        return ((target - z) / target).abs().mean()
    if run.criterion == "pcc":
        epsilon = torch.finfo(torch.float32).eps  # of the published criterion, in any precision
        vz, vt = z - z.mean(), target - target.mean()
        sz, st = (v.square().mean().clamp(min=epsilon).sqrt() for v in (vz, vt))
        return 1 - (vz / (sz + epsilon) * vt / (st + epsilon)).mean()
    return (z - target).square().mean()


def penalty(run: Run, parameters: Parameters, t: int, valid: float = 0.0) -> Tensor:
    """Return what iteration t adds to the loss, of which an iNALU's part depends on the last ``valid``."""
    ramp = 1.0 if run.ramp is None else run.ramp.at(t)
    total = torch.zeros((), dtype=next(iter(parameters.values())).dtype)
    for prefix, unit, _, _ in layers_of(run):
        own = {name.removeprefix(prefix): p for name, p in parameters.items() if name.startswith(prefix)}
        for name, strength, kind in _penalties(unit):
            p = own[name]
            summed = p.abs().sum() if unit.name != "Custom" else p.abs().mean()
            value = summed if kind == "absolute" else reference.discretisation(p, kind)[0]
            total = total + strength * ramp * value
        if getattr(unit, "norm", None) is not None:
            norms = [torch.linalg.vector_norm(p, unit.norm.order) for p in own.values()]
            total = total + unit.norm.at(t) * torch.stack(norms).sum()
        if unit.name == "INALU" and t > unit.penalty_after:
            missing = [(20 - p.abs()).clamp(min=0).mean() for p in own.values()]
            if unit.penalty_below is None or valid < unit.penalty_below:
                total = total + unit.penalty * torch.stack(missing).sum()
    return total


def _penalties(unit: Any) -> list[tuple[str, float, str]]:
    """Return tensor, strength and kind of the discretisation penalties of a unit."""
    if unit.name in ("RealNPU", "NPU"):
        found = [("weight", unit.weight_penalty, unit.weight_target), ("gate", unit.gate_penalty, "unit")]
        return found + ([("imaginary", unit.imaginary_penalty, "absolute")] if unit.name == "NPU" else [])
    if unit.name == "NMRU":
        return [("weight", unit.penalty, "unit")] + (
            [("gate", unit.gate_penalty, "unit")] if unit.gated else []
        )
    if unit.name == "Custom":
        return [(each.name, each.strength, each.penalty) for each in unit.tensors if each.penalty != "none"]
    if unit.name in ("NAU", "NRU"):
        return [("weight", unit.penalty, "ternary")]
    if unit.name == "NMU" or (unit.name == "NACMul" and unit.weights == "nmu"):
        return [("weight", unit.penalty, "unit")]
    if unit.name == "NALU" and unit.weights == "nau-nmu":
        return [("weight", unit.penalty, "ternary"), ("mul_weight", unit.penalty, "unit")]
    return []


def _weights(unit: Any, own: Parameters) -> list[Tensor]:
    """Return the weights that count in the sparsity error of a layer; each tensor counts by its maximum."""
    if unit.name == "Custom":  # its header may choose others
        return [torch.cat([p.flatten() for p in own.values()])]
    if "weight_hat" not in own:
        names = ["weight", "imaginary", "mul_weight"]
        found = [own[name] for name in names if name in own]
        return found if unit.name == "NPU" else [torch.cat([p.flatten() for p in found])]
    if unit.name == "NACMul" and unit.weights == "sigma":
        return [torch.sigmoid(own["weight_hat"])]
    base = (1 + math.sqrt(5)) / 2 if unit.name == "GNALU" else math.e
    pairs = [("weight_hat", "m_hat"), ("mul_weight_hat", "mul_m_hat")]
    found = [nac_weight(own[a], own[b], base).flatten() for a, b in pairs if a in own]
    return [torch.cat(found)]


def sparsity(run: Run, parameters: Parameters) -> float:
    """Return the largest distance of a weight from -1, 0 and 1; an NPU adds that of its imaginary part."""
    errors = []
    for prefix, unit, _, _ in layers_of(run):
        own = {name.removeprefix(prefix): p for name, p in parameters.items() if name.startswith(prefix)}
        tensors = _weights(unit, own)
        errors.append(sum(torch.minimum(p.abs(), (1 - p.abs()).abs()).max().item() for p in tensors))
    return max(errors)


def clamp_(run: Run, parameters: Parameters) -> None:
    """Bring the parameters back into their intervals after a step."""
    for prefix, unit, _, _ in layers_of(run):
        clip = getattr(unit, "clip", "wg" if unit.name in ("NAU", "NMU", "NRU", "NMRU") else "")
        low = 0 if unit.name in ("NMU", "NMRU") else -1
        if getattr(unit, "weights", "") in ("nmu", "nau-nmu"):
            clip, low = "w", 0 if unit.weights == "nmu" else -1
        if "w" in clip:
            parameters[prefix + "weight"].clamp_(low, 1)
        if getattr(unit, "weights", "") == "nau-nmu":
            parameters[prefix + "mul_weight"].clamp_(0, 1)
        if unit.name == "Custom":
            for each in unit.tensors:
                if each.clamp is not None:
                    parameters[prefix + each.name].clamp_(*each.clamp)
        if "i" in clip:
            parameters[prefix + "imaginary"].clamp_(-1, 1)
        if "g" in clip and prefix + "gate" in parameters:
            parameters[prefix + "gate"].clamp_(0, 1)


def _optimizer(run: Run, parameters: list[Tensor]) -> torch.optim.Optimizer:
    given: Any = run.optimizer
    if given.name == "adam":
        return torch.optim.Adam(parameters, lr=given.lr, betas=given.betas, eps=given.eps)
    return torch.optim.SGD(parameters, lr=given.lr, momentum=given.momentum)


def _samples(run: Run, dtype: torch.dtype, generator: str) -> Samples:
    first = layers_of(run)[0][1]
    epsilon = first.epsilon if first.name == "NMRU" else 0.0
    real = np.float64 if dtype == torch.float64 else np.float32
    return functools.partial(random.samples, run, dtype=real, generator=generator, epsilon=epsilon)


def _error(
    run: Run, parameters: Parameters, which: Any, dtype: torch.dtype, formulas: Sequence[Formula]
) -> float:
    x, target = (torch.from_numpy(v).to(dtype) for v in run.task.evaluation_set(which, run.seed))
    return (predict(run, parameters, x, False, formulas) - target).square().mean().item()


def _starts_anew(run: Run, errors: list[float], t: int) -> bool:
    """Return whether the run starts anew behind iteration t; ``errors`` are those since its last start."""
    how = run.restarts
    if how is None or t % run.evaluate_every or t % how.every or len(errors) <= how.window:
        return False
    before, after = np.array(errors[: len(errors) // 2]), np.array(errors[len(errors) // 2 :])
    return bool(before.mean() <= after.mean() + after.std() and after.mean() > how.above)


def train(
    run: Run,
    *,
    dtype: torch.dtype = torch.float32,
    generator: str = "hash",
    samples: Samples | None = None,
    formulas: Sequence[Formula] = (),
) -> Trained:
    """Train one run to the end; iterations + 1 updates.

    Args:
        run: the description.
        dtype: of parameters, data and optimiser; the initial weights are drawn in float32 in any case.
        generator: "hash" or "philox"; data drawn in float32, or float64 if that is the dtype.
        samples: inputs (B,I) of an iteration in place of the generator's.
        formulas: what a Custom module computes, one for each layer that is one: inputs (B,I) and its tensors
            (columns,) -> outputs (B). Its sparsity error is that of all its tensors.

    A run whose parameters become NaN stops and keeps the rows it has.
    """
    drawn = starts(run)
    parameters = {name: p.to(dtype).requires_grad_() for name, p in next(drawn).items()}
    optimizer = _optimizer(run, list(parameters.values()))
    draw = samples or _samples(run, dtype, generator)
    rows: list[Row] = []
    errors: list[float] = []  # on the validation set, since the last start
    for t in range(run.iterations + 1):
        inputs = draw(t)
        x = torch.from_numpy(inputs).to(dtype)
        target = torch.from_numpy(run.task.target(inputs, run.seed)).to(dtype)  # computed in float64
        loss = criterion(run, predict(run, parameters, x, True, formulas), target)
        if t % run.evaluate_every == 0:
            with torch.no_grad():
                sets = ("validation", "test")
                valid, test = (_error(run, parameters, which, dtype, formulas) for which in sets)
            extra = penalty(run, parameters, t, valid)
            rows.append(Row(t, valid, test, sparsity(run, parameters), loss.item(), extra.item()))
            errors.append(valid)
        else:
            extra = penalty(run, parameters, t, rows[-1].valid)
        optimizer.zero_grad()
        (loss + extra).backward()
        if run.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters.values(), run.clip_norm)
        if run.clip_value is not None:
            torch.nn.utils.clip_grad_value_(parameters.values(), run.clip_value)
        optimizer.step()
        with torch.no_grad():
            clamp_(run, parameters)
            if _starts_anew(run, errors, t):
                for name, values in next(drawn).items():
                    parameters[name].copy_(values)
                errors.clear()
        if any(p.isnan().any() for p in parameters.values()):
            break
    stacked = len(layers_of(run)) > 1
    return Trained(
        rows, {n: p.detach().reshape((-1, p.shape[-1]) if stacked else -1) for n, p in parameters.items()}
    )
