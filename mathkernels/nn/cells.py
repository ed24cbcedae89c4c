"""One step of LSTM or GRU as torch.nn has them, over the compiled sequence kernels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mathkernels.nn._layer import check_choice, check_models, check_size
from mathkernels.nn._sequence import widening
from mathkernels.nn._sequence_shapes import check_input, check_state, check_token_ids, split_states
from mathkernels.nn._tensors import check_parameter, one_of, own, widen
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
        token_ids: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = check_size(name, "input_size", input_size)
        self.hidden_size = check_size(name, "hidden_size", hidden_size)
        self.models = check_models(name, models)
        self.bias = check_choice(name, "bias", bias, (True, False))
        self.in_bfloat16 = check_choice(name, "bfloat16", bfloat16, (True, False))
        self.token_ids = check_choice(name, "token_ids", token_ids, (True, False))
        for parameter, shape in self._shapes().items():
            empty = torch.empty(shape, device=device, dtype=dtype)
            self.register_parameter(parameter, nn.Parameter(empty))
        for parameter in () if self.bias else ("bias_ih", "bias_hh"):
            self.register_parameter(parameter, None)
        self.reset_parameters()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("token_ids", False)  # files of before it was there

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameter name -> shape, in torch's order."""
        rows, lead = self.gates * self.hidden_size, () if self.models is None else (self.models,)
        shapes = {"weight_ih": (*lead, rows, self.input_size), "weight_hh": (*lead, rows, self.hidden_size)}
        return {**shapes, "bias_ih": (*lead, rows), "bias_hh": (*lead, rows)} if self.bias else shapes

    def reset_parameters(self) -> None:
        """Draw all parameters anew: U(-1/sqrt(H), 1/sqrt(H)), with torch.nn's numbers for the same seed."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def _step(self, x: Any, hx: Any) -> list[Tensor]:
        """The states after one step, in the shapes of what came in."""
        name, models = type(self).__name__, self.models
        ids, batched = check_input(name, x, ("B",), self.input_size, models)
        if ids and batched and not self.token_ids and hx is None:
            check_token_ids(name, x, ("B",), self.input_size)
        lead = () if models is None else (models,)
        rows = (x.shape[len(lead)],) if batched else ()
        given = split_states(name, hx, self.states)
        right = (*lead, *rows, self.hidden_size)
        stored_weights = self._weights()
        stored, bfloat16, lenient = widening(self.in_bfloat16, stored_weights[0])
        states = [
            None
            if state is None
            else widen(name, label, check_state(name, label, state, right), stored, lenient)
            for label, state in zip(self.states, given, strict=True)
        ]
        x = x.long() if ids else widen(name, "x", x, stored, lenient)
        E, B = models or 1, rows[0] if rows else 1
        x = x.reshape(E, 1, B) if ids else x.reshape(E, 1, B, self.input_size)
        weights = [
            None
            if w is None
            else widen(name, "weight", w, stored, False).reshape(E, 1, *w.shape[len(lead) :])
            for w in stored_weights
        ]
        first = [None if state is None else state.reshape(E, 1, B, self.hidden_size) for state in states]
        _, *last = self._run(x, weights, first, bfloat16)
        return [own(state, right, None, stored, saved=False) for state in last]

    def _weights(self) -> list[Any]:
        """weight_ih, weight_hh, bias_ih and bias_hh, each of its shape and all of one dtype."""
        name, found = type(self).__name__, []
        for parameter, right in self._shapes().items():
            found.append(check_parameter(name, parameter, getattr(self, parameter), right))
            if found[-1].dtype != found[0].dtype:
                raise TypeError(
                    f"{name}: {parameter} is {found[-1].dtype}; needs {found[0].dtype} like the first weight"
                )
        return found if self.bias else [*found, None, None]

    def _run(self, x: Tensor, weights: list, states: list, bfloat16: bool) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def extra_repr(self) -> str:
        defaults = {"bias": True, "models": None, "in_bfloat16": False, "token_ids": False}
        given = [
            f"{name.removeprefix('in_')}={getattr(self, name)}"
            for name, usual in defaults.items()
            if getattr(self, name) != usual
        ]
        return ", ".join([str(self.input_size), str(self.hidden_size), *given])


class LSTMCell(_Cell):
    """`torch.nn.LSTMCell` over compiled kernels: one step (h, c) -> (h', c').

    Shapes: x ``(B, I)`` or ``(I,)``, h and c ``(B, H)`` or ``(H,)``; whole numbers x, ``(B,)`` or ``()``, are
    token ids in the place of one-hot rows. With ``models=E`` every tensor and parameter has a leading E.
    Parameters: ``weight_ih`` (4H, I), ``weight_hh`` (4H, H), ``bias_ih``, ``bias_hh`` (4H), gates in the
    order i, f, g, o, all U(-1/sqrt(H), 1/sqrt(H)). State dicts of torch.nn.LSTMCell load and the other way
    round.
    Source: Hochreiter & Schmidhuber 1997, *Long Short-Term Memory*; Gers et al. 2000, *Learning to Forget*.
    On a GPU: refused, unless ``backends.enable("torch")`` lets plain torch compute it.

    Args:
        models: E independent models in one call.
        bfloat16, token_ids: as in `LSTM`; x is ``(B,)`` there, and features ``(I,)``.

    Raises:
        ValueError, TypeError, RuntimeError: as in `LSTM`.
    """

    gates, states = 4, ("h0", "c0")

    def _run(self, x: Tensor, weights: list, states: list, bfloat16: bool) -> tuple[Tensor, ...]:
        return lstm(x, *weights, *states, bfloat16=bfloat16)

    def forward(
        self,
        x: Tensor | None = None,
        hx: tuple[Tensor, Tensor] | None = None,
        *,
        input: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """h' and c' after x (or ``input``, torch.nn's name), from the states hx = (h, c), 0 by default."""
        h, c = self._step(one_of("LSTMCell", x, input), hx)
        return h, c


class GRUCell(_Cell):
    """`torch.nn.GRUCell` over compiled kernels: one step h -> h'.

    Shapes: x ``(B, I)`` or ``(I,)``, h ``(B, H)`` or ``(H,)``; whole numbers x, ``(B,)`` or ``()``, are
    token ids in the place of one-hot rows. With ``models=E`` every tensor and parameter has a leading E.
    Parameters: ``weight_ih`` (3H, I), ``weight_hh`` (3H, H), ``bias_ih``, ``bias_hh`` (3H), gates in the
    order r, z, n, all U(-1/sqrt(H), 1/sqrt(H)). State dicts of torch.nn.GRUCell load and the other way round.
    Source: Cho et al. 2014, *Learning Phrase Representations using RNN Encoder-Decoder*.
    On a GPU: refused, unless ``backends.enable("torch")`` lets plain torch compute it.

    Args:
        models: E independent models in one call.
        bfloat16, token_ids: as in `GRU`; x is ``(B,)`` there, and features ``(I,)``.

    Raises:
        ValueError, TypeError, RuntimeError: as in `LSTM`.
    """

    gates, states = 3, ("h0",)

    def _run(self, x: Tensor, weights: list, states: list, bfloat16: bool) -> tuple[Tensor, ...]:
        return gru(x, *weights, *states, bfloat16=bfloat16)

    def forward(
        self, x: Tensor | None = None, hx: Tensor | None = None, *, input: Tensor | None = None
    ) -> Tensor:
        """h' after x (or ``input``, torch.nn's name), from the state hx = h, 0 by default."""
        return self._step(one_of("GRUCell", x, input), hx)[0]
