"""Who runs the sequence cases, and in which kind of process.

Much of torch.nn's training time on long sequences can go to page faults: by default malloc gives large blocks
back to the system when they are freed. So torch.nn takes part twice, and every other rival has the malloc
that keeps what it has (TUNED_MALLOC), which serves it best. Participants that are compared closely have a
process of their own, since malloc adapts to whatever else a process does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sequence_cases import SequenceCase

OURS, OURS_TUNED, OURS_BF16 = "mathkernels", "mathkernels, tuned malloc", "mathkernels, bfloat16"
STOCK, STOCK_TUNED = "torch.nn", "torch.nn, tuned malloc"
NO_MKLDNN, AUTOCAST = "torch.nn, mkldnn off", "torch.nn, bfloat16 autocast"
CELLS, COMPILED, JAX = "loop of torch.nn's cell", "loop, torch.compile", "JAX scan"

# Nothing below 1 GB is mapped on its own, nothing below 4 GB given back, the heap grows by 256 MB at a time.
TUNED_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "MALLOC_TOP_PAD_": str(1 << 28),
}


@dataclass(frozen=True)
class Participant:
    """How a participant runs.

    Attributes:
        tuned: whether its process has the tuned malloc.
        process: participants with the same name here, the same malloc and number of threads share a process.
        every_count: whether it runs with every number of threads, or with the most only.
    """

    tuned: bool
    process: str
    every_count: bool = False

    @property
    def environment(self) -> dict[str, str]:
        return TUNED_MALLOC if self.tuned else {}


PARTICIPANTS = {
    OURS: Participant(tuned=False, process="ours", every_count=True),
    STOCK: Participant(tuned=False, process="torch.nn", every_count=True),
    STOCK_TUNED: Participant(tuned=True, process="torch.nn", every_count=True),
    OURS_TUNED: Participant(tuned=True, process="ours"),
    OURS_BF16: Participant(tuned=False, process="ours"),
    AUTOCAST: Participant(tuned=True, process="others"),
    NO_MKLDNN: Participant(tuned=True, process="others"),
    CELLS: Participant(tuned=True, process="others"),
    COMPILED: Participant(tuned=True, process="others"),
    JAX: Participant(tuned=True, process="others"),
}
ROUNDED = (OURS_BF16, AUTOCAST)  # who multiplies in bfloat16
RIVALS = tuple(name for name in PARTICIPANTS if name not in (OURS, OURS_TUNED, *ROUNDED))


def autocast_runs(case: SequenceCase) -> bool:
    """Return whether torch.nn has this layer in bfloat16; its LSTM raises where oneDNN has none."""
    import torch

    return case.kind != "lstm" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def participants(case: SequenceCase, most_threads: bool, short: bool) -> list[str]:
    """Return who takes part in a case with the most threads or with fewer; short leaves the compiler out."""
    skipped = {*(() if case.bfloat16 else ROUNDED), *({COMPILED} if short else ())}
    if case.bfloat16 and not autocast_runs(case):
        skipped.add(AUTOCAST)
    return [
        name
        for name, participant in PARTICIPANTS.items()
        if name not in skipped and (most_threads or participant.every_count)
    ]


def participant_of(case: SequenceCase, name: str) -> Any:
    """Return a participant; what it drew of the case's inputs goes when it goes."""
    case = replace(case)
    if name in (OURS, OURS_TUNED, OURS_BF16):
        from rivals.sequence_ours import FusedLayer

        return FusedLayer(case, bfloat16=name == OURS_BF16)
    if name == JAX:
        from rivals.sequence_jax import JaxScan

        return JaxScan(case)
    if name == COMPILED:
        from rivals.sequence_compiled import CompiledLoop

        return CompiledLoop(case)
    from rivals.sequence_stock import CellLoop, StockLayer

    if name == CELLS:
        return CellLoop(case)
    return StockLayer(case, mkldnn=name != NO_MKLDNN, autocast=name == AUTOCAST)
