"""Sums over a batch of the NMU's gradients in Numba: one loop over samples with everything unrolled."""

from __future__ import annotations

from typing import Any

import numpy as np

from rivals.ensemble_numba_math import BATCH, F, fast


def source(inputs: int) -> str:
    """Return ``sums(a, p, g, k, n, scale, offset)``, which writes model k's sums of dE/dw_i / (2/B) into g.

    a: drawn numbers; inputs are a * scale + offset. p and g: (inputs, n), flat. Products without one factor
    come from pairs of factors, the products before and behind each pair, and the other one of the pair.
    """
    n = range(inputs)
    body = [f"x{i} = a[{i * BATCH} + b] * scale + offset" for i in (0, 1)]
    body += [f"y{i} = a[{i * BATCH} + b] * scale + shift" for i in n]
    body += [f"f{i} = w{i} * y{i} + one" for i in n]
    if inputs == 2:
        body += ["e = f0 * f1 - x0 * x1", "g0 += (e * f1) * y0", "g1 += (e * f0) * y1"]
    else:
        pairs = inputs // 2
        body += [f"q{k} = f{2 * k} * f{2 * k + 1}" for k in range(pairs)]
        body += ["p1 = q0"] + [f"p{k} = p{k - 1} * q{k - 1}" for k in range(2, pairs)]
        body += [f"s = p{pairs - 1} * q{pairs - 1} - x0 * x1"]
        for k in range(pairs - 1, -1, -1):
            body += ["o = s"] if k == 0 else [f"o = s * p{k}", f"s = s * q{k}"]
            body += [f"g{2 * k} += (o * f{2 * k + 1}) * y{2 * k}"]
            body += [f"g{2 * k + 1} += (o * f{2 * k}) * y{2 * k + 1}"]
    lines = ["def sums(a, p, g, k, n, scale, offset):", "    one = F(1)", "    shift = offset - one"]
    lines += ["    k, n = uintp(k), uintp(n)"]  # unsigned: no test for an index from the end
    lines += [f"    w{i} = p[uintp({i}) * n + k]" for i in n] + [f"    g{i} = F(0)" for i in n]
    lines += [f"    for b in range({BATCH}):"] + [f"        {line}" for line in body]
    lines += [f"    g[uintp({i}) * n + k] = g{i}" for i in n]
    return "\n".join(lines)


def make_sums(inputs: int) -> Any:
    """Compile for a number of inputs, 2 or another even one."""
    scope: dict[str, Any] = {"F": F, "uintp": np.uintp}
    exec(source(inputs), scope)
    return fast(scope["sums"])
