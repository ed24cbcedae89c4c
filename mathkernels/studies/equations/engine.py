"""What trains the networks of the equation learner: torch modules one by one, or one compiled call for all.

All engines start from the same parameters, take the same batches and mean the same; they differ in rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mathkernels.experiment import tensor_files
from mathkernels.optim import torch_state
from mathkernels.optim.keras import step_in_keras_form
from mathkernels.studies.equations.config import Config
from mathkernels.studies.equations.model import EquationModel, name_counts, one_hot
from mathkernels.studies.equations.scores import Engine, Scores

CHUNK = 5_000  # equations of one forward pass without gradients


def make(
    config: Config, parameters: Mapping[str, Tensor] | None = None, lstm: Callable[..., Any] = nn.LSTM
) -> Engine:
    """Return the engine of a configuration.

    Args:
        config: with E seeds.
        parameters: (E,...) by name, or None for the start that the seeds draw.
        lstm: what the engine "layers" trains with, a class like ``torch.nn.LSTM``.
    """
    if parameters is None:
        parameters = start(config)
    if config.train.engine == "fused":
        from mathkernels.studies.equations.fused import FusedEngine

        return FusedEngine(config, parameters)
    return TorchEngine(config, parameters, nn.LSTM if config.train.engine == "torch" else lstm)


def start(config: Config) -> dict[str, Tensor]:
    """Return the parameters and running statistics (E,...) that networks of these seeds start with."""
    states = [EquationModel(config, seed).state_dict() for seed in config.train.seeds]
    return {name: torch.stack([state[name] for state in states]) for name in states[0] if name_counts(name)}


class TorchEngine:
    """Networks as torch modules, trained one after the other.

    Args:
        config: of all networks.
        parameters: (E,...) by name.
        lstm: the class of their LSTMs.
    """

    def __init__(self, config: Config, parameters: Mapping[str, Tensor], lstm: Callable[..., Any]) -> None:
        self.config, self.epoch = config, 0
        self.nets = [EquationModel(config, seed, lstm) for seed in config.train.seeds]
        for e, net in enumerate(self.nets):
            net.load_state_dict({name: own[e] for name, own in parameters.items()}, strict=False)
        self.optimizers = [
            torch.optim.Adam(
                [parameter for parameter in net.parameters() if parameter.requires_grad],
                lr=config.train.learning_rate,
                fused=True,
            )
            for net in self.nets
        ]
        self.characters = len(config.data.alphabet)

    def train_epoch(
        self, inputs: np.ndarray, targets: np.ndarray, order: np.ndarray, rate: float
    ) -> np.ndarray:
        x = one_hot(torch.from_numpy(inputs), self.characters)
        y = torch.from_numpy(targets).long()
        losses = []
        for e, seed in enumerate(self.config.train.seeds):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed((seed * 1_000_003 + self.epoch) % 2**64)  # of dropout
                losses.append(self._epoch_of(e, x, y, torch.from_numpy(order[e]), rate))
        self.epoch += 1
        return np.array(losses)

    def _epoch_of(self, e: int, x: Tensor, y: Tensor, order: Tensor, rate: float) -> float:
        net, optimizer, total = self.nets[e], self.optimizers[e], 0.0
        net.train()
        for rows in order.split(self.config.train.batch_size):
            scores = net(x[rows])
            loss = functional.cross_entropy(scores.flatten(0, 1), y[rows].flatten())
            optimizer.zero_grad()
            loss.backward()
            step_in_keras_form(optimizer, rate, self.config.train.eps)
            total += loss.item() * len(rows)
        return total / len(order)

    @torch.no_grad()
    def _scores(self, e: int, inputs: np.ndarray) -> Tensor:
        self.nets[e].eval()
        parts = torch.from_numpy(inputs).split(CHUNK)
        return torch.cat([self.nets[e](one_hot(part, self.characters)) for part in parts])

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        own = [self._scores(e, inputs).argmax(2).to(torch.int8) for e in range(len(self.nets))]
        return torch.stack(own).numpy()

    def evaluate(self, inputs: np.ndarray, targets: np.ndarray) -> Scores:
        y = torch.from_numpy(targets).long()
        rows = []
        for e in range(len(self.nets)):
            scores = self._scores(e, inputs)
            right = scores.argmax(2) == y
            loss = functional.cross_entropy(scores.flatten(0, 1), y.flatten())
            rows.append((loss.item(), right.double().mean().item(), right.all(1).double().mean().item()))
        return Scores(*np.array(rows).T)

    def parameters(self) -> dict[str, Tensor]:
        states = [net.state_dict() for net in self.nets]
        return {name: torch.stack([s[name] for s in states]) for name in states[0] if name_counts(name)}

    def state(self) -> dict[str, Tensor]:
        out = {f"parameters.{name}": own for name, own in self.parameters().items()}
        return {**out, **torch_state.of(self.optimizers)}

    def load_state(self, state: Mapping[str, Tensor], epoch: int) -> None:
        own = tensor_files.below("parameters.", state)
        tensor_files.match(own, self.parameters(), "parameters.")
        rest = {name: x for name, x in state.items() if not name.startswith("parameters.")}
        # stages are of different lengths, so that the number of an optimiser's steps is not known here
        torch_state.load(self.optimizers, rest, None if epoch else 0)
        self.epoch = epoch
        for e, net in enumerate(self.nets):
            net.load_state_dict(tensor_files.row_of(own, e), strict=False)
