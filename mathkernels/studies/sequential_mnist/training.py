"""Train sequential MNIST run by run (Madsen & Johansen 2020, section 4.2), resumable within a run.

Knows nothing of the net but its methods, see `Net`. Loss: mean squared error over all prefixes. Adam with a
learning rate of 1e-3, 64 sequences at a time, in a new order each epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from mathkernels.data import mnist, ranges
from mathkernels.experiment import loop, plots, run_files, tensor_files
from mathkernels.experiment.checkpoint import Checkpoint
from mathkernels.experiment.learners import Alone
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.experiment.schedule import NEVER, Row, Schedule, Table
from mathkernels.experiment.training import Training
from mathkernels.studies.sequential_mnist import report

BATCH, RATE, EVALUATE = 64, 1e-3, 5
OUTPUTS = run_files.SEQUENTIAL
_TEXTS = ("data", "task", "variant", "unit")
_WHOLE = ("seed", "epoch", "step", "length", "best_epoch", "diverged")
FINE = -1  # the epoch at which a run diverged that did not


def _types(columns: Iterable[str]) -> dict[str, type]:
    return {name: str if name in _TEXTS else int if name in _WHOLE else float for name in columns}


CURVE_TYPES = _types(report.CURVE_COLUMNS)
# what is judged is not saved
ROW_TYPES = _types(name for name in report.RUN_COLUMNS if name not in ("threshold", "success"))


class Net(Protocol):
    """What is trained: a torch module with these methods."""

    def scalars(self, images: Tensor) -> Tensor:
        """(N,H,W) -> (N)."""
        ...

    def states(self, l: Tensor) -> Tensor:
        """(T,B) scalars -> (T,B) states."""
        ...

    def penalty(self, l: Tensor, h: Tensor, ramp: float, z: float) -> Tensor:
        """What is added to the loss; z weighs R_z."""
        ...

    def clamp_(self) -> None:
        """Called after each step of the optimiser."""
        ...


@dataclass(frozen=True)
class Plan:
    """The runs of a folder: every configuration (unit, weight of R_z) with seeds 0 to seeds - 1."""

    digits: mnist.Digits
    task: str
    configurations: tuple[tuple[str, float], ...]
    seeds: int
    epochs: int
    ramp: tuple[int, int]  # steps between which the discretisation gains weight
    make: Callable[[str], Any]  # unit -> a new Net

    def config(self) -> dict[str, Any]:
        """What decides the result, as JSON values."""
        plain = {"data": self.digits.source, "task": self.task, "configurations": self.configurations}
        rest = {"epochs": self.epochs, "ramp": self.ramp, "batch": BATCH, "rate": RATE, "evaluate": EVALUATE}
        return {**plain, "seeds": self.seeds, **rest}

    def runs(self) -> list[Run]:
        return [Run(self, unit, z, seed) for unit, z in self.configurations for seed in range(self.seeds)]


@dataclass(frozen=True)
class Run:
    """One of the runs of a plan: a unit, the weight of R_z, and the seed of first weights and orders."""

    plan: Plan
    unit: str
    z: float
    seed: int

    @property
    def place(self) -> dict[str, Any]:
        """What stands in each row of the run's curve."""
        name = report.variant(self.unit, self.z)
        return {"data": self.plan.digits.source, "task": self.plan.task, "variant": name, "seed": self.seed}

    def training(self) -> Training:
        """Return its new training."""
        torch.manual_seed(self.seed)
        net, plan = self.plan.make(self.unit), self.plan
        numbers, targets = self._sequences("train")
        learner = Alone(
            net,
            torch.optim.Adam(net.parameters(), lr=RATE),
            samples=len(numbers),
            batch=BATCH,
            loss=lambda rows, step: self._loss(net, numbers[rows], targets[rows], step),
            measure=lambda: {"valid_mse": self._error(net, "validation", self._scalars(net, "validation"))},
            noted=("penalty",),
            after=net.clamp_,
        )
        samples = len(numbers)
        schedule = Schedule(plan.epochs, learner.steps, samples, every=EVALUATE, from_start=True)
        return Training(learner, schedule, Table(CURVE_TYPES, [self.place], "valid_mse", steps="step"))

    def _sequences(self, part: str, length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        plan = self.plan
        return mnist.sequences(plan.digits, part, plan.task, length or mnist.TRAIN_LENGTHS[plan.task])

    def _loss(
        self, net: Net, numbers: np.ndarray, targets: np.ndarray, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of sequences of numbers of images (B,T), and the penalty in it."""
        images = torch.from_numpy(self.plan.digits.images["train"])
        chosen, wanted = torch.from_numpy(numbers.T), torch.from_numpy(targets.T).float()
        begin, end = self.plan.ramp
        ramp = min(1.0, max(0.0, (step - begin) / (end - begin)))
        l = net.scalars(images[chosen.flatten()]).reshape(chosen.shape)
        h = net.states(l)
        penalty = net.penalty(l, h, ramp, self.z)
        return (h - wanted).square().mean() + penalty, {"penalty": penalty}

    def _scalars(self, net: Net, part: str) -> Tensor:
        return net.scalars(torch.from_numpy(self.plan.digits.images[part]))

    def _error(self, net: Net, part: str, scalars: Tensor, length: int | None = None) -> float:
        """MSE over all prefixes, in double: squares of the longest products leave the range of float."""
        numbers, targets = self._sequences(part, length)
        h = net.states(scalars[torch.from_numpy(numbers.T)])
        return (h.double() - torch.from_numpy(targets.T)).square().mean().item()

    @torch.no_grad()
    def test(self, training: Training) -> list[Row]:
        """One row for each length, with the weights of the best validation epoch; NaN if the run is lost."""
        net, (record,) = self.plan.make(self.unit), training.records
        net.load_state_dict(tensor_files.row_of(training.best, 0))
        scalars, is_lost = self._scalars(net, "test"), lost(training)
        place = {**self.place, "unit": self.unit, "z": self.z, "best_epoch": record.best_epoch}
        place |= {"valid_mse": math.nan if is_lost else record.best, "diverged": diverged(training)}
        rows = []
        for length in mnist.lengths_to_test(self.plan.digits, self.plan.task):
            zero = float(np.square(self._sequences("test", length)[1]).mean())
            error = math.nan if is_lost else self._error(net, "test", scalars, length)
            rows.append({**place, "length": length, "test_mse": error, "zero_mse": zero})
        return rows


def diverged(training: Training) -> int:
    """Return the epoch of a run's first validation error that is infinite or NaN, -1 if there is none."""
    (record,) = training.records
    return record.rows[-1]["epoch"] if record.stopped == "diverged" else FINE


def lost(training: Training) -> bool:
    """Whether a run has diverged and has no other weights than those it began with."""
    return diverged(training) != FINE and training.records[0].best_epoch <= 0


def train(plan: Plan, folder: RunFolder) -> tuple[bool, int]:
    """Train what the folder's checkpoint does not have yet, and write all files.

    Ctrl-C leaves the rows of finished runs, and of the run in hand what was saved within the last seconds.

    Returns:
        Whether it went to the end, and how many runs diverged.
    """
    runs, checkpoint = plan.runs(), Checkpoint(folder.checkpoint, plan.config())
    try:
        _check_finished(plan, checkpoint.finished)
    except ValueError as error:
        raise checkpoint.refused(error) from error

    def finish(training: Training) -> dict[str, Any]:
        run = runs[len(checkpoint.finished)]
        _write_weights(folder, run, training)
        return {"rows": run.test(training), "curve": training.rows()}

    finished = loop.train_each([run.training for run in runs], checkpoint, finish)
    rows, curves = ([row for run in checkpoint.finished for row in run[key]] for key in ("rows", "curve"))
    write(folder, plan, rows, curves)
    return finished, len({(row["variant"], row["seed"]) for row in rows if row["diverged"] != FINE})


def _check_finished(plan: Plan, finished: list[Any]) -> None:
    """Refuse rows and curves of runs that are over if they are not those of the plan's first runs."""
    runs = plan.runs()
    ranges.whole("finished, how many", len(finished), 0, len(runs))
    lengths = mnist.lengths_to_test(plan.digits, plan.task)
    for index, (held, run) in enumerate(zip(finished, runs, strict=False)):
        key = f"finished[{index}]"
        if not isinstance(held, dict) or held.keys() != {"rows", "curve"}:
            raise ValueError(f"{key}: got {ranges.shown(held)}, needs rows and curve")
        rows = tensor_files.rows(held["rows"], f"{key}.rows", ROW_TYPES)
        curve = tensor_files.rows(held["curve"], f"{key}.curve", CURVE_TYPES)
        fixed = {**run.place, "unit": run.unit, "z": run.z}
        if [row["length"] for row in rows] != [*lengths] or any(_differs(row, fixed) for row in rows):
            raise ValueError(f"{key}.rows: got {len(rows)}, needs those of {fixed}")
        if any(_differs(row, run.place) for row in curve):
            raise ValueError(f"{key}.curve: needs rows of {run.place}")
        numbers = [(name, row[name]) for row in rows for name in ("best_epoch", "diverged")]
        for name, value in [*numbers, *(("epoch", row["epoch"]) for row in curve)]:
            ranges.whole(f"{key}: {name}", value, NEVER, plan.epochs)


def _differs(row: Row, fixed: Row) -> bool:
    return any(row[name] != value for name, value in fixed.items())


def _write_weights(folder: RunFolder, run: Run, training: Training) -> None:
    """Write the weights of the best validation epoch, if it has some."""
    z = f"{run.z:g}" if float(f"{run.z:g}") == run.z else repr(run.z)
    path = folder.path / "weights" / f"{run.unit}-z{z}-seed{run.seed}.safetensors"
    path.parent.mkdir(exist_ok=True)
    if lost(training):
        path.unlink(missing_ok=True)
        return
    tensor_files.write(path, tensor_files.row_of(training.best, 0), {"data": run.place["data"]})


def write(folder: RunFolder, plan: Plan, rows: list[Row], curves: list[Row]) -> None:
    """Write tables and figure of the runs that are done."""
    judged = report.judged(rows)
    summary = report.summary_rows(judged)
    folder.write_csv("runs.csv", judged, report.RUN_COLUMNS)
    folder.write_csv("curves.csv", curves, report.CURVE_COLUMNS)
    folder.write_csv("summary.csv", summary, report.SUMMARY_COLUMNS)
    if any(math.isfinite(row["test_mse_high"]) for row in summary):  # else there is nothing to draw
        figure = report.figure(summary, mnist.TRAIN_LENGTHS[plan.task])
        plots.save(figure, [folder.path / "figure.png"], dpi=150)
    print(report.table(summary) if summary else "no run is done yet")
    for name, seed, epoch in sorted({(r["variant"], r["seed"], r["diverged"]) for r in rows}):
        if epoch != FINE:
            print(f"{name}, seed {seed} diverged: its validation error is infinite or NaN at epoch {epoch}")
