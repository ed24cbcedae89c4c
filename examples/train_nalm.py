"""Train arithmetic modules on the tasks of the division papers and draw their three-panel figure.

    python examples/train_nalm.py --figure 3
    python examples/train_nalm.py --module NMRU --range "U[1,2]" "U[-2,2]" --seeds 100 --lr 0.1
    python examples/train_nalm.py --list

A run folder gets config.json, status.json, runs.csv, curves.csv, summary.csv, figure.png and figure.pdf.
Ctrl-C saves what is done; the same command with --resume continues it.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from mathkernels import ensemble
from mathkernels.ensemble import figures
from mathkernels.ensemble.study import Member, Study
from mathkernels.experiment.optional import MissingLibraryError, load
from mathkernels.experiment.output import OUTPUTS, write_report
from mathkernels.experiment.run_folder import RunFolder

SMOKE_ITERATIONS, SMOKE_SEEDS = 2_000, (0, 1)


def seeds(text: str) -> tuple[int, ...]:
    """Read "25" as 0…24, "10-14" as 10…14 and "3,5,8" as it stands."""
    try:
        if "-" in text:
            first, last = text.split("-")
            return tuple(range(int(first), int(last) + 1))
        return tuple(int(part) for part in text.split(",")) if "," in text else tuple(range(int(text)))
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, needs a number, 10-14 or 3,5,8") from None


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train arithmetic modules; draw success, speed and sparsity."
    )
    what = parser.add_argument_group("what to train").add_mutually_exclusive_group(required=True)
    what.add_argument("--figure", help="a figure of the papers: " + ", ".join(figures.FIGURES))
    what.add_argument("--module", help="a single study: " + ", ".join(figures.IN_2))
    what.add_argument("--list", action="store_true", help="list the figures with their runs and iterations")
    both = parser.add_argument_group("size")
    both.add_argument("--range", nargs="+", help='interpolation ranges such as "U[1,2]", or "all" (default)')
    both.add_argument("--seeds", type=seeds, help="how many, or which: 25 (default), 10-14, 3,5,8")
    both.add_argument("--iterations", type=int, help="schedules stretch or shrink with it")
    both.add_argument("--smoke", action="store_true", help="two seeds, few iterations: seconds")
    single = parser.add_argument_group("only with --module (defaults: the papers')")
    single.add_argument("--inputs", type=int, help="2, or more for redundant inputs")
    single.add_argument("--operation", help="add, sub, mul, div, reciprocal, squared or root")
    single.add_argument("--extrapolation", help="test range, for ranges that the papers do not have")
    single.add_argument("--lr", type=float, help="learning rate")
    single.add_argument("--optimizer", help="adam or sgd")
    single.add_argument(
        "--ramp", type=int, nargs=2, metavar=("START", "END"), help="of the discretisation penalty"
    )
    single.add_argument("--clip-norm", type=float, help="limit of the gradient norm, 0 for none")
    single.add_argument(
        "--option", action="append", metavar="NAME=VALUE", help="of the module, such as clip=wg"
    )
    how = parser.add_argument_group("how")
    how.add_argument("--out", type=Path, help="run folder (default runs/<name>)")
    how.add_argument("--resume", action="store_true", help="continue an interrupted run")
    how.add_argument("--overwrite", action="store_true", help="drop the run that the folder holds")
    how.add_argument("--threads", type=int, help="default: all cores")
    how.add_argument(
        "--published-statistics", action="store_true", help="half-scale sparsity means, as published"
    )
    return parser


def describe(args: argparse.Namespace) -> Study:
    """Turn the arguments into a study; raises ValueError for names and numbers that cannot be."""
    only_single = ("inputs", "operation", "extrapolation", "lr", "optimizer", "ramp", "clip_norm", "option")
    if args.figure:
        given = [f"--{name.replace('_', '-')}" for name in only_single if getattr(args, name) is not None]
        if given:
            raise ValueError(f"{', '.join(given)}: a figure fixes it; use --module for studies of your own")
        study = figures.find_figure(args.figure)
        if args.range:
            study = dataclasses.replace(study, datasets=figures.find_datasets(args.range))
    else:
        study = figures.single_study(
            args.module,
            ranges=args.range or ["all"],
            inputs=2 if args.inputs is None else args.inputs,
            operation=args.operation,
            extrapolation=args.extrapolation,
            options=args.option or (),
            lr=args.lr,
            optimizer=args.optimizer,
            clip_norm=args.clip_norm,
        )
    if args.smoke:
        study = dataclasses.replace(
            study.resized(SMOKE_ITERATIONS), name=f"{study.name}-smoke", seeds=SMOKE_SEEDS
        )
    if args.seeds is not None:
        study = dataclasses.replace(study, seeds=args.seeds)
    if args.iterations is not None:
        study = study.resized(args.iterations)
    return study if args.ramp is None else study.with_ramp(*args.ramp)


def train(members: tuple[Member, ...], args: argparse.Namespace, folder: RunFolder) -> ensemble.Results:
    with load("tqdm").tqdm(unit=" iterations", unit_scale=True, disable=None) as bar:

        def show(progress: ensemble.Progress) -> None:
            bar.total = progress.total_iterations
            bar.update(progress.done_iterations - bar.n)

        runs = [member.run for member in members]
        return ensemble.fit(runs, threads=args.threads, checkpoint=folder.checkpoint, progress=show)


def main(argv: list[str] | None = None) -> int:
    parser = arguments()
    args = parser.parse_args(argv)
    if args.list:
        print(figures.listing())
        return 0
    try:
        for library in ("matplotlib.figure", "scipy.special", "tqdm"):
            load(library)
        study = describe(args)
        members = study.members()
        folder = RunFolder(args.out or Path("runs") / study.name)
        folder.begin(study.describe(), outputs=OUTPUTS, resume=args.resume, overwrite=args.overwrite)
        results = train(members, args, folder)
    except (ValueError, MissingLibraryError) as error:
        parser.error(str(error))
    print(write_report(folder, study, members, results, published=args.published_statistics))
    if results.interrupted:
        print("interrupted; the same command with --resume continues", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
