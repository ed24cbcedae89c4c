"""Networks of the equation learner in training, an epoch at a step, whatever engine trains them.

All that is drawn in an epoch follows from the seed and the epoch's number, so a training that was killed and
resumed from its last checkpoint gives the same bits as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from mathkernels.data.equation_sets import Sets
from mathkernels.experiment.schedule import Row, Schedule, Table
from mathkernels.experiment.training import Training
from mathkernels.studies.equations.config import Config
from mathkernels.studies.equations.scores import Engine

SEEN = 1_000  # equations of the training set whose accuracy is logged
LOG, CURVES = "log.jsonl", "curves.csv"
# accuracies per character, and per equation, where every character of an answer must be right
MEASURED = (
    *("loss", "train_character_accuracy", "train_exact_match"),
    *("test_loss", "test_character_accuracy", "test_exact_match"),
)
CURVE_COLUMNS = ("seed", "epoch", "rate", *MEASURED)
_TYPES = {name: int if name in ("seed", "epoch") else float for name in CURVE_COLUMNS}


class Networks:
    """The E networks of an engine, as the loop trains them.

    Args:
        config: of everything.
        sets: built from it.
        engine: made from it.
    """

    def __init__(self, config: Config, sets: Sets, engine: Engine) -> None:
        self.config, self.sets, self.engine = config, sets, engine
        self._operators = np.array([len(one.operators) for one in sets.train.equations])
        self._rate, self._losses = math.nan, np.zeros(0)  # of the last epoch

    def step(self, number: int) -> int:
        """Train an epoch."""
        order, train = self._order(number), self.sets.train
        self._rate = self.config.train.rate(number)
        self._losses = self.engine.train_epoch(train.inputs, train.targets, order, self._rate)
        return order.size

    def _order(self, epoch: int) -> np.ndarray:
        """Each network's order of an epoch (E,M): while stages last, without the equations of later ones."""
        sources = (np.random.default_rng([seed, epoch]) for seed in self.config.train.seeds)
        order = np.stack([source.permutation(len(self._operators)) for source in sources])
        stage_epochs = self.config.train.stage_epochs
        most = epoch // stage_epochs + 1 if stage_epochs else self.config.data.n_operations
        return np.stack([rows[self._operators[rows] <= most] for rows in order])

    def measure(self) -> list[dict[str, float]]:
        train, test = self.sets.train, self.sets.test
        seen = self.engine.evaluate(train.inputs[:SEEN], train.targets[:SEEN])
        scores = self.engine.evaluate(test.inputs, test.targets)
        columns = (self._losses, seen.character_accuracy, seen.exact_match, *scores)
        return [
            {"rate": self._rate, **dict(zip(MEASURED, map(float, values), strict=True))}
            for values in zip(*columns, strict=True)
        ]

    def weights(self) -> dict[str, Tensor]:
        return self.engine.parameters()

    def keep(self, places: list[int]) -> None:
        raise NotImplementedError("networks stop together")

    def state(self) -> dict[str, Tensor]:
        return self.engine.state()

    def load_state(self, state: Mapping[str, Tensor], models: list[int], steps: int) -> None:
        self.engine.load_state(state, steps)


def training(config: Config, sets: Sets, engine: Engine) -> Training:
    """Return a new training of the networks of an engine."""
    schedule = Schedule(
        epochs=config.train.epochs,
        samples=len(sets.train),
        diverged=_hopeless,
        together=True,
    )
    table = Table(_TYPES, [{"seed": seed} for seed in config.train.seeds], "test_loss")
    return Training(Networks(config, sets, engine), schedule, table)


def _hopeless(row: Row) -> bool:
    """Whether the weights of a network are NaN, so that no epoch changes anything any more."""
    return math.isnan(row["loss"]) and math.isnan(row["test_loss"])


def diverged(run: Training) -> list[int | None]:
    """Return of each network the first epoch whose loss, in training or test, was infinite or NaN."""
    return [next((row["epoch"] for row in one.rows if not _finite(row)), None) for one in run.records]


def _finite(row: Row) -> bool:
    return math.isfinite(row["loss"]) and math.isfinite(row["test_loss"])


def log_names(config: Config) -> dict[int, str]:
    """Return the folder of TensorBoard's logs of each network by its seed."""
    return {seed: f"seed-{seed}" for seed in config.train.seeds}


def shown(run: Training, rows: list[Row]) -> str:
    """Return what the bar says of an epoch: medians over the networks."""
    names = ("test_loss", "test_character_accuracy", "test_exact_match")
    loss, characters, equations = (float(np.median([row[name] for row in rows])) for name in names)
    return f"test loss {loss:.1e}, characters {characters:.4f}, equations {equations:.4f}"
