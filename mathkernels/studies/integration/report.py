"""What trainings on symbolic integration write besides weights: tables, samples and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mathkernels.data.symbolic import infix, prefix
from mathkernels.data.symbolic.language import END, IDS, START, Tree
from mathkernels.experiment import configuration, plots, run_files, tensor_files
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.studies.integration import answers, figures, plan, published, weights
from mathkernels.studies.integration.batches import picked, problems
from mathkernels.studies.integration.model import Integrator, build, parameters
from mathkernels.studies.integration.plan import SAMPLE_COLUMNS, SCORE_COLUMNS, Plan
from mathkernels.studies.integration.training import COLUMNS

OUTPUTS = run_files.SYMBOLIC
HISTORY, SCORES, SAMPLES, TABLE = "history.csv", "scores.csv", "samples.csv", "table.md"
LOGGED = tuple(name for name, kind in COLUMNS.items() if kind is float)  # by TensorBoard
MAPS = 3  # of attention, besides the project's two problems
Row = Mapping[str, Any]


def best(rows: Sequence[Row]) -> Row:
    """The row of the lowest validation loss, the last one if none is finite."""
    finite = [row for row in rows if np.isfinite(row["val_loss"])]
    return min(finite, key=lambda row: row["val_loss"]) if finite else rows[-1]


def diverged(rows: Sequence[Row]) -> bool:
    """Whether a trial ended in a validation loss that is infinite or NaN."""
    return not np.isfinite(rows[-1]["val_loss"])


def trials(what: Plan, finished: Sequence[Mapping[str, Any]]) -> str:
    """Return the trials that are over beside the project's, as Markdown."""
    own = what.config.methods[0]
    beams = what.config.beams
    head = ["trial", "model", "parameters", "epochs (best)", "val. loss", "token accuracy", "exact match"]
    head += [f"right, beam {one}" for one in beams] + ["s / epoch"]
    head += ["project: epochs", "loss", "token accuracy"]
    lines = [head, ["---"] * len(head)]
    for held in finished:
        name, row = held["rows"][0]["trial"], best(held["rows"])
        trial = what.config.model_params[name]
        kind = f"{'GRU' if trial.is_gru else 'LSTM'} {trial.num_units}, {trial.num_heads} heads"
        cells = [name, f"{kind}, {trial.optimizer}", f"{parameters(build(trial, what.config)):,}"]
        cells += [f"{held['rows'][-1]['epoch']} ({row['epoch']})", f"{row['val_loss']:.3f}"]
        cells += [f"{row['val_token_accuracy']:.3f}", f"{row['val_exact_match']:.3f}"]
        for one in beams:
            cells.append(_right(held["scores"], own, one, legal=True))
        cells.append(f"{held['rows'][-1]['seconds'] / held['rows'][-1]['epoch']:.1f}")
        theirs = published.TRIALS.get(name)
        others = ["", "", ""]
        if theirs is not None:
            others = [str(theirs.stopped), f"{theirs.loss:.3f}", f"{theirs.token_accuracy:.3f}"]
        lines.append([*cells, *others])
    return markdown(lines)


def _right(scores: Sequence[Row], test: str, beams: int, legal: bool) -> str:
    for row in scores:
        if (row["test"], row["beams"], row["legal"]) == (test, beams, int(legal)):
            return share(row["right"], row["undecided"], row["problems"])
    return ""


def share(right: int, undecided: int, of: int) -> str:
    """Return a share under both conventions for what is undecided: wrong, and right."""
    most = f" to {(right + undecided) / of:.3f}" if undecided else ""
    return f"{right / of:.3f}{most}" if of else ""


def decoding(finished: Sequence[Mapping[str, Any]], tests: Sequence[str]) -> str:
    """Return right and invalid answers by the way of decoding, as Markdown."""
    head = ["trial", "beams", "grammar", "right", "right, first answer", "exact match"]
    head += ["invalid first answers", "invalid outputs"]
    lines = [head, ["---"] * len(head)]
    for row in plan.joined([*finished], "scores"):
        if row["test"] not in tests:
            continue
        of = row["problems"]
        lines.append(
            [
                row["trial"],
                str(row["beams"]),
                "yes" if row["legal"] else "no",
                share(row["right"], row["undecided"], of),
                share(row["first_right"], row["first_undecided"], of),
                f"{row['exact'] / of:.3f}",
                f"{row['first_invalid']} of {of}",
                f"{row['invalid']} of {row['outputs']}",
            ]
        )
    return markdown(lines)


def crossed(what: Plan, finished: Sequence[Mapping[str, Any]]) -> str:
    """Return right answers to problems of each generator beside the paper's, as Markdown."""
    tests, most = [*what.parts.tests], max(what.config.beams)
    head = ["trial", "trained on", *(f"{test} (beam {most})" for test in tests)]
    lines = [head, ["---"] * len(head)]
    for held in finished:
        cells = [_right(held["scores"], test, most, legal=True) for test in tests]
        lines.append([held["rows"][0]["trial"], what.config.method, *cells])
    theirs = published.CROSS[what.config.method]
    order = ("fwd", "bwd", "ibp")
    cells = [f"{theirs[order.index(test)] / 100:.3f}" for test in tests]
    lines.append(["published (transformer, beam 10)", what.config.method, *cells])
    return markdown(lines)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return a table, its head and rule first."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def write(folder: RunFolder, what: Plan, finished: Sequence[Mapping[str, Any]]) -> str:
    """Write tables and pictures of the trials that are over; return the text of the tables."""
    configuration.save(what.config, folder.path / "config.yaml")
    if not finished:
        return "no trial is done yet"
    rows = {held["rows"][0]["trial"]: held["rows"] for held in finished}
    folder.write_csv(HISTORY, plan.joined([*finished], "rows"), [*COLUMNS])
    folder.write_csv(SCORES, plan.joined([*finished], "scores"), [*SCORE_COLUMNS])
    folder.write_csv(SAMPLES, plan.joined([*finished], "samples"), [*SAMPLE_COLUMNS])
    plots.save(figures.curves(rows), [folder.path / "curves.png"], dpi=200)
    answered = {held["rows"][0]["trial"] for held in finished if held["scores"]}
    models = {name: _loaded(folder, what, name) for name in rows if name in answered}
    if not models:
        return "no trial has weights: all have diverged"
    chosen = min(models, key=lambda name: best(rows[name])["val_loss"])
    plots.save(figures.attention(maps(what, models[chosen])), [folder.path / "attention.png"], dpi=200)
    own = [test for test in what.parts.tests if test in what.config.methods]
    tables = [trials(what, finished), decoding(finished, own), crossed(what, finished)]
    text = "\n\n".join([heading(what, chosen, rows[chosen]), *tables, project_problems(models)])
    folder.write_text(TABLE, text + "\n")
    return text


def heading(what: Plan, chosen: str, rows: Sequence[Row]) -> str:
    """Return the facts that stand above the tables."""
    own = what.config
    words = "words of answers" if own.masked_loss else "words and padding"
    logits = "linear logits" if own.output_activation == "linear" else "tanh logits"
    how = [logits, f"loss over {words}", "shuffled" if own.shuffle else "in the order of the file"]
    how.append("the decoder begins with " + ("the encoder's state" if own.encoder_state else "0"))
    count = min(own.test_most, *(len(part) for part in what.parts.tests.values()))
    return (
        f"{len(what.parts.train):,} pairs of {own.method}; {', '.join(how)}. {count} problems of each test"
        f" set are solved. Best trial by validation loss: {chosen}, {best(rows)['val_loss']:.4f}.\n"
        "Token accuracy and exact match are of validation with the right words given; right: an answer whose"
        " derivative is the problem is among the beams, from undecided ones counted as wrong to counted as"
        " right where there are any."
    )


def _loaded(folder: RunFolder, what: Plan, name: str) -> Integrator:
    model = build(what.config.model_params[name], what.config)
    tensors, _ = tensor_files.read(folder.path / weights.name_of(name))
    model.load_state_dict(tensors)
    return model


def project_problems(models: Mapping[str, Integrator]) -> str:
    """Return what each trial answers to the project's two problems, greedily, beside what its trials did."""
    head = ["problem", "trial", "here", "project"]
    lines = [head, ["---"] * len(head)]
    for problem, theirs in published.SAMPLES.items():
        for name, model in models.items():
            answer = _greedy(model, infix.read(problem))
            shown = " ".join(answer.words) if answer.tree is None else infix.write(answer.tree)
            lines.append([f"y' = {problem}", name, f"y = {shown}", theirs.get(name, "")])
    return markdown(lines)


def _greedy(model: Integrator, problem: Tree, most: int = 40) -> answers.Answer:
    return answers.decode(model, *answers.encoded([problem]), 1, most, legal=True)[0][0]


@torch.no_grad()
def maps(what: Plan, model: Integrator) -> list[tuple[str, list[str], list[str], np.ndarray]]:
    """Return titles, problems, answers with their end, and the mean weights over heads (T,S)."""
    test = next(name for name in what.parts.tests if name in what.config.methods)
    part = what.parts.tests[test]
    rows = picked(part, what.config.test_most, what.config.seed)
    lengths = part.lengths[rows].sum(1)
    asked = [infix.read(problem) for problem in published.SAMPLES]
    short = rows[np.argsort(lengths, kind="stable")[len(rows) // 4 :]][:MAPS]
    asked += [problem for problem, _ in problems(part, short)]
    found = []
    for problem in asked:
        answer = [*_greedy(model, problem).words, END]
        source, count = answers.encoded([problem])
        target = torch.tensor([IDS[word] for word in [START, *answer[:-1]]])[:, None]
        _, alpha = model(source, target, count, return_weights=True)
        title = f"y' = {infix.write(problem)}"
        found.append((title, prefix.words(problem), answer, alpha[:, 0].mean(1).numpy()))
    return found
