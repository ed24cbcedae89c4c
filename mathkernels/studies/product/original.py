"""Command lines of the published two-layer script (Madsen & Johansen 2020) as studies of this library."""

from __future__ import annotations

import math
from typing import Any

from mathkernels.data.thresholds import SAMPLES, Setup, two_layer_threshold
from mathkernels.ensemble.describe import NAC, NALU, NAU, NMU, Linear, NACMul, Ramp, Stack, Unit
from mathkernels.studies.arithmetic.original import Translation, dataset_of, one_of, optimizer_of
from mathkernels.studies.arithmetic.original_flags import TWO_LAYER_FLAGS, parse
from mathkernels.studies.arithmetic.study import Study, Variant
from mathkernels.studies.product.experiments import GRID


def translate(line: str, *, samples: int = SAMPLES) -> Translation:
    """Read a command line of ``simple_function_static.py``; absent flags have that script's defaults.

    Args:
        samples: behind the simulated threshold of success.

    Raises:
        ValueError: a flag is unknown, its value wrong, or it asks for what is not here; the message names it.
    """
    given, without_effect = parse(line, TWO_LAYER_FLAGS)
    flags = {**TWO_LAYER_FLAGS, **given}
    one_of(flags, "train-criterion", "mse")
    one_of(flags, "regualizer-scaling", "linear")
    one_of(flags, "nalu-gate", "normal")
    if "NALU" in flags["layer-type"]:
        one_of(flags, "nalu-mul", "mnac" if flags["layer-type"].startswith("ReRegualized") else "normal")
    if one_of(flags, "regualizer-shape", "linear", "none") == "none":
        flags["regualizer"] = 0.0
    first, second = _first(flags), _second(flags)
    stack = Stack(first=first, second=second, hidden=flags["hidden-size"])
    ramp = Ramp(start=flags["regualizer-scaling-start"], end=flags["regualizer-scaling-end"])
    label, dataset = dataset_of(flags)
    operation, simple = one_of(flags, "operation", *GRID), flags["simple"]
    inputs = 4 if simple else flags["input-size"]
    ratios = (
        {} if simple else {"subset_ratio": flags["subset-ratio"], "overlap_ratio": flags["overlap-ratio"]}
    )
    setup = Setup(operation=operation, simple=simple, inputs=inputs, extrapolation=dataset[1][0], **ratios)  # type: ignore[arg-type]
    limit = None if math.isinf(flags["clip-grad-norm"]) else flags["clip-grad-norm"]
    optimizer = optimizer_of(flags)
    variant = Variant(label=_label(flags), module=stack, optimizer=optimizer, ramp=ramp, clip_norm=limit)
    study = Study(
        name=f"original-two-layers-{flags['layer-type']}",
        title=f"{_label(flags)}, two layers, {operation}",
        variants=(variant,),
        datasets={label: dataset},
        seeds=(flags["seed"],),
        inputs=inputs,
        operation=operation,
        iterations=flags["max-iterations"],
        evaluate_every=flags["log-interval"],
        batch=flags["batch-size"],
        threshold=two_layer_threshold(setup, samples=samples).value,
        spans=((0, 4), (0, 2)) if simple else None,
        **ratios,
    )
    return Translation(study, without_effect)


def _label(flags: dict[str, Any]) -> str:
    product = flags["nac-mul"]
    return flags["layer-type"] if product == "none" else f"{flags['layer-type']} ({product})"


def _unit(kind: str, flags: dict[str, Any]) -> Unit:
    strength = flags["regualizer"]
    units: dict[str, Unit] = {
        "linear": Linear(),
        "ReLU": Linear(activation="relu"),
        "ReLU6": Linear(activation="relu6"),
        "NAC": NAC(),
        "PosNAC": NAC(),  # in the first layer, as the published jobs have it
        "ReRegualizedLinearNAC": NAU(penalty=strength),
        "ReRegualizedLinearPosNAC": NAU(penalty=strength),
        "NALU": NALU(weights="separate" if flags["nalu-two-nac"] else "shared"),
        "ReRegualizedLinearNALU": NALU(weights="nau-nmu", penalty=strength),
    }
    if kind not in units:
        raise ValueError(f"original: --layer-type: got {kind!r}, needs one of {', '.join(units)}")
    return units[kind]


def _first(flags: dict[str, Any]) -> Unit:
    return _unit(flags["first-layer"] or flags["layer-type"], flags)


def _second(flags: dict[str, Any]) -> Unit:
    kind, strength = flags["layer-type"], flags["regualizer"]
    if kind in ("linear", "ReLU", "ReLU6"):
        return Linear()
    product = one_of(flags, "nac-mul", "none", "normal", "mnac")
    if product == "mnac" and kind == "ReRegualizedLinearNAC":
        return NMU(penalty=strength)
    if product == "normal":
        weights = {"NAC": "normal", "PosNAC": "sigma", "ReRegualizedLinearPosNAC": "nmu"}
        if kind in weights:
            return NACMul(weights=weights[kind], penalty=strength)  # type: ignore[arg-type]
    if product != "none" and "NALU" not in kind:
        raise ValueError(
            f"original: --nac-mul: got {product!r} with --layer-type {kind}, needs another of the two"
        )
    return _unit(kind, flags)
