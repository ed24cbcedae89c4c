"""The layer ops as the tests of test_layers.py see them: function, reference, raw ops and inputs of each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mathkernels import ops, reference

EPSILON = 2.0**-23


@dataclass(frozen=True)
class Case:
    """A layer op with its options fixed; leaves are x, weight and, where there is one, gate."""

    id: str
    op: str
    options: tuple = ()
    columns: int = 1  # of the weight, per input
    more: int = 0  # columns of the weight beside those of the inputs
    low: float = -0.9
    high: float = 0.9
    gates: int = 0  # gates per input, which the outputs share

    def function(self, *leaves: Tensor) -> Tensor:
        return getattr(ops, self.op)(*leaves, *self.options)

    def reference(self, *leaves: Tensor) -> Tensor:
        if self.op == "npu":  # its reference takes the two halves of the weight one by one
            leaves = (leaves[0], *leaves[1].chunk(2, dim=-1), leaves[2])
        return getattr(reference, self.op)(*leaves, *self.options)

    @property
    def forward_op(self) -> Callable:
        return getattr(torch.ops.mathkernels, self.op).default

    @property
    def backward_op(self) -> Callable:
        return getattr(torch.ops.mathkernels, f"{self.op}_backward").default

    def leaves(self, shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float64) -> list[Tensor]:
        """Inputs of both signs with 0.3 < |x| < 1.7; weights away from kinks; some gates outside [0, 1]."""
        E, B, I, O = shape
        x = torch.empty(E, B, I, dtype=torch.float64).uniform_(0.3, 1.7)
        x = x * (torch.rand(E, B, I) < 0.5).double().mul(2).sub(1)
        weight = torch.empty(E, O, self.columns * I + self.more, dtype=torch.float64).uniform_(
            self.low, self.high
        )
        leaves = [x, weight]
        if self.gates:
            leaves.append(torch.empty(E, self.gates * I, dtype=torch.float64).uniform_(-0.2, 1.2))
        return [leaf.to(dtype) for leaf in leaves]


CASES = [
    Case("nau", "nau", low=-1.3, high=1.3),
    Case("nmu", "nmu", low=0.0, high=1.0),
    Case("real_npu", "real_npu", (EPSILON,), gates=1),
    Case("npu", "npu", (EPSILON,), columns=2, gates=1),
    Case("nru-training", "nru", (True,), low=0.1),
    Case("nru-evaluation", "nru", (False,)),
    Case("nmru-training", "nmru", (EPSILON, True, True), columns=2, low=0.0, high=1.0),
    Case("nmru-evaluation", "nmru", (EPSILON, False, True), columns=2, low=0.0, high=1.0),
    Case("nmru-no-retrieval", "nmru", (EPSILON, True, False), columns=2, low=0.0, high=1.0),
    Case("nmru-no-retrieval-evaluation", "nmru", (EPSILON, False, False), columns=2, low=0.0, high=1.0),
    Case("nmru_gated-training", "nmru_gated", (EPSILON, True), columns=2, low=0.0, high=1.0, gates=2),
    Case("nmru_gated-evaluation", "nmru_gated", (EPSILON, False), columns=2, low=0.0, high=1.0, gates=2),
    Case("nru_separate-training", "nru_separate", (True,), low=0.1),
    Case("nru_separate-evaluation", "nru_separate", (False,)),
    Case("nac", "nac", columns=2, low=-1.5, high=1.5),
    Case("nac_mul", "nac_mul", (1e-7,), columns=2, low=-1.5, high=1.5),
    Case("nac_sigma", "nac_sigma", (1e-7,), low=-1.5, high=1.5),
    Case("nac_nmu", "nac_nmu", (1e-7,), low=0.0, high=1.0),
    Case("nalu", "nalu", (1e-7,), columns=3, low=-1.5, high=1.5),
    Case("nalu_separate", "nalu_separate", (1e-7,), columns=5, low=-1.5, high=1.5),
    Case("nalu_nau_nmu", "nalu_nau_nmu", columns=3),
    Case("gnalu", "gnalu", (1e-7,), columns=3, low=-1.5, high=1.5),
    Case("linear", "linear", more=1, low=-1.5, high=1.5),
    Case("inalu", "inalu", (1e-7,), columns=4, more=1, low=-1.5, high=1.5),
]


def case_of(op: str) -> Case:
    """The first case of an op."""
    return next(case for case in CASES if case.op == op)
