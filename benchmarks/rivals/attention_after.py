"""Attention after the recurrence, without input feeding: a whole LSTM, then one attention for all steps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from attention_cases import AttentionCase
from torch import Tensor, nn

from mathkernels import nn as fused
from mathkernels import ops
from rivals.attention_layer import AttentionLayer, Leaves

PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class LayerThenAttention(AttentionLayer):
    """A layer and scaled_dot_product_attention.

    Args:
        ours: whether the layer is mathkernels.nn.LSTM; else it is torch.nn's.
        op: whether ops.attention_step attends.
    """

    def __init__(
        self, case: AttentionCase, *, ours: bool, op: bool = False, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__(case, dtype)
        self.op = op
        self.layers = []
        for leaves in self.calls:
            layer = (fused if ours else nn).LSTM(case.inputs, case.hidden)
            for name in PARAMETERS:
                getattr(layer, f"{name}_l0").data = leaves[name].detach()
                leaves[name] = getattr(layer, f"{name}_l0")
            self.layers.append(layer)

    def outputs(self, leaves: Leaves) -> tuple[Tensor, Tensor]:
        layer = next(each for each in self.layers if each.weight_ih_l0 is leaves["weight_ih"])
        y = layer(leaves["x"], (leaves["h0"][None], leaves["c0"][None]))[0]
        return y, (self.by_op if self.op else self.by_sdpa)(y, leaves)

    def by_op(self, y: Tensor, leaves: Leaves) -> Tensor:
        case = self.case
        query, keys, values = y.transpose(0, 1)[None], leaves["keys"][None], leaves["values"][None]
        context = ops.attention_step(query, keys, values, heads=case.heads, scale=case.scale)
        return context[0].transpose(0, 1)

    def by_sdpa(self, y: Tensor, leaves: Leaves) -> Tensor:
        heads = self.case.heads
        query = y.unflatten(2, (heads, -1)).permute(1, 2, 0, 3)
        keys, values = (leaves[m].unflatten(2, (heads, -1)).transpose(1, 2) for m in ("keys", "values"))
        return F.scaled_dot_product_attention(query, keys, values).permute(2, 0, 1, 3).flatten(2)
