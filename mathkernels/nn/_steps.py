"""What decoding needs of a model: a function of states and token ids that gives log-probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor


class StepOutput(NamedTuple):
    """What a step gives for R rows.

    scores: log-probabilities of the next token, (R,V), none above 0.
    state: the states after the step.
    weights: attention to the source, (R,S), mean over heads, and
    source: (R,S) or (n,S) bool, where there is a source; both only where they are asked for.
    """

    scores: Tensor
    state: Any
    weights: Tensor | None = None
    source: Tensor | None = None


class StepModel(Protocol):
    """A decoder as `greedy` and `beam_search` see it. A state holds n sentences of k rows, k next to k.

    What the k rows of a sentence share (keys and values of a source) may stand in it once per sentence.
    """

    def sentences(self, state: Any) -> int:
        """How many sentences there are in a state of one row each."""
        ...

    def select(self, state: Any, rows: Tensor, sentences: Tensor | None) -> Any:
        """The state of other rows, and of some sentences only; None leaves all of them."""
        ...

    def step(self, tokens: Tensor, state: Any, return_weights: bool) -> StepOutput:
        """Put one token, (R,), into each row."""
        ...


class Decoded(NamedTuple):
    """Outputs of B sentences, n of each, best first.

    tokens (B,n,L): without the start symbol, with the end symbol, which also fills up what is behind it.
    lengths (B,n): tokens up to the end symbol, that included; 0 where there are fewer than n outputs.
    scores (B,n): by which they are in order; -inf where there is no output.
    log_probs (B,n): sums of the log-probabilities of their tokens.
    """

    tokens: Tensor
    lengths: Tensor
    scores: Tensor
    log_probs: Tensor


Allowed = Callable[[Tensor, Tensor], Tensor]


class Limits(NamedTuple):
    """Which tokens may come next, beside what the model makes of them."""

    end: int
    min_length: int
    max_length: int
    allowed: Allowed | None

    def check_end(self, vocabulary: int) -> None:
        if self.end >= vocabulary:
            raise ValueError(f"end is {self.end}; needs a token id below {vocabulary}, those of the model")

    def restrict(self, scores: Tensor, tokens: Tensor, sentences: Tensor, alive: Tensor) -> Tensor:
        """scores (R,V), and -inf where a token may not follow tokens (R,t); alive (R,): rows that count.

        Raises:
            ValueError: for one of these rows no token is left.
            TypeError: the mask is not one.
        """
        length = tokens.shape[1] + 1
        mask = None
        if self.allowed is not None:
            mask = self.allowed(tokens, sentences)
            if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.is_meta:
                what = f"{mask.dtype} on {mask.device}" if isinstance(mask, Tensor) else type(mask).__name__
                raise TypeError(f"allowed: it returned {what}; needs a tensor of torch.bool with values")
            if mask.shape != scores.shape:
                raise ValueError(
                    f"allowed: the mask has shape {tuple(mask.shape)}; needs (rows, vocabulary)"
                    f" {tuple(scores.shape)}"
                )
            mask = mask.to(scores.device)
            self._check(mask, alive, tokens, sentences, "allows no token")
        if length < self.min_length or length == self.max_length:
            only_end = length == self.max_length
            limit = torch.full((scores.shape[1],), not only_end, device=scores.device)
            limit[self.end] = only_end
            mask = limit.expand_as(scores) if mask is None else mask & limit
            limits = f"min_length {self.min_length} and max_length {self.max_length}"
            self._check(mask, alive, tokens, sentences, f"allows no token that {limits} allow")
        return scores if mask is None else scores.masked_fill(~mask, -torch.inf)

    @staticmethod
    def _check(mask: Tensor, alive: Tensor, tokens: Tensor, sentences: Tensor, what: str) -> None:
        empty = alive & ~mask.any(1)
        if empty.any():
            row = int(empty.nonzero()[0])
            raise ValueError(
                f"allowed: it {what} in sentence {int(sentences[row])} after {tokens[row].tolist()}"
            )


def check_scores(scores: Tensor, sentences: Tensor, largest: Tensor | None = None) -> None:
    """Raise where the best next token (n,) has no log-probability, or one above ``largest`` (0 at first)."""
    wrong = scores.isnan() | (scores > (0 if largest is None else largest) + 1e-4)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"model: the best log-probability in sentence {int(sentences[row])} is {float(scores[row])};"
            " needs numbers up to 0"
        )


def top(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest numbers of each row (n,c) in order, and where they are; of equal ones the first."""
    found, index = values.topk(min(count + 1, values.shape[1]), dim=1)
    apart = (found[:, 1:] < found[:, :-1]) | (found[:, 1:] == -torch.inf)
    if not apart.all():  # topk leaves the order of equal numbers open
        rows = (~apart).any(1).nonzero()[:, 0]
        best, order = values[rows].sort(dim=1, descending=True, stable=True)
        found[rows], index[rows] = best[:, : found.shape[1]], order[:, : found.shape[1]]
    return found[:, :count], index[:, :count]
