"""Train sequential MNIST run by run (Madsen & Johansen 2020, section 4.2), resumable within a run.

Knows nothing of the net but its methods, see `Net`. Loss: mean squared error over all prefixes. Adam with a
learning rate of 1e-3, 64 sequences at a time, in a new order each epoch.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from mathkernels.data import mnist
from mathkernels.experiment import plots
from mathkernels.experiment import sequential_mnist as report
from mathkernels.experiment.optional import load
from mathkernels.experiment.run_folder import RunFolder, replacing

BATCH, RATE, EVALUATE = 64, 1e-3, 5
SAVE_SECONDS = 10.0
OUTPUTS = ("runs.csv", "curves.csv", "summary.csv", "figure.png")


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

    def runs(self) -> list[tuple[str, float, int]]:
        return [(unit, z, seed) for unit, z in self.configurations for seed in range(self.seeds)]


class Training:
    """One run. `state` is what a checkpoint holds of it, and `load` takes it back."""

    def __init__(self, plan: Plan, unit: str, z: float, seed: int) -> None:
        torch.manual_seed(seed)
        self.plan, self.z = plan, z
        self.net = plan.make(unit)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=RATE)
        self.best = copy.deepcopy(self.net.state_dict())
        self.at: dict[str, Any] = {"epoch": 0, "step": 0, "best_epoch": -1, "best": math.inf, "penalty": 0.0}
        self.curve: list[dict[str, Any]] = []
        name = report.variant(unit, z)
        self.place = {"data": plan.digits.source, "task": plan.task, "variant": name, "seed": seed}
        self.configuration = {"unit": unit, "z": z}

    def state(self) -> dict[str, Any]:
        weights = {"net": self.net.state_dict(), "best": self.best, "optimizer": self.optimizer.state_dict()}
        return {**weights, "at": self.at, "curve": self.curve, "random": torch.get_rng_state()}

    def load(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.at, self.curve = state["best"], state["at"], state["curve"]
        torch.set_rng_state(state["random"])

    @torch.no_grad()
    def _error(self, part: str, scalars: Tensor, length: int) -> float:
        """MSE over all prefixes, in double: squares of the longest products leave the range of float."""
        numbers, targets = mnist.sequences(self.plan.digits, part, self.plan.task, length)
        h = self.net.states(scalars[torch.from_numpy(numbers.T)])
        return (h.double() - torch.from_numpy(targets.T)).square().mean().item()

    @torch.no_grad()
    def evaluate(self) -> None:
        """Log the validation error of this epoch and keep the best weights, unless this was done before."""
        if self.curve and self.curve[-1]["epoch"] == self.at["epoch"]:
            return
        scalars = self.net.scalars(torch.from_numpy(self.plan.digits.images["validation"]))
        valid = self._error("validation", scalars, mnist.TRAIN_LENGTHS[self.plan.task])
        if valid < self.at["best"]:
            self.at["best"], self.at["best_epoch"] = valid, self.at["epoch"]
            self.best = copy.deepcopy(self.net.state_dict())
        logged = {name: self.at[name] for name in ("epoch", "step", "penalty")}
        self.curve.append({**self.place, **logged, "valid_mse": valid})

    def epoch(self) -> None:
        """Go once through the training sequences."""
        length = mnist.TRAIN_LENGTHS[self.plan.task]
        numbers, targets = mnist.sequences(self.plan.digits, "train", self.plan.task, length)
        for rows in torch.randperm(len(numbers)).split(BATCH):
            self._step(torch.from_numpy(numbers[rows].T), torch.from_numpy(targets[rows].T).float())
        self.at["epoch"] += 1

    def _step(self, numbers: Tensor, targets: Tensor) -> None:
        images = torch.from_numpy(self.plan.digits.images["train"])
        begin, end = self.plan.ramp
        ramp = min(1.0, max(0.0, (self.at["step"] - begin) / (end - begin)))
        l = self.net.scalars(images[numbers.flatten()]).reshape(numbers.shape)
        h = self.net.states(l)
        penalty = self.net.penalty(l, h, ramp, self.z)
        self.optimizer.zero_grad()
        ((h - targets).square().mean() + penalty).backward()
        self.optimizer.step()
        self.net.clamp_()
        self.at["step"] += 1
        self.at["penalty"] = penalty.item()

    def test(self) -> list[dict[str, Any]]:
        """One row for each length, with the weights of the best validation epoch."""
        self.net.load_state_dict(self.best)
        digits, task = self.plan.digits, self.plan.task
        with torch.no_grad():
            scalars = self.net.scalars(torch.from_numpy(digits.images["test"]))
        own = {"best_epoch": self.at["best_epoch"], "valid_mse": self.at["best"]}
        place = {**self.place, **self.configuration, **own}
        rows = []
        for length in mnist.lengths_to_test(digits, task):
            zero = float(np.square(mnist.sequences(digits, "test", task, length)[1]).mean())
            errors = {"test_mse": self._error("test", scalars, length), "zero_mse": zero}
            rows.append({**place, "length": length, **errors})
        return rows


def train(plan: Plan, folder: RunFolder) -> bool:
    """Train what the folder's checkpoint does not have yet, and write all files; return whether to the end.

    Ctrl-C leaves the rows of finished runs, and of the run in hand what was saved within the last seconds.
    """
    saved: dict[str, Any] = {"done": 0, "rows": [], "curves": [], "current": None}
    if folder.checkpoint.exists():
        saved = torch.load(folder.checkpoint)
    runs = plan.runs()
    bar = load("tqdm").tqdm(total=len(runs) * plan.epochs, unit=" epochs", disable=None)
    try:
        for configuration in runs[saved["done"] :]:
            run = Training(plan, *configuration)
            if saved["current"] is not None:
                run.load(saved["current"])
            bar.update(saved["done"] * plan.epochs + run.at["epoch"] - bar.n)
            _train_run(run, bar, partial(_save_current, folder, saved))
            _write_weights(folder, run)
            rows, curves = saved["rows"] + run.test(), saved["curves"] + run.curve
            saved = {"done": saved["done"] + 1, "rows": rows, "curves": curves, "current": None}
            _save(folder, saved)
    except KeyboardInterrupt:
        pass
    finally:
        bar.close()
    write(folder, plan, saved["rows"], saved["curves"])
    return saved["done"] == len(runs)


def _train_run(run: Training, bar: Any, save: Callable[[dict[str, Any]], None]) -> None:
    last = time.monotonic()
    while run.at["epoch"] < run.plan.epochs:
        if run.at["epoch"] % EVALUATE == 0:
            run.evaluate()
            if time.monotonic() - last >= SAVE_SECONDS:
                save(run.state())
                last = time.monotonic()
        run.epoch()
        bar.update()
    run.evaluate()


def _save(folder: RunFolder, saved: dict[str, Any]) -> None:
    with replacing(folder.checkpoint) as temporary:
        torch.save(saved, temporary)


def _save_current(folder: RunFolder, saved: dict[str, Any], current: dict[str, Any]) -> None:
    _save(folder, {**saved, "current": current})


def _write_weights(folder: RunFolder, run: Training) -> None:
    """Write the weights of the best validation epoch."""
    name = f"{run.configuration['unit']}-z{run.z:g}-seed{run.place['seed']}.safetensors"
    path = folder.path / "weights" / name
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary:
        load("safetensors.torch").save_file(run.best, temporary, metadata={"data": run.place["data"]})


def write(folder: RunFolder, plan: Plan, rows: list[dict[str, Any]], curves: list[dict[str, Any]]) -> None:
    """Write tables and figure of the runs that are done."""
    judged = report.judged(rows)
    summary = report.summary_rows(judged)
    folder.write_csv("runs.csv", judged, report.RUN_COLUMNS)
    folder.write_csv("curves.csv", curves, report.CURVE_COLUMNS)
    folder.write_csv("summary.csv", summary, report.SUMMARY_COLUMNS)
    if summary:
        figure = report.figure(summary, mnist.TRAIN_LENGTHS[plan.task])
        plots.save(figure, [folder.path / "figure.png"], dpi=150)
    print(report.table(summary) if summary else "no run is done yet")
