"""The arithmetic layers with one weight matrix and one penalty: NAU, NMU, NRU and NMRU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mathkernels.initial import constrained_bound
from mathkernels.nn._layer import ArithmeticLayer, check_choice, check_number
from mathkernels.ops import nau, nmru, nmru_gated, nmu, nru, nru_separate


class Unit(ArithmeticLayer):
    """A layer whose only term of the loss is ``penalty`` times the discretisation of its weight."""

    columns = 1  # of the weight, per input

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        penalty: float = 10.0,
        models: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, models=models, device=device, dtype=dtype)
        self.penalty = check_number(type(self).__name__, "penalty", penalty)
        self._register("weight", self.out_features, self.columns * self.in_features)
        self.reset_parameters()

    def regularizer(self, ramp: float = 1.0) -> Tensor:
        """``ramp * penalty`` times the mean discretisation penalty: (E,), or a scalar without ``models``."""
        return ramp * self.penalty * self._penalty("weight", self.penalty_kind)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, penalty={self.penalty:g}"


class NAU(Unit):
    """Neural addition unit: learns sums and differences, z = W x with W regularised towards {-1, 0, 1}.

    Shapes: ``(*, I)`` -> ``(*, O)``; with ``models=E``: ``(E, *, I)`` -> ``(E, *, O)``.
    Parameter: ``weight``, ``(O, I)``, or ``(E, O, I)`` with ``models=E``.
    Initial values: U(-r, r) with r = min(0.5, sqrt(6 / (I + O))).
    Source: Madsen & Johansen 2020, *Neural Arithmetic Units*, eq. 7.
    On a GPU: refused, unless ``backends.enable("torch")`` lets plain torch compute it.

    Args:
        penalty: weighs mean(min(|W|, |1 - |W||)) in `regularizer`.
        models: E independent models in one call.

    Raises:
        ValueError: a size is not a positive integer, or the penalty not a finite number of at least 0.
    """

    penalty_kind, bounds = "ternary", (-1.0, 1.0)

    def reset_parameters(self) -> None:
        bound = constrained_bound(self.in_features, self.out_features)
        nn.init.uniform_(self.weight, -bound, bound)

    def apply_models(self, x: Tensor) -> Tensor:
        return nau(x, self._tensor("weight"))


class NMU(Unit):
    """Neural multiplication unit: learns products, z = prod_i (W_i x_i + 1 - W_i).

    W is regularised towards {0, 1}.

    Shapes: ``(*, I)`` -> ``(*, O)``; with ``models=E``: ``(E, *, I)`` -> ``(E, *, O)``.
    Parameter: ``weight``, ``(O, I)``, or ``(E, O, I)`` with ``models=E``. Initial values: U(0.25, 0.75).
    Source: Madsen & Johansen 2020, *Neural Arithmetic Units*, eq. 9.
    On a GPU: the Triton kernel; `regularizer` needs ``backends.enable("torch")``.

    Args:
        penalty: weighs mean(min(|W|, |1 - W|)) in `regularizer`.
        models: E independent models in one call.

    Raises:
        ValueError: a size is not a positive integer, or the penalty not a finite number of at least 0.
    """

    penalty_kind, bounds = "unit", (0.0, 1.0)

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.weight, 0.25, 0.75)

    def apply_models(self, x: Tensor) -> Tensor:
        return nmu(x, self._tensor("weight"))


class NRU(Unit):
    """Neural reciprocal unit: learns products and quotients, z = prod_i (sign(x_i) |x_i|^W_i T_i + 1 - T_i).

    T = tanh(1000 W)^2 in training mode, |W| in evaluation mode; W is regularised towards {-1, 0, 1}.

    Shapes: ``(*, I)`` -> ``(*, O)``; with ``models=E``: ``(E, *, I)`` -> ``(E, *, O)``.
    Parameter: ``weight``, ``(O, I)``, or ``(E, O, I)`` with ``models=E``.
    Initial values: U(-r, r) with r = min(0.5, sqrt(6 / (I + O))).
    Source: Mistry, Farrahi & Hare 2021, *Learning Division with Neural Arithmetic Logic Modules*.
    On a GPU: refused, unless ``backends.enable("torch")`` lets plain torch compute it.

    Args:
        separate_signs: multiply magnitudes, and signs to the power of the rounded weight, apart.
        penalty: weighs mean(min(|W|, |1 - |W||)) in `regularizer`.
        models: E independent models in one call.

    Raises:
        ValueError: a size is not a positive integer, or an option is out of its range.
    """

    penalty_kind, bounds = "ternary", (-1.0, 1.0)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        separate_signs: bool = False,
        penalty: float = 10.0,
        models: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_features, out_features, penalty=penalty, models=models, device=device, dtype=dtype
        )
        self.separate_signs = check_choice("NRU", "separate_signs", separate_signs, (True, False))

    def reset_parameters(self) -> None:
        bound = constrained_bound(self.in_features, self.out_features)
        nn.init.uniform_(self.weight, -bound, bound)

    def apply_models(self, x: Tensor) -> Tensor:
        op = nru_separate if self.separate_signs else nru
        return op(x, self._tensor("weight"), self.training)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, separate_signs={self.separate_signs}"


class NMRU(Unit):
    """Neural multiplicative reciprocal unit: an NMU on u = [x, 1/(x + epsilon)], W regularised to {0, 1}.

    Shapes: ``(*, I)`` -> ``(*, O)``; with ``models=E``: ``(E, *, I)`` -> ``(E, *, O)``.
    Parameters: ``weight``, ``(O, 2I)``, or ``(E, O, 2I)`` with ``models=E``, of x, then of 1/x; if gated
    ``gate``, ``(2I,)`` or ``(E, 2I)``. Initial values: U(0.25, 0.75), gates 0.5.
    Source: Mistry, Farrahi & Hare 2021, *Learning Division with Neural Arithmetic Logic Modules*.
    On a GPU: refused, unless ``backends.enable("torch")`` lets plain torch compute it.

    Args:
        sign_retrieval: multiply magnitudes and bring the sign back by a cosine (the paper's NMRU).
        gated: multiply u by trained gates first, which `clamp_` keeps in [0, 1]. Needs sign retrieval.
        epsilon: added to x before the reciprocal, in training mode only.
        penalty: weighs mean(min(|W|, |1 - W|)) in `regularizer`.
        gate_penalty: weighs mean(min(|g|, |1 - g|)) in `regularizer` if gated.
        models: E independent models in one call.

    Raises:
        ValueError: a size is not a positive integer, or an option is out of its range.
    """

    penalty_kind, bounds, columns = "unit", (0.0, 1.0), 2
    gate: nn.Parameter

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        sign_retrieval: bool = True,
        gated: bool = False,
        epsilon: float = 2.0**-23,
        penalty: float = 10.0,
        gate_penalty: float = 1.0,
        models: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_features, out_features, penalty=penalty, models=models, device=device, dtype=dtype
        )
        self.sign_retrieval = check_choice("NMRU", "sign_retrieval", sign_retrieval, (True, False))
        self.gated = check_choice("NMRU", "gated", gated, (True, False) if sign_retrieval else (False,))
        self.epsilon = check_number("NMRU", "epsilon", epsilon)
        self.gate_penalty = check_number("NMRU", "gate_penalty", gate_penalty)
        if self.gated:
            self._register("gate", 2 * self.in_features)
        else:
            self.register_parameter("gate", None)
        self._open_gates()

    def _open_gates(self) -> None:
        gate = self._parameters.get("gate")
        if gate is not None:
            nn.init.constant_(gate, 0.5)

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.weight, 0.25, 0.75)
        self._open_gates()

    def apply_models(self, x: Tensor) -> Tensor:
        weight = self._tensor("weight")
        if self.gated:
            return nmru_gated(x, weight, self._tensor("gate"), self.epsilon, self.training)
        return nmru(x, weight, self.epsilon, self.training, self.sign_retrieval)

    def regularizer(self, ramp: float = 1.0) -> Tensor:
        """``ramp`` times the penalties of the weight and the gates: (E,), or a scalar without ``models``."""
        total = super().regularizer(ramp)
        if self.gated:
            total = total + ramp * self.gate_penalty * self._penalty("gate", "unit")
        return total

    @torch.no_grad()
    def clamp_(self) -> None:
        """Clamp the weight and the gates to [0, 1]; call it after every step of the optimiser."""
        super().clamp_()
        if self.gated:
            self.gate.clamp_(0.0, 1.0)

    def extra_repr(self) -> str:
        options = f"sign_retrieval={self.sign_retrieval}, gated={self.gated}, epsilon={self.epsilon:g}"
        gates = f", gate_penalty={self.gate_penalty:g}" if self.gated else ""
        return f"{super().extra_repr()}, {options}{gates}"
