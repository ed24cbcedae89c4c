"""Time greedy decoding and beam search beside loops of stock torch in one interleaved run.

    python benchmarks/report_decoding.py            1,024 questions of 160 characters, greedy and 10 beams
    python benchmarks/report_decoding.py --short    tiny cases: proves answers, judges no time

Everyone's answers are compared with the stock loop's in float64 first. Times contain the reading of the
questions. Writes benchmarks/results/NAME.json and the printed table as NAME.md after every case, except in
short mode.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Iterator
from typing import Any

import decoding_proof
import machine
from decoding_cases import DECODING_CASES, SHORT, TABLE
from decoding_participants import PARTICIPANTS, participants
from disturbance import Disturbance
from report import write
from sequence_participants import OURS
from sequence_pool import Pool, thread_counts
from sequence_tables import milliseconds, table

from mathkernels.experiment.terminal import run_script

Entry = dict[str, Any]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=list(DECODING_CASES), help="may be repeated")
    parser.add_argument("--threads", type=int, nargs="+", help="default: 1 and 2, short 1")
    parser.add_argument("--rounds", type=int, help="of timings (default 5, short 1)")
    parser.add_argument(
        "--short", action="store_true", default=os.environ.get("MATHKERNELS_BENCH_SHORT") == "1"
    )
    parser.add_argument("--name", default="decoding", help="of the JSON file; default: decoding")
    chosen = parser.parse_args()
    chosen.rounds = chosen.rounds or (1 if chosen.short else 5)
    chosen.threads = chosen.threads or thread_counts(chosen.short)
    chosen.case = chosen.case or [case.name for case in (SHORT if chosen.short else TABLE)]
    return chosen


def measure(chosen: argparse.Namespace) -> Iterator[list[Entry]]:
    """Prove and time everyone, case by case."""
    with Pool(participants=PARTICIPANTS, proof=decoding_proof) as pool:
        for case in (DECODING_CASES[name] for name in chosen.case):
            turns = [(name, threads) for threads in chosen.threads for name in participants(case)]
            pool.start(turns)
            entries: list[Entry] = []
            for name, threads in turns:
                print(f"{case.name}: {name}, {threads} thread(s)", file=sys.stderr, flush=True)
                error = pool.prove(case, name, threads)
                entries.append(
                    {
                        "case": case.name,
                        "participant": name,
                        "threads": threads,
                        "sentences": case.sentences,
                        "largest error": error,
                        "ms": [],
                    }
                )
            disturbance = Disturbance(pool.processes)
            for _ in range(chosen.rounds):
                for one in entries:
                    spent = pool.time(case, one["participant"], one["threads"], "forward", 1)
                    one["ms"].append(spent * 1e3)
            share = disturbance.share()
            yield [{**one, "share of others": share} for one in entries]


def ratios(entries: list[Entry]) -> dict[str, dict[str, dict[str, float]]]:
    """Return everyone's median time over ours by case, threads and participant."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    ours = {
        (e["case"], e["threads"]): statistics.median(e["ms"]) for e in entries if e["participant"] == OURS
    }
    for one in entries:
        if one["participant"] != OURS:
            by = found.setdefault(one["case"], {}).setdefault(str(one["threads"]), {})
            by[one["participant"]] = statistics.median(one["ms"]) / ours[one["case"], one["threads"]]
    return found


def markdown(entries: list[Entry]) -> str:
    """Return the table."""
    over = ratios(entries)
    rows = [["case", "threads", "participant", "median", "best", "questions/s", "times our time", "error"]]
    for one in entries:
        median = statistics.median(one["ms"])
        ratio = over.get(one["case"], {}).get(str(one["threads"]), {}).get(one["participant"], 1.0)
        figures = [
            milliseconds(median),
            milliseconds(min(one["ms"])),
            f"{1e3 * one['sentences'] / median:.0f}",
        ]
        start = [one["case"], str(one["threads"]), one["participant"]]
        rows.append([*start, *figures, f"{ratio:.2f}", f"{one['largest error']:.1g}"])
    shares = [one["share of others"] for one in entries if one["share of others"] is not None]
    quiet = f"Others used at most {100 * max(shares):.0f} % of the processors meanwhile." if shares else ""
    return "\n".join(["### Decoding", "", *table(rows), "", quiet, ""])


def main() -> None:
    chosen = arguments()
    where = machine.fingerprint()
    entries: list[Entry] = []
    text = ""
    for own in measure(chosen):
        entries += own
        text = markdown(entries)
        if not chosen.short:
            write(chosen.name, {"machine": where, "ratios": ratios(entries), "timings": entries}, text)
    print(text)


if __name__ == "__main__":
    sys.exit(run_script(main))
