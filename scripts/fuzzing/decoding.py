"""Random calls of greedy decoding and beam search, judged by what they promise; wrong ones are apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import beam_cases
import torch
from torch import Tensor

import mathkernels.nn as fused
from fuzzing import decoding_wrong
from fuzzing.calls import Call, Difference, Draw
from fuzzing.compare import same_bits
from mathkernels.nn.decoding import Decoded, beam_search, greedy

FIELDS = Decoded._fields


class Subject:
    """A model with some sentences, and both ways to decode them.

    Args:
        told: for people.
        count: sentences.
        vocabulary: tokens.
        search, best: beam search and greedy decoding of some of the sentences, by options.
        anew: (sentence, tokens, start) -> log-probability of these tokens, and their coverage.
        plain: beam search of one sentence in plain Python, where the model is small enough.
        error: of a log-probability that is computed in other company.
        attends: whether there are weights of attention.
    """

    def __init__(
        self,
        told: str,
        count: int,
        vocabulary: int,
        search: Callable[..., Decoded],
        best: Callable[..., Decoded],
        anew: Callable[[int, list[int], int], tuple[float, float]],
        plain: Callable[..., list] | None,
        error: float,
        attends: bool = True,
    ) -> None:
        self.told, self.count, self.vocabulary, self.attends = told, count, vocabulary, attends
        self.search, self.best, self.anew, self.plain, self.error = search, best, anew, plain, error


def _toy(draw: Draw) -> Subject:
    V = draw.one(1, 2, 3, 4, 5, 9, 17, 40)
    never = tuple(draw.sample(range(V), draw.one(0, 0, 0, 1, min(2, V - 1)) if V > 1 else 0))
    bias, coarse, sharp = draw.uniform(-4, 4), draw.holds(0.3), draw.one(0.0, 0.5, 2.5, 30.0)
    model = beam_cases.Toy(V, draw.randrange(1000), sharp, bias, never=never, coarse=coarse)
    count = draw.one(0, 1, 1, 2, 3, 7, 20)
    state = model.start(count, draw.randrange(1000))

    def some(rows: Tensor) -> Any:
        return model.select(state, rows, rows)

    def search(rows: Tensor, **options: Any) -> Decoded:
        return beam_search(model, some(rows), numbers_of=rows, **options)

    def best(rows: Tensor, **options: Any) -> Decoded:
        return greedy(model, some(rows), numbers_of=rows, **options)

    def anew(row: int, tokens: list[int], start: int) -> tuple[float, float]:
        return beam_cases.rescored(model, beam_cases.one(state, row), tokens, True, start)

    def plain(row: int, beams: int, **options: Any) -> list:
        return beam_cases.plain_search(model, beam_cases.one(state, row), beams, number=row, **options)

    return Subject(f"toy of {V}, never {never}", count, V, search, best, anew, plain, 1e-12)


def _seq2seq(draw: Draw) -> Subject:
    V, count, dtype = (
        draw.one(2, 3, 5, 17, 40),
        draw.one(1, 1, 2, 3, 9, 17),
        draw.one(torch.float32, torch.float64),
    )
    given: dict[str, Any] = {"dtype": dtype, "batch_first": draw.holds(0.5)}
    encoder = draw.one(fused.LSTM, fused.GRU)(5, 4, draw.one(1, 2), bidirectional=draw.holds(0.5), **given)
    columns = 4 * encoder.directions
    attends = draw.holds(0.8)
    if attends:
        kind = draw.one(fused.AttentionLSTM, fused.AttentionGRU)
        decoder = kind(3, 6, columns, **decoding_wrong.attention(draw), **given)
    else:
        decoder = draw.one(fused.LSTM, fused.GRU)(3, 6, draw.one(1, 2), **given)
    model = fused.Seq2Seq(
        encoder, decoder, V, source_vocabulary=9, bridge=draw.one("none", "tanh"), dtype=dtype
    )
    with torch.no_grad():
        model.output_weight.mul_(draw.one(0.0, 1.0, 8.0, 30.0))
    S = draw.one(1, 2, 7, 20)
    source = torch.randint(0, 9, (count, S))
    lengths = torch.randint(draw.one(0, 1), S + 1, (count,)) if draw.holds(0.7) else None

    def of(rows: Tensor) -> tuple[Tensor, Tensor | None]:
        own = source[rows] if given["batch_first"] else source[rows].T
        return own, None if lengths is None else lengths[rows]

    def run(way: Callable[..., Decoded], rows: Tensor, options: dict[str, Any]) -> Decoded:
        allowed = options.get("allowed")
        if allowed is not None:  # which knows sentences by their numbers here
            options = {**options, "allowed": lambda tokens, sentences: allowed(tokens, rows[sentences])}
        return way(*of(rows), **options)

    @torch.no_grad()
    def anew(row: int, tokens: list[int], start: int) -> tuple[float, float]:
        state = model.encode(*of(torch.tensor([row])))
        return (
            beam_cases.rescored(model, state, tokens, attends, start)
            if attends
            else (
                beam_cases.rescored(model, state, tokens, False, start),
                0.0,
            )
        )

    told = f"Seq2Seq {type(encoder).__name__} {type(decoder).__name__} V {V} {dtype} S {S}"
    search, best = (
        lambda rows, way=way, **options: run(way, rows, options) for way in (model.beam_search, model.greedy)
    )
    return Subject(
        told, count, V, search, best, anew, None, 1e-4 if dtype == torch.float32 else 1e-10, attends
    )


def _options(draw: Draw, subject: Subject) -> dict[str, Any]:
    """Options of both ways to decode, which leave every sentence something."""
    V, most = subject.vocabulary, draw.one(1, 2, 3, 5, 8, 12)
    least = 1 if V == 1 else draw.randint(1, most) if draw.holds(0.4) else 1
    end = 1 if V > 1 and draw.holds(0.7) else draw.randrange(V)
    options = {"start": draw.randrange(V), "end": end, "max_length": most, "min_length": least}
    if draw.holds(0.4):
        options["allowed"] = _mask(draw, V, end)
    return options


def _mask(draw: Draw, vocabulary: int, end: int) -> Callable[[Tensor, Tensor], Tensor]:
    """What may follow depends on the sentence and its tokens; the end and one other token always may."""
    table = torch.rand(7, vocabulary, generator=torch.Generator().manual_seed(draw.number)) < draw.random()
    table[:, end] = True
    table[:, (end + 1) % vocabulary] = True

    def allowed(tokens: Tensor, sentences: Tensor) -> Tensor:
        return table[(3 * tokens.sum(1) + tokens.shape[1] + 5 * sentences) % 7]

    return allowed


def right(draw: Draw) -> Call:
    """A right call: what is returned is what is promised, whatever else is decoded at the same time."""
    subject = draw.choice((_toy, _seq2seq))(draw)
    options = _options(draw, subject)
    beams = draw.one(1, 1, 2, 3, 5, 8, 30)
    n_best = draw.randint(1, beams)
    found: dict[str, Any] = {"beams": beams, "n_best": n_best, "alpha": draw.one(0.0, 0.6, 1.0, -0.7, 3.0)}
    found["patience"] = draw.one(1.0, 1.0, n_best / beams, 2.0, math.inf)
    if subject.attends and draw.holds(0.3):
        found["coverage"] = draw.one(0.1, 1.0)
    rows, row = torch.arange(subject.count), draw.random()
    block = draw.one(1, 2, 3, 1024)

    def run() -> None:
        whole = subject.search(rows, **options, **found)
        _well_formed(whole, subject, {**options, **found})
        _scored(whole, subject, {**options, **found})
        same_bits([*subject.search(rows, block=block, **options, **found)], [*whole], f"in blocks of {block}")
        if n_best > 1:
            few = {**found, "n_best": n_best - 1}
            if few["patience"] >= found["n_best"] / beams or few["patience"] == found["patience"]:
                first = subject.search(rows, **options, **few)
                same_bits([*first], [part[:, : n_best - 1] for part in whole], "with a smaller n_best")
        torch.set_num_threads(2)
        same_bits([*subject.search(rows, **options, **found)], [*whole], "2 threads against 1")
        torch.set_num_threads(1)
        best = subject.best(rows, **options)
        _well_formed(best, subject, {**options, "n_best": 1, "greedy": True})
        if beams == 1 and found["patience"] == 1:
            for name in ("tokens", "lengths", "log_probs"):
                same_bits([getattr(whole, name)], [getattr(best, name)], f"one beam against greedy: {name}")
        if subject.count:
            alone = torch.tensor([int(row * subject.count)])
            for what, way, all_of in (
                ("beams", lambda r: subject.search(r, **options, **found), whole),
                ("greedy", lambda r: subject.best(r, **options), best),
            ):
                same_bits([*way(alone)], [part[alone] for part in all_of], f"{what}: a sentence alone")
            if subject.plain:
                _as_plain(whole, subject, int(alone), options, found)

    told = {name: value for name, value in {**options, **found}.items() if name != "allowed"}
    mask = ", masked" if "allowed" in options else ""
    return Call(f"decoding of {subject.count} by {subject.told}, {told}{mask}", run, valid=True)


def _well_formed(decoded: Decoded, subject: Subject, options: dict[str, Any]) -> None:
    """Shapes, order, one end each and nothing behind it, limits, masks, no duplicates."""
    end, most, n = options["end"], options["max_length"], options["n_best"]
    if decoded.tokens.shape != (subject.count, n, most) or decoded.scores.shape != (subject.count, n):
        raise Difference(
            f"tokens have shape {tuple(decoded.tokens.shape)}, scores {tuple(decoded.scores.shape)}"
        )
    behind = torch.arange(most) >= decoded.lengths[..., None]
    if not bool((decoded.tokens[behind] == end).all()):
        raise Difference("something stands behind an end, or in an output that is none")
    there = decoded.lengths > 0
    if not bool((there == (decoded.scores > -math.inf)).all()):
        raise Difference("an output without a score, or a score without an output")
    if not bool((decoded.scores[:, 1:] <= decoded.scores[:, :-1]).all()):
        raise Difference("scores are out of order")
    for row in range(subject.count):
        outputs = _outputs(decoded, row)
        if len({tuple(tokens) for tokens in outputs}) < len(outputs):
            raise Difference(f"sentence {row} has one output twice")
        for tokens in outputs:
            if (
                tokens.count(end) != 1
                or tokens[-1] != end
                or not options["min_length"] <= len(tokens) <= most
            ):
                raise Difference(f"sentence {row} has the output {tokens}")
            if "allowed" in options:
                _obeys(tokens, row, options["allowed"])


def _outputs(decoded: Decoded, row: int) -> list[list[int]]:
    both = zip(decoded.tokens[row], decoded.lengths[row], strict=True)
    return [tokens[:length].tolist() for tokens, length in both if length]


def _obeys(tokens: list[int], row: int, allowed: Callable[[Tensor, Tensor], Tensor]) -> None:
    for at, token in enumerate(tokens):
        if not bool(allowed(torch.tensor([tokens[:at]], dtype=torch.int64), torch.tensor([row]))[0, token]):
            raise Difference(f"sentence {row}: the mask forbids {token} after {tokens[:at]}")


def _scored(decoded: Decoded, subject: Subject, options: dict[str, Any]) -> None:
    """The scores are those of the outputs computed anew."""
    for row in range(min(subject.count, 3)):
        for place, tokens in enumerate(_outputs(decoded, row)[:4]):
            log_prob, coverage = subject.anew(row, tokens, options["start"])
            score = log_prob / len(tokens) ** options["alpha"] + options.get("coverage", 0.0) * coverage
            for name, wanted in (("log_probs", log_prob), ("scores", score)):
                got = float(getattr(decoded, name)[row, place])
                if not math.isclose(got, wanted, rel_tol=subject.error, abs_tol=subject.error * len(tokens)):
                    raise Difference(f"{name} of {tokens} in sentence {row} is {got!r}; anew {wanted!r}")


def _as_plain(
    whole: Decoded, subject: Subject, row: int, options: dict[str, Any], found: dict[str, Any]
) -> None:
    """The outputs of one sentence are those of a search in plain Python."""
    assert subject.plain is not None
    wanted = {name: found[name] for name in ("alpha", "patience", "coverage") if name in found}
    right = subject.plain(row, found["beams"], **options, **wanted)[: found["n_best"]]
    got = _outputs(whole, row)
    if len(got) != len(right):
        raise Difference(f"sentence {row} has {len(got)} outputs, in plain Python {len(right)}")
    for place, (tokens, (score, _, other)) in enumerate(zip(got, right, strict=True)):
        value = float(whole.scores[row, place])
        if not math.isclose(value, score, rel_tol=1e-12, abs_tol=1e-12):
            raise Difference(f"output {place} of sentence {row}: {tokens} {value!r}, plain {other} {score!r}")


def decoding(draw: Draw) -> Call:
    return right(draw) if draw.holds(0.6) else decoding_wrong.wrong(draw)


KINDS = {"decoding": decoding}
