"""Write docs/reproduction.md from docs/results/paper, and take results of a finished campaign over into it.

    python examples/train_nalm.py --figure all
    python scripts/make_reproduction.py runs/all      takes the results over, then writes the page
    python scripts/make_reproduction.py               writes the page from what docs/results/paper holds

What is taken over is small: tables with six digits, figures of 110 dots per inch, one compressed table of all
distinct runs.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mathkernels.ensemble.describe import Run
from mathkernels.experiment import plots
from mathkernels.experiment.csv_files import read_csv
from mathkernels.experiment.terminal import run_script
from mathkernels.studies.arithmetic import panels
from mathkernels.studies.arithmetic.non_finite import NON_FINITE
from mathkernels.studies.arithmetic.timing import TIMING
from mathkernels.studies.division import exact_figure, landscape
from mathkernels.studies.division.catalogue import CATALOGUE, Figure
from mathkernels.studies.division.reproduction import as_published, read_rows, write_page

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "docs/results/paper", ROOT / "docs/reproduction.md"
RIVALS = ROOT / "benchmarks/results/ensemble.json"
DPI = 110
TEXT = ("variant", "range", "task", "module")  # columns that are no numbers
RUN_COLUMNS = (
    *("shown_in", "module", "inputs", "range", "seed", "solved", "solved_at", "best_step"),
    *("metric.valid.interpolation", "metric.test.extrapolation", "sparse.error.max"),
    *("non_finite", "non_finite_at"),
)


class ReproductionError(ValueError):
    """Results are missing or unfinished; the message says how they are made."""


def shortened(row: Mapping[str, str]) -> dict[str, str]:
    """Return the row with six digits in every number."""
    return {name: text if name in TEXT or not text else f"{float(text):.6g}" for name, text in row.items()}


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    memory = io.StringIO()
    writer = csv.DictWriter(memory, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return memory.getvalue()


def numbers(row: Mapping[str, str]) -> dict[str, Any]:
    """Return a row as it was before it was written: numbers, NaN for what is empty."""
    return {name: text if name in TEXT else float(text or "nan") for name, text in row.items()}


def take_figure(campaign: Path, target: Path, figure: Figure) -> None:
    """Write a figure's table and small image, drawn from that table."""
    rows = read_rows(campaign, figure)
    if rows is None:
        raise ReproductionError(
            f"{campaign / figure.name} is missing; make it with train_nalm.py --figure all"
        )
    folder = target / figure.name
    folder.mkdir(parents=True)
    title = f"Figure {figure.number.partition('-')[0]}: {figure.title}"
    if figure.number == "9":
        drawn = landscape.landscape_figure(title)
    else:
        rows = [shortened(row) for row in rows]
        name = "exact.csv" if figure.number == "5" else "summary.csv"
        (folder / name).write_text(csv_text(rows, list(rows[0])), encoding="utf-8")
        read = [numbers(row) for row in rows]
        if figure.study is None:
            drawn = exact_figure.exact_figure(read, title)
        else:
            drawn = panels.panel_figure(read, title, figure.study.xlabel, figure.study.panels)
    plots.save(drawn, [folder / "figure.png"], dpi=DPI)


def distinct_runs(campaign: Path, figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """Return a row per distinct run with the figures and legends that show it."""
    found: dict[Run, dict[str, Any]] = {}
    for figure in figures:
        if figure.study is None:
            continue
        path = campaign / figure.name
        if not as_published(campaign, figure):
            what = f"{path} is trained otherwise than figure {figure.number}"
            raise ReproductionError(f"{what}; train it whole")
        rows = read_csv(path / "runs.csv", RUN_COLUMNS[5:])
        for row, member in zip(rows, figure.study.members(), strict=True):
            own = found.setdefault(member.run, {**row, "shown_in": []})
            own["shown_in"].append(f"{figure.number}: {member.variant}")
    wanted = RUN_COLUMNS[5:]
    return [
        {
            "shown_in": "; ".join(row["shown_in"]),
            "module": run.module.name,
            "inputs": run.task.inputs,
            "range": row["range"],
            "seed": run.seed,
            **shortened({name: row[name] for name in wanted}),
        }
        for run, row in found.items()
    ]


def take_over(campaign: Path, target: Path) -> None:
    """Replace what ``target`` holds by the results of a finished campaign."""
    timing = json.loads(_text(campaign / TIMING))
    if timing["interrupted"]:
        raise ReproductionError(f"{campaign} is unfinished; continue it with train_nalm.py --resume")
    counted = json.loads(_text(campaign / NON_FINITE))
    figures = [figure for figure in CATALOGUE.values() if (campaign / figure.name).exists()]
    runs = csv_text(distinct_runs(campaign, figures), RUN_COLUMNS).encode()
    fresh = target.with_name(f".{target.name}-new")
    shutil.rmtree(fresh, ignore_errors=True)
    for figure in figures:
        take_figure(campaign, fresh, figure)
    (fresh / TIMING).write_text(json.dumps(timing, indent=1) + "\n", encoding="utf-8")
    (fresh / NON_FINITE).write_text(json.dumps(counted, indent=1) + "\n", encoding="utf-8")
    (fresh / "runs.csv.gz").write_bytes(gzip.compress(runs, mtime=0))
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def _text(path: Path) -> str:
    if not path.exists():
        raise ReproductionError(
            f"{path} is missing; make it with `python examples/train_nalm.py --figure all`"
        )
    return path.read_text(encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("campaign", nargs="?", type=Path, help="folder of train_nalm.py --figure all")
    args = parser.parse_args(argv)
    try:
        if args.campaign:
            take_over(args.campaign, RESULTS)
        _text(RESULTS / TIMING)
        write_page(PAGE, RESULTS, RIVALS)
    except ValueError as error:
        print(f"make_reproduction: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
