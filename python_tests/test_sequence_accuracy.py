"""The accuracy of both sequence ops where it is hard: long sequences, large weights, saturated gates."""

import math
import random

import pytest
import sequence_kernel_cases as kernel_cases
import torch
from sequence_op_cases import KINDS

from mathkernels.testing import assert_no_worse_than

every_kind = pytest.mark.parametrize("case", KINDS, ids=lambda case: case.id)
PANELS = {16: range(9, 33), 32: range(33, 1000)}  # rows of a panel by rows of a batch


def only(function):
    """y alone: its gradients sum over all steps."""
    return lambda *leaves: function(*leaves)[0]


def drawn(case, shape, scale=1.0, bias=0.0):
    """Leaves whose weights are `scale` times as large, and gates whose sums start at `bias`, up or down."""
    leaves = case.leaves(shape, torch.float32)
    for weight in leaves[1:3]:
        weight *= scale
    leaves[3] += bias * torch.sign(torch.randn_like(leaves[3]))
    return leaves


# E, T, B, I, H, D: few rows, panels of 16 and of 32
LONG = [(1, 300, 2, 3, 5, 1), (1, 200, 20, 3, 5, 1), (1, 120, 40, 2, 4, 2)]


@every_kind
@pytest.mark.parametrize("shape", LONG, ids=str)
@pytest.mark.parametrize(
    ("scale", "bias", "passed_on"),
    [
        (1, 0, 0),
        (0.3, 0, 0),
        # The gate functions err by some ULP where torch's are rounded to the nearest. Such weights multiply
        # that from step to step; a gate near 1 carries it along, and is subtracted from 1 in backward.
        (10, 0, 2),
        (1, 3, 2),
        (1, 5, 2),
    ],
)
def test_gradients_of_long_sequences_err_at_most_as_the_rule_says(case, shape, scale, bias, passed_on):
    torch.manual_seed(random.Random(f"{case.id} {shape} {scale} {bias}").randrange(1 << 30))
    ours, theirs = only(case.function(shape)), only(case.reference(shape))
    floor = 4 + passed_on * shape[1]
    assert_no_worse_than(ours, theirs, drawn(case, shape, scale, bias), floor_ulp=floor)


def gates_that_pass(kind: str, T: int, B: int, H: int) -> torch.Tensor:
    """Saved gates with which the new gate's sum gets exactly what arrives at h, in the kernel's order."""
    kept = torch.tensor([1.0, 0.0, 0.0, 1.0] if kind == "lstm" else [0.0] * 4)
    if B <= 8:
        return kept.view(4, 1).expand(T, B, 4, H).reshape(-1)
    rows = next(size for size, batches in PANELS.items() if B in batches)
    parts = [min(rows, B - first) for first in range(0, B, rows)]
    return torch.cat([kept.view(4, 1).expand(T, H, 4, used).reshape(-1) for used in parts])


@pytest.mark.parametrize("kind", kernel_cases.GATES)
@pytest.mark.parametrize("rows", [1, 7, 8, 13, 20, 32, 70, 300])
@pytest.mark.parametrize("total", [1_000, 100_000])
def test_the_error_of_bias_gradients_does_not_grow_with_the_number_of_terms(kind, rows, total, isa):
    """What arrives is what is summed: the exact sum is known."""
    T, H = max(total // rows, 3), 3
    case = kernel_cases.Case(kind, (1, 1, T, rows, 1, H), torch.float32, states=False)
    for name in ("x", "weight_ih", "weight_hh"):
        case.inputs[name].zero_()
    states = torch.zeros(1, T, rows, H)
    saved = {"y": states, "gates": gates_that_pass(kind, T, rows, H)} | (
        {"cells": states.clone()} if kind == "lstm" else {}
    )
    dy = torch.tensor([0.1, 0.3, 0.7]).expand(1, T, rows, H).contiguous()  # so that roundings do not cancel
    found = kernel_cases.backward(case, saved, {"y": dy}, ("bias_ih", "bias_hh"))
    new_gate = found["bias_ih"][0, 0, 2 * H : 3 * H]
    for unit in range(H):
        exact = math.fsum(dy[0, :, :, unit].flatten().tolist())
        # 8 rows of a column in a product, 4 levels of the tree and up to 15 groups are rounded
        limit = 8 * torch.finfo(torch.float32).eps * exact
        assert abs(new_gate[unit].item() - exact) <= limit, (
            f"unit {unit}: {new_gate[unit].item()} for {exact}"
        )
