"""The process that makes calls: it reads batches, says which call begins, and how each has ended."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import resource
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO

from fuzzing.calls import Call, Draw, judge

Kinds = dict[str, Callable[[Draw], Call]]


def address_space() -> int:
    """Bytes of address space that this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def limit_memory(more: int) -> None:
    """Let the process grow by at most so many bytes from now on."""
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + more, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def make_and_judge(kinds: Kinds, kind: str, seed: int, begun: Callable[[str], None]) -> tuple[str, str]:
    """Make the call of a kind and seed, tell ``begun`` what it is, run it; return outcome and reason."""
    import numpy as np
    import torch

    draw = Draw(kind, seed)
    torch.manual_seed(draw.number)
    np.random.seed(draw.number)  # noqa: NPY002 what the library draws unseeded must repeat as well
    torch.set_num_threads(1)
    begun("")
    try:
        call = kinds[kind](draw)
    except Exception:
        return "broken", traceback.format_exc()[-800:]
    begun(call.told)
    return judge(call)


def serve(kinds: Kinds, memory: int, lines: IO[str], out: IO[str]) -> None:
    """Make batches ("KIND FIRST COUNT" a line) until there are no more.

    Writes ">", kind, seed and what the call is before a call; "<" and its outcome as JSON after it; "." after
    a batch.
    """
    warnings.simplefilter("ignore")
    faulthandler.enable()
    first = True

    def say(*words: object) -> None:
        out.write("\t".join(map(str, words)) + "\n")
        out.flush()

    for line in lines:
        kind, begin, count = line.split()
        for seed in range(int(begin), int(begin) + int(count)):
            say(">", kind, seed, "")
            if first:  # what is imported and prepared at the first call is not the calls' memory
                limit_memory(memory)
                first = False
            outcome = make_and_judge(
                kinds, kind, seed, lambda told, kind=kind, seed=seed: say(">", kind, seed, told)
            )
            say("<", json.dumps(outcome))
        gc.collect()
        say(".")


def main(kinds: Kinds, memory: int, descriptor: int) -> None:
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        serve(kinds, memory, sys.stdin, out)
