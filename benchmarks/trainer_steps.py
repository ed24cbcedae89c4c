"""Times the training steps of a study's models on our layers and on torch's: what their reports share.

A learner has ``step(number)`` and counts losses; before anything is timed both engines train three steps from
the same start, and their losses must agree.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import machine
import numpy as np
import report
import torch

from mathkernels.experiment.denormals import flushed_denormals
from mathkernels.experiment.memory import keep_memory

ENGINES = ("ours", "torch.nn")
# rounding is amplified by training: float32 losses of the first three steps agree this well
CLOSE = 1e-4
Learners = Mapping[tuple[str, str], Any]  # by model and engine


def prove(learners: Learners, loss: Callable[[Any], float]) -> None:
    """Train three steps of each; raise AssertionError unless the engines have the same mean losses."""
    for model in dict.fromkeys(name for name, _ in learners):
        losses = []
        for engine in ENGINES:
            own = learners[model, engine]
            for step in range(3):
                own.step(step)
            losses.append(loss(own))
        np.testing.assert_allclose(losses[0], losses[1], rtol=CLOSE, err_msg=model)


def measure(
    learners: Learners, rounds: int, steps: int, threads: list[int], words: Callable[[Any, int], int]
) -> list[dict[str, Any]]:
    """Return one entry for each model, engine and number of threads, with the seconds of a step by round.

    Args:
        learners: proved equal.
        rounds, steps: how often, and how many steps each time: the same ones for both engines.
        threads: numbers of them.
        words: learner and step -> how many words or characters it reads and predicts.
    """
    entries: list[dict[str, Any]] = []
    for count in threads:
        for model, engine in learners:
            read = sum(words(learners[model, engine], step) for step in range(steps))
            own = {"model": model, "engine": engine, "threads": count, "words": read / steps}
            entries.append({**own, "seconds": []})
    for turn in range(rounds + 1):
        for entry in entries:
            learner = learners[entry["model"], entry["engine"]]
            torch.set_num_threads(entry["threads"])
            begun = time.perf_counter()
            for step in range(steps):
                learner.step(step)
            if turn:  # the first warms up
                entry["seconds"].append((time.perf_counter() - begun) / steps)
    return entries


def markdown(entries: list[dict[str, Any]]) -> str:
    """Return the table; ratios are to torch.nn with as many threads."""
    head = ["model", "layers", "threads", "step, ms", "least", "words/s", "times torch.nn"]
    lines = [head, ["---"] * len(head)]
    medians = {(e["model"], e["engine"], e["threads"]): statistics.median(e["seconds"]) for e in entries}
    for entry in entries:
        median = medians[entry["model"], entry["engine"], entry["threads"]]
        ratio = medians[entry["model"], "torch.nn", entry["threads"]] / median
        figures = [f"{1e3 * median:.1f}", f"{1e3 * min(entry['seconds']):.1f}"]
        figures += [f"{entry['words'] / median:,.0f}", f"{ratio:.2f}"]
        lines.append([entry["model"], entry["engine"], str(entry["threads"]), *figures])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def main(
    description: str | None,
    name: str,
    work: Callable[[bool, Callable[[Learners], list[dict[str, Any]]]], list[dict[str, Any]]],
    loss: Callable[[Any], float],
    words: Callable[[Any, int], int],
) -> None:
    """The command of a report.

    Args:
        description: of the command.
        name: of the file of results.
        work: whether it is short, and what measures learners -> the entries; it makes the learners.
        loss: of a learner, the mean so far.
        words: see :func:`measure`.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=raw)
    parser.add_argument("--rounds", type=int, help="default 7, short 1")
    parser.add_argument("--steps", type=int, help="of a round; default 20, short 2")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    short = os.environ.get("MATHKERNELS_BENCH_SHORT") == "1"
    parser.add_argument("--short", action="store_true", default=short)
    parser.add_argument("--name", default=name, help=f"of the JSON file; default: {name}")
    chosen = parser.parse_args()
    keep_memory()
    where = machine.fingerprint()
    rounds, steps = chosen.rounds or (1 if chosen.short else 7), chosen.steps or (2 if chosen.short else 20)

    def measured(learners: Learners) -> list[dict[str, Any]]:
        prove(learners, loss)
        return measure(learners, rounds, steps, chosen.threads, words)

    with flushed_denormals():
        entries = work(chosen.short, measured)
    text = markdown(entries)
    print(text)
    if not chosen.short:  # else there are no figures to keep
        report.write(chosen.name, {"machine": where, "timings": entries}, text)
