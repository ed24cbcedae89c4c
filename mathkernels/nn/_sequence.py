"""What LSTM and GRU share: torch.nn's constructor, parameters and shapes around the ops, layer by layer."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from mathkernels.nn._layer import check_choice, check_models, check_size
from mathkernels.nn._linear import of_rows
from mathkernels.nn._sequence_shapes import (
    check_embedding,
    check_input,
    check_lengths,
    check_state,
    check_token_ids,
    split_states,
)
from mathkernels.nn._tensors import autocast_dtype, check_parameter, own, widen
from mathkernels.nn._torch_names import TorchNames


class Widened(NamedTuple):
    """What a call computes in: float64, or float32 for everything else."""

    stored: torch.dtype  # of the parameters and of what goes out
    bfloat16: bool  # whether products round to it
    lenient: bool  # whether inputs may be narrower than the parameters


def widening(asked: bool, weight: Tensor) -> Widened:
    """Products round to bfloat16 by request, for parameters of that type and where autocast says so."""
    cast, stored = autocast_dtype(weight.device), weight.dtype
    rounds = asked or stored == torch.bfloat16 or (stored != torch.float64 and cast == torch.bfloat16)
    return Widened(stored, rounds, asked or cast is not None)


class SequenceLayer(TorchNames):
    """Layers of LSTM or GRU along whole sequences, alone or as E independent models.

    Subclasses set ``gates`` and ``states`` (the names of the initial states) and define ``run_layer``.
    """

    gates: int
    states: tuple[str, ...]

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
        token_ids: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = check_size(name, "input_size", input_size)
        self.hidden_size = check_size(name, "hidden_size", hidden_size)
        self.num_layers = check_size(name, "num_layers", num_layers)
        self.models = check_models(name, models)
        if isinstance(proj_size, bool) or proj_size != 0:
            raise ValueError(f"{name}: proj_size is {proj_size!r}; needs 0, projections are not supported")
        both = (True, False)
        self.bias = check_choice(name, "bias", bias, both)
        self.batch_first = check_choice(name, "batch_first", batch_first, both)
        self.bidirectional = check_choice(name, "bidirectional", bidirectional, both)
        self.in_bfloat16 = check_choice(name, "bfloat16", bfloat16, both)
        self.token_ids = check_choice(name, "token_ids", token_ids, both)
        if not isinstance(dropout, numbers.Real) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout is {dropout!r}; needs a number from 0 to 1")
        if dropout > 0 and self.num_layers == 1:
            text = f"{name}: dropout is between layers and does nothing with num_layers=1"
            warnings.warn(text, stacklevel=3)
        self.dropout, self.proj_size = float(dropout), 0
        self.directions = 2 if self.bidirectional else 1
        lead = () if self.models is None else (self.models,)
        for layer in range(self.num_layers):
            for parameter, shape in self._shapes(layer).items():
                empty = torch.empty(*lead, *shape, device=device, dtype=dtype)
                self.register_parameter(parameter, nn.Parameter(empty))
        self._stacked = [self._stacks(layer) for layer in range(self.num_layers)]
        self.reset_parameters()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("token_ids", False)  # files of before it was there
        self._stacked = [self._stacks(layer) for layer in range(self.num_layers)]

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

    def _stacks(self, layer: int) -> list[tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]]:
        """For each tensor of the op the parameters that it stacks, their shape, and its shape (E,D,...)."""
        shapes, lead = self._shapes(layer), () if self.models is None else (self.models,)
        kinds = zip(*self._names(layer), strict=True)
        rights = ((kind, shapes[kind[0]]) for kind in kinds)
        return [
            (kind, (*lead, *right), (self.models or 1, self.directions, *right)) for kind, right in rights
        ]

    def reset_parameters(self) -> None:
        """Draw all parameters anew: U(-1/sqrt(H), 1/sqrt(H)), with torch.nn's numbers for the same seed."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def _weights(self, layer: int, stored: torch.dtype | None = None) -> list[Any]:
        """The op's weight_ih, weight_hh, bias_ih and bias_hh of a layer, (E,D,...).

        Raises:
            ValueError: a parameter does not have its shape.
            TypeError: it has another dtype than ``stored``, by default that of the layer's first.
        """
        own_name, found = type(self).__name__, []
        for names, right, shape in self._stacked[layer]:
            given = []
            for name in names:
                # a parametrised weight is computed, so that each is asked for once
                one = check_parameter(own_name, name, getattr(self, name), right)
                stored = stored or one.dtype
                if one.dtype != stored:
                    raise TypeError(
                        f"{own_name}: {name} is {one.dtype}; needs {stored} like the first weight"
                    )
                given.append(one)
            one = given[0] if len(given) == 1 else torch.stack(given, 1 - len(shape))
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
        self,
        x: Tensor,
        states: Sequence[Tensor | None],
        lengths: Tensor | None,
        return_cells: bool = False,
        embedding: Tensor | None = None,
    ) -> tuple[Tensor, list[tuple[Tensor, ...]], list[Tensor], torch.dtype]:
        """All layers: x (E,T,B,I) or token ids (E,T,B), perhaps rows of an embedding (E,V,I), states
        (E,LD,B,H).

        Returns:
            y, the final states of each layer and its cells, all as kernels gave them, and the dtype of the
            parameters.
        """
        name, D, weights = type(self).__name__, self.directions, self._weights(0)
        stored, bfloat16, lenient = widening(self.in_bfloat16, weights[0])
        x = widen(name, "x", x, stored, lenient)
        states = [
            widen(name, label, s, stored, lenient) for label, s in zip(self.states, states, strict=True)
        ]
        final: list[tuple[Tensor, ...]] = []
        cells: list[Tensor] = []
        for layer in range(self.num_layers):
            first = [None if s is None else s[:, layer * D : (layer + 1) * D] for s in states]
            weights = weights if layer == 0 else self._weights(layer, stored)
            wide = [widen(name, "weight", weight, stored, False) for weight in weights]
            if layer == 0 and embedding is not None:
                table = widen(name, "embedding", embedding, stored, lenient)
                wide[0] = of_rows(name, wide[0], table, bfloat16)
            x, last, more = self.run_layer(x, wide, first, lengths, return_cells, bfloat16)
            final.append(last)
            cells += [] if more is None else [more]
            if self.dropout and self.training and layer < self.num_layers - 1:
                x = nn.functional.dropout(x, self.dropout)
        return x, final, cells, stored

    def sequence(
        self,
        x: Any,
        hx: Any,
        lengths: Tensor | Sequence[int] | None,
        return_cells: bool,
        embedding: Tensor | None = None,
    ) -> tuple[Any, tuple[Tensor, ...], list[Any]]:
        """y, the final states and, if wanted, the cells of each layer, in the shapes of what came in."""
        name, models = type(self).__name__, self.models
        if isinstance(x, PackedSequence):
            return self._packed(x, hx, lengths, return_cells, embedding)
        axes = ("B", "T") if self.batch_first else ("T", "B")
        ids, batched = check_input(name, x, axes, self.input_size, models)
        if embedding is not None:
            embedding = check_embedding(name, embedding, x, self.input_size, models)
        elif ids and batched and not self.token_ids and hx is None and lengths is None:
            check_token_ids(name, x, axes, self.input_size)  # either of them would have told
        x = x.long() if ids else x
        x = x if models is not None else x.unsqueeze(0)
        if not batched:
            x = x.unsqueeze(2)
        elif self.batch_first:
            x = x.transpose(1, 2)
        states = self._initial(hx, x.shape[2], batched)
        if lengths is not None:
            lengths = check_lengths(name, lengths, x, batched, models)
        y, final, cells, stored = self.run(x, states, lengths, return_cells, embedding)
        lead = 1 if models is None else 0  # the axes of one model and of one row go
        shape = [n for axis, n in enumerate(y.shape) if axis >= lead and (batched or axis != 2)]
        swap = (1 - lead, 2 - lead) if batched and self.batch_first else None
        y, *cells = (own(values, shape, swap, stored) for values in (y, *cells))
        return y, self._ends(final, batched, stored), cells

    def _ends(
        self, final: list[tuple[Tensor, ...]], batched: bool, stored: torch.dtype
    ) -> tuple[Tensor, ...]:
        """The final states of all layers, from those of each, (E,D,B,H); they are nobody else's."""
        kept = [0, 1, 2, 3] if self.models is not None else [1, 2, 3]  # the axes of one model and one row go
        kept = kept if batched else [axis for axis in kept if axis != 2]
        found = []
        for state in zip(*final, strict=True):
            whole = state[0] if len(state) == 1 else torch.cat(state, 1)
            found.append(own(whole, [whole.shape[axis] for axis in kept], None, stored, saved=False))
        return tuple(found)

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
        self,
        packed: PackedSequence,
        hx: Any,
        lengths: object,
        return_cells: bool,
        embedding: Tensor | None = None,
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
        if embedding is not None:
            embedding = check_embedding(name, embedding, packed.data, self.input_size, None)
        _, batch_sizes, order, back = packed
        padded, rows = pad_packed_sequence(PackedSequence(packed.data, batch_sizes))
        states = self._initial(hx, len(rows), True)
        if order is not None:
            states = [None if state is None else state.index_select(2, order) for state in states]
        x = padded.long() if not padded.is_floating_point() else padded
        lengths_of_rows = rows.to(x.device).unsqueeze(0)
        y, final, cells, stored = self.run(x.unsqueeze(0), states, lengths_of_rows, return_cells, embedding)

        def pack(values: Tensor) -> PackedSequence:
            data = pack_padded_sequence(values[0], rows).data.to(stored)
            return PackedSequence(data, batch_sizes, order, back)

        ends = self._ends(final, True, stored)
        return pack(y), self.permute_hidden(ends, back), [pack(c) for c in cells]

    def extra_repr(self) -> str:
        defaults = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
            "models": None,
            "in_bfloat16": False,
            "token_ids": False,
        }
        given = [
            f"{name.removeprefix('in_')}={getattr(self, name)}"
            for name, usual in defaults.items()
            if getattr(self, name) != usual
        ]
        return ", ".join([str(self.input_size), str(self.hidden_size), *given])
