"""Which code runs, how to force it, and what happens in threads and forked processes."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from mathkernels import _C, backends, info
from mathkernels.ops import discretisation, nmu


def python(code, **environment):
    """Run the code in a new process, in a folder where the sources do not hide an installed package."""
    search = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": search, **environment},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_available_set_can_be_forced_and_says_so():
    x, weight = torch.rand(1, 4, 2), torch.rand(1, 3, 2)
    for name in backends.available():
        backends.force(name)
        nmu(x, weight)
        assert backends.current() == name
        assert backends.last() == ("nmu", "cpu", name, f"forced by backends.force({name!r})")
    backends.force(None)
    nmu(x, weight)
    assert backends.last().isa == backends.available()[-1]
    assert backends.last().reason == "the widest instruction set of this machine"


def test_an_unknown_name_lists_those_available():
    with pytest.raises(ValueError, match=r"backends.force: 'avx9' is unknown; available: generic"):
        backends.force("avx9")
    for name in set(backends.built()) - set(backends.available()):
        with pytest.raises(ValueError, match=f"{name!r} is not available on this machine"):
            backends.force(name)


def test_the_environment_variable_is_read_once_at_import():
    code = """
import os, torch, mathkernels.backends as b
from mathkernels.ops import nmu
os.environ["MATHKERNELS_ISA"] = "no such"
nmu(torch.ones(1, 1, 1), torch.ones(1, 1, 1))
print(b.last())
b.force(b.available()[-1]); b.force(None); print(b.current())"""
    done = python(code, MATHKERNELS_ISA="generic")
    assert "isa='generic', reason='set by MATHKERNELS_ISA=generic'" in done.stdout, done.stderr
    assert done.stdout.endswith("generic\n")


def test_an_unknown_environment_variable_is_an_error_that_lists_those_available():
    done = python("import mathkernels", MATHKERNELS_ISA="sse9")
    assert done.returncode == 1
    assert "ValueError: MATHKERNELS_ISA: 'sse9' is unknown; available: generic" in done.stderr


def test_nothing_optional_is_imported():
    code = """
import sys, torch
before = set(sys.modules)
import mathkernels
optional = {"triton", "matplotlib", "pandas", "scipy", "tqdm", "jax", "tensorboard"}
print(optional & (set(sys.modules) - before))"""
    done = python(code)
    assert done.stdout == "set()\n", done.stdout + done.stderr


def test_a_missing_compiled_module_names_the_remedy(tmp_path):
    code = """
import sys
sys.modules["mathkernels._C"] = None
try:
    import mathkernels
except ImportError as error:
    print(error)"""
    assert "build it with `pip install -e .`" in python(code).stdout


def test_commands_of_a_checkout_that_is_not_built_say_in_one_line_what_to_do(tmp_path):
    package = tmp_path / "mathkernels"
    package.mkdir()
    for name in ("__init__.py", "info.py"):
        shutil.copy(Path(__file__).parent.parent / "mathkernels" / name, package)
    search = os.pathsep.join(path for path in sys.path if "site-packages" in path)
    done = subprocess.run(
        [sys.executable, "-m", "mathkernels.info"],
        env={**os.environ, "PYTHONPATH": search},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "build it with `pip install -e .`" in done.stderr


def test_info_prints_what_a_report_needs():
    report = info.report()
    assert report["torch"] == torch.__version__
    assert report["instruction set in use"].startswith(backends.current())
    assert set(report["instruction sets of this machine"].split(", ")) == set(backends.available())


def test_a_forked_process_computes_the_same_bits():
    """OpenMP's threads do not survive a fork, so a child must not wait for them."""
    x, weight = torch.rand(1, 3000, 8), torch.rand(1, 4, 8)
    torch.set_num_threads(2)
    expected = nmu(x, weight)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put(nmu(x, weight).numpy()))
    child.start()
    found = queue.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0
    assert torch.equal(torch.from_numpy(found), expected)


def test_calls_from_several_python_threads_do_not_disturb_each_other():
    inputs = [(torch.rand(2, 500, 5), torch.rand(2, 3, 5)) for _ in range(4)]
    expected = [nmu(*pair) for pair in inputs]
    wrong = []

    def work(index):
        for _ in range(20):
            if not torch.equal(nmu(*inputs[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_gpu_without_triton_names_the_remedy(monkeypatch):
    from mathkernels.ops._dispatch import triton_kernel

    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "mathkernels.triton.nmu", raising=False)
    with pytest.raises(
        ImportError, match=r"nmu: tensors on cpu need triton; install it with `pip install triton`"
    ):
        triton_kernel("nmu", "nmu.nmu_forward", torch.device("cpu"))


def test_every_op_answers_for_cuda_tensors():
    """With a shape under FakeTensorMode and with a kernel, be it one that names the remedy."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        x = torch.empty(1, 2, 3, device="cuda")
        assert torch.ops.mathkernels.nau(x, x).device.type == "cuda"
    for op in ("nau", "nmu", "real_npu", "nru", "nmru", "clipped_reciprocal", "discretisation"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"mathkernels::{op}", "CUDA")
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"mathkernels::{op}_backward", "CUDA")


def test_the_default_device_does_not_move_scratch_memory():
    torch.set_default_device("meta")
    try:
        y = nmu(torch.ones(1, 4, 2, device="cpu"), torch.ones(1, 3, 2, device="cpu"))
        penalty = discretisation(torch.ones(2, 3, device="cpu"), "unit")
    finally:
        torch.set_default_device(None)
    assert torch.equal(y, torch.ones(1, 4, 3))
    assert torch.equal(penalty, torch.zeros(2))


def test_versions_are_strings():
    assert _C.version.count(".") == 2
    assert _C.compiler
