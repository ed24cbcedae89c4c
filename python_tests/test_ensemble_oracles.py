"""The compiled evaluation against published numbers: errors of hand-set weights, first weights of a run.

Figure 5 of Mistry, Farrahi & Hare 2021 measures modules whose weights are set by hand to the exact solution,
on inputs ever closer to 0. What is left is rounding, so its numbers pin down the order of operations.
"""

import math

import numpy as np
import pytest
import torch
from ensemble_cases import MODIFIED

from mathkernels.ensemble import NAU, NMRU, NMU, NRU, RANGES, RealNPU, Run, Task, evaluate, fit

TASKS = {"easy": ("reciprocal", 1), "medium": ("reciprocal", 2), "hard": ("div", 2)}
POWERS = range(8, -1, -1)  # ranges U[0, 10^-k]

# test MSE of hand-set weights, as published, over the ranges in the order of POWERS
PUBLISHED = {
    ("easy", "npu"): (1.800e20, 1.798e18, 1.784e16, 1.684e14, 1.153e12, 2.046e9, 4.910e5, 55.25, 5.590e-3),
    ("easy", "npu exact"): (3.743e7, 4.500e5, 7061, 60.93, 0.3017, 8.122e-4, 1.433e-5, 8.941e-8, 9.267e-10),
    ("easy", "nru"): (1.024e5, 3295, 60.50, 0.1727, 8.673e-4, 4.244e-5, 2.445e-7, 1.438e-9, 4.572e-11),
    ("easy", "nmru"): (1.012e5, 3296, 60.57, 0.1845, 3.669e-3, 4.185e-5, 2.443e-7, 1.438e-9, 4.532e-11),
    ("medium", "npu"): (1.813e20, 1.812e18, 1.800e16, 1.722e14, 1.310e12, 3.463e9, 1.115e6, 132.2, 1.345e-2),
    ("medium", "npu exact"): (2.575e7, 4.345e5, 8432, 45.59, 0.1836, 4.077e-3, 1.259e-5, 7.459e-8, 1.055e-9),
    ("medium", "nru"): (1.781e5, 3394, 35.97, 0.05686, 8.079e-4, 9.149e-6, 5.677e-8, 7.089e-9, 3.364e-11),
    ("medium", "nmru"): (1.781e5, 3395, 36.03, 0.06806, 2.808e-3, 9.149e-6, 5.677e-8, 7.089e-9, 3.365e-11),
    ("hard", "npu"): (3969, 3965, 3931, 3703, 2531, 401.3, 8.685, 0.09694, 9.814e-4),
    ("hard", "npu exact"): (
        *(1.692e-9, 1.563e-9, 1.120e-9, 1.105e-9, 1.649e-9, 5.893e-10, 3.267e-10, 2.745e-10, 3.636e-10),
    ),
    ("hard", "nru"): (
        *(9.439e-12, 1.163e-11, 3.233e-11, 1.449e-11, 9.470e-12, 3.243e-11, 2.084e-11, 2.070e-11, 2.156e-11),
    ),
    ("hard", "nmru"): (3979, 1836, 26.02, 2.243, 0.03273, 8.956e-5, 4.399e-7, 1.815e-8, 1.849e-11),
}
# published success thresholds of the NMRU, U[0, 10^-k] for k = 4 … 0: MSE of hand-set weights, plus 2^-23
THRESHOLDS = {
    "easy": (3.669190e-3, 4.197092e-5, 3.635247e-7, 1.206476e-7, 1.192546e-7),
    "medium": (2.808002e-3, 9.268088e-6, 1.759752e-7, 1.262986e-7, 1.192429e-7),
    "hard": (3.272902e-2, 8.967732e-5, 5.591544e-7, 1.373560e-7, 1.192278e-7),
}

GOLD = {
    ("easy", "npu"): {"weight": [-1], "gate": [1]},
    ("medium", "npu"): {"weight": [-1, 1], "gate": [1, 0]},
    ("hard", "npu"): {"weight": [1, -1], "gate": [1, 1]},
    ("easy", "nru"): {"weight": [-1]},
    ("medium", "nru"): {"weight": [-1, 0]},
    ("hard", "nru"): {"weight": [1, -1]},
    ("easy", "nmru"): {"weight": [0, 1]},
    ("medium", "nmru"): {"weight": [0, 0, 1, 0]},
    ("hard", "nmru"): {"weight": [1, 0, 0, 1]},
}
GOLD |= {(name, "npu exact"): GOLD[name, "npu"] for name in TASKS}
MODULES = {"npu": RealNPU(), "npu exact": RealNPU(epsilon=0.0), "nru": NRU(), "nmru": NMRU()}

# Error of a power in csrc/common/math.h in ULP, at most 2^-23 each.
POWER_ERROR = 1.6
ULP = 2.0**-23


def near_zero(name: str, power: int) -> Task:
    operation, inputs = TASKS[name]
    span = f"U[0,1e-{power}]"
    return Task(operation=operation, inputs=inputs, interpolation=span, extrapolation=span)


def errors(name: str, module: str, **how) -> np.ndarray:
    """Return the test MSE of hand-set weights over the ranges in the order of POWERS."""
    runs = [Run(module=MODULES[module], task=near_zero(name, power), seed=0) for power in POWERS]
    gold = {key: np.array(values) for key, values in GOLD[name, module].items()}
    return evaluate(runs, [gold] * len(runs), **how).test


def digits(values) -> list[str]:
    return [f"{value:.3e}" for value in values]


@pytest.mark.parametrize("name", TASKS)
def test_nmru_has_the_published_digits(isa, name):
    """Products, sums and one division round alike everywhere, so all four published digits come out."""
    assert digits(errors(name, "nmru")) == digits(PUBLISHED[name, "nmru"])


@pytest.mark.parametrize("name", TASKS)
def test_nmru_has_the_published_thresholds(isa, name):
    """Seven digits are printed (5e-7); theirs are a float32 sum of 10,000 squares (14 roundings of 6e-8)."""
    found = errors(name, "nmru")[4:] + ULP
    np.testing.assert_allclose(found, THRESHOLDS[name], rtol=1.4e-6)


@pytest.mark.parametrize("name", TASKS)
def test_real_npu_has_the_published_digits(isa, name):
    """Its error is that of adding eps to |x|; half a fourth digit is at most 5e-4, exp and log add 1e-4."""
    np.testing.assert_allclose(errors(name, "npu"), PUBLISHED[name, "npu"], rtol=6e-4)


@pytest.mark.parametrize("name", TASKS)
def test_real_npu_in_float64_has_the_published_digits(name):
    """Rounding within the module adds next to nothing to the error of adding eps."""
    np.testing.assert_allclose(errors(name, "npu", dtype="float64"), PUBLISHED[name, "npu"], rtol=6e-4)


@pytest.mark.parametrize("name", TASKS)
def test_real_npu_without_epsilon_has_the_published_order_of_magnitude(isa, name):
    """Nothing but the rounding of exp and log is left, and theirs were another library's: 2 times at most."""
    ratio = errors(name, "npu exact") / PUBLISHED[name, "npu exact"]
    assert (ratio > 0.5).all(), ratio
    assert (ratio < 2).all(), ratio


@pytest.mark.parametrize("name", TASKS)
def test_nru_has_the_published_error_up_to_the_rounding_of_its_powers(isa, name):
    """Theirs were powers rounded correctly. Ours differ by at most 1.6 + 0.5 ULP each, and the product of two
    by one more. By the triangle inequality the roots of the MSE differ by no more than that part of the
    targets' root mean square. (As (power T + 1) - T a factor is 10^6 times off on the hard task.)
    """
    units = {"easy": 2.1, "medium": 2.1, "hard": 2 * 2.1 + 1}[name]
    assert units >= POWER_ERROR + 0.5
    for power, ours, theirs in zip(POWERS, errors(name, "nru"), PUBLISHED[name, "nru"], strict=True):
        tolerance = units * ULP * math.sqrt(mean_squared_target(near_zero(name, power)))
        assert abs(math.sqrt(ours) - math.sqrt(theirs)) <= tolerance, (power, ours, theirs)


def mean_squared_target(task: Task) -> float:
    _, target = task.evaluation_set("test", 0)
    return float(np.mean(target.astype(np.float64) ** 2))


# largest test MSE of hand-set weights on the nine test sets of the division papers, in float32
GOLD_BOUNDS = {"nru": 1.2e-14, "npu": 3.6e-13, "nmru": 1.1e-12}


@pytest.mark.parametrize("module", GOLD_BOUNDS)
def test_hand_set_weights_solve_all_nine_ranges(isa, module):
    """The bounds have two digits and hold for powers rounded correctly. The NRU's two powers add their own
    mean square: a third of the squared bound if errors are spread evenly.
    """
    tasks = [Task(interpolation=inside, extrapolation=outside) for inside, outside in RANGES.values()]
    gold = {key: np.array(values) for key, values in GOLD["hard", module].items()}
    found = evaluate([Run(module=MODULES[module], task=task, seed=0) for task in tasks], [gold] * len(tasks))
    powers = 2 * (POWER_ERROR * ULP) ** 2 / 3 if module == "nru" else 0.0
    for task, error in zip(tasks, found.test, strict=True):
        assert error <= GOLD_BOUNDS[module] * 1.05 + powers * mean_squared_target(task), task
    assert found.solved.all()
    assert (found.sparsity == 0).all()


def second_draw(shape: tuple[int, int], low: float, high: float, seed: int) -> np.ndarray:
    """What the original scripts start from: the constructor initialises, and the script once more."""
    torch.manual_seed(seed)
    weight = torch.empty(shape)
    for _ in range(2):
        torch.nn.init.uniform_(weight, low, high)
    return weight.numpy().ravel()


def xavier(inputs: int) -> float:
    return math.sqrt(3) * math.sqrt(2 / (inputs + 1))


@pytest.mark.parametrize("inputs", [2, 3, 10, 23, 50])
@pytest.mark.parametrize("seed", [0, 1, 24, 2**32 - 1])
def test_initial_weights_are_the_second_draw_of_torch(inputs, seed):
    """The published shapes: [I,1] of the Real NPU, [1,I], and [1,2I] of the NMRU."""
    near, wide = min(0.5, xavier(inputs)), xavier(inputs)
    expected = {
        NAU(): second_draw((1, inputs), -near, near, seed),
        NMU(): second_draw((1, inputs), 0.25, 0.75, seed),
        NRU(): second_draw((1, inputs), -near, near, seed),
        NMRU(): second_draw((1, 2 * inputs), 0.25, 0.75, seed),
        RealNPU(): second_draw((inputs, 1), -wide, wide, seed),
        MODIFIED: second_draw((inputs, 1), -near, near, seed),
    }
    task = Task(interpolation="U[1,2]", extrapolation="U[2,6]", inputs=inputs)
    results = fit([Run(module=module, task=task, seed=seed, iterations=0) for module in expected])
    for i, weight in enumerate(expected.values()):
        found = results.best_weights(i)  # of the row that is logged before the first update
        np.testing.assert_array_equal(found["weight"], weight)
        np.testing.assert_array_equal(found.get("gate", 0.5), 0.5)


def test_the_draws_are_those_of_torch_itself():
    """The first of them for seed 0, so that a change of torch's generator is seen as such."""
    torch.manual_seed(0)
    assert torch.rand(4).tolist() == pytest.approx([0.4962566, 0.7682218, 0.0884774, 0.1320305], abs=1e-7)
