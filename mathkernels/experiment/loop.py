"""The loop of every trainer: steps, checkpoints, Ctrl-C, logs, and a bar with the time left.

A trainer is a model, a batch function and a table: a learner (:mod:`mathkernels.experiment.learners`), what
is logged of it and how long it trains (:mod:`mathkernels.experiment.schedule`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mathkernels.experiment.checkpoint import Checkpoint
from mathkernels.experiment.logs import Log
from mathkernels.experiment.optional import load
from mathkernels.experiment.schedule import Row
from mathkernels.experiment.training import Training

SAVE_SECONDS = 10.0  # between checkpoints
Show = Callable[[Training, list[Row]], str]


def train(
    training: Training, checkpoint: Checkpoint, logs: Iterable[Log] = (), show: Show | None = None
) -> bool:
    """Train to the end or until Ctrl-C, from the checkpoint if there is one.

    Args:
        training: new.
        checkpoint: of its folder; it holds the finished training at the end.
        logs: get the rows of each epoch.
        show: what the bar says of the last rows; None: the lowest watched value, and how many models go on.

    Returns:
        Whether it got to the end; the training is as of its last whole step.
    """
    bar = Bar(show or _lowest)
    try:
        _train(training, checkpoint, logs, bar)
        return True
    except KeyboardInterrupt:
        return False
    finally:
        bar.close()


def train_each(
    makers: Sequence[Callable[[], Training]],
    checkpoint: Checkpoint,
    finish: Callable[[Training], Any],
    show: Show | None = None,
    logs: Callable[[Training], Iterable[Log]] = lambda training: (),
) -> bool:
    """Train one after the other what the checkpoint does not have yet, to the end or until Ctrl-C.

    Args:
        makers: of new trainings of about equal lengths.
        checkpoint: of their folder; ``finished`` has an entry for each that is over.
        finish: called with each training that is over; returns what it leaves, as JSON values.
        show: as in :func:`train`.
        logs: -> those of a training.

    Returns:
        Whether it got to the end.
    """
    bar = Bar(show or _lowest)
    try:
        while (done := len(checkpoint.finished)) < len(makers):
            training = makers[done]()
            _train(training, checkpoint, logs(training), bar, len(makers) - done - 1)
            checkpoint.finish(finish(training))
        return True
    except KeyboardInterrupt:
        return False
    finally:
        bar.close()


def _train(
    training: Training, checkpoint: Checkpoint, logs: Iterable[Log], bar: Bar, following: int = 0
) -> None:
    checkpoint.resume(training)
    bar.begin(training, following)
    logs = tuple(logs)
    try:
        for log in logs:
            log.begin(training)
        saved = time.monotonic()
        while not training.finished:
            rows = training.advance()
            for log in logs if rows else ():
                log.write(rows)
            if training.finished or time.monotonic() - saved >= SAVE_SECONDS:
                checkpoint.save(training)
                saved = time.monotonic()
            bar.follow(training, rows)
    finally:
        for log in logs:
            log.close()


def _lowest(training: Training, rows: list[Row]) -> str:
    name = training.table.monitor
    text = f"{name} {min(row[name] for row in rows):.2g}"
    return text if len(training.records) == 1 else f"{text}, {len(training.active)} models go on"


class Bar:
    """A bar on a terminal: samples trained, how many a second, and the time left.

    Args:
        show: returns what it says of the last rows.
    """

    def __init__(self, show: Show) -> None:
        self._show, self._bar = show, None
        self._samples = 0  # of the training in hand that the bar has counted
        self._following = 0.0

    def begin(self, training: Training, following: int) -> None:
        """Go on with a training, after which so many of its length follow."""
        whole = training.schedule.epochs * training.schedule.samples * len(training.records)
        self._following = following * whole
        if self._bar is None:
            self._bar = load("tqdm").tqdm(
                total=training.samples + training.left() + self._following,
                initial=training.samples,
                unit=" samples",
                unit_scale=True,
                disable=None,
                smoothing=0.05,
            )
        self._samples = training.samples

    def follow(self, training: Training, rows: list[Row]) -> None:
        """Count what has been trained since the last call, and say what the new rows are."""
        if self._bar is None:
            return
        if rows:
            self._bar.total = (
                self._bar.n + training.samples - self._samples + training.left() + self._following
            )
            self._bar.set_postfix_str(self._show(training, rows), refresh=False)
        self._bar.update(training.samples - self._samples)
        self._samples = training.samples

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
