"""Rewrite the generated tables of README.md and docs from the committed results.

    python scripts/update_tables.py                 all tables
    python scripts/update_tables.py figure-3        one of them; PARTS names the others
    python scripts/update_tables.py --check         exits with 1 if a table is out of date

A table stands between <!-- NAME:begin --> and <!-- NAME:end --> in one page of PAGES. A missing file is an
error that says how to make it; all pages then stay as they were.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mathkernels.experiment.statistics import wilson
from mathkernels.experiment.terminal import run_script
from mathkernels.files import replacing
from mathkernels.studies.arithmetic.timing import in_words
from mathkernels.studies.division.published import ANCHORS

ROOT = Path(__file__).parents[1]
RESULTS = "docs/results"
PAGES = (
    *("README.md", "docs/results.md", "docs/speed.md"),
    *(f"{RESULTS}/integration/README.md", f"{RESULTS}/deepmath/README.md"),
)
INTEGRATION, DEEPMATH = ROOT / RESULTS / "integration", ROOT / RESULTS / "deepmath"
SYMBOLIC = "python examples/train_symbolic.py --preset cpu"
PAPER = ROOT / "docs" / "results" / "paper"
TWO_LAYERS = ROOT / "docs" / "results" / "two-layers-simple"
FIGURE, BENCHMARKS = ROOT / "docs" / "results" / "figure-3", ROOT / "benchmarks" / "results"
PAPER_REMEDY = "python scripts/make_reproduction.py runs/all"


class UpdateError(Exception):
    """A file or a marker is missing; the message says how it is made."""


def read(path: Path, remedy: str) -> str:
    if not path.exists():
        raise UpdateError(f"{path.relative_to(ROOT)} is missing; make it with `{remedy}`")
    return path.read_text(encoding="utf-8")


def table(rows: list[list[str]]) -> str:
    """Return a Markdown table; the first row is its head, the first column is left-aligned."""
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [rows[0], rule, *rows[1:]])


def figure_3() -> str:
    """Return the solved runs per range and module, their totals, and the time of all of them."""
    rows = list(csv.DictReader(read(FIGURE / "summary.csv", "make results").splitlines()))
    status = json.loads(read(FIGURE / "status.json", "make results"))
    if status["status"] != "finished":
        raise UpdateError(f"{FIGURE.relative_to(ROOT)} holds an unfinished run; make it with `make results`")
    variants, ranges = (list(dict.fromkeys(row[name] for row in rows)) for name in ("variant", "range"))
    cells = {(row["variant"], row["range"]): f"{row['successes']}/{row['n']}" for row in rows}
    lines = [["interpolation range", *variants]]
    lines += [[name, *(cells[variant, name] for variant in variants)] for name in ranges]
    totals = []
    for variant in variants:
        own = [row for row in rows if row["variant"] == variant]
        totals.append(wilson(sum(int(row["successes"]) for row in own), sum(int(row["n"]) for row in own)))
    lines.append(["**all**", *(f"**{100 * total.value:.1f} %**" for total in totals)])
    lines.append(["95 % interval", *(f"{100 * total.low:.1f}–{100 * total.high:.1f} %" for total in totals)])
    runs, iterations, versions = status["runs"], status["iterations"], status["versions"]
    spent = f"{runs:,} runs of {iterations:,} iterations took {status['seconds']:.0f} seconds"
    return f"{table(lines)}\n\n{spent} (torch {versions['torch']}, Python {versions['python']})."


def paper() -> str:
    """Return the paper's published averages beside ours, and what all of its figures cost."""
    timing = json.loads(read(PAPER / "timing.json", PAPER_REMEDY))
    text = read(PAPER / "figure-6-redundancy" / "summary.csv", PAPER_REMEDY)
    rows = list(csv.DictReader(text.splitlines()))
    lines = [["10 inputs, 9 ranges × 25 seeds", "published", "ours", "95 % interval"]]
    for label, anchor in ANCHORS["6-redundancy"].items():
        own = [row for row in rows if row["variant"] == label]
        rate = wilson(sum(int(row["successes"]) for row in own), sum(int(row["n"]) for row in own))
        interval = f"{100 * rate.low:.1f}–{100 * rate.high:.1f} %"
        lines.append([label, f"{100 * anchor.solved / 225:.1f} %", f"{100 * rate.value:.1f} %", interval])
    groups = timing["groups"].values()
    runs, iterations = (sum(group[key] for group in groups) for key in ("runs", "iterations"))
    rates = ", ".join(f"{name} {plain_number(group['rate'])}" for name, group in timing["groups"].items())
    spent = (
        f"{runs:,} distinct runs of the 24 trained figures, {iterations / 1e6:,.0f} million "
        f"model-iterations, took {in_words(timing['seconds'])} on {timing['machine']}"
    )
    return f"{table(lines)}\n\n{spent}. Model-iterations per second by module and inputs: {rates}."


def two_layers() -> str:
    """Return the simple product's table, and what it cost."""
    remedy = "python examples/train_two_layers.py --out docs/results/two-layers-simple"
    timing = json.loads(read(TWO_LAYERS / "timing.json", remedy))
    content = read(TWO_LAYERS / "table.md", remedy).strip()
    runs = sum(group["runs"] for group in timing["groups"].values())
    return f"{content}\n\n{runs:,} runs took {in_words(timing['seconds'])} on {timing['machine']}."


def machine(result: dict[str, Any]) -> str:
    where = result["machine"]
    isa, load = where["instruction set in use"].partition(" ")[0], where["load before"][0]
    return (
        f"Measured on {where['processor']}, instruction set {isa}, torch {where['torch']}, "
        f"jax {where['jax']}, load before the start {load:g}, {where['date'][:10]}."
    )


def plain_number(value: float) -> str:
    """Return three digits: 12.3 M, 456 k, 7.89."""
    unit, size = next(((u, s) for u, s in (("M", 1e6), ("k", 1e3)) if value >= s), ("", 1.0))
    digits = max(0, 2 - math.floor(math.log10(value / size)))
    return f"{value / size:.{digits}f} {unit}".strip()


def _times(ratio: float) -> str:
    """Return a ratio in whole numbers, and with two digits where they would hide who is faster."""
    return f"{ratio:,.0f}" if ratio >= 3 else f"{ratio:.2f}"


def ensemble() -> str:
    """Return our rate and the ratios to the rivals, case by case."""
    result = json.loads(read(BENCHMARKS / "ensemble.json", "make report"))
    ours = [entry for entry in result["timings"] if entry["participant"] == "mathkernels"]
    most = max(entry["threads"] for entry in ours)
    heads: dict[str, None] = {}
    found: dict[str, dict[str, str]] = {}
    for case, ratios in result["ratios"].items():
        mine = next(e for e in ours if e["case"] == case and e["threads"] == most)
        rate = mine["models"] * mine["iterations"] / statistics.median(mine["seconds"])
        cells = found[case] = {f"model-iterations/s, {most} threads": plain_number(rate)}
        for label, ratio in ratios.items():
            comparison, _, rival = label.rstrip(")").partition(" (")
            name, _, threads = rival.rpartition(", ")
            cells[f"ratio: {comparison}"] = f"{_times(ratio)} × ({name}; {threads})"
        heads |= dict.fromkeys(cells)
    rows = [["case", *heads], *([case, *(c.get(head, "") for head in heads)] for case, c in found.items())]
    return f"{table(rows)}\n\nIn brackets: the rival and its threads. {machine(result)}"


def modules() -> str:
    """Return our rate for every module and for two layers, and the ratios to torch, JAX and a plain loop."""
    result = json.loads(read(BENCHMARKS / "modules.json", "make report"))
    ours = [entry for entry in result["timings"] if entry["participant"] == "mathkernels"]
    counts = sorted({entry["threads"] for entry in ours})
    labels = {"torch": "torch, batched", "JAX": "JAX", "plain loop": "plain loop, per core"}
    heads = [f"model-iterations/s, {n} {'thread' if n == 1 else 'threads'}" for n in counts]
    rows = [["module, inputs", *heads, *(f"ratio: {text}" for text in labels.values())]]
    for case, ratios in result["ratios"].items():
        mine = {entry["threads"]: entry for entry in ours if entry["case"] == case}
        rates = (
            e["models"] * e["iterations"] / statistics.median(e["seconds"])
            for e in map(mine.get, counts)
            if e
        )
        # a plain loop trains one model on one core, so that ours has one as well
        against = {**ratios[str(counts[-1])], "plain loop": ratios[str(counts[0])].get("plain loop")}
        cells = [f"{against[label]:,.0f} ×" if against.get(label) else "" for label in labels]
        rows.append([case, *map(plain_number, rates), *cells])
    note = (
        "Ratios to torch and JAX: all threads, rivals with the number that serves them best. torch is the "
        f"better of eager and torch.compile in {result['torch.compile']}; else eager."
    )
    return f"{table(rows)}\n\n{note} {machine(result)}"


def layers() -> str:
    """Return microseconds of forward and backward of each layer and size, beside the best of stock torch."""
    result = json.loads(read(BENCHMARKS / "layers.json", "make report"))
    rows = [
        ["layer", "size (E, B, I, O)", "mathkernels", "stock, eager", "stock, compiled", "ratio to the best"]
    ]
    for entry in result["timings"]:
        medians = {name: statistics.median(times) for name, times in entry["us"].items()}
        mine, *stock = (medians[name] for name in ("mathkernels", "stock, eager", "stock, compiled"))
        size = ", ".join(map(str, entry["shape"]))
        times = [f"{value:.0f} µs" for value in (mine, *stock)]
        rows.append([entry["layer"], f"{entry['size']} ({size})", *times, f"{min(stock) / mine:.2f} ×"])
    return f"{table(rows)}\n\nOne thread. {machine(result)}"


def sequences_short() -> str:
    """Return some cases that differ most, of the same run."""
    rows = only(sequences(), *(f"| {case} |" for case in SHOWN_SEQUENCES)).partition("\n\n")[0]
    result = json.loads(read(BENCHMARKS / "sequences.json", "make report"))
    most = max(threads for by in result["ratios"].values() for threads in by)
    return f"{rows}\n\nPairs: forward alone / forward and backward. {most} threads. {machine(result)}"


def attention() -> str:
    """Return our time for every decoder with attention beside the best rival and the best plain loop."""
    result = json.loads(read(BENCHMARKS / "attention.json", "make report"))
    most = max(threads for by in result["ratios"].values() for threads in by)
    rows = [["case", "ours", "share of FMA peak", "best rival", "fastest plain loop"]]
    for case, by in result["ratios"].items():
        one = by[most]
        shares = pair([100 * share for share in one["share of peak"]], "{:.0f}") + " %"
        against = []
        for title in ("best rival", "fastest loop"):
            names = " / ".join(dict.fromkeys(name for name, _ in one.get(title, [])))
            ratio = pair([ratio for _, ratio in one.get(title, [])])
            against.append(f"{ratio} × ({names})" if names else "")
        rows.append([case, pair(one["ms"], "{:.3g}") + " ms", shares, *against])
    lead = f"Pairs: forward alone / forward and backward; ratios are rivals' times over ours. {most} threads."
    return f"{table(rows)}\n\n{lead} {machine(result)}"


def only(content: str, *beginnings: str) -> str:
    """Return a table with its head, the rows that hold one of the texts, and what follows the table."""
    lines, _, note = content.partition("\n\n")
    head, rule, *rows = lines.split("\n")
    kept = [row for row in rows if any(text in row for text in beginnings)]
    return "\n".join([head, rule, *kept]) + f"\n\n{note}"


def pair(values: list[float], form: str = "{:.2f}") -> str:
    return " / ".join(form.format(value) for value in values)


def sequences() -> str:
    """Return our time for every sequence case and the ratios to torch.nn and to the best of the others."""
    result = json.loads(read(BENCHMARKS / "sequences.json", "make report"))
    stock = {"torch.nn": "torch.nn", "torch.nn, tuned malloc": "torch.nn, tuned malloc"}
    apart = (*stock, "torch.nn, bfloat16 autocast", "mathkernels, bfloat16", "mathkernels, tuned malloc")
    most = max(threads for by in result["ratios"].values() for threads in by)
    rows = [["case", "ours", "share of FMA peak", *stock.values(), "best of the others"]]
    for case, by in result["ratios"].items():
        one = by[most]
        others = {who: ratio for who, ratio in one["ratio"].items() if who not in apart}
        best = min(others, key=lambda who: others[who][1])
        shares = pair([100 * share for share in one["share of peak"]], "{:.0f}") + " %"
        against = [f"{pair(one['ratio'][who])} ×" for who in stock]
        ms = pair(one["ms"], "{:.3g}") + " ms"
        rows.append([case, ms, shares, *against, f"{pair(others[best])} × ({best})"])
    lead = f"Pairs: forward alone / forward and backward. {most} threads."
    return f"{table(rows)}\n\n{lead} {' '.join(about_sequences(result, most))} {machine(result)}"


def about_sequences(result: dict[str, Any], threads: str) -> list[str]:
    """Return sentences on bfloat16, on the sizes where torch.nn is faster, and on memory."""
    name = "mathkernels, bfloat16"
    rounded = {case: by[threads]["ratio"].get(name) for case, by in result["ratios"].items()}
    said = [
        f"{case} in bfloat16: {pair([1 / value for value in ratio])} × our float32."
        for case, ratio in rounded.items()
        if ratio
    ]
    said += about_grids()
    shares = [by["mathkernels"] / by["torch.nn"] for by in result["memory MB"].values() if by["torch.nn"]]
    if shares:
        said.append(f"A training step takes {min(shares):.2f} to {max(shares):.2f} of torch.nn's memory.")
    return said


def about_grids() -> list[str]:
    """Return a sentence for every machine whose results have the grid of sizes."""
    said = []
    for path in sorted(BENCHMARKS.glob("sequences*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        grid, where = result["grid ratios"].values(), result["machine"]
        if not grid:
            continue
        faster, page = sum(ratio[1] < 1 for ratio in grid), f"benchmarks/results/{path.stem}.md"
        isa = where["instruction set in use"].partition(" ")[0]
        said.append(
            f"torch.nn trains faster at {faster} of the {len(grid)} points of [the grid of sizes]({page})"
            f" on an {where['processor']} with {isa}."
        )
    return said


SHOWN_SEQUENCES = (
    "LSTM bidirectional B256 T10 I13 H20",
    "LSTM B128 T150 I2 H100",
    "LSTM characters B128 T160 I95 H512",
    "LSTM 16 models B32 T150 I2 H20",
    "GRU B128 T150 I2 H100",
)
SHOWN_ATTENTION = (
    "H256 B128 S160 T30 I256",
    "H64 B32 S40 T20 I64",
    "16 models H32 B32 S40 T20 I32",
)


def integration_trials() -> str:
    """The first table of what the trials of symbolic integration left."""
    text = read(INTEGRATION / "cpu" / "table.md", SYMBOLIC)
    return next(part for part in text.split("\n\n") if part.startswith("| trial | model |"))


def whole(path: Path, remedy: str) -> str:
    """A table that stands in a file of its own."""
    return read(path, remedy).strip()


def deepmath_epochs() -> str:
    """Exact match of both models of Deep Math after each epoch."""
    remedy = "python examples/train_deepmath.py --preset cpu --model {}"
    models, sets = ("simple", "attentional"), ("valid", "interpolate", "extrapolate")
    rows = [["epoch", *(f"{model}: {name}" for model in models for name in sets)]]
    epochs: dict[int, list[str]] = {}
    for model in models:
        text = read(DEEPMATH / f"cpu-{model}" / "curves.csv", remedy.format(model))
        for row in csv.DictReader(text.splitlines()):
            cells = epochs.setdefault(int(row["epoch"]), [])
            cells += [f"{float(row[f'{name}_exact_match']):.3f}" for name in sets]
    return table(rows + [[str(epoch), *cells] for epoch, cells in epochs.items()])


def steps_of(name: str) -> str:
    """Training steps of a study beside torch's, and where they were timed."""
    path = BENCHMARKS / f"{name}.json"
    table = read(path.with_suffix(".md"), f"python benchmarks/report_{name}.py").strip()
    return f"{table}\n\n{machine(json.loads(read(path, f'python benchmarks/report_{name}.py')))}"


PARTS: dict[str, Callable[[], str]] = {
    "figure-3": figure_3,
    "paper": paper,
    "two-layers": two_layers,
    "ensemble": ensemble,
    "modules": modules,
    "layers": layers,
    "layers-short": lambda: only(layers(), "| 225 models "),
    "sequences": sequences,
    "sequences-short": sequences_short,
    "attention": attention,
    "attention-short": lambda: only(attention(), *(f"| {case} |" for case in SHOWN_ATTENTION)),
    "integration-trials": integration_trials,
    "integration-other": partial(whole, INTEGRATION / "cpu" / "robustness.md", f"{SYMBOLIC} --robustness"),
    "integration-runs": partial(whole, INTEGRATION / "compare.md", f"{SYMBOLIC} --compare RUN ..."),
    "deepmath-epochs": deepmath_epochs,
    "symbolic-steps": partial(steps_of, "symbolic"),
    "deepmath-steps": partial(steps_of, "deepmath"),
}


def replaced(text: str, page: str, name: str, content: str) -> str:
    """Return the text of a page with other content between the markers of a part."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UpdateError(f"{page} needs the markers {begin} and {end}, once each and in this order")
    before, _, rest = text.partition(begin)
    # links of the results are those of a page at the top
    up = "../" * page.count("/")
    content = re.sub(r"\]\((?=benchmarks/|docs/)", f"]({up}", content)
    return f"{before}{begin}\n{content}\n{end}{rest.partition(end)[2]}"


def page_of(name: str, texts: dict[str, str]) -> str:
    """Return the page that has a part."""
    for page, text in texts.items():
        if f"<!-- {name}:" in text:
            return page
    raise UpdateError(f"<!-- {name}:begin --> is missing; one of {', '.join(PAGES)} needs it")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="*", help=f"default: all of {', '.join(PARTS)}")
    parser.add_argument("--check", action="store_true", help="write nothing, tell whether all is up to date")
    args = parser.parse_args()
    if unknown := [name for name in args.part if name not in PARTS]:
        parser.error(f"part: got {', '.join(unknown)}, needs some of {', '.join(PARTS)}")
    try:
        before = {page: read(ROOT / page, f"git restore {page}") for page in PAGES}
        texts = dict(before)
        for name in args.part or PARTS:
            page = page_of(name, texts)
            texts[page] = replaced(texts[page], page, name, PARTS[name]())
    except UpdateError as error:
        print(f"update_tables: {error}", file=sys.stderr)
        return 1
    if args.check:
        return int(texts != before)
    for page, text in texts.items():
        if text != before[page]:
            with replacing(ROOT / page) as temporary:
                temporary.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
