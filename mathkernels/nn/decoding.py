"""Greedy decoding and beam search over any model of steps, many sentences at once."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mathkernels.nn._beams import Rules, search_block
from mathkernels.nn._layer import check_number, check_size
from mathkernels.nn._steps import Allowed, Decoded, Limits, StepModel, StepOutput, check_scores

MOST_TOGETHER = 1024  # sentences, where nothing else is asked for

__all__ = ["Allowed", "Decoded", "StepModel", "StepOutput", "beam_search", "greedy"]


@torch.no_grad()
def greedy(
    model: StepModel,
    state: Any,
    *,
    start: int,
    end: int,
    max_length: int,
    min_length: int = 1,
    allowed: Allowed | None = None,
    block: int = MOST_TOGETHER,
    numbers_of: Tensor | None = None,
) -> Decoded:
    """Take the most probable token at every step; of equal ones the lowest.

    A sentence leaves the batch with its end symbol, and its result does not depend on the others.

    Args:
        model: what makes the steps, such as `Seq2Seq`.
        state: its state of one row for each of B sentences.
        start: the token before the first.
        end: the token that ends an output.
        max_length, min_length: of an output, its end symbol included. At ``max_length`` an output can only
            end.
        allowed: asked once per step for all rows: the tokens so far (R,t), without the start symbol, and the
            number of each row's sentence (R,) -> (R,V) bool, True for tokens that may follow.
        block: sentences that go through all steps together.
        numbers_of: numbers by which ``allowed`` and errors know the sentences, (B,); by default 0, 1, ….

    Returns:
        One output for each sentence; scores are log-probabilities.

    Raises:
        ValueError: an argument is out of its range, ``allowed`` leaves no token that the limits allow, or a
            log-probability is NaN or above 0.
        TypeError: the mask is no tensor of torch.bool.
    """
    limits = _limits("greedy", start, end, min_length, max_length, allowed)

    def one(state: Any, sentences: Tensor) -> Decoded:
        return _greedy_block(model, state, sentences, start, limits)

    return _in_blocks("greedy", model, state, block, numbers_of, one)


@torch.no_grad()
def beam_search(
    model: StepModel,
    state: Any,
    *,
    beams: int,
    start: int,
    end: int,
    max_length: int,
    min_length: int = 1,
    alpha: float = 0.0,
    n_best: int = 1,
    patience: float = 1.0,
    coverage: float = 0.0,
    allowed: Allowed | None = None,
    block: int = MOST_TOGETHER,
    numbers_of: Tensor | None = None,
) -> Decoded:
    """Keep the ``beams`` most probable beginnings at every step, and of what has ended the best.

    score = log p / length^alpha + coverage * sum_s log min(1, sum_t alpha_ts) (Wu et al. 2016 with a plain
    power of the length). At each step the 2 * beams best continuations are looked at: those that end and are
    among the first ``beams`` are outputs, and the first ``beams`` of the others go on; of equal ones the
    lowest beam, then the lowest token comes first. A sentence is done when ``patience * beams`` outputs have
    ended, or when nothing that goes on can still be among the best ``beams``. One beam is `greedy`.

    Results do not depend on the other sentences, and the first outputs not on ``n_best``.

    Args:
        model, state, start, end, max_length, min_length, allowed, block, numbers_of: as in `greedy`.
        beams: beginnings that are kept.
        alpha: power of the length (its end symbol included), of any sign.
        n_best: outputs of each sentence, up to ``beams``. There are fewer where fewer exist.
        patience: at least n_best / beams; inf leaves the end to the bound alone (Kasai et al. 2022).
        coverage: weight of the coverage of the source, for models that return weights.

    Returns:
        The outputs, best first.

    Raises:
        ValueError, TypeError: as in `greedy`.
    """
    name = "beam_search"
    beams, n_best = check_size(name, "beams", beams), check_size(name, "n_best", n_best)
    if n_best > beams:
        raise ValueError(f"{name}: n_best is {n_best}; needs at most beams {beams}")
    least = n_best / beams
    if not isinstance(patience, numbers.Real) or not patience >= least:
        raise ValueError(
            f"{name}: patience is {patience!r}; needs a number of at least n_best / beams {least:g}"
        )
    coverage = check_number(name, "coverage", coverage)
    limits = _limits(name, start, end, min_length, max_length, allowed)
    rules = Rules(
        beams, _alpha(name, alpha, limits.max_length), n_best, float(patience), coverage, start, limits
    )

    def one(state: Any, sentences: Tensor) -> Decoded:
        return search_block(model, state, sentences, rules)

    return _in_blocks(name, model, state, block, numbers_of, one)


def _limits(name: str, start: Any, end: Any, least: Any, most: Any, allowed: Allowed | None) -> Limits:
    for label, token in (("start", start), ("end", end)):
        if not isinstance(token, numbers.Integral) or isinstance(token, bool) or token < 0:
            raise ValueError(f"{name}: {label} is {token!r}; needs a token id")
    least, most = check_size(name, "min_length", least), check_size(name, "max_length", most)
    if least > most:
        raise ValueError(f"{name}: min_length is {least}; needs at most max_length {most}")
    if allowed is not None and not callable(allowed):
        raise TypeError(f"{name}: allowed is {type(allowed).__name__}; needs a function or None")
    return Limits(int(end), least, most, allowed)


def _alpha(name: str, alpha: Any, most: int) -> float:
    """A power of the length whose values float32 holds."""
    power = math.nan
    try:
        power = float(alpha) if isinstance(alpha, numbers.Real) and not isinstance(alpha, bool) else math.nan
        fits = math.isfinite(power) and 2.0**-64 <= float(most) ** power <= 2.0**64
    except OverflowError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name}: alpha is {alpha!r}; needs a finite number with max_length {most} ** alpha from 2 ** -64"
            " to 2 ** 64"
        )
    return power


def _in_blocks(
    name: str,
    model: StepModel,
    state: Any,
    block: Any,
    numbers_of: Tensor | None,
    decode: Callable[[Any, Tensor], Decoded],
) -> Decoded:
    """The outputs of all sentences, block by block."""
    block, count = check_size(name, "block", block), model.sentences(state)
    if numbers_of is None:
        numbers_of = torch.arange(count)
    elif len(numbers_of) != count:
        raise ValueError(
            f"{name}: numbers_of has {len(numbers_of)} numbers; needs the {count} of the sentences"
        )
    if count <= block:
        return decode(state, numbers_of)
    parts = []
    for rows in torch.arange(count, device=numbers_of.device).split(block):
        parts.append(decode(model.select(state, rows, rows), numbers_of[rows]))
    return Decoded(*map(torch.cat, zip(*parts, strict=True)))


def _greedy_block(model: StepModel, state: Any, sentences: Tensor, start: int, limits: Limits) -> Decoded:
    n, device = len(sentences), sentences.device
    inside = torch.arange(n, device=device)
    last = torch.full((n,), start, device=device)
    results: Decoded | None = None
    tokens = torch.zeros(n, 0, dtype=torch.int64, device=device)
    total: Tensor | None = None
    for step in range(limits.max_length):
        scores, state, *_ = model.step(last, state, False)
        scores = scores.float() if scores.dtype in (torch.bfloat16, torch.float16) else scores
        if results is None or total is None:
            total = scores.new_zeros(n)
            ends = torch.full((n, 1, limits.max_length), limits.end, device=device)
            none = scores.new_full((n, 1), -torch.inf)
            results = Decoded(ends, torch.zeros(n, 1, dtype=torch.int64, device=device), none, none.clone())
        limits.check_end(scores.shape[1])
        check_scores(scores.amax(1), sentences[inside])
        alive = torch.ones_like(inside, dtype=torch.bool)
        scores = limits.restrict(scores, tokens, sentences[inside], alive)
        last = scores.argmax(1)
        total = total + scores.gather(1, last[:, None])[:, 0]
        tokens = torch.cat([tokens, last[:, None]], 1)
        done = last == limits.end
        if done.any():
            gone, left = done.nonzero()[:, 0], (~done).nonzero()[:, 0]
            at = inside[gone]
            there = total[gone] > -torch.inf
            results.tokens[at, 0, : step + 1] = torch.where(there[:, None], tokens[gone], limits.end)
            results.lengths[at, 0] = torch.where(there, step + 1, 0)
            results.scores[at, 0] = results.log_probs[at, 0] = total[gone]
            if not len(left):
                break
            inside, last, tokens, total = inside[left], last[left], tokens[left], total[left]
            state = model.select(state, left, left)
    assert results is not None
    return results
