"""How much memory there is, and keeping what is freed in the process, where the C library can be told to."""

from __future__ import annotations

import ctypes
import os
import platform

# numbers of malloc.h of the GNU C library
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


def keep_memory() -> bool:
    """Let the GNU C library keep what is freed for the next allocation; return whether it will.

    The states of all steps of a long sequence are megabytes, which malloc otherwise gives back to the system
    when they are freed and asks for again in the next update, page by page. Call it before training; memory
    then stays at its peak until the process ends. Other C libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {_MMAP_THRESHOLD: 1 << 30, _TRIM_THRESHOLD: (1 << 31) - 1, _TOP_PAD: 1 << 26}
    return all(mallopt(number, value) == 1 for number, value in settings.items())


def memory_of_machine() -> int | None:
    """Return the bytes of the machine's memory, None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
