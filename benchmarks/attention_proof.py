"""Before a decoder is timed: states, contexts and gradients must agree with the plain loop in float64."""

from __future__ import annotations

import torch
from attention_cases import Arrays, AttentionCase


def reference(case: AttentionCase) -> Arrays:
    """Return what sequence_proof.assert_equal_answers compares with: stock torch in float64."""
    if case.fed:
        from rivals.attention_loops import CellLoop

        return CellLoop(case, torch.float64).prove(1)
    from rivals.attention_after import LayerThenAttention

    return LayerThenAttention(case, ours=False, dtype=torch.float64).prove(1)
