"""Time epochs of the equation learner by engine in one interleaved run.

    python benchmarks/report_equations.py [--short] [--rounds 7] [--threads 1 2]

The engines are the fused one, mathkernels.nn.LSTM and torch.nn.LSTM. An epoch is what
examples/train_equations.py does in it: 27,000 equations in 106 updates, and the evaluations. Before anything
is timed, all engines train two epochs from the same start, and their losses must agree. Prints seconds of an
epoch (median and least of the rounds); writes benchmarks/results/equations.json and .md, not in short mode.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from typing import Any

import machine
import numpy as np
import torch
from report import write

from mathkernels.data import equation_sets
from mathkernels.data.equations import Equations
from mathkernels.experiment.terminal import run_script
from mathkernels.experiment.training import Training
from mathkernels.nn import LSTM
from mathkernels.studies.equations import engine as equations_engine
from mathkernels.studies.equations import training as equations_training
from mathkernels.studies.equations.config import Config, Train

ENGINES = ("fused", "layers", "torch")
# rounding is amplified by training: float32 losses of the first two epochs agree this well
CLOSE = 1e-3


def training(engine: str, seeds: tuple[int, ...], sets: equation_sets.Sets, data: Equations) -> Training:
    config = Config(data, train=Train(engine=engine, seeds=seeds))  # pyright: ignore[reportArgumentType]
    return equations_training.training(config, sets, equations_engine.make(config, lstm=LSTM))


def prove(sets: equation_sets.Sets, data: Equations) -> None:
    """Raise AssertionError unless all engines have the same losses."""
    losses = {}
    for engine in ENGINES:
        own = training(engine, (1,), sets, data)
        losses[engine] = [row["loss"] for _ in range(2) for row in own.advance()]
    for engine in ENGINES:
        np.testing.assert_allclose(losses[engine], losses["torch"], rtol=CLOSE, err_msg=engine)


def measure(rounds: int, threads: list[int], short: bool) -> list[dict[str, Any]]:
    """Return one entry for each engine, number of networks and of threads, with the seconds of its epochs."""
    data = Equations(n_examples=3_000, new_equations=0) if short else Equations(new_equations=0)
    sets = equation_sets.build(data)
    prove(sets, data)
    turns = [
        (engine, models, count)
        for count in threads
        for models in (1, 5)
        for engine in ENGINES
        if models == 1 or engine == "fused"  # the others train one network after the other
    ]
    trainings = [training(engine, tuple(range(1, models + 1)), sets, data) for engine, models, _ in turns]
    entries = [
        {"engine": engine, "networks": models, "threads": count, "seconds": []}
        for engine, models, count in turns
    ]
    for turn in range(rounds + 1):
        for own, entry in zip(trainings, entries, strict=True):
            torch.set_num_threads(entry["threads"])
            begun = time.perf_counter()
            own.advance()
            if turn:  # the first warms up
                entry["seconds"].append(time.perf_counter() - begun)
    return entries


def markdown(entries: list[dict[str, Any]]) -> str:
    """Return the table; ratios are to torch.nn with as many threads and networks, which it trains in turn."""
    stock = {e["threads"]: statistics.median(e["seconds"]) for e in entries if e["engine"] == "torch"}
    head = ["engine", "networks", "threads", "epoch, s", "least", "200 epochs, s", "times torch.nn"]
    lines = [head, ["---"] * len(head)]
    for entry in entries:
        median = statistics.median(entry["seconds"])
        ratio = entry["networks"] * stock[entry["threads"]] / median
        figures = [f"{median:.3f}", f"{min(entry['seconds']):.3f}", f"{200 * median:.1f}", f"{ratio:.2f}"]
        lines.append([entry["engine"], str(entry["networks"]), str(entry["threads"]), *figures])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--rounds", type=int, help="default 7, short 1")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    short = os.environ.get("MATHKERNELS_BENCH_SHORT") == "1"
    parser.add_argument("--short", action="store_true", default=short)
    parser.add_argument("--name", default="equations", help="of the JSON file; default: equations")
    chosen = parser.parse_args()
    where = machine.fingerprint()
    rounds = chosen.rounds or (1 if chosen.short else 7)
    entries = measure(rounds, chosen.threads, chosen.short)
    text = markdown(entries)
    print(text)
    if chosen.short:  # no figures to keep
        return
    write(chosen.name, {"machine": where, "timings": entries}, text)


if __name__ == "__main__":
    sys.exit(run_script(main))
