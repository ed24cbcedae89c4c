"""The adding problem: an LSTM reads T numbers, two of them marked, and answers with the sum of the two.

    python examples/train_adding.py --config configs/adding-cpu.yaml --models 3
    python examples/train_adding.py --config configs/adding-cpu.yaml --mode validate
    python examples/train_adding.py --config configs/adding-replica.yaml --sweep      # T = 150 to 1000

Always answering 1 has a squared error of 1/6. Sources: Hochreiter & Schmidhuber 1997; Le, Jaitly & Hinton
2015, section 4.1. Ctrl-C keeps what is done, and the same command with --resume continues to the same bits.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from functools import partial

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # the imports below take seconds, and Ctrl-C among them would be a traceback
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"interrupted\n"), os._exit(130)))

import torch
from torch import Tensor, nn

from mathkernels import backends
from mathkernels import nn as mk
from mathkernels.data import adding
from mathkernels.experiment import command_line, configuration, loop
from mathkernels.experiment.checkpoint import Checkpoint
from mathkernels.experiment.denormals import flushed_denormals
from mathkernels.experiment.logs import TensorBoard
from mathkernels.experiment.memory import keep_memory
from mathkernels.experiment.optional import load
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.experiment.stock import StockLSTM
from mathkernels.experiment.terminal import run_script
from mathkernels.experiment.training import Training
from mathkernels.studies.adding import report
from mathkernels.studies.adding import sweep as adding_sweep
from mathkernels.studies.adding.command import ELSEWHERE, LAYERS, arguments, described, plan_of
from mathkernels.studies.adding.config import Config
from mathkernels.studies.adding.training import INPUTS, PLACE, predict, training

NEW_SEED = 43  # of the sequences of --mode validate


class Net(nn.Module):
    """E models side by side, each an LSTM whose last state makes the answer: (E,T,B,2) -> (E,B)."""

    def __init__(self, cells: int, stock: bool, models: int) -> None:
        super().__init__()
        self.lstm = StockLSTM(INPUTS, cells, models) if stock else mk.LSTM(INPUTS, cells, models=models)
        self.output = nn.ParameterDict(
            {"weight": torch.zeros(models, 1, cells), "bias": torch.zeros(models, 1)}
        )

    def forward(self, x: Tensor) -> Tensor:
        # the last state and not y[-1], whose gradient would be a (T,B,H) of zeros but for one step
        last = self.lstm(x)[1][0][:, 0]
        return (last * self.output["weight"]).sum(-1) + self.output["bias"]


def train_one(config: Config, args: argparse.Namespace) -> Training:
    """Train the models of one configuration and write the artefacts."""
    plan = plan_of(config, args, Net)
    folder = RunFolder(config.artifacts, ELSEWHERE)
    how = {"resume": args.resume, "overwrite": args.overwrite, "beside": (PLACE,)}
    folder.begin(plan.describe(), outputs=report.OUTPUTS, **how)
    configuration.save(config, config.artifacts / "config_copy.yaml")
    run, checkpoint = training(plan), Checkpoint(folder.checkpoint, plan.describe())
    logs = [TensorBoard(args.tensorboard, report.log_names(plan), report.LOGGED)] if args.tensorboard else []
    loop.train(run, checkpoint, logs)
    print(report.write(folder, plan, run))
    return run


def exit_code(run: Training) -> int:
    """130 after Ctrl-C, 1 if every model has diverged, else 0."""
    diverged = all(one.stopped == "diverged" for one in run.records)
    return 1 if diverged else 0 if run.finished else command_line.INTERRUPTED


def train_all(config: Config, args: argparse.Namespace) -> int:
    """Train every combination of the sweep, and draw after each what there is."""
    every = [one for _, one in config.combinations()]
    for one in every:
        plan_of(one, args, Net)  # what cannot be is said before the first is trained
    if args.overwrite:
        adding_sweep.drop(config.artifacts)
    folder = RunFolder(config.artifacts, ELSEWHERE)
    for one in every:
        same = {"models": args.models, "layer": LAYERS[args.stock]}
        held = args.resume and adding_sweep.read_finished(one, **same)
        if not held and not train_one(one, args).finished:
            return command_line.INTERRUPTED
        print(adding_sweep.write(folder, config))
    return 0


def validate(config: Config, args: argparse.Namespace) -> None:
    """Predict new sequences with the trained models of the artefacts."""
    dataset, cells = config.dataset, config.model.cells
    shapes = {name: value.shape[1:] for name, value in Net(cells, args.stock, 1).state_dict().items()}
    seeds, weights = report.read_models(config.artifacts, shapes)
    if lacking := len(report.run_seeds(config.artifacts) or seeds) - len(seeds):
        print(f"{lacking} models of this run have no weights: they diverged, or ended no epoch")
    net = Net(cells, args.stock, len(seeds)).to(args.device)
    net.load_state_dict(weights)
    half = dataset.one_per_half
    new = adding.generate(dataset.dt_length, dataset.t, NEW_SEED, "validate", one_per_half=half)
    answers = predict(net, new, len(seeds), torch.device(args.device))
    print(report.write_predictions(config.artifacts, seeds, new, answers))


def work(args: argparse.Namespace) -> int:
    """Do what the arguments say and return the exit code."""
    for library in ("matplotlib.figure", "scipy.stats", "tqdm", "safetensors.torch", "yaml"):
        load(library)
    config = described(args)
    keep_memory()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    if torch.device(args.device).type == "cuda":
        backends.enable("torch")  # our LSTM has no kernel there
    with flushed_denormals():
        if args.mode == "validate":
            validate(config, args)
            return 0
        return train_all(config, args) if args.sweep else exit_code(train_one(config, args))


def main(argv: list[str] | None = None) -> int:
    parser = arguments(__doc__ or "")
    args = parser.parse_args(argv)
    how_on = "" if args.mode == "validate" else command_line.resumable(args.overwrite)
    return command_line.finish(parser, partial(work, args), how_on)


if __name__ == "__main__":
    sys.exit(run_script(main))
