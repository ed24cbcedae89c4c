"""Beam search over a block of sentences that go through all steps together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mathkernels.nn._steps import Decoded, Limits, StepModel, check_scores, top


@dataclass(frozen=True)
class Rules:
    """What is searched for; see `beam_search`."""

    beams: int
    alpha: float
    n_best: int
    patience: float
    coverage: float
    start: int
    limits: Limits

    def score(self, log_probs: Tensor, length: int, coverage: Tensor | None) -> Tensor:
        score = log_probs / float(length) ** self.alpha
        return score if coverage is None else score + self.coverage * coverage

    def bound(self, log_probs: Tensor, length: int) -> Tensor:
        """No output that begins with ``length`` tokens of these log-probabilities scores higher.

        Log-probabilities only fall, so the best case adds none; then a score grows with the length for
        alpha > 0 and falls with it for alpha < 0. Coverage never adds.
        """
        return self.score(log_probs, self.limits.max_length if self.alpha > 0 else length + 1, None)


def covered(weights: Tensor, source: Tensor) -> Tensor:
    """sum_s log min(1, sum_t alpha_ts) over what there is of the source: weights (...,S), source (...,S).

    Halves are added until one number is left, so that the bits do not depend on how far the source is padded.
    """
    tiny, S = torch.finfo(weights.dtype).tiny, weights.shape[-1]
    logs = torch.where(source, weights.clamp(tiny, 1).log(), 0)
    half = 1 << max(S - 1, 1).bit_length()
    logs = torch.nn.functional.pad(logs, (0, half - S))
    while half > 1:
        half //= 2
        logs = logs[..., :half] + logs[..., half:]
    return logs[..., 0]


class Finished:
    """The best ``beams`` outputs of each of n sentences so far, best first; of equal ones the earlier."""

    def __init__(self, n: int, rules: Rules, like: Tensor) -> None:
        k, L, self.end = rules.beams, rules.limits.max_length, rules.limits.end
        self.scores = like.new_full((n, k), -torch.inf)
        self.log_probs = like.new_full((n, k), -torch.inf)
        self.lengths = torch.zeros(n, k, dtype=torch.int64, device=like.device)
        self.tokens = torch.full((n, k, L), self.end, device=like.device)
        self.count = torch.zeros(n, dtype=torch.int64, device=like.device)

    def add(self, scores: Tensor, log_probs: Tensor, tokens: Tensor) -> None:
        """Outputs (n,m) with tokens (n,m,t) up to the end symbol; those of score -inf are none."""
        there = scores > -torch.inf
        self.count += there.sum(1)
        rows = there.any(1).nonzero()[:, 0]  # few sentences have outputs that end now
        if not len(rows):
            return
        k, t = self.scores.shape[1], tokens.shape[2]
        filled = self.tokens.new_full((len(rows), tokens.shape[1], self.tokens.shape[2]), self.end)
        filled[:, :, :t] = tokens[rows]
        both = torch.cat([self.scores[rows], scores[rows]], 1)
        best, order = both.sort(dim=1, descending=True, stable=True)
        order = order[:, :k]
        self.scores[rows] = best[:, :k]
        lengths = torch.where(there[rows], t, 0)
        self.log_probs[rows] = torch.cat([self.log_probs[rows], log_probs[rows]], 1).gather(1, order)
        self.lengths[rows] = torch.cat([self.lengths[rows], lengths], 1).gather(1, order)
        places = order[..., None].expand(-1, -1, filled.shape[2])
        self.tokens[rows] = torch.cat([self.tokens[rows], filled], 1).gather(1, places)

    def keep(self, rows: Tensor) -> None:
        for name in ("scores", "log_probs", "lengths", "tokens", "count"):
            setattr(self, name, getattr(self, name)[rows])

    def best(self, rows: Tensor, n_best: int) -> tuple[Tensor, ...]:
        return tuple(
            getattr(self, name)[rows, :n_best] for name in ("tokens", "lengths", "scores", "log_probs")
        )


def search_block(model: StepModel, state: Any, sentences: Tensor, rules: Rules) -> Decoded:
    """The outputs of the sentences of a state of one row each; ``sentences`` are their numbers."""
    n, k, limits, device = len(sentences), rules.beams, rules.limits, sentences.device
    inside = torch.arange(n, device=device)  # where results of the sentences that are left belong
    results: Decoded | None = None
    finished: Finished | None = None
    last = torch.full((n,), rules.start, device=device)
    tokens = torch.zeros(n, 1, 0, dtype=torch.int64, device=device)
    live = coverage = gathered = None
    for step in range(limits.max_length):
        n, w = tokens.shape[:2]
        out = model.step(last, state, rules.coverage > 0)
        scores = out.scores.float() if out.scores.dtype in (torch.bfloat16, torch.float16) else out.scores
        if live is None or finished is None or results is None:
            live = scores.new_zeros(n, 1)
            finished = Finished(n, rules, scores)
            results = Decoded(*finished.best(inside, rules.n_best))
        if rules.coverage > 0:
            if out.weights is None or out.source is None:
                raise ValueError("model: its steps return no weights of attention, which coverage needs")
            now = out.weights.reshape(n, w, out.weights.shape[1])
            coverage = now if coverage is None else coverage + now
            places = out.source.reshape(n, max(len(out.source) // max(n, 1), 1), now.shape[2])
            gathered = covered(coverage, places)
        V, alive = scores.shape[1], live > -torch.inf
        limits.check_end(V)
        numbers = sentences[inside].repeat_interleave(w)
        check_scores(scores.reshape(n, w * V).amax(1), sentences[inside])
        scores = limits.restrict(scores, tokens.reshape(n * w, step), numbers, alive.reshape(-1))
        candidates = (live[..., None] + scores.reshape(n, w, V)).reshape(n, w * V)
        values, index = top(candidates, 2 * k)
        parents, chosen = index // V, index % V
        there, ends = values > -torch.inf, chosen == limits.end
        extended = torch.cat([_of(tokens, parents), chosen[..., None]], 2)
        of_parents = None if gathered is None else gathered.gather(1, parents)
        ended = (there & ends)[:, :k]
        final = rules.score(values, step + 1, of_parents)[:, :k].masked_fill(~ended, -torch.inf)
        finished.add(final, values[:, :k], extended[:, :k])

        goes_on = there & ~ends
        places = torch.arange(values.shape[1], 0, -1, device=device)  # largest first
        slots = (
            (goes_on * places).topk(min(k, len(places)), dim=1).indices
        )  # of zeros any: they count for nothing
        live = values.masked_fill(~goes_on, -torch.inf).gather(1, slots)
        slots = torch.where(
            live > -torch.inf, slots, slots[:, :1]
        )  # beams that do not count repeat the first
        parents, tokens = parents.gather(1, slots), _of(extended, slots)
        done = live[:, 0] == -torch.inf
        done |= finished.count >= rules.patience * k
        done |= rules.bound(live[:, 0], step + 1) <= finished.scores[:, -1]
        done |= step + 1 == limits.max_length
        if done.any():
            gone, left = done.nonzero()[:, 0], (~done).nonzero()[:, 0]
            for result, part in zip(results, finished.best(gone, rules.n_best), strict=True):
                result[inside[gone]] = part
            if not len(left):
                break
            finished.keep(left)
            inside, live, tokens, parents = inside[left], live[left], tokens[left], parents[left]
        else:
            left = None
        first = torch.arange(n, device=device) if left is None else left
        rows = (first[:, None] * w + parents).reshape(-1)
        state = model.select(out.state, rows, left)
        last = tokens[:, :, -1].reshape(-1)
        if coverage is not None:
            S = coverage.shape[2]
            coverage = coverage.reshape(n * w, S)[rows].reshape(*parents.shape, S)
    assert results is not None
    return results


def _of(tokens: Tensor, parents: Tensor) -> Tensor:
    """tokens (n,w,t), parents (n,m) -> (n,m,t)."""
    return tokens.gather(1, parents[..., None].expand(-1, -1, tokens.shape[2]))
