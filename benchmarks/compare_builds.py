"""Time sequences of two builds of this package in turns: what a change of the kernels brings.

    python benchmarks/compare_builds.py ../before . [--case "LSTM B128 T150 I2 H100"] [--threads 1]
    python benchmarks/compare_builds.py          the installed build beside itself: how much figures scatter

A build is a folder with the compiled package `mathkernels` in it: a checkout built in place, or what
`pip install --target` filled; by default the installed one. Both are proved against float64 before they take
turns. Prints, forward alone and forward with backward, the medians of both and how many times as fast the
second is (median, least and most of the rounds' ratios). Writes no file.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from sequence_cases import SEQUENCE_CASES
from sequence_participants import OURS, OURS_BF16
from sequence_pool import PASSES, Pool

import mathkernels

INSTALLED = Path(mathkernels.__file__).parents[1]
USUAL = (
    "LSTM bidirectional B256 T10 I13 H20",
    "LSTM B32 T150 I2 H100",
    "LSTM B128 T150 I2 H100",
    "LSTM characters B128 T160 I95 H256",
    "LSTM 16 models B32 T150 I2 H20",
    "GRU B128 T150 I2 H100",
)


def build(folder: str) -> Path:
    path = Path(folder).resolve()
    if not list(path.glob("mathkernels/_C*")):
        raise argparse.ArgumentTypeError(f"{folder} holds no compiled mathkernels/_C*")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", nargs="?", type=build, default=INSTALLED, help="folder of the first build")
    parser.add_argument("after", nargs="?", type=build, default=INSTALLED, help="folder of the second")
    parser.add_argument("--case", action="append", choices=list(SEQUENCE_CASES), help="may be repeated")
    parser.add_argument("--bfloat16", action="store_true", help="round products to bfloat16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.2, help="of one timing")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    name, threads = OURS_BF16 if chosen.bfloat16 else OURS, chosen.threads
    with Pool(packages=chosen.before) as before, Pool(packages=chosen.after) as after:
        for case in (SEQUENCE_CASES[label] for label in chosen.case or USUAL):
            for pool in (before, after):
                pool.prove(case, name, threads)
            for verb in PASSES:
                count = before.passes(case, name, threads, verb, chosen.seconds)
                times: dict[Pool, list[float]] = {before: [], after: []}
                for turn in range(chosen.rounds):
                    for pool in (before, after) if turn % 2 == 0 else (after, before):
                        times[pool].append(pool.time(case, name, threads, verb, count) / count)
                ratios = [b / a for b, a in zip(times[before], times[after], strict=True)]
                milliseconds = [1e3 * statistics.median(spent) for spent in times.values()]
                print(
                    f"{case.name}, {verb}: {milliseconds[0]:.3g} and {milliseconds[1]:.3g} ms, "
                    f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) times as fast",
                    flush=True,
                )


if __name__ == "__main__":
    main()
