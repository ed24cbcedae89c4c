"""The catalogue of the division paper: its figures, counts, thresholds and names; and sweeps."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from mathkernels.ensemble.describe import (
    EPSILON,
    NMRU,
    NPU,
    NRU,
    SGD,
    Adam,
    Norm,
    Ramp,
    RealNPU,
    Restarts,
    Run,
)
from mathkernels.ensemble.training import evaluate
from mathkernels.studies.arithmetic.exact import exact_error, exact_parameters, exact_threshold
from mathkernels.studies.division import catalogue, figures, sweeps

# Counted from the legends, axes and iterations that the paper's scripts give: runs, million iterations
_COUNTS = """
1a 450 22.5 | 1b 1575 78.75 | 2a 900 45 | 2b 675 33.75 | 2c 450 22.5 | 3 900 45 | 4 125 6.25
6-redundancy 900 90 | 6-distributions 450 22.5 | 7 450 45 | 10 900 45 | 11 375 1.875 | 12 375 18.75
13 375 18.75 | 14 675 33.75 | 15 675 67.5 | 16 450 45 | 17 1125 112.5 | 18 675 67.5 | 19 450 45
20 450 45 | 21 675 67.5 | 22 675 67.5 | 23 675 67.5
"""
_ROWS = [cell.split() for line in _COUNTS.strip().splitlines() for cell in line.split("|")]
COUNTS = {number: (int(runs), float(million)) for number, runs, million in _ROWS}


@pytest.fixture(scope="module")
def members():
    return {number: study.members() for number, study in catalogue.FIGURES.items()}


def test_all_26_figures_are_there_and_two_train_nothing():
    assert len(catalogue.CATALOGUE) == 26
    assert [n for n, figure in catalogue.CATALOGUE.items() if figure.study is None] == ["5", "9"]
    for number, study in catalogue.FIGURES.items():
        assert study.name == catalogue.CATALOGUE[number].name == f"figure-{number}"
        json.dumps(study.describe(), allow_nan=False)


def test_every_figure_has_the_papers_runs_and_iterations(members):
    counted = {n: (len(own), sum(m.run.iterations for m in own) / 1e6) for n, own in members.items()}
    assert counted == COUNTS
    for number, study in catalogue.FIGURES.items():
        assert (study.runs, study.total_iterations / 1e6) == COUNTS[number]
    assert sum(runs for runs, _ in counted.values()) == 15_425
    assert sum(million for _, million in counted.values()) == 1_114.375


def test_shared_runs_leave_11_350_distinct_ones(members):
    distinct = {m.run for own in members.values() for m in own}
    assert (len(distinct), sum(run.iterations for run in distinct)) == (11_350, 809_375_000)
    # 11,375 and 810.625 million if Figure 4's first data set, which is Figure 3's U[-2,2], is counted apart
    elsewhere = {m.run for number, own in members.items() if number != "4" for m in own}
    shared = [m.run for m in members["4"] if m.run in elsewhere]
    assert {run.task.interpolation for run in shared} == {catalogue.MIXED_SIGNS["U[-2,2]"][0]}
    assert (len(distinct) + len(shared), len(shared)) == (11_375, 25)


@pytest.mark.parametrize(("inputs", "configurations"), [(2, 20), (10, 21)])
def test_the_nine_ranges_are_trained_by_20_configurations_in_2_and_21_in_10(members, inputs, configurations):
    ranges = {inside for inside, _ in catalogue.NINE_RANGES.values()}
    runs = {m.run for own in members.values() for m in own}
    kinds = {
        (run.module, run.optimizer, run.ramp, run.clip_norm, run.criterion)
        for run in runs
        if run.task.inputs == inputs and run.task.operation == "div" and run.task.interpolation in ranges
    }
    assert len(kinds) == configurations


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("1a", "L1 on"), ("3", "Real NPU (baseline)")),
        (("1a", "L1 on"), ("1b", "(1e-9,1e-7)")),
        (("1a", "L1 on"), ("2a", "None")),
        (("1a", "L1 on"), ("14", "L1")),
        (("1a", "L1 off"), ("14", "No reg")),
        (("2a", "GW"), ("2b", "None")),
        (("2b", "GW"), ("2c", "Xavier-Uniform")),
        (("2c", "Xavier-Uniform Constrained"), ("3", "Real NPU (modified)")),
        (("3", "NRU"), ("10", "1")),
        (("6-redundancy", "Real NPU (modified)"), ("15", "Real NPU (modified)")),
        (("6-redundancy", "Real NPU (modified)"), ("16", "{-1,1}")),
        (("6-redundancy", "Real NPU (modified)"), ("21", "MSE")),
        (("6-redundancy", "NRU"), ("20", "together")),
        (("6-redundancy", "NRU"), ("22", "MSE")),
        (("6-redundancy", "NMRU"), ("17", "gnc+sign")),
        (("6-redundancy", "NMRU"), ("18", "1e-2")),
        (("6-redundancy", "NMRU"), ("19", "adam")),
        (("6-redundancy", "NMRU"), ("23", "MSE")),
    ],
)
def test_figures_share_what_is_configured_alike(members, one, other):
    runs = [[m.run for m in members[number] if m.variant == label] for number, label in (one, other)]
    assert len(runs[0]) == 225
    assert runs[0] == runs[1]


def test_variants_differ_from_each_other_as_published():
    find = {n: {v.label: v for v in study.variants} for n, study in catalogue.FIGURES.items()}
    assert [v.module.norm for v in find["14"].values()] == [None, Norm(), Norm(start=1e-7, end=1e-5, order=2)]
    free, constrained = (find["15"][name] for name in ("NPU (no constraints)", "NPU (clip & reg)"))
    assert (free.module, constrained.module) == (
        NPU(clip="wg", init="xavier-constrained", weight_penalty=1, gate_penalty=1),
        NPU(clip="wig", init="xavier-constrained", weight_penalty=1, imaginary_penalty=1, gate_penalty=1),
    )
    assert {
        name: (v.module.sign_retrieval, v.module.gated, v.clip_norm) for name, v in find["17"].items()
    } == {
        "vanilla": (False, False, None),
        "gnc": (False, False, 1.0),
        "sign": (True, False, None),
        "gnc+sign": (True, False, 1.0),
        "gnc+sign+gating": (True, True, 1.0),
    }
    assert find["19"]["sgd"].optimizer == SGD(lr=1e-2)
    assert [v.criterion for v in find["22"].values()] == ["mse", "pcc", "mape"]
    easy = find["11"]["Real NPU"]
    assert easy.module == RealNPU(clip="wg", init="xavier-constrained", norm=None)
    assert (find["11"]["NRU"].ramp, find["11"]["NMRU"].ramp) == (
        Ramp(start=15_000, end=20_000),
        Ramp(start=20_000, end=35_000),
    )
    assert find["6-redundancy"]["NRU"].optimizer == Adam(lr=1e-3)


def test_axes_have_the_papers_order_and_labels():
    assert list(catalogue.FIGURES["3"].datasets) == [
        *("U[-0.2,-0.1]", "U[-1.2,-1.1]", "U[-2,-1]", "U[-2,2]", "U[-20,-10]"),
        *("U[0.1,0.2]", "U[1,2]", "U[1.1,1.2]", "U[10,20]"),
    ]
    assert list(catalogue.FIGURES["12"].datasets) == [
        *("U[0,1e-4)", "U[0,1e-3)", "U[0,1e-2)", "U[0,1e-1)", "U[0,1)"),
    ]
    assert list(catalogue.FIGURES["7"].datasets)[1] == "TN(-1,3):[-5,10)"
    assert {n for n, study in catalogue.FIGURES.items() if study.panels == ("rate",)} == {
        *("1a", "1b", "2a", "2b", "2c")
    }


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ("nips-realnpu-L1_sweep", "1b"),
        ("nips-sltr-in10", "6-redundancy"),
        ("nips-divBy0-medium", "12"),
        ("nips-in10-nru-separate-mag-sign", "20"),
        ("23", "23"),
    ],
)
def test_a_figure_is_found_by_the_names_of_the_papers_scripts(key, number):
    assert figures.catalogued(key).number == number


def test_all_names_every_figure_once_and_unknown_names_are_refused():
    assert len(figures.find_figures(["3", "all", "nips-sltr-in2"])) == 26
    assert [f.number for f in figures.find_figures(["10", "3", "10"])] == ["3", "10"]
    with pytest.raises(ValueError, match=r"got '6', needs one of .*6-redundancy"):
        figures.find_figures(["6"])
    with pytest.raises(ValueError, match="trains nothing"):
        figures.find_figure("9")
    keys = [key for figure in catalogue.CATALOGUE.values() for key in figure.keys]
    assert len(set(keys)) == len(keys) == 23


# thresholds of exact weights

# test error of exact weights + 2^-23 as published: figure -> module -> range -> threshold
PUBLISHED = {
    "11": {"Real NPU": (1152671285248, 2046348544, 490999.34, 55.245338, 5.590016e-3)},
    "12": {"NMRU": (2.808002e-3, 9.268088e-6, 1.759752e-7, 1.262986e-7, 1.192429e-7)},
    "13": {
        "Real NPU": (2531.3877, 401.33441, 8.685083, 0.09694124, 9.814719e-4),
        "NMRU": (3.272902e-2, 8.967732e-5, 5.591544e-7, 1.373560e-7, 1.192278e-7),
    },
}


@pytest.mark.parametrize(("number", "label"), [(n, label) for n, own in PUBLISHED.items() for label in own])
def test_thresholds_of_small_numbers_equal_the_published_ones(members, number, label):
    """Up to float32 rounding: errors of exact weights are means over 10,000 rounded squares."""
    found = dict.fromkeys(m.run.threshold for m in members[number] if m.variant == label)
    np.testing.assert_allclose(list(found), PUBLISHED[number][label], rtol=1e-4)


@pytest.mark.parametrize("module", [RealNPU.modified(), NRU(), NMRU()], ids=lambda module: module.name)
def test_a_run_with_exact_weights_is_solved_and_the_limit_belongs_to_it(module):
    task = catalogue.FIGURES["13"].members()[0].run.task
    threshold = exact_threshold(module, task)
    run = Run(module=module, task=task, seed=3, threshold=threshold)
    results = evaluate([run], [exact_parameters(module, task, seed=3)])
    assert results.solved[0]
    assert exact_error(module, task) + EPSILON == np.nextafter(threshold, 0)


def test_exact_weights_of_what_cannot_divide_are_refused():
    task = catalogue.FIGURES["3"].members()[0].run.task
    with pytest.raises(ValueError, match="exact weights: got NMRU"):
        exact_parameters(NMRU(gated=True), task)
    with pytest.raises(ValueError, match="got operation 'mul', needs 'div' or 'reciprocal'"):
        exact_parameters(NRU(), dataclasses.replace(task, operation="mul"))


# sweeps


def test_a_sweep_makes_a_variant_of_each_combination():
    grid = sweeps.parse_sweep(["lr=1e-3,1e-2", "inputs=2,10", "norm.order=1,2", "range=U[1,2],U[-2,2]"])
    assert grid["range"] == ("U[1,2]", "U[-2,2]")
    study = sweeps.sweep_study("RealNPU-modified", grid, ranges=["all"], clip_norm=2.0)
    assert len(study.variants) == 8
    assert list(study.datasets) == ["U[1,2]", "U[-2,2]"]
    wide = next(v for v in study.variants if v.label == "lr=1e-2, inputs=10, norm.order=2")
    assert (wide.inputs, wide.iterations, wide.optimizer, wide.clip_norm) == (10, 100_000, Adam(lr=1e-2), 2.0)
    assert (wide.ramp, wide.module.norm) == (Ramp(start=50_000, end=75_000), Norm(order=2))
    assert study.total_iterations == sum(m.run.iterations for m in study.members())


def test_a_sweep_takes_ramps_criteria_and_sizes():
    grid = sweeps.parse_sweep(["restarts=0,20", "clip_value=0,0.5"])
    variants = sweeps.sweep_study("INALU", grid, ranges=["U[1,2]"]).variants
    anew = Restarts(window=20)
    assert [(v.restarts, v.clip_value) for v in variants] == [
        (None, None),
        (None, 0.5),
        (anew, None),
        (anew, 0.5),
    ]
    grid = sweeps.parse_sweep(["ramp=none,100-200", "criterion=mse,pcc", "iterations=500", "batch=32"])
    study = sweeps.sweep_study("NRU", grid, ranges=["U[1,2]"])
    assert [(v.ramp, v.criterion) for v in study.variants] == [
        *((None, "mse"), (None, "pcc")),
        *((Ramp(start=100, end=200), "mse"), (Ramp(start=100, end=200), "pcc")),
    ]
    assert {(m.run.iterations, m.run.batch) for m in study.members()} == {(500, 32)}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["lr"], "needs the form name=value"),
        (["lr=1,"], "needs the form name=value"),
        (["lr=1,1"], "each value once"),
        (["lr=1", "lr=2"], "each name once"),
        (["inputs=2.5"], "needs an integer"),
        (["lr=fast"], "needs a number"),
        (["ramp=5"], "needs START-END"),
        (["clipp=g"], "did you mean 'clip'"),
        (["norm.size=3"], "option of Norm: got 'size'"),
    ],
)
def test_a_wrong_sweep_is_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        sweeps.sweep_study("RealNPU", sweeps.parse_sweep(texts), ranges=["U[1,2]"])
