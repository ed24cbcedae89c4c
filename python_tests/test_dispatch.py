"""One policy decides which backend runs an op: the same for every op, forward and backward."""

import re
import sys

import pytest
import raw_ops
import torch
from composition_cases import OPS, both, leaves_of, loss, same, twice
from torch.func import grad, jacrev, vmap

from mathkernels import backends, ops
from mathkernels.ops._decoders import RESULTS
from mathkernels.ops._dispatch import KERNELS, kernel_of

EVERY = pytest.mark.parametrize("case", OPS, ids=lambda case: case.id)
SMOOTH = pytest.mark.parametrize(
    "case", [case for case in OPS if case.leaves()[0].dtype == torch.float64], ids=lambda case: case.id
)
TRITON = {"nmu", "nmu_backward", "real_npu", "real_npu_backward"}


@pytest.fixture(scope="module")
def calls():
    """A valid call of every op of the library: name -> op, arguments on the CPU."""
    return {op._schema.name.partition("::")[2]: (op, given) for op, given in raw_ops.valid_calls()}


def on_a_gpu(calls, name):
    """Call what torch's dispatcher calls for CUDA tensors; the tensors here are on the CPU."""
    op, given = calls[name]
    return kernel_of(op, KERNELS[name], "CUDA")(*given)


def test_every_op_is_dispatched(calls):
    assert set(calls) == set(KERNELS)
    functions = {name for name in ops.__all__ if not isinstance(getattr(ops, name), type)}
    assert {name for name in KERNELS if not name.endswith("_backward")} >= functions
    assert {name for name, kernels in KERNELS.items() if kernels.triton} == TRITON


def test_the_compiled_kernels_run_and_say_so(calls):
    for name, (op, given) in calls.items():
        op(*given)
        assert backends.last() == (name, "cpu", backends.current(), backends.reason())


def test_on_a_gpu_ops_without_a_kernel_are_refused_by_name(calls):
    for name in set(KERNELS) - TRITON:
        with pytest.raises(TypeError) as refused:
            on_a_gpu(calls, name)
        assert str(refused.value) == (
            f"{name}: tensors are on cpu; this op has no GPU kernel: pass them with .cpu(), or let plain"
            " torch compute it with mathkernels.backends.enable('torch')"
        )


def test_on_a_gpu_plain_torch_computes_what_has_no_kernel_if_enabled(calls):
    backends.enable("torch")
    for name in set(KERNELS) - TRITON:
        found, (op, given) = on_a_gpu(calls, name), calls[name]
        reason = "tensors are on cpu, this op has no GPU kernel and 'torch' is enabled"
        assert backends.last() == (name, "torch", None, reason)
        ours, theirs = ([t] if isinstance(t, torch.Tensor) else list(t) for t in (op(*given), found))
        handed = {"lstm": 4, "gru": 4, "lstm_attention": len(RESULTS), "gru_attention": len(RESULTS)}.get(
            name
        )
        ours, theirs = ours[:handed], theirs[:handed]  # what these keep for backward is theirs alone
        same(ours, theirs, [max(ours, key=torch.Tensor.numel)])


def test_enabling_plain_torch_takes_nothing_from_the_kernels(calls, monkeypatch):
    backends.enable("torch")
    monkeypatch.setitem(sys.modules, "triton", None)
    for name in TRITON:
        monkeypatch.delitem(sys.modules, f"mathkernels.triton.{name}", raising=False)
        with pytest.raises(ImportError, match=f"{name}: tensors on cpu need triton"):
            on_a_gpu(calls, name)
    for name, (op, given) in calls.items():
        op(*given)
        assert backends.last()[:2] == (name, "cpu")


@pytest.mark.parametrize(("backend", "names"), [("cpu", set(KERNELS)), ("triton", TRITON)])
def test_a_disabled_backend_runs_nothing(calls, backend, names):
    backends.disable(backend)
    for name in names:
        told = (
            f"{name}: tensors are on cpu; '{backend}' is disabled: enable it with mathkernels.backends.enable"
        )
        with pytest.raises(TypeError, match=re.escape(told)):
            on_a_gpu(calls, name) if backend == "triton" else calls[name][0](*calls[name][1])
    backends.enable("torch")
    for name in names:
        on_a_gpu(calls, name) if backend == "triton" else calls[name][0](*calls[name][1])
        reason = f"tensors are on cpu, '{backend}' is disabled and 'torch' is enabled"
        assert backends.last() == (name, "torch", None, reason)


def test_a_forced_backend_runs_everything_or_refuses_by_name(calls):
    told = "; backends.force('{}') is in force, where this op has no kernel for them: undo it"
    backends.force("triton")
    for name, (op, given) in calls.items():
        with pytest.raises(TypeError, match=re.escape(f"{name}: tensors are on cpu{told.format('triton')}")):
            op(*given)
        if name not in TRITON:
            with pytest.raises(TypeError, match=re.escape(told.format("triton"))):
                on_a_gpu(calls, name)
    backends.force("cpu")
    for name, (op, given) in calls.items():
        op(*given)
        assert backends.last()[:2] == (name, "cpu")
        with pytest.raises(TypeError, match=re.escape(told.format("cpu"))):
            on_a_gpu(calls, name)


def test_forcing_undoes_the_call_before():
    backends.force("torch")
    assert backends.forced() == "torch"
    backends.force(backends.available()[0])
    assert backends.forced() is None
    assert backends.current() == backends.available()[0]
    backends.force("torch")
    assert backends.current() == backends.available()[-1]
    backends.force(None)
    assert backends.forced() is None


def test_unknown_backends_are_named():
    for function in (backends.enable, backends.disable):
        with pytest.raises(ValueError, match="'gpu' is unknown; needs one of cpu, triton, torch"):
            function("gpu")
    with pytest.raises(
        ValueError, match=r"backends.force: 'gpu' is unknown; available: .*, cpu, triton, torch"
    ):
        backends.force("gpu")
    assert backends.enabled() == ("cpu", "triton")


@EVERY
def test_forced_plain_torch_gives_values_and_gradients(case):
    backends.force("torch")
    leaves = leaves_of(case)
    same(*both(case, lambda f: f(*leaves).detach()), leaves)
    same(*both(case, lambda f: torch.autograd.grad(loss(f)(*leaves), leaves)), leaves)
    assert backends.last() == (f"{case.op}_backward", "torch", None, "forced by backends.force('torch')")


@SMOOTH
def test_forced_plain_torch_takes_part_in_transforms(case):
    backends.force("torch")
    leaves = [leaf.detach() for leaf in leaves_of(case)]
    every = tuple(range(len(leaves)))
    same(*both(case, lambda f: vmap(grad(loss(f), every))(*twice(leaves))), leaves)
    same(*both(case, lambda f: jacrev(jacrev(loss(f)))(*leaves)), leaves)


def test_forced_plain_torch_keeps_the_promises_of_the_schemas(calls):
    """Outputs in memory of their own, as the shape rule has them; inputs as they were."""
    backends.force("torch")
    for name, (op, given) in calls.items():
        tensors = [value for value in given if isinstance(value, torch.Tensor)]
        before = [tensor.clone() for tensor in tensors]
        found, promised = (
            [t] if isinstance(t, torch.Tensor) else list(t) for t in (op(*given), KERNELS[name].rule(*given))
        )
        assert all(map(torch.equal, tensors, before)), name
        for at, (output, right) in enumerate(zip(found, promised, strict=True)):
            assert (output.shape, output.dtype) == (right.shape, right.dtype), name
            assert output.is_contiguous(), name
            assert not output.requires_grad, name
            assert not any(torch._C._is_alias_of(output, other) for other in [*tensors, *found[:at]]), name


@pytest.mark.parametrize("rows", [3, 20])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("first", ["torch", "cpu"])
def test_backward_may_run_on_another_backend_than_forward(kind, first, rows):
    gates, other = 4 if kind == "lstm" else 3, "cpu" if first == "torch" else "torch"
    sequence = [torch.randn(1, 4, rows, 3), torch.randn(1, 1, gates * 5, 3), torch.randn(1, 1, gates * 5, 5)]
    weights = [torch.randn(1, gates * 5, 8), torch.randn(1, gates * 5, 5), *torch.randn(2, 1, gates * 5)]
    decoder = [sequence[0], *weights, *torch.randn(2, 1, rows, 6, 5)]
    decode = getattr(ops, f"{kind}_attention")
    cases = [
        (lambda *t: getattr(ops, kind)(*t)[0], sequence),
        (lambda *t: decode(*t, feed="context").y, decoder),
    ]
    for function, given in cases:
        found = []
        for forward, backward in ((first, other), ("cpu", "cpu")):
            leaves = [tensor.double().requires_grad_() for tensor in given]
            backends.force(None if forward == "cpu" else forward)
            y = function(*leaves)
            backends.force(None if backward == "cpu" else backward)
            found.append(torch.autograd.grad(y.sum(), leaves))
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
