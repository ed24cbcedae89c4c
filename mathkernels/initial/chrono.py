"""Biases of an LSTM that make it remember from the beginning (Tallec & Ollivier 2018, equation 16)."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor


def set_biases_(
    bias: Tensor, longest: int, source: torch.Generator, gates: Collection[str] = ("input", "forget")
) -> Tensor:
    """Let cells begin with memories of all lengths up to T.

    Forget biases become log u with u drawn from U[1, T-1], input biases their negatives.

    Args:
        bias: (4H), gates in torch's order i, f, g, o; changed in place and returned.
        longest: T, the steps that cells should remember.
        source: draws.
        gates: which of "input" and "forget" are set.
    """
    cells = len(bias) // 4
    memory = torch.empty(cells).uniform_(1, max(longest - 1, 1), generator=source).log()
    if "forget" in gates:
        bias[cells : 2 * cells] = memory
    if "input" in gates:
        bias[:cells] = -memory
    return bias
