"""Measure what docs/reliability.md publishes, and write it.

    python scripts/reliability.py                     everything, with 100,000 random calls
    python scripts/reliability.py --calls 5000        fewer random calls
    python scripts/reliability.py --page-only         the page from docs/results/reliability.json

Exits with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fuzz  # puts the folders that follow on the path
from fuzzing.calls import FAILURES
from fuzzing.pool import Batch, End, Pool
from reliable import damages, page

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "docs/results/reliability.json", ROOT / "docs/reliability.md"


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    import os

    import torch

    from mathkernels import backends

    names = [
        line
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    processor = names[0].partition(":")[2].strip() if names else platform.machine()
    cores = len(os.sched_getaffinity(0))
    isa = backends.current()
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    return {"processor": processor, "cores": cores, "isa": isa, **versions}


def random_calls(calls: int, seed: int, workers: int) -> dict[str, Any]:
    """Make random calls, print what they find, and return the counts."""
    report = fuzz.Report("python scripts/fuzz.py --repeat", quiet=False)
    shares = {kind: share for kind, (_, share) in fuzz.SHARES.items()}
    Pool(fuzz.command(), fuzz.SECONDS, report.add).run(fuzz.batches(shares, calls, seed), workers)
    report.print_unclear()
    report.print_table()
    content = report.content()
    return {
        "calls": content["calls"],
        "seed": seed,
        "counts": content["counts"],
        "findings": content["findings"],
    }


def damaged_files(count: int, seed: int, workers: int) -> list[dict[str, object]]:
    def run(batches: Sequence[Batch]) -> list[End]:
        ends: list[End] = []

        def each(end: End) -> None:
            ends.append(end)
            if end.outcome in FAILURES:
                print(f"{end.outcome}: {end.told}: {end.reason}")
                print(f"    python scripts/fuzz.py --repeat {end.kind}:{end.seed}")

        Pool(fuzz.command(), fuzz.SECONDS, each).run(batches, workers)
        return ends

    return damages.measure(run, count, seed * fuzz.NUMBERS)


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Return all measurements."""
    from reliable import bits, containment, kills

    begun = time.monotonic()

    def told(what: str) -> None:
        print(f"{time.monotonic() - begun:6.0f} s  {what}", file=sys.stderr, flush=True)

    told("kills")  # first: it forks, before anything has made threads
    killed = kills.measure(asked.chains, 6, asked.seed)
    told("bits")
    compared = bits.measure(asked.seed)
    told("containment")
    contained = containment.measure()
    told("damaged files")
    damaged = damaged_files(asked.files, asked.seed, asked.workers)
    told("random calls")
    called = random_calls(asked.calls, asked.seed, asked.workers)
    told("done")
    return {
        "machine": machine(),
        "fuzz": called,
        "kills": killed,
        "damages": damaged,
        "containment": contained,
        "bits": compared,
    }


def failures(results: dict[str, Any]) -> list[str]:
    """One line for each thing that must not be."""
    found = [f"{end['outcome']}: {end['told']}: {end['reason']}" for end in results["fuzz"]["findings"]]
    found += [f"kills: {k['engine']}: {k['differ']} differ" for k in results["kills"] if k["differ"]]
    found += [f"damages: {d['file']}: {d['failed']} failed" for d in results["damages"] if d["failed"]]
    for name in ("containment", "bits"):
        found += [f"{name}: {row['of']}: {row['first']}" for row in results[name] if row["failed"]]
    return found


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=100_000, help="random calls")
    parser.add_argument("--files", type=int, default=6_000, help="damaged files")
    parser.add_argument("--chains", type=int, default=8, help="trainings of each kind that are killed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--page-only", action="store_true")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    asked = arguments(argv)
    if not asked.page_only:
        RESULTS.write_text(json.dumps(measure(asked), indent=1) + "\n", encoding="utf-8")
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(page.render(results), encoding="utf-8")
    found = failures(results)
    print("\n".join(found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
