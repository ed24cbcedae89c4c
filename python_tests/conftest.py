import gc
import os
import signal

import pytest
import torch
from filelock import FileLock

from mathkernels import backends

# Where these are set, pytest explains how two lists differ by difflib, which takes hours for lists of
# thousands of numbers: a failing test would look like one that hangs.
for _name in ("CI", "BUILD_NUMBER"):
    os.environ.pop(_name, None)


@pytest.fixture(autouse=True)
def _same_start():
    """Every test draws the same numbers whatever ran before, and leaves threads and backends as they were."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    backends.force(None)
    backends.enable("cpu", "triton")
    backends.disable("torch")


@pytest.fixture(params=backends.available())
def isa(request):
    """Every instruction set of this machine in turn."""
    backends.force(request.param)
    return request.param


@pytest.fixture(scope="module")
def quick_collections():
    """Leaves what is there when a module begins out of collections: torch alone takes half a second."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def pytest_sessionstart():
    """Let Ctrl-C work in tests that need it, also where a shell has begun them in the background without."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """once(name, make) -> a folder that make(folder) has filled, in one of the processes that run tests."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def filled(name, make):
        folder = root / f"once-{name}"
        with FileLock(f"{folder}.lock"):
            if not (folder / "done").exists():
                folder.mkdir(exist_ok=True)
                make(folder)
                (folder / "done").touch()
        return folder

    return filled
