"""Calls of the raw ops that modules never make: one argument of a valid call is exchanged for another that
the schema lets in. Run as a program it makes all of them and prints what is wrong; a crash is seen outside.

The valid calls are those of the cases in composition_cases.py and of their gradients, written down as they
pass.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch
from composition_cases import OPS
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mathkernels.ops._attention_of_rows import attention_of_rows

Call = tuple[Any, tuple]  # op, arguments


class _Recorder(TorchDispatchMode):
    """Keeps one valid call of each op of this library and kind of arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[tuple, Call] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "mathkernels":
            kinds = tuple(str(a.dtype) if isinstance(a, Tensor) else repr(a) for a in args)
            self.calls.setdefault((func, kinds), (func, tuple(_copy(a) for a in args)))
        return func(*args, **(kwargs or {}))


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def valid_calls() -> list[Call]:
    """Every op of the library, forward and backward, with arguments that it takes."""
    calls: dict[tuple, Call] = {}
    for case in OPS:
        torch.manual_seed(0)
        recorder = _Recorder()
        with recorder:
            result = case.function(*(leaf.requires_grad_() for leaf in case.leaves()))
            results = [result] if isinstance(result, Tensor) else list(result)
            sum(r.sin().sum() for r in results).backward()
        calls |= recorder.calls
    with (recorder := _Recorder()):  # the one without gradients
        of_rows = torch.randn(2, 3, 1, 4), torch.randn(2, 5, 3, 4), torch.randn(2, 5, 3, 6)
        rows = torch.tensor([[4, 0, 0], [1, 2, 3]])
        attention_of_rows(
            *of_rows, torch.rand(2, 5, 3) > 0.3, None, rows, heads=2, scale=0.5, return_weights=True
        )
    calls |= recorder.calls
    return list(calls.values())


def _others(value: Any) -> Iterator[tuple[str, Any]]:
    """What may stand in the place of an argument, with a name for the report."""
    if value is None:
        yield "a tensor for None", torch.ones(2, 3)
    elif isinstance(value, bool):
        yield "the other flag", not value
    elif isinstance(value, float):
        yield from ((f"{other}", other) for other in (float("nan"), float("inf"), -1.0, 0.0, 1e-320))
    elif isinstance(value, str):
        yield from ((repr(other), other) for other in ("", "none", "\0", "x" * 300))
    elif isinstance(value, Tensor):
        yield "None", None
        yield from _other_tensors(value)


def _other_tensors(t: Tensor) -> Iterator[tuple[str, Any]]:
    yield "a scalar", t.new_zeros(())
    yield "an axis more", t[None]
    yield "nothing in it", t[:0]
    yield "longer", torch.cat([t, t]) if t.dim() else t
    yield "turned", t.movedim(0, -1) if t.dim() else t
    yield "another dtype", t.float() if t.dtype == torch.float64 else t.double()
    yield "half", t.half()
    yield "complex", t.to(torch.complex64)
    yield "booleans", t.bool()
    yield "int64", t.long()
    yield "int32", t.int()
    yield "sparse", t.to_sparse()
    yield "meta", t.to("meta")
    yield "expanded from one number", t.flatten()[:1].expand(t.numel()).reshape(t.shape) if t.numel() else t
    emptied = t.clone()
    emptied.untyped_storage().resize_(0)
    yield "emptied storage", emptied
    if t.dtype == torch.int64:
        for name, number in {"-1": -1, "2**31": 2**31, "2**62": 2**62, "most negative": -(2**63)}.items():
            yield f"filled with {name}", torch.full_like(t, number)
    elif t.is_floating_point():
        for number in (float("nan"), float("inf"), 1e300 if t.dtype == torch.float64 else 3e38, 1e-310):
            yield f"filled with {number}", torch.full_like(t, number)


def exchanged(call: Call) -> Iterator[tuple[str, tuple]]:
    op, arguments = call
    for at, (value, declared) in enumerate(zip(arguments, op._schema.arguments, strict=True)):
        for name, other in _others(value):
            yield f"{declared.name}: {name}", (*arguments[:at], other, *arguments[at + 1 :])


EXPECTED = (
    ValueError,
    TypeError,
    RuntimeError,
    NotImplementedError,
)  # of the library, and of torch's dispatcher


def main() -> None:
    """Make all exchanged calls; print a line for each that raises something else or names nothing."""
    made = 0
    for call in valid_calls():
        name = call[0]._schema.name
        for what, changed in exchanged(call):
            print(f"{name} {what}", file=sys.stderr, flush=True)
            made += 1
            try:
                results = call[0](*changed)
            except EXPECTED as error:
                if not str(error).strip():
                    print(f"{name} {what}: an empty message")
            except Exception as error:  # what is raised here is the finding
                print(f"{name} {what}: {type(error).__name__}: {error}")
            else:
                for result in [results] if isinstance(results, Tensor) else results:
                    result.sum()  # reads all of it
    print(f"{made} calls")


if __name__ == "__main__":
    main()
