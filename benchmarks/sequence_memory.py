"""How much memory a training step needs at its peak; its own process, with malloc's defaults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from memory import resident

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak() -> int:
    """Return the most bytes of memory that the process occupied since :func:`forget`."""
    line = next(line for line in STATUS.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def forget() -> None:
    """Let the peak begin anew."""
    CLEAR.write_text("5", encoding="utf-8")


def measure(case_name: str, name: str) -> float:
    """Return the MB by which two training steps raise the peak over the weights, inputs and libraries."""
    from sequence_cases import SEQUENCE_CASES, SHORT
    from sequence_participants import participant_of

    case = SEQUENCE_CASES[case_name]
    for short in SHORT[case.kind]:
        participant_of(short, name).training(2)  # libraries and their caches are loaded now
    subject = participant_of(case, name)
    assert subject.case.dy.size  # drawn now
    forget()
    before = resident()
    subject.training(2)
    return (peak() - before) / 1e6


def measured_apart(case_name: str, name: str, threads: int) -> float:
    """Return what :func:`measure` finds in a process of its own."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    command = [sys.executable, str(Path(__file__)), case_name, name]
    return json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
