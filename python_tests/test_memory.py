"""Memory for large tensors that is kept between calls: when it serves again, and how much is kept."""

import gc
import os
import signal

import pytest
import torch

from mathkernels import backends, ops
from mathkernels.nn import LSTM
from mathkernels.ops import _memory
from mathkernels.ops._memory import LARGE, empty, kept_memory, scratch
from mathkernels.testing import poisoned_memory

MEGABYTE = 1 << 20
PAGE = 2 * MEGABYTE


@pytest.fixture(autouse=True)
def _nothing_kept(quick_collections):
    gc.collect()
    backends.release_memory()
    yield
    gc.collect()
    backends.release_memory()


def block(pages):
    return empty((pages * PAGE,), torch.uint8)


def test_small_tensors_come_from_torch():
    tensor = empty((LARGE // 4 - 1,), torch.float32)
    del tensor
    assert kept_memory() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8], ids=str)
def test_a_large_tensor_is_whole_and_writable_and_its_storage_no_larger(dtype):
    tensor = empty((3, LARGE), dtype)
    assert (tensor.shape, tensor.dtype) == ((3, LARGE), dtype)
    assert tensor.is_contiguous()
    assert tensor.untyped_storage().nbytes() == tensor.nbytes
    assert tensor.fill_(1).sum(dtype=torch.float64) == 3 * LARGE


def test_a_block_serves_again_once_its_last_tensor_has_gone():
    first = block(2)
    place = first.data_ptr()
    view = first[5:]
    del first
    other = block(2)
    assert other.data_ptr() != place, "a view still lies in the block"
    del view, other
    assert kept_memory() == 4 * PAGE
    again = block(2), block(2)
    assert place in {tensor.data_ptr() for tensor in again}
    assert kept_memory() == 0


def test_kept_and_used_are_never_more_than_was_used_at_once():
    most = 0
    for pages in (1, 6, 2, 9, 3, 4, 12, 5):
        held = [block(pages), block(1)]
        most = max(most, (pages + 1) * PAGE)
        assert kept_memory() + (pages + 1) * PAGE <= most
        del held
        assert kept_memory() <= most


def test_a_storage_serves_tensors_of_its_own_size_alone():
    """What is saved or resized is the storage."""
    spare, large = block(2), block(8)
    place = large.data_ptr()
    del large
    small = block(7)
    assert small.data_ptr() != place
    assert small.untyped_storage().nbytes() == 7 * PAGE
    assert kept_memory() == 0, "with what is in use it would be more than ever was"
    del spare, small
    place = block(2).data_ptr()
    assert block(2).data_ptr() == place
    assert kept_memory() == 9 * PAGE


def test_scratch_may_lie_in_a_storage_four_times_as_large_but_no_larger():
    large = block(9)
    place = large.data_ptr()
    del large
    small = scratch(2 * PAGE)
    assert small.data_ptr() != place
    del small
    backends.release_memory()
    large = block(8)
    place = large.data_ptr()
    del large
    assert scratch(2 * PAGE).data_ptr() == place


def test_release_gives_everything_back():
    held = block(3)
    assert backends.release_memory() == 0
    del held
    assert backends.release_memory() == 3 * PAGE
    assert kept_memory() == 0


def test_what_cannot_be_had_is_a_memory_error():
    with pytest.raises(MemoryError):
        empty((1 << 60,), torch.uint8)


def test_training_steps_reuse_their_memory_and_repeat_their_bits():
    layer, x = LSTM(2, 64), torch.linspace(-1, 1, 200 * 32 * 2).reshape(200, 32, 2)

    def step():
        y, _ = layer(x)
        return [y.detach().clone(), *torch.autograd.grad(y.square().sum(), list(layer.parameters()))]

    first = step()
    kept = kept_memory()
    assert kept > 0
    with poisoned_memory():  # old content of a block must not show
        second = step()
    assert kept_memory() <= 2 * kept
    assert all(map(torch.equal, first, second))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("large", "sizes"),  # T, B, I, H: what is larger than all else
    [
        ("y", (64, 70, 2, 64)),
        ("x", (64, 4, 1100, 1)),
        ("weight_hh", (1, 1, 3, 350)),
        ("weight_ih", (1, 1, 90_000, 1)),
    ],
)
@pytest.mark.parametrize(("kind", "gates"), [("lstm", 4), ("gru", 3)])
def test_every_large_tensor_of_a_sequence_lies_in_kept_memory(kind, gates, large, sizes):
    T, B, I, H = sizes
    shapes = {"x": (1, T, B, I), "weight_ih": (1, 1, gates * H, I), "weight_hh": (1, 1, gates * H, H)}
    given = {name: torch.zeros(shape, requires_grad=True) for name, shape in shapes.items()}
    y = getattr(ops, kind)(**given)[0]
    made = dict(zip(given, torch.autograd.grad(y.sum(), list(given.values())), strict=True)) | {"y": y}
    assert made[large].nbytes >= LARGE
    kept = {storage.identity for storage in _memory._pool.storages}
    assert made[large].untyped_storage()._cdata in kept


def test_a_forked_child_has_blocks_of_its_own():
    held = block(1).fill_(7)
    child = os.fork()
    if child == 0:  # through numpy, because torch would wait for threads that a child has not
        signal.alarm(60)  # and should it wait all the same, it ends and the test fails
        held.numpy()[:] = 9
        new = block(1).numpy()
        new[:] = 3
        os._exit(0 if new[-1] == 3 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bool((held == 7).all())
