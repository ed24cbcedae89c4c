"""Models in training: epochs and steps, what is measured, the best weights, and when each model stops.

Knows of the models only what :class:`Learner` says. :mod:`mathkernels.experiment.loop` moves a training on,
and :mod:`mathkernels.experiment.checkpoint` keeps its state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from mathkernels.data import ranges
from mathkernels.experiment import tensor_files
from mathkernels.experiment.command_line import uninterrupted

NEVER = -1  # the best epoch of a model that has none
STOPS = ("solved", "diverged", "patience", "epochs")
LONGEST = 1e15  # seconds
Row = dict[str, Any]


class Learner(Protocol):
    """E models that train side by side. Tensors of weights and state lead with E, in the order of models."""

    def step(self, number: int) -> int:
        """Train every model on the batch of this step, counted from 0; return how many samples that were."""
        ...

    def measure(self) -> Sequence[Mapping[str, Any]]:
        """Return for each model what the columns of the table hold that it alone knows, as plain numbers."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """Return what answers are computed from, (E,...) by name."""
        ...

    def keep(self, places: list[int]) -> None:
        """Go on with the models in these places alone."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return everything that training goes on from."""
        ...

    def load_state(self, state: Mapping[str, Tensor], models: list[int], steps: int) -> None:
        """Go on from a state after so many steps.

        Args:
            state: as ``state`` returned it, perhaps altered since.
            models: their numbers among all that the training began with.
            steps: done.

        Raises:
            ValueError: it is of other models, or holds what no training leaves; the message names the key.
        """
        ...


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


@dataclass
class Record:
    """One model: its rows, its best value and the epoch of that, and why it stopped ("" while it has not)."""

    rows: list[Row] = field(default_factory=list)
    best: float = math.inf
    best_epoch: int = NEVER
    stopped: str = ""


class Training:
    """Models in training.

    Args:
        learner: new; it has the models of ``table.of`` in their order.
        schedule: of all models.
        table: what is logged.

    Attributes:
        records: of all models.
        active: the numbers of the models that go on.
        best: the weights of each model's best epoch (E,...), those it began with before there is one.
        step, seconds, samples: done and spent so far; the seconds are those of steps.
    """

    def __init__(self, learner: Learner, schedule: Schedule, table: Table) -> None:
        self.learner, self.schedule, self.table = learner, schedule, table
        self.records = [Record() for _ in table.of]
        self.active = list(range(len(table.of)))
        self.best = {name: own.detach().cpu().clone() for name, own in learner.weights().items()}
        self.step, self.seconds, self.samples = 0, 0.0, 0

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.step // self.schedule.steps

    @property
    def finished(self) -> bool:
        return not self.active

    def rows(self) -> list[Row]:
        """Return the rows of all models, those of an epoch together."""
        return sorted((row for one in self.records for row in one.rows), key=lambda row: row["epoch"])

    def left(self) -> float:
        """Return how many samples are left if every model that goes on does so to the last epoch."""
        epochs = self.schedule.epochs - self.step / self.schedule.steps
        return epochs * self.schedule.samples * len(self.active)

    def advance(self) -> list[Row]:
        """Do a step; return the rows that were measured, which are none within an epoch."""
        if self.schedule.from_start and not (self.step or self.records[0].rows):
            return self.end_epoch()
        self.update()
        within = self.step % self.schedule.steps
        due = self.epoch % self.schedule.every == 0 or self.epoch == self.schedule.epochs
        return self.end_epoch() if due and not within else []

    def update(self) -> None:
        """Train every model that goes on with the next step."""
        begun = time.perf_counter()
        self.samples += self.learner.step(self.step)
        self.step += 1
        self.seconds += time.perf_counter() - begun

    def end_epoch(self) -> list[Row]:
        """Measure the models, keep weights that are the best so far, and let models stop; return the rows."""
        measured = self.learner.measure()
        with uninterrupted():
            rows = [self._note(model, own) for model, own in zip(self.active, measured, strict=True)]
            self._keep_best()
            self._stop()
        return rows

    def _note(self, model: int, measured: Mapping[str, Any]) -> Row:
        row = {**self.table.of[model], "epoch": self.epoch}
        if self.table.steps is not None:
            row[self.table.steps] = self.step
        row.update(measured)
        if self.table.timed:
            row["seconds"] = round(self.seconds, 3)
        self.records[model].rows.append(row)
        return row

    def _keep_best(self) -> None:
        weights: dict[str, Tensor] = {}
        for place, model in enumerate(self.active):
            record = self.records[model]
            watched = record.rows[-1][self.table.monitor]
            if not watched < record.best:
                continue
            record.best, record.best_epoch = watched, self.epoch
            weights = weights or self.learner.weights()
            for name, own in weights.items():
                self.best[name][model] = own[place].detach().cpu()

    def _stop(self) -> None:
        reasons = [
            self.schedule.reason(self.records[model], self.epoch, self.table.monitor) for model in self.active
        ]
        if self.schedule.together and not all(reasons):
            return
        for model, reason in zip(self.active, reasons, strict=True):
            self.records[model].stopped = reason
        staying = [place for place, reason in enumerate(reasons) if not reason]
        if 0 < len(staying) < len(self.active):
            self.learner.keep(staying)
        self.active = [self.active[place] for place in staying]

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that training goes on from, as tensors and as JSON values."""
        tensors = tensor_files.prefixed("best.", self.best)
        if self.active:
            tensors |= tensor_files.prefixed("learner.", self.learner.state())
        at = {"step": self.step, "samples": self.samples, **self._spent()}
        return tensors, {**at, "records": [vars(one) for one in self.records]}

    def _spent(self) -> dict[str, float]:
        """Return the seconds, if they are logged; else equal trainings have equal states."""
        return {"seconds": self.seconds} if self.table.timed else {}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: it is of another model, or holds what no training leaves; the message names the key.
        """
        tensor_files.only(tensors, ("best.", "learner."))
        best, state = (tensor_files.below(name, tensors) for name in ("best.", "learner."))
        tensor_files.match(best, self.best)
        last = self.schedule.epochs * self.schedule.steps
        step = tensor_files.whole(values, "step", 0, last)
        samples = tensor_files.whole(values, "samples", 0, ranges.LAST_SEED)
        seconds = ranges.real("seconds", values.get("seconds"), 0, LONGEST) if self.table.timed else 0.0
        records = self._checked_records(values, step // self.schedule.steps)
        active = [model for model, one in enumerate(records) if not one.stopped]
        wrong = (step == last or (self.schedule.together and len(active) < len(records))) and active
        if wrong or (state and not active):
            raise ValueError(f"records: got {len(active)} models that go on behind step {step}")
        if active:
            self.learner.load_state(state, active, step)
        self.best, self.records, self.active = best, records, active
        self.step, self.samples, self.seconds = step, samples, seconds

    def _checked_records(self, values: Mapping[str, Any], epoch: int) -> list[Record]:
        found = []
        for model, held in enumerate(tensor_files.listed(values, "records", len(self.records))):
            key = f"records[{model}]"
            if not isinstance(held, dict) or held.keys() != vars(Record()).keys():
                raise ValueError(f"{key}: got {ranges.shown(held)}, needs {', '.join(vars(Record()))}")
            if held["stopped"] not in ("", *STOPS):
                raise ValueError(f"{key}.stopped: got {ranges.shown(held['stopped'])}, needs one of {STOPS}")
            self._check_rows(held, f"{key}.rows", self.table.of[model], epoch)
            best = tensor_files.number(held["best"], f"{key}.best")
            at = ranges.whole(f"{key}.best_epoch", held["best_epoch"], NEVER, epoch)
            if math.isnan(best) or (best == math.inf) != (at == NEVER):
                raise ValueError(f"{key}.best: got {best} at epoch {at}, needs a number, inf for no epoch")
            if at not in (NEVER, *(row["epoch"] for row in held["rows"])):
                raise ValueError(f"{key}.best_epoch: got {at}, needs an epoch of its rows")
            found.append(Record(**held))
        return found

    def _check_rows(self, held: Mapping[str, Any], key: str, of: Mapping[str, Any], epoch: int) -> None:
        rows = tensor_files.rows(held["rows"], key, self.table.columns)
        expected = self.schedule.measured(epoch)
        fits = 0 < len(rows) <= len(expected) if held["stopped"] else len(rows) == len(expected)
        numbers = [row["epoch"] for row in rows]
        if not fits or numbers != expected[: len(rows)]:
            raise ValueError(f"{key}: got epochs {ranges.shown(numbers)}, needs {ranges.shown(expected)}")
        for index, row in enumerate(rows):
            fixed = {**of, **self._counted(row["epoch"])}
            if any(row[name] != value for name, value in fixed.items()):
                raise ValueError(f"{key}[{index}]: got {ranges.shown(row)}, needs {ranges.shown(fixed)}")

    def _counted(self, epoch: int) -> dict[str, int]:
        return {} if self.table.steps is None else {self.table.steps: epoch * self.schedule.steps}
