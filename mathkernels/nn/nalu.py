"""Neural arithmetic logic units: an additive and a multiplicative path under a gate."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mathkernels.initial import accumulator_bound, constrained_bound, glorot_bound
from mathkernels.nn._layer import PackedLayer, check_choice, check_number
from mathkernels.ops import gnalu, inalu, nalu, nalu_nau_nmu, nalu_separate

_SHARED = ("weight_hat", "m_hat", "gate")
_SEPARATE = ("weight_hat", "m_hat", "mul_weight_hat", "mul_m_hat", "gate")
_NAU_NMU = ("weight", "mul_weight", "gate")


class NALU(PackedLayer):
    """Neural arithmetic logic unit: z = h a + (1 - h) m under the gate h = sigmoid(G x).

    With units="nac", a = W x and m = exp(sum_i W_i ln(|x_i| + epsilon)), W = tanh(weight_hat) sigmoid(m_hat);
    with units="nau-nmu", a is an NAU and m an NMU.

    Shapes: ``(*, I)`` -> ``(*, O)``; with ``models=E``: ``(E, *, I)`` -> ``(E, *, O)``.
    Parameters, each ``(O, I)``, or ``(E, O, I)`` with ``models=E``: ``weight_hat``, ``m_hat``, if not shared
    ``mul_weight_hat``, ``mul_m_hat``, and ``gate``; with NAU and NMU ``weight``, ``mul_weight``, ``gate``.
    Initial values: weights as in `NAC`, `NAU` and `NMU`, the gate U(-r, r) with r = sqrt(6 / (I + O)).
    Sources: Trask et al. 2018, *Neural Arithmetic Logic Units*, eq. 2; Madsen & Johansen 2020 for separate
    weights, the NAU and the NMU.
    On a GPU: refused, unless ``backends.enable("torch")`` lets plain torch compute it.

    Args:
        shared: whether both paths use the same weights; by default NACs do. An NAU and an NMU cannot.
        units: "nac" or "nau-nmu".
        epsilon: added to |x| in the logarithm.
        penalty: weighs the discretisation of an NAU and an NMU in `regularizer`; NACs have none.
        models: E independent models in one call.

    Raises:
        ValueError: a size is not a positive integer, or an option is out of its range.
    """

    weight: nn.Parameter
    mul_weight: nn.Parameter

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        shared: bool | None = None,
        units: Literal["nac", "nau-nmu"] = "nac",
        epsilon: float = 1e-7,
        penalty: float = 10.0,
        models: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, models=models, device=device, dtype=dtype)
        layer = type(self).__name__
        self.units = check_choice(layer, "units", units, ("nac", "nau-nmu"))
        allowed = (None, False) if self.units == "nau-nmu" else (None, True, False)
        self.shared = check_choice(layer, "shared", shared, allowed) is not False and self.units == "nac"
        self.epsilon = check_number(layer, "epsilon", epsilon)
        self.penalty = check_number(layer, "penalty", penalty)
        self.tensors = _NAU_NMU if self.units == "nau-nmu" else _SHARED if self.shared else _SEPARATE
        for name in self.tensors:
            self._register(name, self.out_features, self.in_features)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        sizes = self.in_features, self.out_features
        bounds = {"gate": glorot_bound(*sizes), "weight": constrained_bound(*sizes)}
        for name in self.tensors:
            bound = bounds.get(name) or accumulator_bound(*sizes)
            low, high = (0.25, 0.75) if name == "mul_weight" else (-bound, bound)
            nn.init.uniform_(getattr(self, name), low, high)

    def operate(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.units == "nau-nmu":
            return nalu_nau_nmu(x, weight)
        return (nalu if self.shared else nalu_separate)(x, weight, self.epsilon)

    def regularizer(self, ramp: float = 1.0) -> Tensor:
        """``ramp * penalty`` times the discretisation of NAU and NMU, 0 for NACs: (E,), or a scalar."""
        if self.units == "nac":
            return super().regularizer(ramp)
        both = self._penalty("weight", "ternary") + self._penalty("mul_weight", "unit")
        return ramp * self.penalty * both

    @torch.no_grad()
    def clamp_(self) -> None:
        """Clamp the weights of NAU and NMU into their ranges; call it after every step of the optimiser."""
        if self.units == "nau-nmu":
            self.weight.clamp_(-1.0, 1.0)
            self.mul_weight.clamp_(0.0, 1.0)

    def extra_repr(self) -> str:
        options = f"shared={self.shared}, units={self.units!r}"
        used = f"penalty={self.penalty:g}" if self.units == "nau-nmu" else f"epsilon={self.epsilon:g}"
        return f"{super().extra_repr()}, {options}, {used}"


class GNALU(PackedLayer):
    """Golden-ratio NALU: a `NALU` with shared weights, its tanh and sigmoid to the base (1 + sqrt 5) / 2.

    Shapes: ``(*, I)`` -> ``(*, O)``; with ``models=E``: ``(E, *, I)`` -> ``(E, *, O)``.
    Parameters: ``weight_hat``, ``m_hat``, ``gate``, each ``(O, I)``, or ``(E, O, I)`` with ``models=E``.
    Initial values as in `NALU`.
    Source: Mistry, Farrahi & Hare 2022, *A Primer for Neural Arithmetic Logic Modules*.
    On a GPU: refused, unless ``backends.enable("torch")`` lets plain torch compute it.

    Args:
        epsilon: added to |x| in the logarithm.
        models: E independent models in one call.

    Raises:
        ValueError: a size is not a positive integer, or epsilon not a finite number of at least 0.
    """

    tensors = _SHARED

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
        self.epsilon = check_number("GNALU", "epsilon", epsilon)
        for name in self.tensors:
            self._register(name, self.out_features, self.in_features)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        sizes = self.in_features, self.out_features
        for name in self.tensors:
            bound = glorot_bound(*sizes) if name == "gate" else accumulator_bound(*sizes)
            nn.init.uniform_(getattr(self, name), -bound, bound)

    def operate(self, x: Tensor, weight: Tensor) -> Tensor:
        return gnalu(x, weight, self.epsilon)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, epsilon={self.epsilon:g}"


class INALU(PackedLayer):
    """Improved NALU: separate weights, a gate that does not see x, and the sign of the product.

    z = h a + (1 - h) m s with h = sigmoid(gate), a = V x, m = exp(min(sum_i W_i ln max(|x_i|, epsilon), 20))
    and s = prod_i (sign(x_i) |W_i| + 1 - |W_i|). V and W are each tanh of one tensor times sigmoid of one.

    Shapes: ``(*, I)`` -> ``(*, O)``; with ``models=E``: ``(E, *, I)`` -> ``(E, *, O)``.
    Parameters: ``weight_hat``, ``m_hat``, ``mul_weight_hat``, ``mul_m_hat``, each ``(O, I)``, and ``gate``,
    ``(O,)``; all with a leading E with ``models=E``.
    Initial values: normal with deviation 0.2 and mean 0.88 (weight_hat), 0.5 (m_hat), 0 (gate).
    Source: Schloer, Ring & Hotho 2020, *iNALU: Improved Neural Arithmetic Logic Unit*.
    On a GPU: refused, unless ``backends.enable("torch")`` lets plain torch compute it.

    Args:
        epsilon: the smallest |x| that the logarithm sees.
        penalty: weighs sum(mean(max(0, 20 - |p|))) over the five tensors in `regularizer`.
        models: E independent models in one call.

    Raises:
        ValueError: a size is not a positive integer, or an option not a finite number of at least 0.
    """

    tensors = _SEPARATE
    far = 20.0  # where a parameter is far enough from 0

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        epsilon: float = 1e-7,
        penalty: float = 0.05,
        models: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, models=models, device=device, dtype=dtype)
        self.epsilon = check_number("INALU", "epsilon", epsilon)
        self.penalty = check_number("INALU", "penalty", penalty)
        for name in self.tensors[:-1]:
            self._register(name, self.out_features, self.in_features)
        self._register("gate", self.out_features)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for name in self.tensors:
            mean = 0.0 if name == "gate" else 0.5 if name.endswith("m_hat") else 0.88
            nn.init.normal_(getattr(self, name), mean, 0.2)

    def operate(self, x: Tensor, weight: Tensor) -> Tensor:
        return inalu(x, weight, self.epsilon)

    def regularizer(self, ramp: float = 1.0) -> Tensor:
        """``ramp * penalty`` times the sum of mean(max(0, 20 - |p|)) over the tensors: (E,), or a scalar.

        The paper adds it after 10,000 iterations, while the validation error is below 1.
        """
        tensors = [self._tensor(name).flatten(1) for name in self.tensors]
        terms = [(self.far - tensor.abs()).clamp(min=0).mean(1) for tensor in tensors]
        total = ramp * self.penalty * torch.stack(terms).sum(0)
        return total[0] if self.models is None else total

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, epsilon={self.epsilon:g}, penalty={self.penalty:g}"
