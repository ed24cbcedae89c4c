"""A progress bar over all model-iterations of a campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType

from mathkernels.ensemble.describe import Run
from mathkernels.experiment.optional import load
from mathkernels.studies.arithmetic.campaign import CampaignProgress, grouped
from mathkernels.studies.arithmetic.timing import in_words

_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]"


class CampaignBar:
    """A bar on a terminal; nothing where there is none. Call it with each :class:`CampaignProgress`.

    The time left counts what is left of the group in training at its own rate, and later groups at their
    known rates, or at that of the group in training.

    Args:
        runs: of the campaign.
        rates: known model-iterations per second by group.
    """

    def __init__(self, runs: Sequence[Run], rates: Mapping[str, float]) -> None:
        self._work = {name: sum(run.iterations + 1 for run in own) for name, own in grouped(runs).items()}
        self._rates = rates
        self._bar = load("tqdm").tqdm(
            total=sum(self._work.values()),
            unit=" iterations",
            unit_scale=True,
            disable=None,
            bar_format=_FORMAT,
        )

    def __enter__(self) -> CampaignBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def __call__(self, progress: CampaignProgress) -> None:
        if self._bar.disable:
            return
        own = progress.of_group
        self._bar.set_postfix_str(
            f"{progress.group}, {in_words(self.seconds_left(progress))} left", refresh=False
        )
        self._bar.update(progress.done_iterations - self._bar.n)
        if own.done_iterations == own.total_iterations:
            self._bar.refresh()

    def seconds_left(self, progress: CampaignProgress) -> float:
        """Return the expected seconds to the end, NaN while nothing is known."""
        own = progress.of_group
        current = own.done_iterations / own.seconds if own.seconds > 0 else float("nan")
        left = (own.total_iterations - own.done_iterations) / current
        names = list(self._work)
        for name in names[names.index(progress.group) + 1 :]:
            left += self._work[name] / self._rates.get(name, current)
        return left
