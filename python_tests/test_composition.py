"""Every public op under everything that torch lets one do to a function: the values and gradients of plain
torch, or one clear refusal. `test_composition_modules.py` does the same for the modules.

The cases are those of composition_cases.py, which has to hold every public op and module.
"""

import functools
import gc

import pytest
import torch
from composition_cases import MODULES, OPS, both, leaves_of, loss, same, twice
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.checkpoint import checkpoint

import mathkernels.nn
from mathkernels import ops

EVERY = pytest.mark.parametrize("case", OPS, ids=lambda case: case.id)
# Rounding to bfloat16 has no second derivative worth comparing, and flips where sums are in another order.
SMOOTH_CASES = [case for case in OPS if case.leaves()[0].dtype == torch.float64]
SMOOTH = pytest.mark.parametrize("case", SMOOTH_CASES, ids=lambda case: case.id)


def test_the_grid_holds_everything_public():
    functions = {name for name in ops.__all__ if not isinstance(getattr(ops, name), type)}
    assert {case.op for case in OPS} == functions
    modules = {name for name in mathkernels.nn.__all__ if isinstance(getattr(mathkernels.nn, name), type)}
    assert {case.name for case in MODULES} == modules


def registered():
    names = torch._C._dispatch_get_all_op_names()
    return sorted(name for name in names if name.startswith("mathkernels::"))


def test_every_registered_op_has_gradients_and_a_vmap_rule_of_its_own():
    functions = [name for name in ops.__all__ if not isinstance(getattr(ops, name), type)]
    assert len(registered()) >= 2 * len(functions)
    for name in registered():
        for key in ("Autograd", "FuncTorchBatched", "Meta", "CPU", "CUDA"):
            assert torch._C._dispatch_has_kernel_for_dispatch_key(name, key), (name, key)


@EVERY
def test_backward(case):
    leaves = leaves_of(case)
    ours, theirs = both(case, lambda f: torch.autograd.grad(loss(f)(*leaves), leaves))
    same(ours, theirs, leaves)


AXES = {
    "inputs": lambda n: (0, *[None] * (n - 1)),
    "weights": lambda n: (None, *[0] * (n - 1)),
    "both": lambda n: (0,) * n,
}


@EVERY
def test_vmap_has_the_bits_of_a_loop(case):
    many = [leaf.requires_grad_() for leaf in twice(leaves_of(case))]
    value = vmap(case.value)(*many)
    ours = torch.autograd.grad(value.sin().sum(), many)
    for index in range(2):
        one = [leaf[index].detach().requires_grad_() for leaf in many]
        assert torch.equal(value[index], case.value(*one))
        for a, b in zip(ours, torch.autograd.grad(loss(case.value)(*one), one), strict=True):
            assert torch.equal(a[index], b)


@pytest.mark.parametrize(
    ("case", "mapped"),
    [
        (case, mapped)
        for case in SMOOTH_CASES
        for mapped in AXES
        if mapped != "weights" or len(case.leaves()) > 1
    ],
    ids=lambda value: getattr(value, "id", value),
)
def test_vmap_with_gradients_inside_outside_and_around(case, mapped):
    leaves = leaves_of(case)
    axes = AXES[mapped](len(leaves))
    stacked = [
        many if axis == 0 else leaf for many, leaf, axis in zip(twice(leaves), leaves, axes, strict=True)
    ]
    stacked = [leaf.detach() for leaf in stacked]
    every = tuple(range(len(leaves)))
    inside = both(case, lambda f: vmap(grad(loss(f), every), axes)(*stacked))
    same(*inside, leaves)

    def mapped_loss(f):
        return lambda *given: vmap(loss(f), axes)(*given).square().sum()

    same(*both(case, lambda f: grad(mapped_loss(f), every)(*stacked)), leaves)
    tracked = [leaf.clone().requires_grad_() for leaf in stacked]
    same(*both(case, lambda f: torch.autograd.grad(mapped_loss(f)(*tracked), tracked)), leaves)


@EVERY
def test_jacobian(case):
    leaves = [leaf.detach() for leaf in leaves_of(case)]
    same(*both(case, lambda f: jacrev(f)(*leaves)), leaves)


@SMOOTH
def test_hessian_by_reverse_mode_twice(case):
    leaves = [leaf.detach() for leaf in leaves_of(case)]
    same(*both(case, lambda f: jacrev(jacrev(loss(f)))(*leaves)), leaves)


@SMOOTH
def test_a_step_of_meta_learning(case):
    leaves = leaves_of(case)

    def after_one_step(f):
        first = torch.autograd.grad(loss(f)(*leaves), leaves, create_graph=True)
        moved = [leaf - 0.01 * g for leaf, g in zip(leaves, first, strict=True)]
        return torch.autograd.grad(loss(f)(*moved), leaves)

    same(*both(case, after_one_step), leaves)


@EVERY
def test_gradients_of_many_directions_at_once(case):
    leaves = leaves_of(case)

    def pulled(f):
        result = f(*leaves)
        directions = torch.eye(result.numel(), dtype=result.dtype)[:5]
        return torch.autograd.grad(result, leaves, directions, is_grads_batched=True)

    same(*both(case, pulled), leaves)


@EVERY
@pytest.mark.parametrize("transform", [jacfwd, hessian])
def test_forward_mode_transforms_are_refused(case, transform):
    leaves = [leaf.detach() for leaf in leaves_of(case)]
    with pytest.raises(
        NotImplementedError, match=rf"^{case.op}\w*: there is no forward-mode derivative.*jacrev"
    ):
        transform(loss(case.value))(*leaves)


@EVERY
def test_tangents_are_refused_with_and_without_gradients(case):
    leaves = leaves_of(case)
    for given in (leaves, [leaf.detach() for leaf in leaves]):
        for index in range(len(given)):
            with forward_ad.dual_level():
                dual = [forward_ad.make_dual(g, g.detach()) if i == index else g for i, g in enumerate(given)]
                with pytest.raises(NotImplementedError, match="no forward-mode derivative"):
                    case.value(*dual)
    with pytest.raises(NotImplementedError, match="no forward-mode derivative"):
        jvp(case.value, tuple(leaves), tuple(leaf.detach() for leaf in leaves))


@EVERY
def test_forward_mode_around_other_arguments_passes(case):
    leaves = [leaf.detach() for leaf in leaves_of(case)]
    scale = torch.tensor(2.0, dtype=leaves[0].dtype)
    value, tangent = jvp(lambda scale: scale * case.value(*leaves), (scale,), (torch.ones_like(scale),))
    torch.testing.assert_close(value, 2 * tangent)


class Wrapped(torch.nn.Module):
    """A case as a module that torch can export and train."""

    def __init__(self, case, leaves):
        super().__init__()
        self.value = case.value
        self.held = torch.nn.ParameterList([torch.nn.Parameter(leaf.detach().clone()) for leaf in leaves[1:]])

    def forward(self, x):
        return self.value(x, *self.held)


@EVERY
def test_export_and_train(case):
    leaves = leaves_of(case)
    module = Wrapped(case, leaves)
    exported = torch.export.export(module, (leaves[0].detach(),)).module()
    x, y = (leaves[0].detach().clone().requires_grad_() for _ in range(2))
    exported(x).sin().sum().backward()
    module(y).sin().sum().backward()
    assert torch.equal(x.grad, y.grad)
    gradients = [p.grad for p in exported.parameters()]
    assert len(gradients) == len(leaves) - 1
    for ours, eager in zip(gradients, module.parameters(), strict=True):
        assert torch.equal(ours, eager.grad)


@EVERY
def test_compile_of_the_op_and_of_its_vmap(case):
    torch._dynamo.reset()
    leaves = leaves_of(case)
    compiled = torch.compile(loss(case.value), fullgraph=True, backend="aot_eager")
    ours, eager = (torch.autograd.grad(f(*leaves), leaves) for f in (compiled, loss(case.value)))
    for a, b in zip(ours, eager, strict=True):
        assert torch.equal(a, b)
    many = [leaf.requires_grad_() for leaf in twice(leaves)]

    def mapped(*given):
        return vmap(loss(case.value))(*given).sum()

    ours = torch.autograd.grad(torch.compile(mapped, backend="aot_eager")(*many), many)
    same(ours, torch.autograd.grad(mapped(*many), many), leaves)


@EVERY
def test_trace(case):
    leaves = leaves_of(case)
    traced = torch.jit.trace(case.value, tuple(leaves), check_trace=False)
    ours, eager = (torch.autograd.grad(loss(f)(*leaves), leaves) for f in (traced, case.value))
    for a, b in zip(ours, eager, strict=True):
        assert torch.equal(a, b)


@EVERY
def test_meta_tensors_give_shapes(case):
    leaves = [leaf.detach() for leaf in leaves_of(case)]
    expected = case.function(*leaves)
    found = case.function(*(leaf.to("meta") for leaf in leaves))
    expected, found = ([r] if isinstance(r, torch.Tensor) else r for r in (expected, found))
    for real, meta in zip(expected, found, strict=True):
        assert meta.device.type == "meta"
        assert (meta.shape, meta.dtype) == (real.shape, real.dtype)


@EVERY
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing(case, reentrant):
    leaves = leaves_of(case)
    run = functools.partial(checkpoint, loss(case.value), use_reentrant=reentrant)
    found = []
    for function in (run, loss(case.value)):
        function(*leaves).backward()
        found.append([leaf.grad.clone() for leaf in leaves])
        for leaf in leaves:
            leaf.grad = None
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


@EVERY
def test_saved_tensors_may_be_kept_elsewhere(case):
    leaves = leaves_of(case)
    expected = torch.autograd.grad(loss(case.value)(*leaves), leaves)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t.clone()):
        result = loss(case.value)(*leaves)
    for a, b in zip(torch.autograd.grad(result, leaves), expected, strict=True):
        assert torch.equal(a, b)


@EVERY
def test_a_graph_whose_saved_tensors_are_elsewhere_keeps_no_output_alive(case, quick_collections):
    leaves = leaves_of(case)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
        result = case.function(*leaves)
        value = case.output(result).sum()
    storages = [
        StorageWeakRef(r.untyped_storage())
        for r in ([result] if isinstance(result, torch.Tensor) else result)
    ]
    del result
    gc.collect()
    assert all(storage.expired() for storage in storages)
    value.backward()


@EVERY
def test_a_graph_that_is_retained_gives_the_same_again_and_is_gone_after(case):
    leaves = leaves_of(case)
    result = loss(case.value)(*leaves)
    first = torch.autograd.grad(result, leaves, retain_graph=True)
    for a, b in zip(torch.autograd.grad(result, leaves), first, strict=True):
        assert torch.equal(a, b)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(result, leaves)
