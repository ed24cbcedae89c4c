"""Elementary functions of float32, as accurate as csrc/common/math.h; float64 goes to the GPU's own library.

``tl.exp`` rounds x log2(e) to float32 first, so its error grows with |x|; ``tl.sin(pi x)`` takes a slow
path for large arguments, where half turns need none.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def exp(x):
    if x.dtype == tl.float64:
        return tl.exp(x)
    limited = tl.where(x > 90.0, 90.0, tl.where(x < -105.0, -105.0, x))
    n = limited * 1.44269504088896341 + 12582912.0 - 12582912.0  # the nearest whole number
    r = tl.fma(n, -0.693359375, limited)
    r = tl.fma(n, 2.12194440e-4, r)
    y = tl.fma(r, 0.0013950535794720054, 0.008368918672204018)
    y = tl.fma(y, r, 0.04166620597242309)
    y = tl.fma(y, r, 0.166665181517601)
    y = tl.fma(y, r, 0.5)
    y = tl.fma(r * r, y, r) + 1.0
    # two factors, because 2^n itself leaves the normal range at both ends; a NaN has no whole number
    whole = tl.where(x == x, n, 0.0).to(tl.int32)
    half = whole >> 1
    low = ((half + 127) << 23).to(tl.float32, bitcast=True)
    high = ((whole - half + 127) << 23).to(tl.float32, bitcast=True)
    return y * low * high


@triton.jit
def _sine(r, r2):
    y = tl.fma(r2, 0.08102478832006454, -0.5992054343223572)
    y = tl.fma(y, r2, 2.5501627922058105)
    y = tl.fma(y, r2, -5.167712688446045)
    return r * tl.fma(r2, y, 3.14159265358979)


@triton.jit
def _cosine(r2):
    y = tl.fma(r2, 0.2314295768737793, -1.3350584506988525)
    y = tl.fma(y, r2, 4.0587077140808105)
    y = tl.fma(y, r2, -4.934802055358887)
    return tl.fma(r2, y, 1.0)


@triton.jit
def sincospi(x):
    """sin and cos of pi x."""
    # whole turns are taken off, exactly: what is left is in [-1, 1]; inf becomes NaN
    turns = x - 2.0 * tl.floor(x * 0.5 + 0.5)
    if x.dtype == tl.float64:
        return tl.sin(turns * 3.14159265358979323846), tl.cos(turns * 3.14159265358979323846)
    quarter = tl.floor(2.0 * turns + 0.5)
    r = tl.fma(quarter, -0.5, turns)
    r2 = r * r
    sine, cosine = _sine(r, r2), _cosine(r2)
    q = tl.where(x == x, quarter, 0.0).to(tl.int32)
    odd = (q & 1) != 0
    sin, cos = tl.where(odd, cosine, sine), tl.where(odd, sine, cosine)
    return tl.where((q & 2) != 0, -sin, sin), tl.where(((q + 1) & 2) != 0, -cos, cos)
