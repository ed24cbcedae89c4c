"""The neural power unit with complex weights and the options of Mistry et al. 2021."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mathkernels.nn._layer import check_number
from mathkernels.nn.real_npu import RealNPU
from mathkernels.ops import npu

if TYPE_CHECKING:
    from typing_extensions import Self


class NPU(RealNPU):
    """Neural power unit: learns products of powers with complex weights W + i V.

    z = exp(sum_i (W_i ln r_i - V_i k_i)) cos(sum_i (W_i k_i + V_i ln r_i)), with r_i and k_i of `RealNPU`.

    Shapes: ``(*, I)`` -> ``(*, O)``; with ``models=E``: ``(E, *, I)`` -> ``(E, *, O)``.
    Parameters: those of `RealNPU` and ``imaginary``, the V, ``(O, I)`` or ``(E, O, I)``, 0 at first.
    Sources: Heim, Pevny & Smidl 2020, *Neural Power Units*; Mistry, Farrahi & Hare 2021 for the options.
    On a GPU: refused, unless ``backends.enable("torch")`` lets plain torch compute it.

    Args:
        clip: what `clamp_` clamps: "none", or some of "w" (weight to [-1, 1]), "i" (imaginary to [-1, 1]) and
            "g" (gate to [0, 1]), in that order.
        imaginary_penalty: weighs the sum of |V| in `regularizer`.
        options: as in `RealNPU`.

    Raises:
        ValueError: a size is not a positive integer, or an option is out of its range.
    """

    imaginary: nn.Parameter
    clips = ("none", "g", "w", "i", "wi", "wg", "ig", "wig")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        imaginary_penalty: float = 0.0,
        **options,
    ) -> None:
        super().__init__(in_features, out_features, **options)
        self.imaginary_penalty = check_number("NPU", "imaginary_penalty", imaginary_penalty)
        self._register("imaginary", self.out_features, self.in_features)
        nn.init.zeros_(self.imaginary)

    @classmethod
    def modified(
        cls, in_features: int, out_features: int, *, constrain_imaginary: bool = False, **options
    ) -> Self:
        """The NPU changed as `RealNPU.modified`, with V free, or clamped and penalised as well."""
        changes = {"clip": "wig", "imaginary_penalty": 1.0} if constrain_imaginary else {}
        return super().modified(in_features, out_features, **{**changes, **options})

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if "imaginary" in self._parameters:  # not yet while RealNPU is being made
            nn.init.zeros_(self.imaginary)

    def apply_models(self, x: Tensor) -> Tensor:
        weight = torch.cat([self._tensor("weight"), self._tensor("imaginary")], dim=-1)
        return npu(x, weight, self._tensor("gate"), self.epsilon)

    def regularizer(self, ramp: float = 1.0, beta: float = 0.0) -> Tensor:
        """The terms of `RealNPU`, with V in the norms, and ramp * imaginary_penalty * sum(|V|)."""
        total = super().regularizer(ramp, beta)
        if self.imaginary_penalty:
            total = total + ramp * self.imaginary_penalty * self.imaginary.abs().sum((-2, -1))
        return total

    @torch.no_grad()
    def clamp_(self) -> None:
        """Clamp what ``clip`` names; call it after every step of the optimiser."""
        super().clamp_()
        if "i" in self.clip:
            self.imaginary.clamp_(*self.bounds)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, imaginary_penalty={self.imaginary_penalty!r}"
