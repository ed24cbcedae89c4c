"""The command line of the trainer on symbolic integration."""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path

from mathkernels.data.symbolic import generate
from mathkernels.experiment import command_line, configuration
from mathkernels.experiment.optional import load
from mathkernels.experiment.parser import Parser, folder_argument
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.studies.integration import robustness
from mathkernels.studies.integration.config import Config
from mathkernels.studies.integration.weights import Answerer

PRESETS = ("smoke", "cpu", "full")
ALL = "all"


def arguments(description: str) -> argparse.ArgumentParser:
    """Return the parser."""
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--preset", choices=PRESETS, default="cpu", help="configs/symbolic-<preset>.yaml (default cpu)")
    add(
        "--config",
        type=Path,
        metavar="FILE",
        help="YAML in place of a preset; model_params as in the project",
    )
    add("--trial", "--trials", nargs="+", default=[ALL], metavar="N", help="numbers or names; default: all")
    add(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="over the file: patience=9"
    )
    add("--replica", action="store_true", help="logits, loss, stream and first state as the project has them")
    add("--method", choices=("bwd", "fwd", "ibp", ALL), help="whose pairs train; default: as the file says")
    add("--data", type=folder_argument, metavar="DIR", help="has bwd/prim_bwd.train and so on")
    add("--generate", action="store_true", help="first draw the pairs that the data folder lacks")
    add("--workers", type=int, help="processes that draw (default: one for each core)")
    add("--no-train", action="store_true", help="stop when the pairs are there and counted")
    add("--out", type=folder_argument, metavar="DIR", help="run folder (default: save_path of the file)")
    add("--stock", action="store_true", help="train the same models on torch.nn layers, for comparison")
    add("--device", default="cpu", help="cuda needs --stock: our layers are for the CPU")
    add("--threads", type=int, help="default: as torch chooses")
    add("--resume", action="store_true", help="continue an interrupted training")
    add("--overwrite", action="store_true", help="drop the run that the folder holds")
    more = "give the weights in --out problems of other kinds: a stress suite, textbooks, sums"
    add("--robustness", action="store_true", help=more)
    add("--compare", nargs="+", type=Path, metavar="RUN", help="print a table of runs that have ended")
    add("--tensorboard", type=folder_argument, metavar="DIR", help="write logs, a folder for each trial")
    add("--ask", nargs="+", metavar="PROBLEM", help='solve with the weights in --out: "integrate x*cos(x)"')
    return parser


def described(args: argparse.Namespace, configs: Path) -> Config:
    """Return the configuration that the arguments ask for.

    Args:
        args: parsed.
        configs: folder of the presets.

    Raises:
        ValueError: the file or an argument does not fit; the message names it.
    """
    command_line.trains(args, "our layers have")
    over = [*args.set]
    for key, value in (("method", args.method), ("data_path", args.data), ("save_path", args.out)):
        over += [] if value is None else [f"{key}={configuration.quoted(str(value))}"]
    config = configuration.load(Config, args.config or configs / f"symbolic-{args.preset}.yaml", over)
    return config.as_published() if args.replica else config


def chosen(config: Config, given: list[str]) -> tuple[str, ...]:
    """Return the names of the trials that are asked for by name or number, in their order.

    Raises:
        ValueError: there is no such trial; the nearest is suggested.
    """
    known = [*config.model_params]
    if given == [ALL]:
        return tuple(known)
    names = [_name(one) for one in given]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            more = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
            raise ValueError(f"--trial: got {name!r}{more}")
    return tuple(name for name in known if name in names)


def _name(given: str) -> str:
    return f"trial_{given}" if given.isdecimal() else given


def make_data(config: Config, workers: int | None) -> None:
    """Draw the pairs that the data folder lacks."""
    for method in dict.fromkeys((*config.generate.methods, *config.methods)):
        with load("tqdm").tqdm(unit=" pairs", unit_scale=True, disable=None, desc=method) as bar:

            def progress(done: int, total: int, bar: object = bar) -> None:
                bar.total = total  # pyright: ignore[reportAttributeAccessIssue]
                bar.update(done - bar.n)  # pyright: ignore[reportAttributeAccessIssue]

            report = generate.generate(config.folder(method), config.request(method), workers, progress)
        if report.drawn:
            print(f"{method}: {report}")


def answerer_of(config: Config, args: argparse.Namespace) -> Answerer:
    """Return the trained model that is asked for, and print which it is."""
    found = Answerer(config.save_path, None if args.trial == [ALL] else _name(args.trial[0]))
    print(f"{found.trial}, weights of epoch {found.epoch}, validation loss {found.loss:.4f}")
    return found


def ask(config: Config, args: argparse.Namespace) -> None:
    """Answer the problems of the command line."""
    answerer = answerer_of(config, args)
    for question in args.ask:
        print(answerer.ask(question, max(config.beams)))


def try_others(config: Config, args: argparse.Namespace) -> None:
    """Give a trained model problems of other kinds, and write what came of it beside the weights."""
    answerer = answerer_of(config, args)
    beams = max(answerer.config.beams)
    rows = robustness.measured(answerer, beams, config.seed)
    text, folder = robustness.table(rows, beams), RunFolder(config.save_path)
    folder.write_csv("robustness.csv", robustness.plain(rows), [*robustness.COLUMNS])
    folder.write_csv("robustness-samples.csv", robustness.samples(rows), [*robustness.SAMPLES])
    folder.write_text("robustness.md", text + "\n")
    print(text)
