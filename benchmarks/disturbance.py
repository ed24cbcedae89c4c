"""How much of the processors others used while something was timed."""

from __future__ import annotations

import os
import time
from pathlib import Path

STAT = Path("/proc/stat")
TICKS = os.sysconf("SC_CLK_TCK")
IDLE = (3, 4)  # idle, and waiting for input or output, of the columns of /proc/stat


def busy() -> float:
    """Return the seconds that all processors have worked or were taken away by the host (steal)."""
    columns = [int(value) for value in STAT.read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]]
    return sum(value for column, value in enumerate(columns) if column not in IDLE) / TICKS


def own(processes: list[int]) -> float:
    """Return the seconds that this process and the given ones have worked."""
    total = 0.0
    for process in (os.getpid(), *processes):
        # the name, in brackets, may hold spaces
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


class Disturbance:
    """Counts from its making on; where the system has no /proc/stat it knows nothing."""

    def __init__(self, processes: list[int]) -> None:
        self.processes = processes
        self.begin = self._now() if STAT.exists() else None

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), busy() - own(self.processes)

    def share(self) -> float | None:
        """Return the share of all processors that went to others, or None."""
        if self.begin is None:
            return None
        elapsed, foreign = (now - then for now, then in zip(self._now(), self.begin, strict=True))
        return max(0.0, foreign / elapsed / (os.cpu_count() or 1))
