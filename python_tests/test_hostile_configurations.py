"""Every field of every configuration with values that cannot be: taken, or refused in one line by name."""

from __future__ import annotations

import dataclasses
import random
import re
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("yaml")

from mathkernels.data import adding, equation_sets, mnist
from mathkernels.data.equations import Equations
from mathkernels.ensemble import Seq2SeqEnsemble
from mathkernels.experiment import configuration
from mathkernels.experiment.configuration import ConfigurationError
from mathkernels.optim import BatchedOptimizer
from mathkernels.studies.adding import config as adding_config
from mathkernels.studies.equations import config as equations_config
from mathkernels.studies.mathematics import config as mathematics_config

CONFIGS = {"adding": adding_config.Config, "equations": equations_config.Config}
CONFIGS["mathematics"] = mathematics_config.Config
NUMBERS = [0, -1, 1, 2**31, 2**32, 2**63, 2**64, 10**18, 10**30, 10**400, -(10**30), -(10**400)]
NUMBERS += [0.5, -0.0, 1e30, 1e39, 1e300, 5e-324, float("nan"), float("inf"), -float("inf")]
TEXTS = [
    "none",
    "null",
    "~",
    "",
    "''",
    "true",
    "x",
    "1:30",
    "1e400",
    "-1e400",
    "0x" + "f" * 4_000,
    "9" * 4_400,
]
TEXTS += [
    "2001-99-99",
    "[",
    "[" * 5_000,
    "[1, 2]",
    "[]",
    "{}",
    "{a: 1}",
    "{[1]: 2}",
    "!!python/object:os.system x",
]
TEXTS += ["[10000000000000000000000000000000]", "[.nan]", "[-1]", "[null]", "a\0b", "&a [*a]"]


def fields(kind, prefix=""):
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from fields(hints[field.name], f"{prefix}{field.name}.")
        yield f"{prefix}{field.name}"


PLACES = [(name, key) for name, kind in CONFIGS.items() for key in fields(kind)]


def hostile():
    source = random.Random(0)
    drawn = [source.choice((-1, 1)) * 10 ** source.randint(0, 500) for _ in range(10)]
    return [yaml_of(value) for value in (*NUMBERS, *drawn)] + TEXTS


def yaml_of(value):
    if isinstance(value, float) and value != value:
        return ".nan"
    return str(value).replace("inf", ".inf")


@pytest.mark.parametrize(("name", "key"), PLACES)
def test_every_field_takes_or_names_every_value(name, key):
    """Some values by chance for each field, so that all fields together see each of them often."""
    values, refused = random.Random(key).sample(hostile(), 16), 0
    for value in (*values, *(f"[{text}]" for text in values[:4]), str(10**30), "1" + "0" * 400, ".nan"):
        try:
            config = configuration.load(CONFIGS[name], None, [f"{key}={value}"])
        except ConfigurationError as error:
            refused += 1
            message = str(error)
            assert "\n" not in message, value
            assert len(message) < 600, value
            assert key.rpartition(".")[2] in message, (value[:80], message)
        else:
            assert configuration.plain(config)
    assert refused >= 5


def test_a_value_that_is_nested_too_deeply_is_named():
    with pytest.raises(ConfigurationError, match=r"override 'train\.epochs=\[+\.\.\. is nested too deeply"):
        configuration.load(equations_config.Config, None, ["train.epochs=" + "[" * 5_000])


def test_a_value_that_is_taken_describes_data_that_can_be_drawn():
    """What the sets of equations take from the bounds on ends, at once or with a message."""
    for values in (
        {"n_operations": 64, "n_examples": 10, "new_equations": 0},
        {"max_number": 10**18, "min_number": -(10**18), "n_examples": 10, "new_equations": 0},
        {"n_operations": 15, "max_number": 15, "max_numbers": (15,) * 16, "operations": ("*", "+")},
        {"n_operations": 9, "max_number": 4, "min_number": -5, "operations": ("*",), "n_examples": 50},
        {"decimals": 100, "operations": ("/",), "n_examples": 50, "new_equations": 0},
    ):
        kind = Equations(**{"n_examples": 20, "new_equations": 5, **values})
        assert len(equation_sets.build(kind).train) == kind.n_examples - kind.n_test


def test_equations_run_out_where_more_are_asked_for_than_there_are(monkeypatch):
    monkeypatch.setattr(equation_sets, "LARGEST_LIST", 10)
    monkeypatch.setattr(equation_sets, "PATIENCE", 20_000)
    kind = Equations(max_number=20, n_examples=2, split=0.5, new_equations=1000)
    with pytest.raises(
        ValueError, match="n_examples, new_equations: got 2 and 1000, there are 420 equations"
    ):
        equation_sets.build(kind)


def test_places_drawn_one_by_one_are_uniform():
    """24 choices of 4 numbers out of 4: chi-square within five deviations."""
    source, counts = random.Random(1), {}
    for _ in range(24_000):
        own = equation_sets._one_by_one(-1, (2, 2, 2, 2), source)
        counts[own] = counts.get(own, 0) + 1
    assert len(counts) == 24
    square = sum((count - 1000) ** 2 / 1000 for count in counts.values())
    assert abs(square - 23) < 5 * (2 * 23) ** 0.5
    uneven = {equation_sets._one_by_one(0, (3, 0, 1), source) for _ in range(500)}
    assert uneven == {(2, 0, 1), (3, 0, 1)}


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
import runpy
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.mark.parametrize(
    ("trainer", "arguments", "named"),
    [
        ("adding", ["--set", "dataset.dt_length=10000000000"], "dataset.dt_length"),
        ("adding", ["--set", "dataset.dt_length=1000000000", "dataset.t=1000000"], "dataset.dt_length"),
        ("adding", ["--set", "optim.seed=18446744073709551615", "--models", "2"], "optim.seed"),
        ("adding", ["--models", str(10**30)], "--models"),
        ("adding", ["--threads", str(10**30)], "--threads"),
        ("adding", ["--sweep", "--set", "sweep.t=[10, 10000000000]"], r"sweep\.t\[1\]"),
        ("equations", ["data.max_number=99999999999999999999"], "data.max_number"),
        ("equations", ["data.seed=-1"], "data.seed"),
        ("equations", [f"train.seeds=[{2**64}]"], r"train.seeds\[0\]"),
        ("equations", ["--models", str(10**30)], "--models"),
        ("equations", [f"train.batch_size={10**30}"], "train.batch_size"),
        ("sequential_mnist", ["--seeds", str(10**30)], "--seeds"),
        ("sequential_mnist", ["--epochs", str(10**30)], "--epochs"),
        ("sequential_mnist", ["--z", "1e300"], "--z"),
        ("sequential_mnist", ["--ramp", "0", str(10**30)], "--ramp"),
    ],
)
def test_a_limit_is_named_within_8_gib_before_anything_is_written(tmp_path, trainer, arguments, named):
    config = {"adding": ["--config", str(EXAMPLES.parent / "configs" / "adding.yaml")]}.get(trainer, [])
    command = [sys.executable, "-c", LIMITED, str(EXAMPLES / f"train_{trainer}.py"), *config, *arguments]
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr[-2000:]
    assert re.search(rf"error: .*{named}", done.stderr.splitlines()[-1]), done.stderr[-2000:]
    assert not list(tmp_path.iterdir())


# numpy's numbers


def test_numpys_numbers_are_taken_as_pythons():
    sequences = adding.generate(np.int64(20), np.int32(7), np.uint64(3))
    assert np.array_equal(sequences.numbers, adding.generate(20, 7, 3).numbers)
    kind = Equations(
        n_examples=np.int64(40), max_number=np.int16(99), split=np.float32(0.25), seed=np.uint8(2)
    )
    assert type(kind.n_examples) is int
    assert type(kind.split) is float
    assert kind == Equations(n_examples=40, max_number=99, split=0.25, seed=2)
    train = equations_config.Train(seeds=(np.int64(4),), learning_rate=np.float64(0.5), epochs=np.int32(3))
    assert configuration.build(equations_config.Train, configuration.plain(train)) == train
    assert configuration.plain(adding_config.Dataset(np.int64(10), np.int64(5)))["t"] == 5
    images = {part: np.zeros((30, 8, 8), np.float32) for part in mnist.PARTS}
    digits = mnist.Digits("none", images, {part: np.arange(30) % 10 for part in mnist.PARTS})
    found, expected = (mnist.sequences(digits, "test", "sum", length) for length in (np.int64(4), 4))
    assert np.array_equal(found[0], expected[0])
    for length in (True, 2.0, "3", 10**30, -1):
        with pytest.raises(ValueError, match="sequences: length is"):
            mnist.sequences(digits, "test", "sum", length)


def test_the_optimizer_and_the_ensemble_take_numpys_numbers():
    start = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    ends = []
    for rate, norm in ((0.25, 0.5), (np.float32(0.25), np.float64(0.5)), (np.float64(0.25), np.float32(0.5))):
        p = {"w": start.clone().requires_grad_()}
        p["w"].grad = torch.ones(2, 3)
        BatchedOptimizer("sgd", rate, norm, p).step()
        ends.append(p["w"].detach())
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2])
    plain = Seq2SeqEnsemble(13, 10, 5, 4, (1, 2), True, 0.5, 2.0**-20, threads=1)
    sizes = (np.int64(13), np.int8(10), np.uint8(5), np.int32(4), np.array([1, 2]))
    rates = (np.bool_(True), np.float32(0.5), np.float64(2.0**-20))
    numpys = Seq2SeqEnsemble(*sizes, *rates, threads=np.int64(1))
    for name, tensor in plain.state().items():
        assert torch.equal(tensor, numpys.state()[name])
    assert all(type(seed) is int for seed in numpys.seeds)


@pytest.mark.parametrize(
    "value", [10**31, 10**400, -(10**400), float("nan"), float("inf"), np.float64("nan"), "x"]
)
@pytest.mark.parametrize(
    "field", ["alphabet", "steps_in", "steps_out", "hidden", "seeds", "learning_rate", "eps", "threads"]
)
def test_the_ensemble_names_what_is_too_large(field, value):
    good = {"alphabet": 13, "steps_in": 10, "steps_out": 5, "hidden": 4, "seeds": (1, 2)}
    with pytest.raises(ValueError, match=rf"^{field}.*got .*, needs") as caught:
        Seq2SeqEnsemble(**{**good, field: (value,) if field == "seeds" else value})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [0, -1.0, 10**400, float("nan"), float("inf"), None, True, "1"])
def test_the_optimizer_names_a_rate_that_cannot_be(value):
    with pytest.raises(ValueError, match="optimizer: learning_rate is"):
        BatchedOptimizer("sgd", value, None, {})
