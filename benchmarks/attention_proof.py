"""Before a decoder is timed: states, contexts and gradients must agree with the plain loop in float64."""

from __future__ import annotations

import torch
from attention_cases import Arrays, AttentionCase
from sequence_proof import assert_equal_answers as assert_equal_answers


def reference(case: AttentionCase) -> Arrays:
    """Return what answers are compared with: stock torch in float64."""
    if case.fed:
        from rivals.attention_loops import CellLoop

        return CellLoop(case, torch.float64).prove(1)
    from rivals.attention_after import LayerThenAttention

    return LayerThenAttention(case, ours=False, dtype=torch.float64).prove(1)
