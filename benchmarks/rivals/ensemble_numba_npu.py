"""Sums over a batch of the Real NPU's gradients in Numba.

z = exp(sum_i w_i l_i) times the cosine of an angle, with l_i = log(r_i) and r_i = g_i (|x_i| + eps - 1) + 1;
let e be the error times that exponential. Parameters p are (rows, n), flat: I weights, then I gates, of n
models; sums g have I rows more. They are of e l_i for weights, of e (|x_i| + eps - 1) / r_i for gates, both
times the cosine where it differs by sample; and for the angle of e itself where inputs have one sign (in one
row), else of e times the sine where x_i < 0.

With two inputs one loop over samples does everything, and the inputs' signs select among four cosines. With
more, its sums would not fit into the registers: then there is a short loop for each input, with arrays in the
cache between them, and a cosine for each sample where inputs have both signs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rivals.ensemble_numba_math import BATCH, F, cos_pi, exp2, fast, log2

EPS1 = F(2.0**-23 - 1)  # epsilon - 1
PI = F(math.pi)
LN2 = F(math.log(2))


@fast
def angles(p, inputs, n, negative, crossing, turns):
    """Write cosines and sines of pi sum w h [x<0]; rows of ``turns`` (4,n), flat: cos, sin, cos, sin.

    Where inputs have both signs: of pi w_0 h_0, then of pi w_1 h_1.
    """
    for k in range(n):
        t0 = p[k] * p[inputs * n + k]
        t1 = p[n + k] * p[(inputs + 1) * n + k]
        total = t0 + t1
        for i in range(2, inputs):
            total += p[i * n + k] * p[(inputs + i) * n + k]
        first = total * negative[k] + t0 * crossing[k]
        turns[k] = cos_pi(first)
        turns[n + k] = cos_pi(first - F(0.5))
        turns[2 * n + k] = cos_pi(t1)
        turns[3 * n + k] = cos_pi(t1 - F(0.5))


@fast
def finish(p, g, inputs, n, negative, crossing, turns):
    """Turn sums into gradients, in place."""
    mean = F(2 / BATCH)
    for i in range(inputs):
        for k in range(n):
            c = turns[k] + crossing[k] * (F(1) - turns[k])
            one_sign = turns[n + k] * g[2 * inputs * n + k] * (PI * negative[k])
            t = one_sign + crossing[k] * PI * g[(2 * inputs + i) * n + k]
            weight, gate = i * n + k, (inputs + i) * n + k
            g[weight] = mean * (c * g[weight] - p[gate] * t)
            g[gate] = mean * p[weight] * (c * g[gate] - t)


@fast
def two_of_one_sign(a, p, g, k, n, scale, offset, side, turns, work):
    """Both operands have one sign, so that the target is |x_0| / |x_1|; ``side`` is 1 or -1."""
    k, n = np.uintp(k), np.uintp(n)
    w0, w1, h0, h1 = p[k], p[n + k], p[np.uintp(2) * n + k], p[np.uintp(3) * n + k]
    cosine = turns[k]
    scale, offset = scale * side, offset * side  # of |x|
    shift = offset + EPS1
    g0 = g1 = g2 = g3 = g4 = F(0)
    for b in range(BATCH):
        x0 = a[b] * scale + offset
        x1 = a[BATCH + b] * scale + offset
        m0 = a[b] * scale + shift
        m1 = a[BATCH + b] * scale + shift
        r0 = h0 * m0 + F(1)
        r1 = h1 * m1 + F(1)
        l0 = log2(r0)
        l1 = log2(r1)
        z = exp2(w0 * l0 + w1 * l1)
        e = z * (z * cosine - x0 / x1)
        g0 += e * l0
        g1 += e * l1
        g2 += e * (m0 / r0)
        g3 += e * (m1 / r1)
        g4 += e
    g[k], g[n + k], g[np.uintp(2) * n + k], g[np.uintp(3) * n + k] = g0 * LN2, g1 * LN2, g2, g3
    g[np.uintp(4) * n + k] = g4


@fast
def two_of_both_signs(a, p, g, k, n, scale, offset, side, turns, work):
    k, n = np.uintp(k), np.uintp(n)
    w0, w1, h0, h1 = p[k], p[n + k], p[np.uintp(2) * n + k], p[np.uintp(3) * n + k]
    c0, s0, c1, s1 = turns[k], turns[n + k], turns[np.uintp(2) * n + k], turns[np.uintp(3) * n + k]
    c01, s01 = c0 * c1 - s0 * s1, s0 * c1 + c0 * s1
    g0 = g1 = g2 = g3 = g4 = g5 = F(0)
    for b in range(BATCH):
        x0 = a[b] * scale + offset
        x1 = a[BATCH + b] * scale + offset
        m0 = abs(x0) + EPS1
        m1 = abs(x1) + EPS1
        r0 = h0 * m0 + F(1)
        r1 = h1 * m1 + F(1)
        l0 = log2(r0)
        l1 = log2(r1)
        z = exp2(w0 * l0 + w1 * l1)
        c = (c01 if x1 < F(0) else c0) if x0 < F(0) else (c1 if x1 < F(0) else F(1))
        s = (s01 if x1 < F(0) else s0) if x0 < F(0) else (s1 if x1 < F(0) else F(0))
        e = z * (z * c - x0 / x1)
        ec = e * c
        es = e * s
        g0 += ec * l0
        g1 += ec * l1
        g2 += ec * (m0 / r0)
        g3 += ec * (m1 / r1)
        g4 += es if x0 < F(0) else F(0)
        g5 += es if x1 < F(0) else F(0)
    g[k], g[n + k], g[np.uintp(2) * n + k], g[np.uintp(3) * n + k] = g0 * LN2, g1 * LN2, g2, g3
    g[np.uintp(4) * n + k], g[np.uintp(5) * n + k] = g4, g5


def make_many(inputs: int) -> tuple[Any, Any]:
    """Compile both kinds of sums for more than two inputs.

    ``work`` has 2 I + 3 rows of a batch: logarithms, shares of the gates, powers, errors, angles.
    """
    SHARES, POWERS, ERRORS = inputs * BATCH, 2 * inputs * BATCH, (2 * inputs + 1) * BATCH
    TURNS = ERRORS + BATCH

    @fast
    def of_one_sign(a, p, g, k, n, scale, offset, side, turns, work):
        cosine = turns[k]
        scale, offset = scale * side, offset * side
        shift = offset + EPS1
        for b in range(BATCH):
            work[POWERS + b] = F(0)
        for i in range(inputs):
            weight, gate = p[i * n + k], p[(inputs + i) * n + k]
            for b in range(BATCH):
                m = a[i * BATCH + b] * scale + shift
                r = gate * m + F(1)
                l = log2(r)
                work[i * BATCH + b] = l
                work[SHARES + i * BATCH + b] = m / r
                work[POWERS + b] += weight * l
        total = F(0)
        for b in range(BATCH):
            z = exp2(work[POWERS + b])
            e = z * (z * cosine - (a[b] * scale + offset) / (a[BATCH + b] * scale + offset))
            work[ERRORS + b] = e
            total += e
        for i in range(inputs):
            by_log = by_share = F(0)
            for b in range(BATCH):
                e = work[ERRORS + b]
                by_log += e * work[i * BATCH + b]
                by_share += e * work[SHARES + i * BATCH + b]
            g[i * n + k] = by_log * LN2
            g[(inputs + i) * n + k] = by_share
        g[2 * inputs * n + k] = total

    @fast
    def of_both_signs(a, p, g, k, n, scale, offset, side, turns, work):
        for b in range(BATCH):
            work[POWERS + b] = F(0)
            work[TURNS + b] = F(0)
        for i in range(inputs):
            weight, gate = p[i * n + k], p[(inputs + i) * n + k]
            turn = weight * gate
            for b in range(BATCH):
                x = a[i * BATCH + b] * scale + offset
                m = abs(x) + EPS1
                r = gate * m + F(1)
                l = log2(r)
                work[i * BATCH + b] = l
                work[SHARES + i * BATCH + b] = m / r
                work[POWERS + b] += weight * l
                work[TURNS + b] += turn if x < F(0) else F(0)
        for b in range(BATCH):
            z = exp2(work[POWERS + b])
            angle = work[TURNS + b]
            c = cos_pi(angle)
            e = z * (z * c - (a[b] * scale + offset) / (a[BATCH + b] * scale + offset))
            work[ERRORS + b] = e * c
            work[TURNS + b] = e * cos_pi(angle - F(0.5))
        for i in range(inputs):
            by_log = by_share = by_turn = F(0)
            for b in range(BATCH):
                e = work[ERRORS + b]
                by_log += e * work[i * BATCH + b]
                by_share += e * work[SHARES + i * BATCH + b]
                x = a[i * BATCH + b] * scale + offset
                by_turn += work[TURNS + b] if x < F(0) else F(0)
            g[i * n + k] = by_log * LN2
            g[(inputs + i) * n + k] = by_share
            g[(2 * inputs + i) * n + k] = by_turn

    return of_one_sign, of_both_signs


def make_sums(inputs: int) -> tuple[Any, Any]:
    """Return the sums for inputs of one sign and of both, with the same arguments."""
    return (two_of_one_sign, two_of_both_signs) if inputs == 2 else make_many(inputs)
