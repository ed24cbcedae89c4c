"""Every wrong argument of the ensemble is one error: its name, what was given, and what would be right."""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
from ensemble_cases import MODIFIED, run, task

from mathkernels.data.arithmetic import Task
from mathkernels.ensemble import (
    GNALU,
    INALU,
    MODULES,
    NALU,
    NAU,
    NMRU,
    NMU,
    NPU,
    NRU,
    RANGES,
    SGD,
    Adam,
    Linear,
    NACMul,
    Norm,
    Ramp,
    RealNPU,
    Restarts,
    Run,
    Stack,
    evaluate,
    fit,
)

NAN, INF = math.nan, math.inf
FINITE, WHOLE = "a finite number of at least 0", "an integer of at least"

# class, field -> (bad values, what would be right); every class is otherwise given what REQUIRED holds
FIELDS = {
    (Ramp, "start"): ((-1, 1.5, True, NAN, None, "5"), f"{WHOLE} 0"),
    (Ramp, "end"): ((-1, 20.0, True, INF), f"{WHOLE} 0"),
    (Norm, "start"): ((-1e-9, NAN, INF, True, None, "0"), FINITE),
    (Norm, "end"): ((-1.0, NAN, INF, False), "a finite number of at least start=1e-09"),
    (Norm, "every"): ((0, -1, 1.0, True), f"{WHOLE} 1"),
    (Norm, "growth"): ((0, 0.5, -10, NAN, INF), "a finite number of at least 1"),
    (Norm, "order"): ((3, 7), "1 or 2"),
    (NAU, "penalty"): ((-1, NAN, INF, True, "10", None), FINITE),
    (NMU, "penalty"): ((-1, NAN, INF, True, "10", None), FINITE),
    (NRU, "penalty"): ((-1, NAN, INF, True, "10", None), FINITE),
    (NMRU, "penalty"): ((-1, NAN, INF, True, "10", None), FINITE),
    (NMRU, "epsilon"): ((-1e-9, NAN, INF, True), FINITE),
    (NMRU, "sign_retrieval"): ((0, 1, None, "yes"), "True or False"),
    (RealNPU, "clip"): (("gw", "G", None, 1, ""), "one of 'none', 'g', 'w', 'wg'"),
    (RealNPU, "init"): (("glorot", None), "one of 'xavier', 'xavier-constrained'"),
    (RealNPU, "weight_target"): (("unit", None), "one of 'signed-unit', 'ternary'"),
    (RealNPU, "epsilon"): ((-1e-9, NAN, INF), FINITE),
    (RealNPU, "weight_penalty"): ((-1, NAN, INF, True), FINITE),
    (RealNPU, "gate_penalty"): ((-1, NAN, INF, True), FINITE),
    (RealNPU, "norm"): ((1e-9, "L1", Norm), "a Norm or None"),
    (NMRU, "gated"): ((0, None, "yes"), "True or False"),
    (NMRU, "gate_penalty"): ((-1, NAN, INF, True), FINITE),
    (NRU, "separate_signs"): ((0, None, "yes"), "True or False"),
    (NPU, "clip"): (("iw", "giw", None, ""), "one of 'none', 'g', 'w', 'i', 'wi', 'wg', 'ig', 'wig'"),
    (NPU, "imaginary_penalty"): ((-1, NAN, INF, True), FINITE),
    (NPU, "init"): (("glorot", None), "one of 'xavier', 'xavier-constrained'"),
    (NPU, "epsilon"): ((-1e-9, NAN, INF), FINITE),
    (NPU, "weight_penalty"): ((-1, NAN), FINITE),
    (NPU, "gate_penalty"): ((-1, NAN), FINITE),
    (NPU, "norm"): ((1e-9, "L1", Norm), "a Norm or None"),
    (Linear, "activation"): (("tanh", None), "one of 'none', 'relu', 'relu6'"),
    (NACMul, "weights"): (("tanh", None), "one of 'normal', 'sigma', 'nmu'"),
    (NACMul, "epsilon"): ((-1e-9, NAN), FINITE),
    (NACMul, "penalty"): ((-1, True), FINITE),
    (NALU, "weights"): (("both", None), "one of 'shared', 'separate', 'nau-nmu'"),
    (NALU, "epsilon"): ((-1e-9, NAN), FINITE),
    (NALU, "penalty"): ((-1, True), FINITE),
    (GNALU, "epsilon"): ((-1e-9, NAN), FINITE),
    (INALU, "epsilon"): ((-1e-9, NAN), FINITE),
    (INALU, "penalty"): ((-1, NAN, True), FINITE),
    (INALU, "penalty_after"): ((-1, 1.5, None), f"{WHOLE} 0"),
    (INALU, "penalty_below"): ((0, -1, NAN, INF, True), "a positive finite number or None"),
    (Restarts, "window"): ((0, 1.0, None, True), f"{WHOLE} 1"),
    (Restarts, "every"): ((0, -10, 1.0), f"{WHOLE} 1"),
    (Restarts, "above"): ((-1, NAN, INF, None), FINITE),
    (Stack, "first"): (("NAU", None, NAU), "one of NAU"),
    (Stack, "second"): (("NAU", None, NAU), "one of NAU"),
    (Stack, "hidden"): ((0, 2.0, True), f"{WHOLE} 1"),
    (Task, "spans"): (
        (((0, 3), (0, 1)), "ab", ((0, 1),)),
        "two pairs (first, size) that lie within 2 inputs",
    ),
    (Adam, "lr"): ((-1e-3, NAN, INF, True, "1e-3", None), FINITE),
    (Adam, "eps"): ((-1e-8, NAN, INF), FINITE),
    (Adam, "betas"): (
        (0.9, (0.9,), (0.9, 1.0), (NAN, 0.9), (-0.1, 0.9), [0.9, 0.999], (True, False), None),
        "a tuple of two numbers in [0, 1)",
    ),
    (SGD, "lr"): ((-1e-3, NAN, INF, True), FINITE),
    (SGD, "momentum"): ((-0.1, 1, 1.5, NAN, True, None), "a number in [0, 1)"),
    (Run, "module"): (("NMU", NMU, None, torch.nn.Linear(1, 1)), "one of NAU, NMU, RealNPU, NPU, NRU, NMRU"),
    (Run, "criterion"): (("MSE", "mae", None, 1), "one of 'mse', 'pcc', 'mape'"),
    (Run, "wide_norm"): ((1, None, "yes"), "True or False"),
    (Run, "task"): (("div", None, Task), "a Task"),
    (Run, "optimizer"): (("adam", Adam, 1e-3, None), "Adam(...) or SGD(...)"),
    (Run, "seed"): ((-1, 2**32, 1.0, True, NAN, None, "0"), "an integer in [0, 2**32)"),
    (Run, "iterations"): ((-1, 1e5, True, NAN, INF, None, "9"), f"{WHOLE} 0"),
    (Run, "evaluate_every"): ((0, -5, 1e3, True, None), f"{WHOLE} 1"),
    (Run, "batch"): ((0, 16, -32, 128.0, True, None), f"{WHOLE} 32"),
    (Run, "ramp"): (((0, 10), 10, "linear", Ramp), "a Ramp or None"),
    (Run, "clip_norm"): ((0, -1, NAN, INF, True, "1"), "a positive finite number or None"),
    (Run, "clip_value"): ((0, -1, NAN, INF, True, "1"), "a positive finite number or None"),
    (Run, "restarts"): ((10, "5000", Restarts), "a Restarts or None"),
    (Run, "threshold"): ((-1e-5, NAN, INF, True, None), FINITE),
    (Task, "inputs"): ((0, -1, 2.0, True, NAN, None), f"{WHOLE} 1"),
    (Task, "subset_ratio"): ((0, -0.5, 1.5, NAN, "0.5"), "a number in (0, 1] or None"),
    (Task, "overlap_ratio"): ((-0.1, 1.1, NAN, None), "a number in [0, 1]"),
}
REQUIRED = {
    Ramp: {"start": 0, "end": 10},
    Stack: {"first": NAU(), "second": NMU()},
    Run: {"module": NMU(), "task": task("mul"), "seed": 0},
    Task: {"interpolation": "U[1,2]", "extrapolation": "U[2,6]"},
}
CASES = [(kind, name, bad, right) for (kind, name), (values, right) in FIELDS.items() for bad in values]


@pytest.mark.parametrize(
    ("kind", "name", "bad", "right"), CASES, ids=lambda part: str(getattr(part, "__name__", part))
)
def test_a_wrong_field_is_refused_where_it_is_written(kind, name, bad, right):
    message = f"{kind.__name__}.{name}: got {bad!r}, needs {right}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        kind(**{**REQUIRED.get(kind, {}), name: bad})


def test_every_checked_field_has_a_wrong_value_above():
    """Fields added later must come into the table; those left out have tests of their own below."""

    def names(kind):
        return [field.name for field in dataclasses.fields(kind)]

    kinds = {kind for kind, _ in FIELDS}
    assert {kind for kind in MODULES.values() if names(kind)} < kinds
    missing = {(kind, name) for kind in kinds for name in names(kind)} - set(FIELDS)
    assert missing == {(Task, "operation"), (Task, "interpolation"), (Task, "extrapolation")}


@pytest.mark.parametrize(("start", "end"), [(10, 10), (10, 5), (1, 0)])
def test_a_ramp_rises_over_at_least_one_iteration(start, end):
    with pytest.raises(ValueError, match=rf"Ramp\.end: got {end}, needs an iteration after start={start}"):
        Ramp(start=start, end=end)


def test_a_norm_penalty_does_not_fall():
    with pytest.raises(
        ValueError, match=r"Norm\.end: got 1e-09, needs a finite number of at least start=0\.1"
    ):
        Norm(start=0.1, end=1e-9)


def test_a_gradient_has_one_limit():
    with pytest.raises(ValueError, match=r"Run\.clip_value: got 0\.1, needs None beside clip_norm=1\.0"):
        run(NMU(), clip_norm=1.0, clip_value=0.1)


def test_restarts_that_could_never_happen_are_refused():
    message = r"Run\.restarts\.window: got 5, needs fewer than the 5 rows that the run logs"
    with pytest.raises(ValueError, match=message):
        run(NMU(), iterations=1000, evaluate_every=250, restarts=Restarts(window=5))


@pytest.mark.parametrize("batch", [33, 100, 127])
def test_a_batch_is_a_multiple_of_32(batch):
    with pytest.raises(ValueError, match=rf"Run\.batch: got {batch}, needs a multiple of 32"):
        run(NMU(), batch=batch)


@pytest.mark.parametrize("name", ["divide", "Div", "", None, "multiply"])
def test_an_unknown_operation_lists_the_known_ones(name):
    with pytest.raises(ValueError, match=rf"Task\.operation: got {name!r}, needs one of add, sub, mul, div"):
        task(name)


@pytest.mark.parametrize("which", ["interpolation", "extrapolation"])
@pytest.mark.parametrize("text", ["[1,2]", "U[1,2", "uniform", "U[a,b]"])
def test_a_malformed_range_names_itself_and_the_right_form(which, text):
    with pytest.raises(ValueError, match=rf"range: got {re.escape(repr(text))}, needs the form 'U\[-2,2\]'"):
        task(**{which: text})


@pytest.mark.parametrize("text", ["U[2,1]", "U[1,1]", "U[0,1e999]"])
def test_an_empty_or_infinite_range_names_the_bounds(text):
    with pytest.raises(
        ValueError, match=r"Range\.intervals: got \(.*\), needs finite bounds with low < high"
    ):
        task(interpolation=text)


@pytest.mark.parametrize("kind", [NMU, RealNPU, Adam, Run, Task, Ramp])
def test_an_unknown_option_is_named(kind):
    with pytest.raises(TypeError, match="unexpected keyword argument 'lambda_hat'"):
        kind(**REQUIRED.get(kind, {}), lambda_hat=1.0)


def parameters_of(*runs: Run) -> list[dict[str, np.ndarray]]:
    results = fit([Run(module=each.module, task=each.task, seed=0, iterations=0) for each in runs])
    return [results.weights(i) for i in range(len(runs))]


GOOD = run(NMU(), task=task("mul"), iterations=3)


@pytest.fixture(params=["fit", "evaluate"])
def call(request):
    """Both entry points, which share their checks."""
    if request.param == "fit":
        return fit
    return lambda runs, **how: evaluate(runs, [{"weight": np.ones(2)}], **how)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "runs: got none, needs at least one Run"),
        ((), "runs: got none, needs at least one Run"),
        (GOOD, "runs: got Run, needs a sequence of Run"),
        (None, "runs: got NoneType, needs a sequence of Run"),
        ((each for each in [GOOD]), "runs: got generator, needs a sequence of Run"),
        ({"a": GOOD}, "runs: got dict, needs a sequence of Run"),
        ("NMU", "runs: got str, needs a sequence of Run"),
        ([GOOD, "NMU"], "runs[1]: got 'NMU', needs a Run"),
        ([GOOD, NMU()], "runs[1]: got NMU(penalty=10.0), needs a Run"),
        ([[GOOD]], "runs[0]: got [Run("),
    ],
)
def test_wrong_runs_are_named(call, runs, message):
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape(message)}"):
        call(runs)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2", NAN])
def test_wrong_threads_are_named(call, threads):
    with pytest.raises(
        ValueError, match=re.escape(f"threads: got {threads!r}, needs a positive integer or None")
    ):
        call([GOOD], threads=threads)


@pytest.mark.parametrize("dtype", ["float16", "double", torch.float32, np.float32, None, ["float32"]])
def test_wrong_dtypes_are_named(call, dtype):
    with pytest.raises(
        ValueError, match=re.escape(f"dtype: got {dtype!r}, needs one of 'float32', 'float64'")
    ):
        call([GOOD], dtype=dtype)


@pytest.mark.parametrize("generator", ["mt19937", "Hash", None, torch.Generator, []])
def test_wrong_generators_are_named(generator):
    with pytest.raises(
        ValueError, match=re.escape(f"generator: got {generator!r}, needs one of 'hash', 'philox'")
    ):
        fit([GOOD], generator=generator)


@pytest.mark.parametrize("path", [3, b"fit.ckpt", True])
def test_a_checkpoint_that_is_no_path_is_named(path):
    with pytest.raises(TypeError, match=re.escape(f"checkpoint: got {path!r}, needs a path or None")):
        fit([GOOD], checkpoint=path)


def test_more_inputs_than_the_kernels_hold_are_refused_by_number(call):
    wide = run(NMU(), task=task("mul", inputs=513))
    with pytest.raises(ValueError, match=r"runs\[1\]\.task\.inputs: got 513, needs at most 512"):
        call([GOOD, wide])


@pytest.mark.parametrize("kind", [NAU(), NMU(), MODIFIED, NRU(), NMRU(), NMRU(sign_retrieval=False)])
def test_as_many_inputs_as_the_kernels_hold_train(kind):
    wide = run(kind, Adam(lr=1e-4), task=task(inputs=128), iterations=2)
    results = fit([wide])
    assert results.finished.all()
    assert not results.diverged.any()
    assert not np.array_equal(results.weights(0)["weight"], parameters_of(wide)[0]["weight"])


def test_training_on_two_intervals_is_refused_by_name():
    two = run(NMU(), task=task("mul", interpolation=RANGES["U[-2,2]"][1]))
    with pytest.raises(
        ValueError, match=r"Task\.interpolation: got .*or U\[2,6\]', needs one interval to train on"
    ):
        fit([GOOD, two])


WRONG_PARAMETERS = {
    "too few": ([], "parameters: got 0, needs one for each of 1 runs"),
    "too many": ([{"weight": np.ones(2)}] * 2, "parameters: got 2, needs one for each of 1 runs"),
    "an array": (
        [np.ones(2)],
        "parameters[0]: got array([1., 1.]), needs a dict of {'weight': (2,), 'gate': (2,)}",
    ),
    "no gate": (
        [{"weight": np.ones(2)}],
        "parameters[0]: got shapes {'weight': (2,)}, needs {'weight': (2,), 'gate': (2,)}",
    ),
    "another name": (
        [{"weight": np.ones(2), "gates": np.ones(2)}],
        "parameters[0]: got shapes {'weight': (2,), 'gates': (2,)}, needs {'weight': (2,), 'gate': (2,)}",
    ),
    "too long": (
        [{"weight": np.ones(3), "gate": np.ones(2)}],
        "parameters[0]: got shapes {'weight': (3,), 'gate': (2,)}, needs {'weight': (2,), 'gate': (2,)}",
    ),
    "with an output axis": (
        [{"weight": np.ones((1, 2)), "gate": np.ones(2)}],
        "parameters[0]: got shapes {'weight': (1, 2), 'gate': (2,)}, needs {'weight': (2,), 'gate': (2,)}",
    ),
}


@pytest.mark.parametrize("how", WRONG_PARAMETERS)
def test_wrong_parameters_are_named_with_the_right_shapes(how):
    parameters, message = WRONG_PARAMETERS[how]
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        evaluate([run(MODIFIED)], parameters)


def test_the_parameters_of_the_wrong_run_are_named_by_its_index():
    with pytest.raises(
        ValueError, match=r"parameters\[1\]: got shapes .*\(2,\).*, needs \{'weight': \(4,\)\}"
    ):
        evaluate([run(NMU()), run(NMRU())], [{"weight": np.ones(2)}] * 2)
