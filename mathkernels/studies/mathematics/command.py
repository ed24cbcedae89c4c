"""The command line of the Deep Math trainer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mathkernels.data.mathematics.generate import generate
from mathkernels.experiment import command_line, configuration
from mathkernels.experiment.distributed import Processes
from mathkernels.experiment.optional import load
from mathkernels.experiment.parser import Parser, folder_argument
from mathkernels.studies.mathematics import weights
from mathkernels.studies.mathematics.config import Config

PRESETS = ("smoke", "cpu", "linear-1d", "gpu", "paper")


def arguments(description: str) -> argparse.ArgumentParser:
    """Return the parser."""
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--preset", choices=PRESETS, default="cpu", help="configs/deepmath-<preset>.yaml (default cpu)")
    add("--settings", metavar="FILE", help="settings.json of the project, or YAML, in place of a preset")
    add("--model", choices=("simple", "attentional", "seq2seq"), help="default: as the file says")
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="over the file: epochs=1")
    add(
        "--data",
        type=folder_argument,
        metavar="PATH",
        help="archive, generated folder, JSON lines or Parquet",
    )
    add("--out", type=folder_argument, metavar="DIR", help="run folder (default: save_path of the file)")
    add("--generate", action="store_true", help="first generate what the data folder lacks")
    add("--workers", type=int, help="processes that generate (default: one for each core)")
    add("--no-train", action="store_true", help="stop when the data are there, indexed and counted")
    add("--stock", action="store_true", help="train the same model on torch.nn layers, for comparison")
    add("--device", default="cpu", help="cuda needs --stock: our LSTM is for the CPU")
    add("--threads", type=int, help="default: as torch chooses")
    add("--resume", action="store_true", help="continue an interrupted training")
    add("--overwrite", action="store_true", help="drop the run that the folder holds")
    add("--tensorboard", type=folder_argument, metavar="DIR", help="write logs, a folder for each model")
    add("--ask", nargs="+", metavar="QUESTION", help='answer with the weights in --out: "Calculate 3 + 4."')
    best = "weights that --ask takes: those that interpolated or extrapolated best"
    add("--best", choices=("interpolate", "extrapolate"), default="interpolate", help=best)
    return parser


def described(args: argparse.Namespace, configs: Path) -> Config:
    """Return the configuration that the arguments ask for.

    Args:
        args: parsed.
        configs: folder of the presets.

    Raises:
        ValueError: the file or an argument does not fit; the message names it.
    """
    command_line.trains(args, "our LSTM has")
    over = [*args.set]
    for key, value in (("model", args.model), ("data_path", args.data), ("save_path", args.out)):
        over += [] if value is None else [f"{key}={configuration.quoted(str(value))}"]
    return configuration.load(Config, _file(args, configs), over)


def _file(args: argparse.Namespace, configs: Path) -> Path:
    """Return the file of the configuration; a bare name is looked for under settings, as in the project."""
    if args.settings is None:
        return configs / f"deepmath-{args.preset}.yaml"
    given, below = Path(args.settings), Path("settings") / args.settings
    return below if below.exists() and not given.exists() else given


def make_data(config: Config, args: argparse.Namespace, own: Processes) -> None:
    """Generate what the data folder lacks, in the first process; others wait."""
    if own.first:
        with load("tqdm").tqdm(unit=" questions", unit_scale=True, disable=None) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            print(generate(config.data_path, config.request(), args.workers, progress))
    own.wait()


def ask(config: Config, args: argparse.Namespace) -> None:
    """Answer the questions of the command line."""
    answerer = weights.Answerer(config.save_path, args.best)
    label = answerer.label
    print(f"weights of epoch {label['epoch']}, {label['of']}" + _error(label))
    for question in args.ask:
        print(answerer.line(question))


def _error(label: Any) -> str:
    return f" {label['error']:.4f}" if "error" in label else ""
