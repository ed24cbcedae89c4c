"""Epochs of the equation learner: 27,000 equations in minibatches of 256, ours beside rivals."""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mathkernels.ensemble import Seq2SeqEnsemble


class Sizes(NamedTuple):
    alphabet: int
    steps_in: int
    steps_out: int
    hidden: int
    samples: int
    batch: int


class Start(NamedTuple):
    """Where all participants start: parameters (E,...), inputs (N,Tin), targets (N,Tout), order (E,N)."""

    parameters: dict[str, Tensor]
    inputs: Tensor
    targets: Tensor
    order: Tensor


class Participant(Protocol):
    name: str

    def epoch(self, minibatches: int | None = None) -> None: ...

    def parameters(self) -> dict[str, Tensor]: ...


EQUATIONS = Sizes(13, 10, 5, 20, 27_000, 256)
UPDATES = 20
# Adam moves a parameter by about lr per update. A thousandth of that leaves room for float32 rounding (its
# division enlarges that where gradients are as small as eps) and none for another formula.
SHARE = 1e-3


def start(models: int) -> Start:
    """Sums of two numbers below 1000, as the equation learner writes them."""
    source = torch.Generator().manual_seed(0)
    pairs = torch.randint(0, 1000, (EQUATIONS.samples, 2), generator=source)
    symbols = {character: index for index, character in enumerate("0123456789+ \0")}
    inputs = torch.full((EQUATIONS.samples, EQUATIONS.steps_in), -1, dtype=torch.int8)
    targets = torch.empty(EQUATIONS.samples, EQUATIONS.steps_out, dtype=torch.int8)
    for row, (a, b) in enumerate(pairs.tolist()):
        text = f"{a} + {b}\0"
        inputs[row, : len(text)] = torch.tensor([symbols[c] for c in text])
        targets[row] = torch.tensor([symbols[c] for c in f"{a + b:4d}\0"])
    order = torch.stack([torch.randperm(EQUATIONS.samples, generator=source) for _ in range(models)])
    first = Seq2SeqEnsemble(*EQUATIONS[:4], range(models)).parameters()
    return Start(first, inputs, targets, order)


class Ours:
    name = "mathkernels"

    def __init__(self, given: Start) -> None:
        self.given = given
        seeds = range(len(given.order))
        self.ensemble = Seq2SeqEnsemble(*EQUATIONS[:4], seeds, parameters=given.parameters)

    def epoch(self, minibatches: int | None = None) -> None:
        order = (
            self.given.order if minibatches is None else self.given.order[:, : minibatches * EQUATIONS.batch]
        )
        self.ensemble.train_epoch(self.given.inputs, self.given.targets, order, EQUATIONS.batch)

    def parameters(self) -> dict[str, Tensor]:
        return self.ensemble.parameters()


def assert_equal_answers(given: Start, ours: Ours, other: Participant) -> float:
    """Train both from the start for UPDATES minibatches and return the largest difference of parameters."""
    ours.epoch(UPDATES)
    other.epoch(UPDATES)
    mine, limit = ours.parameters(), SHARE * UPDATES * 0.01
    differences = {name: (mine[name] - p).abs().max().item() for name, p in other.parameters().items()}
    name, worst = max(differences.items(), key=lambda item: item[1])
    if not worst <= limit:
        raise AssertionError(f"{other.name}: {name} is off by {worst:.3g}, allowed {limit:.3g}")
    return worst


def seconds(participant: Participant, minibatches: int | None = None) -> float:
    begin = time.perf_counter()
    participant.epoch(minibatches)
    return time.perf_counter() - begin
