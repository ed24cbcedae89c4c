"""The same bits from packs of 4, 8 and 16 lanes: the loops of AVX-512 on a machine that need not have it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from mathkernels import backends

ROOT = Path(__file__).parent.parent
COMPILER = shutil.which("g++")
FLAGS = [
    "-O0",  # bits do not depend on it, and it compiles four times as fast
    "-std=c++17",
    "-march=x86-64-v3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-w",
]


@pytest.mark.skipif(COMPILER is None, reason="needs g++")
@pytest.mark.skipif("v3" not in backends.available(), reason="needs a machine with AVX2 and FMA")
def test_trained_bits_do_not_depend_on_the_width_of_a_pack(tmp_path):
    outputs = {}
    builds = {}
    for width in (16, 32, 64):
        program = tmp_path / f"pack_widths_{width}"
        source = str(ROOT / "csrc/tests/pack_widths.cpp")
        arguments = [*FLAGS, f"-DMK_VECTOR_BYTES={width}", f"-I{ROOT / 'csrc'}", source, "-o", str(program)]
        builds[program] = subprocess.Popen([str(COMPILER), *arguments])
    for program, build in builds.items():
        assert build.wait() == 0
        outputs[program.name] = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    first, *others = outputs.values()
    assert first.count("\n") > 1000
    assert "nan" not in first
    assert all(other == first for other in others)
