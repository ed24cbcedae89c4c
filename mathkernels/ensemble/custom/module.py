"""The description of a module of the user's own, whose arithmetic is in a library made of one header."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from mathkernels.ensemble.checks import choice, count_field, is_number, keep, number_fields, plain, require
from mathkernels.ensemble.custom.library import load, read
from mathkernels.initial import Initial, Normal, Uniform, constrained_bound, glorot_bound

PENALTIES = ("none", "unit", "ternary", "signed-unit", "absolute")
MOST_COLUMNS = 65_536  # of a tensor per input, or besides
MAX_TENSORS = 6  # two layers of as many fill the compiled table


@dataclass(frozen=True, kw_only=True)
class CustomTensor:
    """One tensor of a :class:`Custom` module: a row of ``per_input`` n + ``fixed`` numbers for n inputs.

    Args:
        name: under which results hold it.
        per_input, fixed: how many numbers for each input, and how many besides.
        initial: a number, Uniform(low, high), Normal(mean, deviation), or the ranges of :class:`RealNPU`:
            "xavier", "xavier-constrained".
        penalty: the mean of min(|w|, |1 - w|) ("unit"), of min(|w|, |1 - |w||) ("ternary"), of |1 - |w||
            ("signed-unit"), of |w| ("absolute"), or "none".
        strength: weighs the penalty, times the run's ramp.
        clamp: (low, high), into which the numbers are brought after each step, or None.
    """

    name: str
    per_input: int = 1
    fixed: int = 0
    initial: Initial | Literal["xavier", "xavier-constrained"]
    penalty: Literal["none", "unit", "ternary", "signed-unit", "absolute"] = "none"
    strength: float = 0.0
    clamp: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        named = isinstance(self.name, str) and self.name.isidentifier()
        require(named, "CustomTensor.name", self.name, "a name of letters, digits and underscores")
        count_field(self, "per_input", 0, MOST_COLUMNS)
        count_field(self, "fixed", 0, MOST_COLUMNS)
        require(self.per_input + self.fixed > 0, "CustomTensor.per_input", 0, "at least 1 where fixed is 0")
        initial = self.initial
        if isinstance(initial, str):
            choice("CustomTensor.initial", initial, ("xavier", "xavier-constrained"))
        else:
            fits = all(is_number(value) for value in (initial if isinstance(initial, tuple) else (initial,)))
            fits = fits and (not isinstance(initial, tuple) or isinstance(initial, (Uniform, Normal)))
            right = "a number, Uniform(low, high), Normal(mean, deviation), 'xavier' or 'xavier-constrained'"
            require(fits, "CustomTensor.initial", initial, right)
            if isinstance(initial, Uniform):
                require(initial.low <= initial.high, "CustomTensor.initial", initial, "low <= high")
            if isinstance(initial, Normal):
                require(initial.deviation >= 0, "CustomTensor.initial", initial, "a deviation of at least 0")
            kept = type(initial)(*map(plain, initial)) if isinstance(initial, tuple) else plain(initial)
            keep(self, "initial", kept)
        choice("CustomTensor.penalty", self.penalty, PENALTIES)
        number_fields(self, "strength")
        if self.clamp is not None:
            fits = isinstance(self.clamp, tuple) and len(self.clamp) == 2 and all(map(is_number, self.clamp))
            fits = fits and self.clamp[0] <= self.clamp[1]
            require(fits, "CustomTensor.clamp", self.clamp, "a tuple (low, high) or None")
            keep(self, "clamp", tuple(map(plain, self.clamp)))

    def columns(self, inputs: int) -> int:
        """Return how many numbers one unit has for n inputs."""
        return self.per_input * inputs + self.fixed

    def values(self, inputs: int, outputs: int) -> Initial:
        """Return what the numbers are drawn from in a layer of I inputs and O outputs."""
        if isinstance(self.initial, str):
            bound = (glorot_bound if self.initial == "xavier" else constrained_bound)(inputs, outputs)
            return Uniform(-bound, bound)
        return self.initial


@dataclass(frozen=True, kw_only=True)
class Custom:
    """A module of your own, compiled from one header; docs/own_module.md shows how.

    Two descriptions are equal if the libraries have the same content, wherever they are.

    Args:
        library: path of the file made by ``python -m mathkernels.ensemble.custom build``; made absolute.
        tensors: of the module, in the order of the header's parameters.
        epsilon: the header's ``options.epsilon``.

    Raises:
        ValueError: an argument is not as above, or the library is none of this version of mathkernels. That
            the tensors fit the header, and its instruction set the one in use, is checked by :func:`fit`.
    """

    name: ClassVar[str] = "Custom"
    library: str | os.PathLike[str] = field(compare=False)
    tensors: tuple[CustomTensor, ...]
    epsilon: float = 0.0
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        fits = isinstance(self.library, (str, os.PathLike))
        require(fits, "Custom.library", self.library, "the path of a library")
        tensors = self.tensors
        fits = isinstance(tensors, tuple) and all(isinstance(tensor, CustomTensor) for tensor in tensors)
        fits = fits and 1 <= len(tensors) <= MAX_TENSORS
        require(fits, "Custom.tensors", tensors, f"a tuple of 1 to {MAX_TENSORS} CustomTensor(...)")
        names = [tensor.name for tensor in tensors]
        require(len(set(names)) == len(names), "Custom.tensors", names, "names that differ")
        number_fields(self, "epsilon")
        object.__setattr__(self, "library", str(Path(self.library).absolute()))
        object.__setattr__(self, "digest", read(self.library).digest)

    def cell(self, inputs: int, dtype: np.dtype) -> int:
        """Return the address of the compiled cell for a layer of n inputs.

        Raises:
            ValueError: the library does not fit this machine's state, or the tensors not the library.
        """
        library = load(str(self.library), self.digest)
        counts = library.counts(inputs)
        columns = [tensor.columns(inputs) for tensor in self.tensors]
        where = f"of {library.path.name} for {inputs} inputs"
        right = f"{counts.groups}, the groups {where}"
        require(len(columns) == counts.groups, "Custom.tensors: their number", len(columns), right)
        right = f"columns that add up to {counts.parameters}, the parameters(n) {where}"
        require(sum(columns) == counts.parameters, "Custom.tensors", columns, right)
        groups, places, terms = library.places(inputs)
        wanted = np.repeat(np.arange(len(columns)), columns)
        right = f"{wanted.tolist()}, the order of the tensors"
        require(
            np.array_equal(groups, wanted), f"Custom.library: group(n, k) {where}", groups.tolist(), right
        )
        fits = all(0 <= place < counts.derived for place in places)
        right = f"places below {counts.derived}, the derived(n)"
        require(fits, f"Custom.library: weight(n, k) {where}", places.tolist(), right)
        fits = all(term in (0, 1) for term in terms)
        require(fits, f"Custom.library: term(n, k) {where}", terms.tolist(), "0 or 1")
        return library.cell(dtype)
