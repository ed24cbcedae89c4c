"""Shared libraries that hold one cell: what they say of themselves, and how they are loaded.

A library is made of one header by ``python -m mathkernels.ensemble.custom build``; csrc/custom/module.cpp has
what it exports. What it says of itself is read from the bytes of the file, before any of its code runs.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mathkernels import _C, backends
from mathkernels.ensemble.checks import require

MARK = b"mathkernels: a module in one file"
_FIELDS = struct.Struct("=40s3q16s32s64s")  # MathkernelsModule of csrc/custom/module.cpp
_ARRAYS = ("x", "dx", "p", "dp", "derived(n)", "saved(n)", "gradients(n)", "the sums of gradients")
BUILD = "python -m mathkernels.ensemble.custom build"


class Card(NamedTuple):
    """What a library says of itself; ``digest`` is the SHA-256 of its file."""

    name: str
    isa: str
    digest: str


class Counts(NamedTuple):
    """Of one unit with n inputs; see csrc/cells/cell.h."""

    parameters: int
    derived: int
    saved: int
    gradients: int
    weights: int
    groups: int


def read(path: str | os.PathLike[str]) -> Card:
    """Read what the library at ``path`` says of itself.

    Raises:
        ValueError: there is no file, it is no library of ours, or it was built for another version.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"library: got {str(path)!r}, needs a file; make it with `{BUILD} my_module.h`")
    content = file.read_bytes()
    at = content.find(MARK + b"\0")
    if at < 0 or len(content) < at + _FIELDS.size:
        raise ValueError(f"library: got {str(path)!r}, needs a file made by `{BUILD}`")
    _, interface, cell_bytes, vector_bytes, *texts = _FIELDS.unpack_from(content, at)
    isa, version, name = (text.split(b"\0")[0].decode() for text in texts)
    sizes = _C.cell_sizes()
    if (interface, cell_bytes, version) != (*sizes[:2], _C.version):
        given = f"mathkernels {version or 'without a version'} (interface {interface}, {cell_bytes} bytes)"
        right = f"{_C.version or 'without a version'} (interface {sizes[0]}, {sizes[1]} bytes)"
        raise ValueError(f"library: {file} was built for {given}, needs {right}; build it again")
    if isa == backends.current() and vector_bytes != sizes[2]:
        what = f"has packs of {vector_bytes} bytes, {isa} needs {sizes[2]}"
        raise ValueError(f"library: {file} {what}; build it again without flags of your own")
    return Card(name, isa, hashlib.sha256(content).hexdigest())


class Library:
    """A loaded library: the functions of its cell.

    Args:
        path: of the file.
        card: what it says of itself.
    """

    def __init__(self, path: Path, card: Card) -> None:
        self.path, self.card = path, card
        try:
            self._compiled = ctypes.CDLL(str(path))
        except OSError as error:
            raise ValueError(f"library: {path} does not load ({error})") from error
        self._compiled.mathkernels_cell.restype = ctypes.c_void_p
        self._compiled.mathkernels_scratch_bytes.restype = ctypes.c_int64

    def cell(self, dtype: np.dtype) -> int:
        """Return the address of the cell's table of functions, float32 or float64."""
        return self._compiled.mathkernels_cell(int(dtype == np.float64))

    def counts(self, inputs: int) -> Counts:
        """Return the cell's counts for n inputs."""
        out = np.zeros(len(Counts._fields), np.int64)
        self._compiled.mathkernels_counts(inputs, _address(out))
        return Counts(*out.tolist())

    def places(self, inputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the group of each parameter (P,), and place and term of each weight (K,), all int64."""
        counts = self.counts(inputs)
        groups = np.zeros(counts.parameters, np.int64)
        weights, terms = np.zeros(counts.weights, np.int64), np.zeros(counts.weights, np.int64)
        self._compiled.mathkernels_places(inputs, *map(_address, (groups, weights, terms)))
        return groups, weights, terms

    def forward(
        self, x: np.ndarray, parameters: np.ndarray, epsilon: float, training: bool = True
    ) -> np.ndarray:
        """Return the outputs (B,) for inputs (I,B) and parameters (P,), all float64; B is a multiple of 8."""
        z = np.empty(x.shape[1])
        self._pass(int(not training), -1, x, parameters, epsilon, np.empty(0), z, np.empty(0), np.empty(0))
        return z

    def backward(
        self, x: np.ndarray, parameters: np.ndarray, epsilon: float, dz: np.ndarray, with_dx: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradients (P,) of the parameters and (I,B) of the inputs, zeros unless ``with_dx``."""
        z, dx, dp = np.empty(x.shape[1]), np.zeros_like(x), np.empty_like(parameters)
        self._pass(0, int(with_dx), x, parameters, epsilon, dz, z, dx, dp)
        return dp, dx

    def _pass(
        self,
        evaluation: int,
        backward: int,
        x: np.ndarray,
        parameters: np.ndarray,
        epsilon: float,
        *others: np.ndarray,
    ) -> None:
        inputs, samples = x.shape
        x, parameters = np.ascontiguousarray(x), np.ascontiguousarray(parameters)
        scratch = np.empty(self._compiled.mathkernels_scratch_bytes(inputs) + 64, np.uint8)
        aligned = ctypes.c_void_p(-(-scratch.ctypes.data // 64) * 64)
        arrays = map(_address, (x, parameters, *others))
        numbers = ctypes.c_int64(samples), ctypes.c_double(epsilon)
        overrun = self._compiled.mathkernels_pass(evaluation, backward, inputs, *numbers, *arrays, aligned)
        if overrun:
            what = f"the cell writes beyond the end of {_ARRAYS[overrun - 1]} for {inputs} inputs"
            raise ValueError(f"library: {self.path.name}: {what}; correct the counts of its header")


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


_loaded: dict[str, Library] = {}  # by path; a library stays in the process until its end


def load(path: str, digest: str) -> Library:
    """Return the library at ``path``, loaded once per process.

    Raises:
        ValueError: as :func:`read`; the file is not the one of ``digest``; it was built for another
            instruction set than the one in use, or anew since this process loaded it.
    """
    library = _loaded.get(path)
    if library is None or library.card.digest != digest:
        card = read(path)
        if card.digest != digest:
            raise ValueError(f"library: {path} has changed since it was described; describe it again")
        _check_instruction_set(path, card)
        if library is not None:
            what = "was built anew after this process had loaded it"
            raise ValueError(f"library: {path} {what}; start Python anew, or give the new one another name")
        library = _loaded[path] = Library(Path(path), card)
    _check_instruction_set(path, library.card)
    return library


def _check_instruction_set(path: str, card: Card) -> None:
    isa = backends.current()
    right = f"{isa}, the instruction set in use; build it with --isa {isa}, or backends.force({card.isa!r})"
    require(card.isa == isa, f"library: {path} and its instruction set", card.isa, right)
