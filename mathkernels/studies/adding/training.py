"""E models on the adding problem, trained at once, each with its own data and as if it were alone.

Everything random is a function of a model's seed and the number of the step, so a checkpoint needs no state
of a generator. Models that have stopped leave the net, and the others go on without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mathkernels.data import adding, ranges
from mathkernels.experiment import configuration
from mathkernels.experiment.learners import SideBySide
from mathkernels.experiment.memory import memory_of_machine
from mathkernels.experiment.schedule import Schedule, Table
from mathkernels.experiment.training import Training
from mathkernels.initial import chrono, keras
from mathkernels.optim import BatchedOptimizer
from mathkernels.studies.adding.config import Config

EVALUATED_AT_ONCE = 500  # sequences
INPUTS = 2
PLACE = "artifacts"  # the key of the configuration that says where, not what
COLUMNS: dict[str, type] = {
    "seed": int,
    "epoch": int,
    "updates": int,
    "loss": float,
    "val_loss": float,
    "within": float,
    "seconds": float,
}
_ORDER = 2  # of the streams of a seed: those of the data are 0 and 1


@dataclass(frozen=True)
class Plan:
    """What is trained in one call.

    Args:
        config: of every model.
        seeds: one for each model; it decides its data, their order and its initial weights.
        make: E -> a new net of E models, a module of (E,T,B,2) -> (E,B) whose parameters lead with E and are
            named as in :func:`initial`.
        layer: what the net is made of, for the record.
        device: where it is trained.
    """

    config: Config
    seeds: tuple[int, ...]
    make: Callable[[int], nn.Module]
    layer: str
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def describe(self) -> dict[str, Any]:
        """What decides the result, as JSON values."""
        place = {"models": len(self.seeds), "layer": self.layer, "device": self.device.type}
        return {**described(self.config), **place}

    def check(self) -> None:
        """Refuse, before anything is allocated, what this machine's memory cannot hold or seeds cannot be.

        Raises:
            ValueError: the message names the keys.
        """
        dataset, cells, models = self.config.dataset, self.config.model.cells, len(self.seeds)
        ranges.whole("optim.seed of the last model", self.seeds[-1], 0, ranges.LAST_SEED)
        data = models * dataset.dt_length * (4 * dataset.t + 20)  # numbers, two marks, the sum
        weights = models * 16 * cells * (cells + INPUTS + 1) * 6  # values, gradients, two moments, best, new
        held = memory_of_machine()
        if held is not None and data + weights > held:
            size = (
                f"{dataset.dt_length} sequences of {dataset.t} numbers and {cells} cells for {models} models"
            )
            what = f"got {size}, which take {(data + weights) / 2**30:,.0f} GiB"
            right = f"needs no more than this machine's {held / 2**30:,.0f} GiB"
            raise ValueError(f"dataset.dt_length, dataset.t, model.cells: {what}; {right}")


def described(config: Config) -> dict[str, Any]:
    """Return what of a configuration decides the result, as JSON values: all but the place of the folder."""
    return {name: value for name, value in configuration.plain(config).items() if name != PLACE}


def initial(config: Config, seed: int) -> dict[str, Tensor]:
    """Return the first values of a model, an ``nn.LSTM`` lstm and an ``nn.Linear`` output, by name.

    Returns:
        lstm.weight_ih_l0 (4H,I), lstm.weight_hh_l0 (4H,H), lstm.bias_ih_l0 (4H), lstm.bias_hh_l0 (4H),
        output.weight (1,H), output.bias (1); gates in torch's order i, f, g, o.
    """
    model, source = config.model, torch.Generator().manual_seed(seed)
    rows = 4 * model.cells
    lstm = {"weight_ih_l0": (rows, INPUTS), "weight_hh_l0": (rows, model.cells)}
    lstm |= {"bias_ih_l0": (rows,), "bias_hh_l0": (rows,)}
    shapes = {f"lstm.{name}": shape for name, shape in lstm.items()}
    shapes |= {"output.weight": (1, model.cells), "output.bias": (1,)}
    values = keras.draw(shapes, source, forget_bias=model.forget_bias)
    kind, _, gate = model.initial.partition("-")
    if kind == "chrono":
        gates = (gate,) if gate else ("input", "forget")
        chrono.set_biases_(values["lstm.bias_ih_l0"], config.dataset.t, source, gates)
    return values


def training(plan: Plan) -> Training:
    """Return the new training of a plan."""
    config, sequences = plan.config, Batches(plan)
    train, optim = config.train, config.optim
    drawn = [initial(config, seed) for seed in plan.seeds]
    learner = SideBySide(
        make=lambda models: plan.make(models).to(plan.device),
        weights={name: torch.stack([one[name] for one in drawn]) for name in drawn[0]},
        optimizer=partial(BatchedOptimizer, optim.name, optim.learning_rate, optim.clip_norm),
        batch=sequences.batch,
        loss=lambda answers, targets: (answers - targets).square(),
        measure=sequences.measure,
        frozen=("lstm.bias_hh_l0",),  # Keras has one bias
    )
    steps = train.steps_per_epoch or sequences.steps
    schedule = Schedule(
        epochs=train.epochs,
        steps=steps,
        samples=steps * train.batch,
        patience=train.es_patience,
        solved=None if train.stop_below is None else ("val_loss", train.stop_below),
    )
    table = Table(COLUMNS, [{"seed": seed} for seed in plan.seeds], optim.monitor, steps="updates")
    return Training(learner, schedule, table)


class Batches:
    """The sequences of each model: those of a step, and those that validate."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.config, dataset = plan, plan.config, plan.config.dataset
        half = dataset.one_per_half
        self.data = [
            adding.generate(dataset.dt_length, dataset.t, seed, one_per_half=half) for seed in plan.seeds
        ]
        self.steps = math.ceil(self.config.rows_to_train() / self.config.train.batch)  # of a pass over them
        self._orders: tuple[int, list[np.ndarray]] = (-1, [])

    def batch(self, step: int, models: list[int]) -> tuple[Tensor, Tensor]:
        """Return the inputs (E,T,B,2) and targets (E,B) of a step."""
        number, place = divmod(step, self.steps)
        if self._orders[0] != number:
            train = self.config.rows_to_train()
            streams = [np.random.SeedSequence([seed, _ORDER, number]) for seed in self.plan.seeds]
            self._orders = (number, [np.random.default_rng(stream).permutation(train) for stream in streams])
        begin = place * self.config.train.batch
        chosen = [self._orders[1][model][begin : begin + self.config.train.batch] for model in models]
        return self._tensors(models, chosen)

    def _tensors(
        self, models: list[int], chosen: Sequence[np.ndarray] | Sequence[slice]
    ) -> tuple[Tensor, Tensor]:
        own = [self.data[model] for model in models]
        x = np.stack([data.inputs(rows) for data, rows in zip(own, chosen, strict=True)])
        y = np.stack([data.targets[rows] for data, rows in zip(own, chosen, strict=True)])
        return torch.from_numpy(x).to(self.plan.device), torch.from_numpy(y).to(self.plan.device)

    def measure(self, net: nn.Module, models: list[int]) -> list[dict[str, float]]:
        """Return of each model the mean squared error and the share of right answers in validation."""
        squares = torch.zeros(len(models), dtype=torch.float64)
        right = torch.zeros(len(models), dtype=torch.int64)
        first, last = self.config.rows_to_train(), self.config.dataset.dt_length
        for begin in range(first, last, EVALUATED_AT_ONCE):
            rows = slice(begin, min(begin + EVALUATED_AT_ONCE, last))
            x, y = self._tensors(models, [rows] * len(models))
            errors = (net(x) - y).double().cpu()
            squares += errors.square().sum(1)
            right += (errors.abs() < adding.RIGHT).sum(1)
        n = last - first
        measured = zip((squares / n).tolist(), (right.double() / n).tolist(), strict=True)
        return [{"val_loss": error, "within": share} for error, share in measured]


@torch.no_grad()
def predict(net: nn.Module, data: adding.Sequences, models: int, device: torch.device) -> np.ndarray:
    """Return the answers (E,N) of a net of E models to the same N sequences."""
    answers = []
    for begin in range(0, len(data), EVALUATED_AT_ONCE):
        x = torch.from_numpy(data.inputs(slice(begin, begin + EVALUATED_AT_ONCE))).to(device)
        answers.append(net(x.expand(models, *x.shape)).cpu().numpy())
    return np.concatenate(answers, axis=1)
