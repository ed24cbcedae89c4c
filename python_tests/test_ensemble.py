"""The compiled trainer against the plain-torch loop, and what it promises about bits."""

import dataclasses

import numpy as np
import pytest
import torch
from ensemble_cases import AROUND_ZERO, MODIFIED, NEGATIVE, RUNS, run, task

from mathkernels import backends, reference
from mathkernels.ensemble import (
    NAU,
    NMRU,
    NMU,
    NRU,
    RANGES,
    SGD,
    Adam,
    Norm,
    RealNPU,
    Results,
    Run,
    Task,
    fit,
    program,
)
from mathkernels.ensemble.program import ROW_COLUMNS
from mathkernels.reference.ensemble import train

FUSED = [name for name in backends.available() if name != "generic"]


@pytest.fixture(autouse=True)
def _one_torch_thread():
    """The plain loop's tensors are tiny, so threads make it slower. ``fit`` is told where more are meant."""
    torch.set_num_threads(1)


def state(results: Results, i: int) -> list[np.ndarray]:
    return [*results.weights(i).values(), *results.best_weights(i).values(), *results.curves(i).values()]


def assert_same_bits(one: Results, other: Results, pairs: list[tuple[int, int]]) -> None:
    for i, j in pairs:
        for a, b in zip(state(one, i), state(other, j), strict=True):
            np.testing.assert_array_equal(a, b)


def shortened(description: Run, factor: float = 0.3) -> Run:
    """The same schedules and rows in fewer iterations, where there are a thousand: the plain loop is slow."""
    if description.iterations < 1000:
        return description

    def fewer(count: int) -> int:
        return round(factor * count)

    module, ramp = description.module, description.ramp
    if (norm := getattr(module, "norm", None)) and norm.every:
        module = dataclasses.replace(module, norm=dataclasses.replace(norm, every=fewer(norm.every)))
    return dataclasses.replace(
        description,
        module=module,
        ramp=ramp and dataclasses.replace(ramp, start=fewer(ramp.start), end=fewer(ramp.end)),
        iterations=fewer(description.iterations),
        evaluate_every=fewer(description.evaluate_every),
    )


@pytest.mark.parametrize("name", RUNS)
def test_a_run_equals_the_plain_loop(name):
    """In float64 only the order of sums differs: 1e-15 a step, over some hundred steps 1e-9 at most."""
    description = shortened(RUNS[name])
    ours = fit([description], dtype="float64")
    theirs = train(description, dtype=torch.float64)
    for tensor, values in theirs.parameters.items():
        np.testing.assert_allclose(ours.weights(0)[tensor], values.numpy(), rtol=1e-8, atol=1e-9)
    rows = np.array([row[1:] for row in theirs.rows])
    np.testing.assert_array_equal(ours.steps(0), [row.step for row in theirs.rows])
    for column, key in enumerate(ROW_COLUMNS):
        np.testing.assert_allclose(ours.curves(0)[key], rows[:, column], rtol=1e-6, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("generator", ["hash", "philox"])
def test_float32_follows_the_plain_loop_on_every_instruction_set(isa, generator):
    """Over 100 steps of size lr both float32 trajectories stay within 1 % of the way that weights can go."""
    for description in (
        run(NMU(), task=task("mul")),
        run(MODIFIED, task=task(inputs=10)),
        run(NMRU(), clip_norm=1.0),
    ):
        short = dataclasses.replace(description, iterations=99)
        ours = fit([short], generator=generator)
        theirs = train(short, generator=generator)
        for tensor, values in theirs.parameters.items():
            np.testing.assert_allclose(ours.weights(0)[tensor], values.numpy(), atol=0.01 * 100 * 5e-3)


@pytest.mark.parametrize(
    "name", ["nmu-mul", "nmu-mul-10", "npu-modified", "nru", "nmru", "nau-add", "complex-around-zero-10"]
)
def test_float32_takes_the_steps_of_float64_on_every_instruction_set(isa, name):
    """Steps as large as their gradients, while roundings have had no time to grow: 2^-24 of each of six or so
    numbers that make a gradient, in each of ten steps, is 4e-6 of the way at most."""
    short = dataclasses.replace(
        RUNS[name], optimizer=SGD(lr=1e-2), iterations=9, evaluate_every=3, clip_norm=None
    )
    ours, exact = (fit([short], dtype=dtype) for dtype in ("float32", "float64"))
    start = fit([dataclasses.replace(short, iterations=0, optimizer=SGD(lr=0.0))], dtype="float64")
    for tensor, values in exact.weights(0).items():
        way = np.abs(values - start.weights(0)[tensor])
        assert way.max() > 1e-4, tensor
        np.testing.assert_allclose(ours.weights(0)[tensor], values, rtol=2**-22, atol=4e-6 * way.max())


def ensemble(iterations=300) -> list[Run]:
    """Runs of all modules, many ranges and seeds, so that all kinds of programs, tiles and draws occur."""
    modules = [
        (NMU(), "mul", 2),
        (MODIFIED, "div", 2),
        (MODIFIED, "div", 10),
        (NRU(), "div", 2),
        (NMRU(), "div", 3),
    ]
    modules += [(NAU(), "add", 2), (NMRU(sign_retrieval=False), "div", 2)]
    return [
        Run(
            module=module,
            task=Task(operation=operation, inputs=inputs, interpolation=inside, extrapolation=outside),
            seed=seed,
            optimizer=Adam(lr=5e-3),
            iterations=iterations,
            evaluate_every=100,
        )
        for module, operation, inputs in modules
        for inside, outside in list(RANGES.values())[1:6]
        for seed in range(4)
    ]


@pytest.fixture(scope="module")
def together() -> Results:
    return fit(ensemble(), threads=1)


def test_a_run_alone_equals_itself_in_the_ensemble(together):
    for i in range(0, len(together.runs), 7):
        assert_same_bits(fit([together.runs[i]]), together, [(0, i)])


def test_results_do_not_depend_on_the_order_of_runs(together):
    order = np.random.default_rng(0).permutation(len(together.runs))
    shuffled = fit([together.runs[i] for i in order], threads=2)
    assert_same_bits(shuffled, together, [(k, int(i)) for k, i in enumerate(order)])


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_results_do_not_depend_on_the_number_of_threads(together, threads):
    assert_same_bits(fit(ensemble(), threads=threads), together, [(i, i) for i in range(len(together.runs))])


def test_results_do_not_depend_on_how_calls_are_cut(together, monkeypatch):
    monkeypatch.setattr("mathkernels.ensemble.training.CALL_SECONDS", 1e-3)
    assert_same_bits(fit(ensemble()), together, [(i, i) for i in range(len(together.runs))])


@pytest.mark.skipif(len(FUSED) < 2, reason=f"needs two instruction sets with FMA, this machine has {FUSED}")
def test_instruction_sets_with_fma_agree_bit_for_bit(together):
    for name in FUSED:
        backends.force(name)
        assert_same_bits(fit(ensemble()), together, [(i, i) for i in range(len(together.runs))])


def test_a_model_leaves_a_saddle_as_the_plain_loop_does(isa, monkeypatch):
    """By moments as small as its parameters: where the first weight and gate are 0 both have no gradient."""
    weight, gate = [1e-33, -1.9], [-1e-33, 0.0657]
    start = {"weight": torch.tensor([[weight]]), "gate": torch.tensor([gate])}
    monkeypatch.setattr(program, "starting_points", lambda *_: np.array([weight + gate], np.float32))
    monkeypatch.setattr(reference.ensemble, "starts", lambda _: iter([start]))
    description = run(RealNPU(norm=Norm(start=1e-5, end=1e-5, order=2)), ramp=None, evaluate_every=1000)
    ours, theirs = fit([description]), train(description).parameters
    assert theirs["weight"][0] > 1
    for tensor, values in theirs.items():
        np.testing.assert_allclose(ours.weights(0)[tensor], values.numpy(), rtol=1e-5)


@pytest.mark.parametrize("order", [1, 2])
def test_norms_in_float32_follow_the_plain_loop_on_every_instruction_set(isa, order):
    """Weights and gates, with 2 and with 10 inputs, whose loops are unrolled in float32."""
    norm = Norm(start=1e-2, end=1e-2, order=order)
    for inputs in (2, 10):
        description = run(RealNPU(norm=norm), task=task(inputs=inputs), iterations=99, evaluate_every=50)
        ours, theirs = fit([description]), train(description)
        for tensor, values in theirs.parameters.items():
            np.testing.assert_allclose(ours.weights(0)[tensor], values.numpy(), atol=2e-5)
        np.testing.assert_allclose(ours.curves(0)["penalty"], [row.penalty for row in theirs.rows], rtol=1e-5)


def test_the_general_loop_equals_the_unrolled_one():
    """Two overlapping subsets of both inputs take the loop for any number of inputs, not the unrolled."""
    for how in ({}, {"subset_ratio": 1.0, "overlap_ratio": 1.0}):
        description = run(NMU(), task=task("mul", **how), iterations=100)
        expected = train(description, dtype=torch.float64).parameters["weight"].numpy()
        np.testing.assert_allclose(fit([description]).weights(0)["weight"], expected, atol=1e-4)


def test_constant_and_mixed_signs_agree():
    """The one-sided loop is an optimisation: signs may be declared unknown without a change of meaning."""
    for module in (MODIFIED, NMRU()):
        one_sided = run(module, task=task(**NEGATIVE), iterations=100)
        # the test set on both sides of zero forbids the optimisation, the training data are the same
        mixed = run(
            module, task=task(interpolation="U[-2,-1]", extrapolation="U[-6,-2] or U[2,6]"), iterations=100
        )
        for a, b in zip(
            fit([one_sided], dtype="float64").weights(0).values(),
            fit([mixed], dtype="float64").weights(0).values(),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, rtol=1e-10)


def test_a_diverging_neighbour_touches_nobody():
    healthy = [run(RealNPU(norm=None), seed=seed, iterations=200) for seed in range(3)]
    wild = dataclasses.replace(
        healthy[1], task=task(interpolation="U[1e18,1e19]", extrapolation="U[1e19,1e20]")
    )
    mixed = fit([healthy[0], wild, healthy[2]])
    assert not mixed.solved[1]
    assert_same_bits(mixed, fit(healthy), [(0, 0), (2, 2)])


def test_nan_parameters_are_reported_and_never_solved():
    results = fit([run(NMU(), Adam(lr=1e38), task=task("mul", **AROUND_ZERO), ramp=None, iterations=10)])
    broken = fit([run(RealNPU(norm=None), Adam(lr=1e38), iterations=10)])
    assert np.isfinite(results.weights(0)["weight"]).all()  # clamped to [0, 1]
    assert broken.diverged[0]
    assert not broken.solved[0]


def test_the_best_row_is_the_first_lowest_validation(together):
    for i in range(len(together.runs)):
        valid = together.curves(i)["valid"]
        if np.isnan(valid).all():
            assert together.best_row[i] == -1
            continue
        assert together.best_row[i] == np.nanargmin(valid)
        assert together.test[i] == together.curves(i)["test"][together.best_row[i]]


def test_sparsity_error_is_measured_on_the_weights(together):
    results = fit([run(MODIFIED, iterations=0), run(NMRU(), iterations=0)])
    for i in range(2):
        weight = results.best_weights(i)["weight"].astype(np.float64)
        expected = np.minimum(abs(weight), abs(1 - abs(weight))).max()
        # 1 - |w| of the same float32 weights, in float64 on both sides
        assert results.sparsity[i] == pytest.approx(expected, rel=1e-12)
