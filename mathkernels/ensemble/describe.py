"""Plain descriptions of training runs: what is trained, on what, how. Nothing here computes.

A run is one module trained on one task from one seed. Every description is a frozen dataclass that checks its
own fields, so that an impossible run fails where it is written down and not an hour later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeGuard

import numpy as np

from mathkernels.data.arithmetic import Task

EPSILON = 2.0**-23  # eps32 of the papers: the spacing of float32 at 1


def _require(condition: bool, what: str, given: object, right: str) -> None:
    if not condition:
        raise ValueError(f"{what}: got {given!r}, needs {right}")


def _choice(what: str, given: object, allowed: tuple[str, ...]) -> None:
    _require(given in allowed, what, given, "one of " + ", ".join(repr(name) for name in allowed))


def _is_number(given: object) -> TypeGuard[float]:
    return isinstance(given, (int, float)) and not isinstance(given, bool) and math.isfinite(given)


def _number(what: str, given: object, low: float, right: str) -> None:
    _require(_is_number(given) and given >= low, what, given, right)


def _count(what: str, given: object, low: int) -> None:
    fits = isinstance(given, int) and not isinstance(given, bool) and given >= low
    _require(fits, what, given, f"an integer of at least {low}")


def _flag(what: str, given: object) -> None:
    _require(isinstance(given, bool), what, given, "True or False")


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """Linear rise of the discretisation penalties: clip((t - start) / (end - start), 0, 1) at iteration t."""

    start: int
    end: int

    def __post_init__(self) -> None:
        _count("Ramp.start", self.start, 0)
        _count("Ramp.end", self.end, 0)
        _require(self.end > self.start, "Ramp.end", self.end, f"an iteration after start={self.start}")

    def at(self, t: int) -> float:
        return float(self.over(np.array([t]))[0])

    def over(self, t: np.ndarray) -> np.ndarray:
        return np.clip((t - self.start) / (self.end - self.start), 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Norm:
    """Norm penalty beta(t) * sum of ||p||_order over the parameter tensors p.

    beta starts at ``start`` and is multiplied by ``growth`` at every ``every``-th iteration (never at 0)
    while it is below ``end``. order 1 sums absolute values; order 2 is the Euclidean norm, not squared.
    """

    start: float = 1e-9
    end: float = 1e-7
    every: int = 10_000
    growth: float = 10.0
    order: Literal[1, 2] = 1

    def __post_init__(self) -> None:
        _number("Norm.start", self.start, 0, "a finite number of at least 0")
        _number("Norm.end", self.end, self.start, f"a finite number of at least start={self.start}")
        _count("Norm.every", self.every, 1)
        _number("Norm.growth", self.growth, 1, "a finite number of at least 1")
        _count("Norm.order", self.order, 1)
        _require(self.order in (1, 2), "Norm.order", self.order, "1 or 2")

    def at(self, t: int) -> float:
        beta = self.start
        # the tolerance keeps 1e-9 -> 1e-7 at exactly two steps whatever the rounding of the products
        for _ in range(t // self.every):
            if beta == 0 or beta >= self.end * (1 - 1e-9):
                break
            beta *= self.growth
        return beta

    def over(self, t: np.ndarray) -> np.ndarray:
        epochs, which = np.unique(t // self.every, return_inverse=True)
        return np.array([self.at(int(epoch) * self.every) for epoch in epochs])[which]


@dataclass(frozen=True, kw_only=True)
class NAU:
    """Neural addition unit (Madsen & Johansen 2020): z = W x, W drawn to {-1, 0, 1}.

    ``penalty`` weighs mean(min(|W|, |1 - |W||)), times the run's ramp.
    """

    name: ClassVar[str] = "NAU"
    penalty: float = 10.0

    def __post_init__(self) -> None:
        _number("NAU.penalty", self.penalty, 0, "a finite number of at least 0")


@dataclass(frozen=True, kw_only=True)
class NMU:
    """Neural multiplication unit (Madsen & Johansen 2020): z = prod_i (W_i x_i + 1 - W_i), W to 0 or 1."""

    name: ClassVar[str] = "NMU"
    penalty: float = 10.0

    def __post_init__(self) -> None:
        _number("NMU.penalty", self.penalty, 0, "a finite number of at least 0")


@dataclass(frozen=True, kw_only=True)
class RealNPU:
    """Real neural power unit (Heim et al. 2020) with the options of Mistry et al. 2021.

    Args:
        clip: what is clamped after each step: "none", "g" (gates to [0,1]), "w" (weights to [-1,1]) or "wg".
        init: "xavier" is U(-b, b) with b = sqrt(6 / (I + O)); "xavier-constrained" has b limited to 0.5.
        epsilon: added to |x| in training and evaluation.
        weight_penalty: weighs the discretisation of W, times the run's ramp.
        weight_target: "signed-unit" draws W to {-1, 1}, "ternary" to {-1, 0, 1}.
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
        _choice("RealNPU.clip", self.clip, ("none", "g", "w", "wg"))
        _choice("RealNPU.init", self.init, ("xavier", "xavier-constrained"))
        _choice("RealNPU.weight_target", self.weight_target, ("signed-unit", "ternary"))
        for what in ("epsilon", "weight_penalty", "gate_penalty"):
            _number(f"RealNPU.{what}", getattr(self, what), 0, "a finite number of at least 0")
        fits = self.norm is None or isinstance(self.norm, Norm)
        _require(fits, "RealNPU.norm", self.norm, "a Norm or None")

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
        _choice("NPU.clip", self.clip, ("none", "g", "w", "i", "wi", "wg", "ig", "wig"))
        _choice("NPU.init", self.init, ("xavier", "xavier-constrained"))
        for what in ("epsilon", "weight_penalty", "imaginary_penalty", "gate_penalty"):
            _number(f"NPU.{what}", getattr(self, what), 0, "a finite number of at least 0")
        fits = self.norm is None or isinstance(self.norm, Norm)
        _require(fits, "NPU.norm", self.norm, "a Norm or None")

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
        _flag("NRU.separate_signs", self.separate_signs)
        _number("NRU.penalty", self.penalty, 0, "a finite number of at least 0")


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
        _flag("NMRU.sign_retrieval", self.sign_retrieval)
        _flag("NMRU.gated", self.gated)
        _require(self.sign_retrieval or not self.gated, "NMRU.gated", True, "sign_retrieval=True")
        for what in ("epsilon", "penalty", "gate_penalty"):
            _number(f"NMRU.{what}", getattr(self, what), 0, "a finite number of at least 0")


Module = NAU | NMU | RealNPU | NPU | NRU | NMRU
MODULES: dict[str, type] = {kind.name: kind for kind in (NAU, NMU, RealNPU, NPU, NRU, NMRU)}
CRITERIA = ("mse", "pcc", "mape")


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam (Kingma & Ba 2015) as torch.optim.Adam does it, without weight decay."""

    name: ClassVar[str] = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _number("Adam.lr", self.lr, 0, "a finite number of at least 0")
        _number("Adam.eps", self.eps, 0, "a finite number of at least 0")
        fits = isinstance(self.betas, tuple) and len(self.betas) == 2
        fits = fits and all(_is_number(beta) and 0 <= beta < 1 for beta in self.betas)
        _require(fits, "Adam.betas", self.betas, "a tuple of two numbers in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Gradient descent with momentum as torch.optim.SGD does it; no dampening, Nesterov or weight decay."""

    name: ClassVar[str] = "sgd"
    lr: float = 1e-2
    momentum: float = 0.0

    def __post_init__(self) -> None:
        _number("SGD.lr", self.lr, 0, "a finite number of at least 0")
        fits = _is_number(self.momentum) and 0 <= self.momentum < 1
        _require(fits, "SGD.momentum", self.momentum, "a number in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One module, one task, one seed, trained for t = 0 … ``iterations`` (so iterations + 1 updates).

    Args:
        module, task, optimizer: see their classes.
        seed: of the initial weights (torch), the subset offset (numpy) and the training stream.
        iterations: T; the papers use 50,000 (2 inputs) and 100,000 (10 inputs).
        evaluate_every: a row is logged whenever t is a multiple of it, before the update of that iteration.
        batch: fresh samples per iteration, a multiple of 32.
        ramp: rise of the discretisation penalties, or None for full weight throughout.
        clip_norm: limit of the total gradient norm, or None.
        wide_norm: compute the limited norm so that it does not overflow. By default its squares overflow in
            float32 from 1.8e19 on and the update becomes 0, as in the published experiments.
        criterion: what is trained on: "mse"; "pcc", 1 - Pearson's correlation over the batch; or "mape", the
            mean of |(t - z) / t|. The logged errors are mean squared errors in any case.
        threshold: a run is solved if the test MSE at its best row is below this.
    """

    module: Module
    task: Task
    seed: int
    optimizer: Adam | SGD = field(default_factory=Adam)
    iterations: int = 50_000
    evaluate_every: int = 1_000
    batch: int = 128
    ramp: Ramp | None = None
    clip_norm: float | None = None
    wide_norm: bool = False
    criterion: Literal["mse", "pcc", "mape"] = "mse"
    threshold: float = 1e-5

    def __post_init__(self) -> None:
        _require(isinstance(self.module, Module), "Run.module", self.module, "one of " + ", ".join(MODULES))
        _require(isinstance(self.task, Task), "Run.task", self.task, "a Task")
        _require(
            isinstance(self.optimizer, (Adam, SGD)), "Run.optimizer", self.optimizer, "Adam(...) or SGD(...)"
        )
        fits = isinstance(self.seed, int) and not isinstance(self.seed, bool) and 0 <= self.seed < 2**32
        _require(fits, "Run.seed", self.seed, "an integer in [0, 2**32)")
        _count("Run.iterations", self.iterations, 0)
        _count("Run.evaluate_every", self.evaluate_every, 1)
        _count("Run.batch", self.batch, 32)
        _require(self.batch % 32 == 0, "Run.batch", self.batch, "a multiple of 32")
        _require(self.ramp is None or isinstance(self.ramp, Ramp), "Run.ramp", self.ramp, "a Ramp or None")
        if self.clip_norm is not None:
            fits = _is_number(self.clip_norm) and self.clip_norm > 0
            _require(fits, "Run.clip_norm", self.clip_norm, "a positive finite number or None")
        _flag("Run.wide_norm", self.wide_norm)
        _choice("Run.criterion", self.criterion, CRITERIA)
        _number("Run.threshold", self.threshold, 0, "a finite number of at least 0")

    @property
    def rows(self) -> int:
        """How many rows a finished run has logged."""
        return self.iterations // self.evaluate_every + 1
