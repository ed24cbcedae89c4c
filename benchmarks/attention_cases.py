"""What the benchmarks of attention run: an LSTM decoder with dot attention at several sizes.

Letters as in mathkernels.ops: E models, T target steps, B batch, I inputs, H hidden, S source steps. Keys and
values are as wide as the state, cut into ``heads`` heads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class AttentionCase:
    """One decoder at one size.

    Attributes:
        name: as in the tables.
        hidden, batch, source, steps, inputs: H, B, S, T, I.
        heads: of the attention.
        models: E.
        fed: whether each step takes the context of the one before as a further input (input feeding). Without
            it attention comes after the recurrence, for all steps at once.
        bfloat16: whether those who round to bfloat16 take part.
    """

    name: str
    hidden: int
    batch: int
    source: int
    steps: int
    inputs: int
    heads: int = 1
    models: int = 1
    fed: bool = True
    bfloat16: bool = False

    @property
    def depth(self) -> int:
        """Columns of one head."""
        return self.hidden // self.heads

    @property
    def scale(self) -> float:
        """Of the scores."""
        return self.depth**-0.5

    @cached_property
    def given(self) -> Arrays:
        """Whose gradients are asked for, all float32 and with a leading E.

        x (E,T,B,I), keys and values (E,B,S,H), h0 and c0 (E,B,H), weight_ih (E,4H,I+H), or (E,4H,I) without
        input feeding, weight_hh (E,4H,H), bias_ih and bias_hh (E,4H). The columns of x come first.
        """
        draw, width = np.random.default_rng(0), self.hidden**-0.5
        E, T, B, S, I, H = self.models, self.steps, self.batch, self.source, self.inputs, self.hidden
        states = {"x": (T, B, I), "keys": (B, S, H), "values": (B, S, H), "h0": (B, H), "c0": (B, H)}
        weights = {
            "weight_ih": (4 * H, I + H if self.fed else I),
            "weight_hh": (4 * H, H),
            "bias_ih": (4 * H,),
            "bias_hh": (4 * H,),
        }
        found = {name: draw.standard_normal((E, *size), np.float32) for name, size in states.items()}
        for name, size in weights.items():
            found[name] = draw.uniform(-width, width, (E, *size)).astype(np.float32)
        return found

    @cached_property
    def gradients(self) -> tuple[np.ndarray, np.ndarray]:
        """The gradients of the states and of the contexts, both (E,T,B,H), normal numbers in float32."""
        draw, size = np.random.default_rng(1), (self.models, self.steps, self.batch, self.hidden)
        return draw.standard_normal(size, np.float32), draw.standard_normal(size, np.float32)

    def flops(self, training: bool) -> int:
        """Return the operations of the products; backward makes two for each of forward's.

        The products are those with x, with what is fed and with the state, and those with keys and values.
        """
        columns = self.inputs + self.hidden * (2 if self.fed else 1)
        rows = self.models * self.steps * self.batch
        forward = 2 * rows * (4 * self.hidden * columns + 2 * self.source * self.hidden)
        return 3 * forward if training else forward


def _at(hidden: int, batch: int, source: int, steps: int, inputs: int, **options: Any) -> AttentionCase:
    """Return a case that is named by its sizes."""
    name = f"H{hidden} B{batch} S{source} T{steps} I{inputs}"
    case = AttentionCase(name, hidden, batch, source, steps, inputs, **options)
    if case.heads > 1:
        name = f"{name}, {case.heads} heads"
    if case.models > 1:
        name = f"{case.models} models {name}"
    return replace(case, name=name if case.fed else f"after the recurrence {name}")


TABLE = [
    _at(256, 128, 160, 30, 256),
    _at(256, 128, 160, 30, 256, heads=8),
    _at(256, 128, 64, 30, 256),
    _at(256, 128, 64, 64, 256),
    _at(512, 128, 160, 30, 512, bfloat16=True),
    _at(64, 32, 40, 20, 64),
    _at(32, 32, 40, 20, 32, models=16),
    _at(256, 128, 160, 30, 256, fed=False),
    _at(256, 128, 160, 30, 256, heads=8, fed=False),
]
# What --short times: every option once, a moment each. No size fills its vectors or its last block of rows.
_TINY = AttentionCase("short", hidden=17, batch=34, source=7, steps=5, inputs=3)
SHORT = [
    replace(_TINY, bfloat16=True),
    replace(_TINY, name="short, 3 heads", hidden=33, heads=3),
    replace(_TINY, name="short, 3 models", models=3),
    replace(_TINY, name="short, after the recurrence", hidden=34, heads=2, fed=False),
]
ATTENTION_CASES = {case.name: case for case in (*TABLE, *SHORT)}
