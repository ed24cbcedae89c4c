"""Files of every kind, cut off and with bits turned: refused by name, or read as they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from fuzzing.pool import Batch, End

COLUMNS = ("refused", "unclear", "as it was", "other numbers", "failed")


def measure(run: Callable[[Sequence[Batch]], list[End]], count: int, first: int) -> list[dict[str, object]]:
    """Return for each kind of file how damaged ones were read.

    Args:
        run: makes batches of calls in watched processes.
        count: files in all.
        first: number of the first call.
    """
    size = 200
    batches = [Batch("damage", first + at, min(size, count - at)) for at in range(0, count, size)]
    tables: dict[str, Counter[str]] = {}
    for end in run(batches):
        name = end.told.partition(",")[0]
        outcome = end.outcome
        if outcome == "equal":
            outcome = "other numbers" if end.reason else "as it was"
        tables.setdefault(name, Counter())[outcome if outcome in COLUMNS else "failed"] += 1
    return [
        {"file": name, "damaged": sum(own.values()), **{column: own[column] for column in COLUMNS}}
        for name, own in sorted(tables.items())
    ]
