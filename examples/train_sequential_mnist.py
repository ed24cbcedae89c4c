"""Sequential MNIST: learn products or sums of digits from images, with an arithmetic unit as recurrent cell.

    python examples/train_sequential_mnist.py --task product --unit NMU LSTM --mnist DIR
    python examples/train_sequential_mnist.py --task sum --z 0 1 --seeds 10        # 8x8 digits, not MNIST

A convolutional net makes a scalar of each image, and the cell runs along the scalars: h_t = unit([l_t,
h_{t-1}]). Training sees products of 2 or sums of 10 digits; tests go on to 20 and to 1,000. Source: Madsen &
Johansen 2020, section 4.2. Ctrl-C keeps what is done, and the same command with --resume continues.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from functools import partial
from pathlib import Path

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # the imports below take seconds, and Ctrl-C among them would be a traceback
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"interrupted\n"), os._exit(130)))

import torch
from torch import Tensor, nn

from mathkernels.data import mnist, ranges
from mathkernels.experiment import command_line
from mathkernels.experiment.optional import load
from mathkernels.experiment.parser import Parser, folder_argument
from mathkernels.experiment.run_folder import STATUS, RunFolder, one_way
from mathkernels.experiment.terminal import run_script
from mathkernels.nn import RecurrentUnit
from mathkernels.studies.sequential_mnist.report import REFERENCE
from mathkernels.studies.sequential_mnist.training import OUTPUTS, Plan, train

PRODUCT = {"NAC-mul": "NACMul", "NAC-sigma": "NACSigma", "NALU": "NALU", "NMU": "NMU", "NAC-nmu": "NACNMU"}
UNITS = {"product": PRODUCT, "sum": {"NAC+": "NAC", "NALU": "NALU", "NAU": "NAU"}}
BASELINE = "LSTM"
MOST_WEIGHT, LAST_STEP = 1e6, 10**12  # of R_z; of a ramp
HAS_Z = ("NMU", "NAC-nmu", "NAC+", "NAU")


class Net(nn.Module):
    """Images of sequences -> scalars -> states of the recurrent cell. The reference has no cell to train."""

    def __init__(self, size: int, task: str, unit: str) -> None:
        super().__init__()
        self.image = published_net() if size == 28 else small_net()
        self.accumulate = torch.cumprod if task == "product" else torch.cumsum
        self.lstm = nn.LSTM(1, 1) if unit == BASELINE else None
        self.cell = RecurrentUnit(UNITS[task][unit]) if unit in UNITS[task] else None

    def scalars(self, images: Tensor) -> Tensor:
        return torch.cat([self.image(part[:, None])[:, 0] for part in images.split(1000)])

    def states(self, l: Tensor) -> Tensor:
        if self.lstm is not None:
            return self.lstm(l[..., None])[0][..., 0]
        return self.accumulate(l, 0) if self.cell is None else self.cell(l)

    def penalty(self, l: Tensor, h: Tensor, ramp: float, z: float) -> Tensor:
        if self.cell is None:
            return l.new_zeros(())
        weighed = z * self.cell.input_regularizer(l, h) if z else 0.0
        return self.cell.regularizer(ramp) + weighed

    def clamp_(self) -> None:
        if self.cell is not None:
            self.cell.clamp_()


def published_net() -> nn.Module:
    """For the 28x28 images of MNIST."""
    first = (nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2))
    second = (nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 1))


def small_net() -> nn.Module:
    """For 8x8 digits, in the manner of the published net."""
    first = (nn.Conv2d(1, 20, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    return nn.Sequential(*first, nn.Linear(180, 64), nn.ReLU(), nn.Linear(64, 1))


def arguments() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(description=__doc__, formatter_class=raw)
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


def describe(args: argparse.Namespace) -> Plan:
    """Return what to train; raises ValueError for what cannot be."""
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
    make = partial(Net, digits.size, args.task)
    return Plan(digits, args.task, configurations, seeds, epochs, (begin, end), make)


def work(args: argparse.Namespace) -> int:
    """Do what the arguments say; return 130 after Ctrl-C, 1 if every run diverged, else 0."""
    for library in ("matplotlib.figure", "scipy.stats", "tqdm", "safetensors.torch"):
        load(library)
    one_way(args.resume, args.overwrite)
    plan = describe(args)
    name = f"sequential-mnist-{args.task}{'-smoke' if args.smoke else ''}"
    folder = RunFolder(args.out or Path("runs") / name)
    folder.begin(plan.config(), outputs=OUTPUTS, resume=args.resume, overwrite=args.overwrite)
    finished, diverged = train(plan, folder)
    status = {"status": "finished" if finished else "interrupted", "data": plan.digits.source}
    folder.write_json(STATUS, {**status, "diverged": diverged})
    if not finished:
        return command_line.INTERRUPTED
    return int(diverged == len(plan.runs()))


def main(argv: list[str] | None = None) -> int:
    parser = arguments()
    args = parser.parse_args(argv)
    return command_line.finish(parser, partial(work, args), command_line.resumable(args.overwrite))


if __name__ == "__main__":
    sys.exit(run_script(main))
