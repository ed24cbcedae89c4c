"""Memory that is freed stays in the process once it is told to keep it, and is not faulted in again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from mathkernels.experiment.memory import keep_memory
if sys.argv[1] == "kept":
    assert keep_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(12):  # the first few may each extend the heap by a little more than what was freed
    torch.ones(50_000_000)
before = faults()
for _ in range(3):
    torch.ones(50_000_000)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library can be told")
def test_freed_memory_is_used_again_without_page_faults(tmp_path):
    # in a folder where the sources do not hide an installed package
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def run(how):
        command = [sys.executable, "-c", PROGRAM, how]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
        )
        return int(done.stdout)

    assert run("kept") < 100
    assert run("given back") > 200  # 200 MB three times: 300 faults with pages of 2 MB, 147,000 with 4 KB
