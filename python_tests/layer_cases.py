"""The layer ops as the tests of test_layers.py see them: function, reference, raw ops and inputs of each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mathkernels import ops, reference

EPSILON = 2.0**-23


@dataclass(frozen=True)
class Case:
    """A layer op with its options fixed; leaves are x, weight and, for the Real NPU, gate."""

    id: str
    op: str
    options: tuple = ()
    columns: int = 1  # of the weight, per input
    more: int = 0  # columns of the weight beside those of the inputs
    low: float = -0.9
    high: float = 0.9
    gated: bool = False

    def function(self, *leaves: Tensor) -> Tensor:
        return getattr(ops, self.op)(*leaves, *self.options)

    def reference(self, *leaves: Tensor) -> Tensor:
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
        if self.gated:
            leaves.append(torch.empty(E, I, dtype=torch.float64).uniform_(-0.2, 1.2))
        return [leaf.to(dtype) for leaf in leaves]


CASES = [
    Case("nau", "nau", low=-1.3, high=1.3),
    Case("nmu", "nmu", low=0.0, high=1.0),
    Case("real_npu", "real_npu", (EPSILON,), gated=True),
    Case("nru-training", "nru", (True,), low=0.1),
    Case("nru-evaluation", "nru", (False,)),
    Case("nmru-training", "nmru", (EPSILON, True, True), columns=2, low=0.0, high=1.0),
    Case("nmru-evaluation", "nmru", (EPSILON, False, True), columns=2, low=0.0, high=1.0),
    Case("nmru-no-retrieval", "nmru", (EPSILON, True, False), columns=2, low=0.0, high=1.0),
    Case("nmru-no-retrieval-evaluation", "nmru", (EPSILON, False, False), columns=2, low=0.0, high=1.0),
    Case("nac", "nac", columns=2, low=-1.5, high=1.5),
    Case("nac_mul", "nac_mul", (1e-7,), columns=2, low=-1.5, high=1.5),
    Case("nac_sigma", "nac_sigma", (1e-7,), low=-1.5, high=1.5),
    Case("nac_nmu", "nac_nmu", (1e-7,), low=0.0, high=1.0),
    Case("nalu", "nalu", (1e-7,), columns=3, low=-1.5, high=1.5),
    Case("nalu_separate", "nalu_separate", (1e-7,), columns=5, low=-1.5, high=1.5),
    Case("nalu_nau_nmu", "nalu_nau_nmu", columns=3),
    Case("gnalu", "gnalu", (1e-7,), columns=3, low=-1.5, high=1.5),
    Case("inalu", "inalu", (1e-7,), columns=4, more=1, low=-1.5, high=1.5),
]


def case_of(op: str) -> Case:
    """The first case of an op."""
    return next(case for case in CASES if case.op == op)
