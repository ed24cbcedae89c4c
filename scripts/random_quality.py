"""Quality of the training streams: dieharder in full, and tests between neighbouring keys.

    python scripts/random_quality.py --generator hash --order stib --order ibst   an hour or two each
    python scripts/random_quality.py --generator hash philox --neighbours         a few minutes
    python scripts/random_quality.py --output hash:stib=FILE                      reads what dieharder wrote

An order names the keys from the fastest to the slowest: s seed, t iteration, b sample, i input. Results are
merged into docs/results/random_quality.csv by generator, suite and order. Needs a C++ compiler and Debian's
dieharder, or for --neighbours numpy and scipy alone. Exits with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from random_neighbours import FAMILY_LEVEL, findings

from mathkernels.reference.random import GENERATORS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "random_quality.csv"
COLUMNS = ("generator", "suite", "order", "test", "parameter", "words", "p", "assessment")
# -a every test, -g 200 raw words from the pipe, -Y 1 repeat a weak result with more samples until it passes
# or fails, -k 2 exact Kolmogorov-Smirnov probabilities
DIEHARDER = ("dieharder", "-a", "-g", "200", "-Y", "1", "-k", "2")
Record = dict[str, str]


def build_driver(folder: Path) -> Path:
    """Compile csrc/tests/random_stream.cpp and return the program."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        raise FileNotFoundError("needs a C++ compiler named c++ or g++ on the PATH")
    program = folder / "random_stream"
    source = ROOT / "csrc" / "tests" / "random_stream.cpp"
    subprocess.run([compiler, "-O3", "-std=c++17", f"-I{ROOT / 'csrc'}", source, "-o", program], check=True)
    return program


def run_dieharder(driver: Path, generator: str, order: str) -> str:
    """Return dieharder's table for one stream."""
    if shutil.which("dieharder") is None:
        raise FileNotFoundError("needs dieharder on the PATH (Debian: apt-get install dieharder)")
    with subprocess.Popen([driver, generator, order], stdout=subprocess.PIPE) as stream:
        done = subprocess.run(
            DIEHARDER, stdin=stream.stdout, capture_output=True, encoding="utf-8", check=True
        )
        stream.kill()
    return done.stdout


def parse_dieharder(text: str, generator: str, order: str) -> list[Record]:
    """Return one record for each line of results in dieharder's table.

    Raises:
        ValueError: the text holds no result.
    """
    records = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 6 or fields[5] not in ("PASSED", "WEAK", "FAILED"):
            continue
        test, parameter, samples, repeats, p, assessment = fields
        size = f"{samples} x {repeats}"
        values = (generator, "dieharder", order, test, parameter, size, p, assessment)
        records.append(dict(zip(COLUMNS, values, strict=True)))
    if not records:
        raise ValueError(f"dieharder, {generator} {order}: no result in its output")
    return records


def test_neighbours(generator: str) -> list[Record]:
    found = findings(GENERATORS[generator])
    level = FAMILY_LEVEL / len(found)
    records = []
    for finding in found:
        assessment = "PASSED" if finding.p >= level else "FAILED"
        values = (
            generator,
            "neighbours",
            finding.axis,
            finding.test,
            f"lag {finding.lag}",
            str(finding.words),
        )
        records.append(dict(zip(COLUMNS, (*values, f"{finding.p:.8f}", assessment), strict=True)))
    return records


def merge(records: list[Record]) -> None:
    """Put records into the table in place of those of the same generator, suite and dieharder order."""

    def group(record: Record) -> tuple[str, ...]:
        return record["generator"], record["suite"], record["order"] if record["suite"] == "dieharder" else ""

    old: list[Record] = []
    if RESULTS.exists():
        with RESULTS.open(newline="", encoding="utf-8") as file:
            old = list(csv.DictReader(file))
    replaced = {group(record) for record in records}
    kept = [record for record in old if group(record) not in replaced]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(kept + records, key=group))


def summary(records: list[Record]) -> bool:
    """Print counts and the extreme p-values of each group; return whether nothing failed."""
    groups = dict.fromkeys((r["generator"], r["suite"], r["order"]) for r in records)
    for name in groups:
        mine = [r for r in records if (r["generator"], r["suite"], r["order"]) == name]
        counts = {kind: sum(r["assessment"] == kind for r in mine) for kind in ("PASSED", "WEAK", "FAILED")}
        p = [float(r["p"]) for r in mine]
        print(*name, counts, f"p from {min(p):.2g} to {max(p):.4g}", sep="  ")
    return all(record["assessment"] != "FAILED" for record in records)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--generator", nargs="+", choices=list(GENERATORS), default=["hash"])
    parser.add_argument("--order", action="append", default=[], help="run dieharder on this order of keys")
    parser.add_argument("--neighbours", action="store_true", help="run the tests between neighbouring keys")
    parser.add_argument("--output", action="append", default=[], metavar="GENERATOR:ORDER=FILE")
    chosen = parser.parse_args()
    for order in chosen.order:
        if sorted(order) != sorted("stbi"):
            parser.error(f"--order: got {order!r}, needs a permutation of 'stbi'")
    if not (chosen.order or chosen.neighbours or chosen.output):
        parser.error("nothing to do: give --order, --neighbours or --output")
    return chosen


def main() -> int:
    chosen = arguments()
    records: list[Record] = []
    for given in chosen.output:
        name, _, path = given.partition("=")
        generator, _, order = name.partition(":")
        records += parse_dieharder(Path(path).read_text(encoding="utf-8"), generator, order)
    with tempfile.TemporaryDirectory() as folder:
        driver = build_driver(Path(folder)) if chosen.order else None
        for generator in chosen.generator:
            if chosen.neighbours:
                records += test_neighbours(generator)
            for order in chosen.order if driver else []:
                records += parse_dieharder(run_dieharder(driver, generator, order), generator, order)
    merge(records)
    return 0 if summary(records) else 1


if __name__ == "__main__":
    sys.exit(main())
