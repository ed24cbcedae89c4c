"""The process that watches workers: it gives out batches, and names the call that ended a worker."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

BATCH = 200  # calls


class End(NamedTuple):
    """How one call ended."""

    kind: str
    seed: int
    told: str
    outcome: str
    reason: str


class Batch(NamedTuple):
    kind: str
    first: int
    count: int


@dataclass
class Worker:
    """A process, what it was given and what it makes."""

    process: subprocess.Popen
    pipe: int
    errors: Any
    left: deque[Batch] = field(default_factory=deque)
    text: str = ""
    call: tuple[str, int, str] | None = None
    since: float = field(default_factory=time.monotonic)


class Pool:
    """Workers of one command, restarted when one dies.

    Args:
        command: that starts a worker; the descriptor it writes to is appended.
        seconds: that one call may take.
        each: is given the end of each call.
    """

    def __init__(self, command: Sequence[str], seconds: float, each: Callable[[End], None]) -> None:
        self.command, self.seconds, self.each = command, seconds, each
        self.selector = selectors.DefaultSelector()
        self.waiting: deque[Batch] = deque()

    def run(self, batches: Sequence[Batch], workers: int) -> None:
        """Make all calls of the batches."""
        self.waiting.extend(batches)
        try:
            for _ in range(min(workers, len(batches))):
                self._start()
            while self.selector.get_map():
                for key, _ in self.selector.select(timeout=1.0):
                    self._read(key.data)
                for key in list(self.selector.get_map().values()):
                    self._watch(key.data)
        finally:
            for key in list(self.selector.get_map().values()):
                self._end(key.data)

    def _start(self) -> None:
        ours, theirs = os.pipe()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 closed when the worker has ended
        process = subprocess.Popen(
            [*self.command, str(theirs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=[theirs],
        )
        os.close(theirs)
        worker = Worker(process, ours, errors)
        self.selector.register(ours, selectors.EVENT_READ, worker)
        self._give(worker)

    def _give(self, worker: Worker) -> None:
        """Hand out the next batch, or let the worker go."""
        pipe = worker.process.stdin
        assert pipe is not None
        worker.call, worker.since = None, time.monotonic()
        if not self.waiting:
            pipe.close()
            return
        batch = self.waiting.popleft()
        worker.left.append(batch)
        with contextlib.suppress(BrokenPipeError):
            pipe.write(f"{batch.kind} {batch.first} {batch.count}\n".encode())
            pipe.flush()

    def _read(self, worker: Worker) -> None:
        data = os.read(worker.pipe, 1 << 16)
        if not data:
            self._died(worker)
            return
        *lines, worker.text = (worker.text + data.decode(errors="replace")).split("\n")
        for line in lines:
            mark, *rest = line.split("\t")
            if mark == ">":
                worker.call, worker.since = (rest[0], int(rest[1]), rest[2]), time.monotonic()
            elif mark == "<" and worker.call:
                self._ended(worker, *json.loads(rest[0]))
            elif mark == ".":
                worker.left.clear()
                self._give(worker)

    def _ended(self, worker: Worker, outcome: str, reason: str) -> None:
        assert worker.call is not None
        kind, seed, told = worker.call
        self.each(End(kind, seed, told, outcome, reason))
        batch = worker.left.popleft()
        worker.left.append(Batch(kind, seed + 1, batch.first + batch.count - seed - 1))
        worker.call, worker.since = None, time.monotonic()

    def _watch(self, worker: Worker) -> None:
        # before it is told what a call is, imports are waited for, and files that are prepared once
        limit = self.seconds if worker.call and worker.call[2] else 10 * self.seconds
        if time.monotonic() - worker.since > limit:
            self._died(worker, "hang", f"no end within {limit:g} s")

    def _died(self, worker: Worker, outcome: str = "", reason: str = "") -> None:
        code = self._end(worker, 0.0 if outcome else 30.0)
        if worker.call and not outcome:
            outcome, reason = "crash", f"{_signal(code)}; {_tail(worker.errors)}"
            if code == -signal.SIGKILL or "bad_alloc" in reason:
                outcome = "memory"  # by the system, which ran out of it
        if worker.call:
            self._ended(worker, outcome, reason)
        elif worker.left:
            raise RuntimeError(
                f"a worker ended ({_signal(code)}) before its first call: {_tail(worker.errors)}"
            )
        worker.errors.close()
        self.waiting.extendleft(batch for batch in worker.left if batch.count)
        if self.waiting:
            self._start()

    def _end(self, worker: Worker, seconds: float = 30.0) -> int:
        self.selector.unregister(worker.pipe)
        os.close(worker.pipe)
        if worker.process.stdin:
            with contextlib.suppress(BrokenPipeError):
                worker.process.stdin.close()
        try:
            return worker.process.wait(seconds)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            return worker.process.wait()


def _signal(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _tail(errors: Any) -> str:
    errors.seek(0)
    lines = [line for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
    return " | ".join(line.strip() for line in lines[:4])[:300]
