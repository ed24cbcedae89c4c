"""Learners made of torch modules: models side by side in one module, or one with torch's own optimiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mathkernels.experiment import tensor_files
from mathkernels.experiment.checkpoint import set_random_state
from mathkernels.experiment.tensor_files import below, prefixed
from mathkernels.optim import BatchedOptimizer, torch_state

Measure = Callable[[nn.Module, list[int]], Sequence[Mapping[str, Any]]]


class SideBySide:
    """E models in one module whose parameters lead with E, each trained as if it were alone.

    Their rows get "loss", the mean loss of the samples that a model was trained on since the last
    measurement. The batches must follow from the number of the step, since no random state is kept.

    Args:
        make: E -> a new module of E models, of inputs (E,...) and answers (E,B).
        weights: what the models begin with, (E,...) by name.
        optimizer: parameters by name -> their optimiser.
        batch: the number of a step and the numbers of the models -> their inputs (E,...) and targets (E,B).
        loss: answers and targets -> the loss of each sample (E,B).
        measure: module and numbers of its models -> what else stands in each model's row.
        frozen: names of parameters that are not trained.
    """

    def __init__(
        self,
        make: Callable[[int], nn.Module],
        weights: Mapping[str, Tensor],
        optimizer: Callable[[Mapping[str, Tensor]], BatchedOptimizer],
        batch: Callable[[int, list[int]], tuple[Tensor, Tensor]],
        loss: Callable[[Tensor, Tensor], Tensor],
        measure: Measure,
        frozen: Sequence[str] = (),
    ) -> None:
        self._make, self._optimizer, self._frozen = make, optimizer, frozen
        self._batch, self._loss, self._measure = batch, loss, measure
        models = len(next(iter(weights.values())))
        self._build(list(range(models)), weights, {}, 0)

    def _build(
        self, models: list[int], weights: Mapping[str, Tensor], moments: Mapping[str, Tensor], steps: int
    ) -> None:
        """Make the module and the optimiser of these models."""
        self.models, self.net = models, self._make(len(models))
        self.net.load_state_dict(weights)
        own = dict(self.net.named_parameters())
        for name in self._frozen:
            own[name].requires_grad_(False)
        trained = {name: value for name, value in own.items() if value.requires_grad}
        self.optimizer = self._optimizer(trained)
        for name, value in moments.items():
            self.optimizer.moments[name].copy_(value)
        self.optimizer.steps = steps
        self._reset_sums()

    def _reset_sums(self) -> None:
        self.losses = torch.zeros(len(self.models), dtype=torch.float64)
        self.samples = 0  # of each model

    def step(self, number: int) -> int:
        x, y = self._batch(number, self.models)
        losses = self._loss(self.net(x), y)
        losses.mean(1).sum().backward()
        self.optimizer.step()
        self.losses += losses.detach().double().sum(1).cpu()
        self.samples += y.shape[1]
        return y.numel()

    def measure(self) -> list[dict[str, Any]]:
        losses = (self.losses / self.samples).tolist()
        with torch.no_grad():
            measured = self._measure(self.net, self.models)
        self._reset_sums()
        return [{"loss": loss, **own} for loss, own in zip(losses, measured, strict=True)]

    def weights(self) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in self.net.state_dict().items()}

    def keep(self, places: list[int]) -> None:
        weights = {name: value[places] for name, value in self.net.state_dict().items()}
        moments = {name: value[places] for name, value in self.optimizer.moments.items()}
        self._build([self.models[place] for place in places], weights, moments, self.optimizer.steps)

    def state(self) -> dict[str, Tensor]:
        net, moments = prefixed("net.", self.weights()), prefixed("moments.", self.optimizer.moments)
        return {**net, **moments, "losses": self.losses, "samples": torch.tensor(self.samples)}

    def load_state(self, state: Mapping[str, Tensor], models: list[int], steps: int) -> None:
        net, moments, lead = below("net.", state), below("moments.", state), len(models)
        tensor_files.match(net, tensor_files.empty_like(self.net.state_dict(), lead), "net.")
        needed = tensor_files.empty_like(self.optimizer.moments, lead)
        tensor_files.match(moments, needed, "moments.")
        tensor_files.not_negative(prefixed("second.", below("second.", moments)), "moments.")
        sums = {name: own for name, own in state.items() if not name.startswith(("net.", "moments."))}
        needed = {"losses": torch.zeros(lead, dtype=torch.float64), "samples": torch.tensor(0)}
        tensor_files.match(sums, needed)
        tensor_files.not_negative({"samples": sums["samples"]}, "")
        self._build(models, net, moments, steps)
        self.losses, self.samples = sums["losses"], int(sums["samples"])


class Alone:
    """One torch module and torch's Adam. Each epoch is a new order of the samples.

    torch's global generator draws the orders, and whatever else the module draws; its state is kept.

    Args:
        net: the module.
        optimizer: of its parameters.
        samples: how many there are.
        batch: how many of them a step takes; a last smaller batch is kept.
        loss: numbers of samples (B) and number of the step -> the loss, and what the step notes by name: the
            row of an epoch gets the last of it.
        measure: -> what else stands in the row.
        noted: the names of what steps note.
        after: called after each step of the optimiser.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Adam,
        samples: int,
        batch: int,
        loss: Callable[[Tensor, int], tuple[Tensor, dict[str, Tensor]]],
        measure: Callable[[], Mapping[str, Any]],
        noted: Sequence[str] = (),
        after: Callable[[], None] | None = None,
    ) -> None:
        self.net, self.optimizer = net, optimizer
        self._loss, self._measure, self._after = loss, measure, after
        self._batch, self._order = batch, torch.arange(samples)
        self.noted = dict.fromkeys(noted, 0.0)

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self._order) // self._batch)

    def step(self, number: int) -> int:
        place = number % self.steps
        if place == 0:
            self._order = torch.randperm(len(self._order))
        rows = self._order[place * self._batch : (place + 1) * self._batch]
        loss, noted = self._loss(rows, number)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self._after is not None:
            self._after()
        self.noted = {name: own.item() for name, own in noted.items()}
        return len(rows)

    def measure(self) -> list[dict[str, Any]]:
        with torch.no_grad():
            return [{**self.noted, **self._measure()}]

    def weights(self) -> dict[str, Tensor]:
        return {name: value.detach()[None] for name, value in self.net.state_dict().items()}

    def keep(self, places: list[int]) -> None:
        if places != [0]:
            raise ValueError(f"places: got {places}, needs the only model")

    def state(self) -> dict[str, Tensor]:
        net = prefixed("net.", self.net.state_dict())
        moments = prefixed("moments.", torch_state.of([self.optimizer]))
        noted = {name: torch.tensor(own, dtype=torch.float64) for name, own in self.noted.items()}
        own = {"order": self._order, "random": torch.get_rng_state()}
        return {**net, **moments, **prefixed("noted.", noted), **own}

    def load_state(self, state: Mapping[str, Tensor], models: list[int], steps: int) -> None:
        net, moments, noted = (below(name, state) for name in ("net.", "moments.", "noted."))
        tensor_files.match(net, self.net.state_dict(), "net.")
        needed = {name: torch.tensor(0.0, dtype=torch.float64) for name in self.noted}
        tensor_files.match(noted, needed, "noted.")
        rest = {
            name: own for name, own in state.items() if not name.startswith(("net.", "moments.", "noted."))
        }
        tensor_files.match(rest, {"order": self._order, "random": torch.get_rng_state()})
        if not torch.equal(rest["order"].sort().values, torch.arange(len(self._order))):
            raise ValueError("order: got one that lacks samples, needs each once")
        torch_state.load([self.optimizer], moments, steps)
        self.net.load_state_dict(net)
        self._order, self.noted = rest["order"], {name: own.item() for name, own in noted.items()}
        set_random_state(rest["random"])
