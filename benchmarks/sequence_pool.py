"""The processes of sequence, attention and decoding benchmarks: by threads, malloc and group."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import sequence_proof
from attention_cases import AttentionCase
from decoding_cases import DecodingCase
from sequence_cases import Arrays, SequenceCase
from sequence_participants import PARTICIPANTS, Participant
from worker import Worker

Case = SequenceCase | AttentionCase | DecodingCase
PASSES = ("forward", "training")  # inference; forward and backward


def thread_counts(short: bool) -> list[int]:
    """Return 1 and, when not short, 2 if the machine has them."""
    return [1] if short else [n for n in (1, 2) if n <= len(os.sched_getaffinity(0))]


class Pool:
    """Starts a process when a participant first needs it; use as a context manager.

    Args:
        shared: all participants with the same malloc share a process, which saves starting some; not for
            figures to keep.
        packages: folder in which the processes look for packages first.
        participants: how everyone runs.
        proof: has ``reference``, the answers of a case in float64, and ``assert_equal_answers``.
    """

    def __init__(
        self,
        shared: bool = False,
        packages: Path | None = None,
        participants: Mapping[str, Participant] = PARTICIPANTS,
        proof: Any = sequence_proof,
    ) -> None:
        self._participants = participants
        self._proof = proof
        self._shared = shared
        self._packages = packages
        self._stack = ExitStack()
        self._workers: dict[tuple[int, bool, str], Worker] = {}
        self._exact: tuple[str, Arrays] | None = None

    def worker(self, name: str, threads: int) -> Worker:
        """Return the process of a participant."""
        given = self._participants[name]
        key = threads, given.tuned, "" if self._shared else given.process
        if key not in self._workers:
            self._workers[key] = self._stack.enter_context(Worker(threads, given.environment, self._packages))
        return self._workers[key]

    def start(self, turns: Iterable[tuple[str, int]]) -> None:
        """Start the processes of participants and numbers of threads, all at once."""
        for name, threads in turns:
            self.worker(name, threads)

    @property
    def processes(self) -> list[int]:
        """The numbers of all processes."""
        return [worker.process.pid for worker in self._workers.values()]

    def prove(self, case: Case, name: str, threads: int) -> float:
        """Run both passes and return the largest error beside float64; raises if it is too large."""
        if self._exact is None or self._exact[0] != case.name:
            self._exact = case.name, self._proof.reference(case)
        found = self.worker(name, threads).ask("prove", case.name, name, 1)
        return self._proof.assert_equal_answers(case, name, self._exact[1], found)

    def time(self, case: Case, name: str, threads: int, verb: str, count: int) -> float:
        """Return the seconds of ``count`` passes; ``verb`` is one of PASSES."""
        return self.worker(name, threads).ask(verb, case.name, name, count)

    def passes(self, case: Case, name: str, threads: int, verb: str, seconds: float) -> int:
        """Return how many passes fill the given seconds; proving has warmed everything up."""
        count = 1
        while (spent := self.time(case, name, threads, verb, count)) < seconds / 4:
            count = max(count + 1, int(count * seconds / 2 / max(spent, 1e-6)))
        return max(1, round(count * seconds / spent))

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
