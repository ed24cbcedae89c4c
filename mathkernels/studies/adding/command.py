"""The command line of the adding problem's trainer."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from mathkernels.experiment import command_line, configuration
from mathkernels.experiment.parser import Parser, folder_argument
from mathkernels.experiment.run_folder import one_way
from mathkernels.studies.adding import report
from mathkernels.studies.adding.config import Config
from mathkernels.studies.adding.training import Plan

ELSEWHERE = "--set artifacts=DIR"  # the option that takes another folder
LAYERS = {False: "mathkernels.nn.LSTM", True: "torch.nn.LSTM"}  # by --stock
SMOKE = (
    *("dataset.dt_length=2000", "dataset.t=12", "train.epochs=3", "train.batch=50", "sweep.t=[10, 20]"),
    *("model.cells=32", "optim.learning_rate=0.01", "artifacts=artifacts/adding-smoke"),
)


def arguments(description: str) -> argparse.ArgumentParser:
    """Return the parser."""
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--mode", choices=("train", "validate"), default="train", help="validate: predict new sequences")
    add("--config", type=Path, default=Path("configs/adding.yaml"))
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="over the file: dataset.t=200")
    add("--sweep", action="store_true", help="train every combination of the file's sweep, by default all T")
    add("--models", type=int, default=1, help="how many seeds to train in one call")
    add("--stock", action="store_true", help="train torch.nn.LSTM instead, for comparison")
    add("--device", default="cpu", help="cuda trains fastest with --stock; ours are kernels for the CPU")
    add("--threads", type=int, help="default: as torch chooses")
    add("--resume", action="store_true", help="continue interrupted trainings, keep finished ones")
    add("--overwrite", action="store_true", help="drop what the artifacts folder holds")
    add("--tensorboard", type=folder_argument, metavar="DIR", help="write logs, a folder for each model")
    add("--smoke", action="store_true", help="short sequences, few epochs: does it work?")
    return parser


def described(args: argparse.Namespace) -> Config:
    """Return the configuration that the arguments ask for.

    Raises:
        ValueError: the file or an argument does not fit; the message names it.
    """
    command_line.count("--models", args.models, command_line.MOST_MODELS)
    if args.threads is not None:
        command_line.count("--threads", args.threads, command_line.MOST_THREADS)
    one_way(args.resume, args.overwrite)
    try:
        torch.empty(0, device=args.device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device: got {args.device}, which torch cannot use here ({error})") from error
    return configuration.load(Config, args.config, [*(SMOKE if args.smoke else ()), *args.set])


def plan_of(config: Config, args: argparse.Namespace, net: Callable[[int, bool, int], nn.Module]) -> Plan:
    """Return what is trained of one configuration.

    Args:
        config: of the models.
        args: parsed.
        net: cells, whether of torch's layers, models -> a new net.

    Raises:
        ValueError: this machine cannot hold it, or logs cannot be written.
    """
    seeds = tuple(range(config.optim.seed, config.optim.seed + args.models))
    make = partial(net, config.model.cells, args.stock)
    plan = Plan(config, seeds, make, LAYERS[args.stock], torch.device(args.device))
    plan.check()
    if args.tensorboard:
        command_line.prepare_logs(args.tensorboard, report.log_names(plan).values())
    return plan
