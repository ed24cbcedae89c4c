"""Tensors whose memory ends, or begins, at a page that nobody may touch.

Run as a program it makes calls of every op, of the ensemble's trainer and of the sequence-to-sequence one on
such tensors, inputs, outputs and scratch alike. An access beside a tensor ends the process; what it was doing
then stands in the last line of its standard error.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import mmap
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch
from torch import Tensor

PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
NOTHING = 0  # PROT_NONE


class Guard:
    """Makes tensors between two pages that nobody may touch, close to the one behind or to the one before."""

    def __init__(self, end: bool) -> None:
        self.end, self.made = end, 0

    def memory(self, nbytes: int) -> ctypes.Array:
        inside = -(-max(nbytes, 1) // PAGE) * PAGE
        begin = _libc.mmap(None, inside + 2 * PAGE, NOTHING, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        if begin in (None, ctypes.c_void_p(-1).value):
            raise MemoryError(f"no pages for {nbytes} bytes")
        if _libc.mprotect(begin + PAGE, inside, mmap.PROT_READ | mmap.PROT_WRITE):
            raise OSError(ctypes.get_errno(), "mprotect")
        address = begin + PAGE + (inside - nbytes if self.end else 0)
        buffer = (ctypes.c_char * nbytes).from_address(address)
        weakref.finalize(buffer, _libc.munmap, begin, inside + 2 * PAGE)
        self.made += 1
        return buffer

    def tensor(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A new tensor; of NaN or, where there is none, of ones, so that what is read too early is seen."""
        count = math.prod(shape)
        if count == 0:
            return _empty(shape, dtype=dtype)
        made = torch.frombuffer(self.memory(count * dtype.itemsize), dtype=dtype).view(shape)
        return made.fill_(math.nan if dtype.is_floating_point else 1)

    def like(self, given: Tensor) -> Tensor:
        """The same numbers in memory of its own."""
        return self.tensor(tuple(given.shape), given.dtype).copy_(given)

    def array(self, given: np.ndarray) -> np.ndarray:
        if given.nbytes == 0:
            return given
        made = np.frombuffer(self.memory(given.nbytes), dtype=given.dtype).reshape(given.shape)
        made[...] = given
        return made

    @contextmanager
    def everywhere(self) -> Iterator[None]:
        """In its scope torch.empty, torch.zeros and Tensor.new_empty give such tensors."""

        def shape_of(sizes: tuple) -> tuple[int, ...]:
            return tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else tuple(sizes)

        def empty(*sizes, dtype: torch.dtype | None = None, **_) -> Tensor:
            return self.tensor(shape_of(sizes), dtype or torch.get_default_dtype())

        with (
            mock.patch.object(torch, "empty", empty),
            mock.patch.object(torch, "zeros", lambda *sizes, **options: empty(*sizes, **options).zero_()),
            mock.patch.object(
                Tensor, "new_empty", lambda t, *sizes, **_: self.tensor(shape_of(sizes), t.dtype)
            ),
        ):
            yield


_empty = torch.empty


def differentiate(guard: Guard, function, leaves: list[Tensor]) -> None:
    leaves = [guard.like(leaf).requires_grad_() for leaf in leaves]
    with guard.everywhere():
        results = function(*leaves)
        results = [results] if isinstance(results, Tensor) else list(results)
        wanted = [result for result in results if result.requires_grad]
        torch.autograd.grad(
            wanted, leaves, [guard.like(result.detach()) for result in wanted], allow_unused=True
        )


def op_calls(dtype: torch.dtype) -> Iterator[tuple]:
    """Functions and leaves of every op: packs full and not, a block of rows and one more, few rows."""
    import layer_cases
    import sequence_op_cases
    from composition_cases import OPS

    for case in layer_cases.CASES:
        for shape in ((2, 5, 3, 2), (1, 35, 9, 17), (1, 257, 2, 1)):
            yield f"{case.id} {shape}", case.function, case.leaves(shape, dtype)
    for case in sequence_op_cases.CASES:
        for shape in ((2, 3, 3, 2, 5, 2), (1, 2, 19, 9, 17, 2), (1, 3, 37, 16, 33, 1), (1, 4, 9, 3, 16, 1)):
            yield f"{case.id} {shape}", case.function(shape), case.leaves(shape, dtype)
    for case in OPS:  # the others
        if case.op not in ("lstm", "gru") and case.op not in {layer.op for layer in layer_cases.CASES}:
            yield case.id, case.function, case.leaves(dtype)


def make_op_calls(guard: Guard, isa: str) -> int:
    made = 0
    for dtype in (torch.float32, torch.float64):
        for name, function, leaves in op_calls(dtype):
            print(f"{isa} {'end' if guard.end else 'begin'} {dtype} {name}", file=sys.stderr, flush=True)
            differentiate(guard, function, leaves)
            made += 1
    return made


def train_ensembles(guard: Guard) -> int:
    """A few iterations of every run of ensemble_cases.py, evaluation among them."""
    import dataclasses

    from ensemble_cases import RUNS

    from mathkernels import _C
    from mathkernels.ensemble import program, sets

    def set_array(self, name, values, dtype=None):
        array = guard.array(np.ascontiguousarray(values, dtype=dtype or self.real))
        setattr(self, f"_{name}_array", array)
        setattr(self.compiled, name, array.ctypes.data)
        return array

    get = sets.EvaluationSets.get

    def guarded_sets(self, run, which, real):
        return tuple(guard.array(array[..., :77]) for array in get(self, run, which, real))

    with (
        mock.patch.object(program.TrainingProgram, "_set", set_array),
        mock.patch.object(sets.EvaluationSets, "get", guarded_sets),
    ):
        for (name, run), dtype in itertools.product(RUNS.items(), program.DTYPES):
            print(f"{dtype} {name}", file=sys.stderr, flush=True)
            short = dataclasses.replace(run, iterations=2, evaluate_every=2, ramp=None, restarts=None)
            for made in program.build_programs([short], dtype, "hash"):
                made.advance_to(3)
                size = (
                    -(-_C.program_scratch_bytes(made.compiled) // 64) * 64
                )  # begins at a line, so it ends at one
                scratch = guard.array(np.zeros(size, np.uint8))
                _C.train([made.compiled], scratch.ctypes.data, size, 1)
    return len(RUNS)


def train_seq2seq(guard: Guard) -> int:
    import seq2seq_cases as cases

    for case, dtype in itertools.product(cases.CASES, (torch.float32, torch.float64)):
        print(f"{dtype} {case}", file=sys.stderr, flush=True)
        with guard.everywhere():
            model = cases.ensemble(case, dtype=dtype)
            inputs, targets, order = (guard.like(t) for t in cases.data(case, 2))
            model.train_epoch(inputs, targets, order=order, batch=case.batch)
            model.evaluate(inputs, targets)
            model.predict(inputs)
    return len(cases.CASES)


def main() -> None:
    """Make the calls of every instruction set at the end, and those of the widest at the beginning."""
    from mathkernels import backends

    torch.set_num_threads(1)
    made = 0
    for end, isa in [(True, isa) for isa in backends.available()] + [(False, backends.available()[-1])]:
        backends.force(isa)
        guard = Guard(end)
        made += make_op_calls(guard, isa) + train_ensembles(guard) + train_seq2seq(guard)
        assert guard.made > made / 2
    print(f"{made} calls")


if __name__ == "__main__":
    main()
