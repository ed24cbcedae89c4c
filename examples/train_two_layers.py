"""Train the arithmetic task of two layers: add two subsets of the inputs, then combine the sums.

    python examples/train_two_layers.py                           # simple product: 5 models x 100 seeds
    python examples/train_two_layers.py --operation mul --seeds 9 # main grid: 100 inputs, 5 M iterations
    python examples/train_two_layers.py --operation add --gates --seeds 10 --iterations 500000
    python examples/train_two_layers.py --original "--operation mul --layer-type NALU --simple"

After Madsen & Johansen 2020, *Neural Arithmetic Units*. Ctrl-C saves what is done; --resume continues it.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
from pathlib import Path

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # the imports below take seconds, and Ctrl-C among them would be a traceback
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"interrupted\n"), os._exit(130)))

from mathkernels.experiment.optional import MissingLibraryError, load
from mathkernels.experiment.parser import Parser
from mathkernels.experiment.terminal import run_script
from mathkernels.studies.arithmetic import campaign
from mathkernels.studies.arithmetic.command import add_how, seeds
from mathkernels.studies.arithmetic.folder import CampaignFolder
from mathkernels.studies.arithmetic.progress import CampaignBar
from mathkernels.studies.product import experiments as two_layers
from mathkernels.studies.product import original as original_two_layers
from mathkernels.studies.product.table import write_table

SMOKE_ITERATIONS, SMOKE_SEEDS, SMOKE_SAMPLES = 2_000, (0, 1), 10_000


def arguments() -> argparse.ArgumentParser:
    parser = Parser(description="Train the arithmetic task of two layers.")
    parser.add_argument(
        "--operation", help=f"main grid: {', '.join(two_layers.GRID)}; default: simple product"
    )
    parser.add_argument("--gates", action="store_true", help="with --operation: the NALU's kinds of weights")
    parser.add_argument(
        "--original", metavar="FLAGS", help="a line of the published simple_function_static.py"
    )
    parser.add_argument("--models", nargs="+", help=f"some of {', '.join(two_layers.MODELS)}")
    parser.add_argument("--seeds", type=seeds, help="how many, or which: 100 (default), 10-14, 3,5,8")
    parser.add_argument("--iterations", type=int, help="default 200,000 (simple), 5,000,000; ramps follow")
    parser.add_argument("--smoke", action="store_true", help="two seeds, few iterations: seconds")
    add_how(parser)
    return parser


def describe(args: argparse.Namespace) -> two_layers.Study:
    """Turn the arguments into a study; raises ValueError for names and numbers that cannot be."""
    size = {"samples": SMOKE_SAMPLES} if args.smoke else {}
    if args.original is not None:
        if args.operation is not None or args.gates:
            raise ValueError("--original: its line has the operation; needs neither --operation nor --gates")
        study = original_two_layers.translate(args.original, **size).study
    elif args.operation is not None:
        study = two_layers.grid(args.operation, gates=args.gates, **size)
    elif args.gates:
        raise ValueError("--gates: needs --operation add or mul")
    else:
        study = two_layers.simple_product(**size)
    study = two_layers.chosen(study, args.models)
    if args.smoke:
        study = dataclasses.replace(study.resized(SMOKE_ITERATIONS), seeds=SMOKE_SEEDS)
    if args.seeds is not None:
        study = dataclasses.replace(study, seeds=args.seeds)
    return study if args.iterations is None else study.resized(args.iterations)


def main(argv: list[str] | None = None) -> int:
    parser = arguments()
    args = parser.parse_args(argv)
    try:
        for library in ("matplotlib.figure", "scipy.special", "tqdm"):
            load(library)
        study = describe(args)
        folder = CampaignFolder(args.out or Path("runs") / study.name, [study], threads=args.threads)
        folder.begin(resume=args.resume, overwrite=args.overwrite)
        runs = [member.run for member in folder.members[study.name]]
        with CampaignBar(runs, {}) as bar:
            checkpoint = folder.root.checkpoint
            trained = campaign.train(runs, checkpoint=checkpoint, progress=bar, threads=args.threads)
        print(folder.write(trained))
        print(write_table(folder.root, folder.members[study.name], trained.of(runs)))
    except (ValueError, MissingLibraryError) as error:
        parser.error(str(error))
    if trained.interrupted:
        print("interrupted; the same command with --resume continues", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
