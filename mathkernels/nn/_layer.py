"""What the arithmetic layers share: sizes, the model axis, initial weights and the discretisation penalty."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mathkernels.ops import discretisation


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
        sizes = {"in_features": in_features, "out_features": out_features, "models": models}
        for name, size in sizes.items():
            if size is None and name == "models":
                continue
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                right = "a positive integer or None" if name == "models" else "a positive integer"
                raise ValueError(f"{type(self).__name__}: {name} is {size!r}; needs {right}")
        self.in_features, self.out_features, self.models = in_features, out_features, models
        self._new = {"device": device, "dtype": dtype}

    def _parameter(self, *shape: int) -> nn.Parameter:
        shape = shape if self.models is None else (self.models, *shape)
        return nn.Parameter(torch.empty(shape, **self._new))

    def _leading(self, parameter: Tensor) -> Tensor:
        """The parameter with a model axis."""
        return parameter[None] if self.models is None else parameter

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        raise NotImplementedError

    def apply_models(self, x: Tensor) -> Tensor:
        """x (E,B,I) -> (E,B,O)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        lead = () if self.models is None else (self.models,)
        if x.shape[-1:] != (self.in_features,) or x.shape[: len(lead)] != lead or x.dim() <= len(lead):
            right = ", ".join([*map(str, lead), "*", str(self.in_features)])
            raise ValueError(f"{type(self).__name__}: x has shape {tuple(x.shape)}; needs ({right})")
        rows = math.prod(x.shape[len(lead) : -1])
        y = self.apply_models(x.reshape(self.models or 1, rows, self.in_features))
        return y.reshape(*x.shape[:-1], self.out_features)

    def _penalty(self, parameter: Tensor, kind: str) -> Tensor:
        """Mean penalty of each model (E,), or a scalar without a model axis."""
        mean = discretisation(self._leading(parameter), kind)
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
        tensors = [self._leading(getattr(self, name)) for name in self.tensors]
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


def check_number(layer: str, name: str, value: float) -> float:
    """Return the option as a float, or raise naming it, unless it is a finite number of at least 0."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"{layer}: {name} is {value!r}; needs a finite number of at least 0")
    return float(value)


def check_choice(layer: str, name: str, value: object, allowed: tuple) -> None:
    if value not in allowed:
        raise ValueError(f"{layer}: {name} is {value!r}; needs one of {', '.join(map(repr, allowed))}")
