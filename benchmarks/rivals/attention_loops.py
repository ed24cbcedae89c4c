"""Loops over the steps of a decoder in stock torch: LSTMCell and bmm, one product a step, sdpa; and compiled.

Keys and values are cut into heads once, before the loop.
"""

from __future__ import annotations

import torch
import torch._dynamo.config
import torch.nn.functional as F
from attention_cases import AttentionCase
from torch import Tensor

from rivals.attention_layer import AttentionLayer, Leaves

# One graph for each size and each pass; past its limit dynamo would run the step uncompiled and only warn.
torch._dynamo.config.recompile_limit = 256
torch._dynamo.config.accumulated_recompile_limit = 2048
torch._dynamo.config.fail_on_recompile_limit_hit = True


def by_heads(m: Tensor, case: AttentionCase) -> Tensor:
    """Return keys or values (B,S,H) as (B heads,S,H/heads), contiguous."""
    if case.heads == 1:
        return m
    return m.unflatten(2, (case.heads, -1)).transpose(1, 2).flatten(0, 1)


class CellLoop(AttentionLayer):
    """A loop over what nn.LSTMCell calls, and two bmm: the decoder as it is usually written.

    A query multiplies as a row, which bmm computes four to nine times as fast as a column.
    """

    def outputs(self, leaves: Leaves) -> tuple[Tensor, Tensor]:
        keys, values = self.prepared(leaves["keys"]), self.prepared(leaves["values"])
        weights = [leaves[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        h, c = leaves["h0"], leaves["c0"]
        context, states, contexts = torch.zeros_like(h), [], []
        for x in leaves["x"].unbind():
            h, c = torch.lstm_cell(torch.cat((x, context), dim=1), (h, c), *weights)
            context = self.attend(h, keys, values)
            states.append(h)
            contexts.append(context)
        return torch.stack(states), torch.stack(contexts)

    def prepared(self, m: Tensor) -> Tensor:
        return by_heads(m, self.case)

    def attend(self, h: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        q = h.reshape(-1, 1, self.case.depth) * self.case.scale
        return torch.bmm(torch.softmax(torch.bmm(q, keys.mT), dim=-1), values).view(h.shape)


class ProductLoop(CellLoop):
    """Inputs are multiplied for all steps before the loop; [context, h] W is one product a step."""

    def outputs(self, leaves: Leaves) -> tuple[Tensor, Tensor]:
        keys, values = self.prepared(leaves["keys"]), self.prepared(leaves["values"])
        w_x, w_context = leaves["weight_ih"].tensor_split([self.case.inputs], dim=1)
        rows = F.linear(leaves["x"], w_x, leaves["bias_ih"] + leaves["bias_hh"])
        recurrent = torch.cat((w_context, leaves["weight_hh"]), dim=1).t().contiguous()
        h, c = leaves["h0"], leaves["c0"]
        context, states, contexts = torch.zeros_like(h), [], []
        for row in rows.unbind():
            h, c, context = self.decode(row, h, c, context, keys, values, recurrent)
            states.append(h)
            contexts.append(context)
        return torch.stack(states), torch.stack(contexts)

    def decode(
        self,
        row: Tensor,
        h: Tensor,
        c: Tensor,
        context: Tensor,
        keys: Tensor,
        values: Tensor,
        recurrent: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        i, f, g, o = torch.addmm(row, torch.cat((context, h), dim=1), recurrent).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, c, self.attend(h, keys, values)


class SdpaLoop(CellLoop):
    """The loop over the cell with scaled_dot_product_attention."""

    def prepared(self, m: Tensor) -> Tensor:
        return m.unflatten(2, (self.case.heads, -1)).transpose(1, 2).contiguous()

    def attend(self, h: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        q = h.unflatten(1, (self.case.heads, 1, -1))
        return F.scaled_dot_product_attention(q, keys, values).reshape(h.shape)


class CompiledStep(ProductLoop):
    """One step compiled, in a Python loop."""

    def __init__(self, case: AttentionCase) -> None:
        super().__init__(case)
        self.decode = torch.compile(super().decode, dynamic=False)


class CompiledStepSdpa(CompiledStep, SdpaLoop):
    """The same with scaled_dot_product_attention."""


class CompiledWhole(ProductLoop):
    """The whole loop compiled: dynamo unrolls it, which takes a minute for 30 steps."""

    def __init__(self, case: AttentionCase) -> None:
        super().__init__(case)
        self.outputs = torch.compile(super().outputs, dynamic=False)
