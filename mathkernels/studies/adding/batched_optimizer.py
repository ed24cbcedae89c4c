"""Adam and gradient descent over E independent models at once: each is updated as if it were alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from mathkernels.data import ranges

# Keras' defaults; the published runs were Keras'
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


class BatchedOptimizer:
    """Updates parameters whose first axis is the model.

    Adam as in Keras (Kingma & Ba 2015, section 2, the second form): p -= r m / (sqrt(v) + 1e-7), where r is
    the learning rate with both corrections of the bias.

    Args:
        name: "adam" or "sgd".
        learning_rate: of all models.
        clip_norm: limit of the Euclidean norm of a model's gradients together, or None.
        parameters: leaf tensors (E,...) with gradients when `step` is called.

    Raises:
        ValueError: another name, or a number that is not positive and finite.
    """

    def __init__(
        self, name: str, learning_rate: float, clip_norm: float | None, parameters: Mapping[str, Tensor]
    ) -> None:
        if name not in ("adam", "sgd"):
            raise ValueError(f"optimizer: name is {name!r}; needs 'adam' or 'sgd'")
        wording = "optimizer: {name} is {given}; needs {right}"
        self.learning_rate = ranges.positive("learning_rate", learning_rate, wording=wording)
        self.clip_norm = None
        if clip_norm is not None:
            self.clip_norm = ranges.positive("clip_norm", clip_norm, wording=wording)
        self.parameters = dict(parameters)
        self.moments: dict[str, Tensor] = {}
        if name == "adam":
            for key, value in self.parameters.items():
                self.moments[f"first.{key}"] = torch.zeros_like(value, requires_grad=False)
                self.moments[f"second.{key}"] = torch.zeros_like(value, requires_grad=False)
        self.steps = 0

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter by its gradient and drop the gradient."""
        self.steps += 1
        gradients = {key: value.grad for key, value in self.parameters.items()}
        self._clip(gradients)
        corrected = self.learning_rate * math.sqrt(1 - BETA_2**self.steps) / (1 - BETA_1**self.steps)
        for key, value in self.parameters.items():
            gradient = gradients[key]
            assert gradient is not None
            if self.moments:
                first, second = self.moments[f"first.{key}"], self.moments[f"second.{key}"]
                first.lerp_(gradient, 1 - BETA_1)
                second.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
                value.addcdiv_(first, second.sqrt().add_(EPSILON), value=-corrected)
            else:
                value.add_(gradient, alpha=-self.learning_rate)
            value.grad = None

    def _clip(self, gradients: Mapping[str, Tensor | None]) -> None:
        if self.clip_norm is None:
            return
        present = [gradient for gradient in gradients.values() if gradient is not None]
        norm = torch.stack([gradient.flatten(1).square().sum(1) for gradient in present]).sum(0).sqrt()
        scale = (self.clip_norm / norm).clamp(max=1.0)  # (E,); of a norm of 0 it is inf and clamped
        for gradient in present:
            gradient.mul_(scale.reshape(-1, *[1] * (gradient.dim() - 1)))
