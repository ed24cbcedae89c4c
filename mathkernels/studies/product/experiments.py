"""The arithmetic task of two layers (Madsen & Johansen 2020): its models, experiments and published results.

I inputs, H hidden units, one output: the first layer has to add two subsets of the inputs, the second to
combine the sums. A run is solved at the mean squared error of first-layer weights that are off by 1e-5, which
:mod:`mathkernels.data.thresholds` simulates.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

from mathkernels.data.arithmetic import Task
from mathkernels.data.thresholds import SAMPLES, Setup, two_layer_threshold
from mathkernels.ensemble.describe import (
    NAC,
    NALU,
    NAU,
    NMU,
    Adam,
    Linear,
    Module,
    NACMul,
    Ramp,
    Run,
    Stack,
    Unit,
)
from mathkernels.studies.arithmetic.study import Study, Variant

_EARLY, _LATE = Ramp(start=5_000, end=50_000), Ramp(start=1_000_000, end=2_000_000)
_ADAM = Adam(lr=1e-3)
_PLAIN = Linear()


def _variant(label: str, first: object, second: object, ramp: Ramp = _LATE) -> Variant:
    stack = Stack(first=first, second=second)  # type: ignore[arg-type]
    return Variant(label=label, module=stack, optimizer=_ADAM, ramp=ramp)


MODELS: dict[str, Variant] = {
    variant.label: variant
    for variant in (
        _variant("Linear", _PLAIN, _PLAIN),
        _variant("ReLU", Linear(activation="relu"), _PLAIN),
        _variant("ReLU6", Linear(activation="relu6"), _PLAIN),
        _variant("NAC+", NAC(), NAC()),
        _variant("NAC.", NAC(), NACMul()),
        _variant("NAC-sigma", NAC(), NACMul(weights="sigma")),
        _variant("NAC-NMU", NAU(), NACMul(weights="nmu")),
        _variant("NALU", NALU(), NALU()),
        _variant("NAU", NAU(penalty=0.01), NAU(penalty=0.01), _EARLY),
        _variant("NMU", NAU(), NMU()),
        _variant("gated NAU/NMU", NALU(weights="nau-nmu"), NALU(weights="nau-nmu")),
    )
}
GATES: dict[str, Variant] = {
    f"NALU ({weights})": _variant(f"NALU ({weights})", NAC(), NALU(weights=weights))
    for weights in ("shared", "separate", "nau-nmu")
}
SIMPLE_ITERATIONS, GRID_ITERATIONS = 200_000, 5_000_000
# Five models; of which five the authors ran, only three are published (NAC., NALU, NMU).
SIMPLE_MODELS = ("NAC.", "NAC-sigma", "NAC-NMU", "NALU", "NMU")


class Published(NamedTuple):
    """Success in per cent, median of the iterations that solved, mean sparsity error; of 100 seeds."""

    success: int
    solved_at: float
    sparsity: float


_UNSOLVED = Published(0, math.nan, math.nan)
_SOLVED: dict[tuple[str, str], Published] = {
    ("mul", "NAC."): Published(31, 2.771e6, 5.80e-4),
    ("mul", "NAC-sigma"): Published(100, 2.548e6, 4.61e-5),
    ("mul", "NAC-NMU"): Published(93, 1.750e6, 9.45e-7),
    ("mul", "NMU"): Published(98, 1.435e6, 4.21e-7),
    ("add", "NAC+"): Published(100, 2.485e5, 0.2266),
    ("add", "Linear"): Published(100, 6.10e4, 0.2489),
    ("add", "NALU"): Published(14, 1.493e6, 0.1737),
    ("add", "NAU"): Published(100, 1.80e4, 3.19e-5),
    ("add", "ReLU"): Published(62, 6.15e4, 0.2453),
    ("sub", "NAC+"): Published(100, 9.0e3, 0.2298),
    ("sub", "Linear"): Published(7, 3.332e6, 0.1761),
    ("sub", "NALU"): Published(14, 1.878e6, 0.2147),
    ("sub", "NAU"): Published(100, 5.0e3, 0.0662),
    ("sub", "NMU"): Published(56, 1.001e6, 3.36e-4),
    ("root", "NAC."): Published(7, 4.00e5, 0.2407),
    ("root", "NALU"): Published(2, 2.645e6, 0.5000),
    ("root", "NAC-NMU"): Published(3, 1.003e6, 0.1675),
    ("squared", "NAC."): Published(77, 3.273e6, 0.0181),
    ("squared", "NAC-sigma"): Published(100, 1.889e6, 0.0178),
    ("squared", "NAC-NMU"): Published(100, 1.357e6, 2.95e-7),
    ("squared", "NMU"): Published(100, 1.220e6, 3.66e-5),
}
GRID = ("add", "sub", "mul", "div", "squared", "root")
# the task of each experiment
_RANGES: dict[str, Any] = {"interpolation": "U[1,2]", "extrapolation": "U[2,6]"}
_TASKS: dict[str, Task] = {
    "simple": Task(operation="mul", inputs=4, spans=((0, 4), (0, 2)), **_RANGES),
    **{
        operation: Task(operation=operation, inputs=100, subset_ratio=0.25, overlap_ratio=0.5, **_RANGES)
        for operation in GRID
    },
}
# experiment, label -> result. The main grid is published whole: of the eleven models and six operations,
# those that the authors' table does not list solved none of 100 runs. Of NALUs behind a NAC+ only the success
# is published.
PUBLISHED: dict[tuple[str, str], Published] = {
    ("simple", "NAC."): Published(13, 5.5e4, 7.5e-6),
    ("simple", "NALU"): Published(26, 7.0e4, 9.2e-6),
    ("simple", "NMU"): Published(94, 1.4e4, 2.6e-8),
    **{(operation, label): _UNSOLVED for operation in GRID for label in MODELS},
    **_SOLVED,
}
PUBLISHED_GATES: dict[tuple[str, str], Published] = {
    (operation, label): Published(success, math.nan, math.nan)
    for operation, successes in (("mul", (24, 22, 62)), ("add", (34, 51, 37)))
    for label, success in zip(GATES, successes, strict=True)
}
# What the published script's --layer-type and --nac-mul are called in its paper.
_SCRIPT_LABELS = {
    "NAC": "NAC+",
    "NAC (normal)": "NAC.",
    "PosNAC (normal)": "NAC-sigma",
    "ReRegualizedLinearPosNAC (normal)": "NAC-NMU",
    "ReRegualizedLinearNAC": "NAU",
    "ReRegualizedLinearNAC (mnac)": "NMU",
    "NALU (normal)": "NALU",
    "ReRegualizedLinearNALU": "gated NAU/NMU",
    "ReRegualizedLinearNALU (mnac)": "gated NAU/NMU",
}


def _spelled(label: str) -> str:
    return "".join(label.split()).casefold()


_LABELS = {
    **{_spelled(label): label for label in (*MODELS, *GATES)},
    **{_spelled(alias): label for alias, label in _SCRIPT_LABELS.items()},
}


def published(experiment: str, model: str) -> Published | None:
    """Return a published result, None where none was published.

    Args:
        experiment: "simple" or an operation of the main grid.
        model: label of the paper or of its script, in upper or lower case.
    """
    key = (experiment, _LABELS.get(_spelled(model), model))
    return PUBLISHED.get(key) or PUBLISHED_GATES.get(key)


def published_setting(run: Run) -> tuple[str, Variant] | None:
    """Return experiment and variant of the published runs of the same model on the same task, if there are.

    Labels do not matter, nor how the models are trained, see :func:`differences`.
    """
    kind = _kind(run.module)
    for experiment, task in _TASKS.items():
        for variant in (*MODELS.values(), *GATES.values()):
            if task == run.task and _kind(variant.module) == kind:
                return experiment, variant
    return None


def differences(run: Run) -> dict[str, tuple[Any, Any]]:
    """Return how a run is trained otherwise than the published ones of its model: name -> (ours, theirs)."""
    found = published_setting(run)
    if found is None:
        return {}
    experiment, variant = found
    theirs = {
        "iterations": SIMPLE_ITERATIONS if experiment == "simple" else GRID_ITERATIONS,
        "penalties": _penalties(variant.module),
        "ramp": variant.ramp,
        "optimizer": variant.optimizer,
        "batch": 128,
        "clip_norm": None,
        "clip_value": None,
        "criterion": "mse",
    }
    if not theirs["penalties"]:
        del theirs["ramp"]  # of penalties that there are not
    ours = {name: getattr(run, name, _penalties(run.module)) for name in theirs}
    return {name: (ours[name], theirs[name]) for name in theirs if ours[name] != theirs[name]}


def _units(module: Module) -> tuple[Unit, ...]:
    return (module.first, module.second) if isinstance(module, Stack) else (module,)


def _penalties(module: Module) -> tuple[float, ...]:
    """Return the strengths of the penalties that have an effect, layer by layer."""
    weights = {NACMul: "nmu", NALU: "nau-nmu"}  # the other kinds have none
    return tuple(
        unit.penalty
        for unit in _units(module)
        if isinstance(unit, (NAU, NMU))
        or (isinstance(unit, (NACMul, NALU)) and unit.weights == weights[type(unit)])
    )


def _kind(module: Module) -> tuple[Any, ...]:
    """Return what a module computes, without the strengths of its penalties."""
    units = [
        dataclasses.replace(unit, penalty=0.0) if hasattr(unit, "penalty") else unit
        for unit in _units(module)
    ]
    return (*units, getattr(module, "hidden", 1))


def simple_product(*, samples: int = SAMPLES) -> Study:
    """Return t = (x1 + x2)(x1 + x2 + x3 + x4): 5 models x 100 seeds x 200,000 iterations."""
    setup = Setup(operation="mul", simple=True, inputs=4)
    return Study(
        name="two-layers-simple",
        title="Simple product of two layers",
        variants=tuple(MODELS[label] for label in SIMPLE_MODELS),
        datasets=_datasets(),
        seeds=tuple(range(100)),
        inputs=4,
        spans=((0, 4), (0, 2)),
        operation="mul",
        iterations=SIMPLE_ITERATIONS,
        threshold=two_layer_threshold(setup, samples=samples).value,
    )


def grid(operation: str, *, samples: int = SAMPLES, gates: bool = False) -> Study:
    """Return the main grid's study of one operation: 11 models x 100 seeds x 5,000,000 iterations.

    Args:
        operation: one of :data:`GRID`.
        samples: behind the simulated threshold.
        gates: NALUs with three kinds of weights behind a NAC+ instead of the eleven models.

    Raises:
        ValueError: there is no such operation.
    """
    if operation not in GRID:
        raise ValueError(f"operation: got {operation!r}, needs one of {', '.join(GRID)}")
    return Study(
        name=f"two-layers-{'gates-' if gates else ''}{operation}",
        title=f"Two layers: {operation}",
        variants=tuple((GATES if gates else MODELS).values()),
        datasets=_datasets(),
        seeds=tuple(range(100)),
        inputs=100,
        subset_ratio=0.25,
        overlap_ratio=0.5,
        operation=operation,
        iterations=GRID_ITERATIONS,
        threshold=two_layer_threshold(Setup(operation=operation), samples=samples).value,
    )


def _datasets() -> dict[str, tuple]:
    task = _TASKS["simple"]
    return {"U[1,2]": (task.interpolation, task.extrapolation)}


def chosen(study: Study, labels: list[str] | None) -> Study:
    """Return the study with the models of these labels only.

    Raises:
        ValueError: a label is not the study's.
    """
    if labels is None:
        return study
    known = {variant.label: variant for variant in study.variants}
    for label in labels:
        if label not in known:
            raise ValueError(f"models: got {label!r}, needs some of {', '.join(known)}")
    return dataclasses.replace(study, variants=tuple(known[label] for label in labels))
