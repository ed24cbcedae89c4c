"""Symbolic integration: LSTMs and GRUs with attention read a function and write its integral.

    python examples/train_symbolic.py --preset cpu --generate
    python examples/train_symbolic.py --preset cpu --trial 3 --out runs/symbolic-trial-3
    python examples/train_symbolic.py --preset cpu --ask "integrate x*cos(x)"
    python examples/train_symbolic.py --preset seed --replica --generate

Sources: Lample & Charton 2020, *Deep Learning for Symbolic Mathematics*, and a project that replicated a part
of it by five trials. Every answer is differentiated and judged. Ctrl-C keeps what is done; --resume continues
to the same bits.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # the imports below take seconds, and Ctrl-C among them would be a traceback
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"interrupted\n"), os._exit(130)))

import torch

from mathkernels.experiment import command_line, loop
from mathkernels.experiment.checkpoint import Checkpoint
from mathkernels.experiment.denormals import flushed_denormals
from mathkernels.experiment.logs import JsonLines, Log, TensorBoard
from mathkernels.experiment.memory import keep_memory
from mathkernels.experiment.optional import load
from mathkernels.experiment.run_folder import STATUS, RunFolder
from mathkernels.experiment.schedule import Row
from mathkernels.experiment.terminal import run_script
from mathkernels.experiment.training import Training
from mathkernels.studies.integration import batches, compare, report
from mathkernels.studies.integration.command import arguments, ask, chosen, described, make_data, try_others
from mathkernels.studies.integration.config import PLACES
from mathkernels.studies.integration.plan import Plan, check_finished

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def show(run: Training, rows: list[Row]) -> str:
    """Return what the bar says of an epoch."""
    row = rows[-1]
    return f"{row['trial']}: loss {row['val_loss']:.3f}, exact match {row['val_exact_match']:.3f}"


def train(what: Plan, args: argparse.Namespace) -> int:
    """Train the trials and write everything; return 130 after Ctrl-C, 1 if all diverged, else 0."""
    folder = RunFolder(what.config.save_path)
    how: dict[str, Any] = {"resume": args.resume, "overwrite": args.overwrite, "beside": PLACES}
    folder.begin(what.describe(), outputs=report.OUTPUTS, **how)
    checkpoint = Checkpoint(folder.checkpoint, what.describe())
    try:
        check_finished(what, checkpoint.finished)
    except ValueError as error:
        raise checkpoint.refused(error) from error
    print(what.summary())
    begun = time.perf_counter()

    def finish(run: Training) -> dict[str, Any]:
        return what.finish(folder.path, what.trials[len(checkpoint.finished)], run)

    def logs(run: Training) -> list[Log]:
        name = run.table.of[0]["trial"]
        found: list[Log] = [JsonLines(folder, f"log-{name}.jsonl")]
        if args.tensorboard:
            found.append(TensorBoard(args.tensorboard, {name: name}, report.LOGGED, "trial"))
        return found

    finished = loop.train_each(what.makers(), checkpoint, finish, show, logs)
    print(report.write(folder, what, checkpoint.finished))
    print(f"\n{len(checkpoint.finished)} trials, {time.perf_counter() - begun:.1f} s in this call")
    diverged = [held["rows"][-1] for held in checkpoint.finished if report.diverged(held["rows"])]
    for row in diverged:
        print(f"{row['trial']} diverged: its validation loss is infinite or NaN at epoch {row['epoch']}")
    status = {"status": "finished" if finished else "interrupted", "threads": torch.get_num_threads()}
    folder.write_json(STATUS, {**status, "diverged": len(diverged)})
    return command_line.INTERRUPTED if not finished else int(len(diverged) == len(what.trials))


def work(args: argparse.Namespace) -> int:
    """Do what the arguments say and return the exit code."""
    for library in ("matplotlib.figure", "tqdm", "safetensors.torch", "yaml"):
        load(library)
    if args.compare is not None:
        print(compare.table(args.compare))
        return 0
    config = described(args, CONFIGS)
    if args.ask is not None:
        ask(config, args)
        return 0
    if args.robustness:
        try_others(config, args)
        return 0
    trials = chosen(config, args.trial)
    keep_memory()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    with flushed_denormals():
        if args.generate:
            make_data(config, args.workers)
        what = Plan(config, batches.read(config), trials, args.stock, torch.device(args.device))
        if args.no_train:
            print(what.summary())
            return 0
        if args.tensorboard:
            command_line.prepare_logs(args.tensorboard, what.trials)
        return train(what, args)


def main(argv: list[str] | None = None) -> int:
    parser = arguments(__doc__ or "")
    args = parser.parse_args(argv)
    no_training = args.ask or args.no_train or args.compare or args.robustness
    how_on = "" if no_training else command_line.resumable(args.overwrite)
    return command_line.finish(parser, partial(work, args), how_on)


if __name__ == "__main__":
    sys.exit(run_script(main))
