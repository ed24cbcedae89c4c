"""From the last states of an encoder to the first ones of a decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mathkernels.nn._layer import check_choice
from mathkernels.nn._linear import linear
from mathkernels.nn._parameters import Parameters, models_first
from mathkernels.nn._tensors import LOW

KINDS = ("none", "pass", "linear", "tanh")


class Bridge(Parameters):
    """The last layer's states of an encoder, its directions side by side, as states of a decoder.

    "none" leaves a decoder to start from 0, "pass" hands states over as they are, "linear" multiplies each by
    a matrix and adds a bias, and "tanh" (Bahdanau et al. 2015) takes tanh of that. A state that the encoder
    has not (the cells of a GRU encoder before an LSTM decoder) is made from its h.

    Shapes: states ``(L * D, B, He)`` -> ``(layers, B, Hd)``, or ``(B, Hd)`` with layers None.
    Parameters: ``weight_0`` (layers * Hd, D * He) and ``bias_0`` of h, ``weight_1`` and ``bias_1`` of c:
    U(-1/sqrt(D * He), 1/sqrt(D * He)).
    """

    def __init__(
        self,
        kind: str,
        encoder: tuple[int, int, int],
        decoder: tuple[int, int, int | None],
        *,
        models: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """``encoder``: number of states, directions, size; ``decoder``: number of states, size, layers."""
        super().__init__(models, device, dtype)
        self.kind = check_choice("Seq2Seq", "bridge", kind, KINDS)
        _, self.directions, size = encoder
        self.count, self.size, self.layers = decoder
        self.inputs = self.directions * size
        fits = self.size == (self.inputs if self.layers is None else size) or self.kind != "pass"
        if not fits or (self.kind == "pass" and encoder[0] != self.count):
            raise ValueError(
                f"Seq2Seq: bridge is 'pass', but the encoder ends in {encoder[0]} states of"
                f" {self.directions} * {size} and the decoder begins with {self.count} of {self.size};"
                " needs 'linear', 'tanh' or 'none'"
            )
        there = self.kind in ("linear", "tanh")
        for i in range(self.count):
            self._register(f"weight_{i}", (self.layers or 1) * self.size, self.inputs, there=there)
            self._register(f"bias_{i}", (self.layers or 1) * self.size, there=there)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self._draw(self.inputs**-0.5, *self._right)

    def forward(self, states: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
        """The decoder's states, or None for 0."""
        if self.kind == "none":
            return None
        if self.kind == "pass" and self.layers is not None:
            return tuple(states)
        lead, found = self.lead, []
        for i in range(self.count):
            state = models_first(states[min(i, len(states) - 1)], self.models)
            last = state[:, -self.directions :].transpose(1, 2)  # (E,B,D,He)
            rows = last.reshape(*last.shape[:2], self.inputs)
            if self.kind != "pass":
                stored = rows.dtype
                weight, bias = (
                    t.float() if t.dtype in LOW else t for t in self._tensors(f"weight_{i}", f"bias_{i}")
                )
                rows = linear(rows.to(weight.dtype), weight, bias).to(stored)
                rows = rows.tanh() if self.kind == "tanh" else rows
            if self.layers is not None:
                rows = rows.unflatten(-1, (self.layers, self.size)).transpose(1, 2)
            found.append(rows if lead else rows[0])
        return tuple(found)

    def extra_repr(self) -> str:
        return f"{self.kind!r}, {self.inputs}, {self.size}"
