"""LSTMs along token ids through a table of embeddings, linear layers, with our kernels or torch's; attention.

Under torch.autocast our kernels round the factors of products to bfloat16, and sums and states stay float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mathkernels import nn as mk
from mathkernels import ops
from mathkernels.nn._linear import linear

States = tuple[Tensor, Tensor]  # h and c, (D,B,H) each


class Dense(nn.Linear):
    """A linear layer by this library's product, or, ``stock``, torch's."""

    def __init__(self, inputs: int, outputs: int, stock: bool) -> None:
        super().__init__(inputs, outputs)
        self.stock = stock

    def forward(self, input: Tensor) -> Tensor:
        if self.stock:
            return super().forward(input)
        rows = input.to(self.weight.dtype).reshape(1, -1, self.in_features)
        bfloat16 = rounds(input)
        with torch.autocast(input.device.type, enabled=False):
            found = linear(rows, self.weight[None], self.bias[None], bfloat16)
        return found.reshape(*input.shape[:-1], self.out_features)


def rounds(tensor: Tensor) -> bool:
    """Whether torch.autocast is in force where the tensor is."""
    return torch.is_autocast_enabled(tensor.device.type)


class TokenLSTM(nn.Module):
    """One layer of LSTM that reads token ids.

    With this library's kernels the embeddings are multiplied by the input weights first, all V of them, and
    the kernel picks columns of the product: the same function as an embedding of every step, without (T,B,I)
    numbers.

    Args:
        inputs: I, features of a token.
        hidden: H.
        stock: whether torch.nn.LSTM runs.
        bidirectional: D = 2 directions.
    """

    def __init__(self, inputs: int, hidden: int, stock: bool, bidirectional: bool = False) -> None:
        super().__init__()
        self.stock, self.directions, self.hidden = stock, 2 if bidirectional else 1, hidden
        self.lstm = (nn.LSTM if stock else mk.LSTM)(inputs, hidden, bidirectional=bidirectional)
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("bias_hh"):  # Keras has one bias, torch two: the second stays 0
                parameter.requires_grad_(False)

    def forward(
        self, ids: Tensor, table: Tensor | None, states: States | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """Run along the ids.

        Args:
            ids: (T,B), int64, rows of the table.
            table: (V,I); None: one-hot vectors of I features, and zeros for the id I.
            states: before the first step; None: 0.
            lengths: valid steps of each row (B), int64; behind them y is 0; None: T.

        Returns:
            y (T,B,DH) and the states after the last valid step.
        """
        return (
            self._stock(ids, table, states, lengths)
            if self.stock
            else self._fused(ids, table, states, lengths)
        )

    def _fused(
        self, ids: Tensor, table: Tensor | None, states: States | None, lengths: Tensor | None
    ) -> tuple[Tensor, States]:
        bfloat16 = rounds(ids)
        with torch.autocast(ids.device.type, enabled=False):
            return self._call(ids, table, states, lengths, bfloat16)

    def _call(
        self,
        ids: Tensor,
        table: Tensor | None,
        states: States | None,
        lengths: Tensor | None,
        bfloat16: bool,
    ) -> tuple[Tensor, States]:
        suffixes = ("_l0", "_l0_reverse")[: self.directions]
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        own = {kind: torch.stack([getattr(self.lstm, kind + one) for one in suffixes]) for kind in kinds}
        columns = functional.pad(own["weight_ih"], (0, 1)) if table is None else own["weight_ih"] @ table.T
        weights = [one[None] for one in (columns, *(own[kind] for kind in kinds[1:]))]
        h0, c0 = (None, None) if states is None else (states[0][None], states[1][None])
        ended = None if lengths is None else lengths[None]
        given: list[Any] = [ids[None], *weights, h0, c0, ended]
        y, hn, cn = ops.lstm(*given, bfloat16=bfloat16)
        return y[0], (hn[0], cn[0])

    def _stock(
        self, ids: Tensor, table: Tensor | None, states: States | None, lengths: Tensor | None
    ) -> tuple[Tensor, States]:
        if table is None:
            features = self.lstm.input_size
            weight: Any = self.lstm.weight_ih_l0
            table = torch.eye(features + 1, features, device=ids.device, dtype=weight.dtype)
        x = functional.embedding(ids, table)
        if lengths is None:
            return self.lstm(x, states)
        packed = pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False)
        y, ends = self.lstm(packed, states)
        return pad_packed_sequence(y, total_length=len(ids))[0], ends


def attend(
    query: Tensor, keys: Tensor, mask: Tensor | None, weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Attend with every query to the keys, which are the values too (Luong, Pham & Manning 2015, "dot").

    Args:
        query: (T,B,H).
        keys: (S,B,H).
        mask: (B,S), bool, True where a key may be attended to, in each row somewhere; None: everywhere.
        weights: return them as well.

    Returns:
        Contexts (T,B,H), and weights (T,B,S) or None.
    """
    q, k = query.transpose(0, 1), keys.transpose(0, 1)
    if not weights:
        allowed = None if mask is None else mask[:, None, None]
        context = functional.scaled_dot_product_attention(
            q[:, None], k[:, None], k[:, None], allowed, scale=1.0
        )
        return context[:, 0].transpose(0, 1), None
    scores = q @ k.transpose(1, 2)
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], float("-inf"))
    alpha = scores.softmax(-1)
    return (alpha @ k).transpose(0, 1), alpha.transpose(0, 1)
