"""Cases and mismatches, counted by what was examined."""

from __future__ import annotations

from collections.abc import Sequence

from fuzzing.calls import Difference
from fuzzing.compare import same_bits
from torch import Tensor


class Tally:
    """Rows of a table: what was examined, how many cases, how many of them failed, and the first that did."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, ...], list] = {}

    def count(self, row: tuple[str, ...], failed: str = "") -> None:
        own = self.rows.setdefault(row, [0, 0, ""])
        own[0] += 1
        if failed:
            own[1] += 1
            own[2] = own[2] or failed

    def same(self, row: tuple[str, ...], ours: Sequence[Tensor], theirs: Sequence[Tensor], case: str) -> None:
        """Count a case of results that must agree bit by bit."""
        try:
            same_bits(ours, theirs, case)
        except Difference as error:
            self.count(row, str(error))
        else:
            self.count(row)

    def content(self) -> list[dict[str, object]]:
        """As JSON values."""
        return [
            {"of": list(row), "cases": cases, "failed": failed, "first": first}
            for row, (cases, failed, first) in self.rows.items()
        ]
