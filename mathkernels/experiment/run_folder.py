"""A run folder: its configuration, files that are either whole or absent, and one process at a time."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mathkernels import __version__, files
from mathkernels.experiment import csv_files, run_files
from mathkernels.experiment.csv_files import plain_number
from mathkernels.experiment.run_files import CHECKPOINT, CONFIG, STATUS

__all__ = [
    "CHECKPOINT",
    "CONFIG",
    "FORMAT",
    "STATUS",
    "FolderError",
    "RunFolder",
    "one_way",
    "plain_number",
    "replacing",
    "writable",
]

FORMAT = 1  # of the files of a folder together
RUNNING = "running"

# Folders that this process has begun and not yet finished; their locks end with the process at the latest.
_begun: dict[Path, files.FolderLock] = {}


class FolderError(OSError, ValueError):
    """A file of a run folder could not be written; what was there before is still there."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``, of the same suffix, that replaces it if the block succeeds.

    Raises:
        FolderError: the disk is full, say; the message names the file and what to do.
    """
    try:
        with files.replacing(path) as temporary:
            yield temporary
    except FolderError:
        raise
    except OSError as error:
        raise _unwritten(path, error) from error


def writable(path: str | os.PathLike[str], what: str) -> Path:
    """Make a folder if it is absent, and return its path.

    Args:
        path: of the folder.
        what: how a message names it.

    Raises:
        ValueError: it cannot be made or written; said before anything is computed.
    """
    needs = "needs a folder you can write to"
    if os.fspath(path) == "":
        raise ValueError(f"{what}: got an empty name; {needs}")
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        in_the_way = isinstance(error, FileExistsError)
        reason = "there is a file" if in_the_way else getattr(error, "strerror", None) or str(error)
        raise ValueError(f"{what}: got {str(path)!r}, which cannot be written ({reason}); {needs}") from error
    return folder


def _unwritten(path: Path, error: OSError) -> FolderError:
    what = f"'{path}' could not be written ({error.strerror or error}), the old file is kept"
    return FolderError(f"output folder: {what}; make room and run the same command with --resume")


def one_way(resume: bool, overwrite: bool) -> None:
    """Refuse to continue a run and to drop it in one command."""
    if resume and overwrite:
        what = "--resume continues the run that --overwrite drops"
        raise ValueError(f"--resume, --overwrite: got both; {what}, needs one of them")


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


class RunFolder:
    """The folder of one run.

    Args:
        path: created if absent.
        elsewhere: the option that takes another folder, for messages.

    Raises:
        ValueError: the folder cannot be made or written, said before anything is computed.
    """

    def __init__(self, path: str | os.PathLike[str], elsewhere: str = "--out") -> None:
        self.path, self._elsewhere = writable(path, "output folder"), elsewhere

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
        beside: Collection[str] = (),
    ) -> None:
        """Claim the folder for a run of this configuration and write it down.

        A finished run of the same configuration is replaced. To keep what is computed, an unfinished run must
        be resumed or overwritten explicitly, and a run of another configuration overwritten explicitly. Until
        the status is written that ends the run, or the process ends, no other process can begin here.

        A run that is not resumed begins without a file of the one before: ``outputs`` are removed, and when
        it overwrites whatever any trainer writes (:mod:`run_files`). Other files are left alone. A kill
        in between leaves an unfinished run of the old configuration or of the new one, never a mixture.

        Args:
            config: JSON values that decide the result.
            outputs: names of the run's files, see :mod:`run_files`. The folder keeps the list, by which they
                are removed when the run is overwritten, by whatever run.
            resume: continue the checkpoint in the folder, if there is one.
            overwrite: drop whatever run the folder holds.
            beside: keys of a configuration on disk that need not agree.

        Raises:
            ValueError: the folder holds something else, another process uses it, something stands in the way
                of a file, or it shall be resumed and overwritten at once.
        """
        one_way(resume, overwrite)
        config, outputs = json.loads(json.dumps(config)), tuple(outputs)
        self._check_places((*outputs, CONFIG, STATUS, CHECKPOINT, csv_files.LIST))
        if lock := files.FolderLock.take(self.path, "output folder"):
            _begun[self.path.resolve()] = lock
        try:
            files.remove_leftovers(self.path)
            earlier = self._outputs()
            if not overwrite:
                self._check(config, outputs, resume, beside)
            elif (self.path / CONFIG).exists() and (self.path / CONFIG).read_bytes() != _json(
                config
            ).encode():
                # first of all, so that nothing in the folder passes for a result of the new configuration
                self.write_json(STATUS, {"status": RUNNING})
                run_files.drop(self.path, (*run_files.EVERY, *earlier))
            self.write_json(CONFIG, config)
            self.write_json(STATUS, {"status": RUNNING, "outputs": outputs})
            if not resume:
                others = (*run_files.EVERY, *earlier) if overwrite else (CHECKPOINT, csv_files.LIST)
                run_files.drop(self.path, (*outputs, *others))
        except BaseException:
            _begun.pop(self.path.resolve(), None)
            raise

    def _check_places(self, outputs: Sequence[str]) -> None:
        if path := run_files.blocked(self.path, outputs):
            what = "is a folder, and a file is to be written" if path.is_dir() else "is no folder"
            raise ValueError(f"output folder: '{path}' {what}; {self._elsewhere} takes another folder")
        for inner in run_files.inner_folders(self.path, outputs):
            writable(inner, "output folder")

    def _check(
        self, config: Mapping[str, Any], outputs: Sequence[str], resume: bool, beside: Collection[str]
    ) -> None:
        held = self.read(CONFIG)
        ways = f"{self._elsewhere} takes another folder, --overwrite drops what is there"
        if held is None:
            foreign = None if resume else next(run_files.found(self.path, outputs), None)
            if foreign is not None:
                what = f"holds {foreign.relative_to(self.path)} but no {CONFIG} of a run that wrote it"
                raise ValueError(f"output folder: '{self.path}' {what}; {ways}")
            return
        different = [
            key for key in {**held, **config} if key not in beside and held.get(key) != config.get(key)
        ]
        if different:
            what = f"another run, which differs in {', '.join(different)}"
            raise ValueError(f"output folder: '{self.path}' holds {what}; {ways}")
        status = self.read(STATUS) or {"format": FORMAT, "mathkernels": __version__}
        if status.get("status") == "finished":
            return
        if not resume and self.checkpoint.exists():
            raise ValueError(
                f"output folder: '{self.path}' holds an unfinished run; --resume continues it, {ways}"
            )
        begun_by = status.get("format"), status.get("mathkernels")
        if resume and begun_by != (FORMAT, __version__):
            what = f"a run begun by another version of mathkernels ({begun_by[1]}, this is {__version__})"
            raise ValueError(f"output folder: '{self.path}' holds {what}; {ways}")

    def _outputs(self) -> list[str]:
        """Return what the run in the folder has listed as its files, as far as that lies in the folder."""
        try:
            listed = (self.read(STATUS) or {}).get("outputs")
        except ValueError:
            return []  # a damaged status is dropped as well
        names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
        return [name for name in names if name and not name.startswith("/") and ".." not in Path(name).parts]

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a JSON file of the folder, or None if it is absent."""
        path = self.path / name
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(
                f"'{path}' is not valid JSON ({error}); --overwrite drops what is there"
            ) from error
        if not isinstance(content, dict):
            raise ValueError(f"'{path}' holds no JSON object; --overwrite drops what is there")
        return content

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file. A status gets the versions, and one other than running frees the folder."""
        if name == STATUS:
            content = {"outputs": self._outputs(), **content, "format": FORMAT, "mathkernels": __version__}
        with replacing(self.path / name) as temporary:
            temporary.write_text(_json(content), encoding="utf-8")
        if name == STATUS and content.get("status") != RUNNING:
            _begun.pop(self.path.resolve(), None)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file."""
        with replacing(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def write_csv(self, name: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """Write rows under the columns; what a row lacks, and NaN, stays empty."""
        try:
            csv_files.write_csv(self.path / name, rows, columns)
        except OSError as error:
            raise _unwritten(self.path / name, error) from error

    def read_csv(self, name: str, columns: Sequence[str] = ()) -> list[dict[str, str]]:
        """Return a table of a run that has ended, see :func:`csv_files.read_csv`.

        Raises:
            ValueError: the run has not ended, it is of another version, or the table is not whole.
        """
        status = self.read(STATUS)
        if status is not None and status.get("format") != FORMAT:
            what = f"format {status.get('format')!r}, this version of mathkernels reads {FORMAT}"
            raise ValueError(f"'{self.path / STATUS}' has {what}; train it anew")
        if status is not None and status.get("status") == RUNNING:
            raise ValueError(f"'{self.path}' holds an unfinished run; --resume finishes it")
        return csv_files.read_csv(self.path / name, columns)
