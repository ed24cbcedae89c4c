"""The emulator of CUDA kernels: small kernels give what plain loops give, in every order, under sanitizers.

Defects that are planted into these kernels show that the emulator finds them: docs/gpu.md.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import emulator_cases
import pytest
from emulator_cases import FILES, FOLDER, MODES, MUTANTS, SOURCE

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to compile the emulator")


@pytest.fixture
def compiled(once, tmp_path):
    """compiled(mode, file) -> a program of a file of kernels."""

    def program(mode, file):
        emulator = once(f"emulator-{mode}", lambda folder: emulator_cases.compile_emulator(folder, mode))
        return emulator_cases.compile_kernels(tmp_path, mode, emulator, file)

    return program


def report_of(program):
    environment = os.environ | emulator_cases.SETTINGS
    done = subprocess.run([program], env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("file", FILES)
def test_small_kernels_give_what_plain_loops_give_in_every_order(compiled, mode, file):
    code, report = report_of(compiled(mode, SOURCE / FOLDER / f"{file}.cu"))
    assert code == 0, report[-3000:]
    assert "wrong" not in report


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_defect_is_found(compiled, tmp_path, name):
    mutant = MUTANTS[name]
    content = (SOURCE / FOLDER / f"{mutant.file}.cu").read_text(encoding="utf-8")
    assert content.count(mutant.text) == 1
    file = tmp_path / f"{mutant.file}.cu"
    file.write_text(content.replace(mutant.text, mutant.replacement), encoding="utf-8")
    code, report = report_of(compiled(mutant.mode, file))
    assert code != 0
    assert re.search(mutant.report, report), report[-3000:]


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
@pytest.mark.parametrize("file", FILES)
def test_the_small_kernels_are_cuda(tmp_path, file):
    flags = ["-std=c++17", "-cubin", "-arch=sm_90", "--expt-relaxed-constexpr", "-diag-suppress=1675"]
    source = SOURCE / FOLDER / f"{file}.cu"
    command = ["nvcc", *flags, f"-I{SOURCE}", "-DMK_ISA=cuda", source, "-o", tmp_path / "kernels.cubin"]
    emulator_cases.run(command)


def test_the_page_counts_the_defects():
    page = (SOURCE.parent / "docs/gpu.md").read_text(encoding="utf-8")
    assert f"{len(MUTANTS)} defects into them" in page
