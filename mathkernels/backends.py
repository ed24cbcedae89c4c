"""Which compiled code runs: what is available, which one ran last and why, and how to force another.

The CPU kernels are built once per instruction set; the widest that the machine has is chosen at import. The
environment variable ``MATHKERNELS_ISA``, read once at import, names another; `force` changes it later.

Ops run on one of three backends: "cpu" (compiled kernels, for CPU tensors), "triton" (for CUDA tensors, where
the op has such a kernel) and "torch" (plain torch, for any tensor, and disabled at first). Nothing falls back
unasked: an op that no enabled backend can run raises TypeError and says what to do.
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


BACKENDS = ("cpu", "triton", "torch")

_NAMES: tuple[str, ...] = tuple(_C.isa_names())
_last: Ran | None = None
_forced: str | None = None
_enabled: frozenset[str] = frozenset(("cpu", "triton"))


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


def _choose(name: str, asked_by: str, others: tuple[str, ...] = ()) -> None:
    if name not in available():
        missing = "is not available on this machine" if name in _NAMES else "is unknown"
        raise ValueError(f"{asked_by}: {name!r} {missing}; available: {', '.join((*available(), *others))}")
    _C.isa_force(_NAMES.index(name))


def force(name: str | None) -> None:
    """Make every op run on a backend, or the CPU kernels use an instruction set; undoes the call before.

    Args:
        name: "cpu", "triton" or "torch": ops whose tensors that backend cannot take are refused by name, and
            it need not be enabled. An instruction set of `available`. None: the choice made at import.

    Raises:
        ValueError: the name is unknown, or the machine does not have it; the message lists those available.
    """
    global _forced, _reason
    backend = name if name in BACKENDS else None
    isa = None if backend else name
    _choose(_DEFAULT if isa is None else isa, "backends.force", BACKENDS)
    _forced = backend
    _reason = _DEFAULT_REASON if isa is None else f"forced by backends.force({isa!r})"


def forced() -> str | None:
    """The backend that every op has to run on, or None."""
    return _forced


def enable(*names: str) -> None:
    """Let ops run on these backends; "torch" is plain torch, for ops that have no other enabled kernel.

    Raises:
        ValueError: a name is unknown; the message lists them.
    """
    global _enabled
    _enabled |= _known("backends.enable", names)


def disable(*names: str) -> None:
    """Keep ops off these backends: what would run there is refused by name, or goes to "torch" if enabled.

    Raises:
        ValueError: a name is unknown; the message lists them.
    """
    global _enabled
    _enabled -= _known("backends.disable", names)


def enabled() -> tuple[str, ...]:
    """The backends that ops may run on; at first "cpu" and "triton"."""
    return tuple(name for name in BACKENDS if name in _enabled)


def usual() -> bool:
    """Whether CPU tensors go to the compiled kernels: that backend is enabled and no other is forced."""
    return (_forced is None and "cpu" in _enabled) or _forced == "cpu"


def _known(asked_by: str, names: tuple[str, ...]) -> frozenset[str]:
    for name in names:
        if name not in BACKENDS:
            raise ValueError(f"{asked_by}: {name!r} is unknown; needs one of {', '.join(BACKENDS)}")
    return frozenset(names)


def last() -> Ran | None:
    """The last kernel call of this process, or None before the first."""
    return _last


def record(op: str, backend: str = "cpu", reason: str | None = None) -> None:
    """Note that `op` ran; called by who ran it. On the CPU the reason is that of the instruction set."""
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
