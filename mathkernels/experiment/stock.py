"""Layers of torch under the names of ours, so that a trainer can be compared with itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call


class StockLSTM(nn.Module):
    """E ``torch.nn.LSTM`` one after another, with the parameters and the call of ours with ``models=E``.

    Each model runs the stock layer's own code on its weights, taken out of the stacked ones.

    Args:
        inputs: I.
        cells: H.
        models: E.
    """

    def __init__(self, inputs: int, cells: int, models: int) -> None:
        super().__init__()
        self.one = [
            nn.LSTM(inputs, cells, device="meta")
        ]  # in a list, so that it is no child with parameters
        for name, value in self.one[0].named_parameters():
            self.register_parameter(name, nn.Parameter(torch.zeros(models, *value.shape)))

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(E,T,B,I) -> y (E,T,B,H) and the last states (E,1,B,H)."""
        results = [
            functional_call(self.one[0], {name: value[e] for name, value in self.named_parameters()}, (one,))
            for e, one in enumerate(x)
        ]
        y, states = zip(*results, strict=True)
        h, c = zip(*states, strict=True)
        return torch.stack(y), (torch.stack(h), torch.stack(c))
