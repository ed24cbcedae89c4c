"""Exact match: an answer counts if every character of it, and its end, is the likeliest one.

Measured with the right characters before each (teacher forcing), it is that of greedy decoding: up to the
first mistake both read the same, and after it both are wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mathkernels.experiment.distributed import Processes
from mathkernels.studies.mathematics.batches import Set, Sets, in_order
from mathkernels.studies.mathematics.encoding import Encoding
from mathkernels.studies.mathematics.models import Batch

AT_ONCE = 1_000  # questions
ALONE = Processes()


def exact(scores: Tensor, batch: Batch) -> Tensor:
    """Return which rows (B), bool, are right in every character.

    Args:
        scores: of the characters to predict (N,V).
        batch: that they are of.
    """
    wrong = scores.argmax(1) != batch.targets
    mistakes = torch.zeros(len(batch.lengths), device=scores.device).index_add_(0, batch.rows, wrong.float())
    return mistakes == 0


@torch.no_grad()
def evaluate(
    net: nn.Module, one: Set, encoding: Encoding, device: torch.device, own: Processes = ALONE
) -> dict[str, tuple[int, int, float, int]]:
    """Return for each module its questions, how many of them are right, the sum of losses, and characters.

    Args:
        net: scores (N,V) of a batch.
        one: the set.
        encoding: of the model.
        device: that it is on.
        own: every process evaluates its share.
    """
    names = one.corpus.modules
    sums = torch.zeros(len(names), 4, dtype=torch.float64)
    for number, (rows, texts) in enumerate(in_order(one, AT_ONCE, encoding)):
        if number % own.world != own.rank:
            continue
        batch = to(encoding.encode(texts), device)
        scores = net(batch).float()
        right = exact(scores, batch).cpu().double()
        losses = functional.cross_entropy(scores, batch.targets, reduction="none")
        each = torch.zeros(len(rows), device=device).index_add_(0, batch.rows, losses).cpu().double()
        module = torch.from_numpy(one.corpus.modules_of(rows))
        columns = (torch.ones(len(rows)), right, each, torch.from_numpy(texts.answer_lengths + 1))
        for column, values in enumerate(columns):
            sums[:, column].index_add_(0, module, values.double())
    found = own.total(sums.to(device)).tolist()
    return {
        name: (int(row[0]), int(row[1]), row[2], int(row[3]))
        for name, row in zip(names, found, strict=True)
        if row[0]
    }


def measured(
    net: nn.Module, sets: Sets, encoding: Encoding, device: torch.device, own: Processes = ALONE
) -> dict[str, float]:
    """Return what a row of the table holds of all sets, by :func:`columns`."""
    found: dict[str, float] = {}
    for one in sets.tests:
        modules = evaluate(net, one, encoding, device, own)
        shares = {f"{one.name}/{name}": right / count for name, (count, right, _, _) in modules.items()}
        losses = sum(row[2] for row in modules.values()) / sum(row[3] for row in modules.values())
        mean = float(np.mean([*shares.values()]))
        error = 1 - mean if math.isfinite(losses) else math.nan  # scores of NaN have a greatest one too
        found |= {f"{one.name}_loss": losses, f"{one.name}_exact_match": mean, f"{one.name}_error": error}
        found |= shares
    return found


def columns(sets: Sets) -> dict[str, type]:
    """Return the columns of :func:`measured`.

    They are, of each set, the loss of a character, the mean over modules of exact match, 1 minus that, and
    the exact match of each module.
    """
    found: dict[str, type] = {}
    for one in sets.tests:
        found |= dict.fromkeys((f"{one.name}_loss", f"{one.name}_exact_match", f"{one.name}_error"), float)
        of_rows = {one.corpus.modules[number] for number in np.unique(one.corpus.modules_of(one.rows))}
        found |= {f"{one.name}/{name}": float for name in sorted(of_rows)}
    return found


def modules_in(row: Mapping[str, Any] | Sequence[str], name: str) -> list[str]:
    """Return the modules of a set among a table's columns."""
    return [key.partition("/")[2] for key in row if key.startswith(f"{name}/")]


def to(batch: Batch, device: torch.device) -> Batch:
    return batch if device.type == "cpu" else Batch(*(one.to(device, non_blocking=True) for one in batch))
