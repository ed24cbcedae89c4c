"""Tiny trainings: beside the plain loop, alone and among others, on 1 to 3 threads, resumed and at once."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import ensemble_cases
import numpy as np
import seq2seq_cases
import torch
from seq2seq_cases import Case
from torch import Tensor

from fuzzing.calls import Call, Difference, Draw
from fuzzing.compare import same_bits
from mathkernels.ensemble import Results, Run, Seq2SeqEnsemble, fit
from mathkernels.ensemble.program import ROW_COLUMNS
from mathkernels.ensemble.run import How
from mathkernels.ensemble.training import train_here
from mathkernels.reference.ensemble import train

SETS = [("U[1,2]", "U[2,6]"), ("U[0.1,0.2]", "U[0.2,2]"), ("U[-2,-1]", "U[-6,-2]"), ("U[-2,2]", "U[2,6]")]


def state(results: Results, i: int) -> list[Tensor]:
    """Everything that a run leaves."""
    arrays = [*results.weights(i).values(), *results.best_weights(i).values(), *results.curves(i).values()]
    return [torch.from_numpy(np.asarray(array)) for array in arrays]


def _run(draw: Draw, iterations: int | None = None) -> Run:
    """A run of the cases that the plain loop follows, made short, on ranges, seeds and rates of its own."""
    base = ensemble_cases.RUNS[draw.choice(list(ensemble_cases.RUNS))]
    iterations = draw.one(0, 1, 5, 19, 20, 30) if iterations is None else iterations
    every = draw.one(1, 2, 7, 10, 40)
    restarts = base.restarts
    if restarts is not None and restarts.window >= iterations // every + 1:
        restarts = None
    inside, outside = draw.choice(SETS)
    task = base.task
    if draw.holds(0.5) and task.operation != "root" and len(task.interpolation) == 1:
        task = dataclasses.replace(task, interpolation=inside, extrapolation=outside)
    return dataclasses.replace(
        base,
        task=task,
        seed=draw.one(0, 1, draw.randrange(2**32), 2**32 - 1),
        iterations=iterations,
        evaluate_every=every,
        restarts=restarts,
        batch=draw.one(32, 32, 64, 128),
    )


def compared(draw: Draw) -> Call:
    """A run beside the plain loop in float64; both follow one another for some steps only."""
    run = _run(draw, draw.one(0, 1, 3, 6))

    def make() -> None:
        ours = fit([run], dtype="float64", threads=1)
        theirs = train(run, dtype=torch.float64)
        rows = np.array([row[1:] for row in theirs.rows])
        for column, name in enumerate(ROW_COLUMNS):
            _close(ours.curves(0)[name][: len(rows)], rows[:, column], name)
        if len(rows) == run.rows:
            for name, values in theirs.parameters.items():
                _close(ours.weights(0)[name], values.numpy(), name)

    return Call(f"{run.module.name} {run.task.operation} against the plain loop", make, valid=True)


def _close(ours: np.ndarray, theirs: np.ndarray, name: str) -> None:
    """As the tests of the trainer: only the order of sums differs, about 1e-15 a step."""
    known = np.isfinite(theirs) & np.isfinite(ours)
    if (np.isnan(theirs) & ~np.isnan(ours)).any():
        raise Difference(f"{name} is {ours}, the plain loop has NaN in {theirs}")
    if not np.allclose(ours[known], theirs[known], rtol=1e-6, atol=1e-9):
        raise Difference(f"{name} is {ours.ravel()[:4]}, the plain loop has {theirs.ravel()[:4]}")


def bits(draw: Draw) -> Call:
    """Runs together with 1 and 2 threads, one of them alone, all resumed after a stop."""
    runs = [_run(draw) for _ in range(draw.one(1, 2, 3, 5, 17))]
    dtype, generator = draw.one("float32", "float32", "float64"), draw.one("hash", "hash", "philox")
    how = {"dtype": dtype, "generator": generator}
    chosen = draw.randrange(len(runs))

    def make() -> None:
        together = fit(runs, threads=1, **how)
        for threads in (2, 3):
            other = fit(runs, threads=threads, **how)
            for i in range(len(runs)):
                same_bits(state(other, i), state(together, i), f"{threads} threads against 1, run {i}")
        alone = fit([runs[chosen]], threads=1, **how)
        same_bits(state(alone, 0), state(together, chosen), "a run alone against among others")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "fit.ckpt"
            train_here(tuple(runs), How(1, dtype, generator, "cpu"), path, stop=lambda: True)
            resumed = fit(runs, threads=1, checkpoint=path, **how)
        for i in range(len(runs)):
            same_bits(state(resumed, i), state(together, i), f"resumed against at once, run {i}")

    told = ", ".join(sorted({run.module.name for run in runs}))
    return Call(f"{len(runs)} runs of {told} in {dtype}, {generator}", make, valid=True)


def seq2seq(draw: Draw) -> Call:
    """A sequence-to-sequence ensemble beside the plain model, alone, with threads, and from its own state."""
    case = Case(
        draw.one(1, 2, 5, 13, 127),
        draw.one(1, 2, 4),
        draw.one(1, 2, 3),
        draw.one(1, 3, 7, 8, 13, 20),
        draw.one(1, 5, 33, 65),
        draw.one(1, 7, 32, 70),
        draw.holds(0.6),
    )
    seeds = tuple(draw.randrange(1000) for _ in range(draw.one(1, 2, 3)))

    def make() -> None:
        inputs, targets, order = seq2seq_cases.data(case, len(seeds))
        found: list[dict[str, Any]] = []
        start = seq2seq_cases.ensemble(case, seeds, dtype=torch.float64).parameters()
        for threads in (1, 2):
            ours = seq2seq_cases.ensemble(case, seeds, threads=threads)
            losses = [ours.train_epoch(inputs, targets, order, case.batch)]
            middle = ours.state()
            losses.append(ours.train_epoch(inputs, targets, order, case.batch))
            found.append({**ours.state(), "losses": torch.stack(losses)})
        names = sorted(found[0])
        same_bits([found[1][n] for n in names], [found[0][n] for n in names], "2 threads against 1")
        again = seq2seq_cases.ensemble(case, seeds, threads=1)
        again.load_state(middle)
        again.train_epoch(inputs, targets, order, case.batch)
        _same_state(again, found[0], slice(None), "resumed against at once")
        alone = seq2seq_cases.ensemble(case, seeds[-1:], threads=1)
        for _ in range(2):
            alone.train_epoch(inputs, targets, order[-1:], case.batch)
        _same_state(alone, found[0], slice(len(seeds) - 1, None), "a model alone against among others")
        _plain(case, seeds, start, order)

    return Call(f"seq2seq {tuple(case)}, {len(seeds)} models", make, valid=True)


def _same_state(ours: Seq2SeqEnsemble, whole: dict[str, Tensor], models: slice, what: str) -> None:
    state = ours.state()
    names = sorted(name for name in state if name != "updates")
    same_bits([state[name] for name in names], [whole[name][models] for name in names], what)


def _plain(case: Case, seeds: tuple[int, ...], start: dict[str, Tensor], order: Tensor) -> None:
    inputs, targets, _ = seq2seq_cases.data(case, 1)
    ours = seq2seq_cases.ensemble(case, seeds, dtype=torch.float64, threads=1)
    loss = ours.train_epoch(inputs, targets, order, case.batch)
    _, losses = seq2seq_cases.trained_reference(case, start, 0, order[0], torch.float64)
    if not np.isclose(float(loss[0]), losses[0], rtol=1e-7, atol=1e-12):
        raise Difference(f"loss {float(loss[0])!r}, the plain model has {losses[0]!r}")


def a_fit(draw: Draw) -> Call:
    return draw.choices((compared, bits, seq2seq), (4, 4, 2))[0](draw)


KINDS = {"fit": a_fit}
