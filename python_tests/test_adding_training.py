"""Parts of the adding problem's trainer: initial weights, the optimiser, when models stop, configurations."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
pytest.importorskip("safetensors")
pytest.importorskip("scipy")
pytest.importorskip("yaml")

from mathkernels.experiment import configuration
from mathkernels.experiment.denormals import flushed_denormals
from mathkernels.experiment.training import Training
from mathkernels.studies.adding import training as adding_training
from mathkernels.studies.adding.config import Config, Dataset, Model, Optim, Sweep, Train
from mathkernels.studies.adding.figures import losses_figure
from mathkernels.studies.adding.sweep import panel_title
from mathkernels.studies.adding.training import Batches, Plan, training

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def initial(cells, seed, forget_bias=1.0, chrono=None, gate=None):
    """First values of an LSTM; chrono is the longest time that its cells remember."""
    kind = "keras" if chrono is None else f"chrono-{gate}" if gate else "chrono"
    config = Config(dataset=Dataset(t=chrono or 150), model=Model(cells, kind, forget_bias))
    return adding_training.initial(config, seed)


class Mean(torch.nn.Module):
    """A net with the parameters of an LSTM that answers with the last one alone."""

    def __init__(self, models, cells=3):
        super().__init__()
        self.lstm = torch.nn.Module()
        for name, value in initial(cells, 0).items():
            if name.startswith("lstm."):
                stacked = torch.nn.Parameter(torch.zeros(models, *value.shape))
                self.lstm.register_parameter(name.removeprefix("lstm."), stacked)
        weights = {"weight": torch.zeros(models, 1, cells), "bias": torch.zeros(models, 1)}
        self.output = torch.nn.ParameterDict(weights)

    def forward(self, x):
        unused = sum(0 * value.flatten(1).sum(1, keepdim=True) for value in self.parameters())
        return self.output["bias"].expand(-1, x.shape[2]) + unused


def test_initial_weights_are_those_of_keras():
    drawn = initial(100, 0)
    trained = sum(value.numel() for name, value in drawn.items() if name != "lstm.bias_hh_l0")
    assert trained == 41_301  # Keras' LSTM(100) and Dense(1)
    weight_hh = drawn["lstm.weight_hh_l0"].double()
    torch.testing.assert_close(weight_hh.T @ weight_hh, torch.eye(100).double(), rtol=0, atol=1e-5)
    for name, fans in (("lstm.weight_ih_l0", 402), ("output.weight", 101)):
        limit = math.sqrt(6 / fans)
        assert 0.9 * limit < drawn[name].abs().max() <= limit
    bias = drawn["lstm.bias_ih_l0"].reshape(4, 100)
    assert torch.equal(bias, torch.tensor([0.0, 1, 0, 0])[:, None].expand(4, 100))
    assert torch.equal(initial(100, 0, forget_bias=4.0)["lstm.bias_ih_l0"][100:200], torch.full((100,), 4.0))
    assert torch.equal(drawn["lstm.weight_hh_l0"], initial(100, 0)["lstm.weight_hh_l0"])
    assert not torch.equal(drawn["lstm.weight_hh_l0"], initial(100, 1)["lstm.weight_hh_l0"])


def test_chrono_biases_remember_up_to_the_length_of_the_sequence():
    units = 1500  # the orthogonal weights of more take minutes
    drawn, plain = initial(units, 3, chrono=400), initial(units, 3)
    i, f, g, o = drawn["lstm.bias_ih_l0"].reshape(4, units)
    assert torch.equal(i, -f)
    assert not g.any()
    assert not o.any()
    memory = f.exp()
    assert 1 <= memory.min() < 3
    assert 397 < memory.max() <= 399.01
    assert abs(memory.mean() - 200) < 5 * 398 / math.sqrt(12 * units)  # uniform, five deviations
    for name in set(drawn) - {"lstm.bias_ih_l0"}:
        assert torch.equal(drawn[name], plain[name])


@pytest.mark.parametrize("gate", ["forget", "input"])
def test_chrono_biases_of_one_gate_leave_the_other_as_it_was(gate):
    both, plain = initial(100, 3, chrono=400), initial(100, 3, forget_bias=2.0)
    name, places = "lstm.bias_ih_l0", {"input": slice(0, 100), "forget": slice(100, 200)}
    drawn = initial(100, 3, forget_bias=2.0, chrono=400, gate=gate)
    for other, place in places.items():
        expected = both if other == gate else plain
        assert torch.equal(drawn[name][place], expected[name][place])
    model = {"initial": f"chrono-{gate}", "forget_bias": 2.0}
    config = configuration.build(Config, {"model": model, "dataset": {"t": 150, "dt_length": 10}}, "file")
    run = training(Plan(config, (3,), lambda models: Mean(models, 100), "mean"))
    expected = initial(100, 3, forget_bias=2.0, chrono=150, gate=gate)
    assert torch.equal(run.best[name][0], expected[name])


def test_an_initial_value_that_is_none_is_named():
    with pytest.raises(
        ValueError, match=r"model\.initial: got .*chrono-both.*, needs one of .*chrono-forget"
    ):
        configuration.build(Config, {"model": {"initial": "chrono-both"}}, "file")


@pytest.mark.parametrize(
    ("monitor", "watched", "stops", "best"),
    [
        ("val_loss", [9, 5, 6, 5, 7, 1], 5, 2),  # an equal loss is no new best
        ("loss", [9, 5, 6, 5, 7, 1], 5, 2),
        ("val_loss", [9, 8, 9, 9, 7, 6, 6, 6], 8, 6),
        ("val_loss", [9, math.nan, 1, 1, 1, 1], 2, 1),
    ],
)
def test_a_model_stops_when_what_is_watched_stays_and_keeps_the_best(
    monkeypatch, monitor, watched, stops, best
):
    config = Config(
        dataset=Dataset(20, 3),
        train=Train(epochs=8, batch=7, es_patience=3),
        model=Model(3),
        optim=Optim(monitor=monitor, learning_rate=0.1),
    )
    run = training(Plan(config, (5,), Mean, "mean"))
    biases, script, plain = [], iter(watched), Training.end_epoch

    def end_epoch(self):
        """End the epoch with the next value as what is watched, and 0.5 as the other loss."""
        value = float(next(script))
        loss, error = (value, 0.5) if monitor == "loss" else (0.5, value)
        self.learner.losses = torch.tensor([loss * self.learner.samples], dtype=torch.float64)
        self.learner._measure = lambda net, models: [{"val_loss": error, "within": 0.0}]
        biases.append(self.learner.net.output["bias"].item())
        return plain(self)

    monkeypatch.setattr(Training, "end_epoch", end_epoch)
    while not run.finished:
        run.advance()
    (one,) = run.records
    assert len(one.rows) == stops
    assert one.best_epoch == best
    assert run.best["output.bias"].item() == biases[best - 1]
    assert len(set(biases)) == len(biases)


def test_a_model_stops_as_soon_as_it_is_solved_or_at_the_last_epoch():
    config = Config(dataset=Dataset(20, 3), train=Train(epochs=3, batch=7), model=Model(3))
    for below, stopped, epochs in ((100.0, "solved", 1), (None, "epochs", 3)):
        own = Config(dataset=config.dataset, train=Train(3, 7, stop_below=below), model=config.model)
        run = training(Plan(own, (0, 1), Mean, "mean"))
        while not run.finished:
            run.advance()
        assert [one.stopped for one in run.records] == [stopped] * 2
        assert [len(one.rows) for one in run.records] == [epochs] * 2


def test_every_sequence_trains_once_in_a_pass_and_the_last_ones_validate():
    config = Config(dataset=Dataset(100, 4), train=Train(batch=8), optim=Optim(validation_split=0.7))
    assert config.rows_to_train() == 30
    batches = Batches(Plan(config, (2,), Mean, "mean"))
    seen = []
    for number in range(2):
        passed = []
        for place in range(batches.steps):
            passed += batches.batch(number * batches.steps + place, [0])[1][0].tolist()
        assert sorted(passed) == sorted(batches.data[0].targets[:30].tolist())
        seen.append(passed)
    assert seen[0] != seen[1]


def test_every_shipped_configuration_loads():
    paths = sorted(CONFIGS.glob("adding*.yaml"))
    assert {path.stem for path in paths} >= {
        "adding",
        "adding-replica",
        "adding-cpu",
        "adding-gpu",
        "adding-le2015",
    }
    for path in paths:
        config = configuration.load(Config, path)
        assert list(config.combinations())
    replica = configuration.load(Config, CONFIGS / "adding-replica.yaml")
    assert replica.rows_to_train() == 30_000
    assert replica.optim.monitor == "loss"


def test_a_sweep_has_every_combination_in_a_folder_of_its_own():
    sweep = Sweep(t=(5, 6), forget_bias=(1.0, 20.0), clip_norm=(None, 10.0))
    found = list(Config(Path("out"), sweep=sweep).combinations())
    assert len({config.artifacts for _, config in found}) == 8
    chosen, last = found[-1]
    assert chosen == {"t": 6, "forget_bias": 20.0, "clip_norm": 10.0}
    assert (last.dataset.t, last.model.forget_bias, last.optim.clip_norm) == (6, 20.0, 10.0)
    assert last.artifacts == Path("out/t6-forget_bias20-clip_norm10")
    assert not next(last.combinations())[0]


def test_titles_of_panels_do_not_overlap():
    values = {"t": 150, "forget_bias": 10.0, "learning_rate": 0.01, "clip_norm": None}
    curve = [{"seed": 0, "updates": updates, "loss": 0.2, "val_loss": 0.2} for updates in (100, 200)]
    figure = losses_figure([(panel_title(values), curve)] * 4)
    figure.draw_without_rendering()
    boxes = [axis.title.get_window_extent() for axis in figure.axes]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert max(box.y1 for box in boxes) <= figure.bbox.y1


def test_denormals_are_flushed_within_the_block_only():
    def kept():
        return (torch.tensor([1e-40]) * 1).item() != 0

    assert kept()
    with flushed_denormals():
        assert not kept()
        with flushed_denormals():
            pass
        assert not kept()
    assert kept()


def test_workers_that_start_within_the_block_flush_too(tmp_path):
    script = """
import numpy as np
import torch
from mathkernels.experiment.denormals import flushed_denormals
from mathkernels.experiment.training import Training
from mathkernels.studies.adding import training as adding_training

torch.set_num_threads(2)
denormal = torch.from_numpy(np.full(1 << 20, 1e-40, np.float32))
with flushed_denormals():
    print(int((denormal * 1).count_nonzero()))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
