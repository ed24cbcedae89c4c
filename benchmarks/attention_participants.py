"""Who runs the attention cases, and in which kind of process.

Rivals have the malloc that keeps what it has (see sequence_participants.py), which serves them best; ours
runs with the default. Every group of rivals has a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from attention_cases import AttentionCase
from sequence_participants import OURS, OURS_BF16, Participant

CELLS, PRODUCT, SDPA = "loop of LSTMCell, bmm", "loop, one product a step", "loop of LSTMCell, sdpa"
STEP, STEP_SDPA, WHOLE = "step compiled", "step compiled, sdpa", "whole loop compiled"
OUR_LAYER, STOCK_LAYER = "mathkernels.nn.LSTM, then sdpa", "torch.nn.LSTM, then sdpa"
HAND = "by hand"

# Blocks of rows, two workers, packed products, compiled gates: see rivals/attention_by_hand.py.
BY_HAND: dict[str, dict[str, Any]] = {
    HAND: {},
    f"{HAND}, blocks of 32": {"rows": 32},
    f"{HAND}, blocks of 16": {"rows": 16},
    f"{HAND}, packed": {"pack": True},
    f"{HAND}, packed, blocks of 32": {"rows": 32, "pack": True},
    f"{HAND}, 2 workers, blocks of 32": {"rows": 32, "workers": True},
    f"{HAND}, 2 workers, blocks of 16": {"rows": 16, "workers": True},
    f"{HAND}, packed, 2 workers, blocks of 32": {"rows": 32, "workers": True, "pack": True},
    f"{HAND}, compiled gates, blocks of 32": {"rows": 32, "compiled": True},
}
# Products with keys and values as einsum or as sums, apart, in blocks: see rivals/attention_jax.py.
JAX: dict[str, dict[str, Any]] = {
    f"JAX scan, {products}{how}": {"products": products, **options}
    for products in ("einsum", "sums")
    for how, options in {
        "": {},
        ", apart": {"apart": True},
        ", apart, blocks of 16": {"apart": True, "rows": 16},
        ", vmap": {"vectorised": True},
    }.items()
}
COMPILED = (STEP, STEP_SDPA, WHOLE, f"{HAND}, compiled gates, blocks of 32")  # inductor takes its time
LOOPS = (CELLS, PRODUCT, SDPA)
AFTER = (OURS, OUR_LAYER, STOCK_LAYER)  # who runs attention after the recurrence


def _process(name: str) -> str:
    for group in ("JAX", HAND, "compiled"):
        if group in name:
            return group
    return "loops"


PARTICIPANTS = {
    OURS: Participant(tuned=False, process="ours", every_count=True),
    OURS_BF16: Participant(tuned=False, process="ours", every_count=True),
    **{
        name: Participant(tuned=True, process=_process(name), every_count=name not in COMPILED)
        for name in (*LOOPS, STEP, STEP_SDPA, WHOLE, *JAX, *BY_HAND, OUR_LAYER, STOCK_LAYER)
    },
}
RIVALS = tuple(name for name in PARTICIPANTS if name not in (OURS, OURS_BF16))


def participants(case: AttentionCase, threads: int, most: bool, short: bool) -> list[str]:
    """Return who takes part with a number of threads; ``most``: no other is higher; short has no compiler."""
    if not case.fed:
        return list(AFTER)
    skipped = {OUR_LAYER, STOCK_LAYER, *(COMPILED if short else ())}
    if not case.bfloat16:
        skipped.add(OURS_BF16)
    if case.models == 1:
        skipped |= {name for name, options in JAX.items() if options.get("vectorised")}
    if threads == 1 and not short:  # workers are threads
        skipped |= {name for name, options in BY_HAND.items() if options.get("workers")}
    return [name for name, one in PARTICIPANTS.items() if name not in skipped and (most or one.every_count)]


def participant_of(case: AttentionCase, name: str) -> Any:
    """Return a participant; what it drew of the case's inputs goes when it goes."""
    case = replace(case)
    if not case.fed:
        from rivals.attention_after import LayerThenAttention

        return LayerThenAttention(case, ours=name != STOCK_LAYER, op=name == OURS)
    if name in (OURS, OURS_BF16):
        from rivals.attention_ours import FusedDecoder

        return FusedDecoder(case, bfloat16=name == OURS_BF16)
    if name in JAX:
        from rivals.attention_jax import JaxDecoder

        return JaxDecoder(case, **JAX[name])
    if name in BY_HAND:
        from rivals.attention_by_hand import ByHand

        return ByHand(case, **BY_HAND[name])
    from rivals import attention_loops as loops

    made: dict[str, Callable[[AttentionCase], Any]] = {
        CELLS: loops.CellLoop,
        PRODUCT: loops.ProductLoop,
        SDPA: loops.SdpaLoop,
        STEP: loops.CompiledStep,
        STEP_SDPA: loops.CompiledStepSdpa,
        WHOLE: loops.CompiledWhole,
    }
    return made[name](case)
