"""The configuration of a training on the adding problem, as ``configs/adding*.yaml`` give it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mathkernels.data import ranges

# chrono-forget and chrono-input have only its forget biases, or only its input biases
Initial = Literal["keras", "chrono", "chrono-forget", "chrono-input"]


WORDING = "{name}: got {given}; needs {right}"
MOST_SEQUENCES, LONGEST, MOST_CELLS = 10**9, 10**6, 16_384
MOST_RATE = 1e6
MOST_COMBINATIONS = 10_000
_SECTIONS = ("dataset", "train", "model", "optim")


def _count(name: str, value: int, least: int, most: int = ranges.MOST) -> int:
    return ranges.whole(name, value, least, most, WORDING)


def _positive(name: str, value: float, most: float = ranges.LARGEST) -> float:
    return ranges.positive(name, value, most, WORDING)


@dataclass(frozen=True)
class Dataset:
    dt_length: int = 100_000  # sequences, of training and validation together
    t: int = 150  # steps of a sequence
    one_per_half: bool = False  # one mark in each half of a sequence, instead of two anywhere

    def __post_init__(self) -> None:
        ranges.set_fields(
            self,
            dt_length=_count("dt_length", self.dt_length, 2, MOST_SEQUENCES),
            t=_count("t", self.t, 2, LONGEST),
        )


@dataclass(frozen=True)
class Train:
    epochs: int = 100
    batch: int = 100
    es_patience: int = 10  # epochs without a new best of optim.monitor after which a model stops
    steps_per_epoch: int | None = None  # updates between two validations; None: once through the data
    stop_below: float | None = None  # a model stops as soon as its val_loss is below

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "es_patience", "steps_per_epoch"):
            if (value := getattr(self, name)) is not None:
                ranges.set_fields(self, **{name: _count(name, value, 1)})
        if self.stop_below is not None:
            ranges.set_fields(self, stop_below=_positive("stop_below", self.stop_below))


@dataclass(frozen=True)
class Model:
    cells: int = 100
    initial: Initial = "keras"
    forget_bias: float = 1.0  # of initial: keras and chrono-input

    def __post_init__(self) -> None:
        right = "a finite number, from -1e+06 to 1e+06"
        ranges.set_fields(
            self,
            cells=_count("cells", self.cells, 1, MOST_CELLS),
            forget_bias=ranges.real("forget_bias", self.forget_bias, -1e6, 1e6, right, WORDING),
        )


@dataclass(frozen=True)
class Optim:
    name: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    clip_norm: float | None = None  # limit of the norm of all gradients of a model together
    monitor: Literal["val_loss", "loss"] = "val_loss"  # what early stopping and the best weights go by
    validation_split: float = 0.3  # share of the sequences, the last ones
    seed: int = 0  # of the first model; others count up

    def __post_init__(self) -> None:
        if self.clip_norm is not None:
            ranges.set_fields(self, clip_norm=_positive("clip_norm", self.clip_norm))
        between = "a number between 0 and 1"
        ranges.set_fields(
            self,
            learning_rate=_positive("learning_rate", self.learning_rate, MOST_RATE),
            validation_split=ranges.real(
                "validation_split", self.validation_split, 1e-9, 1 - 1e-9, between, WORDING
            ),
            seed=_count("seed", self.seed, 0, ranges.LAST_SEED),
        )


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
        self._check_sweep()

    def rows_to_train(self) -> int:
        """Return how many sequences train; the others, at the end, validate, as in Keras."""
        return int(self.dataset.dt_length * (1 - self.optim.validation_split))

    def combinations(self) -> Iterator[tuple[dict[str, Any], Config]]:
        """Yield each combination of the sweep once: values varied, and its training's configuration."""
        varied = {name: [*dict.fromkeys(values)] for name, values in vars(self.sweep).items() if values}
        for values in itertools.product(*varied.values()):
            chosen = dict(zip(varied, values, strict=True))
            parts = [
                f"{name}{value}" if name == "initial" else _tagged(name, value)
                for name, value in chosen.items()
            ]
            config = dataclasses.replace(self, artifacts=self.artifacts / "-".join(parts), sweep=Sweep(()))
            for section in _SECTIONS:
                old = getattr(config, section)
                own = {name: value for name, value in chosen.items() if hasattr(old, name)}
                config = dataclasses.replace(config, **{section: dataclasses.replace(old, **own)})
            yield chosen, config

    def _check_sweep(self) -> None:
        """Refuse here what would end a sweep in its middle."""
        combinations = 1
        for name, values in vars(self.sweep).items():
            combinations *= max(len(set(values)), 1)
            section = next(s for s in map(self.__getattribute__, _SECTIONS) if hasattr(s, name))
            for index, value in enumerate(values):
                try:
                    dataclasses.replace(section, **{name: value})
                except ValueError as error:
                    raise ValueError(f"sweep.{name}[{index}]: {error}") from error
        _count("sweep: the number of combinations", combinations, 1, MOST_COMBINATIONS)


def _tagged(name: str, value: float | None) -> str:
    """Return the part of a folder's name; values that differ in any digit have different ones."""
    if value is None:
        return f"{name}none"
    short = format(value, "g")
    return f"{name}{short if float(short) == value else repr(value)}"
