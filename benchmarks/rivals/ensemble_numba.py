"""Whole training runs in Numba, as an expert writes them: the fastest rival that is measured.

What makes it fast: one parallel call trains all iterations, a block of models on each thread. Everything is
float32, and every loop over samples or models is one that LLVM vectorises with 512 bits. Random numbers are
hashes of counters in 32-bit integers, drawn once for all ranges of a seed. Gradients are written out for the
number of inputs, logarithm and exponential are polynomials to base 2, divisions are estimates of reciprocals
with a step of Newton (fastmath), and Adam with penalties and clamps is one loop over all models of a block.
It does not evaluate, as ours does every 1,000 iterations.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numba
import numpy as np
from cases import SEEDS, Case
from numba import njit, prange

from rivals import ensemble_numba_moments, ensemble_numba_nmu, ensemble_numba_npu
from rivals.ensemble_numba_math import BATCH, F, draw
from rivals.ensemble_numba_npu import angles, finish
from rivals.ensemble_numba_updates import update_nmu, update_npu_gates, update_npu_weights


def nmu_trainer(inputs: int) -> Any:
    """Compile ``train``; weight (I, models) is changed, models of one seed stand side by side."""
    sums = ensemble_numba_nmu.make_sums(inputs)

    @njit(parallel=True, fastmath=True, error_model="numpy")
    def train(weight, seeds, order, scale, offset, iterations, lr, penalty, blocks):
        models = weight.shape[1]
        for block in prange(blocks):
            k0, k1 = models * block // blocks, models * (block + 1) // blocks
            n = k1 - k0
            p = weight[:, k0:k1].copy().reshape(-1)
            m, v, g = np.zeros(inputs * n, F), np.zeros(inputs * n, F), np.empty(inputs * n, F)
            a = np.empty(inputs * BATCH, F)
            b1, b2 = 1.0, 1.0
            for t in range(iterations):
                drawn = -1
                for k in range(n):
                    if seeds[k0 + k] != drawn:
                        drawn = seeds[k0 + k]
                        draw(a, order[drawn], drawn, t)
                    sums(a, p, g, k, n, scale[k0 + k], offset[k0 + k])
                b1 *= 0.9
                b2 *= 0.999
                update_nmu(p, m, v, g, F(penalty / inputs), F(lr / (1 - b1)), F(1 / math.sqrt(1 - b2)))
            weight[:, k0:k1] = p.reshape(inputs, n)

    return train


def npu_trainer(inputs: int) -> Any:
    """Compile ``train``; weight (2I, models), weights and gates, is changed."""
    of_one_sign, of_both_signs = ensemble_numba_npu.make_sums(inputs)

    @njit(parallel=True, fastmath=True, error_model="numpy")
    def train(weight, seeds, order, scale, offset, negative, crossing, norm, iterations, lr, penalty, blocks):
        models = weight.shape[1]
        for block in prange(blocks):
            k0, k1 = models * block // blocks, models * (block + 1) // blocks
            n = k1 - k0
            cut = inputs * n
            p = weight[:, k0:k1].copy().reshape(-1)
            m, v, g = np.zeros(2 * cut, F), np.zeros(2 * cut, F), np.zeros(3 * cut, F)
            a, work = np.empty(inputs * BATCH, F), np.empty((2 * inputs + 3) * BATCH, F)
            turns = np.empty(4 * n, F)
            below, both = negative[k0:k1].copy(), crossing[k0:k1].copy()
            b1, b2 = 1.0, 1.0
            for t in range(iterations):
                drawn = -1
                angles(p, inputs, n, below, both, turns)
                for k in range(n):
                    if seeds[k0 + k] != drawn:
                        drawn = seeds[k0 + k]
                        draw(a, order[drawn], drawn, t)
                    side = F(1) - F(2) * below[k]
                    if both[k] > F(0):
                        of_both_signs(a, p, g, k, n, scale[k0 + k], offset[k0 + k], side, turns, work)
                    else:
                        of_one_sign(a, p, g, k, n, scale[k0 + k], offset[k0 + k], side, turns, work)
                b1 *= 0.9
                b2 *= 0.999
                each, step, correction = F(penalty / inputs), F(lr / (1 - b1)), F(1 / math.sqrt(1 - b2))
                finish(p, g, inputs, n, below, both, turns)
                update_npu_weights(p[:cut], m[:cut], v[:cut], g[:cut], F(norm), each, step, correction)
                update_npu_gates(p[cut:], m[cut:], v[cut:], g[cut : 2 * cut], F(norm), each, step, correction)
            weight[:, k0:k1] = p.reshape(2 * inputs, n)

    return train


class NumbaEnsemble:
    """Draws the very inputs that our runs see, in the rivals' order.

    Args:
        case: what is trained.
        threads: of Numba.
        moments: take the gradients from moments of the batch; for the NMU with two inputs.
    """

    def __init__(self, case: Case, threads: int, *, moments: bool = False) -> None:
        self.case, self.threads, self.models = case, threads, case.models
        self.npu = case.operation == "div"
        if moments:
            self._train = ensemble_numba_moments.make_trainer()
        else:
            self._train = (npu_trainer if self.npu else nmu_trainer)(case.inputs)
        ranges = len(case.low)
        self.by_seed = np.arange(self.models).reshape(ranges, SEEDS).T.flatten()
        # 31 bits less 2^30 become U[low, high) as in mathkernels: the middle of each of 2^31 equal steps
        exact = [run.task.interpolation[0].intervals[0] for run in case.runs(1)[::SEEDS]]
        low, high = np.array(exact, np.float64).T
        scale = ((high - low) / 2**31).astype(F)
        crossing = (low < 0) & (high > 0)
        offset = np.where(crossing, scale / 2, low + (2**30 + 0.5) * (high - low) / 2**31).astype(F)
        each = self.by_seed // SEEDS
        self.given = (
            (self.by_seed % SEEDS).astype(np.int64),
            np.ascontiguousarray(case.order.astype(np.int64)),
            scale[each],
            offset[each],
        )
        if self.npu:
            module: Any = case.module
            negative = ((low < 0) & ~crossing).astype(F)
            self.given += (negative[each], crossing.astype(F)[each], float(module.norm.start))
        self.start = np.concatenate(list(case.start.values()), axis=1)[self.by_seed].T.astype(F)

    def prove(self, iterations: int) -> np.ndarray:
        module: Any = self.case.module
        # the Real NPU's discretisation is a mean over the inputs with a weight for each kind of parameter
        penalty = float(module.weight_penalty if self.npu else module.penalty)
        numba.set_num_threads(self.threads)
        weight = self.start.copy()
        self._train(weight, *self.given, iterations, self.case.lr, penalty, self.threads)
        found = np.empty(weight.T.shape, F)
        found[self.by_seed] = weight.T
        return found

    def time(self, iterations: int) -> float:
        begin = time.perf_counter()
        self.prove(iterations)
        return time.perf_counter() - begin
