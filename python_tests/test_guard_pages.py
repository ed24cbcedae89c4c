"""No kernel touches memory beside its tensors: an access there would end a process of its own."""

import signal
import subprocess
import sys

import guard_pages
import pytest
import torch

BESIDE = """
import sys, ctypes, torch, guard_pages
end = sys.argv[1] == "end"
tensor = guard_pages.Guard(end).tensor((5,), torch.float32)
tensor.sum()
print("inside", flush=True)
ctypes.c_char.from_address(tensor.data_ptr() + (5 * 4 if end else -1)).value
"""


@pytest.mark.parametrize("side", ["end", "begin"])
def test_a_byte_beside_a_tensor_ends_the_process(side):
    command = [sys.executable, "-c", BESIDE, side]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=guard_pages.__file__.rpartition("/")[0]
    )
    assert done.stdout == "inside\n", done.stderr
    assert done.returncode == -signal.SIGSEGV


def test_kernels_stay_between_guard_pages():
    done = subprocess.run([sys.executable, guard_pages.__file__], capture_output=True, text=True)
    assert done.returncode == 0, f"status {done.returncode} in:\n{done.stderr[-2000:]}"
    assert int(done.stdout.split()[0]) > 500


def test_guarded_memory_is_as_large_as_asked_for_and_given_back():
    guard = guard_pages.Guard(end=True)
    tensor = guard.tensor((3, 7), torch.float64)
    assert tensor.isnan().all()
    assert (tensor.data_ptr() + 3 * 7 * 8) % guard_pages.PAGE == 0
