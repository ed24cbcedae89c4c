"""Random arguments of the constructors of all modules, from their signatures."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import torch

import mathkernels.nn as fused
from fuzzing import hostile
from fuzzing.calls import Call, Difference, Draw, shown
from fuzzing.compare import tensors
from fuzzing.hostile import Given

# what is a size, by name; a constructor's other arguments are told apart by their defaults
SIZES = (
    *("in_features", "out_features", "input_size", "hidden_size", "num_layers", "models"),
    *("query_size", "memory_size"),
)
PARTS = ("Seq2Seq",)  # is made of modules and takes them
CLASSES = {
    name: getattr(fused, name)
    for name in fused.__all__
    if isinstance(getattr(fused, name), type) and name not in PARTS
}


def parameters(kind: type) -> dict[str, inspect.Parameter]:
    """All arguments of a constructor by name, those that ``**options`` hands to its bases included."""
    found: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__:
        if "__init__" not in vars(base) or base is torch.nn.Module:
            continue
        listed = list(inspect.signature(base.__init__).parameters.values())[1:]
        plain = [p for p in listed if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        found |= {p.name: p for p in plain if p.name not in found}
        if len(plain) == len(listed):  # nothing is handed on
            break
    return found


def _valid(kind: type, needed: dict[str, inspect.Parameter]) -> dict[str, Any]:
    required = [p.name for p in needed.values() if p.default is p.empty]
    valid: dict[str, Any] = {name: "NAC" if name == "unit" else 3 for name in required}
    return {**valid, "score": "general"} if "score" in needed else valid  # which takes any two sizes


def _other(draw: Draw, parameter: inspect.Parameter) -> Given:
    name, default = parameter.name, parameter.default
    if name in SIZES:
        given = hostile.size(draw)
        return Given(None, True) if name == "models" and given.value is None else given
    if name == "proj_size":
        return Given(draw.one(1, 2, -1, "x", 2**40, 0.5), False)
    if isinstance(default, bool):
        return hostile.flag(draw)
    if isinstance(default, float):
        return hostile.number(draw)
    if name == "dtype":
        return Given(
            draw.one(torch.float32, torch.float64, torch.float16, torch.int64, "float32", 3, torch.bool)
        )
    if name == "device":
        return Given(draw.one("cpu", "meta", "nowhere", "", 0, "cuda:99", object()))
    return hostile.anything(draw)


def constructor(draw: Draw) -> Call:
    """A module with one or two odd arguments: refused by name, or made and then it works."""
    name = draw.choice(list(CLASSES))
    kind = CLASSES[name]
    known = parameters(kind)
    options, rights, odd = _valid(kind, known), [], []
    for parameter in draw.sample(list(known.values()), draw.one(1, 1, 1, 2)):
        given = _other(draw, parameter)
        options[parameter.name] = given.value
        odd.append(parameter.name)
        rights.append(given.right)
    if draw.holds(0.03):
        options["no_such_option"] = 1
        odd.append("no_such_option")
        rights.append(False)
    told = f"{name}({', '.join(f'{key}={shown(value)}' for key, value in options.items())})"

    def run() -> None:
        module = kind(**options)
        if False in rights:
            raise Difference(f"took {', '.join(o for o, r in zip(odd, rights, strict=True) if r is False)}")
        _use(module)

    large = any(key in SIZES and _is_large(options[key]) for key in odd)
    return Call(told, run, odd, valid=all(right is True for right in rights), large=large)


def _is_large(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool) and value > 2**20) or hasattr(
        value, "dtype"
    )


def _use(module: Any) -> None:
    """Call the module forward and backward, as anybody would after it was made."""
    repr(module)
    parameter = next(module.parameters(), None)
    if parameter is None:  # attention without projections
        return
    if parameter.device.type != "cpu" or parameter.dtype not in (torch.float32, torch.float64):
        return
    names = ("in_features", "input_size", "query_size")
    inputs = next((getattr(module, name) for name in names if hasattr(module, name)), None)
    lead = () if module.models is None else (int(module.models),)
    shape = (*lead, 3, 2) if inputs is None else (*lead, 3, 2, int(inputs))
    if type(module).__name__.endswith("Cell"):
        shape = (*lead, 3, int(inputs))
    x = torch.ones(shape, dtype=parameter.dtype)
    memory = [x.new_ones(*lead, 3, 2, int(module.memory_size))] if hasattr(module, "memory_size") else []
    total = sum(result.sum() for result in tensors(module(x, *memory)))
    typing.cast(torch.Tensor, total).backward()


KINDS = {"constructor": constructor}
