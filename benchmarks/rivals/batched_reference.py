"""Any module in torch: the reference formula for all models at once, with autograd.

Nothing here knows a module by name. The formulas are those of mathkernels.reference, which lead with a model
axis; penalties, clamps and the limit of the gradient norm follow the descriptions of the tensors.
"""

from __future__ import annotations

import numpy as np
import torch
from cases import BATCH
from module_cases import ModuleCase
from torch import Tensor

from mathkernels.reference import discretisation
from mathkernels.reference.ensemble import apply_unit
from rivals.batched_torch import BatchedTorch, Parameters

SHARED_GATES = ("RealNPU", "NPU", "NMRU")  # one gate (E,columns) for all outputs of a layer


class BatchedReference(BatchedTorch):
    """Parameters are (E,O,columns), inputs (E,B,I) with the samples next to each other in memory."""

    case: ModuleCase  # type: ignore[assignment]

    def __init__(self, case: ModuleCase, compiled: bool) -> None:
        super().__init__(case, compiled, common=True)  # type: ignore[arg-type]
        self.low, self.width = (torch.from_numpy(v).view(-1, 1, 1, 1) for v in (case.low, case.width))

    def _restart(self) -> None:
        self.parameters = tuple(torch.tensor(values) for values in self.case.start.values())
        self.moments = tuple((torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters)
        self.optimizer = torch.optim.Adam(self.parameters, lr=self.case.lr, fused=True)

    def _sample(self) -> Tensor:
        uniform = torch.rand(1, self.case.seeds, self.case.inputs, BATCH)
        return (uniform * self.width + self.low).flatten(0, 1).transpose(1, 2)

    def _loss(self, parameters: Parameters, x: Tensor) -> Tensor:
        """x (E,B,I) -> the sum of all models' losses."""
        left, values, total = list(parameters), x, torch.zeros(())
        for unit, layer, names in self.case.parts:
            own, left = left[: len(names)], left[len(names) :]
            for p, tensor in zip(own, layer.tensors, strict=True):
                if tensor.strength:
                    each = (
                        p.abs().sum()
                        if tensor.penalty == "absolute"
                        else discretisation(p, tensor.penalty).sum()
                    )
                    total = total + tensor.strength * each
            if unit.name in SHARED_GATES and names[-1].endswith("gate"):
                own[-1] = own[-1][:, 0]
            values = apply_unit(unit, own, values, training=True)
        if self.case.norm is not None:
            total = total + self.case.norm.start * sum(p.abs().sum() for p in parameters)
        return total + (values[:, :, 0] - self._target(x)).square().mean(1).sum()

    def _target(self, x: Tensor) -> Tensor:
        """x (E,B,I) -> (E,B)."""
        a, b = (x[:, :, first : first + size].sum(2) for first, size in self.case.spans)
        return {"add": torch.add, "mul": torch.mul, "div": torch.div}[self.case.operation](a, b)

    def _limited(self, gradients: Parameters) -> Parameters:
        """Limit each model's norm as torch.nn.utils.clip_grad_norm_ does."""
        if self.case.clip_norm is None:
            return gradients
        squares = torch.stack([g.square().sum((1, 2)) for g in gradients])
        share = (self.case.clip_norm / (squares.sum(0).sqrt() + 1e-6)).clamp(max=1.0)
        return tuple(g * share[:, None, None] for g in gradients)

    def _clamped(self, parameters: Parameters) -> Parameters:
        tensors = [tensor for part in self.case.parts for tensor in part.layer.tensors]
        return tuple(
            p if tensor.clamp is None else p.clamp(*tensor.clamp)
            for p, tensor in zip(parameters, tensors, strict=True)
        )

    def prove(self, iterations: int) -> np.ndarray:
        self._restart()

        def given(t: int) -> Tensor:
            samples_last = self.case.inputs_at(t).transpose(0, 2, 1)
            return torch.from_numpy(np.ascontiguousarray(samples_last)).transpose(1, 2)

        self._train(iterations, given)
        return torch.cat([p.detach().flatten(1) for p in self.parameters], dim=1).numpy()
