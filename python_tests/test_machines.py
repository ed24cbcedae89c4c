"""What a fit is made of has the same bits whatever instruction set the libraries round by."""

import itertools
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mpmath")
import mpmath
from ensemble_cases import run, task

from mathkernels.data import normal
from mathkernels.ensemble import INALU, NMU
from mathkernels.ensemble.cluster import shard
from mathkernels.ensemble.powers import one_less_powers, powers
from mathkernels.ensemble.run import How

WORKER = Path(__file__).with_name("machine_worker.py")


def digests(features: str, capability: str) -> dict[str, str]:
    how = {**os.environ, "NPY_DISABLE_CPU_FEATURES": features, "ATEN_CPU_CAPABILITY": capability}
    command = [sys.executable, str(WORKER)]
    output = subprocess.run(command, env=how, capture_output=True, text=True, check=True)
    return json.loads(output.stdout.splitlines()[-1])


def test_schedules_and_sets_are_those_of_every_instruction_set():
    """numpy and torch are told to leave out AVX-512, then AVX2 as well; Intel's and AMD's both have them."""
    from numpy._core import _multiarray_umath as built

    here = [name for name in built.__cpu_dispatch__ if built.__cpu_features__.get(name)]
    wide = [name for name in here if "512" in name or "V4" in name]
    if not here:
        pytest.skip("numpy has one instruction set here")
    own = digests("", "")
    for features, capability in ((wide, "avx2"), (here, "default")):
        other = digests(" ".join(features), capability)
        for what in ("schedules", "sets", "streams", "steps"):
            assert other[what] == own[what], (what, features)
        if wide:  # else numpy has nothing to choose between
            assert other["numpy's own powers"] != own["numpy's own powers"]


def test_powers_are_rounded_correctly():
    random = np.random.RandomState(0)
    for base in (0.9, 0.999, 0.5, 0.99999, float(random.uniform()), float(random.uniform(0.9, 1))):
        exponents = np.unique([*range(260), *(10 ** random.uniform(0, 6, 60)).astype(int)])
        found = powers(base, exponents)
        for exponent, got in zip(exponents, found, strict=True):
            with mpmath.workprec(400):
                assert got == float(mpmath.mpf(base) ** int(exponent)) or got < 1e-300, (base, exponent)
    assert powers(0.0, np.array([0, 1, 2])).tolist() == [1.0, 0.0, 0.0]
    assert float(Fraction(0.999) ** 100) == powers(0.999, np.array([100]))[0]


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999, 0.9999999])
def test_a_schedule_does_not_depend_on_where_calls_are_cut(beta):
    whole = one_less_powers(beta, 0, 3000)
    cuts = [0, 1, 255, 256, 257, 1500, 3000]
    parts = [one_less_powers(beta, first, last) for first, last in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    far = one_less_powers(beta, 10**9, 10**9 + 3)
    assert ((far >= whole[-1]) & (far <= 1)).all()


def test_normal_probabilities_are_rounded_once():
    random = np.random.RandomState(1)
    for z in [0.0, -40.5, 37.0, *random.uniform(-38, 38, 30), *random.uniform(-1e-3, 1e-3, 5), -5.0, 5.0]:
        exact = normal.standardised(z, 0.0, 1.0)
        with mpmath.workdps(60):
            # rounded once is half an ULP, 1.1e-16; 1e-300 is less than any of these
            assert float(normal.below(exact)) == pytest.approx(float(mpmath.ncdf(z)), rel=1e-15, abs=1e-300)
            assert float(normal.density(exact)) == pytest.approx(float(mpmath.npdf(z)), rel=1e-15)


def test_normal_quantiles_and_logarithms_are_precise():
    random = np.random.RandomState(2)
    p = np.concatenate([random.uniform(size=300), 10.0 ** random.uniform(-200, -1, 100)])
    for below, z in zip(p, normal.quantile(p, 1 - p), strict=True):
        with mpmath.workdps(40):
            slope, value = mpmath.npdf(float(z)), mpmath.ncdf(float(z))
            assert abs(float((value - mpmath.mpf(float(below))) / slope)) <= 4e-15 * max(abs(z), 0.1)
    x = np.concatenate([random.uniform(0.4, 2.5, 300), 10.0 ** random.uniform(-300, 300, 200)])
    for value, got in zip(x, normal.log(x), strict=True):
        with mpmath.workdps(40):
            exact = mpmath.log(float(value))
            assert abs(float(got - exact)) <= 2.5 * float(np.spacing(abs(float(exact))))


def test_a_worker_with_other_initial_weights_is_refused():
    """torch's normal numbers are the one thing that still depends on the processor."""
    how = How(1, "float32", "hash", "cpu")
    runs = (run(NMU(), task=task("mul"), iterations=0), run(INALU(), iterations=0))
    here = shard.machine(how, runs)
    assert here == shard.machine(how, runs)
    sent = shard.Shard(0, runs, how, {**here, "initial weights": "other"}, None, "stop", "call")
    with pytest.raises(ValueError, match=r"initial weights='\w+' instead of 'other'.*not be those of one"):
        shard.train_shard(sent)
