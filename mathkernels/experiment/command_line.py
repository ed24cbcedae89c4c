"""How commands of trainers end: Ctrl-C at any time, and errors in a line."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mathkernels.data import ranges
from mathkernels.experiment.optional import load
from mathkernels.experiment.run_folder import one_way, writable

MOST_MODELS, MOST_THREADS, MOST_WORKERS = 100_000, 4096, 256
INTERRUPTED = 130  # exit code


def count(option: str, value: int, high: int = ranges.MOST) -> int:
    """Return the value of an option that counts something, or raise ValueError."""
    return ranges.whole(option, value, 1, high, "{name}: got {given}; needs {right}")


def device(given: str, stock: bool, ours: str) -> None:
    """Refuse a device that torch cannot use, and another than the CPU for layers of ours.

    Args:
        given: with ``--device``.
        stock: whether torch's layers are trained.
        ours: what has no kernel there, and its verb.
    """
    torch = load("torch")
    try:
        kind = torch.device(given)
        if kind.type != "cpu" and not stock:
            what = f"got {given}, for which {ours} no kernel"
            raise ValueError(f"--device: {what}; needs cpu, or --stock for torch's layers")
        torch.empty(0, device=kind)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device: got {given}, which torch cannot use here ({error})") from error


def trains(args: argparse.Namespace, ours: str) -> None:
    """Refuse numbers of threads and processes, ways to begin and devices that cannot be.

    Args:
        args: of a trainer on generated data: threads, workers, resume, overwrite, device and stock.
        ours: see :func:`device`.
    """
    for option, most in (("threads", MOST_THREADS), ("workers", MOST_WORKERS)):
        if (given := getattr(args, option)) is not None:
            count(f"--{option}", given, most)
    one_way(args.resume, args.overwrite)
    device(args.device, args.stock, ours)


def prepare_logs(root: Path, names: Iterable[str]) -> None:
    """Make TensorBoard's folders; one that cannot be written is refused before anything is trained."""
    load("tensorboard")
    for name in names:
        writable(root / name, "--tensorboard")


def finish(parser: argparse.ArgumentParser, work: Callable[[], int], how_on: str = "") -> int:
    """Return the exit code of ``work``; errors that a user can fix, and Ctrl-C, end it with one line.

    Args:
        parser: says what is wrong and exits with code 2.
        work: the whole command, once its arguments are parsed.
        how_on: what is said after "interrupted".
    """
    try:
        code = work()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except MemoryError as error:
        parser.error(f"out of memory: {error or 'needs a smaller data set, model or batch'}")
    except RuntimeError as error:
        if "allocate memory" not in str(error) and "not enough memory" not in str(error):
            raise
        parser.error(f"out of memory: {_one_line(error)}")
    except (ValueError, ImportError) as error:
        parser.error(_one_line(error))
    if code == INTERRUPTED:
        print(f"interrupted{how_on}", file=sys.stderr)
    return code


def resumable(overwrite: bool) -> str:
    """Return how an interrupted training goes on."""
    return f"; the same command with --resume{' in place of --overwrite' if overwrite else ''} continues"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split("\n"))


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until the block ends, so that what belongs together changes together.

    A program that ignores SIGINT, or handles it in its own way, is left to do so.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    waiting: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if waiting:
        raise KeyboardInterrupt
