"""The command line of the equation learner's trainer."""

from __future__ import annotations

import argparse
from pathlib import Path

from mathkernels.data import ranges
from mathkernels.experiment import configuration
from mathkernels.experiment.command_line import MOST_THREADS
from mathkernels.experiment.parser import Parser, folder_argument
from mathkernels.experiment.run_folder import one_way
from mathkernels.studies.equations.config import MOST_NETWORKS, Config

SMOKE = ("train.epochs=3", "data.n_examples=6000", "data.new_equations=1000")


def arguments(description: str, default: Path) -> argparse.ArgumentParser:
    """Return the parser.

    Args:
        description: of the program.
        default: the configuration that is trained without --config.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(description=description, formatter_class=raw)
    add = parser.add_argument
    add("overrides", nargs="*", metavar="KEY=VALUE", help="of the configuration, such as train.epochs=20")
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="the same")
    add("--config", type=Path, default=default, help=f"YAML file (default {default.name})")
    add("--models", type=int, metavar="N", help="train the seeds 1 to N in one call")
    add("--stock", action="store_true", help="train with torch.nn layers, for comparison")
    add("--smoke", action="store_true", help="three epochs of few equations: does it work?")
    add("--out", type=folder_argument, help="run folder (default runs/<name of the configuration>)")
    add("--resume", action="store_true", help="continue an interrupted run")
    add("--overwrite", action="store_true", help="drop the run that the folder holds")
    add("--threads", type=int, help="default: all cores")
    add("--tensorboard", type=folder_argument, metavar="DIR", help="also log there, a run per network")
    ask = "answer equations with the network in --out, without an equation those that are typed in"
    add("--ask", nargs="*", metavar="EQUATION", help=ask)
    return parser


def described(args: argparse.Namespace) -> Config:
    """Return the configuration that the arguments ask for.

    Raises:
        ValueError: the file or an argument does not fit; the message names it.
    """
    overrides = [*(SMOKE if args.smoke else ())]
    if args.models is not None:
        ranges.whole("--models", args.models, 1, MOST_NETWORKS)
        overrides.append(f"train.seeds={list(range(1, args.models + 1))}")
    if args.stock:
        overrides.append("train.engine=torch")
    if args.threads is not None:
        ranges.whole("--threads", args.threads, 1, MOST_THREADS)
    one_way(args.resume, args.overwrite)
    return configuration.load(Config, args.config, [*overrides, *args.overrides, *args.set])


def folder_of(args: argparse.Namespace) -> Path:
    """Return the folder of the run."""
    name = args.config.stem + ("-smoke" if args.smoke else "") + ("-stock" if args.stock else "")
    return args.out or Path("runs") / name
