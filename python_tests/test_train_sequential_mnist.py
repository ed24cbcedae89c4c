"""The trainer of sequential MNIST from its command line to its files, and its thresholds and tables."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
pytest.importorskip("safetensors")
pytest.importorskip("scipy")

from safetensors import safe_open
from scipy import stats
from trainer_cases import stop_after

from mathkernels.data import mnist
from mathkernels.experiment import loop
from mathkernels.experiment.tensor_files import DIGEST
from mathkernels.studies.sequential_mnist import report
from mathkernels.studies.sequential_mnist import training as sequential_training

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "train_sequential_mnist.py"
SOURCE = "random pixels"
TINY = [
    "--task",
    "product",
    "--unit",
    "NMU",
    "LSTM",
    "--z",
    "1",
    "--seeds",
    "2",
    "--epochs",
    "7",
    "--ramp",
    "2",
    "9",
]


@pytest.fixture
def trainer(monkeypatch):
    """The example on a few random images; one thread, because torch's own sums depend on their number."""
    spec = importlib.util.spec_from_file_location("train_sequential_mnist", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    source = np.random.RandomState(0)
    sizes = dict(zip(mnist.PARTS, (90, 30, 30), strict=True))
    images = {part: source.uniform(-1, 1, (n, 8, 8)).astype(np.float32) for part, n in sizes.items()}
    labels = {part: source.randint(0, 10, n) for part, n in sizes.items()}
    monkeypatch.setattr(mnist, "load_digits", lambda folder: mnist.Digits(SOURCE, images, labels))
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    torch.set_num_threads(1)
    return module


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_output_says_what_data_it_is_of(trainer, tmp_path, capsys):
    assert trainer.main([*TINY, "--out", str(tmp_path)]) == 0
    assert SOURCE in capsys.readouterr().out
    assert json.loads((tmp_path / "config.json").read_text())["data"] == SOURCE
    assert json.loads((tmp_path / "status.json").read_text())["data"] == SOURCE
    for name in ("runs.csv", "curves.csv", "summary.csv"):
        assert {row["data"] for row in rows(tmp_path / name)} == {SOURCE}
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    weights = sorted(path.name for path in (tmp_path / "weights").iterdir())
    assert weights == [
        f"{name}-seed{seed}.safetensors" for name in ("LSTM-z0", "NMU-z1", "exact-z0") for seed in (0, 1)
    ]
    with safe_open(tmp_path / "weights" / weights[2], "pt") as file:
        assert file.metadata().keys() == {"data", DIGEST}
        assert file.metadata()["data"] == SOURCE
        assert {"image.0.weight", "cell.unit.weight"} <= set(file.keys())
    lengths = [int(row["length"]) for row in rows(tmp_path / "summary.csv") if row["variant"] == "exact"]
    assert lengths == list(range(1, 21))
    assert {row["variant"] for row in rows(tmp_path / "runs.csv")} == {"exact", "NMU, R_z 1", "LSTM"}
    assert len(rows(tmp_path / "runs.csv")) == 3 * 2 * 20


@pytest.mark.parametrize(("epochs_before", "steps"), [(3, 0), (20, 0), (1, 1), (8, 1)])
def test_an_interrupted_and_resumed_training_equals_an_uninterrupted_one(
    trainer, tmp_path, monkeypatch, epochs_before, steps
):
    monkeypatch.setattr(sequential_training, "BATCH", 16)  # several steps of an epoch
    whole, cut = [*TINY, "--out", str(tmp_path / "whole")], [*TINY, "--out", str(tmp_path / "cut")]
    assert trainer.main(whole) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, epochs_before, steps)
        assert trainer.main(cut) == 130
    assert json.loads((tmp_path / "cut" / "status.json").read_text())["status"] == "interrupted"
    done = rows(tmp_path / "cut" / "runs.csv")
    assert len(done) == epochs_before // 7 * 20  # the finished runs are there
    with pytest.raises(SystemExit):  # neither --resume nor --overwrite
        trainer.main(cut)
    assert trainer.main([*cut, "--resume"]) == 0
    for name in ("runs.csv", "curves.csv", "summary.csv"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--unit", "NAU"], "--unit: got NAU; the task 'product' has NAC-mul, .*, LSTM"),
        (["--task", "sum", "--unit", "NMU"], "--unit: got NMU; the task 'sum' has NAC\\+, NALU, NAU, LSTM"),
        (["--seeds", "0"], "--seeds: got 0; needs at least 1"),
        (["--ramp", "9", "9"], "--ramp: got 9 9; needs 0 <= START < END"),
        (["--z", "-1"], "--z: got -1.0; needs finite numbers of at least 0"),
    ],
)
def test_bad_arguments_are_named(trainer, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit):
        trainer.main([*arguments, "--out", str(tmp_path / "none")])
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "none").exists()


def test_the_nets_have_the_published_size_and_a_scalar_for_each_image(trainer):
    net = trainer.Net(28, "product", "NMU")
    counts = [sum(p.numel() for p in layer.parameters()) for layer in net.image if list(layer.parameters())]
    assert counts == [20 * 25 + 20, 50 * 20 * 25 + 50, 800 * 500 + 500, 501]
    assert net.scalars(torch.zeros(3, 28, 28)).shape == (3,)
    for unit in (*trainer.UNITS["sum"], "LSTM", "exact"):
        net = trainer.Net(8, "sum", unit)
        assert net.states(torch.ones(4, 2)).shape == (4, 2)
    assert torch.equal(net.states(torch.ones(4, 2)), torch.ones(4, 2).cumsum(0))


# thresholds and tables, on results with known answers


def run(unit, seed, errors, valid=1.0):
    place = {"data": SOURCE, "task": "sum", "variant": unit, "unit": unit, "z": 0.0, "seed": seed}
    return [
        {**place, "best_epoch": 0, "valid_mse": valid, "length": n, "test_mse": e, "zero_mse": 100.0}
        for n, e in errors.items()
    ]


@pytest.fixture
def known():
    reference = [run("exact", s, {1: 1.0 + s, 10: 10.0}) for s in range(3)]
    blind = run("exact", 3, {1: 1e9, 10: 1e9}, valid=1e9)  # did not learn the digits
    others = [run("NAU", 0, {1: 0.5, 10: 9.0}), run("NAU", 1, {1: 50.0, 10: math.nan})]
    return [row for part in (*reference, blind, *others) for row in part]


def test_a_threshold_is_the_bound_of_the_mean_of_references_that_learned(known):
    limits = report.thresholds(known)
    expected = 2.0 + stats.t.ppf(0.99, 2) * 1.0 / math.sqrt(3)  # of 1, 2, 3
    assert limits == pytest.approx({1: expected, 10: 10.0})
    assert report.thresholds(known[-4:]) == {}
    assert math.isnan(report.thresholds(known[:2])[1])  # of one run there is no bound


def test_a_run_is_solved_below_the_threshold_only(known):
    summary = report.summary_rows(report.judged(known))
    found = {(row["variant"], row["length"]): (row["successes"], row["n"]) for row in summary}
    assert found == {("exact", 1): (3, 4), ("exact", 10): (0, 4), ("NAU", 1): (1, 2), ("NAU", 10): (1, 2)}
    assert [row["test_mse_high"] for row in summary if row["variant"] == "NAU"] == [50.0, math.inf]
    assert "1/2 (25.2)" in report.table(summary)
    without = report.summary_rows(report.judged(known[-4:]))
    assert all("successes" not in row for row in without)
    assert "(25.2)" in report.table(without)
    assert report.figure(summary, 10) is not None
