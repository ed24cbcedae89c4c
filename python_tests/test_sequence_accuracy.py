"""The accuracy rule of both sequence ops where it is hard: long sequences, large weights, saturated gates."""

import random

import pytest
import torch
from sequence_op_cases import CASES, KINDS

from mathkernels.testing import assert_no_worse_than

every_kind = pytest.mark.parametrize("case", KINDS, ids=lambda case: case.id)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


def only(function):
    """y alone: its gradients sum over all steps."""
    return lambda *leaves: function(*leaves)[0]


def drawn(case, shape, scale=1.0, bias=0.0):
    """Leaves whose weights are `scale` times as large, and gates whose sums start at `bias`, up or down."""
    leaves = case.leaves(shape, torch.float32)
    first = 0 if case.symbols else 1
    for weight in leaves[first : first + 2]:
        weight *= scale
    if case.biases:
        leaves[first + 2] += bias * torch.sign(torch.randn_like(leaves[first + 2]))
    return leaves


# E, T, B, I, H, D: few rows, panels of 16 and of 32
LONG = [(1, 1000, 2, 3, 5, 1), (1, 1000, 20, 3, 5, 1), (1, 700, 40, 2, 4, 2), (1, 3000, 1, 2, 3, 1)]


@every_kind
@pytest.mark.parametrize("shape", LONG, ids=str)
@pytest.mark.parametrize(("scale", "bias"), [(1, 0), (0.1, 0), (1, 3), (1, 12), (0.1, 40)])
def test_gradients_of_long_sequences_err_at_most_as_the_rule_says(case, shape, scale, bias):
    torch.manual_seed(random.Random(f"{case.id} {shape} {scale} {bias}").randrange(1 << 30))
    ours, theirs = only(case.function(shape)), only(case.reference(shape))
    assert_no_worse_than(ours, theirs, drawn(case, shape, scale, bias), floor_ulp=4)
