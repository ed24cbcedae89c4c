"""Time every module and two-layer ensembles beside torch and JAX, in turns, and print the ratios.

    python benchmarks/report_modules.py            every case, 1 and 2 threads, about a quarter of an hour
    python benchmarks/report_modules.py --short    three cases, 1 thread: proves answers, judges no time
    python benchmarks/report_modules.py --case "NAU, 2" --case "NMRU, 10" --rounds 5

As report.py, with rivals that take any module. torch.compile takes part in a few cases (COMPILED_CASES) only,
because inductor compiles anew for each. Writes benchmarks/results/NAME.json and the printed tables as
NAME.md, except in short mode.
"""

from __future__ import annotations

import statistics
import sys

import machine
from module_cases import MODULE_CASES, SINGLE_LAYER, TWO_LAYERS
from report import Entry, arguments, fastest, measure, plain_number, rate, write
from worker import JAX_MODULES, OURS, PLAIN, REFERENCE, REFERENCE_COMPILED

from mathkernels.experiment.terminal import run_script

COMPILED_CASES = ("NALU shared, 2", "NMU, 2", "RealNPU modified, 10", "NMRU, 10", TWO_LAYERS[-1].name)
SHORT_CASES = ["NALU shared, 2", "NMRU, 2", TWO_LAYERS[0].name]
TORCH = (REFERENCE, REFERENCE_COMPILED)
STACKS = {case.name for case in TWO_LAYERS}


def participants(case: str, threads: int, short: bool) -> list[str]:
    """Return who takes part in a case with that many threads."""
    names = [OURS, REFERENCE, JAX_MODULES]
    if threads == 1 and case in STACKS:
        names.append(PLAIN)
    if case in COMPILED_CASES and not short:
        names.append(REFERENCE_COMPILED)
    return names


def ratios(entries: list[Entry]) -> dict[str, dict[str, float]]:
    """Return the ratios of one case: our rate over the best of torch, of JAX and of the plain loop.

    With all threads, rivals may take whatever number of threads serves them best; with 1 thread they have 1
    as well.
    """
    counts = sorted({entry["threads"] for entry in entries})
    found: dict[str, dict[str, float]] = {}
    for threads in counts:
        ours = fastest(entries, (OURS,), threads)
        among = [entry for entry in entries if entry["threads"] <= threads]
        rivals = {"torch": TORCH, "JAX": (JAX_MODULES,), "plain loop": (PLAIN,)}
        best = {label: fastest(among, names, None) for label, names in rivals.items()}
        assert ours is not None
        found[str(threads)] = {label: rate(ours) / rate(entry) for label, entry in best.items() if entry}
    return found


def by_case(entries: list[Entry]) -> dict[str, list[Entry]]:
    names = dict.fromkeys(entry["case"] for entry in entries)
    return {name: [entry for entry in entries if entry["case"] == name] for name in names}


def table(cases: dict[str, list[Entry]], labels: tuple[str, ...]) -> list[str]:
    """Return one row for each case: our rate and the ratios for each number of threads, then the rivals."""
    counts = sorted({entry["threads"] for entries in cases.values() for entry in entries})
    columns = ["case, inputs", "task", "models"]
    for n in counts:
        columns += [f"ours, {n} thread(s)", *(f"/ {label}" for label in labels)]
    rows = [columns, ["---", "---", *["---:"] * (len(columns) - 2)]]
    for name, entries in cases.items():
        row = [name, MODULE_CASES[name].operation, str(MODULE_CASES[name].models)]
        for n in counts:
            ours, against = fastest(entries, (OURS,), n), ratios(entries)[str(n)]
            assert ours is not None
            row += [plain_number(rate(ours)), *(f"{against[label]:.3g}x" for label in labels)]
        rows.append(row)
    return ["| " + " | ".join(row) + " |" for row in rows]


def timings(cases: dict[str, list[Entry]]) -> list[str]:
    lines = ["| case | participant | threads | median | largest difference |", "|---|---|---|---|---|"]
    for name, entries in cases.items():
        for entry in entries:
            worst = f"{entry['largest difference of parameters']:.1g}"
            speed = plain_number(rate(entry))
            lines.append(f"| {name} | {entry['participant']} | {entry['threads']} | {speed} | {worst} |")
    return lines


def compiled_cases(entries: list[Entry]) -> str:
    found = (entry["case"] for entry in entries if entry["participant"] == REFERENCE_COMPILED)
    return "; ".join(dict.fromkeys(found)) or "no case"


def markdown(entries: list[Entry]) -> str:
    """Return the table of single layers, that of two layers, and every participant's rate."""
    cases = by_case(entries)
    single = {name: own for name, own in cases.items() if name not in STACKS}
    stacks = {name: own for name, own in cases.items() if name in STACKS}
    lines: list[str] = []
    if single:
        lines += ["### Single layers: model-iterations per second", "", *table(single, ("torch", "JAX")), ""]
    if stacks:
        heads = ("plain loop", "torch", "JAX")
        lines += [
            "### Two layers, an NAU and an NMU on its sums: model-iterations per second",
            "",
            *table(stacks, heads),
            "",
        ]
    if len(single) > 1:
        middle = statistics.median(min(list(ratios(own).values())[-1].values()) for own in single.values())
        lines += [f"- median ratio to the better of torch and JAX, all threads: **{middle:.3g}x**"]
    lines += [
        f"- torch is the better of eager and torch.compile in: {compiled_cases(entries)}; else eager",
        "",
    ]
    return "\n".join([*lines, "### Every participant", "", *timings(cases), ""])


def main() -> None:
    names = [case.name for case in (*SINGLE_LAYER, *TWO_LAYERS)]
    chosen = arguments(__doc__, "modules", names, SHORT_CASES, seconds=0.4, rounds=3)
    where = machine.fingerprint()
    entries = measure(chosen, lambda case, n: participants(case, n, chosen.short))
    text = markdown(entries)
    print(text)
    if chosen.short:  # no figures to keep
        return
    found = {name: ratios(own) for name, own in by_case(entries).items()}
    compiled = compiled_cases(entries)
    write(
        chosen.name, {"machine": where, "torch.compile": compiled, "ratios": found, "timings": entries}, text
    )


if __name__ == "__main__":
    sys.exit(run_script(main))
