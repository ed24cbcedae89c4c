"""Time all participants in one interleaved run and print their ratios.

    python benchmarks/report.py                    every case, 1 and 2 threads, about half an hour
    python benchmarks/report.py --short            two cases, 1 thread: proves answers, judges no time
    python benchmarks/report.py --case NMU-2 --threads 1 --seconds 1 --rounds 3

Participants take turns, so that a change of the machine's speed meets all of them. Each number of threads has
one process, bound to as many processors. Writes
benchmarks/results/NAME.json and the printed tables as NAME.md, except in short mode.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import machine
from cases import CASES
from proof import ITERATIONS, assert_equal_answers
from worker import ALONE, AUTOMATIC, BY_HAND, COMPILED, MOMENTS, NUMBA, OURS, PLAIN, Worker, participants

from mathkernels.experiment.terminal import run_script

HERE = Path(__file__).parent
EVALUATION = 1000  # iterations between two evaluations of our runs
Entry = dict[str, Any]  # case, participant, threads, iterations per timing, models, seconds of each round


def arguments(
    text: str | None, name: str, cases: list[str], short_cases: list[str], seconds: float, rounds: int
) -> argparse.Namespace:
    """Parse the command line of a report: its description, file name, cases, and defaults when not short."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=cases, help="may be repeated; default: all")
    parser.add_argument(
        "--threads", type=int, nargs="+", help="default: 1 and 2 as far as the machine has them"
    )
    parser.add_argument("--seconds", type=float, help=f"of one timing (default {seconds:g}, short 0.2)")
    parser.add_argument("--rounds", type=int, help=f"of timings (default {rounds}, short 2)")
    parser.add_argument(
        "--short", action="store_true", default=os.environ.get("MATHKERNELS_BENCH_SHORT") == "1"
    )
    parser.add_argument("--name", default=name, help=f"of the JSON file; default: {name}")
    chosen = parser.parse_args()
    chosen.seconds = chosen.seconds or (0.2 if chosen.short else seconds)
    chosen.rounds = chosen.rounds or (2 if chosen.short else rounds)
    chosen.case = chosen.case or (short_cases if chosen.short else cases)
    processors = len(os.sched_getaffinity(0))
    chosen.threads = chosen.threads or ([1] if chosen.short else [n for n in (1, 2) if n <= processors])
    return chosen


def prepare(worker: Worker, case: str, name: str, seconds: float, ours: Any) -> Entry:
    """Prove a participant's answers, then find how many iterations fill the given seconds."""
    found = worker.prove(case, name, ITERATIONS)
    worst = assert_equal_answers(case, name, ours, found)
    unit = EVALUATION if name in (OURS, ALONE) else 1  # whole thousands carry their share of the evaluations
    iterations = max(unit, 50)
    worker.time(case, name, iterations)  # inductor compiles here
    while (spent := worker.time(case, name, iterations)) < seconds / 4:
        iterations *= int(min(max(seconds / 2 / max(spent, 1e-9), 2), 50))
    iterations = max(int(iterations * seconds / spent) // unit, 1) * unit
    return {
        "case": case,
        "participant": name,
        "threads": worker.threads,
        "models": worker.models(case, name),
        "iterations": iterations,
        "largest difference of parameters": worst,
        "seconds": [],
    }


def measure(chosen: argparse.Namespace, who: Callable[[str, int], Sequence[str]]) -> list[Entry]:
    """Prove and time the participants ``who(case, threads)`` of each chosen case, in turns."""
    entries: list[Entry] = []
    with ExitStack() as stack:
        workers = {n: stack.enter_context(Worker(n)) for n in chosen.threads}
        first = workers[chosen.threads[0]]
        for case in chosen.case:
            ours = first.prove(case, OURS, ITERATIONS)
            turns = [(w, name) for n, w in workers.items() for name in who(case, n)]
            mine = []
            for worker, name in turns:
                print(f"{case}: {name}, {worker.threads} thread(s): proving", file=sys.stderr, flush=True)
                mine.append(prepare(worker, case, name, chosen.seconds, ours))
            for _ in range(chosen.rounds):
                for entry in mine:
                    worker = workers[entry["threads"]]
                    spent = worker.time(case, entry["participant"], entry["iterations"])
                    entry["seconds"].append(spent)
            entries += mine
    return entries


def rate(entry: Entry) -> float:
    """Return model-iterations per second, by the median round."""
    return entry["models"] * entry["iterations"] / statistics.median(entry["seconds"])


def best(entry: Entry) -> float:
    """Return model-iterations per second of the fastest round."""
    return entry["models"] * entry["iterations"] / min(entry["seconds"])


def fastest(entries: list[Entry], names: tuple[str, ...], threads: int | None) -> Entry | None:
    """Return the best of some participants; with threads None, whatever number of threads serves it best."""
    among = [e for e in entries if e["participant"] in names and threads in (None, e["threads"])]
    return max(among, key=rate, default=None)


def ratios(entries: list[Entry]) -> dict[str, float]:
    """Return ours over the plain loop, over the best of autograd and JAX, and by hand core for core.

    By hand: in torch, in Numba, and in Numba by moments.
    """
    most = max(entry["threads"] for entry in entries)
    found: dict[str, float] = {}
    for label, ours_threads, rivals, threads in (
        (f"{most} thread(s) / plain loop, 1 thread", most, (PLAIN,), 1),
        (f"{most} thread(s) / best of autograd and JAX", most, AUTOMATIC, None),
        ("1 thread / best by hand, 1 thread", 1, BY_HAND, 1),
        *((f"{most} thread(s) / {who}", most, (who,), most) for who in (NUMBA, MOMENTS)),
    ):
        ours, rival = fastest(entries, (OURS,), ours_threads), fastest(entries, rivals, threads)
        if ours and rival:
            found[f"{label} ({rival['participant']}, {rival['threads']})"] = rate(ours) / rate(rival)
    return found


def plain_number(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def markdown(entries: list[Entry], memory: dict[str, dict[str, float]]) -> str:
    """Return the tables and ratios of every case."""
    lines: list[str] = []
    for case in dict.fromkeys(entry["case"] for entry in entries):
        mine = [entry for entry in entries if entry["case"] == case]
        lines += [f"### {case}: model-iterations per second", ""]
        lines += ["| participant | threads | median | best | largest difference |", "|---|---|---|---|---|"]
        for entry in mine:
            speed = f"{plain_number(rate(entry))} | {plain_number(best(entry))}"
            difference = f"{entry['largest difference of parameters']:.1g}"
            lines.append(f"| {entry['participant']} | {entry['threads']} | {speed} | {difference} |")
        lines.append("")
        lines += [f"- mathkernels, {label}: **{ratio:.3g}x**" for label, ratio in ratios(mine).items()]
        if case in memory:
            beyond = f"{memory[case]['beyond']:.1f} MB"
            lines.append(f"- memory of 225 runs beyond the evaluation sets: {beyond}")
        lines.append("")
    return "\n".join(lines)


def memory_of(case: str) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(HERE / "memory.py"), case, "5000"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)


def write(name: str, result: dict[str, Any], text: str) -> None:
    """Keep the figures as NAME.json and the printed tables as NAME.md."""
    path = HERE / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    print(f"written: {path} and the same tables as {path.stem}.md")


def main() -> None:
    chosen = arguments(__doc__, "ensemble", list(CASES), ["NMU-2", "RealNPU-2"], seconds=2.0, rounds=5)
    where = machine.fingerprint()
    skipped = {COMPILED} if chosen.short else set()  # inductor compiles for half a minute
    entries = measure(chosen, lambda case, n: [name for name in participants(case, n) if name not in skipped])
    memory = {case: memory_of(case) for case in chosen.case if not chosen.short}
    text = markdown(entries, memory)
    print(text)
    if chosen.short:  # no figures to keep
        return
    cases = dict.fromkeys(entry["case"] for entry in entries)
    by_case = {case: ratios([entry for entry in entries if entry["case"] == case]) for case in cases}
    result = {"machine": where, "ratios": by_case, "memory MB": memory, "timings": entries}
    write(chosen.name, result, text)


if __name__ == "__main__":
    sys.exit(run_script(main))
