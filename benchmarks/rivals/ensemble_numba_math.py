"""What the training loops in Numba compute with: random numbers, logarithm, exponential, cosine, selection.

Every function is inlined into a loop that LLVM vectorises. ``error_model="numpy"`` takes out the test for a
division by 0, whose jump would keep it from doing so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

F, U, I32, U64 = np.float32, np.uint32, np.int32, np.uint64
BATCH = 128

fast = njit(fastmath=True, error_model="numpy")
inlined = njit(inline="always", fastmath=True, error_model="numpy")


@intrinsic
def as_int(typingctx: Any, x: Any) -> Any:
    """Return the bits of a float32 as an int32."""
    if x != types.float32:
        return None
    return types.int32(types.float32), lambda c, builder, s, v: builder.bitcast(v[0], ir.IntType(32))


@intrinsic
def as_float(typingctx: Any, x: Any) -> Any:
    """Return an int32 as the float32 with these bits."""
    if x != types.int32:
        return None
    return types.float32(types.int32), lambda c, builder, s, v: builder.bitcast(v[0], ir.FloatType())


@intrinsic
def pick(typingctx: Any, condition: Any, a: Any, b: Any) -> Any:
    """Return a where the condition holds, else b, without a jump."""
    if condition != types.boolean:
        return None
    numbers = types.float32(types.boolean, types.float32, types.float32)
    return numbers, lambda c, builder, s, v: builder.select(*v)


@intrinsic
def hashed(typingctx: Any, sample: Any, step: Any, base: Any, key: Any) -> Any:
    """Return 31 bits less 2^30 as float32; an intrinsic, as Numba widens products of uint32 to 64 bits."""
    word = ir.IntType(32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def number(value: int) -> ir.Constant:
            return ir.Constant(word, value)

        counter, step, base, key = arguments
        x = builder.add(builder.mul(builder.trunc(counter, word), step), base)
        x = builder.mul(builder.xor(x, builder.lshr(x, number(16))), number(0x21F0AAAD))
        x = builder.add(builder.xor(x, builder.lshr(x, number(15))), key)
        x = builder.mul(x, number(0x735A2D97))
        x = builder.xor(x, builder.lshr(x, number(16)))
        x = builder.sub(builder.lshr(x, number(1)), number(1 << 30))
        return builder.sitofp(x, ir.FloatType())

    return types.float32(types.int64, types.uint32, types.uint32, types.uint32), generate


@inlined
def mix64(z):
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


@fast
def draw(a, order, seed, t):
    """Fill a, inputs times BATCH, with the stream of mathkernels; ``order`` numbers the inputs."""
    z = mix64(mix64(U64(seed) + U64(0x9E3779B97F4A7C15)) + U64(t + 1) * U64(0x9E3779B97F4A7C15))
    key0, key1 = U(z & U64(0xFFFFFFFF)), U(z >> U64(32))
    sample_step = U(((z * U64(0xD1342543DE82EF95)) >> U64(32)) & U64(0xFFFFFFFF)) | U(1)
    input_step = (key0 ^ key1) | U(1)
    for i in range(len(order)):
        base = U(U(order[i]) * input_step + key0)
        for b in range(BATCH):
            a[i * BATCH + b] = hashed(b, sample_step, base, key1)


def fitted(function: Callable[[np.ndarray], np.ndarray], low: float, high: float, degree: int) -> tuple:
    """Return a polynomial's coefficients by least squares on Chebyshev nodes: enough for float32."""
    x = np.cos((np.arange(4000) + 0.5) / 4000 * np.pi) * (high - low) / 2 + (high + low) / 2
    found = np.polynomial.chebyshev.Chebyshev.fit(x, function(x), degree, domain=[low, high])
    return tuple(F(c) for c in found.convert(kind=np.polynomial.Polynomial).coef)


LOG2 = fitted(lambda f: np.log1p(f) / f / np.log(2), 0.5**0.5 - 1, 2**0.5 - 1, 7)
EXP2 = fitted(np.exp2, -0.5, 0.5, 5)
COSPI = fitted(lambda q: np.cos(np.pi * np.sqrt(q)), 0.0, 0.25, 4)


@inlined
def log2(x):
    """Of a normal positive number, to 2e-7 of it."""
    i = as_int(x)
    e = I32(I32(i - I32(0x3F3504F3)) & I32(-0x800000))
    f = as_float(I32(i - e)) - F(1)
    f2 = f * f
    low = (LOG2[3] * f + LOG2[2]) * f2 + (LOG2[1] * f + LOG2[0])
    high = (LOG2[7] * f + LOG2[6]) * f2 + (LOG2[5] * f + LOG2[4])
    return F(e) * F(2.0**-23) + f * (high * (f2 * f2) + low)


@inlined
def exp2(x):
    """Of a number between -126 and 126, to 2e-7 of it."""
    n = np.floor(x + F(0.5))
    f = x - n
    f2 = f * f
    y = (EXP2[5] * f + EXP2[4]) * (f2 * f2) + ((EXP2[3] * f + EXP2[2]) * f2 + (EXP2[1] * f + EXP2[0]))
    return as_float(I32(as_int(y) + I32(I32(n) << I32(23))))


@inlined
def cos_pi(x):
    """cos(pi x) by the square of the distance from the nearest whole number, to 1e-7."""
    n = np.floor(x + F(0.5))
    f = x - n
    q = f * f
    y = COSPI[0] + q * (COSPI[1] + q * (COSPI[2] + q * (COSPI[3] + q * COSPI[4])))
    return y - F(2) * y * F(I32(n) & I32(1))
