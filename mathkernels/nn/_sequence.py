"""What LSTM and GRU share: torch.nn's constructor, parameters and shapes around the ops, layer by layer."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from mathkernels.nn._layer import check_choice
from mathkernels.nn._sequence_shapes import check_input, check_lengths, check_state, split_states


def check_size(layer: str, name: str, size: object) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(f"{layer}: {name} is {size!r}; needs a positive integer")
    return size


def rounds_to_bfloat16(asked: bool, weight: Tensor) -> bool:
    """Whether products round to bfloat16: by request, or because autocast says so; float64 is left alone."""
    if asked or weight.dtype != torch.float32:
        return asked
    kind = weight.device.type
    return torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.bfloat16


class SequenceLayer(nn.Module):
    """Layers of LSTM or GRU along whole sequences, alone or as E independent models.

    Subclasses set ``gates`` and ``states`` (the names of the initial states) and define ``run_layer``.
    """

    gates: int
    states: tuple[str, ...]
    weight_ih_l0: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
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
        self.num_layers = check_size(name, "num_layers", num_layers)
        self.models = None if models is None else check_size(name, "models", models)
        if proj_size != 0:
            raise ValueError(f"{name}: proj_size is {proj_size!r}; needs 0, projections are not supported")
        flags = {
            "bias": bias,
            "batch_first": batch_first,
            "bidirectional": bidirectional,
            "bfloat16": bfloat16,
        }
        for option, value in flags.items():
            check_choice(name, option, value, (True, False))
        if not isinstance(dropout, numbers.Real) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout is {dropout!r}; needs a number from 0 to 1")
        if dropout > 0 and num_layers == 1:
            text = f"{name}: dropout is between layers and does nothing with num_layers=1"
            warnings.warn(text, stacklevel=3)
        self.bias, self.batch_first, self.bidirectional = bool(bias), bool(batch_first), bool(bidirectional)
        self.dropout, self.in_bfloat16, self.proj_size = float(dropout), bool(bfloat16), 0
        self.directions = 2 if bidirectional else 1
        lead = () if models is None else (models,)
        for layer in range(num_layers):
            for parameter, shape in self._shapes(layer).items():
                empty = torch.empty(*lead, *shape, device=device, dtype=dtype)
                self.register_parameter(parameter, nn.Parameter(empty))
        self._stacked = [self._stacks(layer) for layer in range(num_layers)]
        self.reset_parameters()

    def _names(self, layer: int) -> list[list[str]]:
        """The parameters of a layer, one list for each direction."""
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")[: 4 if self.bias else 2]
        suffixes = ("", "_reverse")[: self.directions]
        return [[f"{kind}_l{layer}{suffix}" for kind in kinds] for suffix in suffixes]

    def _shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """Parameter name -> shape without model axis, in torch's order."""
        rows = self.gates * self.hidden_size
        columns = self.input_size if layer == 0 else self.directions * self.hidden_size
        shapes = ((rows, columns), (rows, self.hidden_size), (rows,), (rows,))
        return {
            name: shape for names in self._names(layer) for name, shape in zip(names, shapes, strict=False)
        }

    def _stacks(self, layer: int) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
        """For each tensor of the op the parameters that it stacks, and its shape (E,D,...)."""
        shapes, E = self._shapes(layer), self.models or 1
        kinds = zip(*self._names(layer), strict=True)
        return [(kind, (E, self.directions, *shapes[kind[0]])) for kind in kinds]

    def reset_parameters(self) -> None:
        """Draw all parameters anew: U(-1/sqrt(H), 1/sqrt(H)), with torch.nn's numbers for the same seed."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The parameters of each layer and direction, as in torch.nn."""
        names = (names for layer in range(self.num_layers) for names in self._names(layer))
        return [[self.get_parameter(name) for name in direction] for direction in names]

    def flatten_parameters(self) -> None:
        """Do nothing: there is no copy of the parameters to renew. Models written for torch.nn call it."""

    def _weights(self, layer: int) -> list[Tensor | None]:
        """The op's weight_ih, weight_hh, bias_ih and bias_hh of a layer, (E,D,...)."""
        found: list[Tensor | None] = []
        for names, shape in self._stacked[layer]:
            if len(names) == 1:
                one = getattr(self, names[0])  # where it is parametrised, it is not among the parameters
            else:
                one = torch.stack([getattr(self, name) for name in names], 1 - len(shape))
            found.append(one.reshape(shape))
        return found if self.bias else [*found, None, None]

    def run_layer(
        self,
        x: Tensor,
        weights: Sequence[Any],
        states: Sequence[Any],
        lengths: Tensor | None,
        return_cells: bool,
        bfloat16: bool,
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor | None]:
        """y (E,T,B,DH), the final states (E,D,B,H) and the cells, from x (E,T,B,I) and initial states."""
        raise NotImplementedError

    def run(
        self, x: Tensor, states: Sequence[Tensor | None], lengths: Tensor | None, return_cells: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...], list[Tensor]]:
        """All layers: x (E,T,B,I) or symbols (E,T,B), states (E,LD,B,H) -> y, final states, cells."""
        bfloat16, D = rounds_to_bfloat16(self.in_bfloat16, self.weight_ih_l0), self.directions
        if bfloat16:  # an autocast layer before this one may have given them
            x = x.float() if x.is_floating_point() else x
            states = [None if state is None else state.float() for state in states]
        final: list[tuple[Tensor, ...]] = []
        cells: list[Tensor] = []
        for layer in range(self.num_layers):
            first = [None if s is None else s[:, layer * D : (layer + 1) * D] for s in states]
            weights = self._weights(layer)
            x, last, more = self.run_layer(x, weights, first, lengths, return_cells, bfloat16)
            final.append(last)
            cells += [] if more is None else [more]
            if self.dropout and self.training and layer < self.num_layers - 1:
                x = nn.functional.dropout(x, self.dropout)
        ends = tuple(
            state[0] if len(state) == 1 else torch.cat(state, 1) for state in zip(*final, strict=True)
        )
        return x, ends, cells

    def sequence(
        self,
        x: Tensor | PackedSequence,
        hx: Any,
        lengths: Tensor | Sequence[int] | None,
        return_cells: bool,
    ) -> tuple[Any, tuple[Tensor, ...], list[Any]]:
        """y, the final states and, if wanted, the cells of each layer, in the shapes of what came in."""
        if isinstance(x, PackedSequence):
            return self._packed(x, hx, lengths, return_cells)
        name, models = type(self).__name__, self.models
        axes = ("B", "T") if self.batch_first else ("T", "B")
        symbols, batched = check_input(name, x, axes, self.input_size, models)
        x = x.long() if symbols else x
        x = x if models is not None else x.unsqueeze(0)
        if not batched:
            x = x.unsqueeze(2)
        elif self.batch_first:
            x = x.transpose(1, 2)
        states = self._initial(hx, x.shape[2], batched)
        if lengths is not None:
            lengths = check_lengths(name, lengths, x, batched, models)
        y, ends, cells = self.run(x, states, lengths, return_cells)
        if not batched:
            y, cells, ends = y.squeeze(2), [c.squeeze(2) for c in cells], tuple(s.squeeze(2) for s in ends)
        elif self.batch_first:
            y, cells = y.transpose(1, 2), [c.transpose(1, 2) for c in cells]
        if models is None:
            y, cells, ends = y.squeeze(0), [c.squeeze(0) for c in cells], tuple(s.squeeze(0) for s in ends)
        return y, ends, cells

    def _initial(self, hx: Any, batch: int, batched: bool) -> list[Tensor | None]:
        """The initial states (E,LD,B,H)."""
        if hx is None:
            return [None for _ in self.states]
        name, lead = type(self).__name__, () if self.models is None else (self.models,)
        rows = (batch,) if batched else ()
        right = (*lead, self.num_layers * self.directions, *rows, self.hidden_size)
        given = split_states(name, hx, self.states)
        states = [check_state(name, s, state, right) for s, state in zip(self.states, given, strict=True)]
        states = [state if lead else state.unsqueeze(0) for state in states]
        return [state if batched else state.unsqueeze(2) for state in states]

    def _packed(
        self, packed: PackedSequence, hx: Any, lengths: object, return_cells: bool
    ) -> tuple[PackedSequence, tuple[Tensor, ...], list[PackedSequence]]:
        name = type(self).__name__
        if self.models is not None:
            raise ValueError(
                f"{name}: x is a PackedSequence, which has no model axis; needs a tensor and lengths"
            )
        if lengths is not None:
            raise ValueError(f"{name}: lengths is given beside a PackedSequence, which has its own")
        if not check_input(name, packed.data, ("N",), self.input_size, None)[1]:
            raise ValueError(f"{name}: data of the PackedSequence has one axis; needs (N, {self.input_size})")
        _, batch_sizes, order, back = packed
        padded, rows = pad_packed_sequence(PackedSequence(packed.data, batch_sizes))
        states = self._initial(hx, len(rows), True)
        if order is not None:
            states = [None if state is None else state.index_select(2, order) for state in states]
        x = padded.long() if not padded.is_floating_point() else padded
        y, ends, cells = self.run(x.unsqueeze(0), states, rows.to(x.device).unsqueeze(0), return_cells)

        def pack(values: Tensor) -> PackedSequence:
            return PackedSequence(pack_padded_sequence(values[0], rows).data, batch_sizes, order, back)

        if back is not None:
            ends = tuple(state.index_select(2, back) for state in ends)
        return pack(y), tuple(state[0] for state in ends), [pack(c) for c in cells]

    def extra_repr(self) -> str:
        defaults = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
            "models": None,
            "in_bfloat16": False,
        }
        given = [
            f"{name.removeprefix('in_')}={getattr(self, name)}"
            for name, usual in defaults.items()
            if getattr(self, name) != usual
        ]
        return ", ".join([str(self.input_size), str(self.hidden_size), *given])
