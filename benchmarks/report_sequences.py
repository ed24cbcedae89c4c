"""Time LSTM and GRU layers beside their rivals in one interleaved run and print the ratios.

    python benchmarks/report_sequences.py                    everything, about a quarter of an hour
    python benchmarks/report_sequences.py --short            tiny cases: proves answers, judges no time
    python benchmarks/report_sequences.py --kind lstm --part table --case "LSTM B32 T150 I2 H100" --keep

Every participant's outputs and gradients are compared with float64 first. Then the participants of a case
take turns, forward alone and forward with backward; the loops and JAX, which are slow, in every second round.
The parts are the table of cases, the grid of sizes, and the peak memory of a training step. Writes
benchmarks/results/NAME.json and the printed tables as NAME.md, except in short mode. With --keep, figures in
that file which this run does not measure anew stay.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import machine
import peak
from disturbance import Disturbance
from report import HERE
from sequence_cases import GRID, SEQUENCE_CASES, SHORT, TABLE, SequenceCase
from sequence_memory import measured_apart
from sequence_participants import OURS, PARTICIPANTS, STOCK, STOCK_TUNED, participants
from sequence_pool import PASSES, Case, Pool, thread_counts
from sequence_tables import better_stock, markdown, ratios, times

from mathkernels.experiment.terminal import run_script
from mathkernels.files import replacing

Entry = dict[str, Any]
Peaks = dict[int, dict[str, float]]  # GFLOP/s by number of threads and how it was measured
PARTS = ("table", "grid", "memory")
GRID_PARTICIPANTS = (OURS, STOCK, STOCK_TUNED)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", nargs="+", choices=list(TABLE), default=list(TABLE))
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--case", action="append", choices=list(SEQUENCE_CASES), help="may be repeated")
    parser.add_argument("--participant", action="append", choices=list(PARTICIPANTS), help="may be repeated")
    parser.add_argument("--threads", type=int, nargs="+", help="default: 1 and 2, short 1")
    parser.add_argument("--seconds", type=float, help="of one timing (default 0.2, grid 0.02, short 0.01)")
    parser.add_argument("--rounds", type=int, help="of timings (default 5, short 1)")
    parser.add_argument("--keep", action="store_true", help="keep what the file has of other cases")
    parser.add_argument(
        "--short", action="store_true", default=os.environ.get("MATHKERNELS_BENCH_SHORT") == "1"
    )
    parser.add_argument("--name", default="sequences", help="of the JSON file; default: sequences")
    chosen = parser.parse_args()
    chosen.rounds = chosen.rounds or (1 if chosen.short else 5)
    chosen.threads = chosen.threads or thread_counts(chosen.short)
    return chosen


def cases_of(chosen: argparse.Namespace, part: str) -> list[SequenceCase]:
    """Return the cases of a part: those asked for, or all of the chosen kinds; short takes one of a kind."""
    if part not in chosen.part:
        return []
    among = {"table": TABLE, "grid": GRID, "memory": TABLE}[part]
    found = [case for kind in chosen.kind for case in (SHORT[kind][:1] if chosen.short else among[kind])]
    return [case for case in found if not chosen.case or case.name in chosen.case]


def turns_of(case: SequenceCase, chosen: argparse.Namespace, part: str) -> list[tuple[str, int]]:
    """Return who takes part with how many threads."""
    most = max(chosen.threads)
    if part == "grid":
        return [(name, most) for name in GRID_PARTICIPANTS]
    return [
        (name, threads)
        for threads in chosen.threads
        for name in participants(case, threads == most, chosen.short)
        if not chosen.participant or name in chosen.participant
    ]


def measure(chosen: argparse.Namespace, part: str, peaks: Peaks) -> Iterator[list[Entry]]:
    """Prove and time everyone, case by case."""
    seconds = chosen.seconds or (0.01 if chosen.short else {"table": 0.2, "grid": 0.02}[part])
    with Pool(shared=chosen.short) as pool:
        for case in cases_of(chosen, part):
            turns = turns_of(case, chosen, part)
            pool.start(turns)
            entries = []
            for name, threads in turns:
                print(f"{case.name}: {name}, {threads} thread(s)", file=sys.stderr, flush=True)
                error = pool.prove(case, name, threads)
                for verb in PASSES:
                    count = pool.passes(case, name, threads, verb, seconds)
                    entries.append(entry(case, name, threads, verb, count, error, peaks))
            disturbance = Disturbance(pool.processes)
            for turn in range(chosen.rounds):
                for one in entries:
                    if turn % 2 and PARTICIPANTS[one["participant"]].process == "others":
                        continue
                    key = (one["participant"], one["threads"], one["pass"], one["passes"])
                    one["ms"].append(pool.time(case, *key) / one["passes"] * 1e3)
            share = disturbance.share()
            yield [{**one, "share of others": share} for one in entries]


def entry(
    case: Case,
    name: str,
    threads: int,
    verb: str,
    count: int,
    error: float,
    peaks: Peaks,
) -> Entry:
    return {
        "case": case.name,
        "participant": name,
        "threads": threads,
        "pass": verb,
        "passes": count,
        "largest error": error,
        "operations": case.flops(verb == "training"),
        "peak GFLOP/s": max(peaks[threads].values()),
        "begun": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "ms": [],
    }


def memory(chosen: argparse.Namespace) -> Iterator[dict[str, dict[str, float]]]:
    """Return the MB of a training step by case and participant, case by case."""
    for case in cases_of(chosen, "memory"):
        if case.steps == 1:  # what one step takes is less than a page
            continue
        print(f"{case.name}: memory", file=sys.stderr, flush=True)
        most = max(chosen.threads)
        yield {case.name: {name: measured_apart(case.name, name, most) for name in (OURS, STOCK)}}


def with_entries(old: list[Entry], new: list[Entry], order: list[str]) -> list[Entry]:
    """Return the new entries and those of the old that they do not replace, in the order of the cases."""

    def who(one: Entry) -> tuple[str, str, int]:
        return one["case"], one["participant"], one["threads"]

    anew = set(map(who, new))
    kept = [one for one in old if who(one) not in anew]
    return sorted([*kept, *new], key=lambda one: order.index(one["case"]))


def main() -> None:
    chosen = arguments()
    where = machine.fingerprint()
    path = HERE / "results" / f"{chosen.name}.json"
    result: dict[str, Any] = {"table": [], "grid": [], "memory MB": {}}
    if chosen.keep and path.exists():
        result = json.loads(path.read_text(encoding="utf-8"))
    peaks = {n: peak.measure(n, 0.01 if chosen.short else 0.1) for n in chosen.threads}
    result |= {"machine": where, "peak GFLOP/s": {str(n): found for n, found in peaks.items()}}

    def save() -> str:
        result["ratios"] = ratios(result["table"])
        result["grid ratios"] = {name: better_stock(own) for name, own in times(result["grid"]).items()}
        text = markdown(result)
        if not chosen.short:
            path.parent.mkdir(exist_ok=True)
            for place, content in (
                (path, json.dumps(result, indent=1) + "\n"),
                (path.with_suffix(".md"), text),
            ):
                with replacing(place) as temporary:
                    temporary.write_text(content, encoding="utf-8")
        return text

    for part in ("table", "grid") if not chosen.short else ("table",):
        for entries in measure(chosen, part, peaks):
            result[part] = with_entries(result[part], entries, list(SEQUENCE_CASES))
            save()  # a run that is stopped keeps its finished cases
    for found in memory(chosen):
        result["memory MB"] |= found
        save()
    print(save())


if __name__ == "__main__":
    sys.exit(run_script(main))
