"""Adam and RMSprop as Keras has them: each formula once, for tensors of any shape and type, in place.

Both differ from torch's by the place of epsilon. Kingma & Ba 2015 give Adam in two forms; torch has that of
their Algorithm 1, Keras the one at the end of their section 2, with epsilon outside the bias correction.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
RHO = 0.9  # of RMSprop


def adam_rate(learning_rate: float, steps: int) -> float:
    """Return the rate of a step, counted from 1, with both corrections of the bias."""
    return learning_rate * math.sqrt(1 - BETA_2**steps) / (1 - BETA_1**steps)


@torch.no_grad()
def adam_(
    value: Tensor, gradient: Tensor, first: Tensor, second: Tensor, rate: float, epsilon: float = EPSILON
) -> None:
    """p -= rate m / (sqrt(v) + epsilon), after m and v have moved on.

    Args:
        value: p, changed in place.
        gradient: of p.
        first, second: m and v, changed in place.
        rate: of this step, see :func:`adam_rate`.
        epsilon: outside the root.
    """
    first.lerp_(gradient, 1 - BETA_1)
    second.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
    value.addcdiv_(first, second.sqrt().add_(epsilon), value=-rate)


@torch.no_grad()
def rmsprop_(value: Tensor, gradient: Tensor, second: Tensor, rate: float, epsilon: float = EPSILON) -> None:
    """p -= rate g / sqrt(v + epsilon), after v has moved on. Keras 3; torch adds epsilon to the root.

    Args:
        value: p, changed in place.
        gradient: g, of p.
        second: v, changed in place.
        rate: the learning rate.
        epsilon: inside the root.
    """
    second.mul_(RHO).addcmul_(gradient, gradient, value=1 - RHO)
    value.addcdiv_(gradient, (second + epsilon).sqrt_(), value=-rate)


def step_in_keras_form(optimizer: torch.optim.Adam, rate: float, epsilon: float = EPSILON) -> None:
    """Let torch's Adam do a step of Keras': its epsilon stands inside the correction, so that grows early on.

    Args:
        optimizer: of one group of parameters, with gradients.
        rate: the learning rate of this step.
        epsilon: Keras'.
    """
    group = optimizer.param_groups[0]
    steps = next((int(state["step"]) for state in optimizer.state.values()), 0) + 1
    group["lr"] = rate
    group["eps"] = epsilon / (1 - group["betas"][1] ** steps) ** 0.5
    optimizer.step()
