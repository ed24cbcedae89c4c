"""The loop around a training on the adding problem: checkpoints, the progress bar, Ctrl-C."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from mathkernels.experiment import tensor_files
from mathkernels.experiment.optional import load
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.studies.adding.training import Plan, Training

SAVE_SECONDS = 10.0
STATE = "state"  # of a checkpoint: its JSON text


def train(plan: Plan, folder: RunFolder, log: Callable[[Training], None] | None = None) -> Training:
    """Train to the end or until Ctrl-C, from the folder's checkpoint if there is one.

    Args:
        plan: what to train.
        folder: that has been begun.
        log: called after each epoch.

    Returns:
        The training; it is `finished` unless Ctrl-C came, and then as of the last whole epoch or later.
    """
    run = Training(plan)
    if folder.checkpoint.exists():
        resume(run, folder)
    left = (
        plan.config.train.epochs * run.per_epoch - run.updates
    )  # updates of a model that goes on to the end
    total = run.sequences + left * plan.config.train.batch * len(run.active)
    bar = load("tqdm").tqdm(
        total=total, initial=run.sequences, unit=" sequences", unit_scale=True, disable=None, smoothing=0.05
    )
    last = time.monotonic()
    try:
        while not run.finished:
            _advance(run, bar, log)
            if run.finished or time.monotonic() - last >= SAVE_SECONDS:
                save(run, folder)
                last = time.monotonic()
    except KeyboardInterrupt:
        pass
    finally:
        bar.close()
    return run


def _advance(run: Training, bar: Any, log: Callable[[Training], None] | None) -> None:
    """Do an update, and at its end an epoch's work."""
    bar.update(run.update())
    if run.updates % run.per_epoch:
        return
    before, train = len(run.active), run.config.train
    run.end_epoch()
    bar.total -= (train.epochs * run.per_epoch - run.updates) * train.batch * (before - len(run.active))
    bar.set_postfix(_best(run), refresh=False)
    if log is not None:
        log(run)


def _best(run: Training) -> dict[str, str]:
    """What the bar shows: the lowest validation error of the last epoch, and how many models go on."""
    last = [one.rows[-1]["val_loss"] for one in run.progress if one.rows]
    return {"val_loss": f"{min(last):.2g}", "models": str(len(run.active))}


def save(run: Training, folder: RunFolder) -> None:
    """Write the checkpoint of a folder: one safetensors file, whole or absent."""
    tensors, values = run.state()
    tensor_files.write(folder.checkpoint, tensors, {STATE: json.dumps(values)})


def resume(run: Training, folder: RunFolder) -> None:
    """Let a new training go on from the checkpoint of a folder.

    Raises:
        ValueError: it is damaged or of another model; the message names the file and the key.
    """
    try:
        held, texts = tensor_files.read(folder.checkpoint)
        values = tensor_files.facts(texts, STATE)
        if not values:
            raise ValueError("its metadata lacks 'state'")
    except ValueError as error:
        what = f"is damaged or no checkpoint of this trainer ({error}); --overwrite starts anew"
        raise ValueError(f"checkpoint: '{folder.checkpoint}' {what}") from error
    try:
        run.load(held, values)
    except ValueError as error:
        raise ValueError(f"checkpoint: '{folder.checkpoint}' {error}") from error
