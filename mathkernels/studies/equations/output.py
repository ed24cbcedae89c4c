"""What a training of the equation learner prints and writes: tables, figures and the best weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mathkernels.data.equation_sets import Part, Sets, decode
from mathkernels.data.equations import END
from mathkernels.experiment import configuration, plots, run_files
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.experiment.schedule import NEVER, Row
from mathkernels.experiment.training import Training
from mathkernels.studies.equations import activations as inside
from mathkernels.studies.equations import metrics
from mathkernels.studies.equations import plots as figures
from mathkernels.studies.equations.config import Config
from mathkernels.studies.equations.scores import Engine
from mathkernels.studies.equations.training import CURVE_COLUMNS, CURVES, diverged
from mathkernels.studies.equations.weights import WEIGHTS, write_weights

CONFIG, REPORT, ACTIVATIONS = "config.yaml", "report.txt", "activations.ansi"
OUTPUTS = run_files.EQUATIONS
STRINGS = 12  # questions beside each other in the figure of one unit
ACCURACIES = {
    "train_character_accuracy": "training, characters",
    "test_character_accuracy": "test, characters",
    "test_exact_match": "test, whole equations",
}


def example_rows(part: Part, count: int, seed: int) -> list[int]:
    """Return which equations of a set are shown."""
    source = np.random.default_rng(seed)
    return source.choice(len(part), min(count, len(part)), replace=False).tolist()


def before(config: Config, sets: Sets, engine: Engine) -> str:
    """Return what the first network does before training: its scores and five answers."""
    scores, test = engine.evaluate(sets.test.inputs, sets.test.targets), sets.test
    accuracy = f"right characters {scores.character_accuracy[0]:.4f}, equations {scores.exact_match[0]:.4f}"
    rows = example_rows(test, 5, config.data.seed)
    shown = metrics.examples(config.data, test, engine.predict(test.inputs)[0], rows)
    return f"Before training: test loss {scores.loss[0]:.4f}, {accuracy}\n\n{shown}\n"


def write(config: Config, sets: Sets, run: Training, engine: Engine, folder: RunFolder) -> str:
    """Write all files of a training that has ended or was interrupted, and return the report's text.

    Args:
        config: of the training.
        sets: built from it.
        run: with the best weights.
        engine: made with these weights.
        folder: of the run.
    """
    configuration.save(config, folder.path / CONFIG)
    write_weights(config, run, folder.path / WEIGHTS)
    folder.write_csv(CURVES, run.rows(), CURVE_COLUMNS)
    answers = {"test": engine.predict(sets.test.inputs), "new": engine.predict(sets.new.inputs)}
    runs, mistakes = [], []
    lost, learned = diverged(run), [e for e, one in enumerate(run.records) if one.best_epoch != NEVER]
    for e, seed in enumerate(config.train.seeds):
        test, new = (
            metrics.accuracies(sets.test, answers["test"][e]),
            metrics.accuracies(sets.new, answers["new"][e]),
        )
        one = run.records[e]
        runs.append(metrics.run_row(seed, max(one.best_epoch, 0), one.best, lost[e], test, new))
        for name, part in (("test", sets.test), ("new", sets.new)) if e in learned else ():
            mistakes += metrics.mistakes(config.data, part, answers[name][e], seed, name)
    folder.write_csv("runs.csv", runs, metrics.RUN_COLUMNS)
    folder.write_csv("mistakes.csv", mistakes, metrics.MISTAKE_COLUMNS)
    _draw_curves(run.rows(), folder.path)
    if not learned:
        text = f"{metrics.table(runs)}\n\nNo network has a finite loss on the test set, so none answers."
        folder.write_text(REPORT, text + "\n")
        return text
    strata = metrics.strata(sets.new, answers["new"][learned])
    positions = metrics.positions(config.data, sets.new, answers["new"][learned])
    folder.write_csv("strata.csv", strata, metrics.STRATUM_COLUMNS)
    folder.write_csv("positions.csv", positions, metrics.POSITION_COLUMNS)
    best = int(np.argmin([one.best for one in run.records]))
    _draw_mistakes(config, sets.new, answers["new"][best], mistakes, best, folder.path)
    look = _look_inside(config, run.best, sets.test, best, folder)
    shown = metrics.examples(config.data, sets.test, answers["test"][best], example_rows(sets.test, 20, 0))
    parts = [metrics.table(runs), metrics.strata_table(strata), *metrics.claims(mistakes, sets.new)]
    text = "\n\n".join([*parts, f"Network of seed {config.train.seeds[best]}:\n{shown}"])
    folder.write_text(REPORT, text + "\n")
    return f"{text}\n\nLayers while it reads {look!r}: see {ACTIVATIONS}"


def _draw_curves(curve: list[Row], path: Path) -> None:
    if not curve:
        return
    title = "Share of right characters, and of equations with every character right"
    accuracy = figures.curves(curve, ACCURACIES, title, "acc")
    losses = {"loss": "training", "test_loss": "test"}
    loss = figures.curves(curve, losses, "Cross-entropy, mean over characters", "loss")
    plots.save(accuracy, [path / "accuracy.png"], dpi=200)
    plots.save(loss, [path / "loss.png"], dpi=200)


def _draw_mistakes(
    config: Config, new: Part, answers: np.ndarray, mistakes: list[dict[str, Any]], best: int, path: Path
) -> None:
    """Draw the mistakes of the best network on the new equations, and the sizes of those of all networks."""
    if not len(new):
        return
    wrong = (answers != new.targets).any(1)
    title = (
        f"{int(wrong.sum())} of {len(new):,} new equations wrong, network of seed {config.train.seeds[best]}"
    )
    plots.save(figures.scatter(new, wrong, title), [path / "errors.png"], dpi=figures.SCATTER_DPI)
    sizes = [row["error"] for row in mistakes if row["set"] == "new"]
    own = figures.histogram(sizes, f"Wrong answers to new equations, {len(config.train.seeds)} networks")
    plots.save(own, [path / "error_sizes.png"], dpi=200)


def _look_inside(
    config: Config, weights: Mapping[str, Tensor], part: Part, best: int, folder: RunFolder
) -> str:
    """Write what the best network's units do; return the question that it reads."""
    model = inside.model_of(config, weights, best)
    layers = inside.activations(model, part.inputs[:1])
    folder.write_text(ACTIVATIONS, inside.greyscale({name: own[0] for name, own in layers.items()}) + "\n")
    questions = [text.replace(END, "\N{EMPTY SET}") for text in decode(part.inputs, config.data.alphabet)]
    characters = [*questions[0].ljust(config.data.question_length)]
    units = inside.reading(model, part, range(min(STRINGS, len(part))))
    title = "Units of the first LSTM as each character is read"
    plots.save(figures.neurons(units[0], characters, title), [folder.path / "neurons.png"], dpi=200)
    unit = inside.liveliest(units)
    drawn = figures.neuron(units[:, :, unit], questions[: len(units)], f"Unit {unit} of the first LSTM")
    plots.save(drawn, [folder.path / "neuron.png"], dpi=200)
    return part.equations[0].text
