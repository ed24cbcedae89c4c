"""What an iNALU's training needs besides: models that start anew, and a penalty that waits.

That both equal the plain loop is tested with all other runs in test_ensemble.py.
"""

import dataclasses
import signal

import numpy as np
import pytest
from ensemble_cases import RUNS, run, task

from mathkernels.ensemble import INALU, NMU, Adam, Restarts, evaluate, fit, training
from mathkernels.studies.division import figures


def test_a_run_that_does_not_improve_starts_elsewhere():
    description = RUNS["inalu-restarts"]  # looked at in every second iteration that logs
    results = fit([description, dataclasses.replace(description, seed=4)])
    assert list(results.restarts) == [5, 5]  # one behind the last update
    valid = results.curves(0)["valid"]
    assert [k for k in range(1, len(valid)) if valid[k] != valid[k - 1]] == [9, 17, 25, 33]
    assert fit([dataclasses.replace(description, restarts=None)]).restarts[0] == 0
    assert fit([RUNS["nmu-restarts"]]).restarts[0] >= 2


@pytest.mark.parametrize("calls", [5, 17, 45, 46])
def test_a_resumed_run_starts_anew_where_one_never_interrupted_does(tmp_path, monkeypatch, calls):
    """At a rate of 0 the errors stay as they are, so that every fourth row is followed by a restart."""
    monkeypatch.setattr(training, "CALL_SECONDS", 0.0)  # one iteration in each call after the first
    how = {"iterations": 130, "evaluate_every": 10, "restarts": Restarts(window=3, every=1, above=0.0)}
    runs = [run(NMU(), Adam(lr=0.0), task=task("mul"), seed=seed, **how) for seed in range(3)]
    never, path, seen = fit(runs, threads=1), tmp_path / "fit.ckpt", []
    assert list(never.restarts) == [3, 3, 3]

    def interrupt(progress):
        seen.append(progress)
        if len(seen) == calls:
            signal.raise_signal(signal.SIGINT)

    assert fit(runs, threads=1, checkpoint=path, progress=interrupt).interrupted
    resumed = fit(runs, threads=1, checkpoint=path)
    np.testing.assert_array_equal(resumed.restarts, never.restarts)
    for i in range(len(runs)):
        np.testing.assert_array_equal(resumed.weights(i)["weight"], never.weights(i)["weight"])
        np.testing.assert_array_equal(resumed.curves(i)["valid"], never.curves(i)["valid"])


def test_a_penalty_waits_for_its_iteration_and_its_error():
    results = fit([RUNS["inalu-penalty"]])
    curves, steps = results.curves(0), results.steps(0)
    counted = (steps > 60) & (curves["valid"] < 0.15)
    assert 0 < counted.sum() < (steps > 60).sum()
    np.testing.assert_array_equal(curves["penalty"] > 0, counted)


def test_a_study_has_the_papers_limit_and_the_asked_restarts():
    inalu = figures.find_variant("INALU", 2, restarts=40)
    assert (inalu.clip_norm, inalu.clip_value, inalu.restarts) == (None, 0.1, Restarts(window=40))
    limited = figures.find_variant("INALU", 10, clip_norm=1.0)
    assert (limited.clip_norm, limited.clip_value, limited.restarts) == (1.0, None, None)
    assert figures.find_variant("NMRU", 2, clip_value=0.1).clip_norm is None
    (inalu,) = figures.single_study("INALU", ranges=["U[1,2]"]).resized(5_000).variants
    assert inalu.module == INALU(penalty_after=1_000)


def test_what_a_run_with_restarts_has_learned_can_be_evaluated():
    results = fit([RUNS["inalu-restarts"]])
    found = evaluate([RUNS["inalu-restarts"]], [results.best_weights(0)])
    assert found.valid[0] == results.valid[0]
