"""Random calls of all ops, modules, descriptions and loaders in processes of their own.

    python scripts/fuzz.py --calls 100000 --seed 1      about 15 minutes on two cores
    python scripts/fuzz.py --repeat op:17               one call again, by the line that a finding prints

A call is decided by its kind and number alone. What ends a worker (a signal, the time limit, the memory
limit) is ascribed to the call it had begun. Exits with 1 if anything crashed, hung, took too much memory,
differed in silence, or was refused though it was right.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "python_tests")]

from fuzzing import worker  # noqa: E402
from fuzzing.calls import FAILURES, OUTCOMES  # noqa: E402
from fuzzing.pool import BATCH, Batch, End, Pool  # noqa: E402

SECONDS = 60.0  # that one call may take
MEMORY = 2.0  # GiB that a worker may grow by
NUMBERS = 10**9  # calls of a seed; the number of a call is seed * NUMBERS + index
SHARES = {
    "op": ("ops", 20),
    "raw-op": ("ops", 40),
    "module": ("modules", 10),
    "constructor": ("modules", 10),
    "description": ("descriptions", 15),
    "fit": ("descriptions", 1),
    "loader": ("loaders", 10),
    "decoding": ("decoding", 6),
}


def kinds_of(extra: Path | None) -> worker.Kinds:
    """All kinds of calls, imported in workers only, and those of a file of the caller's own."""
    from fuzzing import constructors, decoding, descriptions, fits, loaders, modules, ops

    found: worker.Kinds = {}
    for module in (ops, modules, constructors, decoding, descriptions, fits, loaders):
        found |= module.KINDS
    if extra:
        found |= load(extra).KINDS
    return found


def load(path: Path) -> object:
    """Import a file with KINDS."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def batches(kinds: dict[str, int], calls: int, seed: int) -> list[Batch]:
    """Cut the calls of each kind, in proportion to its share, into batches; kinds take turns."""
    total, found = sum(kinds.values()), []
    for kind, share in kinds.items():
        count = max(1, round(calls * share / total))
        firsts = range(0, count, BATCH)
        for at, first in enumerate(firsts):
            batch = Batch(kind, seed * NUMBERS + first, min(BATCH, count - first))
            found.append(((at + 0.5) / len(firsts), batch))
    return [batch for _, batch in sorted(found)]


class Report:
    """What has come of the calls: counts, a line for each finding and each group of unclear refusals."""

    def __init__(self, repeat: str, quiet: bool) -> None:
        self.repeat, self.quiet = repeat, quiet
        self.counts: dict[str, Counter[str]] = {}
        self.findings: list[End] = []
        self.unclear: dict[tuple[str, str], list[End]] = {}
        self.begun = time.monotonic()
        self.calls = 0

    def add(self, end: End) -> None:
        self.counts.setdefault(end.kind, Counter())[end.outcome] += 1
        self.calls += 1
        if end.outcome in FAILURES:
            self.findings.append(end)
            if len(self.findings) <= 200:
                print(f"{self.line(end)}", flush=True)
        elif end.outcome == "unclear":
            subject = re.split(r"[ (]", end.told, maxsplit=1)[0]
            self.unclear.setdefault((subject, re.sub(r"[\d.]+|'[^']*'", "#", end.reason)[:60]), []).append(
                end
            )
        if not self.quiet and self.calls % 5000 == 0:
            print(f"{self.calls} calls, {time.monotonic() - self.begun:.0f} s", file=sys.stderr, flush=True)

    def line(self, end: End) -> str:
        return f"{end.outcome}: {end.told}: {end.reason}\n    {self.repeat} {end.kind}:{end.seed}"

    def print_unclear(self, most: int = 40) -> None:
        groups = sorted(self.unclear.values(), key=len, reverse=True)
        for ends in groups[:most]:
            print(f"{len(ends)} times {self.line(ends[0])}")
        if len(groups) > most:
            print(f"… and {len(groups) - most} groups more of unclear refusals")

    def print_table(self) -> None:
        shown = [name for name in OUTCOMES if any(count[name] for count in self.counts.values())]
        print("".join(f"{name:>12}" for name in ("kind", "calls", *shown)))
        for kind, count in sorted(self.counts.items()):
            print("".join(f"{cell:>12}" for cell in (kind, sum(count.values()), *(count[n] for n in shown))))

    def content(self) -> dict[str, object]:
        """The counts as JSON values."""
        return {
            "calls": self.calls,
            "seconds": round(time.monotonic() - self.begun),
            "counts": {kind: dict(count) for kind, count in sorted(self.counts.items())},
            "findings": [end._asdict() for end in self.findings],
            "unclear": [[len(ends), ends[0]._asdict()] for ends in self.unclear.values()],
        }


def command(memory: float = MEMORY, extra: Path | None = None) -> list[str]:
    """What starts a worker; the descriptor that it writes to is to be appended."""
    own = [] if extra is None else ["--extra", str(extra)]
    return [sys.executable, __file__, "--memory", str(memory), *own, "--worker"]


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help=f"some of {', '.join(SHARES)}")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that one call may take")
    parser.add_argument("--memory", type=float, default=MEMORY, help="GiB that a worker may grow by")
    parser.add_argument("--extra", type=Path, help="a Python file with KINDS of its own")
    parser.add_argument("--json", type=Path, help="write the counts there")
    parser.add_argument("--repeat", metavar="KIND:NUMBER", help="make one call and say how it ends")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    asked = arguments(argv)
    if asked.worker is not None:
        worker.main(kinds_of(asked.extra), int(asked.memory * 2**30), asked.worker)
        return 0
    own = [] if asked.extra is None else ["--extra", str(asked.extra)]
    report = Report(" ".join(["python scripts/fuzz.py", *own, "--repeat"]), quiet=bool(asked.repeat))
    pool = Pool(command(asked.memory, asked.extra), asked.seconds, report.add)
    if asked.repeat:
        kind, _, number = asked.repeat.partition(":")
        ends: list[End] = []
        pool.each = ends.append
        pool.run([Batch(kind, int(number), 1)], 1)
        print(report.line(ends[0]))
        return int(ends[0].outcome in FAILURES)
    shares = {kind: SHARES[kind][1] if kind in SHARES else 1 for kind in asked.kinds or SHARES}
    pool.run(batches(shares, asked.calls, asked.seed), asked.workers)
    report.print_unclear()
    report.print_table()
    if asked.json:
        asked.json.write_text(json.dumps(report.content(), indent=1) + "\n", encoding="utf-8")
    return int(bool(report.findings))


if __name__ == "__main__":
    sys.exit(main())
