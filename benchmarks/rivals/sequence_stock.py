"""torch.nn's LSTM and GRU as they come, and the loop over its cells; one module for each model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from sequence_cases import SequenceCase
from torch import Tensor, nn

from rivals.sequence_layer import SequenceLayer

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU}
CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}


class _ModulePerModel(SequenceLayer):
    def __init__(self, case: SequenceCase, dtype: torch.dtype) -> None:
        super().__init__(case)
        self.x = list(torch.from_numpy(case.dense).to(dtype))
        if case.input_gradient:
            self.leaves["x"] = [x.requires_grad_() for x in self.x]

    def take(self, parameter: nn.Parameter, name: str, direction: int, model: int) -> None:
        """Give a module's parameter the value of the case and list it."""
        value = torch.from_numpy(self.case.weights[name][model, direction])
        parameter.data = value.to(self.x[0].dtype).clone()
        self.leaves[name].append(parameter)


class StockLayer(_ModulePerModel):
    """torch.nn's layer.

    Args:
        mkldnn: whether torch may use oneDNN.
        autocast: whether the layer runs under bfloat16 autocast.
        dtype: float64 makes the reference that all answers are compared with.
    """

    def __init__(
        self,
        case: SequenceCase,
        *,
        mkldnn: bool = True,
        autocast: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(case, dtype)
        self.mkldnn, self.autocast = mkldnn, autocast
        make, both = LAYERS[case.kind], case.directions == 2
        self.modules = [make(case.inputs, case.hidden, bidirectional=both) for _ in self.x]
        for name in case.weights:
            for direction, suffix in enumerate(("", "_reverse")[: case.directions]):
                for model, module in enumerate(self.modules):
                    self.take(getattr(module, f"{name}_l0{suffix}"), name, direction, model)

    def _settings(self) -> AbstractContextManager[object]:
        if self.autocast:
            return torch.autocast("cpu", torch.bfloat16)
        return nullcontext() if self.mkldnn else torch.backends.mkldnn.flags(enabled=False)

    def run(self) -> list[Tensor]:
        with self._settings():
            return [module(x)[0] for module, x in zip(self.modules, self.x, strict=True)]


class CellLoop(_ModulePerModel):
    """A Python loop over torch.nn's cell."""

    def __init__(self, case: SequenceCase) -> None:
        super().__init__(case, torch.float32)
        make = CELLS[case.kind]
        self.cells = [[make(case.inputs, case.hidden) for _ in range(case.directions)] for _ in self.x]
        for name in case.weights:
            for direction in range(case.directions):
                for model, cells in enumerate(self.cells):
                    self.take(getattr(cells[direction], name), name, direction, model)

    def _states(self, cell: nn.Module, steps: Iterator[Tensor]) -> Iterator[Tensor]:
        state = None
        for x in steps:
            state = cell(x, state)
            yield state[0] if self.case.kind == "lstm" else state

    def run(self) -> list[Tensor]:
        outputs = []
        for cells, x in zip(self.cells, self.x, strict=True):
            steps = x.unbind()
            found = [torch.stack(list(self._states(cells[0], iter(steps))))]
            if self.case.directions == 2:
                backwards = list(self._states(cells[1], reversed(steps)))
                found.append(torch.stack(backwards[::-1]))
            outputs.append(torch.cat(found, dim=-1))
        return outputs
