"""Tables of success thresholds, as the papers' scripts make them before anything is trained.

    python -m mathkernels.studies.arithmetic.thresholds generate_exp_setups --out setups.csv
    python -m mathkernels.studies.arithmetic.thresholds two_layers --out two_layers.csv
    python -m mathkernels.studies.arithmetic.thresholds division_by_small_numbers --out small_numbers.csv

The first lists the settings of the division paper, the second simulates the thresholds of the two-layer task,
the third measures modules with exact weights (Mistry, Farrahi & Hare 2021; Madsen & Johansen 2020).
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mathkernels.data import thresholds
from mathkernels.data.arithmetic import NEAR_ZERO, Task
from mathkernels.ensemble.describe import EPSILON, NMRU, NRU, RealNPU
from mathkernels.experiment.terminal import run_script
from mathkernels.files import replacing
from mathkernels.studies.arithmetic.exact import exact_error

SMALL_NUMBER_COLUMNS = ("task", "range", "module", "operation", "input.size", "error", "threshold")
_TASKS: dict[str, dict[str, Any]] = {
    "easy": {"operation": "reciprocal", "inputs": 1},
    "medium": {"operation": "reciprocal", "inputs": 2},
    "hard": {"operation": "div", "inputs": 2},
}


def small_number_rows() -> Iterator[dict[str, Any]]:
    """Yield thresholds of division by small numbers: the error of exact weights in float32, plus 2^-23."""
    for name, how in _TASKS.items():
        for label, (inside, outside) in NEAR_ZERO.items():
            task = Task(interpolation=inside, extrapolation=outside, **how)
            for module in (RealNPU(), NRU(), NMRU()):
                error = exact_error(module, task)
                values = (name, label, module.name, task.operation, task.inputs, error, error + EPSILON)
                yield dict(zip(SMALL_NUMBER_COLUMNS, values, strict=True))


def write(out: Path, rows: Iterator[Mapping[str, Any]], columns: Sequence[str]) -> int:
    """Write a table whole or not at all and return its number of rows."""
    held = list(rows)
    with replacing(out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(held)
    return len(held)


def _arguments() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="mathkernels.studies.arithmetic.thresholds", description=__doc__, formatter_class=form
    )
    tables = parser.add_subparsers(dest="table", required=True)
    setups = tables.add_parser("generate_exp_setups", help="settings of the division paper")
    setups.add_argument("--distributions", action="store_true", help="those of the challenging distributions")
    two = tables.add_parser("two_layers", help="simulated thresholds of the two-layer task")
    two.add_argument("--samples", type=int, default=thresholds.SAMPLES, help="default 1,000,000")
    two.add_argument("--seed", type=int, default=thresholds.SEED)
    subsets = "subsets as long as in training, instead of one input longer as in the published thresholds"
    two.add_argument("--exact-subsets", action="store_true", help=subsets)
    small = tables.add_parser("division_by_small_numbers", help="errors of exact weights")
    for each in (setups, two, small):
        each.add_argument("--out", type=Path, required=True, help="CSV file to write")
    return parser


def main(argv: list[str] | None = None) -> int:
    parser = _arguments()
    args = parser.parse_args(argv)
    try:
        if args.table == "generate_exp_setups":
            rows, columns = thresholds.division_rows(args.distributions), thresholds.COLUMNS
        elif args.table == "two_layers":
            rows = thresholds.two_layer_rows(args.samples, args.seed, not args.exact_subsets)
            columns = thresholds.SIMULATED_COLUMNS
        else:
            rows, columns = small_number_rows(), SMALL_NUMBER_COLUMNS
        written = write(args.out, rows, columns)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f"{written} rows → {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
