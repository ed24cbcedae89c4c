"""A function in a process of its own that is killed when a call takes too long: for computer algebra, which
has no time-out, does not always hear signals, and grows.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import pickle
import resource
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, Final

MOST_MEMORY: Final = 4 << 30  # bytes of a process; beyond them a call raises MemoryError
CALLS: Final = 100  # of one process, after which a fresh one takes its place
SPARE: Final = 10  # seconds of the processor beyond the limit, after which the system kills the process


def _serve(
    connection: Connection, function: Callable[[Any], Any], seconds: float, prepare: Callable[[], Any]
) -> None:
    """Answer until the connection ends, and never longer than the owner lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's
    _end_with_owner()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    prepare()
    with contextlib.suppress(EOFError, OSError):  # the owner has closed it
        connection.send_bytes(b"")
        while True:
            argument = connection.recv()
            connection.send_bytes(b"")  # so that the owner knows a process that had ended before
            used = int(time.process_time() + seconds + SPARE)
            resource.setrlimit(resource.RLIMIT_CPU, (used, resource.getrlimit(resource.RLIMIT_CPU)[1]))
            connection.send_bytes(_result_of(function, argument))


def _nothing() -> None:
    pass


def _end_with_owner() -> None:
    """Let the system send a signal that kills when the owner's end of a pipe is closed: no Python runs while
    a long integer is computed."""
    owner = multiprocessing.parent_process()
    assert owner is not None
    fcntl.fcntl(owner.sentinel, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(owner.sentinel, fcntl.F_GETFL)
    fcntl.fcntl(owner.sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)
    if wait([owner.sentinel], timeout=0):
        os._exit(1)


def _result_of(function: Callable[[Any], Any], argument: Any) -> bytes:
    try:
        return pickle.dumps((function(argument), None))
    except (Exception, RecursionError) as error:
        return pickle.dumps((None, f"{type(error).__name__}: {error}"))


class Killable:
    """Calls a function in a process.

    The process starts with the first call, serves the following ones, and is replaced after `CALLS` of them
    and after each that was killed. It ends with `close`, with the object, and with its owner, however that
    ends.

    Args:
        function: of one argument; both, and what it returns, can be pickled.
        seconds: of a call, at most.
        prepare: called once in each process, which is in no call's time; imports what is needed.

    Attributes:
        killed: how many calls took too long.
    """

    def __init__(
        self, function: Callable[[Any], Any], seconds: float, prepare: Callable[[], Any] = _nothing
    ) -> None:
        self.function, self.prepare, self.seconds, self.killed = function, prepare, seconds, 0
        self._process: Any = None
        self._connection: Connection | None = None
        self._calls, self._deadline = 0, 0.0

    def __call__(self, argument: Any) -> Any:
        """The function's value.

        Raises:
            TimeoutError: the call took too long; its process was killed.
            ChildProcessError: the process ended, or the function raised: the text says what.
        """
        self.begin(argument)
        assert self._connection is not None
        self._connection.poll(self.seconds)
        return self.finish()

    def begin(self, argument: Any) -> Connection:
        """Begin a call; there is something to `finish` when the connection is ready or time is over."""
        if self._calls >= CALLS:
            self.close()
        if self._process is None or not self._has(argument):
            self.close()  # it had ended since the last call
            self._start()
            if not self._has(argument):
                raise self._ended()
        assert self._connection is not None
        self._calls += 1
        self._deadline = time.monotonic() + self.seconds
        return self._connection

    def _has(self, argument: Any) -> bool:
        """Send an argument; whether the process lives and has it."""
        assert self._connection is not None
        try:
            self._connection.send(argument)
            self._connection.recv_bytes()
        except (EOFError, ConnectionError):
            return False
        return True

    @property
    def overdue(self) -> bool:
        """Whether the call that has begun is over its time."""
        return time.monotonic() >= self._deadline

    def finish(self) -> Any:
        """The value of the call that has begun, as `__call__` says."""
        assert self._connection is not None
        try:
            if not self._connection.poll(0):
                self.close()
                self.killed += 1
                raise TimeoutError(f"a call took more than {self.seconds:g} seconds")
            value, problem = pickle.loads(self._connection.recv_bytes())
        except (EOFError, ConnectionError):
            raise self._ended() from None
        if problem is not None:
            raise ChildProcessError(problem)
        return value

    def _ended(self) -> ChildProcessError:
        self._process.join()
        code = self._process.exitcode
        self.close()
        return ChildProcessError(f"the process ended with code {code}")

    def close(self) -> None:
        """End the process, if there is one."""
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if process is not None and connection is not None:
            process.kill()
            process.join()
            connection.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at the interpreter's end not all modules are there
            self.close()

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([self.function.__module__])
        self._connection, theirs = context.Pipe()
        arguments = (theirs, self.function, self.seconds, self.prepare)
        self._process, self._calls = context.Process(target=_serve, args=arguments, daemon=True), 0
        self._process.start()
        theirs.close()
        try:
            self._connection.recv_bytes()
        except EOFError:
            raise self._ended() from None


def call_each(
    function: Callable[[Any], Any],
    arguments: Iterable[Any],
    seconds: float,
    workers: int,
    prepare: Callable[[], Any] = _nothing,
) -> Iterator[tuple[int, Any]]:
    """Yield the number of each argument with the function's value, or the exception of `Killable`, in the
    order in which they end.

    Args:
        function, prepare: see there.
        arguments: of the calls.
        seconds: of a call, at most.
        workers: processes.
    """
    waiting, free = enumerate(arguments), [Killable(function, seconds, prepare) for _ in range(workers)]
    team, busy = [*free], {}
    try:
        while True:
            while free and (item := next(waiting, None)) is not None:
                worker = free.pop()
                busy[worker.begin(item[1])] = worker, item[0]
            if not busy:
                return
            least = min(worker._deadline for worker, _ in busy.values()) - time.monotonic()
            ready = wait(list(busy), timeout=max(least, 0))
            for connection in [one for one in busy if one in ready or busy[one][0].overdue]:
                worker, number = busy.pop(connection)
                try:
                    result = worker.finish()
                except (TimeoutError, ChildProcessError) as error:
                    result = error
                free.append(worker)
                yield number, result
    finally:
        for worker in team:
            worker.close()
