"""Every number of a description, a call or a command line: hostile values are used, or refused by name."""

import contextlib
import dataclasses
import importlib.util
import io
import json
import math
import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from mathkernels.data.arithmetic import Task
from mathkernels.data.distributions import Benford, Range, TruncatedNormal
from mathkernels.data.thresholds import Setup, one_layer_threshold, two_layer_threshold
from mathkernels.ensemble import (
    MODULES,
    NAU,
    NMU,
    SGD,
    Adam,
    CustomTensor,
    Norm,
    Normal,
    Ramp,
    Restarts,
    Run,
    Seq2SeqEnsemble,
    Stack,
    Uniform,
    evaluate,
    fit,
)
from mathkernels.studies.arithmetic.study import Study
from mathkernels.studies.division.figures import find_variant
from mathkernels.studies.product.experiments import grid, simple_product

ROOT = Path(__file__).parents[1]
TASK = {"interpolation": "U[1,2]", "extrapolation": "U[2,6]", "operation": "mul"}
SMALL = Run(module=NMU(), task=Task(**TASK), seed=0, iterations=3, evaluate_every=1)
STUDY = {
    "name": "hostile",
    "title": "hostile",
    "variants": (find_variant("NMU", 2),),
    "datasets": {"U[1,2]": (Task(**TASK).interpolation, Task(**TASK).extrapolation)},
}
REQUIRED = {
    Ramp: {"start": 0, "end": 10},
    Stack: {"first": NAU(), "second": NMU()},
    Run: {"module": NMU(), "task": Task(**TASK), "seed": 0},
    Task: TASK,
    Setup: {"operation": "mul"},
    CustomTensor: {"name": "w", "initial": 0.5},
    Range: {"intervals": ((1.0, 2.0),)},
    TruncatedNormal: {"mean": 0.0, "sd": 1.0, "low": -1.0, "high": 1.0},
    Benford: {"low": 10, "high": 100},
    Study: STUDY,
}
KINDS = (*MODULES.values(), Adam, SGD, Norm, Restarts, *REQUIRED)
TEXTS = ("name", "title", "xlabel", "panels", "parameter", "datasets")  # fields that hold no number
HOSTILE = (
    *(10**30, -(10**30), 10**400, 10**5000, 2**31, 2**32, 2**53, 2**63, 2**64, -1, 0, -0.0, 0.5),
    *(math.nan, math.inf, -math.inf, 1e-320, 1e39, 1.7e308, True, "x", "", "1", None, 3j, b"1", [], (), {}),
    *(
        np.int8(1),
        np.uint64(2**64 - 1),
        np.float16(1),
        np.float32("nan"),
        np.float64(1e300),
        np.longdouble(1),
    ),
    *(
        np.bool_(True),
        np.array([1, 2]),
        np.array(3),
        torch.tensor(2),
        Fraction(1, 3),
        object(),
        int,
        lambda: 1,
    ),
    *(
        Uniform(2.0, 1.0),
        Normal(0.0, -1.0),
        Uniform(0.0, math.nan),
        (10**400, 1),
        (np.float32(0.5), np.float32(0.6)),
    ),
)


def refused_by_name(make, *names):
    """Return what ``make`` gives, or None where it raises an error that has one of the names."""
    try:
        return make()
    except (ValueError, TypeError) as error:
        text = str(error).casefold().replace("-", "_")
        assert any(name.casefold() in text for name in names), f"{names}: {text[:300]}"
        assert len(text) < 1500
        return None


FIELDS = [
    (kind, field.name)
    for kind in dict.fromkeys(KINDS)
    for field in dataclasses.fields(kind)
    if field.init and field.name not in TEXTS
]


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda part: getattr(part, "__name__", part))
def test_a_hostile_field_is_refused_by_name_or_kept_as_plain_numbers(kind, name):
    def make(value):
        made = kind(**{**REQUIRED.get(kind, {}), name: value})
        return (
            made.members()[0].run if kind is Study and name != "seeds" else made
        )  # of which Task checks the rest

    for value in HOSTILE:
        made = refused_by_name(lambda value=value: make(value), name)
        kept = getattr(made, name, None)
        for each in kept if isinstance(kept, tuple) else (kept,):
            assert not isinstance(each, np.generic), (value, kept)
            if isinstance(each, (int, float)):
                assert math.isfinite(each)
                assert not (
                    isinstance(value, (int, float)) and isinstance(value, bool) != isinstance(each, bool)
                )


@pytest.mark.parametrize(
    ("kind", "name", "value", "plain"),
    [
        (Run, "seed", np.int64(3), 3),
        (Run, "iterations", np.uint32(10_000), 10_000),
        (Run, "batch", np.int16(64), 64),
        (Run, "clip_norm", np.float32(0.5), 0.5),
        (Run, "threshold", np.float64(1e-6), 1e-6),
        (Adam, "lr", np.float32(0.25), 0.25),
        (Adam, "betas", (np.float64(0.5), np.float32(0.75)), (0.5, 0.75)),
        (SGD, "momentum", np.float16(0.5), 0.5),
        (NMU, "penalty", np.int8(3), 3),
        (Norm, "every", np.int64(7), 7),
        (Ramp, "end", np.int64(7), 7),
        (Task, "inputs", np.int32(5), 5),
        (Task, "subset_ratio", np.float32(0.5), 0.5),
        (Task, "spans", ((np.int64(0), np.int64(1)), (np.int64(1), np.int64(1))), ((0, 1), (1, 1))),
        (Stack, "hidden", np.int64(3), 3),
        (Benford, "low", np.int64(10), 10),
        (TruncatedNormal, "sd", np.float32(2), 2.0),
    ],
)
def test_numbers_of_numpy_are_kept_as_pythons(kind, name, value, plain):
    given, same = ({**REQUIRED.get(kind, {}), name: each} for each in (value, plain))
    kept = getattr(kind(**given), name)
    assert (kept, repr(kept)) == (plain, repr(plain))
    assert kind(**given) == kind(**same)
    assert hash(kind(**given)) == hash(kind(**same))


def test_numbers_of_numpy_train_and_are_saved_like_pythons(tmp_path):
    one = Run(
        module=NMU(penalty=np.float32(2)),
        task=Task(inputs=np.int64(2), **TASK),
        seed=np.int64(3),
        iterations=5,
    )
    other = Run(module=NMU(penalty=2.0), task=Task(inputs=2, **TASK), seed=3, iterations=5)
    first = fit([one], threads=np.int64(1), checkpoint=tmp_path / "fit")
    second = fit([other], threads=1, checkpoint=tmp_path / "fit")  # the same runs
    np.testing.assert_array_equal(first.weights(0)["weight"], second.weights(0)["weight"])
    json.dumps(dataclasses.asdict(one))


SEQ2SEQ = {"alphabet": 3, "steps_in": 2, "steps_out": 2, "hidden": 2, "seeds": [0]}
SYMBOLS, ORDER = torch.zeros(4, 2, dtype=torch.int8), torch.arange(4)[None]
CALLS = {
    "fit": (lambda **given: fit([SMALL], **given), ("threads", "dtype", "generator", "device", "shards")),
    "evaluate": (lambda **given: evaluate([SMALL], [{"weight": np.ones(2)}], **given), ("threads", "dtype")),
    "Seq2SeqEnsemble": (
        lambda **given: Seq2SeqEnsemble(**{**SEQ2SEQ, **given}),
        (*SEQ2SEQ, "batch_norm", "learning_rate", "eps", "dtype", "threads"),
    ),
    "train_epoch": (
        lambda **given: Seq2SeqEnsemble(**SEQ2SEQ).train_epoch(
            SYMBOLS, SYMBOLS, ORDER, **{"batch": 2, **given}
        ),
        ("batch",),
    ),
    "samples": (
        lambda **given: Task(**TASK).samples(**{"random_state": np.random.RandomState(0), "n": 2, **given}),
        ("random_state", "n"),
    ),
    "subsets": (lambda **given: Task(**TASK).subsets(**given), ("seed",)),
    "target": (
        lambda **given: Task(**TASK).target(**{"x": np.ones((1, 2)), "seed": 0, **given}),
        ("x", "seed"),
    ),
    "two_layer_threshold": (
        lambda **given: two_layer_threshold(Setup(operation="mul"), **{"samples": 2, **given}),
        ("epsilon", "samples", "seed"),
    ),
    "one_layer_threshold": (
        lambda **given: one_layer_threshold("mul", Range.parse("U[1,2]"), **{"samples": 2, **given}),
        ("inputs", "epsilon", "samples", "seed"),
    ),
    "grid": (lambda **given: grid("mul", **given), ("samples",)),
    "simple_product": (lambda **given: simple_product(**given), ("samples",)),
    "resized": (lambda **given: Study(**STUDY).resized(**given), ("iterations",)),
    "with_ramp": (
        lambda **given: Study(**STUDY).with_ramp(**{"start": 0, "end": 5, **given}),
        ("start", "end"),
    ),
}


def check_calls():
    for call, names in CALLS.values():
        for name in names:
            for value in HOSTILE:
                refused_by_name(lambda call=call, name=name, value=value: call(**{name: value}), name)


def check_command_lines():
    for script, base, options in (
        (
            "train_nalm",
            ["--module", "NMU", "--range", "U[1,2]", "--threads", "1", "--iterations", "2"],
            NALM_OPTIONS,
        ),
        ("train_two_layers", ["--models", "NMU", "--smoke", "--threads", "1"], TWO_LAYER_OPTIONS),
    ):
        spec = importlib.util.spec_from_file_location(script, ROOT / "examples" / f"{script}.py")
        trainer = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(trainer)
        for option, count in options.items():
            for value in HOSTILE_TEXTS:
                said = io.StringIO()
                with contextlib.redirect_stderr(said), pytest.raises(SystemExit) as ended:
                    trainer.main([*base, option, *[value] * count, "--out", "/dev/null/never"])
                text = said.getvalue().rpartition("error: ")[2].casefold().replace("-", "_")
                name = option.strip("-").replace("-", "_")
                # what is right in itself ends at the folder, which cannot be
                assert ended.value.code == 2
                assert "output folder" in text or any(each in text for each in NAMES.get(name, (name,))), (
                    option,
                    value,
                    text,
                )
                assert text.count("\n") == 1


HOSTILE_TEXTS = (
    *(
        "-1",
        "-0",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "x",
        "",
        " ",
        "-x",
        "--x",
        str(10**30),
        "9" * 400,
        "9" * 5000,
    ),
    *("4294967296", "18446744073709551616", "100000000000", "0.5", "1_0", "é", "-2..2", "1,2", "2-1", "5-"),
)
NALM_OPTIONS = {
    **dict.fromkeys(("--range", "--seeds", "--iterations", "--evaluate-every", "--inputs", "--operation"), 1),
    **dict.fromkeys(
        ("--extrapolation", "--lr", "--optimizer", "--momentum", "--criterion", "--clip-norm"), 1
    ),
    **dict.fromkeys(("--clip-value", "--restarts", "--option", "--sweep", "--threads", "--module"), 1),
    "--ramp": 2,
}
TWO_LAYER_OPTIONS = dict.fromkeys(("--operation", "--models", "--seeds", "--iterations", "--threads"), 1)
NAMES = {
    "iterations": ("iterations", "evaluate_every"),
    "extrapolation": ("extrapolation", "range"),
    "seeds": ("seed", "runs"),
    "restarts": ("restarts", "rows"),
}


@pytest.mark.parametrize("check", ["check_calls", "check_command_lines"])
def test_hostile_arguments_take_neither_memory_nor_time(check):
    """In a process that may take 6 GB of addresses, most of which the libraries reserve, and a minute."""
    code = f"import test_hostile_values as t; t.{check}()"
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))}
    folders = [str(ROOT / "python_tests"), *filter(None, sys.path)]
    environment = {"PYTHONPATH": ":".join(folders), "OMP_NUM_THREADS": "1", "PATH": ""}
    how = {"cwd": "/", "capture_output": True, "text": True, "timeout": 600, **limit}
    done = subprocess.run([sys.executable, "-c", code], env=environment, **how)
    assert done.returncode == 0, done.stderr[-2000:]
