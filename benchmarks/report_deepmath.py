"""Time training steps of the Deep Math models on our layers and on torch's, in one interleaved run.

    python benchmarks/report_deepmath.py [--short] [--rounds 7] [--steps 20] [--threads 1 2]

The models are those of configs/deepmath-cpu.yaml, in batches of 128 questions of about one length, as
examples/train_deepmath.py trains them, with and without --stock. Questions are made up here, so that no
generator is needed, of the lengths that the preset's have: 3 to 57 characters, half of them 17 to 37, answers
of 1 to 7. Before anything is timed both engines train three steps from the same start, and their losses must
agree. Prints milliseconds of a step (median and least of the rounds); writes benchmarks/results/deepmath.json
and .md, not in short mode.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch

from mathkernels.experiment import configuration
from mathkernels.experiment.denormals import flushed_denormals
from mathkernels.experiment.memory import keep_memory
from mathkernels.experiment.terminal import run_script
from mathkernels.studies.mathematics.config import Config
from mathkernels.studies.mathematics.plan import plan
from mathkernels.studies.mathematics.training import Learner

PRESET = Path(__file__).resolve().parents[1] / "configs" / "deepmath-cpu.yaml"
MODELS, ENGINES = ("attentional", "simple"), ("ours", "torch.nn")
# quantiles of the preset's lengths, and characters
QUESTIONS = ((0, 0.05, 0.25, 0.5, 0.75, 0.95, 1), (3, 9, 17, 24, 37, 55, 57))
ANSWERS = ((0, 0.05, 0.5, 0.95, 1), (1, 1, 2, 5, 7))
# rounding is amplified by training: float32 losses of the first three steps agree this well
CLOSE = 1e-4
SHORT = ["num_encoder_units=16", "num_decoder_units=32", "embedding_dim=16", "latent_dim=32"]


def write_questions(folder: Path, count: int) -> None:
    """Write a data folder of made-up questions."""
    source, digits = np.random.default_rng(0), np.array([*"0123456789"])
    for name in ("train", "interpolate", "extrapolate"):
        lines = []
        for _ in range(count if name == "train" else 200):
            length, answer = (round(np.interp(source.random(), *own)) for own in (QUESTIONS, ANSWERS))
            lines += ["".join(source.choice(digits, n)) for n in (length, answer)]
        (folder / name).mkdir()
        (folder / name / "arithmetic__made_up.txt").write_text("\n".join(lines) + "\n")


def learners(folder: Path, short: bool) -> dict[tuple[str, str], Learner]:
    """Return a new learner of each model and engine."""
    found = {}
    for model in MODELS:
        over = [f"model={model}", f"data_path={folder}", "remove_seen=false", *(SHORT if short else ())]
        config = configuration.load(Config, PRESET, over)
        for engine in ENGINES:
            found[model, engine] = plan(config, stock=engine != "ours").learner(torch.device("cpu"))
    return found


def prove(all_learners: dict[tuple[str, str], Learner]) -> None:
    """Train three steps of each; raise AssertionError unless the engines have the same losses."""
    for model in MODELS:
        losses = []
        for engine in ENGINES:
            own = all_learners[model, engine]
            for step in range(3):
                own.step(step)
            losses.append(float(own.sums[0] / own.sums[1]))
        np.testing.assert_allclose(losses[0], losses[1], rtol=CLOSE, err_msg=model)


def measure(rounds: int, steps: int, threads: list[int], short: bool) -> list[dict[str, Any]]:
    """Return one entry for each model, engine and number of threads, with the seconds of a step by round."""
    entries: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name, flushed_denormals():
        write_questions(Path(name), 2_000 if short else 20_000)
        own = learners(Path(name), short)
        prove(own)
        for count in threads:
            entries += [{"model": m, "engine": e, "threads": count, "seconds": []} for m, e in own]
        for turn in range(rounds + 1):
            for entry in entries:
                learner = own[entry["model"], entry["engine"]]
                torch.set_num_threads(entry["threads"])
                begun = time.perf_counter()
                for step in range(steps):  # the same batches in every round and for both engines
                    learner.step(step)
                if turn:  # the first warms up
                    entry["seconds"].append((time.perf_counter() - begun) / steps)
    return entries


def markdown(entries: list[dict[str, Any]]) -> str:
    """Return the table; ratios are to torch.nn with as many threads."""
    head = ["model", "layers", "threads", "step, ms", "least", "times torch.nn"]
    lines = [head, ["---"] * len(head)]
    medians = {(e["model"], e["engine"], e["threads"]): statistics.median(e["seconds"]) for e in entries}
    for entry in entries:
        median = medians[entry["model"], entry["engine"], entry["threads"]]
        ratio = medians[entry["model"], "torch.nn", entry["threads"]] / median
        figures = [f"{1e3 * median:.1f}", f"{1e3 * min(entry['seconds']):.1f}", f"{ratio:.2f}"]
        lines.append([entry["model"], entry["engine"], str(entry["threads"]), *figures])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--rounds", type=int, help="default 7, short 1")
    parser.add_argument("--steps", type=int, help="of a round; default 20, short 2")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    short = os.environ.get("MATHKERNELS_BENCH_SHORT") == "1"
    parser.add_argument("--short", action="store_true", default=short)
    parser.add_argument("--name", default="deepmath", help="of the JSON file; default: deepmath")
    chosen = parser.parse_args()
    keep_memory()
    where = machine.fingerprint()
    rounds, steps = chosen.rounds or (1 if chosen.short else 7), chosen.steps or (2 if chosen.short else 20)
    entries = measure(rounds, steps, chosen.threads, chosen.short)
    text = markdown(entries)
    print(text)
    if chosen.short:  # no figures to keep
        return
    path = Path(__file__).parent / "results" / f"{chosen.name}.json"
    path.write_text(json.dumps({"machine": where, "timings": entries}, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    print(f"written: {path} and the same table as {path.stem}.md")


if __name__ == "__main__":
    sys.exit(run_script(main))
