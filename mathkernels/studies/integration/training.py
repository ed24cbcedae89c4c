"""Trains one trial: Keras' optimisers, cross entropy of the words, early stopping by validation loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from mathkernels.data.symbolic.language import IDS, PAD
from mathkernels.experiment import tensor_files
from mathkernels.experiment.schedule import Row, Schedule, Table
from mathkernels.experiment.tensor_files import below, prefixed
from mathkernels.experiment.training import Training
from mathkernels.optim import BatchedOptimizer
from mathkernels.studies.integration.batches import Batches, Parts
from mathkernels.studies.integration.config import Config, Trial
from mathkernels.studies.integration.evaluation import Sums, evaluate
from mathkernels.studies.integration.model import Batch, Net, Stock, build

COLUMNS = {
    "trial": str,
    "epoch": int,
    "steps": int,
    **{f"{name}{what}": float for name in ("", "val_") for what in ("loss", "token_accuracy", "exact_match")},
    "seconds": float,
}
CPU = torch.device("cpu")
SUMS = ("losses", "words", "right_words", "answers", "right_answers")


class Learner:
    """One trial's model in training.

    Args:
        config: of the training.
        trial: of the model.
        parts: pairs that train and validate.
        stock: whether torch's layers train.
        device: where; ours are kernels for the CPU.
    """

    def __init__(
        self,
        config: Config,
        trial: Trial,
        parts: Parts,
        stock: bool = False,
        device: torch.device = CPU,
    ) -> None:
        self.config, self.parts, self.device = config, parts, device
        self.batches = Batches(parts.train, config)
        self.model = build(trial, config)
        self.net: Net = Stock(self.model).to(device) if stock else self.model
        trained = {name: own for name, own in self.net.named_parameters() if own.requires_grad}
        self.optimizer = BatchedOptimizer(trial.optimizer.lower(), config.learning_rate, None, trained)
        self.sums = Sums()

    def loss(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """What is minimised, and the losses of the words (N)."""
        losses = functional.cross_entropy(scores, batch.targets, reduction="none")
        if self.config.masked_loss:
            return losses.mean(), losses.detach()
        # the project's own: a mean over padding too, which the mask then scales but does not select
        words = batch.targets != IDS[PAD]
        return losses.mean() * words.float().mean(), losses.detach()

    def step(self, number: int) -> int:
        batch = self.batches.batch(number).to(self.device)
        scores = self.net.scores(batch)
        loss, losses = self.loss(scores, batch)
        loss.backward()
        self.optimizer.step()
        self.sums.add(scores.detach(), batch, losses)
        return self.config.batch_size

    def measure(self) -> list[Row]:
        count = self.config.validation_steps * self.config.batch_size
        found = evaluate(self.net, self.parts.valid, count, self.device)
        row = {**self.sums.named(""), **found.named("val_")}
        self.sums = Sums()
        return [row]

    def weights(self) -> dict[str, Tensor]:
        own = self.net.ours(self.model) if isinstance(self.net, Stock) else self.net.state_dict()
        return {name: value.detach()[None] for name, value in own.items()}

    def keep(self, places: list[int]) -> None:
        if places != [0]:
            raise ValueError(f"places: got {places}, needs the only model")

    def state(self) -> dict[str, Tensor]:
        net, moments = prefixed("net.", self.net.state_dict()), prefixed("moments.", self.optimizer.moments)
        sums = torch.tensor([float(getattr(self.sums, name)) for name in SUMS], dtype=torch.float64)
        return {**net, **moments, "sums": sums}

    def load_state(self, state: Mapping[str, Tensor], models: list[int], steps: int) -> None:
        net, moments = below("net.", state), below("moments.", state)
        tensor_files.match(net, self.net.state_dict(), "net.")
        tensor_files.match(moments, self.optimizer.moments, "moments.")
        tensor_files.not_negative(prefixed("second.", below("second.", moments)), "moments.")
        rest = {name: one for name, one in state.items() if not name.startswith(("net.", "moments."))}
        tensor_files.match(rest, {"sums": torch.zeros(len(SUMS), dtype=torch.float64)})
        tensor_files.not_negative({"sums": rest["sums"]}, "")
        self.net.load_state_dict(net)
        for name, own in moments.items():
            self.optimizer.moments[name].copy_(own)
        self.optimizer.steps = steps
        losses, *counts = rest["sums"].tolist()
        self.sums = Sums(losses, *map(int, counts))


def training(
    name: str, config: Config, parts: Parts, stock: bool = False, device: torch.device = CPU
) -> Training:
    """The new training of a trial."""
    trial = config.model_params[name]
    table = Table(COLUMNS, [{"trial": name}], "val_loss", steps="steps")
    samples = config.steps_per_epoch * config.batch_size
    schedule = Schedule(trial.epoch, config.steps_per_epoch, samples, patience=config.patience)
    return Training(Learner(config, trial, parts, stock, device), schedule, table)
