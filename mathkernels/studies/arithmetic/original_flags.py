"""The flags of the published one-layer script: which matter, which do not, and how a line of them is read.

"regualizer" is the script's spelling.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from mathkernels.data.arithmetic import suggestion

# flag -> default of the script; the type of the default is that of the values
FLAGS: dict[str, Any] = {
    "layer-type": "NALU",
    "operation": "add",
    "num-subsets": 2,
    "regualizer": 10.0,
    "regualizer-shape": "linear",
    "regualizer-scaling": "linear",
    "regualizer-scaling-start": 1_000_000,
    "regualizer-scaling-end": 2_000_000,
    "regualizer-l1": False,
    "regualizer-beta-start": 1e-5,
    "regualizer-beta-end": 1e-4,
    "regualizer-beta-step": 10_000,
    "regualizer-beta-growth": 10.0,
    "lp-norm": 1,
    "regualizer-npu-w": 0.0,
    "regualizer-gate": 0.0,
    "reg-scale-type": "heim",
    "npu-clip": "none",
    "npu-Wr-init": "xavier-uniform",
    "realnpu-reg-type": "W",
    "nru-div-mode": "div",
    "max-iterations": 100_000,
    "batch-size": 128,
    "log-interval": 1000,
    "seed": 0,
    "interpolation-range": "[1,2]",
    "extrapolation-range": "[2,6]",
    "sample-distribution": ("uniform",),
    "input-size": 2,
    "subset-ratio": 0.5,
    "overlap-ratio": 0.0,
    "optimizer": "adam",
    "learning-rate": 1e-3,
    "momentum": 0.0,
    "clip-grad-norm": math.inf,
    "train-criterion": "mse",
    "nalu-two-nac": False,
    "nalu-mul": "normal",
    "nalu-gate": "normal",
}
# These change nothing in a network of one of the layers known here: they concern a second layer (nac-mul
# chooses it), other layers, the machine or the log. Out-of-bound penalties are 0 where weights are clamped.
_NO_EFFECT: dict[str, type] = {
    **{
        name: str for name in ("nac-mul", "first-layer", "hidden-size", "name-prefix", "id", "regualizer-oob")
    },
    **{name: str for name in ("pcc2mse-iteration", "noise-range", "W-set-count")},
    **{name: str for name in ("weight-pull-start", "weight-pull-end")},
    **{name: bool for name in ("no-cuda", "verbose", "no-save", "remove-existing-data")},
}
_NPUS, _NALUS = ("RealNPU", "NPU"), ("NALU", "ReRegualizedLinearNALU")
# These matter to some layers only.
_MATTERS_TO: dict[str, tuple[str, ...]] = {
    **{name: _NPUS for name in FLAGS if name.startswith(("npu-", "regualizer-beta-"))},
    **dict.fromkeys(("regualizer-l1", "lp-norm", "regualizer-npu-w"), _NPUS),
    **dict.fromkeys(("regualizer-gate", "reg-scale-type"), (*_NPUS, "GatedSignNMRU")),
    **{name: _NALUS for name in FLAGS if name.startswith("nalu-")},
    "realnpu-reg-type": ("RealNPU",),
    "nru-div-mode": ("NRU",),
}
# These have one value that is meant here.
_ONLY: dict[str, str] = {
    "output-size": "1",
    "regualizer-z": "0",
    "mnac-epsilon": "0",
    "oob-mode": "clip",
    "pytorch-precision": "32",
}
_REFUSED = (
    *("simple", "nmu-noise", "nau-noise", "trash-cell", "beta-nau", "load-checkpoint"),
    *("nalu-bias", "nalu-two-gate"),
)


# Of the two-layer script, ``simple_function_static.py``: other defaults, and what it takes besides.
TWO_LAYER_FLAGS: dict[str, Any] = {
    **FLAGS,
    "input-size": 100,
    "subset-ratio": 0.25,
    "overlap-ratio": 0.5,
    "hidden-size": 2,
    "nac-mul": "none",
    "first-layer": "",
    "simple": False,
}
_SCRIPT, _ONE_LAYER_SCRIPT = "simple_function_static", "single_layer"


def parse(line: str, flags: dict[str, Any] = FLAGS) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the given flags that matter, with values of their type, and the names of those that do not.

    Args:
        flags: of the script that the line calls, :data:`FLAGS` or :data:`TWO_LAYER_FLAGS`.
    """
    try:
        words = shlex.split(line.replace("\\\n", " "), comments=True)
    except ValueError as error:
        raise ValueError(f"original: got {line!r}, which is no command line ({error})") from None
    first = next((place for place, word in enumerate(words) if word.startswith("--")), len(words))
    if flags is FLAGS and any(_SCRIPT in word for word in words[:first]):
        raise ValueError(f"original: {_SCRIPT} is the two-layer script, which train_two_layers.py takes")
    if flags is not FLAGS and any(_ONE_LAYER_SCRIPT in word for word in words[:first]):
        raise ValueError(f"original: {_ONE_LAYER_SCRIPT} is the one-layer script, which train_nalm.py takes")
    words = words[first:]
    if not words:
        raise ValueError(f"original: got {line!r}, needs flags such as --layer-type RealNPU --operation div")
    found: dict[str, Any] = {}
    idle: list[str] = []
    while words:
        flag = words.pop(0)
        values = []
        while words and not words[0].startswith("--"):
            values.append(words.pop(0))
        name, sign, value = flag.removeprefix("--").partition("=")
        if not flag.startswith("--"):
            raise ValueError(f"original: got {flag!r} where a flag is needed")
        _take(name, [value, *values] if sign else values, found, idle, flags)
    layer = found.get("layer-type", flags["layer-type"])
    idle += [f"--{name}" for name in found if layer not in _MATTERS_TO.get(name, (layer,))]
    return found, tuple(idle)


def _take(
    name: str, values: Sequence[str], found: dict[str, Any], idle: list[str], flags: dict[str, Any]
) -> None:
    """Sort one flag with its values into what matters and what does not."""
    what = f"original: --{name}"
    if name == "simple" and flags is FLAGS:
        raise ValueError(f"{what} is of the two-layer script, which train_two_layers.py takes")
    if name in _REFUSED and name not in flags:
        raise ValueError(f"{what} asks for something that this library does not train")
    default = flags.get(name, False if _NO_EFFECT.get(name) is bool else "")
    known = (*flags, *_NO_EFFECT, *_ONLY, *_REFUSED)
    if name not in known:
        script = "one-layer script" if flags is FLAGS else "two-layer script"
        raise ValueError(f"{what} is no flag of the {script}{suggestion(name, known)}")
    count = 0 if isinstance(default, bool) else 1
    if len(values) != count and not (isinstance(default, tuple) and values):
        raise ValueError(f"{what}: got {' '.join(values) or 'no value'}, needs {count or 'no'} value")
    if name in _ONLY and _plain(values[0]) != _plain(_ONLY[name]):
        raise ValueError(f"{what}: got {values[0]}, needs {_ONLY[name]}, which is all there is here")
    if name in flags:
        found[name] = _value(what, values, default)
    else:
        idle.append(f"--{name}")


def _plain(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _value(what: str, values: Sequence[str], default: Any) -> Any:
    if isinstance(default, bool):
        return True
    if isinstance(default, tuple):
        return tuple(values)
    kind: Callable[[str], Any] = type(default)
    try:
        return kind(values[0])
    except ValueError:
        needs = "an integer" if kind is int else "a number"
        raise ValueError(f"{what}: got {values[0]!r}, needs {needs}") from None
