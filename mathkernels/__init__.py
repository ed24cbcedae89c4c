"""Fused kernels for Neural Arithmetic Logic Modules, and whole training runs inside one kernel."""

import sys

import torch  # noqa: F401  before _C: the compiled module then shares torch's OpenMP runtime

try:
    from mathkernels import _C
except ImportError as error:
    _told = (
        "mathkernels: the compiled module mathkernels._C does not load "
        f"({error}); build it with `pip install -e .` in the project's folder, or install the package with "
        "`pip install .` and start Python outside that folder"
    )
    if sys.argv[:1] == [
        "-m"
    ]:  # while `python -m mathkernels.info` looks for its module: a line, no traceback
        raise SystemExit(_told) from error
    raise ImportError(_told) from error

from mathkernels import backends, nn, ops, reference

__version__: str = _C.version
__all__ = ["__version__", "backends", "nn", "ops", "reference"]
