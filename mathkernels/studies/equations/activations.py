"""What happens inside a network of the equation learner while it answers one question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from mathkernels.data.equation_sets import Part
from mathkernels.studies.equations.config import Config
from mathkernels.studies.equations.model import EquationModel, one_hot

GREYS = tuple(range(232, 256))  # of terminals with 256 colours, from black to white


def model_of(config: Config, parameters: Mapping[str, Tensor], e: int) -> EquationModel:
    """Return network e of trained ones as a torch module, ready to answer."""
    model = EquationModel(config, config.train.seeds[e])
    model.load_state_dict({name: own[e] for name, own in parameters.items()}, strict=False)
    return model.eval()


@torch.no_grad()
def activations(model: EquationModel, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs of every layer for questions (N,T) int8 by name; of "output" the probabilities."""
    x = one_hot(torch.from_numpy(inputs), model.characters)
    outputs = {"input": x, **dict(model.outputs(x))}
    outputs["output"] = outputs["output"].softmax(2)
    return {name: own.numpy() for name, own in outputs.items()}


def greyscale(layers: Mapping[str, np.ndarray]) -> str:
    """Return the layers' outputs for one question as blocks of grey, a line per step, for a terminal.

    Args:
        layers: outputs (T,C) or (C) by name. Each layer's own smallest value is black and its largest white.
    """
    lines = []
    for name, own in layers.items():
        lines.append(name)
        rows = np.atleast_2d(own)
        low, span = rows.min(), max(float(np.ptp(rows)), 1e-12)
        levels = ((rows - low) / span * (len(GREYS) - 1)).round().astype(int)
        lines += ["".join(f"\x1b[48;5;{GREYS[level]}m  " for level in row) + "\x1b[0m" for row in levels]
    return "\n".join(lines)


def reading(model: EquationModel, part: Part, rows: Sequence[int]) -> np.ndarray:
    """Return what the first LSTM's units put out at each character of some questions: (n,T,2H)."""
    return activations(model, part.inputs[list(rows)])["encoder.0.lstm"]


def liveliest(units: np.ndarray) -> int:
    """Return the unit of (n,T,2H) whose output varies most over characters and questions."""
    return int(units.reshape(-1, units.shape[2]).var(0).argmax())
