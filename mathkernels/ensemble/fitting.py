"""``fit``: what it takes, and whether the runs are trained here or in shards by an executor."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from mathkernels.ensemble import checks
from mathkernels.ensemble.cluster.fit import fit_shards
from mathkernels.ensemble.describe import Run
from mathkernels.ensemble.results import Results
from mathkernels.ensemble.run import How, Progress, check_progress
from mathkernels.ensemble.training import check_runs, train_here


def fit(
    runs: Sequence[Run],
    *,
    threads: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
    dtype: str = "float32",
    generator: str = "hash",
    device: str = "cpu",
    executor: Any = None,
    shards: int | None = None,
) -> Results:
    """Train every run to its last iteration inside compiled calls and return the results.

    A run's result is bitwise the same alone or among others, with any number of threads, after a resume, and
    on any number of machines. It does depend on the dtype, the generator, and on whether the instruction set
    fuses multiply and add (v3, v4 and NEON do).

    Args:
        runs: what to train, at least one.
        threads: worker threads; None takes torch.get_num_threads().
        checkpoint: file to resume from if it exists; written every few seconds, on Ctrl-C and at the end.
            A write that fails later (a full disk, say) is a warning: training goes on.
        progress: called after every compiled call, about four times a second, or every 50,000 iterations.
        dtype: "float32", as the papers, or "float64".
        generator: "hash" or "philox" (slower, by a published design); see docs/random.md.
        device: "cpu", or "cuda" for the modules that have a trainer there; see docs/gpu.md.
        executor: None, or where to train the runs in shards: anything with ``submit(function, argument)``
            that returns futures with ``done``, ``result`` and ``cancel``; see docs/cluster.md. Then
            ``threads`` counts per worker, ``checkpoint`` is a folder that all workers see, made if it is
            absent, and ``progress`` is called after every shard.
        shards: how many; None takes four per worker of the executor, or those of the checkpoint folder.

    Returns:
        The results. After Ctrl-C those so far, with ``interrupted`` set; a second raises KeyboardInterrupt.
        Where the program ignores SIGINT or has a handler of its own, that stays in force and nothing is
        interrupted.

    Raises:
        ValueError, TypeError: an argument is not as above, or the checkpoint belongs to something else.
        RuntimeError: device="cuda" without a usable GPU; the message names the remedy.
        LostWorkersError: workers were lost again and again, or all at once.
    """
    runs = check_runs(runs, threads, dtype, generator)
    check_progress(progress)
    checks.choice("device", device, ("cpu", "cuda"))
    how = How(checks.valid_threads(threads), dtype, generator, device)
    if executor is not None:
        return fit_shards(runs, how, executor, shards, checkpoint, progress)
    if shards is not None:
        raise ValueError(f"shards: got {checks.shown(shards)}, needs an executor to train them")
    return train_here(runs, how, checkpoint, progress)
