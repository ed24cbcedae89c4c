"""Gradients of a compiled cell beside finite differences of its outputs, or beside autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mathkernels import _C
from mathkernels.ensemble.checks import count, is_number, require, valid_seed
from mathkernels.ensemble.custom.library import load
from mathkernels.ensemble.describe import Custom
from mathkernels.ensemble.tensors import initial_parameters

SAMPLES = 64  # several packs of every instruction set
STEP = 2.0**-17  # of finite differences: error of the formula 1e-10 f''', of rounding 1e-11 f
# Relative to the largest value of a kind.  Both sides of a formula round by 1e-16 per operation, so 1e-9
# leaves room for sums that cancel all but 7 of 16 digits; differences have the step's error besides.
DIFFERENCE_TOLERANCE, FORMULA_TOLERANCE = 1e-6, 1e-9


class Checked(NamedTuple):
    """Largest differences that :func:`check` found, relative to the largest value of each kind."""

    outputs: float
    parameter_gradients: float
    input_gradients: float


def check(
    module: Custom,
    inputs: int = 3,
    *,
    interval: tuple[float, float] = (-2.0, 2.0),
    formula: Callable[..., Tensor] | None = None,
    seed: int = 0,
) -> Checked:
    """Compare the compiled cell's gradients with those of its outputs, in float64 on 64 random samples.

    Args:
        module: the description; its parameters are drawn as for training.
        inputs: I, how many inputs.
        interval: what the inputs are drawn from; keep away from points where the formula is not smooth.
        formula: inputs (B,I) and the tensors (columns,) in their order -> outputs (B), in torch; then outputs
            and gradients are compared with these and autograd's, otherwise gradients with finite differences.
        seed: of inputs and parameters.

    Returns:
        The largest differences.

    Raises:
        ValueError: they are larger than 1e-6 (finite differences) or 1e-9 (formula), the header writes beyond
            the counts that it gives, or library and description do not fit; the message names what is wrong.
    """
    inputs, seed = count("inputs", inputs, 1, _C.max_inputs), valid_seed("seed", seed)
    fits = isinstance(interval, tuple) and len(interval) == 2 and all(map(is_number, interval))
    fits = fits and interval[0] < interval[1]
    require(fits, "interval", interval, "a tuple (low, high) of finite numbers with low < high")
    module.cell(inputs, np.dtype(np.float64))
    random = np.random.default_rng(seed)
    x = random.uniform(*interval, (inputs, SAMPLES))
    dz = random.uniform(0.5, 1.5, SAMPLES)
    parameters = initial_parameters(module, inputs, seed).astype(np.float64)
    library = load(str(module.library), module.digest)
    z = library.forward(x, parameters, module.epsilon)
    dp, dx = library.backward(x, parameters, module.epsilon, dz, with_dx=True)
    if formula is None:
        right = (z, *_differences(module, x, parameters, dz))
        by, tolerance = "finite differences", DIFFERENCE_TOLERANCE
    else:
        right = _autograd(module, formula, x, parameters, dz)
        by, tolerance = "the formula", FORMULA_TOLERANCE
    names = _names(module, inputs)
    alone, _ = library.backward(x, parameters, module.epsilon, dz, with_dx=False)
    _compare("backward<false>", alone, dp, [f"d/d{name}" for name in names], "backward<true>", 1e-12)
    return Checked(
        _compare("forward", z, right[0], None, by, tolerance),
        _compare("backward and finish", dp, right[1], [f"d/d{name}" for name in names], by, tolerance),
        _compare("backward", dx.ravel(), right[2].ravel(), None, by, tolerance, "dx of input"),
    )


def _names(module: Custom, inputs: int) -> list[str]:
    return [f"{tensor.name}[{k}]" for tensor in module.tensors for k in range(tensor.columns(inputs))]


def _compare(
    where: str,
    found: np.ndarray,
    right: np.ndarray,
    names: list[str] | None,
    by: str,
    tolerance: float,
    kind: str = "z of sample",
) -> float:
    """Return the largest difference relative to the largest right value; ValueError if it is too large."""
    scale = max(float(np.max(np.abs(right))), np.finfo(np.float64).tiny)
    apart = np.abs(found - right) / scale
    worst = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
    if not apart[worst] <= tolerance:
        per = SAMPLES if kind.startswith("dx") else 1
        what = names[worst] if names else f"{kind} {worst // per}"
        raise ValueError(f"check: {what} is {found[worst]:.9g} by {where}, {right[worst]:.9g} by {by}")
    return float(apart[worst])


def _differences(
    module: Custom, x: np.ndarray, parameters: np.ndarray, dz: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return central differences: of sum(dz z) to each parameter, of dz z to each input of each sample."""
    library = load(str(module.library), module.digest)

    def slope(at: np.ndarray, row: int, of_input: bool) -> np.ndarray:
        step = STEP * max(1.0, float(np.max(np.abs(at[row]))))
        sides = []
        for sign in (1, -1):
            moved = at.copy()
            moved[row] += sign * step
            given = (moved, parameters) if of_input else (x, moved)
            sides.append(library.forward(*given, module.epsilon))
        return dz * (sides[0] - sides[1]) / (2 * step)

    dp = np.array([slope(parameters, k, False).sum() for k in range(len(parameters))])
    return dp, np.stack([slope(x, i, True) for i in range(len(x))])


def _autograd(
    module: Custom, formula: Callable[..., Tensor], x: np.ndarray, parameters: np.ndarray, dz: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return outputs (B,) of the formula, and gradients (P,) and (I,B) by autograd."""
    values = torch.tensor(x.T, requires_grad=True)
    sizes = [tensor.columns(len(x)) for tensor in module.tensors]
    tensors = [part.clone().requires_grad_() for part in torch.tensor(parameters).split(sizes)]
    z = formula(values, *tensors)
    dx, *each = torch.autograd.grad(z, (values, *tensors), torch.tensor(dz))
    return z.detach().numpy(), torch.cat(each).numpy(), dx.T.contiguous().numpy()
