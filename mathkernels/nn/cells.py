"""One step of LSTM or GRU as torch.nn has them, over the compiled sequence kernels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mathkernels.nn._layer import check_choice
from mathkernels.nn._sequence import check_size, rounds_to_bfloat16
from mathkernels.nn._sequence_shapes import check_input, check_state, split_states
from mathkernels.ops import gru, lstm


class _Cell(nn.Module):
    """A cell of torch.nn's constructor, parameters and initial values, alone or as E independent ones."""

    gates: int
    states: tuple[str, ...]
    weight_ih: nn.Parameter
    weight_hh: nn.Parameter
    bias_ih: nn.Parameter | None
    bias_hh: nn.Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        models: int | None = None,
        bfloat16: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = check_size(name, "input_size", input_size)
        self.hidden_size = check_size(name, "hidden_size", hidden_size)
        self.models = None if models is None else check_size(name, "models", models)
        for option, value in {"bias": bias, "bfloat16": bfloat16}.items():
            check_choice(name, option, value, (True, False))
        self.bias, self.in_bfloat16 = bool(bias), bool(bfloat16)
        rows = self.gates * hidden_size
        shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size)}
        for parameter, shape in {**shapes, "bias_ih": (rows,), "bias_hh": (rows,)}.items():
            lead = () if models is None else (models,)
            there = bias or parameter in shapes
            empty = torch.empty(*lead, *shape, device=device, dtype=dtype) if there else None
            self.register_parameter(parameter, nn.Parameter(empty) if empty is not None else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew: U(-1/sqrt(H), 1/sqrt(H)), with torch.nn's numbers for the same seed."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def _step(self, x: Tensor, hx: Any) -> list[Tensor]:
        """The states after one step, in the shapes of what came in."""
        name, models = type(self).__name__, self.models
        symbols, batched = check_input(name, x, ("B",), self.input_size, models)
        bfloat16 = rounds_to_bfloat16(self.in_bfloat16, self.weight_ih)
        lead = () if models is None else (models,)
        rows = (x.shape[len(lead)],) if batched else ()
        given = split_states(name, hx, self.states)
        right = (*lead, *rows, self.hidden_size)
        states = [
            None if state is None else check_state(name, label, state, right)
            for label, state in zip(self.states, given, strict=True)
        ]
        x = x.long() if symbols else x
        if bfloat16:  # an autocast layer before this one may have given them
            x = x.float() if x.is_floating_point() else x
            states = [None if state is None else state.float() for state in states]
        E, B = models or 1, rows[0] if rows else 1
        x = x.reshape(E, 1, B) if symbols else x.reshape(E, 1, B, self.input_size)
        stored = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        weights = [None if w is None else w.reshape(E, 1, *w.shape[len(lead) :]) for w in stored]
        first = [None if state is None else state.reshape(E, 1, B, self.hidden_size) for state in states]
        _, *last = self._run(x, weights, first, bfloat16)
        return [state.reshape(right) for state in last]

    def _run(self, x: Tensor, weights: list, states: list, bfloat16: bool) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def extra_repr(self) -> str:
        defaults = {"bias": True, "models": None, "in_bfloat16": False}
        given = [
            f"{name.removeprefix('in_')}={getattr(self, name)}"
            for name, usual in defaults.items()
            if getattr(self, name) != usual
        ]
        return ", ".join([str(self.input_size), str(self.hidden_size), *given])


class LSTMCell(_Cell):
    """`torch.nn.LSTMCell` over compiled kernels: one step (h, c) -> (h', c').

    Shapes: x ``(B, I)`` or ``(I,)``, h and c ``(B, H)`` or ``(H,)``; whole numbers x, ``(B,)`` or ``()``, are
    symbols in the place of one-hot rows. With ``models=E`` every tensor and parameter has a leading E.
    Parameters: ``weight_ih`` (4H, I), ``weight_hh`` (4H, H), ``bias_ih``, ``bias_hh`` (4H), gates in the
    order i, f, g, o, all U(-1/sqrt(H), 1/sqrt(H)). State dicts of torch.nn.LSTMCell load and the other way
    round.
    Source: Hochreiter & Schmidhuber 1997, *Long Short-Term Memory*; Gers et al. 2000, *Learning to Forget*.

    Args:
        models: E independent models in one call.
        bfloat16: as in `LSTM`.

    Raises:
        ValueError: an argument is out of its range, or a tensor of a call has not the right shape.
        TypeError: a tensor of a call has not the right type.
    """

    gates, states = 4, ("h0", "c0")

    def _run(self, x: Tensor, weights: list, states: list, bfloat16: bool) -> tuple[Tensor, ...]:
        return lstm(x, *weights, *states, bfloat16=bfloat16)

    def forward(self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """h' and c' after x, from the states hx = (h, c), 0 by default."""
        h, c = self._step(x, hx)
        return h, c


class GRUCell(_Cell):
    """`torch.nn.GRUCell` over compiled kernels: one step h -> h'.

    Shapes: x ``(B, I)`` or ``(I,)``, h ``(B, H)`` or ``(H,)``; whole numbers x, ``(B,)`` or ``()``, are
    symbols in the place of one-hot rows. With ``models=E`` every tensor and parameter has a leading E.
    Parameters: ``weight_ih`` (3H, I), ``weight_hh`` (3H, H), ``bias_ih``, ``bias_hh`` (3H), gates in the
    order r, z, n, all U(-1/sqrt(H), 1/sqrt(H)). State dicts of torch.nn.GRUCell load and the other way round.
    Source: Cho et al. 2014, *Learning Phrase Representations using RNN Encoder-Decoder*.

    Args:
        models: E independent models in one call.
        bfloat16: as in `GRU`.

    Raises:
        ValueError: an argument is out of its range, or a tensor of a call has not the right shape.
        TypeError: a tensor of a call has not the right type.
    """

    gates, states = 3, ("h0",)

    def _run(self, x: Tensor, weights: list, states: list, bfloat16: bool) -> tuple[Tensor, ...]:
        return gru(x, *weights, *states, bfloat16=bfloat16)

    def forward(self, x: Tensor, hx: Tensor | None = None) -> Tensor:
        """h' after x, from the state hx = h, 0 by default."""
        return self._step(x, hx)[0]
