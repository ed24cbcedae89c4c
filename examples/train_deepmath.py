"""Deep Math: LSTMs read questions of DeepMind's mathematics data set and write the answers, letter by letter.

    python examples/train_deepmath.py --preset cpu --generate --model attentional
    python examples/train_deepmath.py --preset cpu --model attentional --ask "Calculate 3 + 4."
    python examples/train_deepmath.py --settings settings.json --data mathematics_dataset-v1.0
    torchrun --nproc-per-node 2 examples/train_deepmath.py --preset cpu --threads 1

Sources: Saxton et al. 2019, *Analysing Mathematical Reasoning Abilities of Neural Models*; the Deep Math
project, whose results with attention were left "coming soon". Ctrl-C keeps what is done; --resume continues
to the same bits, under torchrun with as many processes as before.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # the imports below take seconds, and Ctrl-C among them would be a traceback
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"interrupted\n"), os._exit(130)))

import torch

from mathkernels.experiment import command_line, distributed, loop
from mathkernels.experiment.denormals import flushed_denormals
from mathkernels.experiment.distributed import Processes
from mathkernels.experiment.logs import JsonLines, Log, TensorBoard
from mathkernels.experiment.memory import keep_memory
from mathkernels.experiment.optional import load
from mathkernels.experiment.run_folder import STATUS, RunFolder
from mathkernels.experiment.schedule import Row
from mathkernels.experiment.terminal import run_script
from mathkernels.experiment.training import Training
from mathkernels.studies.mathematics import report
from mathkernels.studies.mathematics.command import arguments, ask, described, make_data
from mathkernels.studies.mathematics.config import Config
from mathkernels.studies.mathematics.plan import PLACES, Plan, plan
from mathkernels.studies.mathematics.training import training
from mathkernels.studies.mathematics.weights import Kept

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def show(run: Training, rows: list[Row]) -> str:
    """Return what the bar says of an epoch."""
    match = {name: value for name, value in rows[-1].items() if name.endswith("_exact_match")}
    return ", ".join(f"{name.removesuffix('_exact_match')} {value:.3f}" for name, value in match.items())


def train(what: Plan, args: argparse.Namespace, device: torch.device) -> int:
    """Train and write everything; return 130 after Ctrl-C, 1 if the model diverged, else 0."""
    own, config = what.own, what.config
    if args.tensorboard:
        command_line.prepare_logs(args.tensorboard, [config.save_path.name])
    folder = RunFolder(config.save_path)
    if own.first:
        how = {"resume": args.resume, "overwrite": args.overwrite, "beside": PLACES}
        folder.begin(what.describe(), outputs=report.OUTPUTS, **how)
    own.wait()
    learner = what.learner(device)
    if own.first:
        print(report.summary(what, learner.model))
    run, checkpoint = training(learner), distributed.checkpoint(own, folder.checkpoint, what.describe())
    begun = time.perf_counter()
    logs: list[Log] = [JsonLines(folder, report.LOG), Kept(folder.path, what)] if own.first else []
    if own.first and args.tensorboard:
        columns = [name for name, kind in run.table.columns.items() if kind is float]
        logs.append(TensorBoard(args.tensorboard, {None: folder.path.name}, columns))
    finished = loop.train(run, checkpoint, logs, show)
    diverged = run.records[0].stopped == "diverged"
    if own.first:
        print(report.write(folder, what, run))
        print(f"\n{run.epoch} epochs, {time.perf_counter() - begun:.1f} s in this call")
        if diverged:
            print("the model diverged: its error is infinite or NaN")
        status = {"status": "finished" if finished else "interrupted", "threads": torch.get_num_threads()}
        folder.write_json(STATUS, {**status, "diverged": int(diverged)})
    return command_line.INTERRUPTED if not finished else int(diverged)


def prepared(config: Config, args: argparse.Namespace, own: Processes) -> Plan:
    """Return the plan, after the first process has made and indexed the data."""
    if args.generate:
        make_data(config, args, own)
    if own.first:
        what = plan(config, args.stock, own)
        own.wait()
        return what
    own.wait()
    return plan(config, args.stock, own)


def work(args: argparse.Namespace) -> int:
    """Do what the arguments say and return the exit code."""
    for library in ("matplotlib.figure", "PIL.Image", "tqdm", "safetensors.torch", "yaml"):
        load(library)
    config = described(args, CONFIGS)
    if args.ask is not None:
        ask(config, args)
        return 0
    keep_memory()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    with distributed.processes(torch.device(args.device)) as (own, device), flushed_denormals():
        what = prepared(config, args, own)
        if args.no_train:
            if own.first:
                print(report.summary(what, what.model()))
            return 0
        return train(what, args, device)


def main(argv: list[str] | None = None) -> int:
    parser = arguments(__doc__ or "")
    args = parser.parse_args(argv)
    how_on = "" if args.ask is not None or args.no_train else command_line.resumable(args.overwrite)
    return command_line.finish(parser, partial(work, args), how_on)


if __name__ == "__main__":
    sys.exit(run_script(main))
