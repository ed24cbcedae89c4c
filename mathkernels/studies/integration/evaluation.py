"""Loss, token accuracy and exact match, with the right words given before each (teacher forcing)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mathkernels.data.symbolic.language import IDS, PAD
from mathkernels.studies.integration.batches import Part, in_order
from mathkernels.studies.integration.model import Batch, Net

AT_ONCE = 256  # pairs


@dataclass
class Sums:
    """Counts of words and answers that were predicted."""

    losses: float = 0.0
    words: int = 0
    right_words: int = 0
    answers: int = 0
    right_answers: int = 0

    def add(self, scores: Tensor, batch: Batch, losses: Tensor) -> None:
        """Count a batch.

        Args:
            scores: (N,V).
            batch: that they are of.
            losses: cross entropy of each word (N).
        """
        words = batch.targets != IDS[PAD]  # all, unless padding is to be predicted too
        wrong = (scores.argmax(1) != batch.targets) & words
        mistakes = torch.zeros(len(batch.lengths), device=wrong.device).index_add_(
            0, batch.rows, wrong.float()
        )
        count = int(words.sum())
        self.losses += (losses * words).double().sum().item()
        self.words += count
        self.right_words += count - int(wrong.sum())
        self.answers += len(batch.lengths)
        self.right_answers += int((mistakes == 0).sum())

    def named(self, prefix: str) -> dict[str, float]:
        """Means by name.

        Exact match is the share of answers with every word right, end included: that of greedy decoding too,
        which reads the same words up to its first mistake.
        """
        return {
            f"{prefix}loss": self.losses / max(self.words, 1),
            f"{prefix}token_accuracy": self.right_words / max(self.words, 1),
            f"{prefix}exact_match": self.right_answers / max(self.answers, 1),
        }


@torch.no_grad()
def evaluate(net: Net, part: Part, count: int, device: torch.device) -> Sums:
    """Count the first so many pairs of a part; padding never counts."""
    found = Sums()
    for _, batch in in_order(part, count, AT_ONCE):
        batch = batch.to(device)
        scores = net.scores(batch)
        found.add(scores, batch, functional.cross_entropy(scores, batch.targets, reduction="none"))
    return found
