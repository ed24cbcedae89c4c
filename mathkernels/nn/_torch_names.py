"""Names that code written for torch.nn.LSTM and GRU reads or calls, beside constructor and forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mathkernels.nn._sequence_shapes import check_input, text


class TorchNames(nn.Module):
    """The attributes and methods of torch.nn.RNNBase; with ``models`` shapes have a leading E."""

    mode: str
    input_size: int
    hidden_size: int
    num_layers: int
    directions: int
    batch_first: bool
    models: int | None

    def _names(self, layer: int) -> list[list[str]]:
        raise NotImplementedError

    @property
    def _all_weights(self) -> list[list[str]]:
        return [names for layer in range(self.num_layers) for names in self._names(layer)]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Any]:
        return [getattr(self, name, None) for name in self._flat_weights_names]

    @_flat_weights.setter
    def _flat_weights(self, weights: Sequence[Any]) -> None:
        # code that makes weights anew for each call (weight drop) ends by setting this list
        for name, weight in zip(self._flat_weights_names, weights, strict=True):
            if weight is not getattr(self, name, None):
                setattr(self, name, weight)

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The weights of each layer and direction, as in torch.nn; parametrised ones are computed."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self) -> None:
        """Do nothing: there is no copy of the parameters to renew. Models written for torch.nn call it."""

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, ...]:
        """Shape of the initial state for a batch, (L * D, B, H)."""
        lead = () if self.models is None else (self.models,)
        axis = len(lead) + (0 if self.batch_first else 1)
        batch = input.shape[axis] if batch_sizes is None else int(batch_sizes[0])
        return (*lead, self.num_layers * self.directions, batch, self.hidden_size)

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Raise unless a batch, or the data of a PackedSequence, fits."""
        axes = ("N",) if batch_sizes is not None else ("B", "T") if self.batch_first else ("T", "B")
        name = type(self).__name__
        if not check_input(name, input, axes, self.input_size, self.models)[1]:
            raise ValueError(f"{name}: x has shape {text(input.shape)}; needs a batch of them")

    def check_hidden_size(
        self, hx: Tensor, expected_hidden_size: Sequence[int], msg: str = "Expected hidden size {}, got {}"
    ) -> None:
        """Raise RuntimeError, as torch.nn does, unless the state has this shape."""
        if tuple(hx.shape) != tuple(expected_hidden_size):
            raise RuntimeError(msg.format(tuple(expected_hidden_size), list(hx.shape)))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Raise unless a batch and its initial states fit."""
        self.check_input(input, batch_sizes)
        expected = self.get_expected_hidden_size(input, batch_sizes)
        for state in hidden if isinstance(hidden, (tuple, list)) else [hidden]:
            self.check_hidden_size(state, expected)

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """Rows of the states in another order."""
        if permutation is None:
            return hx
        if isinstance(hx, (tuple, list)):
            return tuple(self.permute_hidden(state, permutation) for state in hx)
        return hx.index_select(-2, permutation)
