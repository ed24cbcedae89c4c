"""Faults for the random calls to find: a crash, a hang, memory without end, a wrong number, odd refusals."""

import contextlib
import ctypes
import time

import torch
from fuzzing.calls import Call
from fuzzing.compare import close

FOUND = ("crash", "hang", "memory", "difference", "rejected", "unclear", "refused", "equal")


def crash():
    ctypes.string_at(0)


def hang():
    while True:
        time.sleep(0.1)


def memory():
    kept = []
    while True:
        kept.append(torch.ones(1 << 22))


def difference():
    x = torch.linspace(1, 2, 8).reshape(2, 4)
    close(lambda x: x * 1.001, lambda x: x * 1.0, [x])


def rejected():
    raise ValueError("planted: x is right; needs to be wrong")


def unclear():
    {}["lr"]


def refused():
    raise ValueError("planted: lr is -1; needs a number above 0")


def equal():
    with contextlib.suppress(ValueError):
        refused()


def planted(draw):
    """The fault of this call's number: of eight calls each has another."""
    name = FOUND[draw.number_of_call % len(FOUND)]
    return Call(f"planted {name}", globals()[name], ["lr"], valid=name == "rejected")


KINDS = {"planted": planted}
