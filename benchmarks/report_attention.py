"""Time LSTM decoders with attention beside their rivals in one interleaved run and print the ratios.

    python benchmarks/report_attention.py                    everything, about an hour
    python benchmarks/report_attention.py --short            tiny cases: proves answers, judges no time
    python benchmarks/report_attention.py --case "H64 B32 S40 T20 I64" --skip "whole loop compiled" --keep

States, contexts and all gradients of every participant are compared with float64 first. Then the participants
of a case take turns, forward alone and forward with backward. Writes benchmarks/results/NAME.json and the
printed tables as NAME.md after every case, except in short mode. With --keep, figures in that file which this
run does not measure anew stay.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import attention_proof
import machine
import peak
from attention_cases import ATTENTION_CASES, SHORT, TABLE
from attention_participants import PARTICIPANTS, participants
from attention_tables import markdown, ratios
from disturbance import Disturbance
from report import HERE
from report_sequences import Entry, Peaks, entry, with_entries
from sequence_participants import OURS
from sequence_pool import PASSES, Pool, thread_counts

from mathkernels.experiment.terminal import run_script
from mathkernels.files import replacing


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=list(ATTENTION_CASES), help="may be repeated")
    rivals = [name for name in PARTICIPANTS if name != OURS]
    parser.add_argument("--participant", action="append", choices=rivals, help="beside ours; may be repeated")
    parser.add_argument("--skip", action="append", choices=rivals, default=[], help="may be repeated")
    parser.add_argument("--threads", type=int, nargs="+", help="default: 1 and 2, short 1")
    parser.add_argument("--seconds", type=float, help="of one timing (default 0.2, short 0.01)")
    parser.add_argument("--rounds", type=int, help="of timings (default 7, short 1)")
    parser.add_argument("--keep", action="store_true", help="keep what the file has of other cases")
    parser.add_argument(
        "--short", action="store_true", default=os.environ.get("MATHKERNELS_BENCH_SHORT") == "1"
    )
    parser.add_argument("--name", default="attention", help="of the JSON file; default: attention")
    chosen = parser.parse_args()
    chosen.rounds = chosen.rounds or (1 if chosen.short else 7)
    chosen.seconds = chosen.seconds or (0.01 if chosen.short else 0.2)
    chosen.threads = chosen.threads or thread_counts(chosen.short)
    chosen.case = chosen.case or [case.name for case in (SHORT if chosen.short else TABLE)]
    return chosen


def measure(chosen: argparse.Namespace, peaks: Peaks) -> Iterator[list[Entry]]:
    """Prove and time everyone, case by case."""
    most = max(chosen.threads)
    with Pool(participants=PARTICIPANTS, proof=attention_proof) as pool:
        for case in (ATTENTION_CASES[name] for name in chosen.case):
            turns = [
                (name, threads)
                for threads in chosen.threads
                for name in participants(case, threads, threads == most, chosen.short)
                if name == OURS
                or (name not in chosen.skip and (not chosen.participant or name in chosen.participant))
            ]
            pool.start(turns)
            entries = []
            for name, threads in turns:
                print(f"{case.name}: {name}, {threads} thread(s)", file=sys.stderr, flush=True)
                error = pool.prove(case, name, threads)
                for verb in PASSES:
                    count = pool.passes(case, name, threads, verb, chosen.seconds)
                    entries.append(entry(case, name, threads, verb, count, error, peaks))
            disturbance = Disturbance(pool.processes)
            for _ in range(chosen.rounds):
                for one in entries:
                    key = (one["participant"], one["threads"], one["pass"], one["passes"])
                    one["ms"].append(pool.time(case, *key) / one["passes"] * 1e3)
            share = disturbance.share()
            yield [{**one, "share of others": share} for one in entries]


def main() -> None:
    chosen = arguments()
    where = machine.fingerprint()
    path = HERE / "results" / f"{chosen.name}.json"
    result: dict[str, Any] = {"table": []}
    if chosen.keep and path.exists():
        result = json.loads(path.read_text(encoding="utf-8"))
    peaks = {n: peak.measure(n, 0.01 if chosen.short else 0.1) for n in chosen.threads}
    result |= {"machine": where, "peak GFLOP/s": {str(n): found for n, found in peaks.items()}}
    text = ""
    for entries in measure(chosen, peaks):
        result["table"] = with_entries(result["table"], entries, list(ATTENTION_CASES))
        result["ratios"] = ratios(result["table"])
        text = markdown(result)
        if chosen.short:
            continue
        path.parent.mkdir(exist_ok=True)  # a run that is stopped keeps its finished cases
        for place, content in ((path, json.dumps(result, indent=1) + "\n"), (path.with_suffix(".md"), text)):
            with replacing(place) as temporary:
                temporary.write_text(content, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    sys.exit(run_script(main))
