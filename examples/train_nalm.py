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
import os
import signal
import sys
from pathlib import Path

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # the imports below take seconds, and Ctrl-C among them would be a traceback
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"interrupted\n"), os._exit(130)))

from mathkernels.experiment.optional import MissingLibraryError, load
from mathkernels.experiment.terminal import run_script
from mathkernels.studies.arithmetic import campaign
from mathkernels.studies.arithmetic.folder import CampaignFolder
from mathkernels.studies.arithmetic.progress import CampaignBar
from mathkernels.studies.arithmetic.study import Study
from mathkernels.studies.arithmetic.timing import read_rates
from mathkernels.studies.division import figures, listing, original, reproduction, sweeps
from mathkernels.studies.division.catalogue import CATALOGUE
from mathkernels.studies.division.command import SINGLE, arguments, sized
from mathkernels.studies.division.drawn import DrawnFigure

ROOT = Path(__file__).resolve().parents[1]
TIMING, RIVALS = ROOT / "docs/results/paper/timing.json", ROOT / "benchmarks/results/ensemble.json"


def describe(args: argparse.Namespace) -> tuple[str, list[Study], list[DrawnFigure]]:
    """Return a name, what to train and what only to draw; raises ValueError for what cannot be."""
    given = {name: getattr(args, name) for name in SINGLE if getattr(args, name) is not None}
    if given and args.module is None:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"{names}: a figure fixes it; use --module for studies of your own")
    if args.figure is not None:
        found = figures.find_figures(args.figure)
        studies = [figure.study for figure in found if figure.study]
        drawn = [DrawnFigure(figure) for figure in found if figure.study is None]
        name = "all" if len(found) == len(CATALOGUE) else "-".join(["figure", *(f.number for f in found)])
    elif args.original is not None:
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
        how = {"tensorboard": args.tensorboard, "threads": args.threads}
        folder = CampaignFolder(args.out or Path("runs") / name, studies, drawn, **how)
        folder.begin(resume=args.resume, overwrite=args.overwrite)
        runs = [member.run for study in studies for member in folder.members[study.name]]
        with CampaignBar(runs, rates) as bar:
            checkpoint = folder.root.checkpoint
            trained = campaign.train(runs, checkpoint=checkpoint, progress=bar, threads=args.threads)
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
    sys.exit(run_script(main))
