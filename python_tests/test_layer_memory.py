"""Scratch of the layers is what docs/memory.md says, and what is empty takes neither memory nor time."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from layer_cases import CASES, case_of

from mathkernels import _C, ops
from mathkernels.ops.discretisation import KINDS
from mathkernels.reference.recurrent import UNITS

DOCUMENT = Path(__file__).parent.parent / "docs" / "memory.md"
SHARED = ("real_npu", "npu")  # outputs share what is made of an input
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


COUNT = r" (?:(\d*) ?(I))?(?: \+ )?(\d+)? \|"  # "3 I + 2", "I", "0"


def counts(inputs):
    """Layer -> p, d, s, g for that many inputs, from the document's table."""
    found = {}
    for line in DOCUMENT.read_text().splitlines():
        row = re.fullmatch(r"\| ([a-z_, ]+) \|((?: [\dI+ ]+ \|){4})", line)
        if not row:
            continue
        parts = re.findall(COUNT, row[2])
        for name in row[1].split(", "):
            found[name] = [(int(n or 1) * inputs if i else 0) + int(more or 0) for n, i, more in parts]
    return found


def up(value, unit):
    return -(-value // unit) * unit


def division(E, B, I, O, threads):
    """Blocks of rows of a model, and threads at work."""
    block = up(up(up(B, 256) // 64 + (up(B, 256) % 64 > 0), 1), 256)
    blocks = -(-B // block) if B else 1
    return blocks, 1 if E * B * I * O < 8192 else min(threads, E * blocks)


def bounds_of_linear(E, B, I, O, threads, size):
    def scratch(depth, outputs):
        rows = up(min(256, B), 32)
        return size * (rows * depth + (depth + 1) * (up(outputs, 12) + 12) + 768) + 320

    blocks, team = division(E, B, I, O, threads)
    weights = size * (8192 + 257 * (up(O, 12) + 12) + 768) + 320
    backward = max(scratch(O, I), weights)
    sums = up(size * E * blocks * O * (I + 1), 64)
    return 64 + team * up(scratch(I, O), 64), 64 + team * up(backward, 64) + sums


def bounds(kind, E, B, I, O, threads, size):
    """Bytes of forward and backward by the document's formula."""
    if kind == "linear":
        return bounds_of_linear(E, B, I, O, threads, size)
    p, d, s, g = counts(I)[kind]
    rows, outputs = min(256, up(B, 64 // size)), min(16, O)
    blocks, team = division(E, B, I, O, threads)
    saved = size * rows * s if kind in SHARED else 64 * s
    forward = size * (rows * (I + outputs) + p + d) + 64 * d + saved
    backward = forward + size * (rows * I + 33 * g) + 64 * (I + g)
    sums = up(size * E * blocks * O * g, 64)
    return 64 + team * up(forward, 64), 64 + team * up(backward, 64) + sums


def test_the_document_counts_every_layer():
    assert {*counts(3), "linear"} == set(_C.layer_kinds)


@pytest.mark.parametrize("kind", _C.layer_kinds)
def test_workspaces_are_within_the_documents_formula(kind, isa):
    draw = np.random.default_rng(len(kind))
    for _ in range(300):
        E, O, I = (int(draw.integers(1, most)) for most in (6, 40, 200))
        B = int(draw.choice([1, 5, 16, 17, 255, 256, 257, 5000, 70_000]))
        threads, dtype = int(draw.integers(1, 70)), int(draw.integers(2))
        call = _C.layer_call(_C.layer_kinds[kind], dtype, True, 0.0, E, B, I, O, threads)
        found = _C.layer_forward_workspace(call), _C.layer_backward_workspace(call)
        limit = bounds(kind, E, B, I, O, threads, 4 * (dtype + 1))
        assert all(a <= b for a, b in zip(found, limit, strict=True)), (
            E,
            B,
            I,
            O,
            threads,
            dtype,
            found,
            limit,
        )


def test_workspaces_of_the_other_ops_are_within_the_documents_formula(isa):
    draw = np.random.default_rng(0)
    for unit, (_, _, _) in UNITS.items():
        g = counts(2)[unit][3]
        for _ in range(50):
            E, T, B = (int(draw.integers(1, most)) for most in (9, 100, 2000))
            threads, dtype = int(draw.integers(1, 70)), int(draw.integers(2))
            size, items = 4 * (dtype + 1), E * -(-B // 128)
            call = _C.recurrent_call(_C.recurrent_kinds[unit], dtype, 0.0, E, T, B, threads)
            limit = 64 + min(threads, items) * 128 * (1 + g) * size + up(items * g * size, 64)
            assert _C.recurrent_backward_workspace(call) <= limit
            assert _C.discretisation_workspace(dtype, E, T * B) <= 64 + E * -(-T * B // 8192) * size


WIDE = """
import resource, torch
from mathkernels import ops
x, weight = torch.rand(1, 1, 200_000) + 0.5, torch.rand(1, 1, 200_000) * 1e-6
small = torch.rand(1, 1, 2)
leaves = [t.requires_grad_() for t in (x, weight)]
ops.nmu(small, small).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ops.nmu(x, weight).sum().backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_one_row_of_many_inputs_takes_the_memory_of_one_row():
    """200,000 inputs once took a gigabyte: scratch was made for 256 rows, for every thread."""
    done = subprocess.run([sys.executable, "-c", WIDE], capture_output=True, check=True, cwd="/")
    grown = int(done.stdout)
    limit = bounds("nmu", 1, 1, 200_000, 1, torch.get_num_threads(), 4)[1]
    assert limit < 150e6
    assert grown < limit + 20e6  # gradients, and what torch loads at its first backward


HUGE = 2**40
SIZES = [(HUGE, 0, 3, 0), (0, HUGE, 3, 2), (0, 3, HUGE, 2), (0, 3, 2, HUGE), (1, HUGE, 0, 0), (HUGE, 0, 0, 7)]
SIZES += [(3, 0, HUGE, 0), (3, HUGE, 0, 0), (2, 0, 0, HUGE), (HUGE, HUGE // 2**20, 0, 0)]


@every_case
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_huge_empty_tensors_return_at_once(case, shape):
    """A loop over 2^40 models, or over as many rows, would not end within the test's lifetime."""
    E, B, I, O = shape
    sizes = [(E, B, I), (E, O, case.columns * I + case.more)] + ([(E, case.gates * I)] if case.gates else [])
    if any(0 not in size for size in sizes):
        sizes = [(min(E, 3), B, min(I, 3)), (min(E, 3), min(O, 3), case.columns * min(I, 3) + case.more)]
        sizes += [(min(E, 3), case.gates * min(I, 3))] if case.gates else []
    leaves = [torch.empty(size).fill_(0.5).requires_grad_() for size in sizes]
    y = case.function(*leaves)
    assert y.numel() == 0
    gradients = torch.autograd.grad(y, leaves, torch.empty_like(y))
    assert all(g.shape == leaf.shape for g, leaf in zip(gradients, leaves, strict=True))
    assert not any(g.any() for g in gradients)


def test_an_empty_result_whose_strides_are_beyond_64_bits_is_refused():
    x, weight = torch.empty(0, HUGE, 0), torch.empty(0, HUGE, 0)
    with pytest.raises(RuntimeError, match="overflow"):
        ops.nmu(x, weight)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    "shape", [(0, HUGE, 3), (1, HUGE, 0), (3, 0, 4), (0, 3, HUGE), (0, HUGE, 0)], ids=str
)
def test_huge_empty_sequences_return_at_once(unit, shape):
    E, _, B = shape
    leaves = [torch.empty(shape), torch.full((E, UNITS[unit][1]), 0.5), torch.full((E, B), 0.5)]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    h = ops.recurrent_unit(*leaves, unit)
    gradients = torch.autograd.grad(h, leaves, torch.empty_like(h))
    assert h.numel() == 0
    assert not any(g.any() for g in gradients)


@pytest.mark.parametrize("shape", [(0, HUGE), (HUGE, 0, 3), (0, 3, HUGE)], ids=str)
def test_huge_empty_elementwise_ops_return_at_once(shape):
    x = torch.empty(shape, requires_grad=True)
    y = ops.clipped_reciprocal(x, 10.0)
    assert torch.autograd.grad(y, x, torch.empty_like(y))[0].shape == shape
    if shape[0] == 0:  # else the means of all those models are numbers
        for kind in KINDS:
            y = ops.discretisation(x, kind)
            assert torch.autograd.grad(y, x, torch.empty_like(y))[0].shape == shape


def test_more_inputs_than_a_cell_counts_are_refused():
    case, I = case_of("nmu"), 2**28 + 1
    x, weight = torch.ones(1).expand(1, 1, I), torch.ones(1).expand(1, 1, I)
    with pytest.raises(
        ValueError, match=r"nmu: x \(E,B,I\)=\(1, 1, 268435457\) has 268435457 inputs; needs at most 2\*\*28"
    ):
        case.function(x, weight)
