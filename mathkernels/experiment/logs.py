"""What a training writes down while it goes on: JSON lines, and TensorBoard's files."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from mathkernels.experiment.optional import load
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.experiment.schedule import Row
from mathkernels.experiment.training import Training


class Log(Protocol):
    """Gets the rows of each epoch that is measured."""

    def begin(self, training: Training) -> None:
        """Called once, with the training as it begins or goes on."""
        ...

    def write(self, rows: Sequence[Row]) -> None:
        """Log new rows."""
        ...

    def close(self) -> None:
        """Called at the end, however that comes about."""
        ...


class JsonLines:
    """A file of a run folder with a line for each row and the seconds since the training began or went on.

    What was logged after the checkpoint is trained again, and so its lines go.
    """

    def __init__(self, folder: RunFolder, name: str) -> None:
        self._folder, self._name = folder, name
        self._file: TextIO | None = None
        self._begun = 0.0

    def begin(self, training: Training) -> None:
        self._folder.write_text(self._name, "".join(json.dumps(row) + "\n" for row in training.rows()))
        self._file, self._begun = (
            (self._folder.path / self._name).open("a", encoding="utf-8"),
            time.monotonic(),
        )

    def write(self, rows: Sequence[Row]) -> None:
        seconds = round(time.monotonic() - self._begun, 3)
        assert self._file is not None, "begin comes first"
        self._file.writelines(json.dumps({**row, "seconds": seconds}) + "\n" for row in rows)
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class TensorBoard:
    """Logs of TensorBoard, a folder for each model.

    Args:
        root: gets the folders.
        names: of the folders, by what stands in the model's rows under the key, None if nothing does.
        columns: that are logged.
        key: a column that tells models apart.
    """

    def __init__(
        self, root: Path, names: Mapping[Any, str], columns: Sequence[str], key: str = "seed"
    ) -> None:
        self._root, self._names, self._columns, self._key = root, names, columns, key
        self._writers: dict[Any, Any] = {}

    def begin(self, training: Training) -> None:
        writer = load("torch.utils.tensorboard").SummaryWriter
        for model, name in self._names.items():
            # what older files have logged after the checkpoint no longer counts
            self._writers[model] = writer(str(self._root / name), purge_step=training.epoch + 1)

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            own = self._writers[row.get(self._key)]
            for column in self._columns:
                own.add_scalar(column, row[column], row["epoch"])
            own.flush()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
