"""New tensors for kernels: small ones from torch, large ones in storages that are kept between calls.

A training step asks for the same hundreds of megabytes again and again; malloc maps them anew each time,
and on long sequences the page faults of that take up to 40 % of the step. So storages stay here when their
tensors have gone, and serve tensors to come. They are torch's own, and behave like any other: they can be
resized, shared, saved.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import weakref
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from mathkernels import _C

# Below this malloc keeps memory itself, and a kernel's work outweighs what a new page costs.
LARGE = 1 << 20  # bytes
CPU = torch.device("cpu")  # to name the device costs half as much as another tensor

# Nothing public tells who holds a storage. torch counts its own tensors here, whatever they are (views,
# detached or saved ones, those that a NumPy array or DLPack capsule keeps); Python counts the holders of the
# one object that stands for the storage there. Without the former nothing can be kept.
_use_count: Callable[[int], int] | None = getattr(torch._C, "_storage_Use_Count", None)


class _Storage:
    """A storage that somebody may hold besides."""

    __slots__ = ("address", "alone", "identity", "nbytes", "tensor")

    def __init__(self, nbytes: int):
        self.nbytes = nbytes
        self.tensor = torch.empty(nbytes, dtype=torch.uint8, device=CPU)
        self.address = self.tensor.data_ptr()
        self.identity = self.tensor.untyped_storage()._cdata
        self.holders()  # the first time makes Python's object
        self.alone = self.holders()

    def holders(self) -> tuple[int, int]:
        """How often the storage is held by torch, and its object by Python, in this function too."""
        return _C.holders(_use_count, self.identity, self.tensor.untyped_storage())

    def is_idle(self) -> bool:
        assert _use_count is not None
        return _use_count(self.identity) <= self.alone[0] and self.holders() == self.alone

    def size_changed(self) -> bool:
        return self.tensor.untyped_storage().nbytes() != self.nbytes

    def is_as_made(self) -> bool:
        """Whether an idle storage still owns the memory that it was made with: not resized, not shared."""
        known = weakref.getweakrefcount(self.tensor.untyped_storage())  # who could ask for it again
        return not known and not self.size_changed() and self.tensor.data_ptr() == self.address

    def as_tensor(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        strides, step = [], 1
        for size in reversed(shape):
            strides.insert(0, step)
            step *= size
        storage = self.tensor.untyped_storage()
        return torch.empty(0, dtype=dtype, device=CPU).set_(storage, 0, shape, tuple(strides))


@cache
def _sees_holders() -> bool:
    """Whether the counts tell, in this torch, that a tensor or an object of Python holds a storage."""
    if _use_count is None or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    storage = _Storage(1)
    tensor = storage.as_tensor((1,), torch.uint8)
    seen = not storage.is_idle()
    held = tensor.untyped_storage()
    del tensor
    seen = seen and not storage.is_idle()
    del held
    return seen and storage.is_idle()


class _Pool:
    """Storages in use and kept. What is kept and what is in use are never more than was in use at once."""

    def __init__(self) -> None:
        self.storages: list[_Storage] = []  # the one made last stands last
        self.in_use_at_most = 0
        self.lock = threading.RLock()

    def forked(self) -> None:
        self.lock = threading.RLock()  # another thread of the parent may have held it

    def take(self, nbytes: int, at_most: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor in an idle storage of nbytes up to at_most bytes, else in a new one of nbytes.

        Raises:
            MemoryError: the system has no such memory.
        """
        with self.lock:
            # A destructor or signal handler that gets here meanwhile, in this thread, sees none of them.
            storages, self.storages = self.storages, []
            try:
                found = _find(storages, nbytes, at_most)
                if found is None:
                    found = self._make(storages, nbytes)
                return found.as_tensor(shape, dtype)
            finally:
                self.storages = storages + self.storages

    def _make(self, storages: list[_Storage], nbytes: int) -> _Storage:
        """Appends a new storage; others that are idle go where they would be too much."""
        idle, in_use = _sort(storages)
        kept = sum(storage.nbytes for storage in idle)
        self.in_use_at_most = max(self.in_use_at_most, in_use + nbytes)
        while idle and in_use + nbytes + kept > self.in_use_at_most:
            oldest = idle.pop(0)
            kept -= oldest.nbytes
            storages.remove(oldest)
        try:
            new = _Storage(nbytes)
        except RuntimeError as error:
            for storage in idle:
                storages.remove(storage)
            idle.clear()
            try:
                new = _Storage(nbytes)
            except RuntimeError:
                raise MemoryError(f"no memory for a tensor of {nbytes} bytes") from error
        _C.prefer_huge_pages(new.address, nbytes)
        storages.append(new)
        return new

    def kept(self) -> int:
        with self.lock:
            return sum(storage.nbytes for storage in _sort(self.storages)[0])

    def release(self) -> int:
        with self.lock:
            idle, self.in_use_at_most = _sort(self.storages)
            for storage in idle:
                self.storages.remove(storage)
            return sum(storage.nbytes for storage in idle)


def _find(storages: list[_Storage], nbytes: int, at_most: int) -> _Storage | None:
    """The smallest fitting storage that is idle, of several the one made last."""
    best = None
    for storage in reversed(storages):
        fits = nbytes <= storage.nbytes <= at_most and (best is None or storage.nbytes < best.nbytes)
        if fits and storage.is_idle() and storage.is_as_made():
            best = storage
            if storage.nbytes == nbytes:
                break
    return best


def _sort(storages: list[_Storage]) -> tuple[list[_Storage], int]:
    """The storages that are idle, and the bytes of others; those whose memory has changed leave the list."""
    idle, in_use, changed = [], 0, []
    for storage in storages:
        if storage.size_changed():
            changed.append(storage)
        elif not storage.is_idle():
            in_use += storage.nbytes
        elif storage.is_as_made():
            idle.append(storage)
        else:
            changed.append(storage)
    for storage in changed:
        storages.remove(storage)
    return idle, in_use


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forked)


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return a tensor of arbitrary content on the CPU, as torch.empty does.

    A large one lies in a storage of its size that is kept when the last holder has gone, and serves the next
    call (`mathkernels.backends.release_memory` gives it to the system).

    Raises:
        MemoryError: the system has no such memory.
    """
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < LARGE or not _sees_holders():
        return torch.empty(shape, dtype=dtype, device=CPU)
    return _pool.take(nbytes, nbytes, shape, dtype)


def scratch(nbytes: int) -> Tensor:
    """Bytes for the time of a call, at least `nbytes`: their storage may be four times as large.

    A forward pass so takes what the backward pass before it has left. A storage of its own would be more than
    was ever in use, and drive out another that the backward pass needs again.

    Raises:
        MemoryError: the system has no such memory.
    """
    if nbytes < LARGE or not _sees_holders():
        return torch.empty(nbytes, dtype=torch.uint8, device=CPU)
    return _pool.take(nbytes, 4 * nbytes, (nbytes,), torch.uint8)


def maker(most: int, dtype: torch.dtype) -> Callable[[tuple[int, ...]], Tensor]:
    """`empty` for some tensors, none of which has more than `most` numbers: spares counting small ones."""
    if most * dtype.itemsize < LARGE:
        return partial(torch.empty, dtype=dtype, device=CPU)
    return partial(empty, dtype=dtype)


def kept_memory() -> int:
    """How many bytes are kept."""
    return _pool.kept()


def release_memory() -> int:
    """Give what is kept back to the system; return how many bytes that was."""
    return _pool.release()
