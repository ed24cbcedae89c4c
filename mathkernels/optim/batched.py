"""Adam, RMSprop and gradient descent over E models at once: each is updated as if it were alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mathkernels.data import ranges
from mathkernels.optim import keras

MOMENTS = {"adam": ("first", "second"), "rmsprop": ("second",), "sgd": ()}


class BatchedOptimizer:
    """Updates parameters whose first axis is the model, as Keras would update each model's.

    Args:
        name: "adam", "rmsprop" or "sgd", see :mod:`mathkernels.optim.keras`.
        learning_rate: of all models.
        clip_norm: limit of the Euclidean norm of a model's gradients together, or None.
        parameters: leaf tensors (E,...) with gradients when `step` is called; any floating type and device.

    Attributes:
        moments: what the optimiser remembers, (E,...) by "first." or "second." and the parameter's name.
        steps: done so far.

    Raises:
        ValueError: another name, or a number that is not positive and finite.
    """

    def __init__(
        self, name: str, learning_rate: float, clip_norm: float | None, parameters: Mapping[str, Tensor]
    ) -> None:
        if name not in MOMENTS:
            raise ValueError(f"optimizer: name is {name!r}; needs one of {', '.join(map(repr, MOMENTS))}")
        wording = "optimizer: {name} is {given}; needs {right}"
        self.name = name
        self.learning_rate = ranges.positive("learning_rate", learning_rate, wording=wording)
        self.clip_norm = None
        if clip_norm is not None:
            self.clip_norm = ranges.positive("clip_norm", clip_norm, wording=wording)
        self.parameters = dict(parameters)
        self.moments = {
            f"{moment}.{key}": torch.zeros_like(value, requires_grad=False)
            for key, value in self.parameters.items()
            for moment in MOMENTS[name]
        }
        self.steps = 0

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter by its gradient and drop the gradient."""
        self.steps += 1
        gradients = {key: value.grad for key, value in self.parameters.items()}
        self._clip(gradients)
        adam_rate = keras.adam_rate(self.learning_rate, self.steps)
        for key, value in self.parameters.items():
            gradient = gradients[key]
            assert gradient is not None
            if self.name == "adam":
                first, second = self.moments[f"first.{key}"], self.moments[f"second.{key}"]
                keras.adam_(value, gradient, first, second, adam_rate)
            elif self.name == "rmsprop":
                keras.rmsprop_(value, gradient, self.moments[f"second.{key}"], self.learning_rate)
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
