"""Plants the defects of mutants.py, one by one, and counts those that the tests find.

    python check_mutants.py [WORD ...]      only those whose names hold one of the words

A copy of csrc is compiled for one instruction set without optimisation, which costs a few seconds a file; a
defect then costs the files that it is compiled in and its tests, in a process that has torch already. All
tests must pass before anything is planted, and of a defect they must fail: a crash is none.
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import re
import resource
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from pathlib import Path

import native_build as native
from mutants import MUTANTS, Mutant

HERE = Path(__file__).parent
FOLDER = native.ROOT / "build/mutants"
ISA = "v3"  # has what is worth a defect: packs of eight, products in registers, transposes
FAILED, PASSED = 1, 0  # of pytest's exit codes
SECONDS = 200  # after which a test hangs


def _run_tests(library: Path, package: Path | None, arguments: list[str], report: Path) -> None:
    """In a process of its own: run tests on a module `_C`, and on another package where one is given."""
    with report.open("w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        sys.path[:0] = [str(HERE), *([str(package)] if package else [])]
        spec = importlib.util.spec_from_file_location("mathkernels._C", library)
        assert spec is not None
        assert spec.loader is not None
        sys.modules["mathkernels._C"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        os.chdir(HERE)
        import pytest
        import torch

        torch.set_num_threads(1)
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments])
        file.flush()
    os._exit(int(code))


class Checker:
    """The build without a defect, and what becomes of it with one."""

    def __init__(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(["torch", "numpy", "pytest"])
        source = native.copy_sources(FOLDER / "base", ISA)
        self.base = native.Build(source, FOLDER / "base/objects", ISA, ["-O0", "-fPIC"])
        units = (native.kernel_units, native.other_units, native.binding_units)
        # the longest first, so that none is waited for at the end
        files = sorted((f for of in units for f in of(source)), key=lambda f: "python" not in f)
        self.objects = dict(zip(files, self.base.compile_all(files), strict=True))
        self.library = self.link(self.base, {}, FOLDER / "base")

    def link(self, build: native.Build, changed: dict[str, Path], folder: Path) -> Path:
        """With the changed objects first: of functions that several hold the linker takes the first."""
        others = [made for unit, made in self.objects.items() if unit not in changed]
        output = folder / f"_C{native.module_suffix()}"
        return build.link([*changed.values(), *others], output, "-shared")

    def test(
        self, folder: Path, library: Path, package: Path | None, arguments: list[str]
    ) -> tuple[int, str]:
        report = folder / "report.txt"
        process = self.processes.Process(target=_run_tests, args=(library, package, arguments, report))
        process.start()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
        assert process.exitcode is not None
        return process.exitcode, report.read_text()

    def plant(self, folder: Path, mutant: Mutant) -> tuple[Path, Path | None]:
        """The module and, for a defect in Python, the folder of the package that has it."""
        shutil.rmtree(folder, ignore_errors=True)
        if not mutant.units:
            ignored = shutil.ignore_patterns("*.so", "__pycache__")
            shutil.copytree(native.ROOT / "mathkernels", folder / "mathkernels", ignore=ignored)
            native.replace(folder / mutant.file, mutant.text, mutant.replacement)
            return self.library, folder
        build = native.Build(native.copy_sources(folder, ISA), folder / "objects", ISA, self.base.flags)
        native.replace(folder / mutant.file, mutant.text, mutant.replacement)
        changed = {unit: build.compile(unit) for unit in mutant.units}
        return self.link(build, changed, folder), None

    def close(self) -> None:
        """Wait for the server of processes, so that their time is counted."""
        forkserver._forkserver._stop()

    def check(self, name: str) -> tuple[str, int, str, float]:
        begin = time.monotonic()
        mutant, folder = MUTANTS[name], FOLDER / re.sub(r"\W+", "_", name)
        code, report = self.test(folder, *self.plant(folder, mutant), selected(mutant))
        return name, code, report, time.monotonic() - begin


def selected(mutant: Mutant) -> list[str]:
    return [mutant.test, *(["-k", mutant.only] if mutant.only else [])]


def main() -> int:
    begin = time.monotonic()
    if native.widest() not in ("v3", "v4"):
        print("no defect is planted: the tests that find them need a processor with AVX2 and FMA")
        return 0
    names = [name for name in MUTANTS if not sys.argv[1:] or any(word in name for word in sys.argv[1:])]
    checker = Checker()
    print(f"built without a defect in {time.monotonic() - begin:.0f} s", flush=True)
    tests = sorted({tuple(selected(MUTANTS[name])) for name in names})
    bad = 0
    with ThreadPoolExecutor(2) as pool:

        def passes(test: tuple[int, tuple[str, ...]]) -> tuple[int, str]:
            folder = FOLDER / f"base/{test[0]}"
            folder.mkdir(exist_ok=True)
            return checker.test(folder, checker.library, None, list(test[1]))

        for test, (code, report) in zip(tests, pool.map(passes, enumerate(tests)), strict=True):
            if code != PASSED:
                bad += 1
                print(f"FAILS WITHOUT A DEFECT ({code}): {' '.join(test)}\n{report[-3000:]}", flush=True)
        print(f"{len(tests)} tests pass without one by {time.monotonic() - begin:.0f} s", flush=True)
        caught = 0
        for name, code, report, seconds in pool.map(checker.check, names):
            found = code == FAILED
            caught += found
            told = "caught" if found else f"NOT CAUGHT ({code})"
            print(f"{told}  {seconds:4.1f} s  {name}: {' '.join(selected(MUTANTS[name]))}", flush=True)
            if not found:
                print(report[-1500:], flush=True)
    checker.close()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = f"{time.monotonic() - begin:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of processor time"
    print(f"{caught} of {len(names)} planted defects caught in {seconds}")
    return 0 if caught == len(names) and not bad else 1


if __name__ == "__main__":
    sys.exit(main())
