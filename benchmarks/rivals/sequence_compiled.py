"""A loop over a cell written out and compiled by torch.compile; all models in one call.

Inputs are multiplied for the whole sequence before the loop, so that a step is one product, h W', and one
fused kernel. Compiling the whole loop instead would unroll it, which takes minutes for a hundred steps.
"""

from __future__ import annotations

import torch
import torch._dynamo.config
from sequence_cases import SequenceCase
from torch import Tensor

from rivals.sequence_layer import SequenceLayer

# One graph for each size and each pass; past its limit dynamo would run the cell uncompiled and only warn.
torch._dynamo.config.recompile_limit = 256
torch._dynamo.config.accumulated_recompile_limit = 1024
torch._dynamo.config.fail_on_recompile_limit_hit = True


def lstm_cell(projected: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = (projected + (h @ weight.mT + bias)).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_cell(projected: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    x_r, x_z, x_n = projected.chunk(3, dim=-1)
    h_r, h_z, h_n = (h @ weight.mT + bias).chunk(3, dim=-1)
    z = (x_z + h_z).sigmoid()
    n = (x_n + (x_r + h_r).sigmoid() * h_n).tanh()
    return n + z * (h - n), c


class CompiledLoop(SequenceLayer):
    """Tensors have no model axis where there is one model, so that products are mm and not bmm."""

    def __init__(self, case: SequenceCase) -> None:
        super().__init__(case)
        self.cell = torch.compile({"lstm": lstm_cell, "gru": gru_cell}[case.kind], dynamic=False)
        self.alone = case.models == 1
        self.x = self._tensor(case.dense)
        for name, values in case.weights.items():
            for direction in range(case.directions):
                self.leaves[name].append(self._tensor(values[:, direction].copy()).requires_grad_())
        if case.input_gradient:
            self.leaves["x"] = [self.x.requires_grad_()]

    def _tensor(self, values: object) -> Tensor:
        tensor = torch.as_tensor(values)
        return tensor.squeeze(0) if self.alone else tensor

    def _states(self, direction: int) -> Tensor:
        """Return the states (E,T,B,H) of one direction."""
        leaves = self.leaves
        weight, bias, input_bias = (leaves[name][direction] for name in ("weight_hh", "bias_hh", "bias_ih"))
        if not self.alone:
            bias, input_bias = bias[:, None], input_bias[:, None]
        rows = self.x.flatten(-3, -2) @ leaves["weight_ih"][direction].mT + input_bias
        steps = rows.unflatten(-2, (self.case.steps, self.case.batch)).unbind(-3)
        h = c = rows.new_zeros((*steps[0].shape[:-1], self.case.hidden))
        found = []
        for projected in reversed(steps) if direction else steps:
            h, c = self.cell(projected, h, c, weight, bias)
            found.append(h)
        return torch.stack(found[::-1] if direction else found, dim=-3)

    def run(self) -> list[Tensor]:
        return [torch.cat([self._states(d) for d in range(self.case.directions)], dim=-1)]
