# The compiled module; csrc/mathkernels.h and csrc/trainers/*/program.h describe its functions.
from typing import Any

# Names and numbers of the enumerations of csrc/common/enumerations.h.
cells: dict[str, int]
criteria: dict[str, int]
distributions: dict[str, int]
dtypes: dict[str, int]
elementary_functions: dict[str, int]
feeds: dict[str, int]
generators: dict[str, int]
layer_kinds: dict[str, int]
operations: dict[str, int]
optimisers: dict[str, int]
pairs: dict[str, int]
penalties: dict[str, int]
recurrent_kinds: dict[str, int]
sequence_kinds: dict[str, int]

def __getattr__(name: str) -> Any: ...
