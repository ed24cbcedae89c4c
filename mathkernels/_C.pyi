# The compiled module; csrc/mathkernels.h and csrc/ensemble describe its functions.
from typing import Any

def __getattr__(name: str) -> Any: ...
