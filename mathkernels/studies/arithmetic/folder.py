"""Everything that a finished or interrupted campaign leaves in its folders."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from mathkernels.experiment import plots, run_files
from mathkernels.experiment.csv_files import LIST
from mathkernels.experiment.run_folder import CONFIG, STATUS, RunFolder, writable
from mathkernels.studies.arithmetic import campaign, panels
from mathkernels.studies.arithmetic import tables as report
from mathkernels.studies.arithmetic.campaign import Selection, Trained
from mathkernels.studies.arithmetic.non_finite import NON_FINITE, non_finite
from mathkernels.studies.arithmetic.study import Member, Study
from mathkernels.studies.arithmetic.tensorboard import check_names, write_runs
from mathkernels.studies.arithmetic.timing import TIMING, rate_table, timing

FIGURE_FILES = ("figure.png", "figure.pdf")
OUTPUTS = run_files.ARITHMETIC
MOST_TABLES = 4  # that are printed; of more studies only a line each


class Drawn(Protocol):
    """A figure that needs no training."""

    @property
    def name(self) -> str:
        """Of its folder."""
        ...

    def write(self, folder: RunFolder) -> None:
        """Write its data and its image."""
        ...


class CampaignFolder:
    """The folder of one study, or a folder with one for each of several studies and drawn figures.

    Args:
        path: created if absent.
        studies: what is trained.
        drawn: figures that need no training.
        tensorboard: folder for logs with the papers' names, one below it for each study.
        threads: what :func:`campaign.train` will be given.

    Raises:
        ValueError: a study, a folder or the number of threads cannot be; nothing is written then.
        MissingLibraryError: tensorboard is wanted and not installed.
    """

    def __init__(
        self,
        path: Path,
        studies: Sequence[Study],
        drawn: Sequence[Drawn] = (),
        *,
        tensorboard: Path | None = None,
        threads: int | None = None,
    ) -> None:
        self.studies, self.drawn = tuple(studies), tuple(drawn)
        self.members = {study.name: study.members() for study in self.studies}  # or it says what is wrong
        self.tensorboard = tensorboard
        campaign.check([member.run for members in self.members.values() for member in members], threads)
        if tensorboard is not None:
            for members in self.members.values():
                check_names(members)
            writable(tensorboard, "--tensorboard")
        self.root = RunFolder(path)

    @property
    def single(self) -> bool:
        return len(self.studies) == 1 and not self.drawn

    def folder(self, name: str) -> RunFolder:
        return self.root if self.single else RunFolder(self.root.path / name)

    def begin(self, *, resume: bool, overwrite: bool) -> None:
        """Claim all folders, see :meth:`RunFolder.begin`; raises ValueError if they hold something else."""
        described = {study.name: study.describe() for study in self.studies}
        if not self.single:
            names = [*described, *(figure.name for figure in self.drawn)]
            files = [CONFIG, STATUS, LIST, *OUTPUTS]
            below = [f"{name}/{file}" for name in names for file in files]
            both = {"figures": names, "studies": described}
            self.root.begin(both, outputs=[*OUTPUTS, *below], resume=resume, overwrite=overwrite)
        for name, config in described.items():
            self.folder(name).begin(config, outputs=OUTPUTS, resume=resume, overwrite=overwrite)

    def write(self, trained: Trained, *, published: bool = False) -> str:
        """Write every study whose runs are all there (a single one as far as it is); return it as text.

        Args:
            published: the papers' half-scale convention for sparsity errors.
        """
        seconds, tables = {}, []
        for study in self.studies:
            members = self.members[study.name]
            results = trained.of([member.run for member in members])
            seconds[study.name] = results.seconds
            if self.single or not results.interrupted:
                text = write_study(self.folder(study.name), study, members, results, published=published)
                if self.tensorboard:
                    write_runs(self.tensorboard / study.name, members, results)
                tables.append(text if len(self.studies) <= MOST_TABLES else text.rpartition("\n")[2])
        for figure in self.drawn:
            figure.write(self.folder(figure.name))
        content = timing(trained, seconds)
        self.root.write_json(TIMING, content)
        self.root.write_json(NON_FINITE, non_finite(trained, self.members))
        if not self.single:
            status = "interrupted" if trained.interrupted else "finished"
            self.root.write_json(STATUS, {"status": status, "seconds": trained.seconds})
        return "\n".join([*tables, "", rate_table(content), f"→ {self.root.path}"])


def write_study(
    folder: RunFolder,
    study: Study,
    members: Sequence[Member],
    results: Selection,
    *,
    published: bool = False,
) -> str:
    """Write the tables, the figure and the status; return the table of successes as text."""
    rows = report.run_rows(members, results, study.name)
    summary = report.summary_rows(members, results, published=published)
    folder.write_csv("runs.csv", rows, report.run_columns(rows))
    folder.write_csv("curves.csv", report.curve_rows(members, results), report.CURVE_COLUMNS)
    folder.write_csv("summary.csv", summary, report.SUMMARY_COLUMNS)
    title = study.title + (" – interrupted" if results.interrupted else "")
    figure = panels.panel_figure(summary, title, study.xlabel, study.panels)
    plots.save(figure, [folder.path / name for name in FIGURE_FILES])
    folder.write_json(
        STATUS,
        {
            "status": "interrupted" if results.interrupted else "finished",
            "seconds": results.seconds,
            "runs": len(members),
            "iterations": study.iterations,
            "total_iterations": study.total_iterations,
            "published_statistics": published,
            "machine": platform.platform(),
            "versions": {
                "python": platform.python_version(),
                **{library: version(library) for library in ("numpy", "torch")},
            },
        },
    )
    size = f"{len(members):,} runs, {study.total_iterations / 1e6:g} million iterations"
    state = "interrupted after" if results.interrupted else "in"
    spent = f"{study.name}: {size} {state} {results.seconds:.1f} s"
    note = report.non_finite_note(summary)
    return f"\n{title}: solved runs\n\n{report.success_table(summary)}\n\n{spent}{note and '; ' + note}"
