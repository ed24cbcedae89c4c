"""How long models train, what is logged of them, and the record that is kept of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mathkernels.data import ranges
from mathkernels.experiment import tensor_files

NEVER = -1  # the best epoch of a model that has none
STOPS = ("solved", "diverged", "patience", "epochs")
Row = dict[str, Any]


@dataclass(frozen=True)
class Schedule:
    """How long models train.

    Args:
        epochs: at most.
        steps: of an epoch; 1 where the learner takes a whole one at once.
        samples: that a model sees in an epoch, for the time left.
        every: epochs between measurements; the last epoch is measured in any case.
        from_start: whether to measure before the first step as well.
        patience: epochs without a new best value after which a model stops, or None.
        solved: a column and the value below which a model stops, or None.
        diverged: whether a row is that of a model that has diverged; None: its watched value is not finite.
        together: whether all models stop at once, when each has a reason to.
    """

    epochs: int
    steps: int = 1
    samples: int = 1
    every: int = 1
    from_start: bool = False
    patience: int | None = None
    solved: tuple[str, float] | None = None
    diverged: Callable[[Row], bool] | None = None
    together: bool = False

    def measured(self, epoch: int) -> list[int]:
        """Return the epochs that have been measured once this one has ended."""
        found = [*range(0 if self.from_start else self.every, epoch + 1, self.every)]
        return [*found, epoch] if epoch == self.epochs and epoch % self.every else found

    def reason(self, record: Record, epoch: int, monitor: str) -> str:
        """Return why a model stops, one of ``STOPS``, or "" if it goes on."""
        row = record.rows[-1]
        if self.solved is not None and row[self.solved[0]] < self.solved[1]:
            return "solved"
        if not math.isfinite(row[monitor]) if self.diverged is None else self.diverged(row):
            return "diverged"
        if self.patience is not None and epoch - max(record.best_epoch, 0) >= self.patience:
            return "patience"
        return "epochs" if epoch >= self.epochs else ""


@dataclass(frozen=True)
class Table:
    """What is logged of each model whenever it is measured.

    Args:
        columns: with the type of their values: int, float or str. One is "epoch". A column "seconds" gets the
            seconds that were spent in steps.
        of: for each model what stands in all of its rows, such as its seed.
        monitor: the column whose lowest value marks the best weights.
        steps: the column that counts steps, or None.
    """

    columns: Mapping[str, type]
    of: Sequence[Mapping[str, Any]]
    monitor: str
    steps: str | None = None

    @property
    def timed(self) -> bool:
        return "seconds" in self.columns

    def fixed(self, model: int, epoch: int, step: int) -> Row:
        """Return what of a model's row does not depend on how it has trained."""
        counted = {} if self.steps is None else {self.steps: step}
        return {**self.of[model], "epoch": epoch, **counted}


@dataclass
class Record:
    """One model: its rows, its best value and the epoch of that, and why it stopped ("" while it has not)."""

    rows: list[Row] = field(default_factory=list)
    best: float = math.inf
    best_epoch: int = NEVER
    stopped: str = ""


def checked_records(values: Mapping[str, Any], schedule: Schedule, table: Table, epoch: int) -> list[Record]:
    """Return the records under the key of that name in a file's values, as after so many epochs.

    Raises:
        ValueError: no training of this schedule and table leaves them; the message names the key.
    """
    found = []
    for model, held in enumerate(tensor_files.listed(values, "records", len(table.of))):
        key = f"records[{model}]"
        if not isinstance(held, dict) or held.keys() != vars(Record()).keys():
            raise ValueError(f"{key}: got {ranges.shown(held)}, needs {', '.join(vars(Record()))}")
        if held["stopped"] not in ("", *STOPS):
            raise ValueError(f"{key}.stopped: got {ranges.shown(held['stopped'])}, needs one of {STOPS}")
        rows = tensor_files.rows(held["rows"], f"{key}.rows", table.columns)
        expected = schedule.measured(epoch)
        fits = 0 < len(rows) <= len(expected) if held["stopped"] else len(rows) == len(expected)
        numbers = [row["epoch"] for row in rows]
        if not fits or numbers != expected[: len(rows)]:
            given, right = ranges.shown(numbers), ranges.shown(expected)
            raise ValueError(f"{key}.rows: got epochs {given}, needs {right}")
        for index, row in enumerate(rows):
            fixed = table.fixed(model, row["epoch"], row["epoch"] * schedule.steps)
            if any(row[name] != value for name, value in fixed.items()):
                given, right = ranges.shown(row), ranges.shown(fixed)
                raise ValueError(f"{key}.rows[{index}]: got {given}, needs {right}")
        best = tensor_files.number(held["best"], f"{key}.best")
        at = ranges.whole(f"{key}.best_epoch", held["best_epoch"], NEVER, epoch)
        if math.isnan(best) or (best == math.inf) != (at == NEVER):
            raise ValueError(f"{key}.best: got {best} at epoch {at}, needs a number, inf for no epoch")
        if at not in (NEVER, *numbers):
            raise ValueError(f"{key}.best_epoch: got {at}, needs an epoch of its rows")
        found.append(Record(**held))
    return found
