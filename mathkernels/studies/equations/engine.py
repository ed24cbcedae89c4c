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
            self._step(optimizer, rate)
            total += loss.item() * len(rows)
        return total / len(order)

    def _step(self, optimizer: torch.optim.Optimizer, rate: float) -> None:
        """One step of Adam in Keras' form, lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps).

        torch adds its eps to sqrt(v / (1 - b2^t)), so that of Keras is a larger one in the first steps.
        """
        group = optimizer.param_groups[0]
        steps = next((int(state["step"]) for state in optimizer.state.values()), 0) + 1
        group["lr"] = rate
        group["eps"] = self.config.train.eps / (1 - group["betas"][1] ** steps) ** 0.5
        optimizer.step()

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
        for key in ("exp_avg", "exp_avg_sq", "step"):
            for index in range(len(self.optimizers[0].param_groups[0]["params"])):
                own = [
                    optimizer.state.get(self._parameter(optimizer, index)) for optimizer in self.optimizers
                ]
                if all(own):
                    out[f"{key}.{index}"] = torch.stack([one[key] for one in own])  # type: ignore[index]
        return {**out, "epoch": torch.tensor(self.epoch)}

    @staticmethod
    def _parameter(optimizer: torch.optim.Optimizer, index: int) -> Tensor:
        return optimizer.param_groups[0]["params"][index]

    def load_state(self, state: Mapping[str, Tensor], epoch: int) -> None:
        own = tensor_files.below("parameters.", state)
        tensor_files.match(own, self.parameters(), "parameters.")
        trained: list[Tensor] = self.optimizers[0].param_groups[0]["params"] if epoch else []
        lead = len(self.nets)
        needed = {"epoch": torch.tensor(0)}
        for index, parameter in enumerate(trained):
            for key in ("exp_avg", "exp_avg_sq"):
                needed[f"{key}.{index}"] = torch.zeros(lead, *parameter.shape)
            needed[f"step.{index}"] = torch.zeros(lead)
        rest = {name: x for name, x in state.items() if not name.startswith("parameters.")}
        tensor_files.match(rest, needed)
        if int(state["epoch"]) != epoch:
            raise ValueError(f"epoch: got {int(state['epoch'])} in the engine, needs {epoch}")
        tensor_files.not_negative({n: x for n, x in rest.items() if n.startswith("exp_avg_sq.")}, "engine/")
        for name, steps in rest.items():
            if name.startswith("step.") and not (steps[0] >= 1 and (steps == steps[0].round()).all()):
                raise ValueError(f"{name}: got {steps.tolist()}, needs equal whole numbers from 1")
        self.epoch = epoch
        for e, (net, optimizer) in enumerate(zip(self.nets, self.optimizers, strict=True)):
            net.load_state_dict(tensor_files.row_of(own, e), strict=False)
            for index, parameter in enumerate(optimizer.param_groups[0]["params"]):
                keys = [key for key in ("exp_avg", "exp_avg_sq", "step") if f"{key}.{index}" in state]
                optimizer.state[parameter] = {key: state[f"{key}.{index}"][e].clone() for key in keys}
