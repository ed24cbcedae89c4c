"""The Triton kernels compiled without a GPU: no register spills, shared memory within the chip's limit."""

from __future__ import annotations

import pytest
import triton_worker

pytest.importorskip("triton")

SHARED_LIMIT = {80: 166_912, 90: 232_448}  # bytes a block may have; the compiler does not check it
NPU = {"EPSILON": 2.0**-23}
KERNELS = {
    "nmu forward": ("nmu", "chunk_products", {}),
    "nmu dx, 2 inputs": ("nmu", "backward_x", {"CHUNK": 2}),
    "nmu dx": ("nmu", "backward_x", {}),
    "nmu dweight, 2 inputs": ("nmu", "backward_weight", {"CHUNK": 2}),
    "nmu dweight": ("nmu", "backward_weight", {}),
    "real_npu forward": ("real_npu", "amplitudes", NPU | {"BACKWARD": False}),
    "real_npu amplitudes of the backward": ("real_npu", "amplitudes", NPU | {"BACKWARD": True}),
    "real_npu dx": ("real_npu", "backward_x", NPU),
    "real_npu dweight": ("real_npu", "backward_weight", NPU),
}
TARGETS = [("fp32", 80), ("fp32", 90), ("fp64", 90)]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """kernel, dtype, arch -> spilled and shared bytes, compiled when asked for."""
    with triton_worker.pool(False, tmp_path_factory.mktemp("triton")) as pool:

        def one(name, dtype, arch):
            module, kernel, constants = KERNELS[name]
            given = module, kernel, dtype, arch, constants
            return pool.submit(triton_worker.compile_kernel, *given).result()

        yield one


@pytest.mark.parametrize(("dtype", "arch"), TARGETS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_compiles_without_spills_and_within_shared_memory(compiled, kernel, dtype, arch):
    result = compiled(kernel, dtype, arch)
    assert result["spilled"] == 0
    assert result["shared"] <= SHARED_LIMIT[arch]
