"""Models in training: epochs and steps, what is measured, the best weights, and when each model stops.

Knows of the models only what :class:`Learner` says. :mod:`mathkernels.experiment.loop` moves a training on,
and :mod:`mathkernels.experiment.checkpoint` keeps its state.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from mathkernels.data import ranges
from mathkernels.experiment import tensor_files
from mathkernels.experiment.command_line import uninterrupted
from mathkernels.experiment.schedule import Record, Row, Schedule, Table, checked_records

LONGEST = 1e15  # seconds


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
        """Go on with the models in these places alone; never called if the schedule stops all together."""
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
        row = {**self.table.fixed(model, self.epoch, self.step), **measured}
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
        records = checked_records(values, self.schedule, self.table, step // self.schedule.steps)
        active = [model for model, one in enumerate(records) if not one.stopped]
        wrong = (step == last or (self.schedule.together and len(active) < len(records))) and active
        if wrong or (state and not active):
            raise ValueError(f"records: got {len(active)} models that go on behind step {step}")
        if active:
            self.learner.load_state(state, active, step)
        self.best, self.records, self.active = best, records, active
        self.step, self.samples, self.seconds = step, samples, seconds
