"""Adam, penalties and clamps of the training loops in Numba, over all models of a block at once.

With ten inputs of U[10,20] the second moment overflows to infinity, and the model stands still, in torch as
well. Estimates of reciprocals would make NaN of it, so that Adam may only fuse multiply and add. Moments that
have died away are flushed: denormal numbers never appear.
"""

from __future__ import annotations

import math

from numba import njit

from rivals.ensemble_numba_math import BATCH, F, inlined, pick

EXACT = {"contract", "nsz"}
exact = njit(fastmath=EXACT, error_model="numpy")


@inlined
def sign(x):
    return pick(x > F(0), F(1), pick(x < F(0), F(-1), F(0)))


@inlined
def unit_slope(w):
    """Of min(|w|, |1 - w|) for w in [0, 1]: 0 at 0, 1/2 and 1."""
    return pick(w > F(0), pick(w < F(1), sign(F(0.5) - w), F(0)), F(0))


@inlined
def signed_slope(w):
    """Of |1 - |w|| for w in [-1, 1]: 0 at -1, 0 and 1."""
    return pick(w < F(1), pick(w > F(-1), -sign(w), F(0)), F(0))


@njit(inline="always", fastmath=EXACT, error_model="numpy")
def stepped(p, m, v, j, d, step, correction, low):
    """Move p[j] by Adam along the gradient d and clamp it to [low, 1]."""
    first = m[j] + F(0.1) * (d - m[j])
    second = F(0.999) * v[j] + F(0.001) * d * d
    w = p[j] - step * (first / (math.sqrt(second) * correction + F(1e-8)))
    w = pick(w > low, w, low)
    p[j] = pick(w < F(1), w, F(1))
    m[j] = pick(abs(first) > F(1e-30), first, F(0))
    v[j] = pick(second > F(1e-36), second, F(0))


@exact
def update_nmu(p, m, v, g, penalty, step, correction):
    for j in range(len(p)):
        d = g[j] * F(2 / BATCH) + penalty * unit_slope(p[j])
        stepped(p, m, v, j, d, step, correction, F(0))


@exact
def update_npu_weights(p, m, v, g, norm, penalty, step, correction):
    for j in range(len(p)):
        d = g[j] + penalty * signed_slope(p[j]) + norm * sign(p[j])
        stepped(p, m, v, j, d, step, correction, F(-1))


@exact
def update_npu_gates(p, m, v, g, norm, penalty, step, correction):
    for j in range(len(p)):
        d = g[j] + penalty * unit_slope(p[j]) + norm * sign(p[j])
        stepped(p, m, v, j, d, step, correction, F(0))
