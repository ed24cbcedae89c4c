"""What a random call is, and how its end is judged."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

# outcome -> what it means; those of FAILURES must not happen
OUTCOMES = {
    "equal": "gave what it should, or a value where nothing is promised but to survive",
    "refused": "refused, and the message names the argument, field or file",
    "unclear": "refused by an internal exception or a message that does not name it",
    "difference": "gave a wrong value, or took what must be refused, without a word",
    "rejected": "refused although it was right",
    "crash": "ended the process",
    "hang": "did not end within the time limit",
    "memory": "went beyond the memory limit though it was asked for little",
    "broken": "the script itself failed",
}
FAILURES = ("difference", "rejected", "crash", "hang", "memory", "broken")
# what a library raises on purpose; everything else is an accident that surfaced
_MEANT = (ValueError, TypeError, RuntimeError, NotImplementedError, ImportError)
_ACCIDENTS = (UnicodeError, RecursionError)  # accidents although they are subclasses of those
_ALLOCATION = re.compile(r"can't allocate memory|bad_alloc|not enough memory|Cannot allocate", re.IGNORECASE)


class Difference(Exception):
    """A call gave one thing where another was promised."""


@dataclass(frozen=True)
class Call:
    """One call, made and not yet run.

    Args:
        told: what is called with what, for people.
        run: makes the call and compares; raises Difference, or what the library raises, or returns a note.
        names: a refusal is clear if its message has one of them.
        valid: nothing may be refused.
        large: asks for more memory than a worker has.
    """

    told: str
    run: Callable[[], object]
    names: Sequence[str] = ()
    valid: bool = False
    large: bool = False


class Draw(random.Random):
    """The random numbers of one call: equal for equal kind and seed, whatever was called before."""

    def __init__(self, kind: str, seed: int) -> None:
        super().__init__(f"{kind}:{seed}")
        self.number_of_call = seed
        self.number = self.getrandbits(31)  # for torch and numpy

    def holds(self, share: float) -> bool:
        return self.random() < share

    def one(self, *options: T) -> T:
        return self.choice(options)


def judge(call: Call) -> tuple[str, str]:
    """Run a call; return its outcome and one line that says why, or the note of a call that was equal."""
    try:
        note = call.run()
    except Difference as error:
        return "difference", _line(error)
    except MemoryError as error:
        return ("unclear" if call.large else "memory"), _line(error)
    except Exception as error:  # the library's, whatever it is: this is what is examined
        return _refusal(call, error), _line(error)
    return "equal", note if isinstance(note, str) else ""


def _refusal(call: Call, error: Exception) -> str:
    text = str(error)
    if _ALLOCATION.search(text):
        return "unclear" if call.large else "memory"
    if call.valid:
        return "rejected"
    meant = isinstance(error, _MEANT) and not isinstance(error, _ACCIDENTS)
    named = any(re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", text) for name in call.names)
    return "refused" if meant and named else "unclear"


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500]


def shown(value: Any) -> str:
    """A value in a few characters."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{type(value).__name__}{tuple(value.shape)} {value.dtype}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
