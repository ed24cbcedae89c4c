"""Bits that must not depend on threads, on other models, on other rows, or on when a call is made."""

from __future__ import annotations

import random

import seq2seq_cases
import torch
from ensemble_cases import RUNS
from fuzzing.compare import pulled, tensors
from fuzzing.fits import state

from mathkernels.ensemble import fit
from reliable.subjects import ops
from reliable.tally import Tally

THREADS = (2, 3, 4, 8)


def measure(seed: int) -> list[dict[str, object]]:
    """Return cases and mismatches by what is compared and where."""
    tally = Tally()
    _ops(tally)
    _fits(tally, random.Random(seed))
    _seq2seq(tally)
    return tally.content()


def _ops(tally: Tally) -> None:
    for op in ops():
        torch.set_num_threads(1)
        one = pulled(op.function, op.leaves)
        tally.same(("run to run", op.family), pulled(op.function, op.leaves), one, op.name)
        for threads in THREADS:
            torch.set_num_threads(threads)
            told = f"{op.name}, {threads} threads"
            tally.same(("threads", op.family), pulled(op.function, op.leaves), one, told)
        torch.set_num_threads(1)
        for model in range(len(op.leaves[0])):
            own = pulled(op.alone, [leaf[model : model + 1] for leaf in op.leaves])
            row = ("a model alone, among others", op.family)
            tally.same(row, own, [t[model : model + 1] for t in one], f"{op.name}, model {model}")
        if op.rows:
            x, *weights = op.leaves
            for at in {0, x.shape[1] // 2, x.shape[1] - 1}:
                own = tensors(op.function(x[:, at : at + 1], *weights))
                row = ("a row alone, in its batch", op.family)
                tally.same(row, own, [one[0][:, at : at + 1]], f"{op.name}, row {at}")


def _fits(tally: Tally, draw: random.Random) -> None:
    runs = [run for run in RUNS.values() if run.iterations <= 300]
    runs += draw.sample(list(RUNS.values()), 8)
    for dtype in ("float32", "float64"):
        one = fit(runs, threads=1, dtype=dtype)
        again = fit(runs, threads=1, dtype=dtype)
        others = {threads: fit(runs, threads=threads, dtype=dtype) for threads in THREADS}
        for i, run in enumerate(runs):
            name = f"{run.module.name} {dtype}"
            tally.same(("run to run", "ensembles"), state(again, i), state(one, i), name)
            for threads, other in others.items():
                tally.same(
                    ("threads", "ensembles"), state(other, i), state(one, i), f"{name}, {threads} threads"
                )
            alone = fit([run], threads=1, dtype=dtype)
            tally.same(("a model alone, among others", "ensembles"), state(alone, 0), state(one, i), name)


def _seq2seq(tally: Tally) -> None:
    for case in seq2seq_cases.CASES:
        seeds = (3, 1, 4)
        inputs, targets, order = seq2seq_cases.data(case, len(seeds))

        def trained(threads: int, models: slice, case=case, data=(inputs, targets), order=order, seeds=seeds):
            ours = seq2seq_cases.ensemble(case, seeds[models], threads=threads)
            loss = ours.train_epoch(*data, order[models], case.batch)
            found = ours.state()
            del found["updates"]
            return [loss, *found.values()]

        one, every = trained(1, slice(None)), slice(None)
        tally.same(("run to run", "sequence to sequence"), trained(1, every), one, str(case))
        for threads in THREADS:
            row = ("threads", "sequence to sequence")
            tally.same(row, trained(threads, every), one, f"{case}, {threads} threads")
        for model in range(len(seeds)):
            own = trained(1, slice(model, model + 1))
            row = ("a model alone, among others", "sequence to sequence")
            tally.same(row, own, [t[model : model + 1] for t in one], f"{case}, model {model}")
