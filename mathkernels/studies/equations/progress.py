"""Shows and logs the epochs of the equation learner."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mathkernels.experiment.optional import load
from mathkernels.studies.equations.config import Config
from mathkernels.studies.equations.training import CURVE_COLUMNS


def log_name(seed: int) -> str:
    """Return the folder of a network's logs."""
    return f"seed-{seed}"


class Progress:
    """A bar on a terminal, and TensorBoard's files on request. Call it with the rows of each epoch.

    Args:
        config: of the training.
        epoch: that training goes on from; later ones in older files of TensorBoard no longer count.
        tensorboard: the folder that gets a run per network, or None.
    """

    def __init__(self, config: Config, epoch: int, tensorboard: Path | None) -> None:
        train = config.train
        self._bar = load("tqdm").tqdm(total=train.epochs, initial=epoch, unit=" epochs", disable=None)
        self._writers: dict[int, Any] = {}
        if tensorboard is not None:
            writer = load("torch.utils.tensorboard").SummaryWriter
            for seed in train.seeds:
                self._writers[seed] = writer(str(tensorboard / log_name(seed)), purge_step=epoch + 1)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        for writer in self._writers.values():
            writer.close()

    def __call__(self, rows: list[dict[str, Any]]) -> None:
        middle = {name: float(np.median([row[name] for row in rows])) for name in CURVE_COLUMNS[3:]}
        right = (
            f"characters {middle['test_character_accuracy']:.4f}, equations {middle['test_exact_match']:.4f}"
        )
        self._bar.set_postfix_str(f"test loss {middle['test_loss']:.1e}, {right}", refresh=False)
        self._bar.update()
        for row in rows if self._writers else ():
            for name in CURVE_COLUMNS[2:]:
                self._writers[row["seed"]].add_scalar(name, row[name], row["epoch"])
