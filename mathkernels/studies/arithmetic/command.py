"""Options that the trainers of arithmetic modules share."""

from __future__ import annotations

import argparse

from mathkernels.experiment.parser import folder_argument

MOST_SEEDS = 100_000


def seeds(text: str) -> tuple[int, ...]:
    """Read "25" as 0…24, "10-14" as 10…14 and "3,5,8" as it stands."""
    try:
        if "," in text:
            return tuple(int(part) for part in text.split(","))
        first, last = (int(part) for part in text.split("-")) if "-" in text else (0, int(text) - 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, needs a number, 10-14 or 3,5,8") from None
    if "-" in text and last < first:
        raise argparse.ArgumentTypeError(f"got {text!r}, needs FIRST-LAST with FIRST of at most LAST")
    if last - first >= MOST_SEEDS:
        raise argparse.ArgumentTypeError(f"got {text!r}, needs at most {MOST_SEEDS:,} seeds")
    return tuple(range(first, last + 1))


def add_how(group: argparse._ActionsContainer) -> None:
    """Add the options that every trainer of this kind has."""
    group.add_argument("--out", type=folder_argument, help="run folder (default runs/<name>)")
    held = group.add_mutually_exclusive_group()
    held.add_argument("--resume", action="store_true", help="continue an interrupted run")
    held.add_argument("--overwrite", action="store_true", help="drop the run that the folder holds")
    group.add_argument("--threads", type=int, help="default: all cores")
