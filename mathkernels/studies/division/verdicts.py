"""Does a repeated figure agree with what the paper says? Read from its result rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mathkernels.experiment.statistics import wilson
from mathkernels.studies.division.catalogue import CATALOGUE
from mathkernels.studies.division.published import ANCHORS, REASONS

Rows = Sequence[Mapping[str, str]]  # of a CSV file
RUNS = 225  # behind a published rate: 9 ranges x 25 seeds
MEANINGLESS = 0.01  # of the mean squared target: above it, an error of a tenth of the target's size passes
# Figure 5: how far test errors may be apart to agree, as a ratio. Published values have four digits; those of
# the NRU and of the RealNPU without epsilon are rounding errors of powers, which differ between libraries.
DIGITS, POWERS = 1.001, 1.5


def verdict(number: str, rows: Rows) -> tuple[str, str]:
    """Return a verdict in a few words and what it rests on, for the rows of summary.csv (or exact.csv)."""
    if number == "5":
        return _exact_weights(rows)
    if number == "9":
        return "nothing to compare", "the published panels were NOT FOUND"
    anchors = ANCHORS.get(number)
    if not anchors:
        return "no published number", "the paper draws these results; their numbers were NOT FOUND"
    texts, agree = [], True
    for label, anchor in anchors.items():
        own = [row for row in rows if row["variant"] == label]
        solved, runs = sum(int(row["successes"]) for row in own), sum(int(row["n"]) for row in own)
        if runs != RUNS:
            return "not comparable", f"{label}: {runs} runs, the published rate is of {RUNS}"
        fits = anchor.low <= solved / runs <= anchor.high
        agree &= fits
        bounds = anchor.note or f"{anchor.low:.1%} to {anchor.high:.1%}, the interval of the published count"
        word = "within" if fits else "outside"
        texts.append(f"{label}: {solved / runs:.1%}, published {anchor.solved / RUNS:.1%}; {word} {bounds}")
    reason = "" if agree else ". " + REASONS.get(number, "A reason was looked for and not found")
    return "agrees" if agree else "differs", "; ".join(texts) + reason


def _exact_weights(rows: Rows) -> tuple[str, str]:
    texts, agree = [], True
    for module in dict.fromkeys(row["module"] for row in rows):
        ratios = np.array([float(row["ratio"]) for row in rows if row["module"] == module])
        apart = np.maximum(ratios, 1 / ratios)
        limit = DIGITS if module in ("RealNPU", "NMRU") else POWERS
        agree &= bool((apart <= limit).all())
        close = int((apart <= limit).sum())
        texts.append(f"{module}: {close} of {apart.size} within a factor {limit:g}, worst {apart.max():.3g}")
    text = "; ".join(texts)
    return ("agrees", text) if agree else ("agrees but for rounding", f"{text}. {REASONS['5']}")


def meaningless(number: str, row: Mapping[str, str]) -> bool:
    """Return whether a success in this row means nothing, because its threshold is near the target itself."""
    study = CATALOGUE[number].study
    if study is None or study.threshold != "exact":
        return False
    task = next(m.run.task for m in study.members() if m.dataset == row["range"])
    target = task.evaluation_set("test", 0)[1].astype(np.float64)
    return float(row["threshold"]) > MEANINGLESS * float(np.square(target).mean())


def totals(rows: Rows) -> dict[str, tuple[int, int, str]]:
    """Return solved, runs, and rate with its 95 % interval in words, by variant."""
    found = {}
    for variant in dict.fromkeys(row["variant"] for row in rows):
        own = [row for row in rows if row["variant"] == variant]
        solved, runs = sum(int(row["successes"]) for row in own), sum(int(row["n"]) for row in own)
        rate = wilson(solved, runs)
        text = f"{100 * rate.value:.1f} % ({100 * rate.low:.1f}–{100 * rate.high:.1f})"
        found[variant] = (solved, runs, text)
    return found
