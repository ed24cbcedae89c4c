"""The checkpoint folder of a fit in shards: how the runs were cut, one checkpoint per shard, a sign to stop.

It lies on a file system that the workers share. The cut is kept, because a resumed fit has to make the same
shards again whatever the new executor would suggest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mathkernels.ensemble import checkpoint
from mathkernels.ensemble.describe import Run
from mathkernels.files import FolderLock, remove_leftovers, replacing

Cut = list[list[int]]  # per shard the indices of its runs


class ShardFolder:
    """The folder of one fit; made if it is absent, its parent must exist.

    Args:
        path: of the folder.
        runs, settings: as for a :class:`Checkpoint`.

    Raises:
        ValueError, TypeError: this is no path of a folder, it cannot be written, another fit uses it, or it
            belongs to other runs or settings.
    """

    def __init__(self, path: str | os.PathLike[str], runs: Sequence[Run], settings: dict[str, Any]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"checkpoint: got {path!r}, needs a path or None")
        if "\0" in str(path):
            raise ValueError(f"checkpoint: got {str(path)!r}, needs the path of a folder (no NUL character)")
        self.path = Path(path).absolute()  # workers have working folders of their own
        try:
            if self.path.exists() and not self.path.is_dir():
                what = "needs the path of a folder when an executor is given, this is a file"
                raise ValueError(f"checkpoint: got {str(path)!r}, {what}")
            self.path.mkdir(exist_ok=True)
            self._lock = FolderLock.take(self.path, "checkpoint")
            self.stop.unlink(missing_ok=True)
        except OSError as error:
            what = f"needs a folder that can be made and written ({error})"
            raise ValueError(f"checkpoint: got {str(path)!r}, {what}") from error
        self._header = checkpoint.header(runs, settings)
        self._manifest = self.path / "fit.json"
        remove_leftovers(self.path, self._manifest.stem)
        self._held = self._read()

    @property
    def stop(self) -> Path:
        """A file whose presence tells the workers to save and to return what they have."""
        return self.path / "stop"

    @property
    def seconds(self) -> float:
        """Wall time of the fits before this one."""
        return float(self._held["seconds"]) if self._held else 0.0

    def file(self, shard: int) -> Path:
        return self.path / f"shard-{shard:04d}.npz"

    def cut(self, wanted: int | None) -> Cut | None:
        """Return the shards that the folder holds, or None if it is new.

        Raises:
            ValueError: it holds another number of shards than wanted.
        """
        if self._held is None:
            return None
        shards: Cut = self._held["shards"]
        if wanted not in (None, len(shards)):
            what = f"{self.path} holds {len(shards)} shards; leave it out to resume them"
            raise ValueError(f"shards: got {wanted}, but {what}")
        return shards

    def write(self, cut: Cut, seconds: float) -> None:
        self._held = {**self._header, "shards": cut, "seconds": seconds}
        with replacing(self._manifest) as temporary:
            temporary.write_text(json.dumps(self._held), encoding="utf-8")

    def _read(self) -> dict[str, Any] | None:
        if not self._manifest.exists():
            return None
        try:
            held = json.loads(self._manifest.read_text(encoding="utf-8"))
            indices = sorted(index for shard in held["shards"] for index in shard)
            checkpoint.compare(self.path, held, self._header)
            if any(type(index) is not int for index in indices) or not held["seconds"] >= 0:
                raise ValueError("its shards or seconds are no numbers")
        except checkpoint.MismatchError:
            raise
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            what = (
                f"{self._manifest} is damaged or of another kind ({error}); remove the folder to start anew"
            )
            raise ValueError(f"checkpoint: {what}") from error
        if indices != list(range(len(held["runs"]))):
            raise ValueError(f"checkpoint: {self._manifest} is damaged; remove the folder to start anew")
        return held
