"""An arithmetic layer as the cell of a recurrent net: h_t = unit([l_t, h_{t-1}])."""

from __future__ import annotations

import numbers

import torch
from torch import Tensor, nn

from mathkernels.nn._layer import PackedLayer, check_choice
from mathkernels.nn._tensors import autocast_dtype, check_tensor, own, widen
from mathkernels.nn.accumulators import NAC, NACNMU, NACMul, NACSigma
from mathkernels.nn.nalu import NALU
from mathkernels.nn.units import NAU, NMU, Unit
from mathkernels.ops import recurrent_unit

# name -> layer, the op's unit, the state that leaves the first scalar as it is, where R_z draws a mean input
_UNITS: dict[str, tuple[type[Unit] | type[PackedLayer], str, float, float | None]] = {
    "NAC": (NAC, "nac", 0.0, 0.0),
    "NACMul": (NACMul, "nac_mul", 1.0, None),
    "NACSigma": (NACSigma, "nac_sigma", 1.0, None),
    "NACNMU": (NACNMU, "nac_nmu", 1.0, 1.0),
    "NALU": (NALU, "nalu", 0.0, None),
    "NAU": (NAU, "nau", 0.0, 0.0),
    "NMU": (NMU, "nmu", 1.0, 1.0),
}


class RecurrentUnit(nn.Module):
    """Run an arithmetic unit of two inputs along a sequence of scalars: h_t = unit([l_t, h_{t-1}]).

    Shapes: ``(T, B)`` -> all states ``(T, B)``; with ``models=E``: ``(E, T, B)`` -> ``(E, T, B)``.
    Parameters: those of the layer of two inputs and one output, which is the attribute ``unit``.
    Source: Madsen & Johansen 2020, *Neural Arithmetic Units*, section 4.2 (sequential MNIST).
    On a GPU: refused, unless ``backends.enable("torch")`` lets plain torch compute it.

    Args:
        unit: "NAC", "NACMul", "NACSigma", "NACNMU", "NALU" (shared weights), "NAU" or "NMU".
        initial: the state before the first step, by default 1 for NACMul, NACSigma, NACNMU and NMU, else 0.
        models: E independent models in one call.
        options: what else the layer takes ("penalty", "epsilon", "device", "dtype").

    Raises:
        ValueError: the unit is unknown, or an option is out of its range.
    """

    unit: Unit | PackedLayer

    def __init__(
        self, unit: str, *, initial: float | None = None, models: int | None = None, **options
    ) -> None:
        super().__init__()
        unit = check_choice("RecurrentUnit", "unit", unit, tuple(_UNITS))
        if initial is not None and (not isinstance(initial, numbers.Real) or isinstance(initial, bool)):
            raise ValueError(f"RecurrentUnit: initial is {initial!r}; needs a number or None")
        layer, self.op_unit, neutral, self.input_target = _UNITS[unit]
        self.name, self.initial = unit, neutral if initial is None else float(initial)
        self.unit = layer(2, 1, models=models, **options)
        if isinstance(self.unit, NALU):
            check_choice("RecurrentUnit", "shared", self.unit.shared, (True,))

    @property
    def models(self) -> int | None:
        return self.unit.models

    def packed(self) -> Tensor:
        """The trained numbers of the unit in the order of the op, (E,P), or (1,P) without ``models``."""
        unit = self.unit
        packed = unit.packed() if isinstance(unit, PackedLayer) else unit._tensor("weight")
        return packed[:, 0]

    def _before(self, l: Tensor, initial: Tensor | None) -> tuple[Tensor, Tensor | float]:
        """The scalars (E,T,B), and the state before them, (E,B) or a number; raises naming what is wrong."""
        lead = () if self.models is None else (self.models,)
        l = check_tensor("RecurrentUnit", "l", l)
        if initial is not None:
            initial = check_tensor("RecurrentUnit", "initial", initial)
        if l.dim() != 2 + len(lead) or l.shape[: len(lead)] != lead:
            right = ", ".join([*map(str, lead), "T", "B"])
            raise ValueError(f"RecurrentUnit: l has shape {tuple(l.shape)}; needs ({right})")
        if initial is not None and initial.shape != l.shape[:-2] + l.shape[-1:]:
            right = tuple(l.shape[:-2] + l.shape[-1:])
            raise ValueError(f"RecurrentUnit: initial has shape {tuple(initial.shape)}; needs {right}")
        if autocast_dtype(l.device) is not None:
            l = widen("RecurrentUnit", "l", l, torch.float32, True)
            initial = widen("RecurrentUnit", "initial", initial, torch.float32, True)
        l = l if lead else l[None]
        return l, self.initial if initial is None else initial if lead else initial[None]

    def forward(self, l: Tensor, initial: Tensor | None = None) -> Tensor:
        """All states of the scalars l. ``initial``, (B) or (E,B), takes the place of the module's own."""
        scalars, before = self._before(l, initial)
        epsilon = getattr(self.unit, "epsilon", 0.0)
        return own(recurrent_unit(scalars, self.packed(), before, self.op_unit, epsilon), l.shape)

    def regularizer(self, ramp: float = 1.0) -> Tensor:
        """The unit's own term of the loss, see its layer: (E,), or a scalar without ``models``."""
        return self.unit.regularizer(ramp)

    def input_regularizer(self, l: Tensor, h: Tensor, initial: Tensor | None = None) -> Tensor:
        """R_z: keep the mean of an input that the unit leaves out where it changes nothing.

        Over both inputs k, with mean z_k over steps and samples: mean (1 - W_k) (1 - z_k)² for NMU and
        NACNMU, mean (1 - |W_k|) z_k² for NAC and NAU; 0 for the other units.
        Source: Madsen & Johansen 2020, *Neural Arithmetic Units*, section 4.2.

        Args:
            l, h: scalars and all states of one call of the module; (E,T,B) or (T,B), T at least 1.
            initial: as it was given to that call.

        Returns:
            (E,), or a scalar without ``models``.
        """
        scalars, before = self._before(l, initial)
        states = check_tensor("RecurrentUnit", "h", h).to(scalars.dtype).reshape(scalars.shape)
        if self.input_target is None:
            total = scalars.new_zeros(scalars.shape[0])
        else:
            first = torch.as_tensor(before, dtype=scalars.dtype, device=l.device).expand_as(states[:, 0])
            previous = torch.cat([first[:, None], states[:, :-1]], dim=1)
            means = torch.stack([scalars.mean((1, 2)), previous.mean((1, 2))], dim=-1)
            weight = self.packed()
            if self.name == "NAC":
                weight = torch.tanh(weight[:, :2]) * torch.sigmoid(weight[:, 2:])
            size = weight if self.input_target == 1 else weight.abs()
            total = ((1 - size) * (means - self.input_target).square()).mean(1)
        return total[0] if self.models is None else total

    def clamp_(self) -> None:
        """Clamp the unit's weights into their ranges; call it after every step of the optimiser."""
        self.unit.clamp_()

    def extra_repr(self) -> str:
        return f"initial={self.initial:g}"
