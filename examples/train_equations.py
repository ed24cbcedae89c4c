"""The equation learner: an LSTM reads "31 + 87" character by character and writes "118".

    python examples/train_equations.py                                        # the article's network
    python examples/train_equations.py --models 5 --config configs/equations_small.yaml
    python examples/train_equations.py --out runs/equations --ask "47 + 58"

Source: Schumacher 2017, *Learning math with LSTMs*. Its accuracy is that of single characters; here character
accuracy and exact match of whole equations are always named apart. Ctrl-C keeps the best weights, and the
same command with --resume continues.
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

from mathkernels.data import equation_sets
from mathkernels.experiment import command_line, loop
from mathkernels.experiment.checkpoint import Checkpoint
from mathkernels.experiment.configuration import plain
from mathkernels.experiment.denormals import flushed_denormals
from mathkernels.experiment.logs import JsonLines, Log, TensorBoard
from mathkernels.experiment.optional import load
from mathkernels.experiment.run_folder import STATUS, RunFolder
from mathkernels.experiment.schedule import NEVER
from mathkernels.experiment.terminal import run_script
from mathkernels.nn import LSTM
from mathkernels.studies.equations import engine as equations_engine
from mathkernels.studies.equations import output as equations_output
from mathkernels.studies.equations.ask import Answerer, converse, prompted
from mathkernels.studies.equations.command import arguments, described, folder_of
from mathkernels.studies.equations.config import Config
from mathkernels.studies.equations.model import EquationModel, summary
from mathkernels.studies.equations.training import CURVE_COLUMNS, LOG, diverged, log_names, shown, training

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "equations.yaml"


def ask(folder: Path, questions: list[str]) -> None:
    """Answer the questions, or those that are typed in."""
    answerer = Answerer(folder)
    if not questions:
        converse(answerer, prompted(answerer.config.data.form), print)
    for question in questions:
        print(answerer.line(question))


def train(config: Config, folder: RunFolder, tensorboard: Path | None) -> int:
    """Train, print and write everything; return 130 after Ctrl-C, 1 if every network diverged, else 0."""
    sets = equation_sets.build(config.data)
    engine = equations_engine.make(config, lstm=LSTM)
    print(summary(EquationModel(config, config.train.seeds[0]), config.data.question_length), end="\n\n")
    print(equations_output.before(config, sets, engine))
    run, checkpoint = training(config, sets, engine), Checkpoint(folder.checkpoint, plain(config))
    logs: list[Log] = [JsonLines(folder, LOG)]
    if tensorboard:
        logs.append(TensorBoard(tensorboard, log_names(config), CURVE_COLUMNS[2:]))
    begun = time.perf_counter()
    finished = loop.train(run, checkpoint, logs, shown)
    seconds = time.perf_counter() - begun
    best = equations_engine.make(config, run.best, lstm=LSTM)
    print(equations_output.write(config, sets, run, best, folder))
    if sys.stdout.isatty():
        print((folder.path / equations_output.ACTIVATIONS).read_text(encoding="utf-8"))
    print(f"\n{run.epoch} epochs of {len(config.train.seeds)} networks, {seconds:.1f} s in this call")
    lost = sum(epoch is not None for epoch in diverged(run))
    status = {"status": "finished" if finished else "interrupted", "seconds": round(seconds, 3)}
    folder.write_json(STATUS, {**status, "diverged": lost, "threads": torch.get_num_threads()})
    if not finished:
        return command_line.INTERRUPTED
    return int(all(one.best_epoch == NEVER for one in run.records))


def work(args: argparse.Namespace) -> int:
    """Do what the arguments say and return the exit code."""
    for library in ("matplotlib.figure", "tqdm", "safetensors.torch", "yaml"):
        load(library)
    if args.ask is not None:
        ask(folder_of(args), args.ask)
        return 0
    config = described(args)
    torch.set_num_threads(args.threads or torch.get_num_threads())
    if args.tensorboard:
        command_line.prepare_logs(args.tensorboard, log_names(config).values())
    folder = RunFolder(folder_of(args))
    outputs = equations_output.OUTPUTS
    folder.begin(plain(config), outputs=outputs, resume=args.resume, overwrite=args.overwrite)
    # gradients of a network that has learned are denormal numbers, which made epochs four times as long
    with flushed_denormals():
        return train(config, folder, args.tensorboard)


def main(argv: list[str] | None = None) -> int:
    parser = arguments(__doc__ or "", CONFIG)
    args = parser.parse_intermixed_args(argv)  # KEY=VALUE may stand anywhere
    how_on = "" if args.ask is not None else command_line.resumable(args.overwrite)
    return command_line.finish(parser, partial(work, args), how_on)


if __name__ == "__main__":
    sys.exit(run_script(main))
