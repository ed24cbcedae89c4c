"""The arithmetic task of two layers: its studies, its trainer, its initial weights."""

import dataclasses
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mathkernels.data.thresholds import Setup, two_layer_threshold
from mathkernels.ensemble import NAU, NMRU, NMU, RealNPU, Run, Stack, Task, evaluate, fit
from mathkernels.ensemble.tensors import initial_parameters, join, layers, split
from mathkernels.studies.arithmetic import campaign
from mathkernels.studies.product.experiments import (
    GATES,
    GRID,
    MODELS,
    PUBLISHED,
    PUBLISHED_GATES,
    chosen,
    differences,
    grid,
    published,
    published_setting,
    simple_product,
)
from mathkernels.studies.product.original import translate
from mathkernels.studies.product.table import table

SCRIPT = Path(__file__).parents[1] / "examples" / "train_two_layers.py"


def test_the_simple_product_has_the_papers_size():
    study = simple_product(samples=100)
    assert (study.runs, study.total_iterations) == (500, 100_000_000)
    run = study.members()[0].run
    assert run.task.subsets(0) == [(0, 1, 2, 3), (0, 1)]
    assert (
        run.threshold == two_layer_threshold(Setup(operation="mul", simple=True, inputs=4), samples=100).value
    )


@pytest.mark.parametrize("operation", GRID)
def test_the_main_grid_has_eleven_models_of_every_operation(operation):
    study = grid(operation, samples=100)
    assert study.runs == 11 * 100
    task = study.members()[0].run.task
    first, *second = task.subsets(3)
    assert len(first) == 25
    assert not second or len(set(first) & set(second[0])) == 12
    assert study.iterations == 5_000_000


def test_the_published_results_belong_to_models_that_exist():
    assert {model for _, model in PUBLISHED} <= set(MODELS)
    assert published("div", "NMU").success == 0
    assert published("simple", "NAC-NMU") is None
    assert len(GATES) == 3


@pytest.mark.parametrize("operation", GRID)
def test_the_main_grid_is_published_whole_and_the_gates_for_two_operations(operation):
    assert {model for experiment, model in PUBLISHED if experiment == operation} == set(MODELS)
    published_gates = {model for experiment, model in PUBLISHED_GATES if experiment == operation}
    assert published_gates == (set(GATES) if operation in ("add", "mul") else set())


def test_a_published_result_is_found_whatever_the_spelling_of_the_label():
    for label in ("NMU", "nmu", "ReRegualizedLinearNAC (mnac)", "reregualizedlinearnac(MNAC)"):
        assert published("mul", label).success == 98
    assert published("simple", "NAC (normal)").success == published("simple", "nac.").success == 13
    assert published("mul", "NALU (separate)").success == 22


@pytest.mark.parametrize(
    ("experiment", "label"),
    [
        ("mul", "NMRU"),
        ("mul", ""),
        ("simple", "NAC"),
        ("simple", "NMU2"),
        ("simple", "Linear"),
        ("sub", "NALU (shared)"),
        ("power", "NMU"),
    ],
)
def test_what_nobody_published_is_no_result(experiment, label):
    assert published(experiment, label) is None


@pytest.mark.parametrize("gates", [False, True])
def test_the_studies_of_the_paper_are_the_published_settings(gates):
    for operation in GRID:
        for member in grid(operation, gates=gates, samples=2).members()[::100]:
            experiment, variant = published_setting(member.run)
            assert (experiment, variant.label) == (operation, member.variant)
            assert not differences(member.run)


def row_of(line, iterations=40):
    """The first row of the table of a line of the published script, and what stands below it."""
    study = dataclasses.replace(translate(line, samples=10).study, iterations=iterations)
    members = study.members()
    runs = [member.run for member in members]
    lines = table(members, campaign.train(runs, threads=1).of(runs)).splitlines()
    return lines[2].split("|")[-4].strip(), "\n".join(lines[3:])


NMU_LINE = "--layer-type ReRegualizedLinearNAC --nac-mul mnac"


@pytest.mark.parametrize(
    ("line", "success"),
    [
        (f"--operation mul {NMU_LINE}", "98 %"),
        (f"--operation mul {NMU_LINE} --simple", "94 %"),
        ("--operation mul --layer-type NAC --nac-mul normal --simple", "13 %"),
        ("--operation add --layer-type NAC --nac-mul normal --simple", "not published"),
        (f"--operation mul {NMU_LINE} --input-size 10", "not published"),
        (f"--operation mul {NMU_LINE} --hidden-size 3", "not published"),
        (f"--operation mul {NMU_LINE} --interpolation-range [1,3]", "not published"),
        ("--operation mul --layer-type NALU --first-layer NAC", "24 %"),
        ("--operation sub --layer-type NALU --first-layer NAC", "not published"),
        ("--operation div --layer-type linear", "0 %"),
    ],
)
def test_a_line_of_the_published_script_stands_beside_what_was_published_of_it(line, success):
    assert row_of(line)[0] == success


def test_what_is_trained_otherwise_than_published_is_said_below_the_table():
    _, notes = row_of(f"--operation mul {NMU_LINE} --learning-rate 1 --regualizer 3")
    assert "ReRegualizedLinearNAC (mnac) is trained otherwise than the published runs" in notes
    for what in (
        "iterations 40 (published: 5,000,000)",
        "penalties 3 and 3 (published: 10 and 10)",
        "lr=1.0",
    ):
        assert what in notes
    assert "ramp" not in notes


def test_exact_weights_solve_what_they_stand_for():
    study = chosen(simple_product(samples=1000), ["NMU"])
    run = study.members()[0].run
    exact = {"first.weight": np.array([[1, 1, 1, 1], [1, 1, 0, 0.0]]), "second.weight": np.ones((1, 2))}
    results = evaluate([run], [exact])
    assert results.solved.all()
    off = {**exact, "first.weight": exact["first.weight"] * (1 - 3e-5)}
    assert not evaluate([run], [off]).solved.any()


@pytest.mark.parametrize("variant", MODELS.values(), ids=MODELS)
def test_split_and_join_are_inverses(variant):
    found = layers(variant.module, 7)
    values = initial_parameters(variant.module, 7, seed=1)
    parts = split(found, values)
    assert {part.shape[0] for name, part in parts.items() if name.startswith("first.")} == {2}
    np.testing.assert_array_equal(join(found, parts), values)


def test_every_layer_is_drawn_twice_in_the_order_of_the_layers():
    """As two layers of a script whose constructors and then whose reset draw from the seeded generator."""
    parts = split(
        layers(Stack(first=NAU(), second=NMU()), 3),
        initial_parameters(Stack(first=NAU(), second=NMU()), 3, 5),
    )
    torch.manual_seed(5)
    bound = min(0.5, math.sqrt(6 / (3 + 2)))
    for _ in range(2):
        first, second = torch.empty(2, 3).uniform_(-bound, bound), torch.empty(1, 2).uniform_(0.25, 0.75)
    np.testing.assert_array_equal(parts["first.weight"], first.numpy())
    np.testing.assert_array_equal(parts["second.weight"], second.numpy())


def test_a_stack_alone_equals_itself_in_an_ensemble():
    task = Task(
        interpolation="U[1,2]",
        extrapolation="U[2,6]",
        operation="mul",
        inputs=9,
        subset_ratio=0.25,
        overlap_ratio=0.5,
    )
    module = Stack(first=NAU(), second=NMU(), hidden=3)
    runs = [Run(module=module, task=task, seed=s, iterations=60, evaluate_every=20) for s in range(19)]
    together, threads = fit(runs, threads=1), fit(runs, threads=2)
    for i in (0, 7, 18):
        alone = fit([runs[i]], threads=1)
        for name, values in alone.weights(0).items():
            np.testing.assert_array_equal(values, together.weights(i)[name])
            np.testing.assert_array_equal(values, threads.weights(i)[name])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"first": "NAU"}, "Stack.first: got 'NAU', needs one of NAU, NMU"),
        ({"second": RealNPU()}, "Stack.second.norm: got"),
        ({"first": RealNPU(norm=None)}, "Stack.first: got"),
        ({"first": NMRU(gated=True)}, "Stack.first: got"),
        ({"hidden": 0}, "Stack.hidden: got 0, needs an integer of at least 1"),
        ({"hidden": 17}, "Stack.hidden: got 17, needs at most 16"),
    ],
)
def test_a_stack_that_cannot_be_is_refused_by_name(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Stack(**{"first": NAU(), "second": NMU(), **fields})


def test_the_trainer_writes_the_table_beside_the_published_results(tmp_path):
    command = [
        sys.executable,
        str(SCRIPT),
        "--smoke",
        "--models",
        "NMU",
        "NAC.",
        "--out",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "run" / "table.md").read_text()
    assert "| NMU | 0/2 |" in table
    assert "94 %" in table
    assert "first.weight.0" in (tmp_path / "run" / "runs.csv").read_text()
    again = subprocess.run([*command[:-2], "--models", "NPU"], capture_output=True, text=True)
    assert again.returncode == 2
    assert "models: got 'NPU', needs some of NAC." in again.stderr


def test_names_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="operation: got 'power', needs one of add"):
        grid("power")
    with pytest.raises(ValueError, match="models: got 'NMRU'"):
        chosen(dataclasses.replace(simple_product(samples=10)), ["NMRU"])
