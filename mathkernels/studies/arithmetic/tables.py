"""Tables of a study: one row per run, per logged evaluation, and per variant and data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from mathkernels.experiment.statistics import Estimate, beta_mean, gamma_mean, wilson

NON_FINITE = "NaN or infinite"
RUN_COLUMNS = (
    *(
        "name",
        "metric.valid.interpolation",
        "metric.test.extrapolation",
        "step",
        "wall.time",
        "sparse.error.max",
    ),
    *("figure", "variant", "range", "seed", "solved", "solved_at", "best_step", "finished"),
    *("non_finite", "non_finite_at"),
)
CURVE_COLUMNS = (
    *("variant", "range", "seed", "step", "metric.valid.interpolation", "metric.test.extrapolation"),
    *("sparse.error.max", "loss", "penalty"),
)
SUMMARY_COLUMNS = (
    *("variant", "range", "threshold", "n", "successes", "rate", "rate_low", "rate_high"),
    *("solved_at", "solved_at_low", "solved_at_high"),
    *("sparsity", "sparsity_low", "sparsity_high", "sparsity_sample_mean", "non_finite"),
)
# the curves of a run -> their columns
_LOGGED = {
    "valid": "metric.valid.interpolation",
    "test": "metric.test.extrapolation",
    "sparsity": "sparse.error.max",
    "loss": "loss",
    "penalty": "penalty",
}
# the papers' logs call a learned weight weights.w0, a gate gate.g0
_WEIGHT_PREFIX = {"weight": "weights.w", "gate": "gate.g"}


class Member(Protocol):
    """A run and where it belongs."""

    @property
    def name(self) -> str: ...
    @property
    def variant(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def run(self) -> Any: ...


class Results(Protocol):
    """What the tables read of N trained runs, in the order of the members."""

    @property
    def best_row(self) -> np.ndarray: ...
    @property
    def solved(self) -> np.ndarray: ...
    @property
    def solved_at(self) -> np.ndarray: ...
    @property
    def valid(self) -> np.ndarray: ...
    @property
    def test(self) -> np.ndarray: ...
    @property
    def sparsity(self) -> np.ndarray: ...
    @property
    def finished(self) -> np.ndarray: ...
    @property
    def non_finite(self) -> np.ndarray: ...
    @property
    def non_finite_at(self) -> np.ndarray: ...
    @property
    def seconds(self) -> float: ...
    @property
    def interrupted(self) -> bool: ...
    def steps(self, i: int) -> np.ndarray: ...
    def curves(self, i: int) -> Mapping[str, np.ndarray]: ...
    def best_weights(self, i: int) -> Mapping[str, np.ndarray]: ...


def _place(member: Member) -> dict[str, Any]:
    return {"variant": member.variant, "range": member.dataset, "seed": member.run.seed}


def run_rows(members: Sequence[Member], results: Results, figure: str) -> list[dict[str, Any]]:
    """Return each run's best row with the weights learned there; wall.time is that of all runs together."""
    rows = []
    for i, member in enumerate(members):
        best = int(results.best_row[i])
        step = int(results.steps(i)[best]) if best >= 0 else ""
        rows.append(
            {
                "name": member.name,
                "metric.valid.interpolation": results.valid[i],
                "metric.test.extrapolation": results.test[i],
                "step": step,
                "wall.time": results.seconds,
                "sparse.error.max": results.sparsity[i],
                "figure": figure,
                **_place(member),
                "solved": int(results.solved[i]),
                "solved_at": results.solved_at[i],
                "best_step": step,
                "finished": int(results.finished[i]),
                "non_finite": int(results.non_finite[i]),
                "non_finite_at": results.non_finite_at[i],
                **_weights(results.best_weights(i)),
            }
        )
    return rows


def run_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns of runs.csv: the fixed ones, then every weight that some module has."""
    return list(dict.fromkeys([*RUN_COLUMNS, *(name for row in rows for name in row)]))


def _weights(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {
        f"{_WEIGHT_PREFIX.get(name, name + '.')}{k}": value
        for name, array in weights.items()
        for k, value in enumerate(np.asarray(array).ravel())
    }


def curve_rows(members: Sequence[Member], results: Results) -> Iterator[dict[str, Any]]:
    """Yield every logged row of every run."""
    for i, member in enumerate(members):
        steps, curves, place = results.steps(i).tolist(), results.curves(i), _place(member)
        if not steps:
            continue
        # plain numbers at once: a campaign has a million of these rows
        columns = [np.asarray(curves[name], np.float64).tolist() for name in _LOGGED]
        for step, *values in zip(steps, *columns, strict=True):
            yield {**place, "step": step, **dict(zip(_LOGGED.values(), values, strict=True))}


def summary_rows(
    members: Sequence[Member], results: Results, *, published: bool = False
) -> list[dict[str, Any]]:
    """Return one row per variant and data set, both in the order of the members.

    Every run counts in n, also one that broke off. Solved-at and sparsity are over solved runs only;
    ``non_finite`` is how many runs end in NaN or infinity.

    Args:
        published: the papers' half-scale convention for sparsity errors, see :func:`beta_mean`.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for i, member in enumerate(members):
        groups.setdefault((member.variant, member.dataset), []).append(i)
    rows = []
    for (variant, dataset), places in groups.items():
        own = np.array(places)
        solved = own[np.asarray(results.solved)[own].astype(bool)]
        sparsity = np.asarray(results.sparsity, dtype=np.float64)[solved]
        rows.append(
            {
                "variant": variant,
                "range": dataset,
                "threshold": members[places[0]].run.threshold,
                "n": own.size,
                "successes": solved.size,
                **_estimate("rate", wilson(solved.size, own.size)),
                **_estimate("solved_at", gamma_mean(np.asarray(results.solved_at)[solved])),
                **_estimate("sparsity", beta_mean(sparsity, published=published)),
                "sparsity_sample_mean": float(sparsity.mean()) if sparsity.size else float("nan"),
                "non_finite": int(np.count_nonzero(np.asarray(results.non_finite)[own])),
            }
        )
    return rows


def _estimate(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def non_finite_note(summary: Sequence[Mapping[str, Any]]) -> str:
    """Return in words how many runs of a summary end in NaN or infinity; nothing if none does."""
    by_variant: dict[str, int] = {}
    for row in summary:
        by_variant[row["variant"]] = by_variant.get(row["variant"], 0) + int(row.get("non_finite") or 0)
    broken, runs = sum(by_variant.values()), sum(int(row["n"]) for row in summary)
    if not broken:
        return ""
    where = ", ".join(f"{variant} {count}" for variant, count in by_variant.items() if count)
    return f"{broken:,} of {runs:,} runs end in NaN or infinity: {where}"


def success_table(summary: Sequence[Mapping[str, Any]]) -> str:
    """Return successes per data set (rows) and variant (columns), with totals and their Wilson intervals.

    A row says how many runs end in NaN or infinity.
    """
    variants = list(dict.fromkeys(row["variant"] for row in summary))
    datasets = list(dict.fromkeys(row["range"] for row in summary))
    cells = {(row["variant"], row["range"]): f"{row['successes']}/{row['n']}" for row in summary}
    lines = [["range", *variants]]
    lines += [[dataset, *(cells.get((variant, dataset), "") for variant in variants)] for dataset in datasets]
    totals, broken = [], []
    for variant in variants:
        own = [row for row in summary if row["variant"] == variant]
        broken.append(f"{sum(row['non_finite'] for row in own)}/{sum(row['n'] for row in own)}")
        totals.append(wilson(sum(row["successes"] for row in own), sum(row["n"] for row in own)))
    lines.append([NON_FINITE, *broken])
    lines.append(["all", *(f"{total.value:.1%}" for total in totals)])
    lines.append(["95 % interval", *(f"{100 * total.low:.1f}–{100 * total.high:.1f}%" for total in totals)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    rule = "-" * len(text[0])
    return "\n".join([text[0], rule, *text[1:-3], rule, *text[-3:]])
