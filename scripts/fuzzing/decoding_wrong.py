"""Random calls of greedy decoding and beam search with arguments that they cannot take."""

from __future__ import annotations

import math
from typing import Any

import beam_cases
import numpy as np
import torch

import mathkernels.nn as fused
from fuzzing import hostile
from fuzzing.calls import Call, Difference, Draw, shown
from mathkernels.nn.decoding import beam_search, greedy


def attention(draw: Draw) -> dict[str, Any]:
    """Options of a decoder with attention."""
    feed = draw.one("none", "context", "attentional")
    before = feed != "attentional" and draw.holds(0.4)
    score: dict[str, Any] = draw.one(
        {"score": "general"},
        {"score": "additive", "key_size": 2, "heads": draw.one(1, 2)},
        {"heads": draw.one(1, 2, 3), "key_size": 3, "value_size": draw.one(2, 3)},
    )
    output: dict[str, Any] = {"attentional_size": 5} if feed == "attentional" or draw.holds(0.4) else {}
    if feed != "attentional" and not output and draw.holds(0.3):
        output = {"cross": True}
    return {"feed": feed, "query": "before" if before else "after", **score, **output}


_TOKENS = (-1, 10**6, 2**40, 2.0, "x", None, True, np.int64(1), torch.tensor(1), [1])
_POSITIVE = (0, -1, 2.5, "x", None, True, math.nan, np.int64(2), 2**70)
_WRONG: dict[str, tuple] = {
    "start": _TOKENS,
    "end": _TOKENS,
    "max_length": (*_POSITIVE, 2**40),
    "min_length": (*_POSITIVE, 7),
    "beams": (*_POSITIVE, 2**40),
    "n_best": (*_POSITIVE, 4),
    "block": _POSITIVE,
    "alpha": (math.nan, math.inf, -math.inf, "x", None, 1e300, -1e300, 500, 1j, [1.0], True),
    "patience": (math.nan, 0.0, -1.0, "x", None, 1e-9, [2]),
    "coverage": (math.nan, -1.0, math.inf, "x", None, 1e300),
}


def _wrong_mask(draw: Draw, vocabulary: int) -> tuple[str, Any]:
    """Something in the place of a function that gives a mask."""
    ones = torch.ones
    made: list[tuple[str, Any]] = [
        ("not a function", draw.one(3, "x", ones(2, vocabulary, dtype=torch.bool), [True])),
        ("of floats", lambda tokens, _: ones(len(tokens), vocabulary)),
        ("of one row", lambda _tokens, _: ones(vocabulary, dtype=torch.bool)),
        ("too wide", lambda tokens, _: ones(len(tokens), vocabulary + 1, dtype=torch.bool)),
        ("a list", lambda tokens, _: [[True] * vocabulary] * len(tokens)),
        ("None", lambda _tokens, _: None),
        ("that leaves nothing", lambda tokens, _: torch.zeros(len(tokens), vocabulary, dtype=torch.bool)),
        ("on meta", lambda tokens, _: ones(len(tokens), vocabulary, dtype=torch.bool, device="meta")),
    ]
    return draw.choice(made)


def _wrong_source(draw: Draw, count: int) -> tuple[str, dict[str, Any]]:
    """Something in the place of source sentences or their lengths."""
    source = torch.randint(0, 9, (4, count))
    sources: list[Any] = [None, "x", 3, source.float(), source[0], source[None], source + 9, source - 3]
    sources += [
        source.tolist(),
        source.numpy(),
        source.to("meta"),
        source.bool(),
        source[:0],
        source.to_sparse(),
    ]
    sources += [source.to(torch.complex64), torch.full_like(source, 2**62), source[..., None].float()]
    lengths: list[Any] = [
        3,
        "x",
        [1, 2],
        [5] * count,
        [-1] * count,
        [1.5] * count,
        [[1] * count],
        [2**62] * count,
    ]
    lengths += [torch.ones(count), torch.ones(count + 1).long(), torch.ones(count).bool(), [None] * count, {}]
    lengths += [torch.ones(count).long().to("meta"), np.ones(count, np.int8), [True] * count, ()]
    if draw.holds(0.5):
        one = draw.choice(sources)
        return f"source {shown(one)}", {"source": one}
    one = draw.choice(lengths)
    return f"lengths {shown(one)}", {"source": source, "lengths": one}


def wrong(draw: Draw) -> Call:
    """A call with one or two arguments exchanged for what decoding cannot take."""
    subject_is_toy = draw.holds(0.4)
    ways = ("beam_search", "greedy")
    way = draw.choice(ways)
    options: dict[str, Any] = {"start": 0, "end": 1, "max_length": 5}
    options |= {"beams": 3} if way == "beam_search" else {}
    told, names, given = [], ["allowed"], {}
    how = draw.random()
    if how < 0.6 or (subject_is_toy and how > 0.8):
        known = [
            name
            for name in _WRONG
            if way == "beam_search" or name not in ("beams", "n_best", "alpha", "patience", "coverage")
        ]
        for name in draw.sample(known, draw.one(1, 1, 2)):
            value = draw.choice(_WRONG[name]) if draw.holds(0.8) else hostile.anything(draw).value
            options[name] = value
            told.append(f"{name} {shown(value)}")
            names.append(name)
    elif how < 0.8:
        what, options["allowed"] = _wrong_mask(draw, 7)
        told.append(f"a mask {what}")
    else:
        what, given = _wrong_source(draw, 3)
        told.append(what)
        names += ["source", "lengths", "source_embedding", "x", "target"]
    large = any(
        isinstance(options.get(n), int) and options[n] > 10**6 for n in ("beams", "max_length", "n_best")
    )
    torch.manual_seed(draw.number)
    toy = beam_cases.Toy(7)
    model = _plain_model(draw)

    def run() -> None:
        if subject_is_toy and not given:
            decode = beam_search if way == "beam_search" else greedy
            decoded = decode(toy, toy.start(3), **options)
        else:
            found = {"source": torch.randint(0, 9, (4, 3)), **given}
            decoded = getattr(model, way)(**found, **options)
        for part in decoded:
            if part.is_floating_point() and bool(part.isnan().any()):
                raise Difference("a score is NaN")

    return Call(
        f"{way} of {'a toy' if subject_is_toy else 'Seq2Seq'} with {'; '.join(told)}", run, names, large=large
    )


def _plain_model(draw: Draw) -> fused.Seq2Seq:
    decoder = fused.AttentionLSTM(3, 6, 4, **attention(draw)) if draw.holds(0.8) else fused.GRU(3, 6)
    return fused.Seq2Seq(fused.LSTM(5, 4), decoder, 7, source_vocabulary=9, bridge="tanh")
