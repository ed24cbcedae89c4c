"""Train E models on the adding problem at once, each with its own data; after a kill go on to the same bits.

Everything random is a function of a model's seed and the number of the update, so a checkpoint needs no state
of a generator. Models that have stopped leave the net, and the others go on without them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mathkernels.data import adding, ranges
from mathkernels.experiment import configuration, tensor_files
from mathkernels.experiment.command_line import uninterrupted
from mathkernels.experiment.memory import memory_of_machine
from mathkernels.experiment.tensor_files import below, prefixed
from mathkernels.studies.adding.batched_optimizer import BatchedOptimizer
from mathkernels.studies.adding.config import Config
from mathkernels.studies.adding.lstm_initial import initial

EVALUATED_AT_ONCE = 500  # sequences
INPUTS = 2
PLACE = "artifacts"  # the key of the configuration that says where, not what
STOPS = ("solved", "diverged", "patience", "epochs")
_ROW = {"epoch": int, "updates": int, "loss": float, "val_loss": float, "within": float, "seconds": float}
_ORDER = 2  # of the streams of a seed: those of the data are 0 and 1


@dataclass(frozen=True)
class Plan:
    """What is trained in one call.

    Args:
        config: of every model.
        seeds: one for each model; it decides its data, their order and its initial weights.
        make: E -> a new net of E models, a module of (E,T,B,2) -> (E,B) whose parameters lead with E and are
            named as in :func:`initial`.
        layer: what the net is made of, for the record.
        device: where it is trained.
    """

    config: Config
    seeds: tuple[int, ...]
    make: Callable[[int], nn.Module]
    layer: str
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def describe(self) -> dict[str, Any]:
        """What decides the result, as JSON values."""
        place = {"models": len(self.seeds), "layer": self.layer, "device": self.device.type}
        return {**described(self.config), **place}

    def check(self) -> None:
        """Refuse, before anything is allocated, what this machine's memory cannot hold or seeds cannot be.

        Raises:
            ValueError: the message names the keys.
        """
        dataset, cells, models = self.config.dataset, self.config.model.cells, len(self.seeds)
        ranges.whole("optim.seed of the last model", self.seeds[-1], 0, ranges.LAST_SEED)
        data = models * dataset.dt_length * (4 * dataset.t + 20)  # numbers, two marks, the sum
        weights = models * 16 * cells * (cells + INPUTS + 1) * 6  # values, gradients, two moments, best, new
        held = memory_of_machine()
        if held is not None and data + weights > held:
            size = (
                f"{dataset.dt_length} sequences of {dataset.t} numbers and {cells} cells for {models} models"
            )
            what = f"got {size}, which take {(data + weights) / 2**30:,.0f} GiB"
            right = f"needs no more than this machine's {held / 2**30:,.0f} GiB"
            raise ValueError(f"dataset.dt_length, dataset.t, model.cells: {what}; {right}")


def described(config: Config) -> dict[str, Any]:
    """Return what of a configuration decides the result, as JSON values: all but the place of the folder."""
    return {name: value for name, value in configuration.plain(config).items() if name != PLACE}


@dataclass
class Progress:
    """One model: its epochs so far, and why it stopped ("" while it has not)."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    best: float = math.inf
    best_epoch: int = 0
    stopped: str = ""


class Training:
    """The models of a plan, moved on by :meth:`update` and, at the end of each epoch, :meth:`end_epoch`."""

    def __init__(self, plan: Plan) -> None:
        config = plan.config
        self.plan, self.config = plan, config
        self.data = [
            adding.generate(
                config.dataset.dt_length, config.dataset.t, seed, one_per_half=config.dataset.one_per_half
            )
            for seed in plan.seeds
        ]
        self.passes = math.ceil(
            config.rows_to_train() / config.train.batch
        )  # updates of a pass over the data
        self.per_epoch = config.train.steps_per_epoch or self.passes
        self.progress = [Progress() for _ in plan.seeds]
        self.updates, self.seconds, self.sequences = 0, 0.0, 0
        model, (kind, _, gate) = config.model, config.model.initial.partition("-")
        start = partial(
            initial,
            forget_bias=model.forget_bias,
            chrono=config.dataset.t if kind == "chrono" else None,
            gates=(gate,) if gate else ("input", "forget"),
        )
        drawn = [start(INPUTS, model.cells, seed) for seed in plan.seeds]
        self.best = {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}
        self._build(list(range(len(plan.seeds))), self.best, {}, 0)
        self._reset_sums()
        self._orders: tuple[int, list[np.ndarray]] = (-1, [])

    def _build(
        self, active: list[int], weights: dict[str, Tensor], moments: dict[str, Tensor], steps: int
    ) -> None:
        """Make the net and the optimiser of these models."""
        self.active = active
        self.net = self.plan.make(len(active)).to(self.plan.device)
        self.net.load_state_dict(weights)
        own = dict(self.net.named_parameters())
        own["lstm.bias_hh_l0"].requires_grad_(False)  # Keras has one bias
        trained = {name: value for name, value in own.items() if value.requires_grad}
        optim = self.config.optim
        self.optimizer = BatchedOptimizer(optim.name, optim.learning_rate, optim.clip_norm, trained)
        for name, value in moments.items():
            self.optimizer.moments[name].copy_(value)
        self.optimizer.steps = steps

    def _reset_sums(self) -> None:
        self.squares = torch.zeros(len(self.active), dtype=torch.float64)
        self.rows = 0

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.updates // self.per_epoch

    @property
    def finished(self) -> bool:
        return not self.active

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Return the inputs (E,T,B,2) and targets (E,B) of the next update."""
        number, place = divmod(self.updates, self.passes)
        if self._orders[0] != number:
            train = self.config.rows_to_train()
            streams = [np.random.SeedSequence([seed, _ORDER, number]) for seed in self.plan.seeds]
            self._orders = (number, [np.random.default_rng(stream).permutation(train) for stream in streams])
        begin = place * self.config.train.batch
        chosen = [self._orders[1][model][begin : begin + self.config.train.batch] for model in self.active]
        return self._tensors(chosen)

    def _tensors(self, chosen: list[np.ndarray] | list[slice]) -> tuple[Tensor, Tensor]:
        own = [self.data[model] for model in self.active]
        x = np.stack([data.inputs(rows) for data, rows in zip(own, chosen, strict=True)])
        y = np.stack([data.targets[rows] for data, rows in zip(own, chosen, strict=True)])
        return torch.from_numpy(x).to(self.plan.device), torch.from_numpy(y).to(self.plan.device)

    def update(self) -> int:
        """Train every active model on its next batch; return how many sequences that were."""
        begun = time.perf_counter()
        x, y = self._batch()
        squares = (self.net(x) - y).square()
        squares.mean(1).sum().backward()
        self.optimizer.step()
        self.squares += squares.detach().double().sum(1).cpu()
        self.rows += y.shape[1]
        self.updates += 1
        self.sequences += y.numel()
        self.seconds += time.perf_counter() - begun
        return y.numel()

    @torch.no_grad()
    def evaluate(self) -> tuple[list[float], list[float]]:
        """Return of each active model the mean squared error and share of right answers in validation."""
        squares = torch.zeros(len(self.active), dtype=torch.float64)
        right = torch.zeros(len(self.active), dtype=torch.int64)
        first, last = self.config.rows_to_train(), self.config.dataset.dt_length
        for begin in range(first, last, EVALUATED_AT_ONCE):
            rows = slice(begin, min(begin + EVALUATED_AT_ONCE, last))
            x, y = self._tensors([rows] * len(self.active))
            errors = (self.net(x) - y).double().cpu()
            squares += errors.square().sum(1)
            right += (errors.abs() < adding.RIGHT).sum(1)
        return (squares / (last - first)).tolist(), (right.double() / (last - first)).tolist()

    def end_epoch(self) -> None:
        """Note the losses, keep weights that are the best so far, and let models stop."""
        losses = (self.squares / self.rows).tolist()
        errors, right = self.evaluate()
        with uninterrupted():
            self._note(losses, errors, right)

    def _note(self, losses: list[float], errors: list[float], right: list[float]) -> None:
        weights = {name: value.detach() for name, value in self.net.state_dict().items()}
        for index, model in enumerate(self.active):
            one = self.progress[model]
            row = {"epoch": self.epoch, "updates": self.updates, "loss": losses[index]}
            measured = {"val_loss": errors[index], "within": right[index], "seconds": round(self.seconds, 3)}
            one.rows.append({**row, **measured})
            watched = one.rows[-1][self.config.optim.monitor]
            if watched < one.best:
                one.best, one.best_epoch = watched, self.epoch
                for name, value in weights.items():
                    self.best[name][model] = value[index].cpu()
            one.stopped = self._reason(one, watched)
        self._leave()
        self._reset_sums()

    def _reason(self, one: Progress, watched: float) -> str:
        train = self.config.train
        if train.stop_below is not None and one.rows[-1]["val_loss"] < train.stop_below:
            return "solved"
        if not math.isfinite(watched):
            return "diverged"
        if self.epoch - one.best_epoch >= train.es_patience:
            return "patience"
        return "epochs" if self.epoch >= train.epochs else ""

    def _leave(self) -> None:
        """Take models that have stopped out of the net."""
        staying = [index for index, model in enumerate(self.active) if not self.progress[model].stopped]
        if len(staying) == len(self.active):
            return
        active = [self.active[index] for index in staying]
        if not active:
            self.active = []
            return
        weights = {name: value[staying] for name, value in self.net.state_dict().items()}
        moments = {name: value[staying] for name, value in self.optimizer.moments.items()}
        self._build(active, weights, moments, self.optimizer.steps)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that training goes on from, as tensors and as JSON values."""
        tensors = {"squares": self.squares, **prefixed("best.", self.best)}
        if self.active:
            tensors |= prefixed("net.", self.net.state_dict())
            tensors |= prefixed("moments.", self.optimizer.moments)
        at = {name: getattr(self, name) for name in ("updates", "seconds", "sequences", "rows", "active")}
        progress = [vars(one) for one in self.progress]
        return tensors, {**at, "steps": self.optimizer.steps, "progress": progress}

    def load(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: it is of another model, or holds what no training leaves; the message names the key.
        """
        best = below("best.", tensors)
        tensor_files.match(best, self.best)
        tensor_files.only(tensors, ("best.", "net.", "moments.", "squares"))
        updates = tensor_files.whole(values, "updates", 0, self.config.train.epochs * self.per_epoch)
        epoch, within = divmod(updates, self.per_epoch)
        active, progress = self._checked_progress(values, epoch)
        # at the end of an epoch the sums are empty, within one they are not
        rows = tensor_files.whole(values, "rows", min(within, 1), self.config.train.batch * within)
        tensor_files.whole(values, "steps", updates, updates)
        sequences = tensor_files.whole(values, "sequences", 0, 2**63)
        seconds = ranges.real("seconds", values.get("seconds"), 0, 1e15)
        squares = {"squares": torch.zeros(len(active), dtype=torch.float64)}
        tensor_files.match(
            {name: own for name, own in tensors.items() if name.startswith("squares")}, squares
        )
        net, moments = below("net.", tensors), below("moments.", tensors)
        lead = len(active)
        needed = tensor_files.empty_like(self.net.state_dict(), lead) if active else {}
        tensor_files.match(net, needed, "net.")
        needed = tensor_files.empty_like(self.optimizer.moments, lead) if active else {}
        tensor_files.match(moments, needed, "moments.")
        tensor_files.not_negative(prefixed("second.", below("second.", moments)), "moments.")
        self.best, self.progress, self.active = best, progress, active
        self.updates, self.seconds, self.sequences = updates, seconds, sequences
        if active:
            self._build(active, net, moments, updates)
        self.squares, self.rows = tensors["squares"], rows

    def _checked_progress(self, values: dict[str, Any], epoch: int) -> tuple[list[int], list[Progress]]:
        """Return the models that go on and the progress of all as a state has them."""
        progress, active = [], []
        for model, held in enumerate(tensor_files.listed(values, "progress", len(self.plan.seeds))):
            key = f"progress[{model}]"
            if not isinstance(held, dict) or held.keys() != vars(Progress()).keys():
                given = ranges.shown(held)
                raise ValueError(f"{key}: got {given}, needs {', '.join(vars(Progress()))}")
            if held["stopped"] not in ("", *STOPS):
                raise ValueError(f"{key}.stopped: got {ranges.shown(held['stopped'])}, needs one of {STOPS}")
            if not held["stopped"]:
                active.append(model)
            rows = tensor_files.rows(held["rows"], f"{key}.rows", _ROW)
            numbers = [(row["epoch"], row["updates"]) for row in rows]
            if numbers != [(n, n * self.per_epoch) for n in range(1, len(rows) + 1)]:
                raise ValueError(
                    f"{key}.rows: got {ranges.shown(numbers)}, needs every epoch and its updates"
                )
            most = f"{key}.rows, how many"
            ranges.whole(most, len(rows), 1 if held["stopped"] else epoch, epoch)
            ranges.whole(f"{key}.best_epoch", held["best_epoch"], 0, len(rows))
            if math.isnan(tensor_files.number(held["best"], f"{key}.best")):
                raise ValueError(f"{key}.best: got nan, needs a number")
            progress.append(Progress(**held))
        if values.get("active") != active:
            raise ValueError(
                f"active: got {ranges.shown(values.get('active'))}, needs {ranges.shown(active)}"
            )
        return active, progress


@torch.no_grad()
def predict(net: nn.Module, data: adding.Sequences, models: int, device: torch.device) -> np.ndarray:
    """Return the answers (E,N) of a net of E models to the same N sequences."""
    answers = []
    for begin in range(0, len(data), EVALUATED_AT_ONCE):
        x = torch.from_numpy(data.inputs(slice(begin, begin + EVALUATED_AT_ONCE))).to(device)
        answers.append(net(x.expand(models, *x.shape)).cpu().numpy())
    return np.concatenate(answers, axis=1)
