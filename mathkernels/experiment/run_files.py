"""The files that trainers write into a run folder, by name: what an overwritten run leaves is known by them.

A file of another name is somebody else's and is never touched. In names <n> stands for digits and <name> for
letters, digits and the signs _ + - and the point.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from mathkernels import files
from mathkernels.experiment.csv_files import LIST

CONFIG, STATUS, CHECKPOINT = "config.json", "status.json", "checkpoint"
RUN = (CONFIG, STATUS, CHECKPOINT, LIST)  # of every run
ADDING = (
    *("loss.csv", "loss.png", "runs.csv", "config_copy.yaml", "model/seed<n>.safetensors"),
    *("pred.npz", "pred.json"),
)
ADDING_SWEEP = ("sweep.csv", "summary.csv", "losses.png", "loss_vs_t.png")
EQUATIONS = (
    *("config.yaml", "report.txt", "activations.ansi", "log.jsonl", "curves.csv", "model.safetensors"),
    *("runs.csv", "mistakes.csv", "strata.csv", "positions.csv"),
    *("accuracy.png", "loss.png", "errors.png", "error_sizes.png", "neurons.png", "neuron.png"),
)
SEQUENTIAL = ("runs.csv", "curves.csv", "summary.csv", "figure.png", "weights/<name>-seed<n>.safetensors")
MATHEMATICS = (
    *("config.yaml", "log.jsonl", "curves.csv", "samples.csv", "table.md", "curves.png", "attention.png"),
    *("bars-epoch<n>.png", "bars.gif", "last.safetensors"),
    *("best-interpolate.safetensors", "best-extrapolate.safetensors"),
)
SYMBOLIC = (
    *("config.yaml", "log-<name>.jsonl", "history.csv", "scores.csv", "samples.csv", "table.md"),
    *("curves.png", "attention.png", "<name>.safetensors"),
    *("robustness.csv", "robustness-samples.csv", "robustness.md"),
)
ARITHMETIC = (
    *(
        "runs.csv",
        "curves.csv",
        "summary.csv",
        "figure.png",
        "figure.pdf",
        "timing.json",
        "non_finite.json",
        "table.md",
    ),
    *("report.md", "exact.csv", "landscape.csv", "checkpoint-<name>"),
)
EVERY = tuple(
    dict.fromkeys(
        (
            *ADDING,
            *ADDING_SWEEP,
            *EQUATIONS,
            *SEQUENTIAL,
            *MATHEMATICS,
            *SYMBOLIC,
            *ARITHMETIC,
            LIST,
            CHECKPOINT,
        )
    )
)
_PLACEHOLDERS = {"<n>": r"\d+", "<name>": r"[\w.+-]+"}


def found(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """Yield the files of a folder that have one of the names; folders do not count."""
    for name in names:
        inner, _, last = name.rpartition("/")
        pattern = re.escape(last)
        for placeholder, expression in _PLACEHOLDERS.items():
            pattern = pattern.replace(re.escape(placeholder), expression)
        within = folder / inner
        if pattern == re.escape(last):
            candidates: Iterable[Path] = [within / last]
        else:
            candidates = sorted(within.iterdir()) if within.is_dir() else ()
        for path in candidates:
            if re.fullmatch(pattern, path.name) and (path.is_file() or path.is_symlink()):
                yield path


def _inner(folder: Path, names: Iterable[str]) -> list[Path]:
    return [folder / inner for inner in dict.fromkeys(n.rpartition("/")[0] for n in names) if inner]


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove the files of these names, what died while it wrote one, and folders that are empty then."""
    names = tuple(names)
    for path in found(folder, names):
        path.unlink(missing_ok=True)
    for inner in _inner(folder, names):
        if inner.is_dir():
            files.remove_leftovers(inner)
            if not inner.is_symlink() and not any(inner.iterdir()):
                inner.rmdir()


def drop(folder: Path, names: Iterable[str]) -> None:
    """The same for the folder of an earlier run.

    Raises:
        ValueError: a file cannot be removed.
    """
    try:
        remove(folder, names)
    except OSError as error:
        what = f"'{error.filename}', which an earlier run wrote, cannot be removed ({error.strerror})"
        raise ValueError(f"output folder: {what}; needs another folder") from error


def blocked(folder: Path, names: Iterable[str]) -> Path | None:
    """Return what stands in the way of these files: a folder in the place of one, or a file of a folder."""
    names = tuple(names)
    places = [folder / name for name in names if "<" not in name]
    in_the_way = [path for path in places if path.is_dir()]
    in_the_way += [path for path in _inner(folder, names) if path.exists() and not path.is_dir()]
    return in_the_way[0] if in_the_way else None


def inner_folders(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the folders below that hold files of these names, as far as they exist."""
    return [path for path in _inner(folder, names) if path.is_dir()]
