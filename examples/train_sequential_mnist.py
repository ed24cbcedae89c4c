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

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # the imports below take seconds, and Ctrl-C among them would be a traceback
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"interrupted\n"), os._exit(130)))

import torch
from torch import Tensor, nn

from mathkernels.experiment import command_line
from mathkernels.experiment.optional import load
from mathkernels.experiment.run_folder import STATUS, RunFolder, one_way
from mathkernels.experiment.terminal import run_script
from mathkernels.nn import RecurrentUnit
from mathkernels.studies.sequential_mnist.command import BASELINE, UNITS, arguments, described, folder_of
from mathkernels.studies.sequential_mnist.training import OUTPUTS, train


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


def work(args: argparse.Namespace) -> int:
    """Do what the arguments say; return 130 after Ctrl-C, 1 if every run diverged, else 0."""
    for library in ("matplotlib.figure", "scipy.stats", "tqdm", "safetensors.torch"):
        load(library)
    one_way(args.resume, args.overwrite)
    plan, folder = described(args, Net), RunFolder(folder_of(args))
    folder.begin(plan.config(), outputs=OUTPUTS, resume=args.resume, overwrite=args.overwrite)
    finished, diverged = train(plan, folder)
    status = {"status": "finished" if finished else "interrupted", "data": plan.digits.source}
    folder.write_json(STATUS, {**status, "diverged": diverged})
    if not finished:
        return command_line.INTERRUPTED
    return int(diverged == len(plan.runs()))


def main(argv: list[str] | None = None) -> int:
    parser = arguments(__doc__ or "")
    args = parser.parse_args(argv)
    return command_line.finish(parser, partial(work, args), command_line.resumable(args.overwrite))


if __name__ == "__main__":
    sys.exit(run_script(main))
