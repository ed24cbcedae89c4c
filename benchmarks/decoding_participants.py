"""Who decodes, and in which kind of process: as in attention_participants.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from decoding_cases import DecodingCase
from sequence_participants import OURS, Participant

TOGETHER, BATCHES, REPEATED = "stock loop", "stock loop, batches of 128", "stock loop, memory for each beam"
BATCH = 128
PARTICIPANTS = {
    OURS: Participant(tuned=False, process="ours", every_count=True),
    TOGETHER: Participant(tuned=True, process="stock", every_count=True),
    BATCHES: Participant(tuned=True, process="stock", every_count=True),
    REPEATED: Participant(tuned=True, process="stock", every_count=True),
}


def participants(case: DecodingCase) -> list[str]:
    """Return who takes part in a case."""
    return [name for name in PARTICIPANTS if case.beams or name != REPEATED]


def participant_of(case: DecodingCase, name: str) -> Any:
    """Return a participant; what it drew goes when it goes."""
    case = replace(case)
    if name == OURS:
        from rivals.decoding_ours import OurDecoding

        return OurDecoding(case)
    from rivals.decoding_stock import StockDecoding

    batch = case.sentences if name == TOGETHER else BATCH
    return StockDecoding(case, batch=batch, repeated=name == REPEATED)
