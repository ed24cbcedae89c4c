"""Processes that draw chunks of data sets, and that can be killed when one item hangs.

A worker ends an item by a signal when its time is over. Code that waits, or never comes back to the
interpreter, does not hear that; the parent then kills the process, and the chunk is drawn anew without that
item.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any, Generic, Protocol, TypeVar

POLL = 0.25  # seconds between looks at the workers
PATIENCE, GRACE = 3.0, 2.0  # a process is killed after so many times the limit and so many seconds more


class Chunk(Protocol):
    """Items that one seed decides, and the file that gets them."""

    @property
    def name(self) -> tuple[str | int, ...]:
        """What tells it from the other chunks."""
        ...

    @property
    def path(self) -> Path: ...


C = TypeVar("C", bound=Chunk)


class Drawing(Protocol):
    """What decides the items of a chunk besides its name."""

    @property
    def limit(self) -> float:
        """Seconds of the processor for an item."""
        ...

    @property
    def preload(self) -> str:
        """A module that every worker needs."""
        ...

    def write(self, chunk: Any, skip: frozenset[int], begin: Callable[[int], None]) -> dict[str, int]:
        """Draw a chunk into its file, and return how many items were dropped for which reason.

        Args:
            chunk: which.
            skip: numbers of items that are known to hang.
            begin: called with the number of each item before it is drawn.
        """
        ...


class OutOfTimeError(BaseException):
    """An item took longer than its limit. No Exception: sympy would catch that."""


def seed_of(*parts: object) -> int:
    """Return the seed that follows from names and numbers, the same on every machine."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError in the block after so many seconds of the processor; in main threads only.

    They do not pass while other programs run, so that a busy machine draws the same items.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _work(connection: Connection, drawing: Drawing, clock: Any) -> None:
    """Draw chunks until the connection ends; clock has the items begun, and the number of the last."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's

    def begin(number: int) -> None:
        clock[0], clock[1] = clock[0] + 1, number

    with contextlib.suppress(EOFError, OSError):  # the parent has died
        while (task := connection.recv()) is not None:
            chunk, skip = task
            connection.send(_result_of(chunk, skip, drawing, begin))
        connection.close()


def _result_of(
    chunk: Chunk, skip: frozenset[int], drawing: Drawing, begin: Callable[[int], None]
) -> dict[str, int] | Exception:
    """Write a chunk; return what was dropped, or the error for the parent to raise."""
    try:
        return drawing.write(chunk, skip, begin)
    except Exception as error:
        return error


@dataclass
class _Worker(Generic[C]):
    process: Any
    connection: Connection
    clock: Any
    chunk: C | None = None
    seen: float = 0.0  # of the clock
    looks: int = 0  # since it was seen to move

    def give(self, chunk: C, skip: frozenset[int]) -> None:
        self.chunk, self.looks = chunk, 0
        self.connection.send((chunk, skip))

    def overdue(self, limit: float) -> int | None:
        """Return the number of the item that hangs, None if there is none.

        Looks are counted and not seconds, which pass for a machine that sleeps as well.
        """
        begun = self.clock[0]
        self.looks = self.looks + 1 if begun == self.seen else 0
        self.seen = begun
        return int(self.clock[1]) if begun and self.looks * POLL > PATIENCE * limit + GRACE else None

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


@dataclass
class Pool(Generic[C]):
    """Worker processes.

    Args:
        drawing: of all chunks.
        workers: how many processes; None: one for each core.

    Attributes:
        killed: how many were killed because an item hung.
    """

    drawing: Drawing
    workers: int | None = None
    killed: int = 0
    _skips: dict[tuple[str | int, ...], set[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([self.drawing.preload])

    def _start(self) -> _Worker[C]:
        ours, theirs = self._context.Pipe()
        clock = self._context.RawArray("d", 2)
        process = self._context.Process(target=_work, args=(theirs, self.drawing, clock), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours, clock)

    def run(self, chunks: Sequence[C]) -> Iterator[tuple[C, dict[str, int]]]:
        """Draw the chunks; yield each when its file is whole, with how many items it dropped.

        Raises:
            ValueError, ImportError: what a worker raised.
        """
        waiting = list(reversed(chunks))
        number = max(1, min(len(waiting), self.workers or os.cpu_count() or 1))
        team, looked = [self._start() for _ in range(number)] if waiting else [], time.monotonic()
        try:
            while waiting or any(one.chunk for one in team):
                for one in team:
                    if one.chunk is None and waiting:
                        self._give(one, waiting.pop())
                busy = {one.connection: one for one in team if one.chunk}
                for ready in wait(list(busy), timeout=POLL):
                    yield self._result(busy[ready])  # type: ignore[index]
                if time.monotonic() - looked >= POLL:
                    looked = time.monotonic()
                    team = [self._checked(one, waiting) for one in team]
            for one in team:
                one.connection.send(None)
                one.process.join()
        finally:
            for one in team:
                one.kill()

    def _give(self, worker: _Worker[C], chunk: C) -> None:
        worker.give(chunk, frozenset(self._skips.get(chunk.name, ())))

    def _result(self, worker: _Worker[C]) -> tuple[C, dict[str, int]]:
        chunk = worker.chunk
        assert chunk is not None
        try:
            result = worker.connection.recv()
        except EOFError:
            worker.process.join()
            what = f"a worker process ended with code {worker.process.exitcode}"
            raise ValueError(f"generator: {what} in {'/'.join(map(str, chunk.name))}") from None
        worker.chunk = None
        if isinstance(result, Exception):
            raise result
        return chunk, result

    def _checked(self, worker: _Worker[C], waiting: list[C]) -> _Worker[C]:
        """Replace a worker whose item hangs."""
        stuck = None if worker.chunk is None else worker.overdue(self.drawing.limit)
        if worker.chunk is None or stuck is None:
            return worker
        self._skips.setdefault(worker.chunk.name, set()).add(stuck)
        waiting.append(worker.chunk)
        worker.kill()
        self.killed += 1
        return self._start()
