"""Builds of csrc beside the installed one, for one instruction set and with flags of a test's choice.

Which files there are is seen in the folders: those named api.cpp and csrc/common are compiled once, those of
csrc/kernels and csrc/trainers are what CMakeLists.txt compiles for each instruction set.
"""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
ARCHITECTURE = {
    "generic": [],
    "v3": ["-march=x86-64-v3"],
    "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}
# As CMakeLists.txt has them; warnings are its business.
FLAGS = [
    "-std=c++17",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-w",
]
ALL_SETS = "#define MK_FOR_EACH_ISA(f) f(generic) f(v3) f(v4)"


class BuildError(Exception):
    """The compiler refused."""


def copy_sources(folder: Path, isa: str) -> Path:
    """csrc in a folder, as if `isa` were the only instruction set there is."""
    source = folder / "csrc"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "csrc", source)
    replace(source / "common/isa.h", ALL_SETS, f"#define MK_FOR_EACH_ISA(f) f({isa})")
    return source


def replace(file: Path, text: str, replacement: str) -> None:
    """Change one place of a file; any other number of places is an error."""
    content = file.read_text()
    if content.count(text) != 1:
        raise ValueError(f"{file}: needs this text once, has it {content.count(text)} times: {text}")
    file.write_text(content.replace(text, replacement))


def kernel_units(source: Path) -> list[str]:
    """What is compiled for an instruction set."""
    found = [p for room in ("kernels", "trainers") for p in sorted((source / room).rglob("*.cpp"))]
    names = [str(p.relative_to(source)) for p in found if p.name != "api.cpp"]
    return ["instruction_set.cpp", *names]


def other_units(source: Path) -> list[str]:
    """What is compiled once, but for the bindings."""
    found = [*sorted(source.glob("*/*/api.cpp")), *sorted((source / "common").glob("*.cpp"))]
    return [str(p.relative_to(source)) for p in found]


def binding_units(source: Path) -> list[str]:
    return [
        f"python/{p.name}" for p in sorted((source / "python").glob("*.cpp")) if p.name != "cuda_module.cpp"
    ]


class Build:
    """Objects of one copy of the sources with one set of flags, in a folder.

    With ccache in the way, if there is one, only what has changed since the last build is compiled.
    """

    def __init__(self, source: Path, folder: Path, isa: str, flags: Sequence[str]) -> None:
        self.source, self.folder, self.isa, self.flags = source, folder, isa, list(flags)
        cache = shutil.which("ccache")
        self.compiler = [*([cache] if cache else []), "g++"]
        folder.mkdir(parents=True, exist_ok=True)

    def compile(self, unit: str) -> Path:
        flags = [*FLAGS, *self.flags, f"-I{self.source}"]
        if unit in kernel_units(self.source) or unit.startswith("tests/"):
            flags += [f"-DMK_ISA={self.isa}", *ARCHITECTURE[self.isa]]
        elif unit in other_units(self.source):
            flags.append("-fopenmp")
        elif unit.startswith("python/"):
            import pybind11

            paths = (sysconfig.get_path("include"), pybind11.get_include())
            flags += ['-DMK_VERSION="planted"', *(f"-I{path}" for path in paths)]
        made = self.folder / (unit.replace("/", "_") + ".o")
        run([*self.compiler, *flags, "-c", str(self.source / unit), "-o", str(made)])
        return made

    def compile_all(self, units: Iterable[str], jobs: int = 2) -> list[Path]:
        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(self.compile, units))

    def link(self, objects: Iterable[Path], output: Path, *flags: str) -> Path:
        run(["g++", *self.flags, *map(str, objects), "-fopenmp", *flags, "-o", str(output)])
        return output


def widest() -> str:
    """The widest instruction set of those here that this machine has."""
    with open("/proc/cpuinfo") as file:
        flags = next((line for line in file if line.startswith("flags")), "").split()
    if {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= set(flags):
        return "v4"
    return "v3" if {"avx2", "fma", "bmi2"} <= set(flags) else "generic"


def run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"{' '.join(command)}\n{done.stderr[-4000:]}")


def module_suffix() -> str:
    return sysconfig.get_config_var("EXT_SUFFIX") or ".so"
