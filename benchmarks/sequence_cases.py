"""What the benchmarks of sequences run: one LSTM or GRU layer at the sizes of the experiments, and a grid.

Inputs are data, so their gradient is asked for in the grid only, whose layers stand inside a net (I = H).
Letters as in mathkernels.ops: E models, D directions, T steps, B batch, I inputs, H hidden, G gates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np

GATES = {"lstm": 4, "gru": 3}
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class SequenceCase:
    """One layer at one size.

    Attributes:
        name: as in the tables; unique among all cases.
        kind: "lstm" or "gru".
        models, directions, steps, batch, inputs, hidden: E, D, T, B, I, H.
        symbols: x holds indices (E,T,B) below I; who cannot take them gets one-hot vectors.
        input_gradient: whether backward returns the gradient of x too.
        bfloat16: whether those who round to bfloat16 take part.
    """

    name: str
    kind: str
    steps: int
    batch: int
    inputs: int
    hidden: int
    models: int = 1
    directions: int = 1
    symbols: bool = False
    input_gradient: bool = False
    bfloat16: bool = False

    @cached_property
    def weights(self) -> Arrays:
        """weight_ih (E,D,GH,I), weight_hh (E,D,GH,H), bias_ih and bias_hh (E,D,GH), drawn as by torch.nn."""
        draw, width = np.random.default_rng(0), self.hidden**-0.5
        shape = (self.models, self.directions, GATES[self.kind] * self.hidden)
        shapes = {
            "weight_ih": (*shape, self.inputs),
            "weight_hh": (*shape, self.hidden),
            "bias_ih": shape,
            "bias_hh": shape,
        }
        return {name: draw.uniform(-width, width, size).astype(np.float32) for name, size in shapes.items()}

    @cached_property
    def x(self) -> np.ndarray:
        """Indices (E,T,B) int64, or normal numbers (E,T,B,I) float32."""
        draw, shape = np.random.default_rng(1), (self.models, self.steps, self.batch)
        if self.symbols:
            return draw.integers(self.inputs, size=shape)
        return draw.standard_normal((*shape, self.inputs), np.float32)

    @cached_property
    def dense(self) -> np.ndarray:
        """x as (E,T,B,I) float32 for those who cannot take indices."""
        return np.eye(self.inputs, dtype=np.float32)[self.x] if self.symbols else self.x

    @cached_property
    def dy(self) -> np.ndarray:
        """The gradient of the outputs (E,T,B,DH), normal numbers in float32."""
        shape = (self.models, self.steps, self.batch, self.directions * self.hidden)
        return np.random.default_rng(2).standard_normal(shape, np.float32)

    def flops(self, training: bool) -> int:
        """Return the operations of the products: a gather, the gates and the biases count as nothing.

        Backward makes two products for each of forward's, but one where no gradient of x is asked for.
        """
        rows = self.models * self.directions * self.steps * self.batch * GATES[self.kind] * self.hidden
        inputs = 0 if self.symbols else self.inputs
        forward = 2 * rows * (inputs + self.hidden)
        if not training:
            return forward
        gradients = 2 * rows * (inputs * self.input_gradient + self.hidden)
        return 2 * forward + gradients


def _cases(kind: str) -> list[SequenceCase]:
    def case(name: str, *sizes: int, **options: int | bool) -> SequenceCase:
        return SequenceCase(f"{kind.upper()} {name}", kind, *sizes, **options)  # type: ignore[arg-type]

    return [
        case("bidirectional B256 T10 I13 H20", 10, 256, 13, 20, directions=2),
        *(case(f"B{b} T{t} I2 H100", t, b, 2, 100) for b in (32, 128) for t in (150, 400, 1000)),
        case("characters B128 T160 I95 H256", 160, 128, 95, 256, symbols=True),
        case("characters B128 T160 I95 H512", 160, 128, 95, 512, symbols=True, bfloat16=True),
        *(case(f"16 models B32 T150 I2 H{h}", 150, 32, 2, h, models=16) for h in (20, 50, 100)),
        case("size 1", 1, 1, 1, 1),
    ]


def _grid(kind: str) -> list[SequenceCase]:
    sizes = product((8, 32, 128, 512), (1, 10, 100), (1, 8, 32, 128))
    return [
        SequenceCase(f"{kind.upper()} grid B{b} T{t} H{h}", kind, t, b, h, h, input_gradient=True)
        for h, t, b in sizes
    ]


# What --short times: every option once, a moment each. 17 and 33 leave no vector full.
_TINY = SequenceCase("tiny", "lstm", steps=7, batch=5, inputs=3, hidden=17)
_SHORT = {
    "short, symbols": replace(_TINY, inputs=11, hidden=33, symbols=True, bfloat16=True),
    "short, bidirectional": replace(_TINY, directions=2, input_gradient=True),
    "short, 3 models": replace(_TINY, models=3),
}

TABLE = {kind: _cases(kind) for kind in GATES}
GRID = {kind: _grid(kind) for kind in GATES}
SHORT = {
    kind: [replace(case, name=f"{kind.upper()} {name}", kind=kind) for name, case in _SHORT.items()]
    for kind in GATES
}
SEQUENCE_CASES = {case.name: case for cases in (TABLE, GRID, SHORT) for kind in GATES for case in cases[kind]}
