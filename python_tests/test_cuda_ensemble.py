"""The CUDA trainer against the CPU's, run by the emulator; with ``-m gpu`` the same comparison on a device.

The emulator compiles the unmodified kernels with the C++ compiler (docs/gpu.md). Planted defects show that
the comparison can fail.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cuda_cases
import numpy as np
import pytest

from mathkernels import _C, backends
from mathkernels.ensemble import cuda
from mathkernels.ensemble.describe import NRU, Restarts, Run

FUSED = [name for name in backends.available() if name != "generic"]
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to compile the emulator")
needs_fused = pytest.mark.skipif(
    not FUSED, reason="the CPU has no fused multiply-add, so its bits differ from a GPU's"
)


def missing_gpu() -> str:
    try:
        cuda.compiled_module()
    except RuntimeError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def emulator(once):
    return cuda_cases.Emulator(
        once("emulator", lambda folder: cuda_cases.build(folder, "-O2")) / cuda_cases.LIBRARY
    )


@pytest.fixture(
    params=[pytest.param("emulator", marks=needs_compiler), pytest.param("cuda", marks=pytest.mark.gpu)]
)
def train(request):
    """Trains programs as a GPU does."""
    if request.param == "emulator":
        return request.getfixturevalue("emulator").train
    if missing_gpu():
        pytest.skip(missing_gpu())

    def on_gpu(programs):
        trainer = cuda.CudaTrainer([program.run for program in programs], programs)
        for last in cuda_cases.WINDOWS:
            for program in programs:
                program.advance_to(last)
            trainer.train(programs)
            for program in programs:
                program.position = last

    return on_gpu


@pytest.fixture
def isa():
    """Forces an instruction set of the CPU for one test."""
    yield backends.force
    backends.force(None)


def trained_on_cpu(case, generator="hash"):
    programs = cuda_cases.programs(case, generator)
    cuda_cases.train_on_cpu(programs)
    return cuda_cases.results(programs)


def assert_same_bits(got, expected):
    for name, values in expected.items():
        assert np.array_equal(got[name], values, equal_nan=True), name


@needs_fused
@pytest.mark.parametrize("generator", ["hash", "philox"])
@pytest.mark.parametrize("case", cuda_cases.CASES)
def test_a_hundred_iterations_give_the_bits_of_a_cpu_with_fused_multiply_add(train, isa, case, generator):
    isa(FUSED[-1])
    expected = trained_on_cpu(case, generator)
    programs = cuda_cases.programs(case, generator)
    train(programs)
    assert_same_bits(cuda_cases.results(programs), expected)
    assert np.isfinite(expected["parameter"]).all()
    assert (expected["first_moment"] != 0).any()


@pytest.mark.parametrize("case", cuda_cases.CASES)
def test_a_hundred_iterations_stay_close_to_a_cpu_without_fused_multiply_add(train, isa, case):
    isa("generic")
    expected = trained_on_cpu(case)["parameter"]
    programs = cuda_cases.programs(case)
    train(programs)
    # A step moves a weight by about lr = 2e-3 whatever the gradient's size. Roundings change a gradient by
    # about 1e-6 of itself, a step by 2e-9, 100 steps by 2e-7; where gradients nearly cancel, ten times that.
    assert np.abs(cuda_cases.results(programs)["parameter"] - expected).max() <= 2e-6


@needs_compiler
@pytest.mark.parametrize("case", ["nmu 10", "real_npu 2, mixed signs", "real_npu 3, constant signs"])
def test_blocks_of_several_warps_in_any_order_give_the_same_bits(emulator, case):
    expected = cuda_cases.programs(case)
    emulator.train(expected)
    for block_threads, order in ((32, 1), (128, 0), (128, 1), (128, 7), (64, 8)):
        programs = cuda_cases.programs(case)
        emulator.train(programs, block_threads, order)
        assert_same_bits(cuda_cases.results(programs), cuda_cases.results(expected))


@needs_fused
@pytest.mark.parametrize("case", ["real_npu 10, mixed signs", "real_npu 3, mixed signs"])
def test_a_sum_that_is_exactly_zero_divides_as_on_the_cpu(train, isa, case):
    """Inputs that are 1 and -1 in turn: the sum of two is 0, and both tasks (a / b, 1 / a) divide by it."""

    def programs():
        found = cuda_cases.programs(case)
        for program in found:
            program._scale_array[...] = 0
            program._offset_array[...] = np.where(np.arange(program.run.task.inputs) % 2, -1, 1)[:, None]
            program._subset_array[...] = (0, 1, 0, 2) if case.startswith("real_npu 10") else (0, 2, 0, 2)
        return found

    isa(FUSED[-1])
    expected, got = programs(), programs()
    cuda_cases.train_on_cpu(expected)
    train(got)
    assert_same_bits(cuda_cases.results(got), cuda_cases.results(expected))
    assert np.isfinite(cuda_cases.results(got)["parameter"]).all()
    assert cuda_cases.results(got)["rows"][..., 3].max() > 1e12  # the least sum of U[-2,2] is 2^-23


WAITS = r"block 0, thread \d+ waits for ever in a shuffle"
# Defects planted into copies of the kernels: what is wrong, file, text, replacement, and, where the defect
# breaks a rule of the machine, the emulator's complaint; the others must change the results.
MUTANTS = {
    "a sum over half of the lanes": ("warp.h", "warp_lanes / 2; offset", "warp_lanes / 4; offset", ""),
    "a shuffle between wrong lanes": ("warp.h", "all_lanes, v, offset)", "all_lanes, v, offset ^ 1)", ""),
    "a mask that lacks lanes": ("warp.h", "all_lanes = 0xffffffffu", "all_lanes = 0x0000ffffu", WAITS),
    "lanes that miss a shuffle": ("train.cuh", "if (logged) {", "if (logged && lane < 16) {", WAITS),
    "a missing block of samples": ("train.cuh", "(int sample = lane;", "(int sample = lane + 32;", ""),
    "samples taken twice": ("train.cuh", "lane(thread % warp_lanes)", "lane(thread / 2 % warp_lanes)", ""),
    "models exchanged": ("train.cuh", "<int>(warp % tile_models)", "<int>(warp % tile_models ^ 1)", ""),
    "the stream of another model": ("train.cuh", "program.slot[warp])", "0)", ""),
    "sums that start anywhere": ("train.cuh", "g[k] = 0;", "(void)g;", ""),
    "a schedule of another time": ("train.cuh", "update(gradient, t - p.first)", "update(gradient, 0)", ""),
}


def plant(folder, name, text, replacement):
    """Copy csrc into a folder, change one text of one CUDA file, and leave only the kernels of NMU."""
    shutil.copytree(cuda_cases.SOURCE, folder)
    source = (folder / "cuda" / name).read_text()
    assert source.count(text) == 1
    (folder / "cuda" / name).write_text(source.replace(text, replacement))
    driver = folder / "emulator" / "ensemble.cpp"
    lines = driver.read_text().splitlines(keepends=True)
    driver.write_text("".join(line for line in lines if "real_npu" not in line))
    return folder


@needs_compiler
@needs_fused
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_defect_is_caught(tmp_path, isa, mutant):
    isa(FUSED[-1])
    expected = trained_on_cpu("nmu 2")
    programs = cuda_cases.programs("nmu 2")
    source = plant(tmp_path / "csrc", *MUTANTS[mutant][:3])
    emulator = cuda_cases.Emulator(cuda_cases.build(tmp_path, "-O0", source=source))
    if complaint := MUTANTS[mutant][-1]:
        with pytest.raises(cuda_cases.EmulatorError, match=complaint):
            emulator.train(programs)
        return
    emulator.train(programs)
    got = cuda_cases.results(programs)
    assert not np.array_equal(got["parameter"], expected["parameter"])


def run_under_address_sanitizer(folder, source, cases):
    library = cuda_cases.build(folder, "-O0", "-fsanitize=address", source=source)
    find = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    environment = os.environ | {"LD_PRELOAD": find.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0"}
    script = [sys.executable, str(Path(cuda_cases.__file__)), str(library), *cases]
    return subprocess.run(script, env=environment, capture_output=True, text=True)


@needs_compiler
def test_every_kernel_stays_inside_its_arrays_under_the_address_sanitizer(tmp_path):
    done = run_under_address_sanitizer(tmp_path, cuda_cases.SOURCE, cuda_cases.CASES)
    assert done.returncode == 0, done.stderr[-3000:]


@needs_compiler
def test_the_address_sanitizer_sees_a_read_behind_an_array(tmp_path):
    beyond = plant(
        tmp_path / "csrc", "train.cuh", "update(gradient, t - p.first)", "update(gradient, p.last)"
    )
    done = run_under_address_sanitizer(tmp_path, beyond, ["nmu 2"])
    assert "heap-buffer-overflow" in done.stderr


@needs_compiler
def test_the_emulator_and_the_compiled_module_agree_on_the_layout_of_a_program(emulator):
    trained = cuda_cases.programs("nmu 2")[0].compiled
    assert emulator.library.program_bytes() == _C.program_bytes
    assert trained.address % 8 == 0


def test_without_a_gpu_the_error_names_the_remedy():
    if not missing_gpu():
        pytest.skip("a GPU is there")
    programs = cuda_cases.programs("nmu 2")
    with pytest.raises(RuntimeError, match=r"device='cuda'.* or fit on the CPU \(device='cpu'\)"):
        cuda.CudaTrainer([program.run for program in programs], programs)


def test_what_the_gpu_does_not_train_is_named():
    run = cuda_cases.programs("nmu 2")[0].run
    with pytest.raises(ValueError, match=r"dtype: got 'float64', device='cuda' needs 'float32'"):
        cuda.check_runs([run], "float64", 32)
    with pytest.raises(ValueError, match=r"runs\[1\]\.module: got NRU, device='cuda' needs NMU or RealNPU"):
        cuda.check_runs([run, Run(module=NRU(), task=run.task, seed=0)], "float32", 32)
    with pytest.raises(ValueError, match=r"runs\[0\]\.task\.inputs: got 2, device='cuda' needs at most 1"):
        cuda.check_runs([run], "float32", 1)
    again = dataclasses.replace(run, restarts=Restarts(window=1), evaluate_every=1)
    with pytest.raises(ValueError, match=r"runs\[0\]\.restarts: got Restarts.*, device='cuda' needs None"):
        cuda.check_runs([again], "float32", 32)
