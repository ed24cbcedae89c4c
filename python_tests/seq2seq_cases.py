"""Sizes, data and comparisons that the tests of the sequence-to-sequence ensemble share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mathkernels.ensemble import Seq2SeqEnsemble
from mathkernels.reference import seq2seq as reference


class Case(NamedTuple):
    """Sizes of a model and of its training; ``samples`` are cut into minibatches of ``batch``."""

    alphabet: int
    steps_in: int
    steps_out: int
    hidden: int
    samples: int
    batch: int
    batch_norm: bool = True

    def sizes(self) -> tuple[int, int, int, int]:
        return self[:4]


# the equations; then tables of one, two and more packs, blocks that are full or nearly empty, sizes of 1
EQUATIONS = Case(13, 10, 5, 20, 200, 96)
CASES = [
    EQUATIONS,
    Case(5, 3, 2, 7, 100, 70),
    Case(15, 4, 3, 5, 129, 64, batch_norm=False),
    Case(20, 2, 3, 9, 33, 7),
    Case(40, 3, 2, 13, 70, 70, batch_norm=False),
    Case(3, 1, 1, 1, 5, 2),
    Case(1, 2, 1, 33, 40, 39),
    Case(127, 2, 2, 8, 20, 20),
]


def data(case: Case, models: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs (N,Tin) with absent symbols, targets (N,Tout), and an order (E,N)."""
    source = torch.Generator().manual_seed(0)
    inputs = torch.randint(
        -1, case.alphabet, (case.samples, case.steps_in), generator=source, dtype=torch.int8
    )
    targets = torch.randint(
        0, case.alphabet, (case.samples, case.steps_out), generator=source, dtype=torch.int8
    )
    order = torch.stack([torch.randperm(case.samples, generator=source) for _ in range(models)])
    return inputs, targets, order


def ensemble(case: Case, seeds: tuple[int, ...] = (1, 2), **options: object) -> Seq2SeqEnsemble:
    return Seq2SeqEnsemble(*case.sizes(), seeds, batch_norm=case.batch_norm, **options)  # type: ignore[arg-type]


def of_one(tensors: dict[str, Tensor], model: int, dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: tensor[model].to(dtype, copy=True) for name, tensor in tensors.items()}


def trained_reference(
    case: Case, start: dict[str, Tensor], model: int, order: Tensor, dtype: torch.dtype, epochs: int = 1
) -> tuple[reference.Seq2Seq, list[float]]:
    """Train the reference from the parameters of one model of an ensemble."""
    inputs, targets, _ = data(case, 1)
    trained = reference.Seq2Seq(of_one(start, model, dtype))
    losses = [trained.train_epoch(inputs, targets, order, case.batch) for _ in range(epochs)]
    return trained, losses


def contents(model: Seq2SeqEnsemble) -> dict[str, bytes]:
    """The bytes of everything that a resume needs."""
    return {name: tensor.numpy().tobytes() for name, tensor in model.state().items()}
