"""Processes that each draw chunks of questions, and that can be killed when one question hangs.

A worker ends a question by a signal when its time is over. Code that waits, or never comes back to the
interpreter, does not hear that; the parent then kills the process, and the chunk is drawn anew without that
question.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from mathkernels import files
from mathkernels.data.mathematics import modules
from mathkernels.data.mathematics.modules import Difficulty, Sampler
from mathkernels.data.mathematics.questions import draw

POLL = 0.25  # seconds between looks at the workers
PATIENCE, GRACE = 3.0, 2.0  # a process is killed after so many times the limit and so many seconds more
_PRELOADED = "mathkernels.data.mathematics.workers"


@dataclass(frozen=True)
class Chunk:
    """Questions of one module that one seed decides.

    Args:
        folder, module, number: which; they and the seed decide the questions.
        count: of questions.
        path: of the file that gets them.
    """

    folder: str
    module: str
    number: int
    count: int
    path: Path

    @property
    def name(self) -> tuple[str, str, int]:
        return self.folder, self.module, self.number


@dataclass(frozen=True)
class Drawing:
    """What decides the questions of a chunk besides its name.

    Args:
        seed: of all chunks.
        limit: seconds of the processor for a question.
        difficulty: None for the authors' own.
        samplers: folder and difficulty -> callables by the module's name; for tests.
    """

    seed: int
    limit: float
    difficulty: Difficulty | None = None
    samplers: Callable[[str, Difficulty | None], dict[str, Sampler]] = modules.samplers


def write_chunk(
    chunk: Chunk, drawing: Drawing, skip: frozenset[int], begin: Callable[[int], None] = lambda number: None
) -> dict[str, int]:
    """Draw a chunk into its file, and return how many questions were dropped for which reason."""
    sampler = drawing.samplers(chunk.folder, drawing.difficulty)[chunk.module]
    pairs, dropped = draw(sampler, (drawing.seed, *chunk.name), chunk.count, drawing.limit, skip, begin)
    chunk.path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(chunk.path) as temporary:
        lines = (line + "\n" for pair in pairs for line in pair)
        temporary.write_text("".join(lines), encoding="utf-8", newline="\n")
    return dropped


def _work(connection: Connection, drawing: Drawing, clock: Any) -> None:
    """Draw chunks until the connection ends; clock has the questions begun, and the number of the last."""
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
        return write_chunk(chunk, drawing, skip, begin)
    except Exception as error:
        return error


@dataclass
class _Worker:
    process: Any
    connection: Connection
    clock: Any
    chunk: Chunk | None = None
    seen: float = 0.0  # of the clock
    looks: int = 0  # since it was seen to move

    def give(self, chunk: Chunk, skip: frozenset[int]) -> None:
        self.chunk, self.looks = chunk, 0
        self.connection.send((chunk, skip))

    def overdue(self, limit: float) -> int | None:
        """Return the number of the question that hangs, None if there is none.

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
class Pool:
    """Worker processes.

    Args:
        drawing: of all chunks.
        workers: how many processes; None: one for each core.

    Attributes:
        killed: how many were killed because a question hung.
    """

    drawing: Drawing
    workers: int | None = None
    killed: int = 0
    _skips: dict[tuple[str, str, int], set[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([_PRELOADED])

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        clock = self._context.RawArray("d", 2)
        process = self._context.Process(target=_work, args=(theirs, self.drawing, clock), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours, clock)

    def run(self, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, dict[str, int]]]:
        """Draw the chunks; yield each when its file is whole, with how many questions it dropped.

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

    def _give(self, worker: _Worker, chunk: Chunk) -> None:
        worker.give(chunk, frozenset(self._skips.get(chunk.name, ())))

    def _result(self, worker: _Worker) -> tuple[Chunk, dict[str, int]]:
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

    def _checked(self, worker: _Worker, waiting: list[Chunk]) -> _Worker:
        """Replace a worker whose question hangs."""
        stuck = None if worker.chunk is None else worker.overdue(self.drawing.limit)
        if worker.chunk is None or stuck is None:
            return worker
        self._skips.setdefault(worker.chunk.name, set()).add(stuck)
        waiting.append(worker.chunk)
        worker.kill()
        self.killed += 1
        return self._start()
