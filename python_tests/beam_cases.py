"""A small model of steps, and beam search for one sentence at a time in plain Python, without a bound."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mathkernels.nn.decoding import Allowed, StepOutput

START, END, V = 0, 1, 4


class State(NamedTuple):
    h: Tensor  # (R,H)
    source: Tensor  # (n,H): what the rows of a sentence share


class Toy:
    """A small recurrent net with a source of its own for each sentence; it counts the rows of every step.

    Args:
        vocabulary, seed: its size, and what its weights are drawn from.
        sharp: how far from even the next token is.
        end_bias: makes the end symbol more or less probable.
        never: tokens whose log-probability is -inf.
        coarse: rounds log-probabilities, so that many are equal.
    """

    def __init__(
        self,
        vocabulary: int = V,
        seed: int = 0,
        sharp: float = 2.5,
        end_bias: float = 0.0,
        *,
        never: tuple[int, ...] = (),
        coarse: bool = False,
    ) -> None:
        g = torch.Generator().manual_seed(seed)
        draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
        self.inner, self.embedding, self.out = draw(5, 5), draw(vocabulary, 5), sharp * draw(vocabulary, 5)
        self.bias = torch.zeros(vocabulary, dtype=torch.float64)
        if vocabulary > END:
            self.bias[END] = end_bias
        self.never, self.coarse = list(never), coarse
        self.rows: list[int] = []

    def start(self, n: int, seed: int = 1) -> State:
        g = torch.Generator().manual_seed(seed)
        return State(
            torch.zeros(n, 5, dtype=torch.float64), torch.randn(n, 5, generator=g, dtype=torch.float64)
        )

    def sentences(self, state: State) -> int:
        return len(state.h)

    def select(self, state: State, rows: Tensor, sentences: Tensor | None) -> State:
        return State(state.h[rows], state.source if sentences is None else state.source[sentences])

    def step(self, tokens: Tensor, state: State, return_weights: bool) -> StepOutput:
        self.rows.append(len(tokens))
        source = state.source.repeat_interleave(len(tokens) // max(len(state.source), 1), 0)
        h = torch.tanh((state.h[:, None] * self.inner).sum(-1) + self.embedding[tokens] + source)
        scores = torch.log_softmax((h[:, None] * self.out).sum(-1) + self.bias, -1)
        scores = (scores * 2).round() / 2 if self.coarse else scores
        scores[:, self.never] = -torch.inf
        weights = torch.softmax(h[:, :3] * 2, -1) if return_weights else None
        there = torch.ones(len(state.source), 3, dtype=torch.bool) if return_weights else None
        return StepOutput(scores, State(h, state.source), weights, there)


def one(state: State, index: int) -> State:
    return State(state.h[index : index + 1], state.source[index : index + 1])


def rescored(model: Any, state: Any, tokens: list[int], coverage: bool = False, start: int = START) -> Any:
    """The log-probability of a sequence, and its coverage, of a state of one sentence."""
    total, last = 0.0, start
    seen: Any = 0
    source: Any = None
    for token in tokens:
        out = model.step(torch.tensor([last]), state, coverage)
        total, state, last = total + out.scores[0, token].item(), out.state, token
        seen, source = (seen + out.weights[0], out.source[0]) if coverage else (seen, source)
    return (total, float(covered(seen, source))) if coverage else total


def covered(seen: Tensor, source: Tensor) -> Tensor:
    """sum_s log min(1, sum_t alpha_ts) over what there is of the source."""
    return seen[source].clamp(torch.finfo(seen.dtype).tiny, 1).log().sum()


class Beam(NamedTuple):
    """A beginning of an output."""

    log_prob: float
    tokens: list[int]
    state: Any
    seen: Any


def plain_search(
    model: Any,
    state: Any,
    beams: int,
    *,
    start: int,
    end: int,
    max_length: int,
    min_length: int = 1,
    alpha: float = 0.0,
    patience: float = math.inf,
    coverage: float = 0.0,
    allowed: Allowed | None = None,
    number: int = 0,
) -> list[tuple[float, float, list[int]]]:
    """What `beam_search` finds for a state of one sentence, all that has ended: (score, log p, tokens)."""
    live, ended = [Beam(0.0, [], state, 0)], []
    for length in range(1, max_length + 1):
        candidates = []
        for place, beam in enumerate(live):
            last = beam.tokens[-1] if beam.tokens else start
            out = model.step(torch.tensor([last]), beam.state, coverage > 0)
            free = _may_follow(beam.tokens, out.scores.shape[1], end, min_length, max_length, allowed, number)
            seen = beam.seen + out.weights[0] if coverage > 0 else 0
            for token in free:
                total = beam.log_prob + out.scores[0, token].item()
                if total > -math.inf:
                    then = Beam(total, [*beam.tokens, token], out.state, (seen, out.source))
                    candidates.append((-total, place, token, then))
        candidates = [then for *_, then in sorted(candidates, key=lambda c: c[:3])[: 2 * beams]]
        for then in candidates[:beams]:
            if then.tokens[-1] == end:
                score = then.log_prob / float(length) ** alpha
                if coverage > 0:
                    score += coverage * float(covered(then.seen[0], then.seen[1][0]))
                ended.append((score, then.log_prob, then.tokens))
        goes_on = [then._replace(seen=then.seen[0]) for then in candidates if then.tokens[-1] != end]
        live = goes_on[:beams]
        if len(ended) >= patience * beams or not live:
            break
    return sorted(ended, key=lambda found: -found[0])


def _may_follow(
    tokens: list[int],
    vocabulary: int,
    end: int,
    least: int,
    most: int,
    allowed: Allowed | None,
    number: int,
) -> list[int]:
    length = len(tokens) + 1
    free = [True] * vocabulary
    if allowed is not None:
        free = allowed(torch.tensor([tokens], dtype=torch.int64), torch.tensor([number]))[0].tolist()
    return [
        token
        for token in range(vocabulary)
        if free[token] and (token != end or length >= least) and (token == end or length < most)
    ]
