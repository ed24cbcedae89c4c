"""Images of handwritten digits and the sequences of sequential MNIST (Madsen & Johansen 2020, section 4.2).

The images are the real MNIST, read from its IDX files, or the 8x8 digits that scikit-learn ships, for where
MNIST is not at hand. The two are different data: `Digits.source` says which it is, and belongs into every
output.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mathkernels.data import ranges

TASKS = {"product": np.cumprod, "sum": np.cumsum}  # what the targets are of a sequence of labels
TRAIN_LENGTHS = {"product": 2, "sum": 10}
TEST_LENGTHS = {"product": tuple(range(1, 21)), "sum": (1, 10, *range(100, 1001, 100))}
PARTS = ("train", "validation", "test")
# of the permutations, as in the published code of Madsen & Johansen 2020
STREAM_SEEDS = {"train": 62379872, "validation": 47430696, "test": 88253339}
MNIST_MEAN, MNIST_DEVIATION = 0.1307, 0.3081
SCIKIT_SIZES = (
    1197,
    200,
    400,
)  # train, validation, test, in the order in which scikit-learn gives the images

_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the array of an IDX file, plain or compressed (".gz").

    Raises:
        ValueError: the file is missing, of another format, or of another size than it says of itself.
    """
    path = Path(path)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, ValueError, zlib.error) as error:  # ValueError: the path holds NUL
        raise ValueError(f"IDX file: '{path}' cannot be read ({error}); needs a file of MNIST") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        begin = content[:4].hex(" ")
        raise ValueError(f"IDX file: '{path}' begins with {begin!r}; needs 00 00, a type, and the dimensions")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError(f"IDX file: '{path}' has {len(content)} bytes; needs {start} for its sizes alone")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    kind = np.dtype(_TYPES[content[2]])
    if len(content) != start + math.prod(shape) * kind.itemsize:
        needed = start + math.prod(shape) * kind.itemsize
        raise ValueError(f"IDX file: '{path}' has {len(content)} bytes; needs {needed} for its shape {shape}")
    return np.frombuffer(content, kind, offset=start).reshape(shape)


@dataclass(frozen=True)
class Digits:
    """Digits in three parts: normalised images (N,H,W), float32, and labels (N), int64, of each part."""

    source: str
    images: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]

    @property
    def size(self) -> int:
        """Pixels along one side of an image."""
        return self.images["train"].shape[-1]


def load_digits(folder: str | os.PathLike[str] | None = None) -> Digits:
    """Return MNIST from a folder with its four IDX files, or without a folder scikit-learn's 8x8 digits.

    Raises:
        ValueError: a file is missing, damaged, or not of MNIST.
        ImportError: no folder is given and scikit-learn is not installed.
    """
    return _scikit() if folder is None else load_mnist(folder)


def load_mnist(folder: str | os.PathLike[str]) -> Digits:
    """Return MNIST: the first 55,000 training images train, the last 5,000 validate; 10,000 test.

    Pixels are divided by 255, and have mean 0.1307 and deviation 0.3081 taken out.

    Args:
        folder: with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
            t10k-labels-idx1-ubyte, each plain or with ".gz".

    Raises:
        ValueError: a file is missing, damaged, or does not hold what MNIST's does.
    """
    folder = Path(folder)
    images, labels = _pair(folder, "train", 60_000)
    test_images, test_labels = _pair(folder, "t10k", 10_000)
    return Digits(
        f"MNIST from '{folder.name}'",
        {"train": images[:55_000], "validation": images[55_000:], "test": test_images},
        {"train": labels[:55_000], "validation": labels[55_000:], "test": test_labels},
    )


def _pair(folder: Path, part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for name, shape in (
        (f"{part}-images-idx3-ubyte", (count, 28, 28)),
        (f"{part}-labels-idx1-ubyte", (count,)),
    ):
        path = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
        if path is None:
            raise ValueError(f"MNIST: '{folder}' has no {name} or {name}.gz; needs the four files of MNIST")
        array = read_idx(path)
        if array.shape != shape or array.dtype != np.uint8:
            raise ValueError(f"MNIST: '{path}' holds {array.shape} of {array.dtype}; needs {shape} of uint8")
        found.append(array)
    if found[1].max() > 9:
        raise ValueError(f"MNIST: labels of '{part}' go up to {found[1].max()}; needs digits 0 to 9")
    pixels = (found[0] / np.float32(255) - np.float32(MNIST_MEAN)) / np.float32(MNIST_DEVIATION)
    return pixels, found[1].astype(np.int64)


def _scikit() -> Digits:
    """Return the 1,797 8x8 digits of scikit-learn, split 1,197, 200, 400 in their order.

    Pixels have the mean and deviation of the training images taken out.
    """
    try:
        from sklearn.datasets import load_digits as shipped
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "sklearn":
            raise
        raise ImportError(
            "digits: without a folder of MNIST, scikit-learn is needed but not installed; "
            "install it with: pip install 'mathkernels[examples]'"
        ) from error
    bunch: Any = shipped()
    ends = np.cumsum(SCIKIT_SIZES)
    pixels = bunch.images.astype(np.float32)
    mean, deviation = pixels[: ends[0]].mean(), pixels[: ends[0]].std()
    images, labels = np.split((pixels - mean) / deviation, ends[:2]), np.split(bunch.target, ends[:2])
    return Digits(
        "8x8 digits of scikit-learn, not MNIST",
        dict(zip(PARTS, images, strict=True)),
        {part: array.astype(np.int64) for part, array in zip(PARTS, labels, strict=True)},
    )


def _usable(digits: Digits, part: str, task: str) -> np.ndarray:
    labels = digits.labels[part]
    return np.flatnonzero(labels > 0) if task == "product" else np.arange(labels.size)


def lengths_to_test(digits: Digits, task: str) -> tuple[int, ...]:
    """Return the published lengths of test sequences as far as the test images make one sequence."""
    return tuple(length for length in TEST_LENGTHS[task] if length <= _usable(digits, "test", task).size)


def sequences(digits: Digits, part: str, task: str, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return S sequences of images: their numbers within the part, int64, and targets, float64, each (S,T).

    One fixed permutation of the usable images (for products those of 1 to 9) is cut into windows of `length`;
    what is left over is not used. Target t is the product or sum of the first t labels.

    Raises:
        ValueError: the part or task is unknown, or the part has too few images for one sequence.
    """
    for name, given, known in (("part", part, PARTS), ("task", task, TASKS)):
        if not isinstance(given, str) or given not in known:
            raise ValueError(f"sequences: {name} is {given!r}; needs one of {', '.join(map(repr, known))}")
    labels, usable = digits.labels[part], _usable(digits, part, task)
    whole = isinstance(length, (int, np.integer)) and not isinstance(length, bool)
    if not whole or not 1 <= length <= usable.size:
        right = f"needs 1 to {usable.size}, the images of {part!r}"
        raise ValueError(f"sequences: length is {ranges.shown(length)}; {right}")
    length = int(length)
    order = np.random.RandomState(STREAM_SEEDS[part]).permutation(usable)
    count = order.size // length
    numbers = order[: count * length].reshape(count, length)
    return numbers, TASKS[task](labels[numbers].astype(np.float64), axis=1)
