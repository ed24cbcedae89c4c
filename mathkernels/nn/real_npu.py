"""The real neural power unit with the options of Mistry et al. 2021."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from mathkernels.initial import constrained_bound, glorot_bound
from mathkernels.nn._layer import ArithmeticLayer, check_choice, check_number
from mathkernels.ops import real_npu

if TYPE_CHECKING:
    from typing_extensions import Self


class RealNPU(ArithmeticLayer):
    """Real neural power unit: learns products of powers, z = exp(sum_i W_i ln r_i) cos(sum_i W_i k_i).

    With h = clamp(gate, 0, 1): r_i = h_i (|x_i| + epsilon) + 1 - h_i and k_i = pi h_i [x_i < 0].

    Shapes: ``(*, I)`` -> ``(*, O)``; with ``models=E``: ``(E, *, I)`` -> ``(E, *, O)``.
    Parameters: ``weight``, ``(O, I)`` or ``(E, O, I)``; ``gate``, ``(I,)`` or ``(E, I)``, 0.5 at first.
    Sources: Heim, Pevny & Smidl 2020, *Neural Power Units*; Mistry, Farrahi & Hare 2021 for the options.
    On a GPU: the Triton kernel; `regularizer` needs ``backends.enable("torch")``.

    Args:
        clip: what `clamp_` clamps: "none", "g" (gate to [0, 1]), "w" (weight to [-1, 1]) or "wg".
        init: "xavier" is U(-b, b) with b = sqrt(6 / (I + O)); "xavier-constrained" has b limited to 0.5.
        epsilon: added to |x|, in training and evaluation.
        weight_penalty: weighs the discretisation of the weight in `regularizer`.
        weight_target: "signed-unit" pulls the weight towards -1 and 1, "ternary" towards -1, 0 and 1.
        gate_penalty: weighs mean(min(|g|, |1 - g|)) in `regularizer`.
        norm_order: 1 sums absolute values in the norm term, 2 takes the Euclidean norm of each tensor.
        models: E independent models in one call.

    Raises:
        ValueError: a size is not a positive integer, or an option is out of its range.
    """

    gate: nn.Parameter
    bounds = (-1.0, 1.0)
    clips: tuple[str, ...] = ("none", "g", "w", "wg")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        clip: Literal["none", "g", "w", "wg"] = "none",
        init: Literal["xavier", "xavier-constrained"] = "xavier",
        epsilon: float = 2.0**-23,
        weight_penalty: float = 0.0,
        weight_target: Literal["signed-unit", "ternary"] = "signed-unit",
        gate_penalty: float = 0.0,
        norm_order: Literal[1, 2] = 1,
        models: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, models=models, device=device, dtype=dtype)
        layer = type(self).__name__
        self.clip = check_choice(layer, "clip", clip, self.clips)
        self.init = check_choice(layer, "init", init, ("xavier", "xavier-constrained"))
        targets = ("signed-unit", "ternary")
        self.weight_target = check_choice(layer, "weight_target", weight_target, targets)
        self.norm_order = check_choice(layer, "norm_order", norm_order, (1, 2))
        self.epsilon = check_number(layer, "epsilon", epsilon)
        self.weight_penalty = check_number(layer, "weight_penalty", weight_penalty)
        self.gate_penalty = check_number(layer, "gate_penalty", gate_penalty)
        self._register("weight", self.out_features, self.in_features)
        self._register("gate", self.in_features)
        self.reset_parameters()

    @classmethod
    def modified(cls, in_features: int, out_features: int, **options) -> Self:
        """The improved Real NPU of Mistry et al. 2021: clipped, discretised, constrained initial weights."""
        changes = {"clip": "wg", "init": "xavier-constrained", "weight_penalty": 1.0, "gate_penalty": 1.0}
        return cls(in_features, out_features, **{**changes, **options})

    def reset_parameters(self) -> None:
        bound = glorot_bound(self.in_features, self.out_features)
        if self.init == "xavier-constrained":
            bound = constrained_bound(self.in_features, self.out_features)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.constant_(self.gate, 0.5)

    def apply_models(self, x: Tensor) -> Tensor:
        return real_npu(x, self._tensor("weight"), self._tensor("gate"), self.epsilon)

    def regularizer(self, ramp: float = 1.0, beta: float = 0.0) -> Tensor:
        """The module's terms of the loss: (E,), or a scalar without ``models``.

        ramp * (weight_penalty * R_W + gate_penalty * R_g) + beta * (||weight|| + ||gate||); a factor of 0
        leaves its term out. The papers raise beta from 1e-9 to 1e-7 (`mathkernels.ensemble.Norm`).
        """
        terms = []
        if self.weight_penalty:
            terms.append(ramp * self.weight_penalty * self._penalty("weight", self.weight_target))
        if self.gate_penalty:
            terms.append(ramp * self.gate_penalty * self._penalty("gate", "unit"))
        if beta:
            terms += [beta * self._norm(name) for name in self._right]
        return sum(terms, start=self.gate.new_zeros(() if self.models is None else (self.models,)))

    def _norm(self, name: str) -> Tensor:
        norms = torch.linalg.vector_norm(self._tensor(name).flatten(1), self.norm_order, dim=1)
        return norms[0] if self.models is None else norms

    @torch.no_grad()
    def clamp_(self) -> None:
        """Clamp what ``clip`` names; call it after every step of the optimiser."""
        if "w" in self.clip:
            self.weight.clamp_(*self.bounds)
        if "g" in self.clip:
            self.gate.clamp_(0.0, 1.0)

    def extra_repr(self) -> str:
        options = "clip", "init", "epsilon", "weight_penalty", "weight_target", "gate_penalty", "norm_order"
        return ", ".join([super().extra_repr(), *(f"{name}={getattr(self, name)!r}" for name in options)])
