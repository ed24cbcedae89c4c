"""Decoders with attention of every kind, on sizes drawn at random, and the same functions in plain torch."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mathkernels import ops, reference
from mathkernels.ops._decoder_checks import FEEDS

GATES = {"lstm": 4, "gru": 3}


@dataclass
class Case:
    """One call of a decoder. Sizes E, T, B, I, H, S, N, P, R, A."""

    kind: str
    sizes: tuple[int, int, int, int, int, int, int, int, int, int]
    query: str = "after"
    feed: str = "context"
    score: str = "dot"  # or "scaled", "additive"
    projects: bool = False
    attentional: bool = False
    ids: bool = False
    mask: bool = False
    lengths: bool = False
    biases: bool = True
    states: bool = True
    bfloat16: bool = False
    dtype: torch.dtype = torch.float64
    seed: int = 0
    inputs: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.feed == "attentional":
            self.attentional = True
        if not self.inputs:
            self.inputs = self._draw()

    @property
    def F(self) -> int:
        *_, N, _, R, A = self.sizes
        return {"none": 0, "context": N * R, "attentional": A}[self.feed]

    def _draw(self) -> dict[str, Tensor]:
        E, T, B, I, H, S, N, P, R, A = self.sizes
        G, F = GATES[self.kind], self.F
        drawn = torch.Generator().manual_seed(self.seed)

        def uniform(*shape: int, scale: float = 1.0) -> Tensor:
            return ((torch.rand(*shape, dtype=torch.float64, generator=drawn) * 2 - 1) * scale).to(self.dtype)

        narrow = H**-0.5
        given = {
            "x": torch.randint(0, max(I, 1), (E, T, B), generator=drawn) if self.ids else uniform(E, T, B, I),
            "weight_ih": uniform(E, G * H, I + F, scale=narrow),
            "weight_hh": uniform(E, G * H, H, scale=narrow),
            "keys": uniform(E, B, S, N * P),
            "values": uniform(E, B, S, N * R),
        }
        if self.biases:
            given |= {name: uniform(E, G * H, scale=narrow) for name in ("bias_ih", "bias_hh")}
        if self.states:
            given["h0"] = uniform(E, B, H)
            if self.kind == "lstm":
                given["c0"] = uniform(E, B, H)
            if F and self.query == "after":
                given["feed0"] = uniform(E, B, F)
        if self.projects:
            given |= {"weight_query": uniform(E, N * P, H, scale=2 * narrow), "bias_query": uniform(E, N * P)}
        if self.score == "additive":
            given["weight_score"] = uniform(E, N * P)
        if self.attentional:
            given["weight_output"] = uniform(E, A, N * R + H, scale=narrow)
            given["bias_output"] = uniform(E, A)
        if self.mask:
            given["mask"] = torch.rand(E, B, S, generator=drawn) < 0.7
        if self.lengths:
            given["lengths"] = torch.randint(0, T + 1, (E, B), generator=drawn)
        return given

    @property
    def scale(self) -> float:
        return self.sizes[7] ** -0.5 if self.score == "scaled" else 1.0

    @property
    def real(self) -> list[str]:
        return [name for name, tensor in self.inputs.items() if tensor.is_floating_point()]

    def leaves(self) -> list[Tensor]:
        return [self.inputs[name].clone() for name in self.real]

    def function(self, *leaves: Tensor) -> list[Tensor]:
        """All seven results that are there."""
        given = {**self.inputs, **dict(zip(self.real, leaves, strict=True))}
        order = ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "keys", "values")
        first = [given.pop(name, None) for name in order]
        op: Callable = getattr(ops, f"{self.kind}_attention")
        options = {"heads": self.sizes[6], "scale": self.scale, "query": self.query, "feed": self.feed}
        found = op(*first, **given, **options, return_weights=True, bfloat16=self.bfloat16)
        return [result for result in found if result is not None]

    def meaning(self, *leaves: Tensor) -> list[Tensor]:
        given = {**self.inputs, **dict(zip(self.real, leaves, strict=True))}
        names = (
            *("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "keys", "values", "mask", "h0", "c0"),
            *(
                "feed0",
                "lengths",
                "weight_query",
                "bias_query",
                "weight_score",
                "weight_output",
                "bias_output",
            ),
        )
        options = self.sizes[6], self.scale, self.query == "before", FEEDS.index(self.feed), self.bfloat16
        found = getattr(reference, f"{self.kind}_attention")(*map(given.get, names), *options)
        return [result for result in found if result is not None]


def drawn(seed: int, dtype: torch.dtype = torch.float64) -> Case:
    """A case of sizes and options drawn at random."""
    r = random.Random(seed)
    query = r.choice(["after", "before"])
    feed = r.choice(["none", "context", "attentional"] if query == "after" else ["none", "context"])
    N = r.choice([1, 1, 2, 3])
    P, R, A = r.randint(1, 9), r.randint(1, 9), r.randint(1, 20)
    projects = r.random() < 0.5
    H = r.randint(1, 40) if projects else N * P
    sizes = (r.randint(1, 3), r.choice([1, 2, 5, 40]), r.choice([1, 3, 16, 17, 33, 70]), r.randint(1, 12), H)
    return Case(
        r.choice(["lstm", "gru"]),
        (*sizes, r.choice([1, 7, 8, 13, 29]), N, P, R, A),
        query,
        feed,
        r.choice(["dot", "scaled", "additive"]),
        projects,
        r.random() < 0.5,
        ids=r.random() < 0.4,
        mask=r.random() < 0.5,
        lengths=r.random() < 0.5,
        biases=r.random() < 0.8,
        states=r.random() < 0.8,
        dtype=dtype,
        seed=seed,
    )
