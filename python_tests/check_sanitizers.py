"""Builds csrc/tests/calls.cpp with sanitizers and makes its calls, at sizes drawn at random.

    python check_sanitizers.py [NAME ...]   only those builds

Memory and undefined behaviour are watched in the widest instruction set that the machine has, whose loops and
masks are the longest; data races in the narrowest, since the division of work is the same in all. Calls that
must be reported are planted first, so that a sanitizer which sees nothing is noticed.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass

import native_build as native

FOLDER = native.ROOT / "build/sanitizers"
DRIVER = [
    "calls.cpp",
    "calls_layers.cpp",
    "calls_sequences.cpp",
    "calls_attention.cpp",
    "calls_trainers.cpp",
]
SETTINGS = {
    "ASAN_OPTIONS": "detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}


@dataclass(frozen=True)
class Sanitizer:
    flags: tuple[str, ...]
    calls: int  # of each family
    widest: bool


BUILDS = {
    # Without optimisation: of what it takes away nothing can be reported, and it would take most of the time.
    # A null pointer is no memory either way.
    "memory": Sanitizer(
        (
            "-O0",
            "-fsanitize=address,undefined",
            "-fno-sanitize-recover=all",
            "-fno-sanitize=null,object-size",
        ),
        60,
        True,
    ),
    "threads": Sanitizer(("-O1", "-fsanitize=thread", "-DMK_PLAIN_THREADS"), 40, False),
}
# What a sanitizer must report: build, file, text, replacement, a word of the report
PLANTED = {
    "a read behind an array": (
        "memory",
        "kernels/layers/clipped_reciprocal.cpp",
        "for (; k < count; ++k) dx[k] = reciprocal_slope",
        "for (; k <= count; ++k) dx[k] = reciprocal_slope",
        "heap-buffer-overflow",
    ),
    "a shift by more than there is": (
        "memory",
        "kernels/sequences/api.cpp",
        "constexpr int64_t usual_small_batch = 8; ",
        "int twice(int by) { return 2 << by; }\nconst int64_t usual_small_batch = 8 + twice(99) * 0; ",
        "shift exponent",
    ),
    # one that changes no bit, at which a call would end
    "a number that two threads add to": (
        "threads",
        "kernels/layers/api.cpp",
        "sums[item] = kernel(",
        "static int64_t calls = 0; ++calls; sums[item] = kernel(",
        "data race",
    ),
}


class Driver:
    """One build of the driver."""

    def __init__(self, name: str) -> None:
        kind = BUILDS[name]
        isa = native.widest() if kind.widest else "generic"
        self.source = native.copy_sources(FOLDER / name, isa)
        self.build = native.Build(self.source, FOLDER / name / "objects", isa, kind.flags)
        self.calls, self.program = kind.calls, FOLDER / name / "calls"
        kernels = native.kernel_units(self.source)
        self.units = [*kernels, *native.other_units(self.source), *(f"tests/{name}" for name in DRIVER)]
        self.objects = dict(zip(self.units, self.build.compile_all(self.units), strict=True))
        self.build.link(self.objects.values(), self.program)

    def run(self, calls: int) -> subprocess.CompletedProcess:
        environment = {**os.environ, **SETTINGS}
        command = [str(self.program), "1", str(calls), "3"]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)

    def plant(self, file: str, text: str, replacement: str) -> subprocess.CompletedProcess:
        before = (self.source / file).read_text()
        native.replace(self.source / file, text, replacement)
        build = native.Build(self.source, FOLDER / "planted", self.build.isa, self.build.flags)
        objects = {**self.objects, file: build.compile(file)}
        (self.source / file).write_text(before)
        program = self.program
        self.program = self.build.link(objects.values(), build.folder / "calls")
        try:
            return self.run(self.calls)
        finally:
            self.program = program


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    begin, wrong = time.monotonic(), 0
    for name in sys.argv[1:] or BUILDS:
        driver = Driver(name)
        print(f"{name}: {driver.build.isa} built by {time.monotonic() - begin:.0f} s", flush=True)
        done = driver.run(driver.calls)
        print(f"{name}: {' '.join(done.stdout.split())} calls, status {done.returncode}", flush=True)
        if done.returncode:
            wrong += 1
            print(done.stderr[-6000:], flush=True)
        for what, (of, file, text, replacement, word) in PLANTED.items():
            if of != name:
                continue
            done = driver.plant(file, text, replacement)
            seen = done.returncode != 0 and word in done.stderr
            wrong += not seen
            print(f"{name}: {'reported' if seen else 'NOT REPORTED'}: {what}", flush=True)
            if not seen:
                print(done.stderr[-3000:], flush=True)
    print(f"{time.monotonic() - begin:.0f} s, {processor_seconds():.0f} s of processor time")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
