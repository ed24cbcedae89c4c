"""Studies: variants x data sets x seeds, the unit in which papers draw a figure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mathkernels.data.arithmetic import Ranges, Task
from mathkernels.data.distributions import ranges_text
from mathkernels.ensemble.checks import count, count_field, keep, number_fields, plain, require, valid_seed
from mathkernels.ensemble.describe import (
    INALU,
    MOST_ITERATIONS,
    NPU,
    SGD,
    Adam,
    Module,
    Norm,
    Ramp,
    RealNPU,
    Restarts,
    Run,
)
from mathkernels.studies.arithmetic.exact import exact_threshold

Dataset = tuple[Ranges, Ranges]  # interpolation, extrapolation
_LATER = ("clip_value", "restarts")  # fields of a variant
MOST_RUNS = 1_000_000
PANELS = ("rate", "solved_at", "sparsity")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One entry of a figure's legend: a module and how it is trained. See :class:`Run` for the fields.

    ``inputs``, ``operation``, ``iterations`` and ``batch`` are the study's unless a variant has its own.
    """

    label: str
    module: Module
    optimizer: Adam | SGD
    ramp: Ramp | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    restarts: Restarts | None = None
    criterion: Literal["mse", "pcc", "mape"] = "mse"
    inputs: int | None = None
    operation: str | None = None
    iterations: int | None = None
    batch: int | None = None


@dataclass(frozen=True)
class Member:
    """One run of a study and where it belongs in the figure."""

    variant: str
    dataset: str
    run: Run

    @property
    def name(self) -> str:
        """Name in tables, in the manner of the papers' logs."""
        run, task = self.run, self.run.task
        fields = (
            self.variant,
            f"op-{task.operation}",
            f"i-{ranges_text(task.interpolation)}",
            f"e-{ranges_text(task.extrapolation)}",
            f"z-{task.inputs}",
            f"b{run.batch}",
            f"s{run.seed}",
            f"lr-{run.optimizer.name}-{run.optimizer.lr:g}",
        )
        return "_".join(fields)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Every variant on every data set from every seed.

    Args:
        name: of the run folder.
        title: of the figure.
        variants: in the order of the legend.
        datasets: label -> (interpolation, extrapolation), in the order of the axis.
        seeds: one run per variant, data set and seed.
        inputs, operation, subset_ratio, overlap_ratio, spans: see :class:`Task`.
        iterations, evaluate_every, batch: see :class:`Run`.
        threshold: see :class:`Run`; "exact" is what exact weights reach, see :func:`exact_threshold`.
        panels: what the figure shows, of :data:`PANELS`.
        xlabel: of the horizontal axis.
    """

    name: str
    title: str
    variants: tuple[Variant, ...]
    datasets: Mapping[str, Dataset]
    seeds: tuple[int, ...] = tuple(range(25))
    inputs: int = 2
    operation: str = "div"
    iterations: int = 50_000
    evaluate_every: int = 1_000
    batch: int = 128
    threshold: float | Literal["exact"] = 1e-5
    subset_ratio: float | None = None
    overlap_ratio: float = 0.0
    spans: tuple[tuple[int, int], tuple[int, int]] | None = None
    panels: tuple[str, ...] = PANELS
    xlabel: str = "Interpolation range"

    def __post_init__(self) -> None:
        for what, kind in (("variants", Sequence), ("datasets", Mapping), ("seeds", Sequence)):
            given = getattr(self, what)
            fits = isinstance(given, kind) and not isinstance(given, str)
            require(fits, f"Study.{what}", given, f"a {kind.__name__.lower()}")
            if not given:
                raise ValueError(f"Study.{what}: got none, needs at least one")
        for i, each in enumerate(self.variants):
            require(isinstance(each, Variant), f"Study.variants[{i}]", each, "a Variant")
        keep(self, "seeds", tuple(valid_seed(f"Study.seeds[{i}]", each) for i, each in enumerate(self.seeds)))
        require(len(set(self.seeds)) == len(self.seeds), "Study.seeds", self.seeds, "each seed once")
        right = f"variants, datasets and seeds that make at most {MOST_RUNS:,}"
        require(self.runs <= MOST_RUNS, "Study: its runs", self.runs, right)
        count_field(self, "iterations", 0)
        if not (isinstance(self.threshold, str) and self.threshold == "exact"):
            number_fields(self, "threshold")
        for what in ("inputs", "evaluate_every", "batch"):  # which the runs check
            keep(self, what, plain(getattr(self, what)))
        if len({variant.label for variant in self.variants}) < len(self.variants):
            labels = [variant.label for variant in self.variants]
            raise ValueError(f"Study.variants: got the labels {labels}, needs each once")

    def members(self) -> tuple[Member, ...]:
        """Return the runs, the variants slowest and the seeds fastest."""
        return tuple(self._members())

    def _members(self) -> Iterator[Member]:
        for variant in self.variants:
            for label, dataset in self.datasets.items():
                task = self._task(variant, dataset)
                threshold = (
                    exact_threshold(variant.module, task) if self.threshold == "exact" else self.threshold
                )
                for seed in self.seeds:
                    run = Run(
                        module=variant.module,
                        task=task,
                        seed=seed,
                        optimizer=variant.optimizer,
                        iterations=self.iterations_of(variant),
                        evaluate_every=self.evaluate_every,
                        batch=self.batch if variant.batch is None else variant.batch,
                        ramp=variant.ramp,
                        clip_norm=variant.clip_norm,
                        clip_value=variant.clip_value,
                        restarts=variant.restarts,
                        criterion=variant.criterion,
                        threshold=threshold,
                    )
                    yield Member(variant.label, label, run)

    def _task(self, variant: Variant, dataset: Dataset) -> Task:
        return Task(
            operation=variant.operation or self.operation,
            inputs=self.inputs if variant.inputs is None else variant.inputs,
            interpolation=dataset[0],
            extrapolation=dataset[1],
            subset_ratio=self.subset_ratio,
            overlap_ratio=self.overlap_ratio,
            spans=self.spans,
        )

    def iterations_of(self, variant: Variant) -> int:
        return self.iterations if variant.iterations is None else variant.iterations

    @property
    def runs(self) -> int:
        return len(self.variants) * len(self.datasets) * len(self.seeds)

    @property
    def total_iterations(self) -> int:
        """Iterations of all runs together."""
        each = sum(self.iterations_of(variant) for variant in self.variants)
        return each * len(self.datasets) * len(self.seeds)

    def resized(self, iterations: int) -> Study:
        """Return the study with other iterations and its schedules stretched or shrunk in proportion."""
        iterations = count("iterations", iterations, 0, MOST_ITERATIONS)
        variants = tuple(self._resized(variant, iterations) for variant in self.variants)
        return dataclasses.replace(self, variants=variants, iterations=iterations)

    def _resized(self, variant: Variant, iterations: int) -> Variant:
        share = iterations / max(self.iterations_of(variant), 1)
        ramp, module = _resized_ramp(variant.ramp, share), _resized_module(variant.module, share)
        return dataclasses.replace(variant, ramp=ramp, module=module, iterations=None)

    def with_ramp(self, start: int, end: int) -> Study:
        """Return the study with the same ramp for every variant."""
        ramp = Ramp(start=start, end=end)
        variants = tuple(dataclasses.replace(variant, ramp=ramp) for variant in self.variants)
        return dataclasses.replace(self, variants=variants)

    def describe(self) -> dict[str, Any]:
        """Return everything that decides the result, as JSON can hold it."""
        fields: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["seeds"], fields["panels"] = list(self.seeds), list(self.panels)
        if fields.pop("spans"):
            fields["spans"] = [list(span) for span in self.spans or ()]
        fields["variants"] = [_plain(variant) for variant in self.variants]
        fields["datasets"] = {
            label: {"interpolation": ranges_text(inside), "extrapolation": ranges_text(outside)}
            for label, (inside, outside) in self.datasets.items()
        }
        return fields


def _resized_ramp(ramp: Ramp | None, share: float) -> Ramp | None:
    if ramp is None:
        return None
    start = round(ramp.start * share)
    return Ramp(start=start, end=max(round(ramp.end * share), start + 1))


def _resized_module(module: Module, share: float) -> Module:
    if isinstance(module, INALU):
        return dataclasses.replace(module, penalty_after=round(module.penalty_after * share))
    if not isinstance(module, (RealNPU, NPU)) or module.norm is None:
        return module
    every = max(round(module.norm.every * share), 1)
    return dataclasses.replace(module, norm=dataclasses.replace(module.norm, every=every))


def _plain(value: Any) -> Any:
    if isinstance(value, (Variant, Ramp, Norm, Restarts)):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        # left out where absent, so that run folders from before they existed still fit
        return {name: v for name, v in fields.items() if v is not None or name not in _LATER}
    if dataclasses.is_dataclass(value):
        own = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"name": getattr(value, "name"), **own}  # noqa: B009 (a class attribute of every description)
    return list(value) if isinstance(value, tuple) else value
