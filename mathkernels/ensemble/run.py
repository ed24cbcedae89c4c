"""What every way of training runs shares: how to train, how far it is, how Ctrl-C ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mathkernels import backends

# A compiled call lasts about this long: short for a progress bar and Ctrl-C, long enough to cost nothing.
CALL_SECONDS = 0.25


@dataclass(frozen=True)
class Progress:
    """Where a fit stands: model-iterations done and to do, runs finished and in all, seconds of wall time."""

    done_iterations: int
    total_iterations: int
    finished_runs: int
    total_runs: int
    seconds: float


@dataclass(frozen=True)
class How:
    """How to train, whatever the runs are; see :func:`fit`."""

    threads: int | None
    dtype: str
    generator: str
    device: str

    def settings(self) -> dict[str, Any]:
        """Return what the bits of a fit on this machine depend on besides its runs."""
        fused = self.device == "cuda" or backends.fused()
        return {"dtype": self.dtype, "generator": self.generator, "fused": fused}


def check_progress(progress: object) -> None:
    """Raise TypeError unless this is something to call, or None."""
    if progress is not None and not callable(progress):
        raise TypeError(f"progress: got {progress!r}, needs a function of one argument or None")


@contextmanager
def deferred_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a set event, so that no state is left half-advanced; the second raises.

    A program that ignores SIGINT or handles it itself goes on to do so: then nothing is changed here.
    """
    interrupted = threading.Event()
    main = threading.current_thread() is threading.main_thread()  # signals arrive there only
    previous = signal.getsignal(signal.SIGINT)
    if not main or previous is not signal.default_int_handler:
        yield interrupted
        return

    def note(number: int, frame: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)
