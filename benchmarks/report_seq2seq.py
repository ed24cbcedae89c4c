"""Time epochs of the equation learner: ours, stock torch, JAX in turns; writes results/seq2seq.json and .md.

    python benchmarks/report_seq2seq.py [--rounds 5] [--threads 2] [--models 1 5] [--short]

Every participant first trains 20 updates from the same start, and parameters must agree. --short proves,
times a moment and writes nothing. JAX takes the threads of the process's processors, so these are limited.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

from mathkernels.experiment.terminal import run_script

RESULTS = Path(__file__).parent / "results"
EPOCHS = 200


def measured(models: int, rounds: int, minibatches: int | None) -> dict[str, list[float]]:
    """Return the seconds of every round by participant."""
    from rivals.seq2seq_jax import JaxEpoch
    from rivals.seq2seq_torch import StockTorch
    from seq2seq import Ours, assert_equal_answers, seconds, start

    given = start(models)
    participants = [Ours(given), StockTorch(given), JaxEpoch(given)]
    for participant in participants[1:]:
        assert_equal_answers(given, Ours(given), participant)
    found: dict[str, list[float]] = {participant.name: [] for participant in participants}
    for round_ in range(rounds + 1):
        for participant in participants:
            taken = seconds(participant, minibatches)
            if round_:  # the first warms up
                found[participant.name].append(taken)
    return found


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| seeds | threads | participant | s per epoch, median | least | 200 epochs, s | times as long |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        ours = statistics.median(result["seconds"]["mathkernels"])
        for name, values in result["seconds"].items():
            median = statistics.median(values)
            lines.append(
                f"| {result['models']} | {result['threads']} | {name} | {median:.4f} | {min(values):.4f} "
                f"| {EPOCHS * median:.1f} | {median / ours:.1f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    # before torch and JAX start their threads
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import machine
    import torch

    torch.set_num_threads(options.threads)
    where = machine.fingerprint()
    rounds, minibatches = (1, 4) if options.short else (options.rounds, None)
    results = [
        {"models": m, "threads": options.threads, "seconds": measured(m, rounds, minibatches)}
        for m in options.models
    ]
    text = table(results)
    print(text)
    if options.short:
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "seq2seq.json").write_text(
        json.dumps({"machine": where, "results": results}, indent=1) + "\n", encoding="utf-8"
    )
    heading = (
        "# Epochs of the equation learner\n\nWritten by `benchmarks/report_seq2seq.py`; the machine stands in"
    )
    (RESULTS / "seq2seq.md").write_text(
        f"{heading}\n[seq2seq.json](seq2seq.json).\n\n{text}\n", encoding="utf-8"
    )


if __name__ == "__main__":
    sys.exit(run_script(main))
