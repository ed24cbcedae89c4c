"""Measures every float of the domain of each elementary function against the bounds that the headers state.

    python scripts/sweep_elementary.py [--function NAME ...] [--step N]

All 2^32 floats, on every instruction set of this machine; about five minutes a function. With --step only
every N-th float. Functions of two gates meet a random second. Prints the largest error of each and where it
is, and ends with 1 if one is larger than stated. python_tests/test_math.py holds the same bounds on a sample.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "python_tests"))
import elementary_cases as cases  # pyright: ignore[reportMissingImports]

from mathkernels import backends

CHUNK = 2**22


def sweep(function: str, step: int) -> dict[str, tuple[float, float]]:
    """Instruction set -> largest error and the x that has it."""
    worst = dict.fromkeys(backends.available(), (0.0, 0.0))
    draw = np.random.default_rng(0)
    for first in range(0, 2**32, CHUNK * step):
        patterns = np.arange(first, min(first + CHUNK * step, 2**32), step, dtype=np.uint64)
        with np.errstate(all="ignore"):
            x = cases.domain(function, patterns.astype(np.uint32).view(np.float32))
            if not x.size:
                continue
            exact = cases.EXACT[function](x.astype(np.float64))
        other = draw.normal(0, 10, x.size).astype(np.float32)
        for name, (largest, _) in worst.items():
            backends.force(name)
            error = cases.ulp(function, cases.evaluate(function, x, other), x, exact)
            at = error.argmax()
            if not error[at] <= largest:  # NaN counts as larger
                worst[name] = float(error[at]), float(x[at])
    backends.force(None)
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--function", nargs="+", choices=cases.EXACT, default=list(cases.EXACT))
    parser.add_argument("--step", type=int, default=1, help="measure every N-th float")
    options = parser.parse_args()
    beyond = 0
    for function in options.function:
        fused, plain = cases.stated_bounds()[function]
        for name, (error, x) in sweep(function, options.step).items():
            stated = fused if name in cases.FUSED else plain
            beyond += not error <= stated
            print(f"{function:22} {name:8} {error:8.3f} at {x:.9g}, stated {stated}", flush=True)
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
