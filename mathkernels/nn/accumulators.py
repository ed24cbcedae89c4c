"""Neural accumulators: NAC and the multiplicative ones with weights of three forms."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mathkernels.initial import accumulator_bound
from mathkernels.nn._layer import PackedLayer, check_number
from mathkernels.nn.units import Unit
from mathkernels.ops import nac, nac_mul, nac_nmu, nac_sigma


class NAC(PackedLayer):
    """Neural accumulator: learns sums and differences, z = W x with W = tanh(weight_hat) sigmoid(m_hat).

    Shapes: ``(*, I)`` -> ``(*, O)``; with ``models=E``: ``(E, *, I)`` -> ``(E, *, O)``.
    Parameters: ``weight_hat`` and ``m_hat``, each ``(O, I)``, or ``(E, O, I)`` with ``models=E``.
    Initial values: U(-r, r), r such that W has the variance of Glorot & Bengio 2010.
    Source: Trask et al. 2018, *Neural Arithmetic Logic Units*, eq. 1; Madsen & Johansen 2020 for r.
    On a GPU: refused, unless ``backends.enable("torch")`` lets plain torch compute it.

    Args:
        models: E independent models in one call.

    Raises:
        ValueError: a size is not a positive integer.
    """

    tensors = ("weight_hat", "m_hat")
    weight_hat: nn.Parameter
    m_hat: nn.Parameter

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        models: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, models=models, device=device, dtype=dtype)
        for name in self.tensors:
            self._register(name, self.out_features, self.in_features)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = accumulator_bound(self.in_features, self.out_features)
        for name in self.tensors:
            nn.init.uniform_(getattr(self, name), -bound, bound)

    def operate(self, x: Tensor, weight: Tensor) -> Tensor:
        return nac(x, weight)


class NACMul(NAC):
    """Multiplicative accumulator: learns products and quotients of |x|.

    z = exp(sum_i W_i ln(|x_i| + epsilon)) with W = tanh(weight_hat) sigmoid(m_hat). The sign of x is lost.

    Shapes, parameters, initial values and source as in `NAC`.
    On a GPU: refused, unless ``backends.enable("torch")`` lets plain torch compute it.

    Args:
        epsilon: added to |x|.
        models: E independent models in one call.

    Raises:
        ValueError: a size is not a positive integer, or epsilon not a finite number of at least 0.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        epsilon: float = 1e-7,
        models: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, models=models, device=device, dtype=dtype)
        self.epsilon = check_number(type(self).__name__, "epsilon", epsilon)

    def operate(self, x: Tensor, weight: Tensor) -> Tensor:
        return nac_mul(x, weight, self.epsilon)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, epsilon={self.epsilon:g}"


class NACSigma(NACMul):
    """Multiplicative accumulator with weights in (0, 1): W = sigmoid(weight_hat), else as `NACMul`.

    Shapes: ``(*, I)`` -> ``(*, O)``; with ``models=E``: ``(E, *, I)`` -> ``(E, *, O)``.
    Parameter: ``weight_hat``, ``(O, I)``, or ``(E, O, I)`` with ``models=E``.
    Initial values: normal with mean 0 and variance 2 / (I + O).
    Source: Madsen & Johansen 2020, *Neural Arithmetic Units*.
    On a GPU: refused, unless ``backends.enable("torch")`` lets plain torch compute it.

    Args:
        epsilon: added to |x|.
        models: E independent models in one call.

    Raises:
        ValueError: a size is not a positive integer, or epsilon not a finite number of at least 0.
    """

    tensors = ("weight_hat",)

    def reset_parameters(self) -> None:
        deviation = math.sqrt(2 / (self.in_features + self.out_features))
        nn.init.normal_(self.weight_hat, 0.0, deviation)

    def operate(self, x: Tensor, weight: Tensor) -> Tensor:
        return nac_sigma(x, weight, self.epsilon)


class NACNMU(Unit):
    """Multiplicative accumulator trained as an NMU: W regularised towards {0, 1}, z as in `NACMul`.

    Shapes: ``(*, I)`` -> ``(*, O)``; with ``models=E``: ``(E, *, I)`` -> ``(E, *, O)``.
    Parameter: ``weight``, ``(O, I)``, or ``(E, O, I)`` with ``models=E``. Initial values: U(0.25, 0.75).
    Source: Madsen & Johansen 2020, *Neural Arithmetic Units*.
    On a GPU: refused, unless ``backends.enable("torch")`` lets plain torch compute it.

    Args:
        penalty: weighs mean(min(|W|, |1 - W|)) in `regularizer`.
        epsilon: added to |x|.
        models: E independent models in one call.

    Raises:
        ValueError: a size is not a positive integer, or an option not a finite number of at least 0.
    """

    penalty_kind, bounds = "unit", (0.0, 1.0)

    def __init__(self, in_features: int, out_features: int, *, epsilon: float = 1e-7, **options) -> None:
        super().__init__(in_features, out_features, **options)
        self.epsilon = check_number("NACNMU", "epsilon", epsilon)

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.weight, 0.25, 0.75)

    def apply_models(self, x: Tensor) -> Tensor:
        return nac_nmu(x, self._tensor("weight"), self.epsilon)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, epsilon={self.epsilon:g}"
