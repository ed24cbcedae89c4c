"""Trains one of the models, alone or in several processes that share each batch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mathkernels.experiment import tensor_files
from mathkernels.experiment.distributed import Processes
from mathkernels.experiment.schedule import NEVER, Row, Schedule, Table
from mathkernels.experiment.tensor_files import below, prefixed
from mathkernels.experiment.training import Training
from mathkernels.optim import torch_state
from mathkernels.studies.mathematics import evaluation
from mathkernels.studies.mathematics.batches import EXTRAPOLATE, INTERPOLATE, VALID, Batches, Sets
from mathkernels.studies.mathematics.config import Clip, Config
from mathkernels.studies.mathematics.encoding import Encoding
from mathkernels.studies.mathematics.models import Batch, Model

SUMS = (
    "sum_of_losses",
    "characters",
    "right",
    "questions",
)  # trained since the last evaluation, by all processes
_EXTRAPOLATION = "extrapolation."


class Learner:
    """A model, its Adam, and the weights that extrapolated best so far.

    Args:
        config: of the training.
        model: with its first weights, on the device.
        sets: built from the configuration.
        encoding: of the model.
        device: of the model.
        own: the processes that train together; each takes its share of every batch.
    """

    def __init__(
        self,
        config: Config,
        model: Model,
        sets: Sets,
        encoding: Encoding,
        device: torch.device,
        own: Processes = evaluation.ALONE,
    ) -> None:
        if config.batch_size % own.world:
            what = f"got {config.batch_size} for {own.world} processes; needs a multiple"
            raise ValueError(f"batch_size: {what}")
        self.config, self.model, self.sets, self.encoding = config, model, sets, encoding
        self.device, self.own, self.net = device, own, own.wrap(model, device)
        self.batches = Batches(sets, config, encoding)
        self.sums = torch.zeros(len(SUMS), dtype=torch.float64)
        self.extrapolates = any(one.name == EXTRAPOLATE for one in sets.tests)
        self.lowest, self.best_epoch = math.inf, NEVER  # error of extrapolation, and when it was
        self.measured = 0  # epochs
        self.best = (
            {name: value.clone() for name, value in self.weights().items()} if self.extrapolates else {}
        )
        self._fresh_optimizer()

    def _fresh_optimizer(self) -> None:
        own, trained = self.config, [one for one in self.model.parameters() if one.requires_grad]
        self.trained = trained
        self.optimizer = torch.optim.Adam(trained, own.learning_rate, own.betas, own.eps, fused=True)

    def loss(self, scores: Tensor, batch: Batch, characters: int) -> tuple[Tensor, Tensor]:
        """Return what is minimised and the sum of losses of this process's share.

        Args:
            scores: (N,V).
            batch: of this process.
            characters: to predict in the batches of all processes.
        """
        losses = functional.cross_entropy(scores, batch.targets, reduction="none")
        of_all = self.config.batch_size * self.encoding.positions
        weighted = losses
        if self.config.replica and self.config.model == "attentional":
            weighted = losses * (batch.targets + 1)  # the published target holds this number in place of 1
        divisor = of_all if self.config.loss == "all" else characters
        # DistributedDataParallel takes the mean over processes, which have parts of one sum
        return weighted.sum() * (self.own.world / divisor), losses.detach().sum()

    def step(self, number: int) -> int:
        if self.config.reset_optimizer and number % self.batches.steps == 0 and number:
            self._fresh_optimizer()
        texts = self.batches.texts(number)
        characters = int((texts.answer_lengths + 1).sum())
        batch = evaluation.to(
            self.encoding.encode(texts.take(self.own.share(np.arange(len(texts.question))))), self.device
        )
        with self._autocast():
            scores = self.net(batch)
        loss, losses = self.loss(scores.float(), batch, characters)
        loss.backward()
        clip_(self.trained, self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        right = evaluation.exact(scores.detach(), batch).sum()
        counted = torch.stack(
            [losses.double(), right.new_tensor(len(batch.targets)).double(), right.double()]
        )
        counted = torch.cat([counted, counted.new_tensor([float(len(batch.lengths))])])
        self.sums += self.own.total(counted).cpu()
        return self.config.batch_size

    def _autocast(self) -> Any:
        if not self.config.bfloat16:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def measure(self) -> list[Row]:
        self.model.eval()
        with self._autocast():
            found = evaluation.measured(self.model, self.sets, self.encoding, self.device, self.own)
        self.model.train()
        sums = dict(zip(SUMS, self.sums.tolist(), strict=True))
        self.sums = torch.zeros_like(self.sums)
        self.measured += 1
        if self.extrapolates and found[f"{EXTRAPOLATE}_error"] < self.lowest:
            self.lowest, self.best_epoch = found[f"{EXTRAPOLATE}_error"], self.measured
            self.best = {name: value.detach().cpu().clone() for name, value in self.weights().items()}
        loss = sums["sum_of_losses"] / sums["characters"]
        return [{"loss": loss, "exact_match": sums["right"] / sums["questions"], **found}]

    def weights(self) -> dict[str, Tensor]:
        return {name: value.detach()[None] for name, value in self.model.state_dict().items()}

    def keep(self, places: list[int]) -> None:
        if places != [0]:
            raise ValueError(f"places: got {places}, needs the only model")

    def state(self) -> dict[str, Tensor]:
        net = prefixed("net.", self.model.state_dict())
        moments = prefixed("moments.", torch_state.of([self.optimizer]))
        counts = torch.tensor([self.measured, self.best_epoch])
        own = {"sums": self.sums, "lowest": torch.tensor(self.lowest, dtype=torch.float64), "counts": counts}
        return {**net, **moments, **prefixed(_EXTRAPOLATION, self.best), **own}

    def load_state(self, state: Mapping[str, Tensor], models: list[int], steps: int) -> None:
        net, moments, best = (below(name, state) for name in ("net.", "moments.", _EXTRAPOLATION))
        tensor_files.match(net, self.model.state_dict(), "net.")
        tensor_files.match(best, self.best, _EXTRAPOLATION)
        rest = {n: one for n, one in state.items() if not n.startswith(("net.", "moments.", _EXTRAPOLATION))}
        needed = {
            "sums": self.sums,
            "lowest": torch.zeros((), dtype=torch.float64),
            "counts": torch.tensor([0, 0]),
        }
        tensor_files.match(rest, needed)
        tensor_files.not_negative({"sums": rest["sums"]}, "")
        done = steps
        if self.config.reset_optimizer and steps:
            done = (steps - 1) % self.batches.steps + 1
        torch_state.load([self.optimizer], moments, done)
        self.model.load_state_dict(net)
        self.sums, self.lowest, self.best = rest["sums"], float(rest["lowest"]), best
        self.measured, self.best_epoch = rest["counts"].tolist()


@torch.no_grad()
def clip_(parameters: list[nn.Parameter], clip: Clip) -> None:
    """Limit gradients in place."""
    gradients = [one.grad for one in parameters if one.grad is not None]
    if clip.kind == "value":
        for own in gradients:
            own.clamp_(-clip.value, clip.value)
    elif clip.kind == "norm_per_tensor":
        for own in gradients:
            own.mul_((clip.value / own.norm()).clamp(max=1.0))
    elif clip.kind == "global_norm":
        norm = torch.stack([own.norm() for own in gradients]).norm()
        scale = (clip.value / norm).clamp(max=1.0)
        for own in gradients:
            own.mul_(scale)


def monitor(sets: Sets) -> str:
    """Return the column whose lowest value marks the best weights: interpolation's, if that is there."""
    names = [one.name for one in sets.tests]
    return f"{next(name for name in (INTERPOLATE, VALID, EXTRAPOLATE) if name in names)}_error"


def training(learner: Learner) -> Training:
    """Return the new training of a learner."""
    config, steps = learner.config, learner.batches.steps
    rounds, length = config.epochs, steps
    if config.evaluate_steps is not None:
        length = config.evaluate_steps
        rounds = max(1, steps * config.epochs // length)
    known = {"epoch": int, "steps": int, "loss": float, "exact_match": float}
    table = Table(
        {**known, **evaluation.columns(learner.sets), "seconds": float},
        [{}],
        monitor(learner.sets),
        steps="steps",
    )
    return Training(learner, Schedule(rounds, length, length * config.batch_size), table)
