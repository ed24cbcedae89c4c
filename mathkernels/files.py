"""Files that are whole or absent, and folders that one process at a time may write."""

from __future__ import annotations

import os
import re
import socket
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

LOCK = ".lock"
_HOST = re.sub(r"[^\w-]", "_", socket.gethostname())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that is flushed and replaces it if the block succeeds.

    The name holds host and process, because several may write into one folder of a shared file system, and
    ends in the suffix of ``path``, from which some writers take the format.
    """
    temporary = path.with_name(f".{path.stem}.{_HOST}-{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what processes of this machine that died while they wrote ``path`` have left beside it."""
    name = re.compile(re.escape(f".{path.stem}.{_HOST}-") + r"(\d+)\.tmp" + re.escape(path.suffix))
    for found in path.absolute().parent.iterdir():
        match = name.fullmatch(found.name)
        if match and not _is_alive(int(match[1])):
            found.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


class FolderLock:
    """The right of this process to write a folder; it ends with the last holder of the object or the process.

    Within a process all share one lock of a folder, because a second lock of the same file would refuse it.
    """

    _held: ClassVar[weakref.WeakValueDictionary[tuple[int, Path], FolderLock]] = weakref.WeakValueDictionary()

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._owner = os.getpid()

    @classmethod
    def take(cls, folder: Path, what: str) -> FolderLock:
        """Lock the folder.

        Args:
            folder: an existing folder.
            what: how the error names it.

        Raises:
            ValueError: another process holds it; the message names that process.
            OSError: the file system can keep no lock, or the folder cannot be written.
        """
        import fcntl  # not on Windows, where the rest of the package must still import

        key = (os.getpid(), folder.resolve())
        if held := cls._held.get(key):
            return held
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise ValueError(f"{what}: '{folder}' is in use by {holder}; wait for it, or stop it") from None
        except OSError:
            os.close(descriptor)
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        lock = cls(descriptor)
        cls._held[key] = lock
        return lock

    def __del__(self) -> None:
        os.close(self._descriptor)
