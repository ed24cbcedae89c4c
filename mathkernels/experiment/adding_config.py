"""The configuration of a training on the adding problem, as ``configs/adding*.yaml`` give it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# chrono-forget and chrono-input have only its forget biases, or only its input biases
Initial = Literal["keras", "chrono", "chrono-forget", "chrono-input"]


def _at_least(least: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < least:
            raise ValueError(f"{name}: got {value}; needs at least {least}")


def _positive(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name}: got {value}; needs a finite number above 0")


@dataclass(frozen=True)
class Dataset:
    dt_length: int = 100_000  # sequences, of training and validation together
    t: int = 150  # steps of a sequence
    one_per_half: bool = False  # one mark in each half of a sequence, instead of two anywhere

    def __post_init__(self) -> None:
        _at_least(2, dt_length=self.dt_length, t=self.t)


@dataclass(frozen=True)
class Train:
    epochs: int = 100
    batch: int = 100
    es_patience: int = 10  # epochs without a new best of optim.monitor after which a model stops
    steps_per_epoch: int | None = None  # updates between two validations; None: once through the data
    stop_below: float | None = None  # a model stops as soon as its val_loss is below

    def __post_init__(self) -> None:
        _at_least(
            1,
            epochs=self.epochs,
            batch=self.batch,
            es_patience=self.es_patience,
            steps_per_epoch=self.steps_per_epoch,
        )
        _positive(stop_below=self.stop_below)


@dataclass(frozen=True)
class Model:
    cells: int = 100
    initial: Initial = "keras"
    forget_bias: float = 1.0  # of initial: keras and chrono-input

    def __post_init__(self) -> None:
        _at_least(1, cells=self.cells)
        if not math.isfinite(self.forget_bias):
            raise ValueError(f"forget_bias: got {self.forget_bias}; needs a finite number")


@dataclass(frozen=True)
class Optim:
    name: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    clip_norm: float | None = None  # limit of the norm of all gradients of a model together
    monitor: Literal["val_loss", "loss"] = "val_loss"  # what early stopping and the best weights go by
    validation_split: float = 0.3  # share of the sequences, the last ones
    seed: int = 0  # of the first model; others count up

    def __post_init__(self) -> None:
        _positive(learning_rate=self.learning_rate, clip_norm=self.clip_norm)
        if not 0 < self.validation_split < 1:
            raise ValueError(f"validation_split: got {self.validation_split}; needs a number between 0 and 1")
        _at_least(0, seed=self.seed)


@dataclass(frozen=True)
class Sweep:
    """What ``--sweep`` varies: every combination is trained. An empty list leaves a value as it is."""

    t: tuple[int, ...] = (150, 200, 250, 300, 500, 700, 1000)
    initial: tuple[Initial, ...] = ()
    forget_bias: tuple[float, ...] = ()
    learning_rate: tuple[float, ...] = ()
    clip_norm: tuple[float | None, ...] = ()
    es_patience: tuple[int, ...] = ()


@dataclass(frozen=True)
class Config:
    artifacts: Path = Path("artifacts/adding")
    dataset: Dataset = field(default_factory=Dataset)
    train: Train = field(default_factory=Train)
    model: Model = field(default_factory=Model)
    optim: Optim = field(default_factory=Optim)
    sweep: Sweep = field(default_factory=Sweep)

    def __post_init__(self) -> None:
        if not 1 <= self.rows_to_train() < self.dataset.dt_length:
            given = f"dt_length {self.dataset.dt_length} with validation_split {self.optim.validation_split}"
            raise ValueError(f"dataset: got {given}; needs a sequence for training and one for validation")

    def rows_to_train(self) -> int:
        """Return how many sequences train; the others, at the end, validate, as in Keras."""
        return int(self.dataset.dt_length * (1 - self.optim.validation_split))

    def combinations(self) -> Iterator[tuple[dict[str, Any], Config]]:
        """Yield each combination of the sweep: the values varied, and the configuration of its training."""
        varied = {name: values for name, values in vars(self.sweep).items() if values}
        for values in itertools.product(*varied.values()):
            chosen = dict(zip(varied, values, strict=True))
            parts = [
                f"{name}{value}" if name == "initial" else _tagged(name, value)
                for name, value in chosen.items()
            ]
            config = dataclasses.replace(self, artifacts=self.artifacts / "-".join(parts), sweep=Sweep(()))
            for section in ("dataset", "train", "model", "optim"):
                old = getattr(config, section)
                own = {name: value for name, value in chosen.items() if hasattr(old, name)}
                config = dataclasses.replace(config, **{section: dataclasses.replace(old, **own)})
            yield chosen, config


def _tagged(name: str, value: float | None) -> str:
    return f"{name}{'none' if value is None else format(value, 'g')}"
