"""Campaigns: many studies at once, each distinct run trained a single time and shared by all that show it.

Runs are trained in groups of one module and number of inputs. A group has a checkpoint of its own, so that a
kill costs a few seconds of one group, and its seconds tell what the module costs. Grouping changes no bits.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mathkernels import backends
from mathkernels.ensemble.describe import Run
from mathkernels.ensemble.fitting import fit
from mathkernels.ensemble.results import Results
from mathkernels.ensemble.run import Progress, check_progress
from mathkernels.ensemble.streams import distribution_kind, mapping
from mathkernels.ensemble.training import check_runs
from mathkernels.files import check_replaceable, replacing

_NO_STEPS = np.zeros(0, np.int64)


def group_name(run: Run) -> str:
    """Return the group of a run, such as "NMRU-10": its module and number of inputs."""
    return f"{run.module.name}-{run.task.inputs}"


def grouped(runs: Iterable[Run]) -> dict[str, tuple[Run, ...]]:
    """Return the distinct runs by group, in the order of first appearance."""
    groups: dict[str, dict[Run, None]] = {}
    for run in runs:
        groups.setdefault(group_name(run), {})[run] = None
    return {name: tuple(members) for name, members in groups.items()}


def total_iterations(runs: Iterable[Run]) -> int:
    """Return the model-iterations of the runs as papers count them (one update less than is done)."""
    return sum(run.iterations for run in runs)


@dataclass(frozen=True)
class CampaignProgress:
    """Where a campaign stands: its model-iterations, and the group in training with its own progress."""

    done_iterations: int
    total_iterations: int
    group: str
    of_group: Progress


@dataclass(frozen=True)
class Group:
    """What became of a group: its distinct runs and, as far as it was trained, iterations and seconds."""

    name: str
    runs: tuple[Run, ...]
    results: Results | None
    iterations: int

    @property
    def seconds(self) -> float:
        return self.results.seconds if self.results else 0.0

    @property
    def rate(self) -> float:
        """Model-iterations per second, NaN before the first."""
        return self.iterations / self.seconds if self.seconds > 0 else float("nan")


class Trained:
    """The outcome of a campaign, finished or interrupted.

    Attributes:
        groups: by name.
        interrupted: whether it was stopped by Ctrl-C.
        seconds: wall time of all groups together.
        threads: that were asked for, None for all cores.
        instruction_set: of the kernels.
    """

    def __init__(self, groups: Iterable[Group], interrupted: bool, threads: int | None = None) -> None:
        self.groups = {group.name: group for group in groups}
        self.interrupted = interrupted
        self.threads, self.instruction_set = threads, backends.current()
        self.seconds = sum(group.seconds for group in self.groups.values())
        self._place = {run: (group, i) for group in self.groups.values() for i, run in enumerate(group.runs)}

    def of(self, runs: Sequence[Run]) -> Selection:
        """Return the results of these runs, in their order."""
        return Selection(self, [self._place[run] for run in runs], runs)


class Selection:
    """Results of some runs of a campaign, N of them; see :class:`Results` for the fields.

    Runs of a group that was not reached have no rows. ``seconds`` is the share of its groups' time that the
    runs have by their iterations; a run shown in several figures counts in each.
    """

    def __init__(self, trained: Trained, places: Sequence[tuple[Group, int]], runs: Sequence[Run]) -> None:
        self.runs = tuple(runs)
        self._places = [(group.results, i) for group, i in places]
        self.best_row = self._all("best_row", -1).astype(np.int64)
        self.valid, self.test, self.sparsity, self.solved_at, self.non_finite_at = (
            self._all(name, np.nan) for name in ("valid", "test", "sparsity", "solved_at", "non_finite_at")
        )
        self.solved, self.finished, self.non_finite = (
            self._all(name, False).astype(bool) for name in ("solved", "finished", "non_finite")
        )
        self.interrupted = trained.interrupted and not bool(self.finished.all())
        self.seconds = _seconds(places)

    def _all(self, name: str, absent: object) -> np.ndarray:
        return np.array([absent if r is None else getattr(r, name)[i] for r, i in self._places])

    def steps(self, i: int) -> np.ndarray:
        results, place = self._places[i]
        return _NO_STEPS if results is None else results.steps(place)

    def curves(self, i: int) -> Mapping[str, np.ndarray]:
        results, place = self._places[i]
        return {} if results is None else results.curves(place)

    def best_weights(self, i: int) -> Mapping[str, np.ndarray]:
        results, place = self._places[i]
        return {} if results is None else results.best_weights(place)


def _seconds(places: Sequence[tuple[Group, int]]) -> float:
    own: dict[str, int] = {}
    for group, i in places:
        own[group.name] = own.get(group.name, 0) + group.runs[i].iterations
    groups = {group.name: group for group, _ in places}
    return sum(
        groups[name].seconds * iterations / max(total_iterations(groups[name].runs), 1)
        for name, iterations in own.items()
    )


def check(runs: Sequence[Run], threads: int | None = None) -> None:
    """Raise the error that :func:`train` would raise of these runs and threads, before anything is made."""
    if runs:
        check_runs(runs, threads)
    for task in {run.task for run in runs}:
        distribution_kind(task)
        for part in task.interpolation:
            mapping(part, np.dtype(np.float32))


def train(
    runs: Iterable[Run],
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[CampaignProgress], None] | None = None,
    **how: Any,
) -> Trained:
    """Train every distinct run once, group after group, and return what came of it.

    Args:
        runs: equal descriptions are one run.
        checkpoint: a small file that names the groups; each group's own checkpoint stands beside it, with the
            group's name appended. If the file exists, the groups resume; if not, theirs are void.
        progress: called about four times a second.
        how: further arguments of :func:`fit`.

    Raises:
        ValueError, TypeError, RuntimeError: as :func:`fit`, or the checkpoint belongs to something else.
    """
    check_progress(progress)
    groups = grouped(runs)
    files = _files(None if checkpoint is None else Path(checkpoint), list(groups))
    work = {name: sum(run.iterations + 1 for run in members) for name, members in groups.items()}
    done, finished, interrupted = 0, [], False
    for name, members in groups.items():

        def show(own: Progress, name: str = name, before: int = done) -> None:
            if progress:
                total = sum(work.values())
                progress(CampaignProgress(before + own.done_iterations, total, name, own))

        if interrupted:
            finished.append(Group(name, members, None, 0))
            continue
        results = fit(members, checkpoint=files[name], progress=show, **how)
        interrupted = results.interrupted
        finished.append(Group(name, members, results, _trained(members, results)))
        done += work[name]
    return Trained(finished, interrupted, how.get("threads"))


def _trained(runs: Sequence[Run], results: Results) -> int:
    """Return the iterations behind the results; of an unfinished run those up to its last row."""
    last = [results.steps(i)[-1:].sum() for i in range(len(runs))]
    return sum(run.iterations if results.finished[i] else int(last[i]) for i, run in enumerate(runs))


def _files(index: Path | None, names: Sequence[str]) -> dict[str, Path | None]:
    """Return the checkpoint of each group; without an index, what stands under their names is removed."""
    if index is None:
        return dict.fromkeys(names)
    check_replaceable(index.with_name(f"{index.name}-{max(names, key=len)}"), "checkpoint")
    files: dict[str, Path | None] = {name: index.with_name(f"{index.name}-{name}") for name in names}
    content = json.dumps({"groups": list(names)})
    if not index.exists():
        for stale in index.parent.glob(f"{index.name}-*"):
            if stale.is_dir():  # of a fit in shards
                shutil.rmtree(stale)
            else:
                stale.unlink()
        with replacing(index) as temporary:
            temporary.write_text(content, encoding="utf-8")
    elif index.read_bytes() != content.encode():
        what = f"got {str(index)!r}, which names other groups or is damaged"
        raise ValueError(f"checkpoint: {what}; needs {content}, or remove it to start anew")
    return files
