"""Train sequential MNIST run by run (Madsen & Johansen 2020, section 4.2), resumable within a run.

Knows nothing of the net but its methods, see `Net`. Loss: mean squared error over all prefixes. Adam with a
learning rate of 1e-3, 64 sequences at a time, in a new order each epoch.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from mathkernels.data import mnist, ranges
from mathkernels.experiment import plots, run_files, tensor_files
from mathkernels.experiment.optional import load
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.experiment.tensor_files import below, only, prefixed
from mathkernels.studies.sequential_mnist import report

BATCH, RATE, EVALUATE = 64, 1e-3, 5
SAVE_SECONDS = 10.0
OUTPUTS = run_files.SEQUENTIAL
STATE = "state"  # of a checkpoint: its JSON text
_TEXTS = ("data", "task", "variant", "unit")
_WHOLE = ("seed", "epoch", "step", "length", "best_epoch", "diverged")


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
        self.at["diverged"] = -1  # or the epoch of the first validation error that is infinite or NaN
        self.curve: list[dict[str, Any]] = []
        name = report.variant(unit, z)
        self.place = {"data": plan.digits.source, "task": plan.task, "variant": name, "seed": seed}
        self.configuration = {"unit": unit, "z": z}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that training goes on from, as tensors and as JSON values."""
        tensors = prefixed("net.", self.net.state_dict()) | prefixed("best.", self.best)
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= prefixed(f"moments.{index}.", moments)
        return {**tensors, "random": torch.get_rng_state()}, {"at": self.at, "curve": self.curve}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: it is of another model, or holds what no training leaves; the message names the key.
        """
        only(tensors, ("net.", "best.", "moments.", "random"))
        net, best = below("net.", tensors), below("best.", tensors)
        for own, what in ((net, "net."), (best, "best.")):
            tensor_files.match(own, self.net.state_dict(), what)
        at, curve = self._checked_place(values)
        moments = self._checked_moments(below("moments.", tensors), at["step"])
        random = {name: own for name, own in tensors.items() if name.startswith("random")}
        tensor_files.match(random, {"random": torch.get_rng_state()})
        self.net.load_state_dict(net)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.best, self.at, self.curve = best, at, curve
        try:
            torch.set_rng_state(random["random"])
        except RuntimeError as error:
            raise ValueError(f"random: got no state of torch's generator ({error})") from error

    def _checked_place(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        at, epochs = values.get("at"), self.plan.epochs
        if not isinstance(at, dict) or at.keys() != self.at.keys():
            raise ValueError(f"at: got {ranges.shown(at)}, needs {', '.join(self.at)}")
        epoch = tensor_files.whole(at, "epoch", 0, epochs)
        steps = epoch * self.steps_per_epoch
        tensor_files.whole(at, "step", steps, steps)
        ranges.whole("at.best_epoch", at["best_epoch"], -1, epoch)
        ranges.whole("at.diverged", at["diverged"], -1, epoch)
        tensor_files.number(at["penalty"], "at.penalty")
        best = tensor_files.number(at["best"], "at.best")
        if math.isnan(best) or (best == math.inf) != (at["best_epoch"] == -1):
            raise ValueError(f"at.best: got {best} at epoch {at['best_epoch']}, needs a finite number")
        curve = tensor_files.rows(values.get("curve"), "curve", CURVE_TYPES)
        for index, row in enumerate(curve):
            if any(row[name] != value for name, value in self.place.items()) or row["epoch"] > epoch:
                raise ValueError(f"curve[{index}]: got {ranges.shown(row)}, needs a row of {self.place}")
        return at, curve

    def _checked_moments(self, held: Mapping[str, Tensor], step: int) -> dict[int, dict[str, Tensor]]:
        """Return the state of Adam by the number of each parameter."""
        needed: dict[str, Tensor] = {}
        parameters = list(self.net.parameters()) if step else []
        for index, parameter in enumerate(parameters):
            needed |= {f"{index}.{name}": parameter for name in ("exp_avg", "exp_avg_sq")}
            needed[f"{index}.step"] = torch.tensor(0.0)
        tensor_files.match(held, needed, "moments.")
        own = {index: below(f"{index}.", held) for index in range(len(parameters))}
        for index, moments in own.items():
            if moments["step"].item() != step:
                raise ValueError(f"moments.{index}.step: got {moments['step'].item():g}, needs {step}")
            tensor_files.not_negative({"exp_avg_sq": moments["exp_avg_sq"]}, f"moments.{index}.")
        return own

    @property
    def steps_per_epoch(self) -> int:
        length = mnist.TRAIN_LENGTHS[self.plan.task]
        return -(-len(mnist.sequences(self.plan.digits, "train", self.plan.task, length)[0]) // BATCH)

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
        if not math.isfinite(valid) and self.at["diverged"] < 0:
            self.at["diverged"] = self.at["epoch"]
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

    @property
    def lost(self) -> bool:
        """Whether the run has diverged and has no other weights than those it began with."""
        return self.at["diverged"] >= 0 and self.at["best_epoch"] <= 0

    def test(self) -> list[dict[str, Any]]:
        """One row for each length, with the weights of the best validation epoch; NaN if the run is lost."""
        self.net.load_state_dict(self.best)
        digits, task = self.plan.digits, self.plan.task
        with torch.no_grad():
            scalars = self.net.scalars(torch.from_numpy(digits.images["test"]))
        lost = self.lost
        own = {"best_epoch": self.at["best_epoch"], "valid_mse": math.nan if lost else self.at["best"]}
        own["diverged"] = self.at["diverged"]
        place = {**self.place, **self.configuration, **own}
        rows = []
        for length in mnist.lengths_to_test(digits, task):
            zero = float(np.square(mnist.sequences(digits, "test", task, length)[1]).mean())
            error = math.nan if lost else self._error("test", scalars, length)
            errors = {"test_mse": error, "zero_mse": zero}
            rows.append({**place, "length": length, **errors})
        return rows


State = tuple[Mapping[str, Tensor], Mapping[str, Any]]  # of a training


@dataclass
class Saved:
    """What a checkpoint holds: rows and curves of runs that are done, and the state of the one in hand."""

    done: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    current: State | None = None


def train(plan: Plan, folder: RunFolder) -> tuple[bool, int]:
    """Train what the folder's checkpoint does not have yet, and write all files.

    Ctrl-C leaves the rows of finished runs, and of the run in hand what was saved within the last seconds.

    Returns:
        Whether it went to the end, and how many runs diverged.
    """
    runs = plan.runs()
    saved = read(folder, plan) if folder.checkpoint.exists() else Saved()
    bar = load("tqdm").tqdm(total=len(runs) * plan.epochs, unit=" epochs", disable=None)
    try:
        for configuration in runs[saved.done :]:
            run = Training(plan, *configuration)
            if saved.current is not None:
                _go_on(run, saved.current, folder)
            bar.update(saved.done * plan.epochs + run.at["epoch"] - bar.n)
            _train_run(run, bar, partial(_save_current, folder, saved))
            _write_weights(folder, run)
            saved = Saved(saved.done + 1, saved.rows + run.test(), saved.curves + run.curve)
            _save(folder, saved)
    except KeyboardInterrupt:
        pass
    finally:
        bar.close()
    write(folder, plan, saved.rows, saved.curves)
    diverged = {(row["variant"], row["seed"]) for row in saved.rows if row["diverged"] >= 0}
    return saved.done == len(runs), len(diverged)


def _train_run(run: Training, bar: Any, save: Callable[[State], None]) -> None:
    last = time.monotonic()
    while run.at["epoch"] < run.plan.epochs and run.at["diverged"] < 0:
        if run.at["epoch"] % EVALUATE == 0:
            run.evaluate()
            if time.monotonic() - last >= SAVE_SECONDS:
                save(run.state())
                last = time.monotonic()
        if run.at["diverged"] < 0:
            run.epoch()
            bar.update()
    run.evaluate()


def _save(folder: RunFolder, saved: Saved) -> None:
    tensors, current = ({}, None) if saved.current is None else saved.current
    values = {"done": saved.done, "rows": saved.rows, "curves": saved.curves, "current": current}
    tensor_files.write(folder.checkpoint, tensors, {STATE: json.dumps(values)})


def _save_current(folder: RunFolder, saved: Saved, current: State) -> None:
    _save(folder, replace(saved, current=current))


def read(folder: RunFolder, plan: Plan) -> Saved:
    """Return what the checkpoint of a folder holds.

    Raises:
        ValueError: it is damaged or of another plan; the message names the file and the key.
    """
    try:
        tensors, texts = tensor_files.read(folder.checkpoint)
        values = tensor_files.facts(texts, STATE)
        runs = plan.runs()
        done = tensor_files.whole(values, "done", 0, len(runs))
        rows = tensor_files.rows(values.get("rows"), "rows", ROW_TYPES)
        lengths = mnist.lengths_to_test(plan.digits, plan.task)
        known = [(unit, z, seed, length) for unit, z, seed in runs[:done] for length in lengths]
        if [(row["unit"], row["z"], row["seed"], row["length"]) for row in rows] != known:
            raise ValueError(f"rows: got {len(rows)}, needs those of the first {done} runs")
        for index, row in enumerate(rows):
            for name in ("best_epoch", "diverged"):
                ranges.whole(f"rows[{index}].{name}", row[name], -1, plan.epochs)
        curves = tensor_files.rows(values.get("curves"), "curves", CURVE_TYPES)
        for index, row in enumerate(curves):
            ranges.whole(f"curves[{index}].epoch", row["epoch"], 0, plan.epochs)
        current = values.get("current")
        if current is not None and not (isinstance(current, dict) and done < len(runs)):
            raise ValueError(f"current: got {ranges.shown(current)}, needs a run that is not done")
    except ValueError as error:
        raise _no_checkpoint(folder, error) from error
    return Saved(done, rows, curves, None if current is None else (tensors, current))


def _go_on(run: Training, current: State, folder: RunFolder) -> None:
    try:
        run.load(*current)
    except ValueError as error:
        raise _no_checkpoint(folder, error) from error


def _no_checkpoint(folder: RunFolder, error: ValueError) -> ValueError:
    what = f"is damaged or no checkpoint of this run ({error}); --overwrite starts anew"
    return ValueError(f"checkpoint: '{folder.checkpoint}' {what}")


def _write_weights(folder: RunFolder, run: Training) -> None:
    """Write the weights of the best validation epoch, if it has some."""
    z = f"{run.z:g}" if float(f"{run.z:g}") == run.z else repr(run.z)
    name = f"{run.configuration['unit']}-z{z}-seed{run.place['seed']}.safetensors"
    path = folder.path / "weights" / name
    path.parent.mkdir(exist_ok=True)
    if run.lost:
        path.unlink(missing_ok=True)
        return
    tensor_files.write(path, run.best, {"data": run.place["data"]})


def write(folder: RunFolder, plan: Plan, rows: list[dict[str, Any]], curves: list[dict[str, Any]]) -> None:
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
        if epoch >= 0:
            print(f"{name}, seed {seed} diverged: its validation error is infinite or NaN at epoch {epoch}")
