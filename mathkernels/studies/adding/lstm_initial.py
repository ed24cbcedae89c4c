"""What the weights of an LSTM with one output start from, drawn for one model from one seed."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor


def initial(
    inputs: int,
    cells: int,
    seed: int,
    *,
    forget_bias: float = 1.0,
    chrono: int | None = None,
    gates: Collection[str] = ("input", "forget"),
) -> dict[str, Tensor]:
    """Return parameters by their names in a module of an ``nn.LSTM`` lstm and an ``nn.Linear`` output.

    As Keras draws them: input weights Glorot-uniform over the joint matrix of the four gates, orthogonal
    recurrent weights (all gates together), biases 0 but for the forget gate. Keras has one bias where torch
    has two, so bias_hh is 0 and should stay so.

    Args:
        inputs: I.
        cells: H.
        seed: of all draws.
        forget_bias: of every cell.
        chrono: the longest time T that cells should remember, instead of `forget_bias`: forget biases are
            log u with u drawn from U[1, T-1], input biases their negatives (Tallec & Ollivier 2018,
            equation 16), so that cells begin with memories of all lengths up to T.
        gates: which of them get the biases of `chrono`; others keep `forget_bias` and 0.

    Returns:
        lstm.weight_ih_l0 (4H,I), lstm.weight_hh_l0 (4H,H), lstm.bias_ih_l0 (4H), lstm.bias_hh_l0 (4H),
        output.weight (1,H), output.bias (1); gates in torch's order i, f, g, o.
    """
    source = torch.Generator().manual_seed(seed)
    weight_ih = _glorot((4 * cells, inputs), source)
    weight_hh = torch.nn.init.orthogonal_(torch.empty(4 * cells, cells), generator=source)
    bias = torch.zeros(4 * cells)
    bias[cells : 2 * cells] = forget_bias
    weight = _glorot((1, cells), source)
    if chrono is not None:
        memory = torch.empty(cells).uniform_(1, max(chrono - 1, 1), generator=source).log()
        if "forget" in gates:
            bias[cells : 2 * cells] = memory
        if "input" in gates:
            bias[:cells] = -memory
    return {
        "lstm.weight_ih_l0": weight_ih,
        "lstm.weight_hh_l0": weight_hh,
        "lstm.bias_ih_l0": bias,
        "lstm.bias_hh_l0": torch.zeros(4 * cells),
        "output.weight": weight,
        "output.bias": torch.zeros(1),
    }


def _glorot(shape: tuple[int, int], source: torch.Generator) -> Tensor:
    limit = math.sqrt(6 / sum(shape))
    return torch.empty(shape).uniform_(-limit, limit, generator=source)
