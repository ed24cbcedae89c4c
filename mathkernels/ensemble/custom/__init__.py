"""Modules of the user's own: one header, compiled and trained like any other (docs/own_module.md)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mathkernels.ensemble.custom.compiler import build, template
    from mathkernels.ensemble.custom.derivatives import Checked, check

__all__ = ["Checked", "build", "check", "template"]
_HOMES = {"build": "compiler", "template": "compiler", "check": "derivatives", "Checked": "derivatives"}


def __getattr__(name: str) -> Any:
    """Import it when asked: it needs the descriptions of runs, which need module.py of this package."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
