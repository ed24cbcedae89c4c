"""Ratios and tables of the sequence benchmarks, from the entries of report_sequences.py."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from sequence_cases import GRID, SEQUENCE_CASES, TABLE
from sequence_participants import AUTOCAST, OURS, OURS_BF16, OURS_TUNED, RIVALS, STOCK, STOCK_TUNED

Entry = dict[str, Any]
VERBS = ("forward", "training")
Times = dict[tuple[str, int, str], float]  # participant, threads, pass: milliseconds of the median round


def times(entries: Iterable[Entry]) -> dict[str, Times]:
    """Return the median times by case."""
    found: dict[str, Times] = {}
    for entry in entries:
        key = entry["participant"], entry["threads"], entry["pass"]
        found.setdefault(entry["case"], {})[key] = statistics.median(entry["ms"])
    return found


def ratios(entries: list[Entry]) -> dict[str, dict[str, Any]]:
    """Return for each case and number of threads what README.md shows.

    "ms", "share of peak" and "ratio" hold [forward, forward and backward]; a ratio is the rival's time over
    ours.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, own in times(entries).items():
        for threads in sorted({threads for _, threads, _ in own}):
            ours = [own[OURS, threads, verb] for verb in VERBS]
            others = dict.fromkeys(who for who, n, _ in own if n == threads and who != OURS)
            found.setdefault(name, {})[str(threads)] = {
                "ms": ours,
                "share of peak": [share(entries, name, threads, verb) for verb in VERBS],
                "ratio": {
                    who: [own[who, threads, verb] / mine for verb, mine in zip(VERBS, ours, strict=True)]
                    for who in others
                },
            }
    return found


def share(entries: list[Entry], case: str, threads: int, verb: str) -> float:
    """Return our operations per second over the machine's."""
    wanted = (case, OURS, threads, verb)
    keys = ("case", "participant", "threads", "pass")
    entry = next(entry for entry in entries if tuple(entry[key] for key in keys) == wanted)
    return entry["operations"] / statistics.median(entry["ms"]) / 1e6 / entry["peak GFLOP/s"]


def milliseconds(value: float) -> str:
    return f"{1000 * value:.3g} µs" if value < 0.1 else f"{value:.3g} ms"


def pair(values: Iterable[float] | None, form: str = "{:.2f}") -> str:
    return " / ".join(form.format(value) for value in values) if values else ""


def table(rows: list[list[str]]) -> list[str]:
    """Return a Markdown table; the first row is its head, the first column is left-aligned."""
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return ["| " + " | ".join(cells) + " |" for cells in [rows[0], rule, *rows[1:]]]


def cases_table(found: dict[str, dict[str, Any]], threads: str) -> list[str]:
    """Return our times and the ratios to everyone; a column needs one case that has it."""
    named = {name: by[threads] for name, by in found.items() if threads in by}
    whom = [who for who in (*RIVALS, OURS_TUNED) if any(who in one["ratio"] for one in named.values())]
    rows = [["case", "ours", "of the FMA peak", *whom]]
    for name, one in named.items():
        ms = " / ".join(milliseconds(value) for value in one["ms"])
        peaks = pair((100 * value for value in one["share of peak"]), "{:.0f} %")
        rows.append([name, ms, peaks, *(pair(one["ratio"].get(who)) for who in whom)])
    return table(rows)


def rounded_table(found: dict[str, dict[str, Any]]) -> list[str]:
    """Return what bfloat16 gains, beside our float32 and torch's autocast."""
    rows = [
        ["case", "threads", "ours in float32 / ours in bfloat16", "torch.nn, autocast / ours in bfloat16"]
    ]
    for name, by in found.items():
        for threads, one in by.items():
            if (mine := one["ratio"].get(OURS_BF16)) is None:
                continue
            stock = one["ratio"].get(AUTOCAST)
            against = [theirs / own for theirs, own in zip(stock, mine, strict=True)] if stock else None
            rows.append([name, threads, pair(1 / value for value in mine), pair(against)])
    return table(rows) if len(rows) > 1 else []


def grid_tables(found: dict[str, list[float]]) -> list[str]:
    """Return for each kind and H a table over T and B: the better torch.nn's time over ours."""
    lines: list[str] = []
    for kind, cases in GRID.items():
        for hidden in dict.fromkeys(case.hidden for case in cases):
            mine = [case for case in cases if case.hidden == hidden and case.name in found]
            if not mine:
                continue
            batches = list(dict.fromkeys(case.batch for case in mine))
            rows = [[f"{kind.upper()}, I = H = {hidden}", *(f"B = {batch}" for batch in batches)]]
            for steps in dict.fromkeys(case.steps for case in mine):
                cells = {case.batch: pair(found[case.name]) for case in mine if case.steps == steps}
                rows.append([f"T = {steps}", *(cells.get(batch, "") for batch in batches)])
            lines += [*table(rows), ""]
    return lines


def better_stock(own: Times) -> list[float]:
    """Return the time of the faster malloc's torch.nn over ours, for both passes."""
    threads = max(threads for _, threads, _ in own)
    stock = [min(own[who, threads, verb] for who in (STOCK, STOCK_TUNED)) for verb in VERBS]
    return [theirs / own[OURS, threads, verb] for theirs, verb in zip(stock, VERBS, strict=True)]


def lost(found: dict[str, list[float]]) -> list[str]:
    """Return the grid's sizes where torch.nn is faster forward or in training."""
    return [f"- {name}: {pair(ratio)}" for name, ratio in found.items() if min(ratio) < 1]


def memory_table(found: dict[str, dict[str, float]]) -> list[str]:
    rows = [["case", "ours, MB", "torch.nn, MB", "ours / torch.nn"]]
    for case, by in found.items():
        ours, stock = by[OURS], by[STOCK]
        rows.append([case, f"{ours:.1f}", f"{stock:.1f}", f"{ours / stock:.2f}" if stock else ""])
    return table(rows)


def participants_table(entries: list[Entry]) -> list[str]:
    """Return everyone's median and best time."""
    rows = [["case", "participant", "threads", "pass", "median", "best", "largest error"]]
    for entry in entries:
        median, best = (milliseconds(of(entry["ms"])) for of in (statistics.median, min))
        start = [entry["case"], entry["participant"], str(entry["threads"]), entry["pass"]]
        rows.append([*start, median, best, f"{entry['largest error']:.1g}"])
    return table(rows)


def markdown(result: dict[str, Any]) -> str:
    """Return all tables of a report."""
    lines: list[str] = []
    counts = sorted({one["threads"] for one in result["table"]}, reverse=True)
    for kind in TABLE:
        own = {name: by for name, by in result["ratios"].items() if SEQUENCE_CASES[name].kind == kind}
        for threads in map(str, counts):
            if any(threads in by for by in own.values()):
                head = f"### {kind.upper()}, {threads} thread(s): forward / forward and backward"
                note = "Under each rival: its time over ours."
                lines += [head, "", note, "", *cases_table(own, threads), ""]
    parts = {
        "bfloat16: forward / forward and backward": rounded_table(result["ratios"]),
        "Grid: torch.nn with the faster malloc over ours, forward / forward and backward": grid_tables(
            result["grid ratios"]
        ),
        "Where torch.nn is faster": lost(result["grid ratios"]),
        "Memory of a training step at its peak, beyond weights and inputs": memory_table(result["memory MB"])
        if result["memory MB"]
        else [],
        "Every participant": participants_table(result["table"]),
    }
    for title, content in parts.items():
        if content:
            lines += [f"### {title}", "", *content, ""]
    others = [one["share of others"] for one in (*result["table"], *result["grid"])]
    most = max((share for share in others if share is not None), default=None)
    quiet = "" if most is None else f" Others used at most {100 * most:.0f} % of the processors meanwhile."
    peaks = "; ".join(
        f"{n} thread(s): " + ", ".join(f"{how} {value:.0f}" for how, value in found.items())
        for n, found in result["peak GFLOP/s"].items()
    )
    return "\n".join([*lines, f"Peak in GFLOP/s, {peaks}.{quiet}", ""])
