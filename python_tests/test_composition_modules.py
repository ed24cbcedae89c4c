"""Every module under what torch users do to modules: values and gradients of plain torch, or one refusal.

The cases are those of composition_cases.py; `test_composition.py` does the same for the ops.
"""

import copy
import io
import pickle

import pytest
import torch
from composition_cases import MODULES
from torch.func import functional_call, grad, jvp, stack_module_state, vmap
from torch.utils.checkpoint import checkpoint

EVERY = pytest.mark.parametrize("case", MODULES, ids=lambda case: case.id)
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def parameters_of(module):
    return dict(module.named_parameters())


def gradients(case, module, x):
    value = case.run(module, x)
    return value, torch.autograd.grad(value.sin().sum(), [x, *module.parameters()])


def expected(case, module, x):
    """The same of the module's meaning in plain torch."""
    parameters = parameters_of(module)
    value = case.meaning(parameters, x)
    return value, torch.autograd.grad(value.sin().sum(), [x, *parameters.values()])


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, **CLOSE)


def equal(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@EVERY
def test_values_and_gradients(case):
    module, x = case.make(), case.x().requires_grad_()
    close(gradients(case, module, x), expected(case, module, x))


@EVERY
def test_an_ensemble_of_stacked_modules_trains(case):
    modules, x = [case.make() for _ in range(3)], case.x()
    parameters, buffers = stack_module_state(modules)
    base = copy.deepcopy(modules[0]).to("meta")

    def run(parameters, buffers, x):
        return case.run(functional_call_of(base, parameters, buffers), x)

    value = vmap(run, (0, 0, None))(parameters, buffers, x)
    value.sin().sum().backward()
    for index, module in enumerate(modules):
        case.run(module, x).sin().sum().backward()
        equal(value[index], case.run(module, x))
        for name, parameter in module.named_parameters():
            equal(parameters[name].grad[index], parameter.grad)


def functional_call_of(base, parameters, buffers):
    return lambda x: functional_call(base, (parameters, buffers), (x,))


@EVERY
def test_gradients_per_sample_and_of_functions_that_map(case):
    module, inputs = case.make(), torch.stack([case.x(), 0.9 * case.x()])
    leaves = {name: p.detach().clone().requires_grad_() for name, p in module.named_parameters()}
    parameters = {name: p.detach() for name, p in leaves.items()}

    def ours(parameters, x):
        return case.run(functional_call_of(module, parameters, {}), x).sin().sum()

    def right(*losses):
        return [torch.autograd.grad(one, list(leaves.values()), retain_graph=True) for one in losses]

    losses = [case.meaning(leaves, x).sin().sum() for x in inputs]
    each = vmap(grad(ours), (None, 0))(parameters, inputs)
    for index, expected in enumerate(right(*losses)):
        close([g[index] for g in each.values()], list(expected))
    around = grad(lambda p: vmap(ours, (None, 0))(p, inputs).square().sum())(parameters)
    close(list(around.values()), list(*right(torch.stack(losses).square().sum())))


@EVERY
def test_a_step_of_meta_learning(case):
    module, x = case.make(), case.x()

    def after_one_step(loss):
        leaves = {name: p.detach().clone().requires_grad_() for name, p in module.named_parameters()}
        first = torch.autograd.grad(loss(leaves), list(leaves.values()), create_graph=True)
        moved = {name: p - 0.01 * g for (name, p), g in zip(leaves.items(), first, strict=True)}
        return torch.autograd.grad(loss(moved), list(leaves.values()))

    ours = after_one_step(lambda p: case.run(functional_call_of(module, p, {}), x).sin().sum())
    close(ours, after_one_step(lambda p: case.meaning(p, x).sin().sum()))


@EVERY
def test_forward_mode_is_refused(case):
    module, x = case.make(), case.x()
    with pytest.raises(NotImplementedError, match="no forward-mode derivative"):
        jvp(lambda x: case.run(module, x), (x,), (x,))


@EVERY
def test_export_and_train(case):
    module, x = case.make(), case.x()
    exported = torch.export.export(module, (x,)).module()
    given = [x.clone().requires_grad_() for _ in range(2)]
    for one, leaf in zip((exported, module), given, strict=True):
        case.run(one, leaf).sin().sum().backward()
    equal(given[0].grad, given[1].grad)
    assert parameters_of(exported).keys() == parameters_of(module).keys()
    for name, parameter in module.named_parameters():
        equal(parameters_of(exported)[name].grad, parameter.grad)


@EVERY
def test_compile_and_train(case):
    torch._dynamo.reset()
    module, x = case.make(), case.x().requires_grad_()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    equal(gradients(case, compiled, x), gradients(case, module, x))


@EVERY
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_trace_and_train_with_any_number_of_rows(case):
    module, x = case.make(), case.x().requires_grad_()
    traced = torch.jit.trace(module, (x.detach(),))
    equal(gradients(case, traced, x), gradients(case, module, x))
    longer = torch.cat([x.detach()] * 3, rows_of(case)).requires_grad_()
    equal(gradients(case, traced, longer), gradients(case, module, longer))


def rows_of(case):
    """The axis of the batch."""
    return 1 if (len(case.shape) == 3 and "batch_first" not in case.id) or case.name == "RecurrentUnit" else 0


@EVERY
def test_meta_device_gives_shapes_and_takes_memory_later(case):
    module, x = case.make(), case.x()
    meta = copy.deepcopy(module).to("meta")
    found, right = case.run(meta, x.to("meta")), case.run(module, x)
    assert (found.device.type, found.shape, found.dtype) == ("meta", right.shape, right.dtype)
    back = meta.to_empty(device="cpu")
    back.load_state_dict(module.state_dict())
    equal(case.run(back, x), right)


@EVERY
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing(case, reentrant):
    module, x = case.make(), case.x().requires_grad_()
    value = checkpoint(lambda x: case.run(module, x), x, use_reentrant=reentrant)
    value.sin().sum().backward()
    found = [x.grad, *(p.grad for p in module.parameters())]
    equal(found, list(gradients(case, module, x)[1]))


@EVERY
def test_outputs_may_be_changed_in_place(case):
    module, x = case.make(), case.x().requires_grad_()
    value = case.run(module, x)
    kept = value.clone()
    torch.relu_(value.mul_(-1))
    equal(torch.autograd.grad(kept.sin().sum(), [x, *module.parameters()]), gradients(case, module, x)[1])
    value = torch.relu_(case.run(module, x).mul_(1.5))
    theirs = torch.relu(case.meaning(parameters_of(module), x) * 1.5)
    ours, right = (torch.autograd.grad(v.square().sum(), [x, *module.parameters()]) for v in (value, theirs))
    close(ours, right)


@EVERY
def test_states_may_be_detached_and_written_to(case):
    module, x = case.make(), case.x()
    results = module(x)
    for _ in range(3):
        results = [results] if isinstance(results, torch.Tensor) else [*results]
        results = [part for r in results for part in ([r] if isinstance(r, torch.Tensor) else r)]
    for result in results:
        with torch.no_grad():
            result[..., :1] = 0.0
        result.detach_()
        result.zero_()


@EVERY
def test_frozen_weights(case):
    module, x = case.make(), case.x().requires_grad_()
    right = dict(zip(["x", *parameters_of(module)], gradients(case, module, x)[1], strict=True))
    for frozen in parameters_of(module):
        other = copy.deepcopy(module)
        other.get_parameter(frozen).requires_grad_(False)
        leaf = x.detach().requires_grad_()
        case.run(other, leaf).sin().sum().backward()
        equal(leaf.grad, right["x"])
        for name, parameter in other.named_parameters():
            if name == frozen:
                assert parameter.grad is None
            else:
                equal(parameter.grad, right[name])


@EVERY
def test_copies_and_pickles_are_the_same_module(case):
    module, x = case.make(), case.x().requires_grad_()
    right = gradients(case, module, x)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), loaded):
        equal(gradients(case, other, x), right)
        assert str(other) == str(module)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
    equal(gradients(case, module, x), right)


@EVERY
def test_a_batch_of_none(case):
    module, x = case.make(), case.x()
    axis = (
        0 if len(case.shape) < 3 and case.name != "RecurrentUnit" else (0 if "batch_first" in case.id else 1)
    )
    empty = x.narrow(axis, 0, 0).requires_grad_()
    value = case.run(module, empty)
    assert value.numel() == 0
    value.sum().backward()
    assert empty.grad.shape == empty.shape
    for parameter in module.parameters():
        equal(parameter.grad, torch.zeros_like(parameter))


@EVERY
def test_models_side_by_side_are_the_same_modules(case):
    alone, many = [case.make() for _ in range(3)], case.make(models=3)
    with torch.no_grad():
        for name, parameter in many.named_parameters():
            parameter.copy_(torch.stack([parameters_of(one)[name] for one in alone]))
    x = torch.stack([case.x() for _ in alone]).requires_grad_()
    value, (dx, *others) = gradients(case, many, x)
    for index, one in enumerate(alone):
        leaf = x[index].detach().requires_grad_()
        y, (d, *rest) = gradients(case, one, leaf)
        equal([value[index], dx[index], *(g[index] for g in others)], [y, d, *rest])
