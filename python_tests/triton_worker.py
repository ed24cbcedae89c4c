"""Runs and compiles the Triton kernels for the tests, in processes of their own.

Triton decides when a kernel is decorated whether it interprets or compiles, so one process cannot do both.
Functions here are called through a process pool; nothing imports triton before the process knows which of
the two it is.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

GUARD = 4096  # elements on each side of every buffer
SENTINEL = {
    torch.float32: (torch.int32, 0x7FC0BEEF),
    torch.float64: (torch.int64, 0x7FF80000DEADBEEF),
}  # NaNs


def _become(interpret: bool, cache: str) -> None:
    os.environ["TRITON_INTERPRET"] = "1" if interpret else "0"
    os.environ["TRITON_CACHE_DIR"] = cache
    torch.set_num_threads(1)


def pool(interpret: bool, cache: Path, workers: int = 1) -> ProcessPoolExecutor:
    """Processes in which Triton interprets, or compiles; ``cache`` is a folder for what it compiles."""
    return ProcessPoolExecutor(workers, get_context("spawn"), _become, (interpret, str(cache)))


class Guarded(TorchFunctionMode):
    """Surrounds every buffer that is allocated with a guard band and fills it with NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.buffers: list[Tensor] = []

    def allocate(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        integer, sentinel = SENTINEL[dtype]
        size = torch.Size(shape).numel()
        buffer = torch.full((size + 2 * GUARD,), sentinel, dtype=integer, device=device)
        self.buffers.append(buffer)
        return buffer[GUARD : GUARD + size].view(dtype).view(shape)

    def copy(self, tensor: Tensor) -> Tensor:
        return self.allocate(tuple(tensor.shape), tensor.dtype, tensor.device).copy_(tensor)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.empty:
            return self.allocate(tuple(args[0]), kwargs["dtype"], kwargs["device"])
        if func is torch.empty_like:
            return self.allocate(tuple(args[0].shape), args[0].dtype, args[0].device)
        return func(*args, **(kwargs or {}))

    def check(self) -> None:
        for buffer in self.buffers:
            sentinel = next(s for integer, s in SENTINEL.values() if integer == buffer.dtype)
            for band in (buffer[:GUARD], buffer[buffer.numel() - GUARD :]):
                if not bool((band == sentinel).all()):
                    raise AssertionError(
                        f"a kernel wrote beside a buffer of {buffer.numel() - 2 * GUARD} elements"
                    )


def call(module: str, function: str, tensors: list[Tensor], extra: tuple[Any, ...] = ()) -> list[Tensor]:
    """Call mathkernels.triton.<module>.<function> on guarded copies; inputs must stay as they were."""
    run = getattr(importlib.import_module(f"mathkernels.triton.{module}"), function)
    guarded = Guarded()
    inputs = [guarded.copy(tensor) for tensor in tensors]
    with guarded:
        outputs = run(*inputs, *extra)
    guarded.check()
    for before, after in zip(tensors, inputs, strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=0, equal_nan=True)
    return [output.cpu() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def compile_kernel(
    module: str, kernel: str, dtype: str, arch: int, constants: dict[str, Any]
) -> dict[str, int]:
    """Compile one kernel for sm_<arch> without a GPU; return spilled and shared bytes.

    Compile-time constants that are not in ``constants`` are the module's own, such as its tile sizes.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    source = importlib.import_module(f"mathkernels.triton.{module}")
    function = getattr(source, kernel)
    fixed = {
        p.name: constants.get(p.name, getattr(source, p.name, None))
        for p in function.params
        if p.is_constexpr
    }
    sizes = ("E", "B", "I", "O", "C", "chunk")
    signature = {
        name: "constexpr" if name in fixed else "i32" if name in sizes else f"*{dtype}"
        for name in function.arg_names
    }
    target = GPUTarget("cuda", arch, 32)
    compiled = triton.compile(ASTSource(function, signature, fixed), target=target)
    ptxas = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    name = re.findall(r"\.target (sm_\w+)", compiled.asm["ptx"])[0]
    with tempfile.TemporaryDirectory() as folder:
        ptx = Path(folder, "kernel.ptx")
        ptx.write_text(compiled.asm["ptx"])
        command = [str(ptxas), "-v", f"-arch={name}", str(ptx), "-o", str(Path(folder, "kernel.cubin"))]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    spills = [int(count) for count in re.findall(r"(\d+) bytes spill", report)]
    assert spills, report
    return {"spilled": sum(spills), "shared": compiled.metadata.shared}
