"""Everything that a finished or interrupted study leaves in its run folder."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Protocol

from mathkernels.experiment import plots, report
from mathkernels.experiment.run_folder import STATUS, RunFolder

OUTPUTS = ("runs.csv", "curves.csv", "summary.csv", "figure.png", "figure.pdf")


class Study(Protocol):
    """What the report says of a study."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def iterations(self) -> int: ...


def write_report(
    folder: RunFolder,
    study: Study,
    members: Sequence[report.Member],
    results: report.Results,
    *,
    published: bool = False,
) -> str:
    """Write the tables, the figure and the status; return the table of successes as text.

    Args:
        published: the papers' half-scale convention for sparsity errors.
    """
    rows = report.run_rows(members, results, study.name)
    summary = report.summary_rows(members, results, published=published)
    folder.write_csv("runs.csv", rows, report.run_columns(rows))
    folder.write_csv("curves.csv", report.curve_rows(members, results), report.CURVE_COLUMNS)
    folder.write_csv("summary.csv", summary, report.SUMMARY_COLUMNS)
    title = study.title + (" – interrupted" if results.interrupted else "")
    plots.save(plots.three_panels(summary, title), (folder.path / "figure.png", folder.path / "figure.pdf"))
    folder.write_json(
        STATUS,
        {
            "status": "interrupted" if results.interrupted else "finished",
            "seconds": results.seconds,
            "runs": len(members),
            "iterations": study.iterations,
            "published_statistics": published,
            "machine": platform.platform(),
            "versions": {
                "python": platform.python_version(),
                **{library: version(library) for library in ("numpy", "torch")},
            },
        },
    )
    size = f"{len(members):,} runs of {study.iterations:,} iterations"
    spent = (
        f"interrupted after {results.seconds:.1f} s" if results.interrupted else f"in {results.seconds:.1f} s"
    )
    return f"\n{title}: solved runs\n\n{report.success_table(summary)}\n\n{size} {spent} → {folder.path}"
