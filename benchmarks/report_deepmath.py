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

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trainer_steps
from trainer_steps import ENGINES, Learners

from mathkernels.experiment import configuration
from mathkernels.experiment.terminal import run_script
from mathkernels.studies.mathematics.config import Config
from mathkernels.studies.mathematics.plan import plan
from mathkernels.studies.mathematics.training import Learner

PRESET = Path(__file__).resolve().parents[1] / "configs" / "deepmath-cpu.yaml"
MODELS = ("attentional", "simple")
# quantiles of the preset's lengths, and characters
QUESTIONS = ((0, 0.05, 0.25, 0.5, 0.75, 0.95, 1), (3, 9, 17, 24, 37, 55, 57))
ANSWERS = ((0, 0.05, 0.5, 0.95, 1), (1, 1, 2, 5, 7))
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


def work(short: bool, measured: Callable[[Learners], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Measure all learners on made-up questions."""
    with tempfile.TemporaryDirectory() as name:
        write_questions(Path(name), 2_000 if short else 20_000)
        return measured(learners(Path(name), short))


def loss(learner: Learner) -> float:
    return float(learner.sums[0] / learner.sums[1])


def characters(learner: Learner, step: int) -> int:
    """Characters of the questions and answers of a step."""
    texts = learner.batches.texts(step)
    return int(texts.question_lengths.sum() + texts.answer_lengths.sum())


if __name__ == "__main__":
    sys.exit(run_script(lambda: trainer_steps.main(__doc__, "deepmath", work, loss, characters)))
