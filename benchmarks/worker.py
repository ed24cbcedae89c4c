"""A process with a fixed number of threads that proves and times participants on request.

Affinity and thread counts must be set before torch, JAX and OpenMP start, and the settings of malloc before
anything, so that each number of threads and each malloc gets a process of its own. Commands and answers are
pickled through the pipes of :class:`Worker`.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from module_cases import ModuleCase

OURS, ALONE, PLAIN = "mathkernels", "mathkernels, one model", "plain loop, one model"
EAGER, COMPILED = "torch batched, autograd", "torch batched, torch.compile"
JAX, JAX_RBG = "JAX vmap + scan, threefry", "JAX vmap + scan, unsafe_rbg"
MANUAL, SPLIT = "torch by hand", "torch by hand, split by sign"
NUMBA, MOMENTS = "Numba by hand", "Numba by hand, moments"
NAMES = (OURS, ALONE, PLAIN, EAGER, COMPILED, JAX, JAX_RBG, MANUAL, SPLIT, NUMBA, MOMENTS)
AUTOMATIC = (EAGER, COMPILED, JAX, JAX_RBG)  # gradients by autograd or JAX
BY_HAND = (MANUAL, SPLIT)
SINGLE = (ALONE, PLAIN)  # participants that train one model, on one thread
# The participants of module_cases.py, with OURS and PLAIN.
REFERENCE, REFERENCE_COMPILED = "torch, reference formulas batched", "the same, torch.compile"
JAX_MODULES = "JAX vmap + loop"


def participants(case: str, threads: int) -> tuple[str, ...]:
    """Return the names that make sense for a case."""
    skipped = {SPLIT} if case.startswith("NMU") else set()
    if case != "NMU-2":
        skipped.add(MOMENTS)
    return tuple(name for name in NAMES if name not in skipped and (threads == 1 or name not in SINGLE))


@lru_cache(maxsize=16)  # more than one case has; those of earlier cases give their memory back
def participant(case_name: str, name: str, threads: int) -> Any:
    """Return a participant; imports happen here, because JAX and inductor take seconds to load."""
    from attention_cases import ATTENTION_CASES
    from decoding_cases import DECODING_CASES
    from sequence_cases import SEQUENCE_CASES

    if case_name in ATTENTION_CASES:
        import attention_participants

        return attention_participants.participant_of(ATTENTION_CASES[case_name], name)
    if case_name in SEQUENCE_CASES:
        from sequence_participants import participant_of

        return participant_of(SEQUENCE_CASES[case_name], name)
    if case_name in DECODING_CASES:
        import decoding_participants

        return decoding_participants.participant_of(DECODING_CASES[case_name], name)
    from cases import CASES
    from module_cases import MODULE_CASES

    if case_name in MODULE_CASES:
        return _of_any_module(MODULE_CASES[case_name], name, threads)
    case = CASES[case_name]
    if name in (OURS, ALONE):
        from rivals.ours import Ours

        return Ours(case, threads, alone=name == ALONE)
    if name == PLAIN:
        from rivals.plain_torch import PlainTorch

        return PlainTorch(case)
    if name in (EAGER, COMPILED):
        from rivals.batched_torch import BatchedTorch

        return BatchedTorch(case, compiled=name == COMPILED, common=True)
    if name in (JAX, JAX_RBG):
        from rivals.jax_scan import JaxScan

        return JaxScan(case, "threefry2x32" if name == JAX else "unsafe_rbg", common=True)
    if name in (NUMBA, MOMENTS):
        from rivals.ensemble_numba import NumbaEnsemble

        return NumbaEnsemble(case, threads, moments=name == MOMENTS)
    from rivals.manual_torch import ManualTorch

    return ManualTorch(case, common=True, split=name == SPLIT)


def _of_any_module(case: ModuleCase, name: str, threads: int) -> Any:
    if name == OURS:
        from rivals.ours import OursModules

        return OursModules(case, threads)
    if name == PLAIN:
        from rivals.plain_stack import PlainStack

        return PlainStack(case)
    if name == JAX_MODULES:
        from rivals.jax_modules import JaxModules

        return JaxModules(case)
    from rivals.batched_reference import BatchedReference

    return BatchedReference(case, compiled=name == REFERENCE_COMPILED)


class Worker:
    """Starts the process; use as a context manager.

    Args:
        threads: of torch and JAX, and how many processors the process may use.
        environment: more variables that must be set before the process starts.
        packages: folder in which the process looks for packages first.
    """

    def __init__(
        self, threads: int, environment: Mapping[str, str] | None = None, packages: Path | None = None
    ) -> None:
        available = sorted(os.sched_getaffinity(0))
        if threads > len(available):
            raise ValueError(f"threads: got {threads}, needs at most the {len(available)} usable processors")
        self.threads = threads
        count = str(threads)
        variables = {
            **os.environ,
            **(environment or {}),
            "OMP_NUM_THREADS": count,
            "MKL_NUM_THREADS": count,
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": os.pathsep.join(
                [*([str(packages)] if packages else []), *(path for path in sys.path if path)]
            ),
        }
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), *map(str, available[:threads])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=variables,
        )

    def ask(self, *command: Any) -> Any:
        """Return what a method answers: ``command`` is its name, case, participant and argument."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        pickle.dump(command, self.process.stdin)
        self.process.stdin.flush()
        answer, error = pickle.load(self.process.stdout)
        if error:
            raise RuntimeError(f"{command[2]} in {command[1]} with {self.threads} thread(s):\n{error}")
        return answer

    def prove(self, case: str, name: str, iterations: int) -> np.ndarray:
        """Return the parameters (E,P) after training on the given inputs."""
        return self.ask("prove", case, name, iterations)

    def time(self, case: str, name: str, iterations: int) -> float:
        """Return the seconds of training on fresh inputs."""
        return self.ask("time", case, name, iterations)

    def models(self, case: str, name: str) -> int:
        return self.ask("models", case, name, 0)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def serve(processors: list[int]) -> None:
    os.sched_setaffinity(0, processors)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    import traceback

    import torch

    torch.set_num_threads(len(processors))
    while True:
        try:
            verb, case, name, iterations = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            subject = participant(case, name, len(processors))
            call: Callable[..., Any] | int = getattr(subject, verb)
            result = (call if isinstance(call, int) else call(iterations), None)
        except Exception:  # told to the asking process, which raises it
            result = (None, traceback.format_exc())
        pickle.dump(result, answers)
        answers.flush()


if __name__ == "__main__":
    serve([int(argument) for argument in sys.argv[1:]])
