"""Attention, its decoders and Seq2Seq as modules of one tensor, beside plain torch of the same meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import mathkernels.nn as fused
from mathkernels import reference

SIZES = {"models": None, "dtype": torch.float64}


class OfItself(nn.Module):
    """What attends to a memory, which is made of its input."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Any:
        return self.inner(x, memory(x))


class OfItsSigns(nn.Module):
    """A Seq2Seq whose target are token ids made of its source."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Any:
        return self.inner(x, targets(x))


def memory(x: Tensor) -> Tensor:
    return 2 - x


def targets(x: Tensor) -> Tensor:
    return (x.detach() > 1).sum(-1)


Case = tuple[str, str, Callable[..., nn.Module], Callable[[dict[str, Tensor], Tensor], Tensor]]


def step(p: dict[str, Tensor], query: Tensor, source: Tensor, heads: int, scale: float) -> Tensor:
    """(B,Q,C) and (B,S,M) -> (B,Q,NR), with the projections that are there."""
    q = query @ p["q_proj_weight"].mT if "q_proj_weight" in p else query
    k = source @ p["k_proj_weight"].mT if "k_proj_weight" in p else source
    v = source @ p["v_proj_weight"].mT if "v_proj_weight" in p else source
    score = p["score_weight"][None] if "score_weight" in p else None
    return reference.attention_step(q[None], k[None], v[None], None, score, heads, scale)[0][0]


def inner(p: dict[str, Tensor], prefix: str = "inner.") -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in p.items() if name.startswith(prefix)}


def _attention() -> list[Case]:
    def make(id: str, scale: float = 1.0, heads: int = 1, **options: Any) -> Case:
        def module(models: int | None = None) -> nn.Module:
            given = {**SIZES, "models": models, "heads": heads, **options}
            return OfItself(fused.Attention(3, 3, **given))

        def meaning(p: dict[str, Tensor], x: Tensor) -> Tensor:
            p, rows = inner(p), x.transpose(0, 1)
            context = step(p, rows, memory(rows), heads, scale).transpose(0, 1)
            return context @ p["out_proj_weight"].mT if "out_proj_weight" in p else context

        return f"Attention-{id}", "Attention", module, meaning

    projected = {"key_size": 4, "value_size": 2, "output_size": 5}
    return [
        make("dot", score="dot", value_size=2),
        make("scaled_dot", 2.0**-1, 2, **projected),
        make("general", 1.0, 3, score="general"),
        make("additive", 1.0, 2, score="additive", key_size=2, value_size=1),
    ]


def _decoders() -> list[Case]:
    def make(name: str, id: str, heads: int = 1, scale: float = 1.0, **options: Any) -> Case:
        def module(models: int | None = None) -> nn.Module:
            given = {**SIZES, "models": models, "heads": heads, **options}
            return OfItself(getattr(fused, name)(3, 2, 3, **given))

        op = reference.lstm_attention if name == "AttentionLSTM" else reference.gru_attention
        before = options.get("query") == "before"
        feed = ("none", "context", "attentional").index(options.get("feed", "none"))

        def meaning(p: dict[str, Tensor], x: Tensor) -> Tensor:
            p = inner(p)
            a, rows = inner(p, "attention."), memory(x).transpose(0, 1)
            k = rows @ a["k_proj_weight"].mT if "k_proj_weight" in a else rows
            v = rows @ a["v_proj_weight"].mT if "v_proj_weight" in a else rows
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            given = [x[None], *(p[name][None] for name in names), k[None], v[None], *[None] * 5]
            more = (
                a.get("q_proj_weight"),
                None,
                a.get("score_weight"),
                p.get("weight_output"),
                p.get("bias_output"),
            )
            given += [None if t is None else t[None] for t in more]
            y, context, attentional, *_ = op(*given, heads, scale, before, feed)
            if attentional is not None:
                return attentional[0]
            if "norm_weight" not in p:
                return y[0]
            sums = y[0] + context[0] @ a["out_proj_weight"].mT
            return nn.functional.layer_norm(sums, (2,), p["norm_weight"], p["norm_bias"])

        return f"{name}-{id}", name, module, meaning

    after = {"score": "general", "feed": "context", "attentional_size": 2}
    return [
        make("AttentionLSTM", "output", score="general", attentional_size=3),
        make("AttentionLSTM", "context", **after),
        make(
            "AttentionLSTM",
            "attentional",
            2,
            3**-0.5,
            key_size=3,
            feed="attentional",
            attentional_size=4,
            value_size=1,
        ),
        make("AttentionLSTM", "before", score="additive", query="before", feed="context"),
        make("AttentionGRU", "cross", 2, 2**-0.5, key_size=2, value_size=2, cross=True),
        make("AttentionGRU", "context", **after),
        make("AttentionGRU", "before", score="additive", query="before", feed="context", attentional_size=3),
    ]


def _seq2seq() -> list[Case]:
    options = {"score": "general", "feed": "attentional", "attentional_size": 3}

    def module(models: int | None = None) -> nn.Module:
        given = {**SIZES, "models": models}
        encoder = fused.LSTM(3, 2, bidirectional=True, **given)
        decoder = fused.AttentionLSTM(2, 3, 4, **options, **given)
        return OfItsSigns(fused.Seq2Seq(encoder, decoder, 4, bridge="tanh", dtype=torch.float64))

    def meaning(p: dict[str, Tensor], x: Tensor) -> Tensor:
        p = inner(p)
        encoder = nn.LSTM(3, 2, bidirectional=True).double()
        y, ends = torch.func.functional_call(encoder, inner(p, "encoder."), (x,))
        first = [
            torch.tanh(torch.cat([*end], -1) @ p[f"bridge.weight_{i}"].mT + p[f"bridge.bias_{i}"])
            for i, end in enumerate(ends)
        ]
        d, source = inner(p, "decoder."), y.transpose(0, 1)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        target = p["embedding"][targets(x)]
        k = source @ d["attention.k_proj_weight"].mT
        given = [target, *(d[name] for name in names), k, source]
        output = [None, None, None, d["weight_output"][None], d["bias_output"][None]]
        given = [t[None] for t in given] + [None, *(t[None] for t in first), None, None, *output]
        attentional = reference.lstm_attention(*given, 1, 1.0, False, 2)[2]
        return attentional[0] @ p["output_weight"].mT + p["output_bias"]

    return [("Seq2Seq", "Seq2Seq", module, meaning)]


CASES = [*_attention(), *_decoders(), *_seq2seq()]
