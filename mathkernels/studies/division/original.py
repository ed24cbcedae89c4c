"""Command lines of the published scripts, read into the descriptions of this library.

The one-layer script of Mistry, Farrahi & Hare 2021 (``experiments/single_layer.py``) takes about sixty flags.
Those that change a network of one layer are translated, those that change nothing there are named, and those
that ask for something else are errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mathkernels.data.arithmetic import OPERATIONS
from mathkernels.ensemble.describe import (
    NAC,
    NALU,
    NAU,
    NMRU,
    NMU,
    NPU,
    NRU,
    Linear,
    Module,
    NACMul,
    Norm,
    Ramp,
    RealNPU,
)
from mathkernels.studies.arithmetic.original import Translation, dataset_of, one_of, optimizer_of
from mathkernels.studies.arithmetic.original_flags import FLAGS, parse
from mathkernels.studies.arithmetic.study import Study, Variant


def translate(line: str) -> Translation:
    """Read a command line of the published one-layer script; what stands before its first flag is dropped.

    Flags that are absent have the defaults of that script, among them a learning rate of 1e-3 and penalties
    that rise from iteration 1,000,000 on.

    Raises:
        ValueError: a flag is unknown, its value wrong, or it asks for what is not here; the message names it.
    """
    given, without_effect = parse(line)
    flags = {**FLAGS, **given}
    module = _layer(flags)
    optimizer = optimizer_of(flags)
    variant = Variant(
        label=flags["layer-type"],
        module=module,
        optimizer=optimizer,
        ramp=_ramp(flags, module),
        clip_norm=None if math.isinf(flags["clip-grad-norm"]) else flags["clip-grad-norm"],
        criterion=one_of(flags, "train-criterion", "mse", "pcc", "mape"),
    )
    label, dataset = dataset_of(flags)
    size = math.floor(flags["subset-ratio"] * flags["input-size"])
    study = Study(
        name=f"original-{flags['layer-type']}",
        title=f"{flags['layer-type']} ({flags['input-size']} inputs)",
        variants=(variant,),
        datasets={label: dataset},
        seeds=(flags["seed"],),
        inputs=flags["input-size"],
        operation=one_of(flags, "operation", *OPERATIONS),
        iterations=flags["max-iterations"],
        evaluate_every=flags["log-interval"],
        batch=flags["batch-size"],
        # subsets of one element are this library's default; equal runs should have equal descriptions
        subset_ratio=None if size == 1 else flags["subset-ratio"],
        overlap_ratio=0.0 if size == 1 else flags["overlap-ratio"],
    )
    return Translation(study, without_effect)


def _layer(flags: dict[str, Any]) -> Module:
    kind = one_of(flags, "layer-type", *LAYERS)
    return LAYERS[kind](flags)


def _norm(flags: dict[str, Any]) -> Norm | None:
    if not flags["regualizer-l1"]:
        return None
    start, end = flags["regualizer-beta-start"], flags["regualizer-beta-end"]
    every, growth = flags["regualizer-beta-step"], flags["regualizer-beta-growth"]
    return Norm(start=start, end=end, every=every, growth=growth, order=flags["lp-norm"])


def _npu_options(flags: dict[str, Any]) -> dict[str, Any]:
    if flags["regualizer"] != 0 and flags["regualizer-shape"] != "none":
        what = "the general penalty beside those of an NPU"
        raise ValueError(f"original: --regualizer: got {flags['regualizer']:g}, {what}; needs 0")
    inits = {"xavier-uniform": "xavier", "xavier-uniform-constrained": "xavier-constrained"}
    return {
        "clip": flags["npu-clip"],
        "init": inits[one_of(flags, "npu-Wr-init", *inits)],
        "weight_penalty": flags["regualizer-npu-w"],
        "gate_penalty": flags["regualizer-gate"],
        "norm": _norm(flags),
    }


def _real_npu(flags: dict[str, Any]) -> Module:
    ternary = one_of(flags, "realnpu-reg-type", "W", "bias") == "bias"
    return RealNPU(weight_target="ternary" if ternary else "signed-unit", **_npu_options(flags))


def _npu(flags: dict[str, Any]) -> Module:
    # W_im is penalised where it is clamped, and with the weight of W_re
    imaginary = flags["regualizer-npu-w"] if flags["npu-clip"] == "wig" else 0.0
    return NPU(imaginary_penalty=imaginary, **_npu_options(flags))


def _penalty(flags: dict[str, Any]) -> float:
    shape = one_of(flags, "regualizer-shape", "linear", "none")
    return flags["regualizer"] if shape == "linear" else 0.0


def _nru(flags: dict[str, Any]) -> Module:
    mode = one_of(flags, "nru-div-mode", "div", "div-sepSign")
    return NRU(penalty=_penalty(flags), separate_signs=mode == "div-sepSign")


def _gated(flags: dict[str, Any]) -> Module:
    return NMRU(gated=True, penalty=_penalty(flags), gate_penalty=flags["regualizer-gate"])


def _nalu(flags: dict[str, Any]) -> Module:
    one_of(flags, "nalu-gate", "normal")
    if flags["layer-type"] == "NALU":
        one_of(flags, "nalu-mul", "normal")
        return NALU(weights="separate" if flags["nalu-two-nac"] else "shared")
    one_of(flags, "nalu-mul", "mnac")
    if not flags["nalu-two-nac"]:
        raise ValueError("original: --layer-type ReRegualizedLinearNALU needs --nalu-two-nac")
    return NALU(weights="nau-nmu", penalty=_penalty(flags))


# the script's names of layers
LAYERS: dict[str, Callable[[dict[str, Any]], Module]] = {
    "RealNPU": _real_npu,
    "NPU": _npu,
    "NRU": _nru,
    "NMRU": lambda flags: NMRU(sign_retrieval=False, penalty=_penalty(flags)),
    "SignNMRU": lambda flags: NMRU(penalty=_penalty(flags)),
    "GatedSignNMRU": _gated,
    "linear": lambda flags: Linear(),
    "ReLU": lambda flags: Linear(activation="relu"),
    "ReLU6": lambda flags: Linear(activation="relu6"),
    "NAC": lambda flags: NAC(),
    "MNAC": lambda flags: NACMul(),
    "NALU": _nalu,
    "ReRegualizedLinearNALU": _nalu,
    "ReRegualizedLinearNAC": lambda flags: NAU(penalty=_penalty(flags)),
    "ReRegualizedLinearMNAC": lambda flags: NMU(penalty=_penalty(flags)),
}


def _ramp(flags: dict[str, Any], module: Module) -> Ramp | None:
    """Return the rise of the penalties, or None where there is nothing to rise."""
    one_of(flags, "regualizer-scaling", "linear")
    npu = isinstance(module, (RealNPU, NPU))
    if npu and module.weight_penalty == module.gate_penalty == 0:
        return None
    gated = isinstance(module, NMRU) and module.gated and module.gate_penalty > 0
    if (npu or gated) and one_of(flags, "reg-scale-type", "madsen", "heim") == "heim":
        raise ValueError(
            "original: --reg-scale-type: got 'heim' with penalties on weights or gates, needs 'madsen'"
        )
    return Ramp(start=flags["regualizer-scaling-start"], end=flags["regualizer-scaling-end"])
