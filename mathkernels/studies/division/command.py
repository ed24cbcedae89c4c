"""The command line of the trainer of the division paper: its options, and the size that they give a study."""

from __future__ import annotations

import argparse
import dataclasses

from mathkernels.experiment.parser import Parser, folder_argument
from mathkernels.studies.arithmetic.command import add_how, seeds
from mathkernels.studies.arithmetic.study import Study
from mathkernels.studies.division.catalogue import CATALOGUE, IN_2
from mathkernels.studies.division.figures import find_datasets

SMOKE_ITERATIONS, SMOKE_SEEDS = 2_000, (0, 1)
# options that --module alone takes, by their names in the parsed arguments
SINGLE = (
    *("inputs", "operation", "extrapolation", "lr", "optimizer", "momentum", "criterion", "clip_norm"),
    *("clip_value", "restarts"),
    *("option", "sweep"),
)


def arguments() -> argparse.ArgumentParser:
    parser = Parser(description="Train arithmetic modules; draw success, speed and sparsity.")
    what = parser.add_argument_group("what to train").add_mutually_exclusive_group(required=True)
    what.add_argument("--figure", nargs="+", help=f"figures of the paper, or all: {', '.join(CATALOGUE)}")
    what.add_argument("--module", help=f"a single study: {', '.join(IN_2)}")
    what.add_argument("--original", metavar="FLAGS", help="a command line of the papers' one-layer script")
    what.add_argument("--list", action="store_true", help="list figures with runs and expected time, modules")
    size = parser.add_argument_group("size")
    size.add_argument("--range", nargs="+", help='interpolation ranges such as "U[1,2]", or "all" (default)')
    size.add_argument("--seeds", type=seeds, help="how many, or which: 25 (default), 10-14, 3,5,8")
    size.add_argument("--iterations", type=int, help="schedules stretch or shrink with it")
    size.add_argument(
        "--evaluate-every", type=int, metavar="N", help="iterations between logged rows (1,000)"
    )
    size.add_argument("--smoke", action="store_true", help="two seeds, few iterations: seconds")
    size.add_argument("--ramp", type=int, nargs=2, metavar=("START", "END"), help="of the penalties")
    single = parser.add_argument_group("only with --module (defaults: the papers')")
    single.add_argument("--inputs", type=int, help="2, or more for redundant inputs")
    single.add_argument("--operation", help="add, sub, mul, div, reciprocal, squared or root")
    single.add_argument("--extrapolation", help="test range, for ranges that the papers do not have")
    single.add_argument("--lr", type=float, help="learning rate")
    single.add_argument("--optimizer", help="adam or sgd")
    single.add_argument("--momentum", type=float, help="of sgd")
    single.add_argument("--criterion", help="mse, pcc or mape")
    single.add_argument("--clip-norm", type=float, help="limit of the gradient norm, 0 for none")
    single.add_argument("--clip-value", type=float, help="limit of every entry of the gradient, 0 for none")
    single.add_argument(
        "--restarts", type=int, metavar="WINDOW", help="start anew if so many rows are no better"
    )
    single.add_argument("--option", action="append", metavar="NAME=VALUE", help="of the module: clip=wg")
    single.add_argument("--sweep", nargs="+", metavar="NAME=V1,V2", help="a grid over options and settings")
    how = parser.add_argument_group("how")
    add_how(how)
    logs = "write the logs of the papers' scripts"
    how.add_argument("--tensorboard", type=folder_argument, metavar="DIR", help=logs)
    how.add_argument("--published-statistics", action="store_true", help="half-scale sparsity means")
    return parser


def sized(study: Study, args: argparse.Namespace) -> Study:
    """Return the study with the ranges, seeds, iterations and ramp that the arguments ask for."""
    if args.range and args.module is None:
        study = dataclasses.replace(study, datasets=find_datasets(args.range))
    if args.smoke:
        study = dataclasses.replace(study.resized(SMOKE_ITERATIONS), seeds=SMOKE_SEEDS)
    if args.seeds is not None:
        study = dataclasses.replace(study, seeds=args.seeds)
    if args.iterations is not None:
        study = study.resized(args.iterations)
    if args.evaluate_every is not None:
        study = dataclasses.replace(study, evaluate_every=args.evaluate_every)
    return study if args.ramp is None else study.with_ramp(*args.ramp)
