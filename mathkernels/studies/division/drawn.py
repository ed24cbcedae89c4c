"""The figures that need no training: exact weights (Figure 5) and a loss over two weights (Figure 9)."""

from __future__ import annotations

from dataclasses import dataclass

from mathkernels.experiment import plots
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.studies.arithmetic.folder import FIGURE_FILES
from mathkernels.studies.division import exact_figure, landscape
from mathkernels.studies.division.catalogue import Figure

DATA = {"5": "exact.csv", "9": "landscape.csv"}  # the files of their numbers


@dataclass(frozen=True)
class DrawnFigure:
    """A figure of the catalogue as :class:`CampaignFolder` draws it."""

    figure: Figure

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.figure.name

    def write(self, folder: RunFolder) -> None:
        """Compute and draw the figure."""
        title, data = f"Figure {self.figure.number}: {self.figure.title}", DATA[self.figure.number]
        if self.figure.number == "5":
            rows = exact_figure.exact_rows()
            folder.write_csv(data, rows, exact_figure.COLUMNS)
            drawn = exact_figure.exact_figure(rows, title)
        else:
            folder.write_csv(data, landscape.landscape_rows(), landscape.COLUMNS)
            drawn = landscape.landscape_figure(title)
        plots.save(drawn, [folder.path / name for name in FIGURE_FILES])
