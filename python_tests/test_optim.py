"""Optimisers: Keras' conventions by their formulas, models side by side, and torch's state as tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mathkernels.optim import BatchedOptimizer, torch_state
from mathkernels.optim.keras import adam_, adam_rate, step_in_keras_form


def data():
    source = torch.Generator().manual_seed(0)
    start = torch.randn(3, 4, 5, generator=source, dtype=torch.float64)
    return start, torch.randn(6, 3, 4, 5, generator=source, dtype=torch.float64)


def stepped(name, start, gradients):
    p = {"w": start.clone().requires_grad_()}
    optimizer = BatchedOptimizer(name, 0.01, None, p)
    for gradient in gradients:
        p["w"].grad = gradient.clone()
        optimizer.step()
    return p["w"].detach()


def test_adam_is_that_of_keras_for_each_model():
    start, gradients = data()
    expected, first, second = start.numpy().copy(), 0.0, 0.0
    for t, gradient in enumerate(gradients.numpy(), 1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        expected -= rate * first / (np.sqrt(second) + 1e-7)
    # 6 steps of a few operations each, in double
    np.testing.assert_allclose(stepped("adam", start, gradients).numpy(), expected, rtol=1e-12)


def test_rmsprop_is_that_of_keras_for_each_model():
    """Keras 3 adds epsilon below the root."""
    start, gradients = data()
    gradients[:2] *= 1e-4  # so that epsilon counts
    expected, second = start.numpy().copy(), 0.0
    for gradient in gradients.numpy():
        second = 0.9 * second + 0.1 * gradient**2
        expected -= 0.01 * gradient / np.sqrt(second + 1e-7)
    np.testing.assert_allclose(stepped("rmsprop", start, gradients).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["adam", "rmsprop", "sgd"])
def test_a_model_alone_is_updated_as_beside_others(name):
    start, gradients = (own.float() for own in data())
    together = stepped(name, start, gradients)
    for model in range(3):
        one = slice(model, model + 1)
        assert torch.equal(stepped(name, start[one], gradients[:, one]), together[one])


def test_torchs_adam_steps_in_keras_form():
    start, gradients = data()
    p, expected = start.clone().requires_grad_(), start.clone()
    optimizer = torch.optim.Adam([p])
    first, second = torch.zeros_like(start), torch.zeros_like(start)
    for t, gradient in enumerate(gradients, 1):
        p.grad = gradient.clone()
        step_in_keras_form(optimizer, 0.01, 1e-3)
        adam_(expected, gradient, first, second, adam_rate(0.01, t), 1e-3)
        # float64: a few roundings in each of the steps
        torch.testing.assert_close(p.detach(), expected, rtol=1e-12, atol=0)


def test_each_model_is_clipped_by_its_own_norm_as_by_torch():
    source = torch.Generator().manual_seed(1)
    start = {"a": torch.randn(3, 7, generator=source), "b": torch.randn(3, 2, 4, generator=source)}
    gradients = {name: torch.randn(value.shape, generator=source) for name, value in start.items()}
    for value in gradients.values():
        value *= torch.tensor([0.01, 1.0, 100.0]).reshape(-1, *[1] * (value.dim() - 1))
    together = {name: value.clone().requires_grad_() for name, value in start.items()}
    for name, value in together.items():
        value.grad = gradients[name].clone()
    BatchedOptimizer("sgd", 0.5, 1.5, together).step()
    for model in range(3):
        alone = {name: value[model].clone().requires_grad_() for name, value in start.items()}
        for name, value in alone.items():
            value.grad = gradients[name][model].clone()
        torch.nn.utils.clip_grad_norm_(alone.values(), 1.5)
        torch.optim.SGD(alone.values(), 0.5).step()
        for name, value in alone.items():
            # torch adds 1e-6 to the norm
            torch.testing.assert_close(together[name][model], value, rtol=2e-6, atol=1e-6)


def test_a_gradient_of_zero_is_not_clipped_to_nan():
    p = {"w": torch.ones(2, 3, requires_grad=True)}
    p["w"].grad = torch.zeros(2, 3)
    BatchedOptimizer("sgd", 1.0, 1.0, p).step()
    assert torch.equal(p["w"], torch.ones(2, 3))


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="optimizer: name is 'lion'; needs one of 'adam', 'rmsprop', 'sgd'"):
        BatchedOptimizer("lion", 1.0, None, {})


# torch's state


def optimizers(count):
    source = torch.Generator().manual_seed(2)
    made = []
    for _ in range(count):
        values = [torch.randn(2, 3, generator=source), torch.randn(4, generator=source)]
        made.append(torch.optim.Adam([value.requires_grad_() for value in values], lr=0.1))
    return made


def stepped_all(made, steps, seed=3):
    source = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for optimizer in made:
            for value in optimizer.param_groups[0]["params"]:
                value.grad = torch.randn(value.shape, generator=source)
            optimizer.step()


def test_optimisers_go_on_from_their_state_with_the_same_bits():
    one, other = optimizers(2), optimizers(2)
    assert torch_state.of(one) == {}
    stepped_all(one, 3)
    for optimizer, same in zip(one, other, strict=True):
        for value, copy in zip(*(own.param_groups[0]["params"] for own in (optimizer, same)), strict=True):
            copy.data = value.detach().clone()
    torch_state.load(other, torch_state.of(one), 3)
    stepped_all(one, 2, 4)
    stepped_all(other, 2, 4)
    for name, own in torch_state.of(one).items():
        assert torch.equal(own, torch_state.of(other)[name]), name


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("step.0", torch.tensor([2.0, 3.0]), r"step\.0: got \[2\.0, 3\.0\], needs equal whole numbers, 3"),
        ("step.1", torch.tensor([2.5, 2.5]), "needs equal whole numbers, 3"),
        ("step.1", torch.tensor([3, 3]), "needs .2,. of the optimiser"),
        ("exp_avg.0", torch.zeros(2, 3), "exp_avg.0: got .2, 3. of torch.float32, needs .2, 2, 3."),
        ("exp_avg_sq.1", torch.full((2, 4), -1.0), "has -1 in exp_avg_sq.1; needs numbers from 0"),
        ("exp_avg.7", torch.zeros(2, 3), "has exp_avg.7 of the optimiser"),
        ("exp_avg.1", None, "lacks exp_avg.1 of the optimiser"),
    ],
)
def test_a_state_that_no_training_leaves_is_refused(name, value, message):
    made = optimizers(2)
    stepped_all(made, 3)
    state = {**torch_state.of(made), name: value}
    if value is None:
        del state[name]
    with pytest.raises(ValueError, match=message):
        torch_state.load(optimizers(2), state, 3)
    with pytest.raises(ValueError, match="of the optimiser"):
        torch_state.load(optimizers(2), torch_state.of(made), 0)
