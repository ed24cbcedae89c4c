"""The command line of sequential MNIST's trainer."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mathkernels.data import mnist, ranges
from mathkernels.experiment import command_line
from mathkernels.experiment.parser import Parser, folder_argument
from mathkernels.studies.sequential_mnist.report import REFERENCE
from mathkernels.studies.sequential_mnist.training import Plan

# units of a task by the names of the paper: classes of mathkernels.nn
PRODUCT = {"NAC-mul": "NACMul", "NAC-sigma": "NACSigma", "NALU": "NALU", "NMU": "NMU", "NAC-nmu": "NACNMU"}
UNITS = {"product": PRODUCT, "sum": {"NAC+": "NAC", "NALU": "NALU", "NAU": "NAU"}}
BASELINE = "LSTM"
MOST_WEIGHT, LAST_STEP = 1e6, 10**12  # of R_z; of a ramp
HAS_Z = ("NMU", "NAC-nmu", "NAC+", "NAU")


def arguments(description: str) -> argparse.ArgumentParser:
    """Return the parser."""
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = dict.fromkeys([*UNITS["product"], *UNITS["sum"], BASELINE])
    add = parser.add_argument
    add("--task", choices=mnist.TASKS, default="product")
    add("--unit", nargs="+", choices=known, help="default: all units of the task, and LSTM")
    add("--z", nargs="+", type=float, default=[0.0], help="weights of R_z, 0 by default (published: 0 1)")
    add("--seeds", type=int, help="how many, from 0; default: 10, as published")
    add("--epochs", type=int, help="default: 1000, as published")
    ramp = "steps between which the discretisation gains weight; default: 10000 100000, as published"
    add("--ramp", nargs=2, type=int, default=[10_000, 100_000], metavar=("START", "END"), help=ramp)
    add("--mnist", type=Path, help="folder of MNIST's IDX files; default: the 8x8 digits of scikit-learn")
    add("--out", type=folder_argument, help="default: runs/sequential-mnist-TASK")
    add("--resume", action="store_true", help="continue an interrupted run")
    add("--overwrite", action="store_true", help="drop the run that the folder holds")
    add("--smoke", action="store_true", help="two seeds and two epochs: does it work?")
    return parser


def described(args: argparse.Namespace, make: Callable[[int, str, str], Any]) -> Plan:
    """Return what the arguments ask for.

    Args:
        args: parsed.
        make: size of the images, task and unit -> a new net.

    Raises:
        ValueError: an argument does not fit; the message names it.
    """
    fitting = [*UNITS[args.task], BASELINE]
    units = args.unit or fitting
    if wrong := [unit for unit in units if unit not in fitting]:
        right = f"the task {args.task!r} has {', '.join(fitting)}"
        raise ValueError(f"--unit: got {', '.join(wrong)}; {right}")
    seeds, epochs = (2, 2) if args.smoke else (args.seeds, args.epochs)
    seeds, epochs = 10 if seeds is None else seeds, 1000 if epochs is None else epochs
    command_line.count("--seeds", seeds, command_line.MOST_MODELS)
    command_line.count("--epochs", epochs)
    begin, end = args.ramp
    if not 0 <= begin < end <= LAST_STEP:
        given = f"{ranges.shown(begin)} {ranges.shown(end)}"
        raise ValueError(f"--ramp: got {given}; needs 0 <= START < END <= {LAST_STEP}")
    if not all(0 <= z <= MOST_WEIGHT for z in args.z):
        right = f"finite numbers of at least 0, at most {MOST_WEIGHT:g}"
        raise ValueError(f"--z: got {', '.join(map(str, args.z))}; needs {right}")
    chosen = [(unit, z) for unit in units for z in (args.z if unit in HAS_Z else [0.0])]
    configurations = tuple(dict.fromkeys([(REFERENCE, 0.0), *chosen]))
    digits = mnist.load_digits(args.mnist)
    make_own = partial(make, digits.size, args.task)
    return Plan(digits, args.task, configurations, seeds, epochs, (begin, end), make_own)


def folder_of(args: argparse.Namespace) -> Path:
    """Return the folder of the runs."""
    return args.out or Path("runs") / f"sequential-mnist-{args.task}{'-smoke' if args.smoke else ''}"
