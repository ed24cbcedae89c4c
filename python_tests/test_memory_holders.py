"""Memory that somebody still holds, in whatever way, never serves another; storages behave as torch's."""

import copy
import gc
import io
import pickle
import random
import threading
import weakref

import numpy as np
import pytest
import torch

from mathkernels import backends, nn
from mathkernels.ops import _memory
from mathkernels.ops._memory import LARGE, empty, kept_memory
from mathkernels.testing import poisoned_memory

COUNT = LARGE  # floats: 4 MB


@pytest.fixture(autouse=True)
def _nothing_kept(quick_collections):
    gc.collect()
    backends.release_memory()
    yield
    gc.collect()
    backends.release_memory()


class Saves(torch.autograd.Function):
    @staticmethod
    def forward(ctx, leaf, tensor):
        ctx.save_for_backward(tensor)
        return leaf.sum()

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None


class Product:
    """Holds the tensor for the backward of a product alone."""

    def __init__(self, tensor):
        self.leaf = torch.ones(COUNT, requires_grad=True)
        self.y = self.make(tensor).sum()

    def make(self, tensor):
        return self.leaf * tensor

    def value(self):
        return torch.autograd.grad(self.y, self.leaf, retain_graph=True)[0].round()


class OwnFunction(Product):
    def make(self, tensor):
        return Saves.apply(self.leaf, tensor)


class Output(Product):
    """An output that is saved: exp keeps what it returned, here through an operation in place."""

    def make(self, tensor):
        self.log = tensor.log().requires_grad_()
        return self.leaf * tensor.copy_(self.log.detach()).exp_()


def whole(tensor):
    return torch.as_tensor(tensor).reshape(-1)


def of_storage(storage):
    return torch.empty(0).set_(storage, 0, (COUNT,))


# what holds the memory, and how its numbers are read
HOLDERS = {
    "view": (lambda t: t[:], whole),
    "view of a part": (lambda t: t[5:9], lambda v: v.as_strided((COUNT,), (1,), 0)),
    "transposed": (lambda t: t.view(1024, -1).T, lambda v: v.T.reshape(-1)),
    "detached": (lambda t: t.detach(), whole),
    "data": (lambda t: t.data, whole),
    "parameter": (torch.nn.Parameter, lambda p: p.detach()),
    "other dtype": (lambda t: t.view(torch.int32), lambda v: v.view(torch.float32)),
    "array": (lambda t: t.numpy(), torch.from_numpy),
    "view of an array": (lambda t: t.numpy()[::-1], lambda a: torch.from_numpy(a[::-1])),
    "memoryview": (lambda t: memoryview(t.numpy()), lambda m: torch.from_numpy(np.asarray(m))),
    "array by DLPack": (np.from_dlpack, lambda a: torch.tensor(a.copy())),
    "tensor by DLPack": (torch.from_dlpack, whole),
    "storage": (lambda t: t.untyped_storage(), of_storage),
    "typed storage": (lambda t: t.storage(), lambda s: of_storage(s.untyped())),
    "set": (lambda t: torch.empty(0).set_(t), whole),
    "saved by a product": (Product, Product.value),
    "saved by a function": (OwnFunction, OwnFunction.value),
    "saved output": (Output, Output.value),
    "closure": (lambda t: lambda: t, lambda f: f()),
    "weak reference to the storage": (
        lambda t: weakref.ref(t.untyped_storage()),
        lambda w: torch.full((COUNT,), 7.0) if w() is None else of_storage(w()),
    ),
    "conjugate view": (
        lambda t: torch.view_as_complex(t.view(-1, 2)),
        lambda v: torch.view_as_real(v).reshape(-1),
    ),
    "lazy clone": (torch._lazy_clone, whole),
    "shared": (lambda t: t.share_memory_(), whole),
    "deep copy": (copy.deepcopy, whole),
    "pickle": (pickle.dumps, lambda b: pickle.loads(b)),
}


def overwrite(times: int = 4) -> list[torch.Tensor]:
    return [empty((COUNT,), torch.float32).fill_(9.0) for _ in range(times)]


@pytest.mark.filterwarnings("ignore:TypedStorage")
@pytest.mark.parametrize("name", HOLDERS)
def test_what_is_held_is_never_used_again(name):
    hold, read = HOLDERS[name]
    tensor = empty((COUNT,), torch.float32).fill_(7.0)
    holder = hold(tensor)
    del tensor
    gc.collect()
    others = overwrite()
    assert bool((read(holder) == 7.0).all())
    del others
    gc.collect()
    others = overwrite()  # the same memory, a second time
    assert bool((read(holder) == 7.0).all())
    assert all(bool((other == 9.0).all()) for other in others)


def test_what_a_capsule_holds_is_never_used_again():
    """DLPack's, of which no tensor of Python knows; it can be read once."""
    tensor = empty((COUNT,), torch.float32).fill_(7.0)
    capsule = torch.utils.dlpack.to_dlpack(tensor)
    del tensor
    others = overwrite()
    again = torch.from_dlpack(capsule)
    del capsule, others
    others = overwrite()
    assert bool((again == 7.0).all())
    assert all(bool((other == 9.0).all()) for other in others)


@pytest.mark.filterwarnings("ignore:TypedStorage")
@pytest.mark.parametrize(
    "name", sorted(set(HOLDERS) - {"shared", "lazy clone", "weak reference to the storage"})
)
def test_what_nobody_holds_any_more_is_kept(name):
    tensor = empty((COUNT,), torch.float32).fill_(7.0)
    place = tensor.data_ptr()
    holder = HOLDERS[name][0](tensor)
    del tensor, holder
    gc.collect()
    assert kept_memory() == 4 * COUNT
    assert empty((COUNT,), torch.float32).data_ptr() == place


def test_a_storage_held_in_turns_as_object_and_as_tensor_is_never_used_again():
    held = empty((COUNT,), torch.float32).fill_(7.0)
    for _ in range(20):
        held = held.untyped_storage()
        others = overwrite(1)
        held = of_storage(held)
        others += overwrite(1)
        assert bool((held == 7.0).all())
        del others


def test_threads_never_share_memory():
    wrong, stop = [], threading.Event()

    def work(seed):
        rng = random.Random(seed)
        held = []
        for step in range(150):
            number = 1000.0 * seed + step
            tensor = empty((LARGE // 4 * rng.randint(1, 2),), torch.float32).fill_(number)
            hold = rng.choice(
                [lambda t: t, lambda t: t[3:], lambda t: t.numpy(), lambda t: t.untyped_storage()]
            )
            held.append((number, len(tensor), hold(tensor)))
            del tensor
            if len(held) > rng.randint(0, 4):
                number, count, holder = held.pop(rng.randrange(len(held)))
                if isinstance(holder, torch.UntypedStorage):
                    holder = torch.empty(0).set_(holder, 0, (count,))
                if not bool((torch.as_tensor(holder) == number).all()):
                    wrong.append(number)
            if stop.is_set():
                return

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_destructor_that_asks_for_memory_meanwhile_gets_its_own(monkeypatch):
    """As the collector may run one at any time."""
    made = []
    real = _memory._Storage.is_idle

    def is_idle(storage):
        if len(made) < 3:
            made.append(None)
            made[-1] = empty((COUNT,), torch.float32).fill_(float(len(made)))
        return real(storage)

    spare = [empty((COUNT,), torch.float32) for _ in range(4)]
    del spare
    monkeypatch.setattr(_memory._Storage, "is_idle", is_idle)
    outer = empty((COUNT,), torch.float32).fill_(9.0)
    assert made
    assert len({t.data_ptr() for t in (*made, outer)}) == len(made) + 1
    assert all(bool((t == t[0]).all()) for t in made)
    assert bool((outer == 9.0).all())


def test_whatever_is_done_in_turns_no_memory_is_shared():
    rng, held, number = random.Random(5), [], 0.0
    keep = [
        lambda t: t,
        lambda t: t.numpy(),
        lambda t: t.untyped_storage(),
        lambda t: t[1:],
        lambda t: t.detach(),
    ]
    for _ in range(400):
        action = rng.random()
        if action < 0.5 or not held:
            number += 1
            count = LARGE // 4 * rng.randint(1, 3)
            held.append((number, count, rng.choice(keep)(empty((count,), torch.float32).fill_(number))))
        elif action < 0.8:
            expected, count, holder = held.pop(rng.randrange(len(held)))
            if isinstance(holder, torch.UntypedStorage):
                holder = torch.empty(0).set_(holder, 0, (count,))
            assert bool((torch.as_tensor(holder) == expected).all())
        elif action < 0.9:
            index = rng.randrange(len(held))
            expected, count, holder = held[index]
            if isinstance(holder, torch.Tensor) and len(holder) == count and not holder.is_shared():
                holder.untyped_storage().resize_(0)
                if rng.random() < 0.5:
                    backends.release_memory()
                holder.untyped_storage().resize_(4 * count)
                holder.fill_(expected)
        elif action < 0.95:
            index = rng.randrange(len(held))
            if isinstance(held[index][2], torch.Tensor):
                held[index][2].share_memory_()
        else:
            backends.release_memory()


def test_memory_shared_with_another_process_serves_no_more():
    """That process may write there at any time."""
    tensor = empty((COUNT,), torch.float32).fill_(7.0)
    tensor.share_memory_()
    alias = tensor[:]
    del tensor
    others = overwrite(2)
    assert bool((alias == 7.0).all())
    assert alias.is_shared()
    del alias, others
    gc.collect()
    assert not any(t.is_shared() for t in overwrite(4))


LARGE_ONES = {"lstm": (nn.LSTM, 2), "gru": (nn.GRU, 1)}


def everything_large(kind):
    """Results and gradients of a layer, all but those of the biases from a megabyte on."""
    module, states = LARGE_ONES[kind]
    layer = module(512, 512, bidirectional=False)
    x = torch.randn(1, 520, 512, requires_grad=True)
    given = [torch.randn(1, 520, 512, requires_grad=True) for _ in range(states)]
    y, last = layer(x, tuple(given) if states == 2 else given[0])
    last = last if states == 2 else (last,)
    loss = y.square().sum() + sum(state.sum() for state in last)
    leaves = [x, *given, layer.weight_ih_l0, layer.weight_hh_l0]
    return {"y": y.detach(), **{f"state {k}": state.detach() for k, state in enumerate(last)}} | {
        f"gradient {k}": grad for k, grad in enumerate(torch.autograd.grad(loss, leaves))
    }


@pytest.mark.parametrize("kind", LARGE_ONES)
def test_storages_of_results_and_gradients_can_be_freed_and_made_again(kind):
    for name, tensor in everything_large(kind).items():
        assert tensor.nbytes >= LARGE, name
        storage, before = tensor.untyped_storage(), tensor.clone()
        assert storage.resizable(), name
        nbytes = storage.nbytes()
        assert nbytes == tensor.nbytes, f"{name}: its storage is larger than it"
        storage.resize_(0)
        assert storage.nbytes() == 0
        storage.resize_(nbytes)
        tensor.copy_(before)
        assert torch.equal(tensor, before)
        storage.resize_(2 * nbytes)
        assert torch.equal(tensor, before)


def test_results_whose_storage_was_freed_do_not_disturb_others():
    first = everything_large("lstm")
    expected = {name: tensor.clone() for name, tensor in first.items()}
    for index, tensor in enumerate(first.values()):
        if index % 2:
            tensor.untyped_storage().resize_(0)
    with poisoned_memory():
        overwrite(5)
        everything_large("lstm")
    for index, (name, tensor) in enumerate(first.items()):
        assert index % 2 or torch.equal(tensor, expected[name]), name


def test_a_freed_storage_counts_no_more():
    held = [empty((COUNT,), torch.float32) for _ in range(3)]
    held[0].untyped_storage().resize_(0)
    del held[1:]
    assert kept_memory() == 2 * 4 * COUNT
    assert backends.release_memory() == 2 * 4 * COUNT
    assert _memory._pool.in_use_at_most == 0


def test_a_saved_result_is_no_larger_than_it_is():
    spare = [empty((COUNT + 5000 * k,), torch.float32) for k in range(4)]
    del spare
    tensor, file = empty((COUNT,), torch.float32), io.BytesIO()
    torch.save(tensor, file)
    assert file.tell() < tensor.nbytes + 10_000


def test_where_torch_does_not_tell_who_holds_a_storage_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(_memory, "_use_count", lambda identity: 1)
    _memory._sees_holders.cache_clear()
    try:
        assert not _memory._sees_holders()
        monkeypatch.setattr(_memory, "_use_count", None)
        _memory._sees_holders.cache_clear()
        tensor = empty((COUNT,), torch.float32)
        assert tensor.nbytes == 4 * COUNT
        del tensor
        assert kept_memory() == 0
    finally:
        monkeypatch.undo()
        _memory._sees_holders.cache_clear()
        assert _memory._sees_holders()
