"""The tables and figures of many trainings on the adding problem, over sequence lengths and other values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mathkernels.experiment import configuration, plots
from mathkernels.experiment.adding_config import Config
from mathkernels.experiment.adding_figures import SOLVED, loss_vs_t_figure, losses_figure
from mathkernels.experiment.adding_report import LOSS_COLUMNS, RUN_COLUMNS, SUMMARY_COLUMNS, summary_row
from mathkernels.experiment.run_folder import CONFIG, STATUS, RunFolder

OUTPUTS = ("sweep.csv", "summary.csv", "losses.png", "loss_vs_t.png")


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
    expected = {**configuration.plain(config), **place}
    held = folder.read(CONFIG) or {}
    same = all(held.get(name) == value for name, value in json.loads(json.dumps(expected)).items())
    if not same or (folder.read(STATUS) or {}).get("status") != "finished":
        return None
    losses, runs = folder.read_csv("loss.csv", LOSS_COLUMNS), folder.read_csv("runs.csv", RUN_COLUMNS)
    return [_numbers(row) for row in losses], [_numbers(row) for row in runs]


def _numbers(row: Mapping[str, str]) -> dict[str, Any]:
    """Return the cells that hold something, numbers as numbers."""
    return {key: _number(text) for key, text in row.items() if text}


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


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
