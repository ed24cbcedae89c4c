"""What users do to tensors that go into public ops and come out of them: changes in place, views, freezing.

The cases are those of composition_cases.py; `test_composition.py` has transforms and graphs.
"""

import copy

import pytest
import torch
from composition_cases import OPS, flat, leaves_of, loss, same

EVERY = pytest.mark.parametrize("case", OPS, ids=lambda case: case.id)


@EVERY
@pytest.mark.parametrize(
    "change", [torch.relu_, lambda y: y.mul_(2), lambda y: y.detach().zero_(), lambda y: y[..., :1].add_(1)]
)
def test_outputs_may_be_overwritten(case, change):
    leaves = leaves_of(case)

    def gradients(function, change):
        result = function(*leaves)
        y, others = case.output(result), [] if isinstance(result, torch.Tensor) else list(result[1:])
        z = y.sin().sum() if change is None else None
        if change is not None:
            kept = y.clone()
            change(y)
            z = kept.sin().sum() + 0 * y.sum()
        return torch.autograd.grad(z + sum(o.cos().sum() for o in others), leaves)

    expected = gradients(case.function, None)
    for a, b in zip(gradients(case.function, change), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@EVERY
def test_in_place_activation(case):
    leaves = leaves_of(case)

    def gradients(function):
        y = case.output(function(*leaves))
        y = y.clone() if function is case.reference else y
        return torch.autograd.grad(torch.relu_(y.mul_(1.5)).square().sum(), leaves)

    same(gradients(case.function), gradients(case.reference), leaves)


@EVERY
def test_an_output_may_be_detached_in_place(case):
    leaves = leaves_of(case)
    result = case.function(*leaves)
    output = case.output(result)
    output.detach_()
    assert not output.requires_grad
    output.zero_()


@EVERY
def test_an_input_changed_before_backward_is_refused_as_torch_does(case):
    leaves = leaves_of(case)
    for index in range(len(leaves)):
        given = [leaf.clone() for leaf in leaves]
        result = loss(case.value)(*given)
        with torch.no_grad():
            given[index].add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            result.backward()


@EVERY
def test_frozen_leaves_get_none_and_leave_the_others_as_they_are(case):
    leaves = leaves_of(case)
    expected = torch.autograd.grad(loss(case.value)(*leaves), leaves)
    for index in range(len(leaves)):
        given = [leaf.detach().requires_grad_(i == index) for i, leaf in enumerate(leaves)]
        loss(case.value)(*given).backward()
        assert torch.equal(given[index].grad, expected[index])
        assert all(leaf.grad is None for i, leaf in enumerate(given) if i != index)


@EVERY
def test_strided_expanded_and_negated_views(case):
    leaves = [leaf.detach() for leaf in leaves_of(case)]
    expected = case.value(*leaves)

    def strided(leaf):
        wide = torch.full((*leaf.shape, 2), torch.nan, dtype=leaf.dtype)
        wide[..., 0] = leaf
        return wide[..., 0]

    def turned(leaf):
        return leaf.movedim(0, -1).contiguous().movedim(-1, 0)

    for view in (strided, turned, lambda leaf: torch._neg_view(-leaf)):
        assert torch.equal(case.value(*map(view, leaves)), expected)
        tracked = [view(leaf).requires_grad_() for leaf in leaves]
        plain = [leaf.clone().requires_grad_() for leaf in leaves]
        found, right = (torch.autograd.grad(loss(case.value)(*given), given) for given in (tracked, plain))
        for a, b in zip(found, right, strict=True):
            assert torch.equal(a, b)


@EVERY
def test_inference_mode(case):
    leaves = leaves_of(case)
    with torch.inference_mode():
        assert torch.equal(case.value(*leaves), case.value(*leaves_of_inference(leaves)))


def leaves_of_inference(leaves):
    return [leaf.clone() for leaf in leaves]


@EVERY
def test_results_copy_deeply(case):
    leaves = [leaf.detach() for leaf in leaves_of(case)]
    result = case.function(*leaves)
    assert torch.equal(flat(copy.deepcopy(result)), flat(result))
