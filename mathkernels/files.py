"""Files that are whole or absent, and folders that one process at a time may write."""

from __future__ import annotations

import errno
import itertools
import os
import re
import socket
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

LOCK = ".lock"
_numbers = itertools.count()  # of the temporary files of this process; next() is atomic
_HOST = re.sub(r"[^\w-]", "_", socket.gethostname())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that is flushed and replaces it if the block succeeds.

    The name holds host, process and a number, because several processes and threads may write into one folder
    of a shared file system, and ends in the suffix of ``path``, from which some writers take the format. A
    symbolic link stays one: what it points to is replaced.
    """
    path = Path(os.path.realpath(path))
    temporary = _temporary(path)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{_HOST}-{os.getpid()}.{next(_numbers)}.tmp{path.suffix}")


def check_replaceable(path: str | os.PathLike[str], what: str) -> Path:
    """Return the path if :func:`replacing` can write it, now that nothing is lost yet.

    Args:
        path: of a file, existing or not.
        what: how a message names it.

    Raises:
        TypeError, ValueError: it is no path of a file, or its folder is missing or cannot be written.
    """
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise TypeError(f"{what}: got {path!r}, needs a path or None")
    shown = f"{what}: got {_shortened(os.fspath(path))}"
    if not os.fspath(path):
        raise ValueError(f"{shown}, needs the path of a file")
    try:
        target = Path(os.path.realpath(path))  # what a symbolic link points to
        if not target.parent.is_dir():
            raise ValueError(f"{shown}, needs a path in an existing folder, {target.parent} is none")
        if target.is_dir():
            raise ValueError(f"{shown}, needs the path of a file, this is a folder")
        if target.exists() and not target.is_file():
            raise ValueError(f"{shown}, needs the path of a file, this is a device, pipe or socket")
        # permissions say too little: a read-only file system refuses root as well
        temporary = _temporary(target)
        try:
            temporary.touch()
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        where = "a path that can be written" if error.errno == errno.ENAMETOOLONG else "a writable folder"
        raise ValueError(f"{shown}, needs {where} ({error.strerror or error})") from error
    except ValueError as error:
        if str(error).startswith(what):
            raise
        raise ValueError(f"{shown}, needs a path of a file ({error})") from None  # a NUL character, say
    return Path(path)


def _shortened(text: str) -> str:
    return repr(text) if len(text) <= 120 else f"{text[:80]!r}… of {len(text)} characters"


def remove_leftovers(folder: Path, stem: str | None = None) -> None:
    """Remove what processes of this machine that died in the middle of ``replacing`` have left in a folder.

    Args:
        folder: an existing folder.
        stem: of the one file that is meant, or None for all.
    """
    name = re.compile(rf"\.(.+)\.{re.escape(_HOST)}-(\d+)(?:\.\d+)?\.tmp(\.[^.]*)?")
    for found in folder.iterdir():
        match = name.fullmatch(found.name)
        if match and stem in (None, match[1]) and not _is_alive(int(match[2])):
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

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        self._owner = os.getpid()

    @classmethod
    def take(cls, folder: Path, what: str) -> FolderLock | None:
        """Lock the folder; on a file system that keeps no locks, warn and return None.

        Args:
            folder: an existing folder that can be written.
            what: how a message names it.

        Raises:
            ValueError: another process holds it; the message names that process.
        """
        key = (os.getpid(), folder.resolve())
        if held := cls._held.get(key):
            return held
        path = folder.resolve() / LOCK
        try:
            descriptor = _locked(path)
        except BlockingIOError as error:
            raise ValueError(
                f"{what}: '{folder}' is in use by {error.strerror}; wait for it or stop it"
            ) from None
        except (OSError, ImportError) as error:
            problem = f"cannot be locked ({error}); make sure that no other process uses it"
            warnings.warn(f"{what}: '{folder}' {problem}", stacklevel=3)
            return None
        lock = cls(path, descriptor)
        cls._held[key] = lock
        return lock

    def __del__(self) -> None:
        if os.getpid() == self._owner:  # a forked process only loses its copy
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def _locked(path: Path) -> int:
    """Return the descriptor of a locked file that says whose it is; BlockingIOError says who else's it is."""
    import fcntl  # not on Windows, where the rest of the package must still import

    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # the holder before may have removed the file after it was opened here
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
                return descriptor
        except BlockingIOError as error:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise BlockingIOError(error.errno, holder or "another process") from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
