"""The NMU with two inputs by moments: models look at no sample.

With y = x - 1 the error is (w_0 - 1) y_0 + (w_1 - 1) y_1 + (w_0 w_1 - 1) y_0 y_1, so that the mean gradient
is a polynomial in the weights whose coefficients are moments of y. Those of a seed's draw serve all of its
ranges, as y = width u + middle with the same u.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from rivals.ensemble_numba_math import BATCH, F, draw, fast
from rivals.ensemble_numba_updates import update_nmu

MOMENTS = 8


@fast
def moments_of(a, out):
    """Write the means of u, v, uu, vv, uv, uuv, uvv, uuvv over the batch, with u and v in [-1/2, 1/2)."""
    c = F(2.0**-31)
    s10 = s01 = s20 = s02 = s11 = s21 = s12 = s22 = F(0)
    for b in range(BATCH):
        u = a[b] * c
        v = a[BATCH + b] * c
        q = u * v
        s10 += u
        s01 += v
        s20 += u * u
        s02 += v * v
        s11 += q
        s21 += q * u
        s12 += q * v
        s22 += q * q
    share = 1.0 / BATCH
    out[0], out[1], out[2], out[3] = s10 * share, s01 * share, s20 * share, s02 * share
    out[4], out[5], out[6], out[7] = s11 * share, s21 * share, s12 * share, s22 * share


@fast
def gradients(moments, p, g, n, width, middle):
    """Write the sums of all n models, in float64: large moments cancel near the solution."""
    for k in range(n):
        d, m = width[k], middle[k]
        u10, u01, u20, u02 = moments[k], moments[n + k], moments[2 * n + k], moments[3 * n + k]
        u11, u21, u12, u22 = moments[4 * n + k], moments[5 * n + k], moments[6 * n + k], moments[7 * n + k]
        dd, mm, dm = d * d, m * m, d * m
        m20 = dd * u20 + 2 * dm * u10 + mm
        m02 = dd * u02 + 2 * dm * u01 + mm
        m11 = dd * u11 + dm * (u10 + u01) + mm
        m21 = d * dd * u21 + m * dd * (u20 + 2 * u11) + d * mm * (2 * u10 + u01) + m * mm
        m12 = d * dd * u12 + m * dd * (u02 + 2 * u11) + d * mm * (2 * u01 + u10) + m * mm
        m22 = dd * dd * u22 + 2 * dd * dm * (u21 + u12) + dm * dm * (4 * u11 + u20 + u02)
        m22 += 2 * dm * mm * (u10 + u01) + mm * mm
        w0, w1 = float(p[k]), float(p[n + k])
        e0, e1, e2 = w0 - 1, w1 - 1, w0 * w1 - 1
        last = e0 * m21 + e1 * m12 + e2 * m22
        g[k] = F(BATCH * (e0 * m20 + e1 * m11 + e2 * m21 + w1 * last))
        g[n + k] = F(BATCH * (e0 * m11 + e1 * m02 + e2 * m12 + w0 * last))


def make_trainer() -> Any:
    """Compile ``train``, whose arguments are those of the NMU's trainer in ensemble_numba.py."""

    @njit(parallel=True, fastmath=True, error_model="numpy")
    def train(weight, seeds, order, scale, offset, iterations, lr, penalty, blocks):
        models = weight.shape[1]
        for block in prange(blocks):
            k0, k1 = models * block // blocks, models * (block + 1) // blocks
            n = k1 - k0
            p = weight[:, k0:k1].copy().reshape(-1)
            m, v, g = np.zeros(2 * n, F), np.zeros(2 * n, F), np.empty(2 * n, F)
            width, middle = scale[k0:k1] * 2.0**31, offset[k0:k1] - 1.0
            a, out, moments = np.empty(2 * BATCH, F), np.empty(MOMENTS, F), np.empty(MOMENTS * n, np.float64)
            b1, b2 = 1.0, 1.0
            for t in range(iterations):
                drawn = -1
                for k in range(n):
                    if seeds[k0 + k] != drawn:
                        drawn = seeds[k0 + k]
                        draw(a, order[drawn], drawn, t)
                        moments_of(a, out)
                    for i in range(MOMENTS):
                        moments[i * n + k] = out[i]
                gradients(moments, p, g, n, width, middle)
                b1 *= 0.9
                b2 *= 0.999
                update_nmu(p, m, v, g, F(penalty / 2), F(lr / (1 - b1)), F(1 / math.sqrt(1 - b2)))
            weight[:, k0:k1] = p.reshape(2, n)

    return train
