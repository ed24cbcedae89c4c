"""One training run in plain torch with autograd: what `mathkernels.ensemble.fit` means, read slowly.

The order of work follows the published experiments of Mistry, Farrahi & Hare 2021 (arXiv 2110.05177): in
iteration t = 0 … T evaluate (where t is a multiple of the interval), forward, mean squared error plus
penalties, backward, limit of the gradient norm, optimiser step, clamps. Only the training data differ: they
come from :mod:`mathkernels.reference.random`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from mathkernels import reference
from mathkernels.reference import random

if TYPE_CHECKING:
    from mathkernels.ensemble.describe import Module, Run

Samples = Callable[[int], np.ndarray]  # iteration -> inputs (B,I)
Parameters = dict[
    str, Tensor
]  # "weight", and "imaginary" and "gate" where the module has one; with a leading model axis of 1


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
    """The logged rows of a run, and its parameters as vectors after the last update."""

    rows: list[Row]
    parameters: Parameters


def initial_parameters(run: Run) -> Parameters:
    """Return "weight" (1,1,I), "imaginary" (1,1,I) for NPU and "gate" (1,I), float32; NMRU has 2I for I.

    The published scripts initialise twice from torch's generator, so that the second draw counts.
    """
    inputs, module = run.task.inputs, cast(Any, run.module)
    xavier = math.sqrt(6 / (inputs + 1))
    if module.name in ("NMU", "NMRU"):
        low, high = 0.25, 0.75
    else:
        high = xavier if getattr(module, "init", None) == "xavier" else min(0.5, xavier)
        low = -high
    columns = 2 * inputs if module.name == "NMRU" else inputs
    weight = torch.empty(1, 1, columns)
    source = torch.Generator().manual_seed(run.seed)
    for _ in range(2):
        weight.uniform_(low, high, generator=source)
    parameters = {"weight": weight}
    if module.name == "NPU":
        parameters["imaginary"] = torch.zeros_like(weight)
    if module.name in ("RealNPU", "NPU") or getattr(module, "gated", False):
        parameters["gate"] = torch.full((1, columns), 0.5)
    return parameters


def predict(module: Module, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Return the module's output (B) for inputs x (B,I)."""
    samples, given = x[None], cast(Any, module)
    tensors = parameters.values()  # in the order of the references' arguments
    if module.name == "NAU":
        z = reference.nau(samples, *tensors)
    elif module.name == "NMU":
        z = reference.nmu(samples, *tensors)
    elif module.name == "RealNPU":
        z = reference.real_npu(samples, *tensors, epsilon=given.epsilon)
    elif module.name == "NPU":
        z = reference.npu(samples, *tensors, epsilon=given.epsilon)
    elif module.name == "NRU":
        z = (reference.nru_separate if given.separate_signs else reference.nru)(samples, *tensors, training)
    elif module.name == "NMRU" and given.gated:
        z = reference.nmru_gated(samples, *tensors, given.epsilon, training)
    elif module.name == "NMRU":
        z = reference.nmru(samples, *tensors, given.epsilon, training, given.sign_retrieval)
    else:
        raise TypeError(f"module: got {module!r}, which has no reference")
    return z[0, :, 0]


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


def penalty(run: Run, parameters: Parameters, t: int) -> Tensor:
    """Return what iteration t adds to the loss: discretisation, times the ramp, and norms."""
    module: Any = run.module
    weight = parameters["weight"]
    ramp = 1.0 if run.ramp is None else run.ramp.at(t)
    if module.name not in ("RealNPU", "NPU"):
        kind = "unit" if module.name in ("NMU", "NMRU") else "ternary"
        total = module.penalty * ramp * reference.discretisation(weight, kind)[0]
        if "gate" in parameters:
            total = (
                total + module.gate_penalty * ramp * reference.discretisation(parameters["gate"], "unit")[0]
            )
        return total
    total = module.weight_penalty * ramp * reference.discretisation(weight, module.weight_target)[0]
    total = total + module.gate_penalty * ramp * reference.discretisation(parameters["gate"], "unit")[0]
    if module.name == "NPU":
        total = total + module.imaginary_penalty * ramp * parameters["imaginary"].abs().sum()
    if module.norm is not None:
        norms = [torch.linalg.vector_norm(p, module.norm.order) for p in parameters.values()]
        total = total + module.norm.at(t) * torch.stack(norms).sum()
    return total


def sparsity(parameters: Parameters) -> float:
    """Return the largest distance of a weight from -1, 0 and 1; an NPU adds that of its imaginary part."""
    tensors = [p for name, p in parameters.items() if name != "gate"]
    return sum(torch.minimum(p.abs(), (1 - p.abs()).abs()).max().item() for p in tensors)


def clamp_(module: Module, parameters: Parameters) -> None:
    """Bring the parameters back into their intervals after a step."""
    clip = getattr(module, "clip", "wg")
    if "w" in clip:
        parameters["weight"].clamp_(0 if module.name in ("NMU", "NMRU") else -1, 1)
    if "i" in clip:
        parameters["imaginary"].clamp_(-1, 1)
    if "g" in clip and "gate" in parameters:
        parameters["gate"].clamp_(0, 1)


def _optimizer(run: Run, parameters: list[Tensor]) -> torch.optim.Optimizer:
    given: Any = run.optimizer
    if given.name == "adam":
        return torch.optim.Adam(parameters, lr=given.lr, betas=given.betas, eps=given.eps)
    return torch.optim.SGD(parameters, lr=given.lr, momentum=given.momentum)


def _samples(run: Run, dtype: torch.dtype, generator: str) -> Samples:
    inputs, half = run.task.inputs, run.task.inputs // 2
    parts = run.task.interpolation
    each = [parts[0 if i < half else -1] for i in range(inputs)]
    if any(len(part.intervals) > 1 for part in each):
        raise ValueError(f"Task.interpolation: got {parts}, needs one interval for each input to train on")
    kind = np.float64 if dtype == torch.float64 else np.float32
    if all(hasattr(part, "quantile") for part in each):
        quantiles = [cast(Any, part).quantile for part in each]
        return lambda t: random.quantiles(run.seed, t, run.batch, quantiles, kind, generator)
    ranges = [part.intervals[0] for part in each]
    return lambda t: random.uniforms(run.seed, t, run.batch, inputs, ranges, kind, generator)


def _error(run: Run, parameters: Parameters, which: Any, dtype: torch.dtype) -> float:
    x, target = (torch.from_numpy(v).to(dtype) for v in run.task.evaluation_set(which, run.seed))
    return (predict(run.module, parameters, x, training=False) - target).square().mean().item()


def train(
    run: Run, *, dtype: torch.dtype = torch.float32, generator: str = "hash", samples: Samples | None = None
) -> Trained:
    """Train one run to the end; iterations + 1 updates.

    Args:
        run: the description.
        dtype: of parameters, data and optimiser; the initial weights are drawn in float32 in any case.
        generator: "hash" or "philox"; data drawn in float32, or float64 if that is the dtype.
        samples: inputs (B,I) of an iteration in place of the generator's.

    A run whose parameters become NaN stops and keeps the rows it has.
    """
    parameters = {name: p.to(dtype).requires_grad_() for name, p in initial_parameters(run).items()}
    optimizer = _optimizer(run, list(parameters.values()))
    draw = samples or _samples(run, dtype, generator)
    rows: list[Row] = []
    for t in range(run.iterations + 1):
        drawn = draw(t)
        x = torch.from_numpy(drawn).to(dtype)
        target = torch.from_numpy(run.task.target(drawn, run.seed)).to(dtype)  # computed in float64
        loss = criterion(run, predict(run.module, parameters, x, training=True), target)
        extra = penalty(run, parameters, t)
        if t % run.evaluate_every == 0:
            with torch.no_grad():
                valid, test = (_error(run, parameters, which, dtype) for which in ("validation", "test"))
            rows.append(Row(t, valid, test, sparsity(parameters), loss.item(), extra.item()))
        optimizer.zero_grad()
        (loss + extra).backward()
        if run.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters.values(), run.clip_norm)
        optimizer.step()
        with torch.no_grad():
            clamp_(run.module, parameters)
        if any(p.isnan().any() for p in parameters.values()):
            break
    return Trained(rows, {name: p.detach().flatten() for name, p in parameters.items()})
