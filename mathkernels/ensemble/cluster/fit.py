"""Fits in shards: cut the runs, hand the shards to an executor, put their results together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from mathkernels.ensemble.checks import is_whole, plain, require
from mathkernels.ensemble.cluster.folder import ShardFolder
from mathkernels.ensemble.cluster.shard import Outcome, Shard, cut_runs, machine, standing, train_shard
from mathkernels.ensemble.describe import Run
from mathkernels.ensemble.results import Record, Results
from mathkernels.ensemble.run import How, Progress, deferred_interrupt

SHARDS, SHARDS_PER_WORKER = 8, 4
MOST_SHARDS = 10_000  # their files have four digits
RESUBMISSIONS = 3
POLL_SECONDS = 0.02
# After Ctrl-C: how long to wait for workers that see the sign to stop, and for those that may see none.
STOP_SECONDS, NO_FOLDER_SECONDS = 30.0, 5.0


class LostWorkersError(RuntimeError):
    """Shards were lost with their workers; ``results`` holds what is done, with ``interrupted`` set."""

    def __init__(self, message: str, results: Results) -> None:
        super().__init__(message)
        self.results = results


class _GoneError(Exception):
    """The executor takes no more work."""


def fit_shards(
    runs: Sequence[Run],
    how: How,
    executor: Any,
    shards: int | None,
    checkpoint: str | os.PathLike[str] | None,
    progress: Callable[[Progress], None] | None,
) -> Results:
    """Train checked runs on an executor; arguments, results and errors are those of :func:`fit`."""
    if isinstance(executor, type) or not callable(getattr(executor, "submit", None)):
        what = "needs an object with submit(function, argument), such as a ProcessPoolExecutor"
        raise TypeError(f"executor: got {executor!r}, {what}")
    fits = shards is None or (is_whole(shards) and 1 <= shards <= MOST_SHARDS)
    require(fits, "shards", shards, f"a positive integer or None, at most {MOST_SHARDS:,}")
    shards = plain(shards)
    folder = None if checkpoint is None else ShardFolder(checkpoint, runs, how.settings())
    cut = (folder.cut(shards) if folder else None) or cut_runs(runs, shards or suggested_shards(executor))
    with tempfile.TemporaryDirectory(prefix="mathkernels-") as own:
        stop = str(folder.stop if folder else Path(own) / "stop")
        work, call = [tuple(runs[index] for index in indices) for indices in cut], uuid.uuid4()
        files = [str(folder.file(number)) if folder else None for number in range(len(cut))]
        every = [
            Shard(number, own_runs, how, machine(how, own_runs), files[number], stop, call.hex)
            for number, own_runs in enumerate(work)
        ]
        desk = _Desk(executor, every, progress, folder.seconds if folder else 0.0)
        if folder:
            folder.write(cut, desk.seconds())
        problem, interrupted = desk.run(STOP_SECONDS if folder else NO_FOLDER_SECONDS)
    indices = [index for shard in cut for index in shard]
    found = dict(zip(indices, (record for shard in every for record in desk.records(shard)), strict=True))
    if folder:
        folder.write(cut, desk.seconds())
    in_order = [found[index] for index in range(len(runs))]
    results = Results(runs, in_order, desk.seconds(), interrupted or problem is not None)
    if problem:
        where = f"resumes from {folder.path}" if folder else "would resume, had it a checkpoint folder"
        raise LostWorkersError(f"executor: {problem}; the same call {where}", results)
    return results


def suggested_shards(executor: Any) -> int:
    """Return four shards per worker where the executor says how many workers it has, else 8."""
    workers = getattr(executor, "_max_workers", None)
    if callable(getattr(executor, "ncores", None)):  # a dask.distributed.Client
        workers = len(executor.ncores())
    return SHARDS_PER_WORKER * workers if isinstance(workers, int) and workers > 0 else SHARDS


class _Desk:
    """Hands shards out, takes outcomes in, and hands a shard out again if its worker is lost.

    Args:
        executor: as for :func:`fit`.
        shards: all shards, by number.
        progress: called after every finished shard.
        before: seconds of earlier fits.
    """

    def __init__(
        self,
        executor: Any,
        shards: Sequence[Shard],
        progress: Callable[[Progress], None] | None,
        before: float,
    ) -> None:
        self._executor, self._shards, self._progress, self._before = executor, shards, progress, before
        self._start = time.perf_counter()
        self._outcomes: dict[int, Outcome] = {}
        self._waiting: dict[int, tuple[Any, Shard]] = {}
        self._given_up: dict[int, str] = {}

    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._start

    def records(self, shard: Shard) -> Sequence[Record]:
        outcome = self._outcomes.get(shard.number)
        return outcome.records if outcome else standing(shard)

    def run(self, patience: float) -> tuple[str | None, bool]:
        """Train all shards; return what went wrong, if anything, and whether Ctrl-C ended it."""
        with deferred_interrupt() as interrupted:
            try:
                self._hand_out()
                while self._waiting and not interrupted.is_set():
                    if not self._take_in():
                        interrupted.wait(POLL_SECONDS)
            except _GoneError as error:
                self._wind_down(0.0)
                done = f"{len(self._outcomes)} of {len(self._shards)} shards are finished"
                return f"its pool is gone ({error}), {done}, the rest needs a new pool", False
            except BaseException:
                self._wind_down(0.0)
                raise
            if stopped := interrupted.is_set():
                self._wind_down(patience)
        if self._given_up and not stopped:
            number, reason = next(iter(self._given_up.items()))
            what = f"{len(self._given_up)} of {len(self._shards)} shards were lost {RESUBMISSIONS + 1} times"
            return f"{what}, shard {number} at last by {reason}", False
        return None, stopped

    def _hand_out(self) -> None:
        for shard in self._shards:
            if shard.file and os.path.exists(shard.file):
                found = standing(shard)
                if all(
                    record.position == run.iterations + 1
                    for record, run in zip(found, shard.runs, strict=True)
                ):
                    self._finish(shard, Outcome(found, stopped=False))
                    continue
            self._submit(shard)

    def _submit(self, shard: Shard) -> None:
        try:
            future = self._executor.submit(train_shard, shard)
        except (RuntimeError, OSError) as error:  # broken, shut down, or its connection lost
            raise _GoneError(f"{type(error).__name__}: {error}") from error
        if not all(callable(getattr(future, name, None)) for name in ("done", "result", "cancel")):
            what = f"its submit gave {future!r}, needs a future with done, result and cancel"
            raise TypeError(f"executor: {what}")
        self._waiting[shard.number] = future, shard

    def _done(self) -> Iterator[tuple[Any, Shard]]:
        """Look at every future once; yield and forget those that are done."""
        for number in [number for number, (future, _) in self._waiting.items() if future.done()]:
            yield self._waiting.pop(number)

    def _take_in(self) -> bool:
        """Take in what is done and return whether anything was."""
        some = False
        for future, shard in self._done():
            some = True
            try:
                outcome: Outcome = future.result()
            except (ValueError, TypeError):
                raise  # wrong here, wrong on every worker
            except (Exception, asyncio.CancelledError) as error:
                self._lose(shard, f"{type(error).__name__}: {error}")
            else:
                if outcome.stopped:
                    self._lose(shard, "a signal to its worker")
                else:
                    self._finish(shard, outcome)
        return some

    def _lose(self, shard: Shard, reason: str) -> None:
        if shard.attempt == RESUBMISSIONS:
            self._given_up[shard.number] = reason
            return
        warnings.warn(f"executor: shard {shard.number} was lost by {reason}; it is sent again", stacklevel=2)
        self._submit(replace(shard, attempt=shard.attempt + 1))

    def _finish(self, shard: Shard, outcome: Outcome) -> None:
        self._outcomes[shard.number] = outcome
        if self._progress:
            finished = [self._shards[number] for number in self._outcomes]
            self._progress(
                Progress(
                    done_iterations=sum(each.work for each in finished),
                    total_iterations=sum(each.work for each in self._shards),
                    finished_runs=sum(len(each.runs) for each in finished),
                    total_runs=sum(len(each.runs) for each in self._shards),
                    seconds=self.seconds(),
                )
            )

    def _wind_down(self, patience: float) -> None:
        """Call back what has not begun, tell the rest to stop, and take in what comes back in time."""
        Path(self._shards[0].stop).touch()
        for future, _ in self._waiting.values():
            if isinstance(future, Future):
                future.cancel()  # of other kinds it may end what runs, which is to save and return first
        deadline = time.perf_counter() + patience
        while self._waiting:
            for future, shard in self._done():
                with contextlib.suppress(Exception, asyncio.CancelledError):  # it stands where its file is
                    self._outcomes[shard.number] = future.result()
            if time.perf_counter() >= deadline:
                break
            time.sleep(POLL_SECONDS)
        for future, _ in self._waiting.values():
            future.cancel()
