"""Which compiled code runs: what is available, which one ran last and why, and how to force another.

The CPU kernels are built once per instruction set; the widest that the machine has is chosen at import. The
environment variable ``MATHKERNELS_ISA``, read once at import, names another; `force` changes it later.
"""

from __future__ import annotations

import os
import platform
from typing import NamedTuple

from mathkernels import _C

ENVIRONMENT = "MATHKERNELS_ISA"


class Ran(NamedTuple):
    """One kernel call: the op, the backend ("cpu", "triton", "cuda", "torch"), instruction set, and why."""

    op: str
    backend: str
    isa: str | None
    reason: str


_NAMES: tuple[str, ...] = tuple(_C.isa_names())
_last: Ran | None = None


def built() -> tuple[str, ...]:
    """The instruction sets that were compiled, narrowest first."""
    return _NAMES


def available() -> tuple[str, ...]:
    """The instruction sets that were compiled and that this machine has, narrowest first."""
    return tuple(name for index, name in enumerate(_NAMES) if _C.isa_available(index))


def current() -> str:
    """The instruction set that CPU kernels use now."""
    return _NAMES[_C.isa_current()]


def fused() -> bool:
    """Whether the instruction set in use fuses multiply and add; those that agree in it agree bit by bit."""
    return current() in ("v3", "v4") or platform.machine() in ("aarch64", "arm64")


def reason() -> str:
    """Why the instruction set in use was chosen."""
    return _reason


def _choose(name: str, asked_by: str) -> None:
    if name not in available():
        missing = "is not available on this machine" if name in _NAMES else "is unknown"
        raise ValueError(f"{asked_by}: {name!r} {missing}; available: {', '.join(available())}")
    _C.isa_force(_NAMES.index(name))


def force(name: str | None) -> None:
    """Make the CPU kernels use the instruction set `name`; None returns to the choice made at import.

    Raises:
        ValueError: the name is unknown, or the machine does not have it; the message lists those available.
    """
    global _reason
    if name is None:
        _choose(_DEFAULT, "backends.force")
        _reason = _DEFAULT_REASON
    else:
        _choose(name, "backends.force")
        _reason = f"forced by backends.force({name!r})"


def last() -> Ran | None:
    """The last kernel call of this process, or None before the first."""
    return _last


def record(op: str, backend: str = "cpu", reason: str | None = None) -> None:
    """Note that `op` ran; called by the ops. On the CPU the reason is that of the instruction set."""
    global _last
    isa = _NAMES[_C.isa_current()] if backend == "cpu" else None
    _last = Ran(op, backend, isa, _reason if reason is None else reason)


def release_memory() -> int:
    """Give the memory that is kept for large tensors back to the system; return how many bytes that was.

    Outputs, gradients, saved values and workspaces of sequences from a megabyte on lie in storages that are
    kept for the next call when nothing holds them any more. Kept and used together are never more than was
    used at once.
    """
    from mathkernels.ops import _memory  # which knows this module

    return _memory.release_memory()


_asked = os.environ.get(ENVIRONMENT)
if _asked:
    _choose(_asked, ENVIRONMENT)
_DEFAULT = current()
_DEFAULT_REASON = f"set by {ENVIRONMENT}={_asked}" if _asked else "the widest instruction set of this machine"
_reason = _DEFAULT_REASON
