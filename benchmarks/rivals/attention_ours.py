"""mathkernels.ops.lstm_attention: the whole decoder in one call, all models at once."""

from __future__ import annotations

from attention_cases import AttentionCase
from torch import Tensor

from mathkernels import ops
from rivals.attention_layer import AttentionLayer, Leaves


class FusedDecoder(AttentionLayer):
    together = True

    def __init__(self, case: AttentionCase, *, bfloat16: bool = False) -> None:
        super().__init__(case)
        self.bfloat16 = bfloat16

    def outputs(self, leaves: Leaves) -> tuple[Tensor, Tensor]:
        names = ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "keys", "values")
        found = ops.lstm_attention(
            *(leaves[name] for name in names),
            h0=leaves["h0"],
            c0=leaves["c0"],
            heads=self.case.heads,
            scale=self.case.scale,
            feed="context",
            bfloat16=self.bfloat16,
        )
        return found.y, found.context
