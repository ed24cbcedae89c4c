"""mathkernels.nn.LSTM and GRU: whole sequences in one call, all models at once."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from sequence_cases import SequenceCase
from torch import Tensor

from mathkernels import nn
from rivals.sequence_layer import SequenceLayer

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU}


class FusedLayer(SequenceLayer):
    """Symbols stay indices. ``bfloat16`` runs the layer under autocast, as a user would."""

    def __init__(self, case: SequenceCase, *, bfloat16: bool = False) -> None:
        super().__init__(case)
        self.bfloat16 = bfloat16
        options = {} if case.models == 1 else {"models": case.models}
        both = case.directions == 2
        self.module = LAYERS[case.kind](case.inputs, case.hidden, bidirectional=both, **options)
        self.x = torch.from_numpy(case.x)
        if case.models == 1:
            self.x = self.x.squeeze(0)
        for name, values in case.weights.items():
            for direction, suffix in enumerate(("", "_reverse")[: case.directions]):
                parameter = getattr(self.module, f"{name}_l0{suffix}")
                parameter.data = torch.from_numpy(values[:, direction]).reshape(parameter.shape).clone()
                self.leaves[name].append(parameter)
        if case.input_gradient:
            self.leaves["x"] = [self.x.requires_grad_()]

    def run(self) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16) if self.bfloat16 else nullcontext():
            return [self.module(self.x)[0]]
