"""Scratch of sequences is bounded by formulas of docs/sequences.md; sums by symbol keep their bits."""

import dataclasses
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sequence_kernel_cases as cases
import torch
from sequence_kernel_cases import Case

from mathkernels import _C

every_kind = pytest.mark.parametrize("kind", cases.GATES)
DOCS = Path(__file__).parent.parent / "docs" / "sequences.md"


def formulas() -> dict[str, str]:
    """The bounds as the document states them, in numbers of the dtype."""
    block = re.search(r"```text\n(weights_forward .*?)```", DOCS.read_text(), re.DOTALL)
    assert block is not None
    lines = (line.split("  ", 1) for line in block[1].strip().splitlines() if line[0] != " ")
    return {name: text.strip() for name, text in lines}


def bound(which: str, kind: str, shape: tuple, symbols: bool, dtype: torch.dtype, threads: int) -> float:
    """Bytes of scratch that a forward or backward may take."""
    E, D, T, B, I, H = shape
    names = dict(zip("EDTBIH", (E, D, T, B, 0 if symbols else I, H), strict=True))
    names |= {"V": I if symbols else 0, "G": cases.GATES[kind], "threads": threads, "min": min, "max": max}
    names["megabytes_16"] = (16 << 20) / dtype.itemsize
    for name, text in formulas().items():
        names[name] = eval(text, {}, names)
    return names[which] * dtype.itemsize


def random_shape(rng: random.Random) -> tuple[int, int, int, int, int, int]:
    def size(most):
        return int(most ** rng.random())

    return (size(50), rng.randint(1, 2), size(2000), size(5000), size(100_000), size(2000))


@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_scratch_is_within_the_bounds_that_are_stated(kind, dtype):
    rng = random.Random(f"{kind} {dtype}")
    for _ in range(2000):
        shape, symbols, threads = random_shape(rng), rng.random() < 0.5, rng.choice([1, 2, 3, 16, 64])
        bfloat16 = dtype == torch.float32 and rng.random() < 0.3
        E, D, T, B, I, H = shape
        index = [torch.float32, torch.float64].index(dtype)
        call = _C.sequence_call(_C.sequence_kinds[kind], index, bfloat16, symbols, E, D, T, B, I, H, threads)
        for which in ("forward", "backward"):
            taken = getattr(_C, f"sequence_{which}_workspace")(call)
            most = bound(which, kind, shape, symbols, dtype, threads)
            assert 0 <= taken <= most, (
                f"{which} {shape} symbols={symbols} threads={threads}: {taken} > {most}"
            )


@every_kind
def test_more_threads_than_work_take_no_more_scratch(kind):
    for B in (1, 5, 20, 40):
        for which in ("forward", "backward"):
            taken = [
                getattr(_C, f"sequence_{which}_workspace")(
                    _C.sequence_call(_C.sequence_kinds[kind], 0, False, False, 1, 1, 50, B, 500, 10, threads)
                )
                for threads in (4, 1000)
            ]
            assert taken[0] == taken[1], f"{which}, {B} rows: {taken} bytes"


@every_kind
@pytest.mark.parametrize("rows", [3, 20, 70, 600])
@pytest.mark.parametrize("symbols", [1, 7, 100_000])
def test_gradients_by_symbol_equal_those_of_one_hot_rows(kind, rows, symbols, isa):
    """The rows of one product are added first, so that the bits are those of products with ones."""
    few = min(symbols, 50)
    case = Case(kind, (1, 2, 5, rows, few, 6), torch.float32, symbols=True, lengths=True)
    out = cases.forward(case)
    arriving = cases.arriving_at(out)
    grads = cases.backward(case, out, arriving)
    ones = torch.nn.functional.one_hot(case.inputs["x"], few).float()
    dense = dataclasses.replace(case, symbols=False, inputs={**case.inputs, "x": ones})
    dense_grads = cases.backward(dense, cases.forward(dense), arriving)
    assert torch.equal(grads["weight_ih"], dense_grads["weight_ih"])
    if symbols == few:
        return
    spread = torch.randperm(symbols)[:few]  # the same symbols, far apart
    wide = torch.zeros(*case.inputs["weight_ih"].shape[:3], symbols)
    wide[..., spread] = case.inputs["weight_ih"]
    inputs = {**case.inputs, "x": spread[case.inputs["x"]], "weight_ih": wide}
    far = dataclasses.replace(case, shape=(1, 2, 5, rows, symbols, 6), inputs=inputs)
    far_grad = cases.backward(far, cases.forward(far), arriving)["weight_ih"]
    assert torch.equal(far_grad[..., spread], grads["weight_ih"])
    far_grad[..., spread] = 0
    assert (far_grad == 0).all()


@every_kind
def test_partial_sums_in_waves_change_no_bit(kind):
    """More groups than threads, whose partial sums together are more than 16 MB."""
    for symbols, shape in ((False, (2, 1, 3, 500, 300, 130)), (True, (1, 2, 12, 500, 4000, 120))):
        case = Case(kind, shape, torch.float32, symbols=symbols, threads=1)
        out = cases.forward(case)
        arriving = cases.arriving_at(out)
        grads = cases.backward(case, out, arriving)
        for threads in (2, 40):
            again = cases.backward(dataclasses.replace(case, threads=threads), out, arriving)
            for name, value in grads.items():
                assert torch.equal(again[name], value), f"gradient of {name}, {threads} threads"
        double = dataclasses.replace(
            case, dtype=torch.float64, inputs=cases.as_type(case.inputs, torch.float64)
        )
        exact = cases.backward(
            double, cases.forward(double), {name: value.double() for name, value in arriving.items()}
        )
        for name, value in grads.items():
            torch.testing.assert_close(
                value.double(), exact[name], rtol=1e-4, atol=1e-4 * exact[name].abs().max()
            )


GROWTH = """
import resource, sys, torch
from mathkernels.nn import LSTM
torch.set_num_threads(2)
layer, x = LSTM(20_000, 64), torch.randint(0, 20_000, (8, 1024))
small = LSTM(10, 64)
small(torch.zeros(8, 1024, 10))[0].sum().backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
layer(x)[0].square().sum().backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_a_large_vocabulary_costs_its_gradient_and_little_more():
    command = [sys.executable, "-c", GROWTH]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    weights = 20_000 * 4 * 64 * 4
    # the gradient, and sums of the symbols that occur: at most as many as there are rows, 8 MB
    assert int(found.stdout) <= 1.5 * weights + (16 << 20)
