"""Libraries that only trainers need: imported when used, with an error that names the remedy."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


class MissingLibraryError(ImportError):
    """A library of the ``examples`` extra is not installed."""


def load(name: str) -> Any:
    """Import a library of the ``examples`` extra, such as "scipy.special".

    Raises:
        MissingLibraryError: it is not installed; the message gives the command that installs it.
    """
    try:
        module: ModuleType = importlib.import_module(name)
    except ModuleNotFoundError as error:
        library = name.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != library:
            raise
        raise MissingLibraryError(
            f"{library} is needed but not installed; install it with: pip install 'mathkernels[examples]'"
        ) from error
    return module
