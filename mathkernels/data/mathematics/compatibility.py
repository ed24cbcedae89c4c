"""Makes mathematics_dataset 1.0.1 run on current numpy and sympy, within this process.

Three things of 2019 are gone: a function of sympy has moved, numpy has no name ``object`` and its arrays no
method ``itemset``. They are given back before the package is imported, the last two to the one module that
uses them. No file of the package is changed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

import numpy as np

PACKAGE, VERSION = "mathematics_dataset", "1.0.1"
REMEDY = "needs mathematics_dataset 1.0.1; install it with: pip install 'mathkernels[mathematics]'"
_SOLVERS = "sympy.solvers.diophantine"


class _Array(np.ndarray):
    def itemset(self, index: Any, value: Any) -> None:
        self[index] = value


class _Numpy(ModuleType):
    """numpy as it was: its arrays can be set item by item, and it knows ``object``."""

    object = object

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def zeros(self, *arguments: Any, **named: Any) -> np.ndarray:
        return np.zeros(*arguments, **named).view(_Array)

    def empty(self, *arguments: Any, **named: Any) -> np.ndarray:
        return np.empty(*arguments, **named).view(_Array)


def load(name: str) -> Any:
    """Import a module of mathematics_dataset, such as "modules.arithmetic".

    Raises:
        ImportError: the package is not installed; the message says how to.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise ImportError(f"generator: {REMEDY}")
    _restore()
    return importlib.import_module(f"{PACKAGE}.{name}")


def _restore() -> None:
    if f"{PACKAGE}.sample.polynomials" in sys.modules:
        return
    importlib.import_module(_SOLVERS)
    package = sys.modules[_SOLVERS]  # `import ... as` would give the function of the same name
    if not hasattr(package, "base_solution_linear"):
        inner = importlib.import_module(f"{_SOLVERS}.diophantine")
        package.base_solution_linear = inner.base_solution_linear  # type: ignore[attr-defined]
    polynomials = importlib.import_module(f"{PACKAGE}.sample.polynomials")
    polynomials.np = _Numpy("numpy")  # type: ignore[attr-defined]
