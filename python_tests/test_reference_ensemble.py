"""The plain-torch training loop against formulas written out by hand, and its promises."""

import math

import numpy as np
import pytest
import torch

from mathkernels.ensemble import NAU, NMRU, NMU, NRU, SGD, Adam, Norm, Ramp, RealNPU, Run, Task
from mathkernels.reference.ensemble import clamp_, initial_parameters, penalty, train


def run(module, *, inputs=2, interpolation="U[1,2]", operation="div", **options):
    task = Task(operation=operation, inputs=inputs, interpolation=interpolation, extrapolation="U[2,6]")
    return Run(module=module, task=task, **{"seed": 3, "iterations": 4, "evaluate_every": 2, **options})


MODULES = [NAU(), NMU(), RealNPU(), RealNPU.modified(), NRU(), NMRU(), NMRU(sign_retrieval=False)]


@pytest.mark.parametrize(
    ("module", "shape", "low", "high"),
    [
        (NAU(), (1, 1, 10), -0.5, 0.5),
        (NMU(), (1, 1, 10), 0.25, 0.75),
        (NMRU(), (1, 1, 20), 0.25, 0.75),
        (NRU(), (1, 1, 10), -0.5, 0.5),
        (RealNPU(), (1, 1, 10), -math.sqrt(6 / 11), math.sqrt(6 / 11)),
        (RealNPU.modified(), (1, 1, 10), -0.5, 0.5),
    ],
)
def test_initial_weights_are_torchs_second_draw(module, shape, low, high):
    weight = initial_parameters(run(module, inputs=10))["weight"]
    source = torch.Generator().manual_seed(3)
    torch.empty(shape).uniform_(low, high, generator=source)
    assert torch.equal(weight, torch.empty(shape).uniform_(low, high, generator=source))


def test_one_step_of_an_nmu_equals_the_formulas():
    x = np.array([[1.5, 2.0]] * 16 + [[1.25, 3.0]] * 16)
    given = run(NMU(penalty=0.5), operation="mul", optimizer=SGD(lr=0.1), iterations=0, batch=32)
    w = initial_parameters(given)["weight"].double().numpy().ravel()
    f = 1 + w * (x - 1)
    error = f.prod(axis=1) - x.prod(axis=1)
    others = f[:, ::-1]
    gradient = (2 * error[:, None] * (x - 1) * others).mean(axis=0) + 0.25 * np.where(w < 0.5, 1, -1)
    found = train(given, dtype=torch.float64, samples=lambda t: x)
    # float64, means over 32 samples in another order
    np.testing.assert_allclose(
        found.parameters["weight"].numpy(), np.clip(w - 0.1 * gradient, 0, 1), rtol=1e-12
    )
    assert found.rows[0].loss == pytest.approx((error**2).mean(), rel=1e-12)


def test_a_gradient_longer_than_the_limit_is_scaled_to_it():
    x = np.full((32, 2), 3.0)
    options = {"operation": "mul", "iterations": 0, "batch": 32}
    free = run(NMU(penalty=0.0), optimizer=SGD(lr=1e-3), **options)
    w = initial_parameters(free)["weight"].double().numpy().ravel()
    step = w - train(free, dtype=torch.float64, samples=lambda t: x).parameters["weight"].numpy()
    length = np.linalg.norm(step) / 1e-3
    limited = run(NMU(penalty=0.0), optimizer=SGD(lr=1e-3), clip_norm=length / 10, **options)
    shorter = w - train(limited, dtype=torch.float64, samples=lambda t: x).parameters["weight"].numpy()
    # torch adds 1e-6 to the norm that it divides by
    np.testing.assert_allclose(shorter, step / 10, rtol=1e-6)


def test_penalties_follow_the_ramp_and_the_norm_schedule():
    module = RealNPU(weight_penalty=2.0, gate_penalty=3.0, norm=Norm(start=1e-3, end=1e-1, every=10))
    given = run(module, ramp=Ramp(start=10, end=20))
    parameters = {"weight": torch.tensor([[[0.75, -1.5]]]), "gate": torch.tensor([[0.25, 1.0]])}
    discrete = 2.0 * (0.25 + 0.5) / 2 + 3.0 * 0.25 / 2
    norms = 2.25 + 1.25
    assert penalty(given, parameters, 0).item() == pytest.approx(1e-3 * norms)
    assert penalty(given, parameters, 15).item() == pytest.approx(0.5 * discrete + 1e-2 * norms)
    assert penalty(given, parameters, 40).item() == pytest.approx(discrete + 1e-1 * norms)


def test_an_euclidean_norm_is_taken_tensor_by_tensor():
    module = RealNPU(norm=Norm(start=1.0, end=1.0, order=2))
    parameters = {"weight": torch.tensor([[[3.0, -4.0]]]), "gate": torch.tensor([[0.6, 0.8]])}
    assert penalty(run(module), parameters, 0).item() == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("module", "weight", "gate"),
    [
        (NAU(), [-1, 1], None),
        (NMU(), [0, 1], None),
        (NRU(), [-1, 1], None),
        (NMRU(), [0, 1], None),
        (RealNPU(clip="none"), [-3, 3], [-3, 3]),
        (RealNPU(clip="g"), [-3, 3], [0, 1]),
        (RealNPU(clip="w"), [-1, 1], [-3, 3]),
        (RealNPU(clip="wg"), [-1, 1], [0, 1]),
    ],
)
def test_each_module_clamps_what_it_says(module, weight, gate):
    parameters = {"weight": torch.tensor([-3.0, 3.0])}
    if gate:
        parameters["gate"] = torch.tensor([-3.0, 3.0])
    clamp_(run(module), parameters)
    assert parameters["weight"].tolist() == weight
    assert gate is None or parameters["gate"].tolist() == gate


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_every_module_trains_in_both_precisions_and_logs_its_rows(module):
    given = run(module, inputs=3, optimizer=Adam(lr=1e-2), clip_norm=1.0)
    single, double = train(given), train(given, dtype=torch.float64)
    assert [row.step for row in single.rows] == [0, 2, 4]
    for name, values in single.parameters.items():
        assert values.dtype == torch.float32
        # five steps of at most about lr each; a thousandth of that way for the rounding of data and weights
        torch.testing.assert_close(values.double(), double.parameters[name], rtol=0, atol=5e-5)


def test_a_run_that_becomes_nan_keeps_its_rows():
    poison = np.full((32, 2), np.nan)
    good = np.full((32, 2), 1.5)
    given = run(NMU(), iterations=10, evaluate_every=1, batch=32)
    found = train(given, samples=lambda t: poison if t == 3 else good)
    assert [row.step for row in found.rows] == [0, 1, 2, 3]
    assert found.parameters["weight"].isnan().all()


def test_two_training_intervals_are_refused():
    with pytest.raises(ValueError, match=r"Task.interpolation: .* needs one interval for each input"):
        train(run(NMU(), interpolation="U[-6,-2] or U[2,6]"))
