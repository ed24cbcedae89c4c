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
from typing import TYPE_CHECKING, Any, NamedTuple

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
]  # "weight", and "gate" where the module has one; with a leading model axis of 1


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
    """Return "weight" (1,1,I), or (1,1,2I) for NMRU, and for Real NPU "gate" (1,I), float32.

    The published scripts initialise twice from torch's generator, so that the second draw counts.
    """
    inputs, name = run.task.inputs, run.module.name
    xavier = math.sqrt(6 / (inputs + 1))
    if name in ("NMU", "NMRU"):
        low, high = 0.25, 0.75
    else:
        high = xavier if getattr(run.module, "init", None) == "xavier" else min(0.5, xavier)
        low = -high
    weight = torch.empty(1, 1, 2 * inputs if name == "NMRU" else inputs)
    source = torch.Generator().manual_seed(run.seed)
    for _ in range(2):
        weight.uniform_(low, high, generator=source)
    return {"weight": weight} | ({"gate": torch.full((1, inputs), 0.5)} if name == "RealNPU" else {})


def predict(module: Module, parameters: Parameters, x: Tensor, training: bool) -> Tensor:
    """Return the module's output (B) for inputs x (B,I)."""
    samples, weight = x[None], parameters["weight"]
    given: Any = module
    if module.name == "NAU":
        z = reference.nau(samples, weight)
    elif module.name == "NMU":
        z = reference.nmu(samples, weight)
    elif module.name == "RealNPU":
        z = reference.real_npu(samples, weight, parameters["gate"], given.epsilon)
    elif module.name == "NRU":
        z = reference.nru(samples, weight, training)
    elif module.name == "NMRU":
        z = reference.nmru(samples, weight, given.epsilon, training, given.sign_retrieval)
    else:
        raise TypeError(f"module: got {module!r}, which has no reference")
    return z[0, :, 0]


def penalty(run: Run, parameters: Parameters, t: int) -> Tensor:
    """Return what iteration t adds to the mean squared error: discretisation, times the ramp, and norms."""
    module: Any = run.module
    weight = parameters["weight"]
    ramp = 1.0 if run.ramp is None else run.ramp.at(t)
    if module.name != "RealNPU":
        kind = "unit" if module.name in ("NMU", "NMRU") else "ternary"
        return module.penalty * ramp * reference.discretisation(weight, kind)[0]
    total = module.weight_penalty * ramp * reference.discretisation(weight, module.weight_target)[0]
    total = total + module.gate_penalty * ramp * reference.discretisation(parameters["gate"], "unit")[0]
    if module.norm is not None:
        norms = [torch.linalg.vector_norm(p, module.norm.order) for p in parameters.values()]
        total = total + module.norm.at(t) * torch.stack(norms).sum()
    return total


def clamp_(module: Module, parameters: Parameters) -> None:
    """Bring the parameters back into their intervals after a step."""
    clip = getattr(module, "clip", "w")
    if "w" in clip:
        parameters["weight"].clamp_(0 if module.name in ("NMU", "NMRU") else -1, 1)
    if "g" in clip:
        parameters["gate"].clamp_(0, 1)


def _optimizer(run: Run, parameters: list[Tensor]) -> torch.optim.Optimizer:
    given: Any = run.optimizer
    if given.name == "adam":
        return torch.optim.Adam(parameters, lr=given.lr, betas=given.betas, eps=given.eps)
    return torch.optim.SGD(parameters, lr=given.lr, momentum=given.momentum)


def _samples(run: Run, dtype: torch.dtype, generator: str) -> Samples:
    inputs, half = run.task.inputs, run.task.inputs // 2
    parts = run.task.interpolation
    intervals = [parts[0 if i < half else -1].intervals for i in range(inputs)]
    if any(len(pair) > 1 for pair in intervals):
        raise ValueError(f"Task.interpolation: got {parts}, needs one interval for each input to train on")
    kind = np.float64 if dtype == torch.float64 else np.float32
    ranges = [pair[0] for pair in intervals]
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
        loss = (predict(run.module, parameters, x, training=True) - target).square().mean()
        extra = penalty(run, parameters, t)
        if t % run.evaluate_every == 0:
            with torch.no_grad():
                valid, test = (_error(run, parameters, which, dtype) for which in ("validation", "test"))
                distance = torch.minimum(parameters["weight"].abs(), (1 - parameters["weight"].abs()).abs())
            rows.append(Row(t, valid, test, distance.max().item(), loss.item(), extra.item()))
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
