"""What a training on the adding problem leaves: tables, a picture, weights, predictions, logs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mathkernels.data import adding, ranges
from mathkernels.experiment import plots, run_files, tensor_files
from mathkernels.experiment.run_folder import CONFIG, STATUS, RunFolder, replacing
from mathkernels.experiment.schedule import NEVER, Record
from mathkernels.experiment.statistics import gamma_mean, wilson
from mathkernels.experiment.training import Training
from mathkernels.studies.adding.figures import SOLVED, loss_figure
from mathkernels.studies.adding.training import COLUMNS, Plan
from mathkernels.studies.arithmetic.timing import in_words

MODELS = "model"
LOSS_COLUMNS = tuple(COLUMNS)
LOGGED = ("loss", "val_loss", "within")
RUN_COLUMNS = (
    *("seed", "epochs", "updates", "stopped", "best_epoch", "best_loss", "best_val_loss", "within"),
    *("solved_epoch", "solved_updates", "seconds"),
)
SUMMARY_COLUMNS = (
    *("runs", "solved", "rate", "rate_low", "rate_high", "updates", "updates_low", "updates_high"),
    *("updates_min", "updates_max", "val_loss_median", "val_loss_min", "val_loss_max", "within_median"),
)
OUTPUTS = run_files.ADDING
_SEED = re.compile(r"seed(\d+)")
_DIVERGED = "their loss is infinite or NaN, and weights are those of the best epoch before, if there is one"
Row = Mapping[str, Any]


def run_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the rows of runs.csv: what the best weights of each model achieve, and when it was solved."""
    rows = []
    for one in records:
        if not one.rows:
            continue
        last = one.rows[-1]
        best = next((row for row in one.rows if row["epoch"] == one.best_epoch), None)
        solved = next((row for row in one.rows if row["val_loss"] < SOLVED), None)
        row = {name: last[name] for name in ("seed", "updates", "seconds")} | {"epochs": last["epoch"]}
        row |= {"stopped": one.stopped or "interrupted"}
        if best is not None:
            row |= {"best_epoch": best["epoch"], "best_loss": best["loss"], "best_val_loss": best["val_loss"]}
            row |= {"within": best["within"]}
        if solved is not None:
            row |= {"solved_epoch": solved["epoch"], "solved_updates": solved["updates"]}
        rows.append(row)
    return rows


def summary_row(rows: Sequence[Row]) -> dict[str, Any]:
    """Return how many of the runs are solved (Wilson's interval), after how many updates (gamma), and errors.

    Numbers of updates are those of solved runs only.
    """
    updates = [row["solved_updates"] for row in rows if "solved_updates" in row]
    rate, mean = wilson(len(updates), len(rows)), gamma_mean(updates)
    result: dict[str, Any] = {"runs": len(rows), "solved": len(updates)}
    result |= {"rate": rate.value, "rate_low": rate.low, "rate_high": rate.high}
    result |= {"updates": mean.value, "updates_low": mean.low, "updates_high": mean.high}
    if updates:
        result |= {"updates_min": min(updates), "updates_max": max(updates)}
    errors = [row.get("best_val_loss", math.nan) for row in rows]
    result |= {
        "val_loss_median": float(np.median(errors)),
        "val_loss_min": min(errors),
        "val_loss_max": max(errors),
    }
    return {**result, "within_median": float(np.median([row.get("within", math.nan) for row in rows]))}


def write(folder: RunFolder, plan: Plan, run: Training) -> str:
    """Write tables, picture, weights and status as far as the models are; return a summary as text."""
    rows, runs = [row for one in run.records for row in one.rows], run_rows(run.records)
    folder.write_csv("loss.csv", rows, LOSS_COLUMNS)
    folder.write_csv("runs.csv", runs, RUN_COLUMNS)
    _write_models(folder, plan, run)
    if rows:
        plots.save(loss_figure(rows), [folder.path / "loss.png"], dpi=150)
    rate = run.samples / run.seconds if run.seconds else 0.0
    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    cost = {
        "seconds": round(run.seconds, 1),
        "sequences": run.samples,
        "sequences_per_second": round(rate, 1),
    }
    diverged = sum(one.stopped == "diverged" for one in run.records)
    status = "finished" if run.finished else "interrupted"
    folder.write_json(STATUS, {"status": status, "diverged": diverged, **cost, **machine})
    lines = [_line(plan.config.dataset.t, row) for row in runs]
    if diverged:
        lines.append(f"{diverged} of {len(run.records)} models diverged: {_DIVERGED}")
    return "\n".join(
        [*lines, f"{rate:,.0f} sequences/s with {plan.layer}, {in_words(run.seconds)} of training"]
    )


def _write_models(folder: RunFolder, plan: Plan, run: Training) -> None:
    """Write the best weights of every model that has some; before a first finite loss there are none."""
    (folder.path / MODELS).mkdir(exist_ok=True)
    for index, seed in enumerate(plan.seeds):
        path, epoch = folder.path / MODELS / f"seed{seed}.safetensors", run.records[index].best_epoch
        if epoch == NEVER:
            path.unlink(missing_ok=True)
            continue
        about = {"seed": seed, "t": plan.config.dataset.t, "epoch": epoch}
        tensors = tensor_files.row_of(run.best, index)
        tensor_files.write(path, tensors, {key: str(value) for key, value in about.items()})


def _line(t: int, row: Row) -> str:
    reached = f"best validation MSE {row.get('best_val_loss', math.nan):.3g}, baseline {adding.BASELINE:.3g}"
    end = f"{row['stopped']} at epoch {row['epochs']} ({row['updates']:,} updates)"
    return f"T {t}, seed {row['seed']}: {end}, {reached}"


def log_names(plan: Plan) -> dict[int, str]:
    """Return the folder of TensorBoard's logs of each model by its seed."""
    return {seed: f"{plan.config.artifacts.name}-seed{seed}" for seed in plan.seeds}


def read_models(folder: Path, shapes: Mapping[str, torch.Size]) -> tuple[list[int], dict[str, Tensor]]:
    """Return the seeds of the models of a folder's run and their weights, stacked as (E,...).

    Args:
        folder: the artefacts of a training. Weights of other seeds than its configuration's are not its.
        shapes: of one model's tensors.

    Raises:
        ValueError: there is no model, or one is damaged or of other shapes.
    """
    own = run_seeds(folder)
    paths = {
        seed: path
        for path in sorted((folder / MODELS).glob("seed*.safetensors"))
        if (match := _SEED.fullmatch(path.stem)) and (own is None or int(match[1]) in own)
        for seed in [int(match[1])]
    }
    if not paths:
        what = "train it with --mode train" if own is None else "its models diverged, or train it anew"
        raise ValueError(f"artifacts: '{folder}' has no {MODELS}/seed*.safetensors; {what}")
    needed = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    held = {seed: _read_model(path, needed) for seed, path in sorted(paths.items())}
    return [*held], {name: torch.stack([held[seed][name] for seed in held]) for name in shapes}


def run_seeds(folder: Path) -> range | None:
    """Return the seeds of the models of a folder's run, None if the folder has no configuration.

    Raises:
        ValueError: the configuration does not say them.
    """
    path = folder / CONFIG
    if not path.is_file():
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(held, dict) or not isinstance(held.get("optim"), dict):
            raise ValueError("it lacks optim")
        first = tensor_files.whole(held["optim"], "seed", 0, ranges.LAST_SEED)
        return range(first, first + tensor_files.whole(held, "models", 1, ranges.MOST))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"artifacts: '{path}' is damaged ({error}); train it anew") from error


def _read_model(path: Path, needed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    try:
        tensors, _ = tensor_files.read(path)
    except ValueError as error:
        raise ValueError(f"artifacts: '{path}' is damaged ({error}); train it anew") from error
    for name, value in needed.items():
        found = tensors.get(name)
        if found is None or found.shape != value.shape:
            what = f"{name} {'lacks' if found is None else tuple(found.shape)}"
            needs = f"the configuration needs {tuple(value.shape)}"
            raise ValueError(f"artifacts: '{path}' is of another model, {what}; {needs}")
    try:
        tensor_files.match(tensors, needed)
    except ValueError as error:
        raise ValueError(f"artifacts: '{path}' {error}") from error
    return tensors


def write_predictions(folder: Path, seeds: Sequence[int], data: adding.Sequences, y_hat: np.ndarray) -> str:
    """Write pred.npz (x, y, y_hat) and pred.json (errors of each model); return the latter as text.

    Args:
        folder: of the artefacts.
        seeds: of the E models.
        data: N new sequences.
        y_hat: their answers, (E,N).
    """
    errors = y_hat.astype(np.float64) - data.targets
    share = (np.abs(errors) < adding.RIGHT).mean(axis=1)
    measured = [
        {"seed": seed, "mse": float(np.square(errors[index]).mean()), "within": float(share[index])}
        for index, seed in enumerate(seeds)
    ]
    about = {"sequences": len(data), "baseline": adding.BASELINE, "right_below": adding.RIGHT}
    with replacing(folder / "pred.npz") as temporary:
        np.savez(temporary, x=data.inputs(slice(None)).transpose(1, 0, 2), y=data.targets, y_hat=y_hat)
    with replacing(folder / "pred.json") as temporary:
        temporary.write_text(json.dumps({**about, "models": measured}, indent=2) + "\n", encoding="utf-8")
    lines = [f"{len(data):,} new sequences; always answering 1 has an error of {adding.BASELINE:.4f}"]
    for one in measured:
        lines.append(
            f"seed {one['seed']}: MSE {one['mse']:.3g}, |error| < {adding.RIGHT} for {one['within']:.1%}"
        )
    return "\n".join(lines)
