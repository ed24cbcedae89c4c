"""Time training steps of symbolic integration on our layers and on torch's, in one interleaved run.

    python benchmarks/report_symbolic.py [--short] [--rounds 7] [--steps 20] [--threads 1 2]

The models are the project's trials 1, 3 and 4 (64 and 256 units), in batches of 128 pairs of about one
length, as examples/train_symbolic.py trains them, with and without --stock. Pairs are drawn here: derivatives
of up to 6 operators. Before anything is timed both engines train three steps from the same start, and their
losses must agree. Prints milliseconds of a step (median and least of the rounds) and words of problems and
answers a second; writes benchmarks/results/symbolic.json and .md, not in short mode.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import trainer_steps
from trainer_steps import ENGINES, Learners

from mathkernels.data.symbolic.generate import Request, generate
from mathkernels.data.symbolic.pairs import Pairs
from mathkernels.experiment.terminal import run_script
from mathkernels.studies.integration.batches import read
from mathkernels.studies.integration.config import Config, published_trials
from mathkernels.studies.integration.training import Learner

TRIALS = ("trial_1", "trial_3", "trial_4")


def work(short: bool, measured: Callable[[Learners], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Measure all learners on drawn pairs."""
    with tempfile.TemporaryDirectory() as name:
        pairs = Pairs("bwd", most_operators=6, most_words=60)
        generate(Path(name) / "bwd", Request(pairs, 2_000 if short else 20_000, held_out=100), workers=1)
        config = Config(data_path=Path(name))
        parts, found = read(config), {}
        for label, trial in published_trials().items():
            if label in TRIALS:
                own = replace(trial, num_units=16, num_heads=2) if short else trial
                label = f"{label}: {'GRU' if own.is_gru else 'LSTM'} {own.num_units}, {own.num_heads} heads"
                for engine in ENGINES:
                    found[label, engine] = Learner(config, own, parts, stock=engine != "ours")
        return measured(found)


def loss(learner: Learner) -> float:
    return learner.sums.losses / learner.sums.words


def words(learner: Learner, step: int) -> int:
    """Words of the problems and answers of a step, ends included."""
    batch = learner.batches.batch(step)
    return int(batch.lengths.sum()) + len(batch.targets)


if __name__ == "__main__":
    sys.exit(run_script(lambda: trainer_steps.main(__doc__, "symbolic", work, loss, words)))
