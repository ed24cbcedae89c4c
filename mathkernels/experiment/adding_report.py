"""What a training on the adding problem leaves: tables, a picture, weights, predictions, logs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mathkernels.data import adding
from mathkernels.experiment import plots
from mathkernels.experiment.adding_figures import SOLVED, loss_figure
from mathkernels.experiment.adding_training import Plan, Progress, Training
from mathkernels.experiment.optional import load
from mathkernels.experiment.run_folder import STATUS, RunFolder, replacing
from mathkernels.experiment.statistics import gamma_mean, wilson
from mathkernels.experiment.timing import in_words

MODELS = "model"
LOSS_COLUMNS = ("seed", "epoch", "updates", "loss", "val_loss", "within", "seconds")
RUN_COLUMNS = (
    *("seed", "epochs", "updates", "stopped", "best_epoch", "best_loss", "best_val_loss", "within"),
    *("solved_epoch", "solved_updates", "seconds"),
)
SUMMARY_COLUMNS = (
    *("runs", "solved", "rate", "rate_low", "rate_high", "updates", "updates_low", "updates_high"),
    *("updates_min", "updates_max", "val_loss_median", "val_loss_min", "val_loss_max", "within_median"),
)
OUTPUTS = ("loss.csv", "loss.png", "runs.csv", "config_copy.yaml")
Row = Mapping[str, Any]


def loss_rows(seeds: Sequence[int], progress: Sequence[Progress]) -> list[dict[str, Any]]:
    """Return the rows of loss.csv: one for each model and epoch."""
    return [{"seed": seed, **row} for seed, one in zip(seeds, progress, strict=True) for row in one.rows]


def run_rows(seeds: Sequence[int], progress: Sequence[Progress]) -> list[dict[str, Any]]:
    """Return the rows of runs.csv: what the best weights of each model achieve, and when it was solved."""
    rows = []
    for seed, one in zip(seeds, progress, strict=True):
        if not one.rows:
            continue
        last = one.rows[-1]
        best = next((row for row in one.rows if row["epoch"] == one.best_epoch), None)
        solved = next((row for row in one.rows if row["val_loss"] < SOLVED), None)
        row = {"seed": seed, "epochs": last["epoch"], "updates": last["updates"], "seconds": last["seconds"]}
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


def write(folder: RunFolder, run: Training) -> str:
    """Write tables, picture, weights and status as far as the models are; return a summary as text."""
    plan, progress = run.plan, run.progress
    rows, runs = loss_rows(plan.seeds, progress), run_rows(plan.seeds, progress)
    folder.write_csv("loss.csv", rows, LOSS_COLUMNS)
    folder.write_csv("runs.csv", runs, RUN_COLUMNS)
    (folder.path / MODELS).mkdir(exist_ok=True)
    for index, seed in enumerate(plan.seeds):
        tensors = {name: value[index].contiguous() for name, value in run.best.items()}
        about = {"seed": seed, "t": plan.config.dataset.t, "epoch": progress[index].best_epoch}
        with replacing(folder.path / MODELS / f"seed{seed}.safetensors") as temporary:
            load("safetensors.torch").save_file(
                tensors, temporary, {key: str(value) for key, value in about.items()}
            )
    if rows:
        plots.save(loss_figure(rows), [folder.path / "loss.png"], dpi=150)
    rate = run.sequences / run.seconds if run.seconds else 0.0
    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    cost = {
        "seconds": round(run.seconds, 1),
        "sequences": run.sequences,
        "sequences_per_second": round(rate, 1),
    }
    folder.write_json(STATUS, {"status": "finished" if run.finished else "interrupted", **cost, **machine})
    lines = [_line(plan.config.dataset.t, row) for row in runs]
    return "\n".join(
        [*lines, f"{rate:,.0f} sequences/s with {plan.layer}, {in_words(run.seconds)} of training"]
    )


def _line(t: int, row: Row) -> str:
    reached = f"best validation MSE {row.get('best_val_loss', math.nan):.3g}, baseline {adding.BASELINE:.3g}"
    end = f"{row['stopped']} at epoch {row['epochs']} ({row['updates']:,} updates)"
    return f"T {t}, seed {row['seed']}: {end}, {reached}"


class TensorBoard:
    """Logs the losses of each model after an epoch, in a folder of its own. Call it with the training."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder, self._plan = folder, plan
        self._writers: list[Any] = []

    def __call__(self, run: Training) -> None:
        if not self._writers:  # after a resume, what was logged beyond the checkpoint is hidden
            load("tensorboard")  # or a message that names the extra
            writer = load("torch.utils.tensorboard").SummaryWriter
            name = self._plan.config.artifacts.name
            self._writers = [
                writer(str(self._folder / f"{name}-seed{seed}"), purge_step=run.epoch)
                for seed in self._plan.seeds
            ]
        for writer, one in zip(self._writers, run.progress, strict=True):
            if one.rows[-1]["epoch"] == run.epoch:
                for column in ("loss", "val_loss", "within"):
                    writer.add_scalar(column, one.rows[-1][column], run.epoch)
                writer.flush()


def read_models(folder: Path, shapes: Mapping[str, torch.Size]) -> tuple[list[int], dict[str, Tensor]]:
    """Return the seeds of the models of a folder and their weights, stacked as (E,...).

    Args:
        folder: the artefacts of a training.
        shapes: of one model's tensors.

    Raises:
        ValueError: there is no model, or one is damaged or of other shapes.
    """
    paths = sorted((folder / MODELS).glob("seed*.safetensors"))
    if not paths:
        raise ValueError(
            f"artifacts: '{folder}' has no {MODELS}/seed*.safetensors; train it with --mode train"
        )
    held = {int(path.stem.removeprefix("seed")): _read_model(path, shapes) for path in paths}
    return sorted(held), {name: torch.stack([held[seed][name] for seed in sorted(held)]) for name in shapes}


def _read_model(path: Path, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load("safetensors.torch").load_file(path)
    except (OSError, load("safetensors").SafetensorError) as error:
        raise ValueError(f"artifacts: '{path}' is damaged ({error}); train it anew") from error
    for name, shape in shapes.items():
        found = tensors.get(name)
        if found is None or found.shape != shape:
            what = f"{name} {'lacks' if found is None else tuple(found.shape)}"
            needs = f"the configuration needs {tuple(shape)}"
            raise ValueError(f"artifacts: '{path}' is of another model, {what}; {needs}")
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
