"""NaN and infinity in one model, row or run, and the bits of everything else."""

from __future__ import annotations

import dataclasses
import math

import seq2seq_cases
import torch
from ensemble_cases import RUNS
from fuzzing.compare import pulled
from fuzzing.fits import state
from torch import Tensor

from mathkernels.ensemble import SGD, fit
from reliable.subjects import Op, ops
from reliable.tally import Tally

POISONS = {"NaN": math.nan, "infinity": math.inf}


def measure() -> list[dict[str, object]]:
    """Return cases and changes elsewhere, by what was spoilt and with what."""
    torch.set_num_threads(2)
    tally = Tally()
    for op in ops():
        clean = pulled(op.function, op.leaves)
        for name, poison in POISONS.items():
            _model(tally, op, clean, name, poison)
            _row(tally, op, clean, name, poison)
    _runs(tally)
    _seq2seq(tally)
    return tally.content()


def _spoilt(leaf: Tensor, index: int, poison: float) -> Tensor:
    """A copy with all of what lies at an index of its first axis replaced."""
    leaf = leaf.clone()
    leaf[index] = poison
    return leaf


def _model(tally: Tally, op: Op, clean: list[Tensor], name: str, poison: float) -> None:
    spoilt = len(op.leaves[0]) // 2
    rest = [model for model in range(len(op.leaves[0])) if model != spoilt]
    for at in range(len(op.leaves)):
        leaves = [_spoilt(leaf, spoilt, poison) if i == at else leaf for i, leaf in enumerate(op.leaves)]
        found = [t[rest] for t in pulled(op.function, leaves)]
        tally.same(("a model", name, op.family), found, [t[rest] for t in clean], f"{op.name}, leaf {at}")


def _row(tally: Tally, op: Op, clean: list[Tensor], name: str, poison: float) -> None:
    """A row of x; values and the gradient of x are per row, those of weights are sums over rows."""
    x, *weights = op.leaves
    axis = 1 if op.rows else 2
    if x.shape[axis] < 2:
        return
    spoilt = x.shape[axis] // 2
    rest = torch.tensor([row for row in range(x.shape[axis]) if row != spoilt])
    x = x.clone()
    x.select(axis, spoilt).fill_(poison)
    values = len(clean) - len(op.leaves)  # then the gradient of x
    found = pulled(op.function, [x, *weights])
    ours = [found[i].index_select(axis, rest) for i in (0, values)]
    theirs = [clean[i].index_select(axis, rest) for i in (0, values)]
    tally.same(("a row", name, op.family), ours, theirs, op.name)


def _runs(tally: Tally) -> None:
    runs = [run for run in RUNS.values() if run.iterations <= 300]
    clean = fit(runs, threads=2)
    for at, run in enumerate(runs):
        for rate in (1e30, 3e38):
            wild = dataclasses.replace(run, optimizer=SGD(lr=rate), clip_norm=None, clip_value=None)
            together = fit([*runs[:at], wild, *runs[at + 1 :]], threads=2)
            for i in range(len(runs)):
                if i != at:
                    case = f"{runs[i].module.name} beside {run.module.name} with lr={rate:g}"
                    row = ("a run", f"a step size of {rate:g}", "ensembles")
                    tally.same(row, state(together, i), state(clean, i), case)


def _seq2seq(tally: Tally) -> None:
    for case in seq2seq_cases.CASES:
        inputs, targets, order = seq2seq_cases.data(case, 3)

        def trained(poison: float | None, case=case, data=(inputs, targets, order)) -> list[Tensor]:
            ours = seq2seq_cases.ensemble(case, (1, 2, 3), threads=2)
            if poison is not None:
                start = {name: _spoilt(own, 1, poison) for name, own in ours.parameters().items()}
                ours = seq2seq_cases.ensemble(case, (1, 2, 3), threads=2, parameters=start)
            loss = ours.train_epoch(*data, case.batch)
            found = ours.state()
            del found["updates"]
            return [t[[0, 2]] for t in (loss, *found.values())]

        clean = trained(None)
        for name, poison in POISONS.items():
            tally.same(("a model", name, "sequence to sequence"), trained(poison), clean, str(case))
