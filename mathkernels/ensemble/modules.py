"""The modules that an ensemble trains, each as a plain description of itself and its options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from mathkernels.ensemble.checks import choice, count_field, flag, limit_field, number_fields, require
from mathkernels.ensemble.custom.module import Custom
from mathkernels.ensemble.schedules import Norm

__all__ = [  # what mathkernels.ensemble hands on
    "GNALU",
    "INALU",
    "MODULES",
    "NAC",
    "NALU",
    "NAU",
    "NMRU",
    "NMU",
    "NPU",
    "NRU",
    "Linear",
    "Module",
    "NACMul",
    "RealNPU",
    "Stack",
]

EPSILON = 2.0**-23  # eps32 of the papers: the spacing of float32 at 1


@dataclass(frozen=True, kw_only=True)
class NAU:
    """Neural addition unit (Madsen & Johansen 2020): z = W x, W regularised towards {-1, 0, 1}.

    ``penalty`` weighs mean(min(|W|, |1 - |W||)), times the run's ramp.
    """

    name: ClassVar[str] = "NAU"
    penalty: float = 10.0

    def __post_init__(self) -> None:
        number_fields(self, "penalty")


@dataclass(frozen=True, kw_only=True)
class NMU:
    """Neural multiplication unit (Madsen & Johansen 2020): z = prod_i (W_i x_i + 1 - W_i)."""

    name: ClassVar[str] = "NMU"
    penalty: float = 10.0

    def __post_init__(self) -> None:
        number_fields(self, "penalty")


@dataclass(frozen=True, kw_only=True)
class RealNPU:
    """Real neural power unit (Heim et al. 2020) with the options of Mistry et al. 2021.

    Args:
        clip: what is clamped after each step: "none", "g" (gates to [0,1]), "w" (weights to [-1,1]) or "wg".
        init: "xavier" is U(-b, b) with b = sqrt(6 / (I + O)); "xavier-constrained" has b limited to 0.5.
        epsilon: added to |x| in training and evaluation.
        weight_penalty: weighs the discretisation of W, times the run's ramp.
        weight_target: "signed-unit" pulls W towards {-1, 1}, "ternary" towards {-1, 0, 1}.
        gate_penalty: weighs mean(min(|g|, |1 - g|)), times the run's ramp.
        norm: the norm penalty over W and g, or None.
    """

    name: ClassVar[str] = "RealNPU"
    clip: Literal["none", "g", "w", "wg"] = "none"
    init: Literal["xavier", "xavier-constrained"] = "xavier"
    epsilon: float = EPSILON
    weight_penalty: float = 0.0
    weight_target: Literal["signed-unit", "ternary"] = "signed-unit"
    gate_penalty: float = 0.0
    norm: Norm | None = field(default_factory=Norm)

    def __post_init__(self) -> None:
        choice("RealNPU.clip", self.clip, ("none", "g", "w", "wg"))
        choice("RealNPU.init", self.init, ("xavier", "xavier-constrained"))
        choice("RealNPU.weight_target", self.weight_target, ("signed-unit", "ternary"))
        number_fields(self, "epsilon", "weight_penalty", "gate_penalty")
        fits = self.norm is None or isinstance(self.norm, Norm)
        require(fits, "RealNPU.norm", self.norm, "a Norm or None")

    @classmethod
    def modified(cls) -> RealNPU:
        """The paper's improved Real NPU: clipped, discretised, with the constrained initialisation."""
        return cls(clip="wg", init="xavier-constrained", weight_penalty=1.0, gate_penalty=1.0)


@dataclass(frozen=True, kw_only=True)
class NPU:
    """Neural power unit (Heim et al. 2020): complex weights W_re + i W_im behind gates g.

    Args:
        clip: what is clamped after each step: any of "w" (W_re to [-1,1]), "i" (W_im to [-1,1]) and "g"
            (gates to [0,1]), in the order "wig", or "none".
        init: of W_re, see :class:`RealNPU`; W_im starts at 0.
        epsilon: added to |x| in training and evaluation.
        weight_penalty: weighs mean |1 - |W_re||, times the run's ramp.
        imaginary_penalty: weighs the sum of |W_im|, times the run's ramp.
        gate_penalty: weighs mean(min(|g|, |1 - g|)), times the run's ramp.
        norm: the norm penalty over W_re, W_im and g, or None.
    """

    name: ClassVar[str] = "NPU"
    weight_target: ClassVar[str] = "signed-unit"
    clip: Literal["none", "g", "w", "i", "wi", "wg", "ig", "wig"] = "none"
    init: Literal["xavier", "xavier-constrained"] = "xavier"
    epsilon: float = EPSILON
    weight_penalty: float = 0.0
    imaginary_penalty: float = 0.0
    gate_penalty: float = 0.0
    norm: Norm | None = field(default_factory=Norm)

    def __post_init__(self) -> None:
        choice("NPU.clip", self.clip, ("none", "g", "w", "i", "wi", "wg", "ig", "wig"))
        choice("NPU.init", self.init, ("xavier", "xavier-constrained"))
        number_fields(self, "epsilon", "weight_penalty", "imaginary_penalty", "gate_penalty")
        fits = self.norm is None or isinstance(self.norm, Norm)
        require(fits, "NPU.norm", self.norm, "a Norm or None")

    @classmethod
    def modified(cls, *, constrain_imaginary: bool = False) -> NPU:
        """The NPU changed as :meth:`RealNPU.modified`, with W_im free, or clamped and penalised as well."""
        return cls(
            clip="wig" if constrain_imaginary else "wg",
            init="xavier-constrained",
            weight_penalty=1.0,
            imaginary_penalty=1.0 if constrain_imaginary else 0.0,
            gate_penalty=1.0,
        )


@dataclass(frozen=True, kw_only=True)
class NRU:
    """Neural reciprocal unit (Mistry et al. 2021): signed powers behind a tanh gate (|W| in evaluation).

    Args:
        separate_signs: multiply magnitudes, and signs to the power of the rounded weight, apart.
        penalty: weighs mean(min(|W|, |1 - |W||)), times the run's ramp.
    """

    name: ClassVar[str] = "NRU"
    separate_signs: bool = False
    penalty: float = 10.0

    def __post_init__(self) -> None:
        flag("NRU.separate_signs", self.separate_signs)
        number_fields(self, "penalty")


@dataclass(frozen=True, kw_only=True)
class NMRU:
    """Neural multiplicative reciprocal unit (Mistry et al. 2021): an NMU on [x, 1/x].

    Args:
        sign_retrieval: multiply magnitudes and bring the sign back by a cosine (the paper's NMRU).
        gated: multiply [x, 1/x] by trained gates first; they start at 0.5 and are clamped to [0, 1]. Needs
            sign retrieval.
        epsilon: added to x before the reciprocal, in training only.
        penalty: weighs mean(min(|W|, |1 - W|)), times the run's ramp.
        gate_penalty: weighs mean(min(|g|, |1 - g|)), times the run's ramp.
    """

    name: ClassVar[str] = "NMRU"
    sign_retrieval: bool = True
    gated: bool = False
    epsilon: float = EPSILON
    penalty: float = 10.0
    gate_penalty: float = 1.0

    def __post_init__(self) -> None:
        flag("NMRU.sign_retrieval", self.sign_retrieval)
        flag("NMRU.gated", self.gated)
        require(self.sign_retrieval or not self.gated, "NMRU.gated", True, "sign_retrieval=True")
        number_fields(self, "epsilon", "penalty", "gate_penalty")


@dataclass(frozen=True, kw_only=True)
class Linear:
    """The baselines of Madsen & Johansen 2020: z = f(W x + b), f(a) = a, max(0, a) or min(6, max(0, a))."""

    name: ClassVar[str] = "Linear"
    activation: Literal["none", "relu", "relu6"] = "none"

    def __post_init__(self) -> None:
        choice("Linear.activation", self.activation, ("none", "relu", "relu6"))


@dataclass(frozen=True, kw_only=True)
class NAC:
    """Neural accumulator, NAC+ (Trask et al. 2018): z = W x with W = tanh(weight_hat) sigmoid(m_hat)."""

    name: ClassVar[str] = "NAC"


@dataclass(frozen=True, kw_only=True)
class NACMul:
    """Multiplicative accumulator: z = exp(sum_i W_i ln(|x_i| + epsilon)).

    Args:
        weights: "normal" is the NAC. of Trask et al. 2018, W = tanh(weight_hat) sigmoid(m_hat); of Madsen &
            Johansen 2020 are "sigma", W = sigmoid(weight_hat), and "nmu", W in [0, 1] itself.
        epsilon: added to |x|.
        penalty: with "nmu", weighs mean(min(|W|, |1 - W|)), times the run's ramp.
    """

    name: ClassVar[str] = "NACMul"
    weights: Literal["normal", "sigma", "nmu"] = "normal"
    epsilon: float = 1e-7
    penalty: float = 10.0

    def __post_init__(self) -> None:
        choice("NACMul.weights", self.weights, ("normal", "sigma", "nmu"))
        number_fields(self, "epsilon", "penalty")


@dataclass(frozen=True, kw_only=True)
class NALU:
    """Neural arithmetic logic unit (Trask et al. 2018): a sum and a product under a gate.

    Args:
        weights: "shared" by both paths, "separate", or "nau-nmu", an NAU and an NMU (Madsen & Johansen 2020).
        epsilon: added to |x| in the product, unless that is an NMU.
        penalty: with "nau-nmu", weighs the discretisation of both weights, times the run's ramp.
    """

    name: ClassVar[str] = "NALU"
    weights: Literal["shared", "separate", "nau-nmu"] = "shared"
    epsilon: float = 1e-7
    penalty: float = 10.0

    def __post_init__(self) -> None:
        choice("NALU.weights", self.weights, ("shared", "separate", "nau-nmu"))
        number_fields(self, "epsilon", "penalty")


@dataclass(frozen=True, kw_only=True)
class GNALU:
    """NALU with tanh and sigmoid to the base of the golden ratio (Mistry et al. 2022)."""

    name: ClassVar[str] = "GNALU"
    epsilon: float = 1e-7

    def __post_init__(self) -> None:
        number_fields(self, "epsilon")


@dataclass(frozen=True, kw_only=True)
class INALU:
    """Improved NALU (Schloer et al. 2020).

    Its paper also limits gradient entries to 0.1 (``Run.clip_value``) and restarts (``Run.restarts``).

    Args:
        epsilon: the smallest |x| that the logarithm sees.
        penalty: weighs sum(mean(max(0, 20 - |p|))) over the five tensors p; the run's ramp does not count.
        penalty_after: the penalty starts after this iteration.
        penalty_below: it counts while the last logged validation error is below this; None: always.
    """

    name: ClassVar[str] = "INALU"
    epsilon: float = 1e-7
    penalty: float = 0.05
    penalty_after: int = 10_000
    penalty_below: float | None = 1.0

    def __post_init__(self) -> None:
        number_fields(self, "epsilon", "penalty")
        count_field(self, "penalty_after", 0)
        limit_field(self, "penalty_below")


Unit = NAU | NMU | RealNPU | NPU | NRU | NMRU | Linear | NAC | NACMul | NALU | GNALU | INALU | Custom
UNITS: dict[str, type] = {
    kind.name: kind for kind in (NAU, NMU, RealNPU, NPU, NRU, NMRU, Linear, NAC, NACMul, NALU, GNALU, INALU)
}


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Two layers: ``hidden`` units of ``first`` on the inputs, then one unit of ``second`` on these.

    Each layer keeps its own penalties. The norm penalty of a RealNPU or NPU inside a stack is not supported.
    """

    name: ClassVar[str] = "Stack"
    first: Unit
    second: Unit
    hidden: int = 2

    def __post_init__(self) -> None:
        for what in ("first", "second"):
            unit = getattr(self, what)
            require(
                isinstance(unit, Unit), f"Stack.{what}", unit, "one of " + ", ".join([*UNITS, Custom.name])
            )
            plain = getattr(unit, "norm", None) is None
            require(plain, f"Stack.{what}.norm", getattr(unit, "norm", None), "None")
        gated = isinstance(self.first, (RealNPU, NPU)) or getattr(self.first, "gated", False)
        require(not gated, "Stack.first", self.first, "a unit without gates that all outputs share")
        count_field(self, "hidden", 1)
        require(self.hidden <= 16, "Stack.hidden", self.hidden, "at most 16")


Module = Unit | Stack
MODULES: dict[str, type] = {**UNITS, Stack.name: Stack}
