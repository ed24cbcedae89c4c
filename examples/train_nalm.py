"""Train arithmetic modules on the tasks of the division paper and draw its figures.

    python examples/train_nalm.py --list
    python examples/train_nalm.py --figure 3
    python examples/train_nalm.py --figure all
    python examples/train_nalm.py --module NMRU --range "U[1,2]" "U[-2,2]" --seeds 100 --lr 0.1
    python examples/train_nalm.py --module RealNPU --sweep lr=1e-3,5e-3 clip=none,wg --inputs 10
    python examples/train_nalm.py --original "--layer-type NRU --operation div --learning-rate 1"

Every distinct run is trained once, however many figures show it. Ctrl-C saves what is done, and the same
command with --resume continues, also after a kill. examples/README.md lists the files of a run folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from mathkernels.ensemble import campaign, figures, original, sweeps
from mathkernels.ensemble.catalogue import CATALOGUE, IN_2, Figure
from mathkernels.ensemble.study import Study
from mathkernels.experiment import listing, reproduction
from mathkernels.experiment.optional import MissingLibraryError, load
from mathkernels.experiment.output import CampaignFolder
from mathkernels.experiment.progress import CampaignBar
from mathkernels.experiment.timing import read_rates

ROOT = Path(__file__).resolve().parents[1]
TIMING, RIVALS = ROOT / "docs/results/paper/timing.json", ROOT / "benchmarks/results/ensemble.json"
SMOKE_ITERATIONS, SMOKE_SEEDS = 2_000, (0, 1)
SINGLE = (
    "inputs",
    "operation",
    "extrapolation",
    "lr",
    "optimizer",
    "criterion",
    "clip_norm",
    "option",
    "sweep",
)


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
    what.add_argument("--figure", nargs="+", help=f"figures of the paper, or all: {', '.join(CATALOGUE)}")
    what.add_argument("--module", help=f"a single study: {', '.join(IN_2)}")
    what.add_argument("--original", metavar="FLAGS", help="a command line of the papers' one-layer script")
    what.add_argument("--list", action="store_true", help="list figures with runs and expected time, modules")
    size = parser.add_argument_group("size")
    size.add_argument("--range", nargs="+", help='interpolation ranges such as "U[1,2]", or "all" (default)')
    size.add_argument("--seeds", type=seeds, help="how many, or which: 25 (default), 10-14, 3,5,8")
    size.add_argument("--iterations", type=int, help="schedules stretch or shrink with it")
    size.add_argument("--smoke", action="store_true", help="two seeds, few iterations: seconds")
    size.add_argument("--ramp", type=int, nargs=2, metavar=("START", "END"), help="of the penalties")
    single = parser.add_argument_group("only with --module (defaults: the papers')")
    single.add_argument("--inputs", type=int, help="2, or more for redundant inputs")
    single.add_argument("--operation", help="add, sub, mul, div, reciprocal, squared or root")
    single.add_argument("--extrapolation", help="test range, for ranges that the papers do not have")
    single.add_argument("--lr", type=float, help="learning rate")
    single.add_argument("--optimizer", help="adam or sgd")
    single.add_argument("--criterion", help="mse, pcc or mape")
    single.add_argument("--clip-norm", type=float, help="limit of the gradient norm, 0 for none")
    single.add_argument("--option", action="append", metavar="NAME=VALUE", help="of the module: clip=wg")
    single.add_argument("--sweep", nargs="+", metavar="NAME=V1,V2", help="a grid over options and settings")
    how = parser.add_argument_group("how")
    how.add_argument("--out", type=Path, help="run folder (default runs/<name>)")
    how.add_argument("--resume", action="store_true", help="continue an interrupted run")
    how.add_argument("--overwrite", action="store_true", help="drop the run that the folder holds")
    how.add_argument("--threads", type=int, help="default: all cores")
    how.add_argument("--device", default="cpu", help="cpu, or cuda for the modules that have a trainer there")
    how.add_argument("--published-statistics", action="store_true", help="half-scale sparsity means")
    return parser


def describe(args: argparse.Namespace) -> tuple[str, list[Study], list[Figure]]:
    """Return a name, what to train and what only to draw; raises ValueError for what cannot be."""
    given = {name: getattr(args, name) for name in SINGLE if getattr(args, name) is not None}
    if given and not args.module:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"{names}: a figure fixes it; use --module for studies of your own")
    if args.figure:
        found = figures.find_figures(args.figure)
        studies, drawn = [f.study for f in found if f.study], [f for f in found if f.study is None]
        name = "all" if len(found) == len(CATALOGUE) else "-".join(["figure", *(f.number for f in found)])
    elif args.original:
        translation = original.translate(args.original)
        if translation.without_effect:
            print(f"without effect in a net of one layer: {', '.join(translation.without_effect)}")
        studies, drawn, name = [translation.study], [], translation.study.name
    else:
        given["options"] = given.pop("option", ())
        grid = sweeps.parse_sweep(given.pop("sweep", ()))
        make = sweeps.sweep_study if grid else figures.single_study
        settings = {**given, "grid": grid} if grid else given
        studies, drawn = [make(args.module, ranges=args.range or ["all"], **settings)], []
        name = studies[0].name
    return name + ("-smoke" if args.smoke else ""), [sized(study, args) for study in studies], drawn


def sized(study: Study, args: argparse.Namespace) -> Study:
    """Return the study with the ranges, seeds, iterations and ramp that the arguments ask for."""
    if args.range and not args.module:
        study = dataclasses.replace(study, datasets=figures.find_datasets(args.range))
    if args.smoke:
        study = dataclasses.replace(study.resized(SMOKE_ITERATIONS), seeds=SMOKE_SEEDS)
    if args.seeds is not None:
        study = dataclasses.replace(study, seeds=args.seeds)
    if args.iterations is not None:
        study = study.resized(args.iterations)
    return study if args.ramp is None else study.with_ramp(*args.ramp)


def main(argv: list[str] | None = None) -> int:
    parser = arguments()
    args = parser.parse_args(argv)
    try:
        rates, machine = read_rates(TIMING)
        if args.list:
            print(listing.figure_list(rates, machine), listing.module_list(), sep="\n\n")
            return 0
        for library in ("matplotlib.figure", "scipy.special", "tqdm"):
            load(library)
        name, studies, drawn = describe(args)
        folder = CampaignFolder(args.out or Path("runs") / name, studies, drawn)
        folder.begin(resume=args.resume, overwrite=args.overwrite)
        runs = [member.run for study in studies for member in folder.members[study.name]]
        with CampaignBar(runs, rates) as bar:
            trained = campaign.train(
                runs,
                checkpoint=folder.root.checkpoint,
                progress=bar,
                threads=args.threads,
                device=args.device,
            )
        print(folder.write(trained, published=args.published_statistics))
        if not folder.single:
            reproduction.write_page(folder.root.path / "report.md", folder.root.path, RIVALS)
    except (ValueError, MissingLibraryError) as error:
        parser.error(str(error))
    if trained.interrupted:
        print("interrupted; the same command with --resume continues", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
