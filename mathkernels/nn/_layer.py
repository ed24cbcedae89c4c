"""What the arithmetic layers share: sizes, the model axis, initial weights and the discretisation penalty."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mathkernels.nn._tensors import autocast_dtype, check_parameter, check_tensor, fresh_view, widen
from mathkernels.ops import discretisation

LARGEST = 2**31 - 1  # of a size; torch's own messages for what overflows name nothing


class ArithmeticLayer(nn.Module):
    """A layer of one weight matrix, alone or as E independent models.

    Subclasses set ``penalty_kind`` and ``bounds`` (the post-step clamp of the weight), and define
    ``reset_parameters`` and ``apply_models``.
    """

    penalty_kind: str
    bounds: tuple[float, float]
    weight: nn.Parameter

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        models: int | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        layer = type(self).__name__
        self.in_features = check_size(layer, "in_features", in_features)
        self.out_features = check_size(layer, "out_features", out_features)
        self.models = check_models(layer, models)
        self._new = {"device": device, "dtype": dtype}
        self._right: dict[str, tuple[int, ...]] = {}  # the shape that each parameter has to keep

    def _register(self, name: str, *shape: int) -> None:
        self._right[name] = shape if self.models is None else (self.models, *shape)
        self.register_parameter(name, nn.Parameter(torch.empty(self._right[name], **self._new)))

    def _tensor(self, name: str) -> Tensor:
        """A parameter, or what is computed in its place, with a model axis; raises if its shape is wrong."""
        tensor = check_parameter(type(self).__name__, name, getattr(self, name), self._right[name])
        return tensor[None] if self.models is None else tensor

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        raise NotImplementedError

    def apply_models(self, x: Tensor) -> Tensor:
        """x (E,B,I) -> (E,B,O)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        layer, lead = type(self).__name__, () if self.models is None else (self.models,)
        x = check_tensor(layer, "x", x)
        if x.shape[-1:] != (self.in_features,) or x.shape[: len(lead)] != lead or x.dim() <= len(lead):
            right = ", ".join([*map(str, lead), "*", str(self.in_features)])
            raise ValueError(f"{layer}: x has shape {tuple(x.shape)}; needs ({right})")
        if autocast_dtype(x.device) is not None:  # as torch does with exp, log and pow
            x = widen(layer, "x", x, torch.float32, True)
        rows = math.prod(x.shape[len(lead) : -1])
        y = self.apply_models(x.reshape(self.models or 1, rows, self.in_features))
        return fresh_view(y, [*x.shape[:-1], self.out_features])

    def _penalty(self, name: str, kind: str) -> Tensor:
        """Mean penalty of a parameter for each model (E,), or a scalar without a model axis."""
        mean = discretisation(self._tensor(name), kind)
        return mean[0] if self.models is None else mean

    @torch.no_grad()
    def clamp_(self) -> None:
        """Clamp the weight into its range; call it after every step of the optimiser."""
        self.weight.clamp_(*self.bounds)

    def extra_repr(self) -> str:
        models = "" if self.models is None else f", models={self.models}"
        return f"in_features={self.in_features}, out_features={self.out_features}{models}"


class PackedLayer(ArithmeticLayer):
    """A layer of several tensors that its op takes as one, side by side for each output.

    Subclasses name the tensors in the order of the op and define ``operate``. There is nothing to clamp and
    no term of the loss unless a subclass says so.
    """

    tensors: tuple[str, ...]

    def packed(self) -> Tensor:
        """The trained numbers of each output, (E,O,P)."""
        tensors = [self._tensor(name) for name in self.tensors]
        return torch.cat([t if t.dim() == 3 else t[..., None] for t in tensors], dim=-1)

    def operate(self, x: Tensor, weight: Tensor) -> Tensor:
        """x (E,B,I), weight (E,O,P) -> (E,B,O)."""
        raise NotImplementedError

    def apply_models(self, x: Tensor) -> Tensor:
        return self.operate(x, self.packed())

    def regularizer(self, ramp: float = 1.0) -> Tensor:
        """The module's term of the loss, which is 0: (E,), or a scalar without ``models``."""
        return getattr(self, self.tensors[0]).new_zeros(() if self.models is None else (self.models,))

    def clamp_(self) -> None:
        """Leave the parameters as they are: none has limits."""


def check_size(layer: str, name: str, size: Any, none: str = "") -> int:
    """Return the size, Python's or numpy's, as an int, or raise naming it unless it is at least 1."""
    number = int(size) if isinstance(size, numbers.Integral) and not isinstance(size, bool) else 0
    if not 1 <= number <= LARGEST:
        up_to = f" up to {LARGEST}" if number > LARGEST else ""
        raise ValueError(f"{layer}: {name} is {size!r}; needs a positive integer{up_to}{none}")
    return number


def check_models(layer: str, models: Any) -> int | None:
    return None if models is None else check_size(layer, "models", models, " or None")


def check_number(layer: str, name: str, value: Any) -> float:
    """Return the option as a float, or raise naming it, unless it is a finite number of at least 0."""
    try:
        number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:  # a whole number above all floats
        number = math.inf
    if not 0 <= number < math.inf:
        raise ValueError(f"{layer}: {name} is {value!r}; needs a finite number of at least 0")
    return number


def check_choice(layer: str, name: str, value: Any, allowed: tuple) -> Any:
    """Return the allowed value that this one equals, or raise naming it."""
    for choice in allowed:
        if value is choice or (isinstance(value, (str, numbers.Number, np.bool_)) and value == choice):
            return choice
    raise ValueError(f"{layer}: {name} is {value!r}; needs one of {', '.join(map(repr, allowed))}")
