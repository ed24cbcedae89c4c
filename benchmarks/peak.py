"""The most that the machine computes: fused multiply-adds in registers, and torch's own matrix product.

The first comes from a loop in C (peak.c), compiled with the machine's compiler into a temporary folder. Both
are measured at the time of the other figures, because virtual machines change their speed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

ROUNDS = 5
SIZES = (512, 1024, 2048)  # of square products; the best one counts


class NoCompiler(Exception):
    """There is no C compiler to build the loop with; products of matrices are the only measure then."""


def loop() -> ctypes._CFuncPtr:
    """Compile and load ``fused_multiply_adds``.

    Raises:
        NoCompiler: neither $CC nor cc or gcc is there.
    """
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NoCompiler("the loop of peak.c needs a C compiler: set CC or install gcc")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "peak.so"
        options = ["-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC"]
        source = Path(__file__).with_name("peak.c")
        subprocess.run([compiler, *options, str(source), "-o", str(library)], check=True)
        function = ctypes.CDLL(str(library)).fused_multiply_adds  # the mapping outlives the file
    function.argtypes = [ctypes.c_long, ctypes.POINTER(ctypes.c_float)]
    function.restype = ctypes.c_double
    return function


def fused_multiply_adds(threads: int, seconds: float) -> float:
    """Return operations per second of all threads together, by the median round."""
    function = loop()
    kept = [ctypes.c_float(0.5) for _ in range(threads)]

    def one(index: int, rounds: int) -> float:
        return function(rounds, ctypes.byref(kept[index]))

    begin = time.perf_counter()
    one(0, 1_000_000)
    rounds = max(1, int(1_000_000 * seconds / (time.perf_counter() - begin)))
    rates = []
    with ThreadPoolExecutor(threads) as pool:  # ctypes gives the interpreter's lock free during the call
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            done = sum(pool.map(one, range(threads), [rounds] * threads))
            rates.append(done / (time.perf_counter() - begin))
    return statistics.median(rates)


def matrix_product(threads: int) -> float:
    """Return operations per second of torch.mm in float32, at its best size."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return max(_product(size) for size in SIZES)
    finally:
        torch.set_num_threads(before)


def _product(size: int) -> float:
    a, b = torch.rand(size, size), torch.rand(size, size)
    out = torch.mm(a, b)
    spent = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        torch.mm(a, b, out=out)
        spent.append(time.perf_counter() - begin)
    return 2 * size**3 / statistics.median(spent)


def measure(threads: int, seconds: float = 0.1) -> dict[str, float]:
    """Return GFLOP/s by both measures; without a compiler only torch.mm's."""
    found = {"torch.mm": matrix_product(threads) / 1e9}
    try:
        found["fused multiply-adds"] = fused_multiply_adds(threads, seconds) / 1e9
    except NoCompiler as error:
        print(error)
    return found
