"""Exact weights: the parameters with which a module computes quotients and reciprocals without training.

They show how far a module's own rounding and epsilons are from the target, and so what a trained run can
reach at best (Mistry, Farrahi & Hare 2021, division by small numbers; the papers call them gold weights).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from mathkernels import backends
from mathkernels.data.arithmetic import Task
from mathkernels.ensemble.describe import EPSILON, NMRU, NPU, NRU, Module, RealNPU, Run
from mathkernels.ensemble.training import evaluate


def exact_parameters(module: Module, task: Task, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the parameters, float32, as :func:`evaluate` takes them: "weight" (P,) and, if gated, "gate".

    Raises:
        ValueError: no exact weights are known of this module or operation.
    """
    if task.operation not in ("div", "reciprocal"):
        raise ValueError(f"exact weights: got operation {task.operation!r}, needs 'div' or 'reciprocal'")
    first, *second = task.subsets(seed)
    up, down = (first, second[0]) if task.operation == "div" else ((), first)
    if len(up) > 1 or len(down) > 1:
        raise ValueError(f"exact weights: got subsets {up} and {down}, needs subsets of one input")
    powers, used = np.zeros(task.inputs, np.float32), np.zeros(task.inputs, np.float32)
    powers[list(up)], powers[list(down)] = 1, -1
    used[[*up, *down]] = 1
    match module:
        case RealNPU():  # behind a closed gate a weight has no effect
            return {"weight": np.where(used == 1, powers, np.float32(1)), "gate": used}
        case NRU():
            return {"weight": powers}
        case NMRU(gated=False):
            return {"weight": np.concatenate([powers > 0, powers < 0]).astype(np.float32)}
    kinds = ", ".join(kind.name for kind in (RealNPU, NRU, NMRU))
    raise ValueError(f"exact weights: got {module!r}, needs one of {kinds} (without gates of the NMRU)")


def exact_error(module: Module, task: Task) -> float:
    """Return the mean squared error of exact weights on the test set, computed in float32."""
    run = Run(module=module, task=task, seed=0)
    return float(evaluate([run], [exact_parameters(module, task)]).test[0])


def exact_threshold(module: Module, task: Task) -> float:
    """Return the threshold that a run passes with an error of at most ``exact_error`` + 2^-23.

    The published thresholds of division by small numbers are made like this, with the rounding of the
    authors' software; these have the rounding of the kernels that train. As :attr:`Run.threshold` is strict,
    it is the next number above.
    """
    match module:
        case RealNPU() | NPU():
            plain: Module = type(module)(epsilon=module.epsilon)  # how it is trained does not matter
        case NMRU():
            plain = NMRU(sign_retrieval=module.sign_retrieval, gated=module.gated)
        case _:
            plain = module
    return math.nextafter(_error(plain, task, backends.current()) + EPSILON, math.inf)


@cache
def _error(module: Module, task: Task, instruction_set: str) -> float:
    """Return :func:`exact_error`, which rounds as the instruction set in use does."""
    return exact_error(module, task)
