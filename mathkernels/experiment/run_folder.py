"""A run folder: its configuration, and files that are either whole or absent."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CONFIG, STATUS, CHECKPOINT = "config.json", "status.json", "checkpoint"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``, of the same suffix, that replaces it if the block succeeds."""
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


def plain_number(value: Any) -> Any:
    """Return what a CSV cell shows: the shortest digits that read back exactly, and nothing for NaN."""
    return "" if value != value else value


class RunFolder:
    """The folder of one run.

    Args:
        path: created if absent.

    Raises:
        ValueError: the folder cannot be made or written, said before anything is computed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            what = f"got '{path}', which cannot be written ({reason})"
            raise ValueError(f"output folder: {what}; needs a folder you can write to") from error

    @property
    def checkpoint(self) -> Path:
        return self.path / CHECKPOINT

    def begin(
        self,
        config: Mapping[str, Any],
        *,
        outputs: Iterable[str] = (),
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        """Claim the folder for a run of this configuration and write it down.

        A finished run of the same configuration is replaced. To keep what is computed, an unfinished run must
        be resumed or overwritten explicitly, and a run of another configuration overwritten explicitly.

        Args:
            config: JSON values that decide the result.
            outputs: files of the run; those of another configuration are removed when it is overwritten.
            resume: continue the checkpoint in the folder, if there is one.
            overwrite: drop whatever run the folder holds.
        """
        config = json.loads(json.dumps(config))
        if overwrite:
            self._drop(outputs, config)
        else:
            self._check(config, resume)
        if not resume:
            self.checkpoint.unlink(missing_ok=True)
        self.write_json(CONFIG, config)
        self.write_json(STATUS, {"status": "running"})

    def _check(self, config: Mapping[str, Any], resume: bool) -> None:
        held = self.read(CONFIG)
        if held is None:
            return
        ways = "--out takes another folder, --overwrite drops what is there"
        different = [key for key in {**held, **config} if held.get(key) != config.get(key)]
        if different:
            what = f"another run, which differs in {', '.join(different)}"
            raise ValueError(f"output folder: '{self.path}' holds {what}; {ways}")
        finished = (self.read(STATUS) or {}).get("status") == "finished"
        if not resume and not finished and self.checkpoint.exists():
            raise ValueError(
                f"output folder: '{self.path}' holds an unfinished run; --resume continues it, {ways}"
            )

    def _drop(self, outputs: Iterable[str], config: Mapping[str, Any]) -> None:
        path = self.path / CONFIG
        if path.exists() and path.read_text() != _json(config):
            for name in outputs:  # tables of one run beside the configuration of another would mislead
                (self.path / name).unlink(missing_ok=True)

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a JSON file of the folder, or None if it is absent."""
        path = self.path / name
        if not path.exists():
            return None
        try:
            return json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(
                f"'{path}' is not valid JSON ({error}); --overwrite drops what is there"
            ) from error

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        with replacing(self.path / name) as temporary:
            temporary.write_text(_json(content))

    def write_csv(self, name: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """Write rows under the columns; what a row lacks, and NaN, stays empty."""
        with replacing(self.path / name) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows({key: plain_number(value) for key, value in row.items()} for row in rows)
