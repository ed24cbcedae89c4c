"""One page that sets every figure of a campaign beside what the paper says of it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mathkernels.experiment.csv_files import read_csv
from mathkernels.experiment.run_folder import CONFIG, STATUS, replacing
from mathkernels.studies.arithmetic.campaign import grouped, total_iterations
from mathkernels.studies.arithmetic.timing import TIMING, in_words
from mathkernels.studies.division import drawn, non_finite
from mathkernels.studies.division.catalogue import CATALOGUE, Figure
from mathkernels.studies.division.published import ANCHORS, NOTES
from mathkernels.studies.division.verdicts import Rows, meaningless, totals, verdict

PLAIN_LOOP, _LOOP = "plain loop, one model", "plain loop, estimated"
OTHERWISE = ("not comparable", "trained with other seeds, ranges or iterations than the paper")
# A module that no benchmark has measured is taken to be as fast as the one with the most similar arithmetic.
_SIMILAR = {"NPU": "RealNPU", "NRU": "NMU", "NMRU": "NMU", "NAU": "NMU"}


@dataclass(frozen=True)
class Rival:
    """A rival's measured rate in model-iterations per second, and the case that it was measured on."""

    case: str
    rate: float


def rivals(benchmark: Path) -> dict[str, Rival]:
    """Return the plain loop's rates by case, such as "NMU-10", from a file of benchmark results."""
    if not benchmark.exists():
        return {}
    found = {}
    for entry in json.loads(benchmark.read_text(encoding="utf-8"))["timings"]:
        if entry["participant"] == PLAIN_LOOP and entry["threads"] == 1:
            rate = entry["models"] * entry["iterations"] / statistics.median(entry["seconds"])
            found[entry["case"]] = Rival(entry["case"], rate)
    return found


def rival_of(group: str, known: Mapping[str, Rival]) -> Rival | None:
    """Return the measured rival for a group such as "NRU-10": its own case, or the nearest measured one."""
    module, _, inputs = group.partition("-")
    size = "10" if int(inputs) > 2 else "2"
    return known.get(f"{module}-{size}") or known.get(f"{_SIMILAR.get(module, module)}-{size}")


def write_page(path: Path, results: Path, benchmark: Path) -> None:
    """Write the page from a folder of results; images are linked relative to it."""
    known = rivals(benchmark)
    text = "\n".join(_page(results, known, results.relative_to(path.parent).as_posix()))
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_rows(folder: Path, figure: Figure) -> list[dict[str, str]] | None:
    """Return the rows of a figure's table, None where the folder does not have the figure (finished).

    Raises:
        ValueError: the table is cut off or changed, see :func:`csv_files.read_csv`.
    """
    own = folder / figure.name
    if (own / STATUS).exists() and json.loads((own / STATUS).read_text(encoding="utf-8"))[
        "status"
    ] != "finished":
        return None
    if figure.number == "9":
        return [] if (own / "figure.png").exists() else None
    path = own / drawn.DATA.get(figure.number, "summary.csv")
    return read_csv(path) if path.exists() else None


def as_published(folder: Path, figure: Figure) -> bool:
    """Return whether a figure's folder was trained with the paper's configuration, seeds and iterations.

    Results that were taken over into the docs have no configuration beside them; they were asked before.
    """
    path = folder / figure.name / CONFIG
    if figure.study is None or not path.exists():
        return True
    return json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(figure.study.describe()))


def _page(results: Path, known: Mapping[str, Rival], images: str) -> Iterator[str]:
    timing = json.loads((results / TIMING).read_text(encoding="utf-8"))
    found = {f.number: rows for f in CATALOGUE.values() if (rows := read_rows(results, f)) is not None}
    whole = {number for number in found if as_published(results, CATALOGUE[number])}
    verdicts = {n: verdict(n, rows) if n in whole else OTHERWISE for n, rows in found.items()}
    yield "# Reproduction of the division paper\n"
    yield (
        "Figures of *Learning Division with Neural Arithmetic Logic Modules* (Mistry, Farrahi & Hare 2021, "
        "[arXiv 2110.05177](https://arxiv.org/abs/2110.05177)), trained anew and set beside what the paper "
        "says. This page is generated from the result files; what could not be found out is marked NOT FOUND."
        "\n"
    )
    yield from _summary(found, verdicts, timing, known)
    yield from non_finite.section(results)
    yield from _cost(timing, known)
    for number, rows in found.items():
        yield from _figure(CATALOGUE[number], rows, verdicts[number], images)


def _summary(
    found: Mapping[str, Rows],
    verdicts: Mapping[str, tuple[str, str]],
    timing: Mapping[str, Any],
    known: Mapping[str, Rival],
) -> Iterator[str]:
    yield "## Verdicts\n"
    yield f"| figure | shows | runs | time | {_LOOP} | verdict |"
    yield "| --- | --- | ---: | ---: | ---: | --- |"
    for number, rows in found.items():
        figure = CATALOGUE[number]
        seconds = timing["figures"].get(figure.name)
        spent = "" if seconds is None else in_words(seconds)
        runs = sum(int(row["n"]) for row in rows) if figure.study else 0
        loop = _loop_seconds(figure, known) if verdicts[number] is not OTHERWISE else ""
        short = verdicts[number][0]
        cells = (
            f"[{number}](#figure-{number})",
            figure.title,
            f"{runs:,}" if runs else "none",
            spent,
            loop,
            short,
        )
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield (
        "A figure's time is its runs' share of the time of their module; runs that several figures show "
        "count in each, but are trained once.\n"
    )


def _loop_seconds(figure: Figure, known: Mapping[str, Rival]) -> str:
    """Return in words how long the plain loop would train a figure's runs, one after another."""
    if figure.study is None:
        return ""
    seconds = 0.0
    for group, members in grouped(member.run for member in figure.study.members()).items():
        rival = rival_of(group, known)
        if rival is None:
            return "unknown"
        seconds += total_iterations(members) / rival.rate
    return in_words(seconds)


def _cost(timing: Mapping[str, Any], known: Mapping[str, Rival]) -> Iterator[str]:
    yield "## Where the time goes\n"
    head = ("module-inputs", "distinct runs", "iterations", "time", "model-iterations/s", _LOOP, "from")
    yield "| " + " | ".join(head) + " |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    loop = 0.0
    for name, group in timing["groups"].items():
        rival = rival_of(name, known)
        seconds = group["iterations"] / rival.rate if rival else float("nan")
        loop += seconds
        source = f"{rival.case}, {rival.rate:,.0f}/s" if rival else "no measurement"
        rate = f"{group['rate']:,}" if group["rate"] else ""
        counts = (f"{group['runs']:,}", f"{group['iterations']:,}", in_words(group["seconds"]), rate)
        yield "| " + " | ".join((name, *counts, in_words(seconds), source)) + " |"
    runs, iterations = (
        sum(group[key] for group in timing["groups"].values()) for key in ("runs", "iterations")
    )
    rate = f"{iterations / timing['seconds']:,.0f}" if timing["seconds"] else ""
    totals_ = (f"**{runs:,}**", f"{iterations:,}", f"**{in_words(timing['seconds'])}**", rate)
    yield "| " + " | ".join(("**all**", *totals_, in_words(loop), "")) + " |\n"
    versions = ", ".join(f"{name} {value}" for name, value in timing["versions"].items())
    yield (
        f"Measured on {timing['machine']}; {versions}. The plain loop is what a paper's script does: one "
        "model, torch.nn, autograd, torch.optim, one thread. Its time is estimated from a rate measured by "
        "benchmarks/report.py, perhaps on another machine, for the case in the last column: the module "
        "itself, or the one with the most similar arithmetic. It does not count the loop's evaluations.\n"
    )


def _figure(figure: Figure, rows: Rows, judged: tuple[str, str], images: str) -> Iterator[str]:
    short, text = judged
    yield f'<a id="figure-{figure.number}"></a>\n'
    yield f"## Figure {figure.number}: {figure.title}\n"
    place = f"{images}/" if images != "." else ""
    yield f"![Figure {figure.number}]({place}{figure.name}/figure.png)\n"
    if figure.number in NOTES:
        yield f"The paper: {NOTES[figure.number]}\n"
    elif figure.number not in ANCHORS and figure.number != "5":
        yield "The paper: numbers NOT FOUND (drawn only).\n"
    if figure.number == "5":
        yield from _exact_table(rows)
    elif rows:
        yield from _success_table(figure, rows)
    yield f"**Verdict: {short}.** {text[:1].upper()}{text[1:]}.\n"


def _success_table(figure: Figure, rows: Rows) -> Iterator[str]:
    variants, ranges = (list(dict.fromkeys(row[name] for row in rows)) for name in ("variant", "range"))
    marks = {(row["variant"], row["range"]): " †" if meaningless(figure.number, row) else "" for row in rows}
    cells = {(row["variant"], row["range"]): f"{row['successes']}/{row['n']}" for row in rows}
    yield "| solved runs | " + " | ".join(variants) + " |"
    yield "| --- |" + " ---: |" * len(variants)
    for name in ranges:
        yield f"| {name} | " + " | ".join(cells[v, name] + marks[v, name] for v in variants) + " |"
    yield "| **all** (95 % interval) | " + " | ".join(text for _, _, text in totals(rows).values()) + " |\n"
    if any(marks.values()):
        yield (
            "† means nothing: the threshold, what exact weights reach, is more than a hundredth of the mean "
            "squared target, so an output passes that is off by a tenth of the target's size.\n"
        )


def _exact_table(rows: Rows) -> Iterator[str]:
    modules = list(dict.fromkeys(row["module"] for row in rows))
    yield "Test errors of exact weights: ours / published.\n"
    yield "| task, range | " + " | ".join(modules) + " |"
    yield "| --- |" + " ---: |" * len(modules)
    cells = {
        (
            row["task"],
            row["range"],
            row["module"],
        ): f"{float(row['test_error']):.4g} / {float(row['published']):.4g}"
        for row in rows
    }
    for task, ends in dict.fromkeys((row["task"], row["range"]) for row in rows):
        yield f"| {task} {ends} | " + " | ".join(cells[task, ends, module] for module in modules) + " |"
    yield ""
