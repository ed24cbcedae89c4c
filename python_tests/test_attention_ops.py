"""The attention kernels against the reference, on sizes drawn at random."""

from __future__ import annotations

import pytest
import torch
from attention_cases import Case, drawn
from torch import Tensor

from mathkernels import backends, ops, reference
from mathkernels.testing import assert_no_worse_than, poisoned_memory, results


def gradients(function, leaves: list[Tensor], seed: int = 0) -> list[Tensor]:
    """Results, and the gradients of all leaves under fixed random gradients of the results."""
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    found = function(*leaves)
    generator = torch.Generator().manual_seed(seed)
    arriving = [torch.rand(f.shape, dtype=torch.float64, generator=generator).to(f.dtype) - 0.5 for f in found]
    made = torch.autograd.grad(found, leaves, arriving, allow_unused=True)
    return [
        *(f.detach() for f in found),
        *(torch.zeros_like(leaf) if g is None else g for g, leaf in zip(made, leaves, strict=True)),
    ]


@pytest.mark.parametrize("seed", range(60))
def test_results_and_gradients_are_those_of_the_reference(seed):
    case = drawn(seed)
    with poisoned_memory():
        found = gradients(case.function, case.leaves())
    wanted = gradients(case.meaning, case.leaves())
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
