"""What a Deep Math training writes besides its weights: tables, samples and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mathkernels.experiment import configuration, plots, run_files, tensor_files
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.experiment.schedule import NEVER
from mathkernels.experiment.training import Training
from mathkernels.studies.mathematics import figures, published
from mathkernels.studies.mathematics.batches import EXTRAPOLATE, INTERPOLATE, VALID, Set, read
from mathkernels.studies.mathematics.evaluation import modules_in
from mathkernels.studies.mathematics.models import Attentional, Model, parameters
from mathkernels.studies.mathematics.plan import Plan

OUTPUTS = run_files.MATHEMATICS
LOG, CURVES, SAMPLES, TABLE = "log.jsonl", "curves.csv", "samples.csv", "table.md"
SAMPLE_COLUMNS = ("set", "module", "question", "answer", "prediction", "right")
SAMPLED = 60  # of each test set
MAPS = 5
LINEAR = "algebra__linear_1d"
Row = Mapping[str, Any]


def summary(plan: Plan, model: Model) -> str:
    """Return what is trained on what, for before the training."""
    sets, lines = plan.sets, []
    modules = ", ".join(name.partition("__")[2] or name for name in plan.data.train.modules)
    lines.append(f"{plan.config.model} LSTM, {parameters(model):,} parameters; modules: {modules}")
    lines.append(
        f"{len(sets.rows):,} questions train" + (f", {sets.too_long:,} too long" if sets.too_long else "")
    )
    for one in sets.tests:
        seen = f", {one.removed:,} removed that stand in the training set" if plan.config.remove_seen else ""
        lines.append(f"{one.name}: {len(one.rows):,} questions{seen}")
    return "\n".join([*lines, *(f"note: {note}" for note in plan.data.notes)])


def comparable(plan: Plan) -> bool:
    """Whether the data are as difficult as the published ones."""
    return plan.config.generate.entropy is None and plan.config.train_level == "*"


def table(row: Row, plan: Plan) -> str:
    """Return exact match by module beside what is published, as Markdown."""
    head = ["module", "set", "here", "DeepMind simple", "DeepMind attentional"]
    head += ["project, simple, epochs 1, 2, 3", "project, attentional, epoch 1"]
    lines = [head, ["---"] * len(head)]
    for name in (INTERPOLATE, EXTRAPOLATE):
        for module in modules_in(row, name):
            found = published.of(name, module)
            others = ["", "", "", ""]
            if found is not None:
                epochs = f"{found.epoch_1:.2f}, {found.epoch_2:.2f}, {found.epoch_3:.2f}"
                others = [f"{found.deepmind_simple:.3g}", f"{found.deepmind_attentional:.3g}", epochs]
                others.append(f"{found.attentional_epoch_1:.3f}")
            lines.append([figures.short(module), name, f"{row[f'{name}/{module}']:.3f}", *others])
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    if comparable(plan):
        return text
    scale = (
        "Here the questions are smaller than the published ones and the model is another size: the columns"
    )
    return f"{text}\n\n{scale} differ in what they measure."


def linear_table(rows: Sequence[Row]) -> str:
    """Return the exact match on validation by epoch beside the project's, as Markdown."""
    lines = ["| epoch | here, validation | project, validation |", "| --- | --- | --- |"]
    for row in rows:
        if row["epoch"] in published.LINEAR_1D:
            here, theirs = row[f"{VALID}_exact_match"], published.LINEAR_1D[row["epoch"]]
            lines.append(f"| {row['epoch']} | {here:.3f} | {theirs:.3f} |")
    scale = "The project's epochs have 666,666 questions, its layers 256 units."
    return "\n".join([*lines, "", scale])


def write(folder: RunFolder, plan: Plan, run: Training) -> str:
    """Write tables and pictures of a training that has ended or was interrupted; return the table's text."""
    configuration.save(plan.config, folder.path / "config.yaml")
    rows, (record,) = run.rows(), run.records
    folder.write_csv(CURVES, rows, [*run.table.columns])
    if record.best_epoch == NEVER:
        return "No epoch has been evaluated."
    best = tensor_files.row_of(run.best, 0)
    draw(folder, plan, rows)
    model = plan.model()
    model.load_state_dict(best)
    model.eval()
    found = samples(plan, model)
    folder.write_csv(SAMPLES, found, SAMPLE_COLUMNS)
    if isinstance(model, Attentional):
        plots.save(figures.attention(maps(plan, model)), [folder.path / "attention.png"], dpi=200)
    row = next(one for one in rows if one["epoch"] == record.best_epoch)
    tables = [table(row, plan), *([linear_table(rows)] if plan.data.train.modules == [LINEAR] else [])]
    text = "\n\n".join([heading(plan, run, row), *tables, shown(found)])
    folder.write_text(TABLE, text + "\n")
    return text


def heading(plan: Plan, run: Training, row: Row) -> str:
    """Return the facts that stand above the table."""
    names = [one.name for one in plan.sets.tests]
    parts = [f"{name} {row[f'{name}_exact_match']:.4f}" for name in names]
    what = (
        f"{plan.config.model} LSTM, best epoch by {run.table.monitor.removesuffix('_error')}: {row['epoch']}"
    )
    counts = [f"{one.name} {len(one.rows):,} (removed {one.removed:,})" for one in plan.sets.tests]
    seconds = f"{run.seconds:.0f} s in steps of training"
    lines = [f"{what} of {run.epoch}. Exact match: {', '.join(parts)}."]
    lines.append(f"Questions: {len(plan.sets.rows):,} train, {', '.join(counts)}. {seconds}.")
    return "\n".join([*lines, *(f"Note: {note}." for note in plan.data.notes)])


def draw(folder: RunFolder, plan: Plan, rows: Sequence[Row]) -> None:
    """Write the pictures that need the table alone."""
    names = [one.name for one in plan.sets.tests]
    plots.save(figures.curves(rows, names), [folder.path / "curves.png"], dpi=200)
    frames = []
    for row in rows:
        frames.append(folder.path / f"bars-epoch{row['epoch']}.png")
        plots.save(figures.bars(row, plan.config.model, comparable(plan)), frames[-1:], dpi=150)
    figures.animate(frames, folder.path / "bars.gif")


def _spread(one: Set, count: int) -> np.ndarray:
    return one.rows[:: max(1, len(one.rows) // count)][:count]


def samples(plan: Plan, model: Model) -> list[dict[str, Any]]:
    """Return questions of the test sets with right and predicted answers, decoded greedily."""
    found = []
    for one in plan.sets.tests:
        rows = _spread(one, SAMPLED)
        predictions = plan.encoding.greedy(model, read(one.corpus, rows, plan.encoding))
        modules = one.corpus.modules_of(rows)
        for row, module, prediction in zip(rows, modules, predictions, strict=True):
            question, answer = one.corpus.pair(int(row))
            own = {"set": one.name, "module": one.corpus.modules[module], "question": question}
            found.append(
                {**own, "answer": answer, "prediction": prediction, "right": int(prediction == answer)}
            )
    return found


def shown(found: Sequence[Row], count: int = 12) -> str:
    """Return some samples as lines of text."""
    lines = [
        f"{row['question']} -> {row['prediction']}" + ("" if row["right"] else f"   (right: {row['answer']})")
        for row in found[:: max(1, len(found) // count)]
    ]
    return "```\n" + "\n".join(lines) + "\n```"


def maps(plan: Plan, model: Attentional) -> list[tuple[str, str, np.ndarray]]:
    """Return questions, answers with their end, and the weights of attention (characters, S)."""
    one = plan.sets.tests[0]
    rows, found = _spread(one, MAPS), []
    batch = plan.encoding.encode(read(one.corpus, rows, plan.encoding))
    alpha, first = model.weights(batch), model.thinking(batch)
    for place, row in enumerate(rows):
        question, answer = one.corpus.pair(int(row))
        own = alpha[first : first + len(answer) + 1, place, : len(question)]
        found.append((question, answer + "\n", own.numpy()))
    return found
