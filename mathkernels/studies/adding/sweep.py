"""The tables and figures of many trainings on the adding problem, over sequence lengths and other values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mathkernels import files
from mathkernels.data import ranges
from mathkernels.experiment import plots, run_files
from mathkernels.experiment.run_folder import CONFIG, STATUS, RunFolder
from mathkernels.studies.adding.config import Config
from mathkernels.studies.adding.figures import SOLVED, loss_vs_t_figure, losses_figure
from mathkernels.studies.adding.report import LOSS_COLUMNS, RUN_COLUMNS, SUMMARY_COLUMNS, summary_row
from mathkernels.studies.adding.training import described

OUTPUTS = run_files.ADDING_SWEEP
_TEXTS = ("stopped",)  # columns that are no numbers
_VALUE = (
    r"(?:t|forget_bias|learning_rate|clip_norm|es_patience)(?:none|[\d.+-]+(?:e[+-]?\d+)?)|initial[a-z-]+"
)
_COMBINATION = re.compile(rf"(?:{_VALUE})(?:-(?:{_VALUE}))*")  # names of folders, see Config.combinations


def read_finished(config: Config, **place: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]] | None:
    """Return the rows of loss.csv and runs.csv of a training, None if it is not there or not finished.

    Args:
        config: of the training; one of another configuration in its folder does not count.
        place: further values of ``config.json`` that must agree.

    Raises:
        ValueError: a table is damaged.
    """
    if not config.artifacts.is_dir():
        return None
    folder = RunFolder(config.artifacts)
    expected = {**described(config), **place}
    held = folder.read(CONFIG) or {}
    same = all(held.get(name) == value for name, value in json.loads(json.dumps(expected)).items())
    if not same or (folder.read(STATUS) or {}).get("status") != "finished":
        return None
    return _numbers(folder, "loss.csv", LOSS_COLUMNS), _numbers(folder, "runs.csv", RUN_COLUMNS)


def _numbers(folder: RunFolder, name: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of a table with the cells that hold something, numbers as numbers."""
    rows = folder.read_csv(name, columns)
    if not rows:
        raise ValueError(f"'{folder.path / name}' has no rows; train it anew")
    return [
        {key: text if key in _TEXTS else _number(text, folder.path / name, key) for key, text in row.items()}
        for row in ({key: text for key, text in row.items() if text} for row in rows)
    ]


def _number(text: str, path: Path, column: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise ValueError(
        f"'{path}' has {ranges.shown(text)} in its column {column}, needs a number; train it anew"
    )


def drop(folder: Path) -> None:
    """Remove what an earlier sweep or training has written into a folder and into those of combinations.

    A folder below is one of a sweep if its name and its configuration say so. Status files go first, so that
    nothing passes for finished if this is interrupted.

    Raises:
        ValueError: another process is training there, or a file cannot be removed.
    """
    if not folder.is_dir():
        return
    trainings = [path for path in sorted(folder.iterdir()) if _is_training(path)]
    locks = [files.FolderLock.take(path, "output folder") for path in (folder, *trainings)]
    for path in trainings:
        run_files.drop(path, (STATUS, *run_files.ADDING, *run_files.RUN))
    run_files.drop(folder, (STATUS, *run_files.EVERY, CONFIG))
    del locks  # which are files, too
    for path in trainings:
        if not any(path.iterdir()):
            path.rmdir()


def _is_training(folder: Path) -> bool:
    if folder.is_symlink() or not _COMBINATION.fullmatch(folder.name):
        return False
    try:
        held = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(held, dict) and {"dataset", "train", "model", "optim", "layer", "models"} <= held.keys()


def write(folder: RunFolder, config: Config) -> str:
    """Write sweep.csv, summary.csv and both figures of the combinations that are finished; return a table."""
    runs, summary, curves = [], [], []
    names: list[str] = []
    for chosen, one in config.combinations():
        names = list(chosen)
        found = read_finished(one)
        if found is None:
            continue
        values = {"t": one.dataset.t, **chosen}
        runs += [{**values, **row} for row in found[1]]
        summary.append({**values, **summary_row(found[1])})
        curves.append((panel_title(values), found[0]))
    if not runs:
        return "no training is finished yet"
    columns = ["t", *(name for name in names if name != "t")]
    folder.write_csv("sweep.csv", runs, [*columns, *RUN_COLUMNS])
    folder.write_csv("summary.csv", summary, [*columns, *SUMMARY_COLUMNS])
    plots.save(losses_figure(curves), [folder.path / "losses.png"], dpi=150)
    plots.save(loss_vs_t_figure(runs, columns[1:]), [folder.path / "loss_vs_t.png"], dpi=150)
    return table(columns, summary)


def panel_title(values: Mapping[str, Any]) -> str:
    """Return what a panel shows, a line a value: on one line the titles of neighbours overlap."""
    return "\n".join(f"{name} {_shown(value)}" for name, value in values.items())


def table(columns: Sequence[str], summary: Sequence[Mapping[str, Any]]) -> str:
    """Return a table in Markdown: solved runs, updates they took, errors, share of right answers."""
    solved = f"solved (MSE < {SOLVED:g})"
    lines = [f"| {' | '.join([*columns, solved, 'updates to solve', 'MSE, median (range)', 'right'])} |"]
    lines.append("|" + "---|" * (len(columns) + 4))
    for row in summary:
        rate = f"{row['solved']}/{row['runs']} [{row['rate_low']:.0%}, {row['rate_high']:.0%}]"
        error = f"{row['val_loss_median']:.2g} ({row['val_loss_min']:.2g}–{row['val_loss_max']:.2g})"
        cells = [*(_shown(row[name]) for name in columns), rate, _updates(row), error]
        lines.append(f"| {' | '.join(cells)} | {row['within_median']:.1%} |")
    return "\n".join(lines)


def _updates(row: Mapping[str, Any]) -> str:
    if not row["solved"]:
        return "–"
    interval = (
        "" if math.isnan(row["updates_low"]) else f" [{row['updates_low']:,.0f}, {row['updates_high']:,.0f}]"
    )
    return f"{row['updates']:,.0f}{interval}"


def _shown(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, (int, float)) else str(value)
