"""The loop and the checkpoint of trainers, on trainers that are a model, a batch function and a table."""

from __future__ import annotations

import json
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

pytest.importorskip("safetensors")
pytest.importorskip("tqdm")

from mathkernels.experiment import loop, tensor_files
from mathkernels.experiment.checkpoint import FORMAT, STATE, Checkpoint
from mathkernels.experiment.learners import Alone, SideBySide
from mathkernels.experiment.logs import JsonLines
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.experiment.schedule import NEVER, Schedule, Table
from mathkernels.experiment.training import Training
from mathkernels.optim import BatchedOptimizer

WEIGHTS = torch.tensor([2.0, -1.0, 0.5])  # that the models have to find
COLUMNS = {"seed": int, "epoch": int, "updates": int, "loss": float, "val_loss": float}
CONFIG = {"task": "scale", "sizes": (1, 2)}


class Scales(nn.Module):
    """E models that multiply their input by a weight: (E,B) -> (E,B)."""

    def __init__(self, models):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(models))

    def forward(self, x):
        return x * self.weight[:, None]


def side_by_side(**schedule):
    """Three models with a weight each, of which those with a small one are solved first."""

    def batch(step, models):
        source = torch.Generator().manual_seed(step)
        x = torch.randn(8, generator=source).expand(len(models), 8)
        return x, x * WEIGHTS[models][:, None]

    def measure(net, models):
        return [{"val_loss": value} for value in (net.weight - WEIGHTS[models]).square().tolist()]

    learner = SideBySide(
        Scales,
        {"weight": torch.zeros(3)},
        partial(BatchedOptimizer, "adam", 0.1, None),
        batch,
        lambda answers, targets: (answers - targets).square(),
        measure,
    )
    table = Table(COLUMNS, [{"seed": seed} for seed in range(3)], "val_loss", steps="updates")
    return Training(learner, Schedule(**{"epochs": 9, "steps": 4, "samples": 32, **schedule}), table)


def alone(every=1, from_start=False, seed=0):
    """A net with dropout, which draws from torch's global generator as the orders of samples do."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5), nn.BatchNorm1d(5), nn.Linear(5, 1))
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))

    def loss(rows, step):
        error = (net(x[rows])[:, 0] - x[rows, 0]).square().mean()
        return error, {"train": error}

    learner = Alone(
        net,
        torch.optim.Adam(net.parameters()),
        samples=20,
        batch=6,
        loss=loss,
        measure=lambda: {"valid": net[0](x).square().mean().item()},
        noted=("train",),
    )
    columns = {"seed": int, "epoch": int, "train": float, "valid": float}
    schedule = Schedule(epochs=5, steps=learner.steps, samples=20, every=every, from_start=from_start)
    return Training(learner, schedule, Table(columns, [{"seed": seed}], "valid"))


def contents(training):
    tensors, values = training.state()
    return {name: own.clone() for name, own in tensors.items()}, json.dumps(values)


def assert_same(one, other):
    assert one[1] == other[1]
    assert one[0].keys() == other[0].keys()
    assert all(torch.equal(own, other[0][name]) for name, own in one[0].items())


def test_models_that_are_solved_stop_and_keep_their_best_weights(tmp_path):
    training = side_by_side(epochs=200, solved=("val_loss", 1e-3))
    assert loop.train(training, Checkpoint(tmp_path / "checkpoint", CONFIG))
    assert training.finished
    assert {one.stopped for one in training.records} == {"solved"}
    ends = [one.rows[-1]["epoch"] for one in training.records]
    assert len(set(ends)) > 1  # they do not stop at once
    torch.testing.assert_close(training.best["weight"], WEIGHTS, rtol=0, atol=0.04)
    for seed, one in enumerate(training.records):
        assert [row["epoch"] for row in one.rows] == [*range(1, ends[seed] + 1)]
        assert all(row["seed"] == seed and row["updates"] == 4 * row["epoch"] for row in one.rows)
        assert one.best == min(row["val_loss"] for row in one.rows)
        assert one.best == one.rows[one.best_epoch - 1]["val_loss"]


def test_models_stop_together_where_the_schedule_says_so(tmp_path):
    training = side_by_side(epochs=200, solved=("val_loss", 1e-3), together=True)
    loop.train(training, Checkpoint(tmp_path / "checkpoint", CONFIG))
    assert len({one.rows[-1]["epoch"] for one in training.records}) == 1
    assert {one.stopped for one in training.records} == {"solved"}


@pytest.mark.parametrize(
    "make", [side_by_side, partial(side_by_side, solved=("val_loss", 0.2)), alone, partial(alone, every=2)]
)
def test_a_training_that_is_cut_after_any_step_ends_with_the_same_bits(make, tmp_path):
    whole, path = make(), tmp_path / "checkpoint"
    while not whole.finished:
        whole.advance()
    for steps in range(1, 20):
        cut = make()
        for _ in range(steps):
            cut.advance()
        Checkpoint(path, CONFIG).save(cut)
        torch.manual_seed(99)  # whoever goes on has another generator
        again = make()
        Checkpoint(path, CONFIG).resume(again)
        assert_same(contents(cut), contents(again))
        while not again.finished:
            again.advance()
        assert_same(contents(whole), contents(again))


@pytest.mark.parametrize(
    ("every", "from_start", "epochs"),
    [(1, False, [1, 2, 3, 4, 5]), (2, False, [2, 4, 5]), (2, True, [0, 2, 4, 5]), (5, True, [0, 5])],
)
def test_epochs_are_measured_as_often_as_the_schedule_says_and_at_the_end(every, from_start, epochs):
    training = alone(every, from_start)
    while not training.finished:
        training.advance()
    assert [row["epoch"] for row in training.rows()] == epochs


def test_trainings_that_follow_each_other_are_each_trained_once(tmp_path, monkeypatch):
    def run(folder, left=10**9):
        plain, count = Training.update, [left]

        def update(self):
            count[0] -= 1
            if count[0] < 0:
                raise KeyboardInterrupt
            plain(self)

        checkpoint = Checkpoint(folder / "checkpoint", CONFIG)
        with monkeypatch.context() as patch:
            patch.setattr(Training, "update", update)
            makers = [partial(alone, seed=seed) for seed in range(3)]
            done = loop.train_each(makers, checkpoint, lambda own: own.rows())
        return done, checkpoint.finished

    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = run(tmp_path / "whole")
    assert [len(rows) for rows in whole[1]] == [5, 5, 5]
    for left, over in ((7, 0), (20, 1), (40, 3)):
        done, finished = run(tmp_path / "cut", left)
        assert (done, len(finished)) == (over == 3, over)
    assert run(tmp_path / "cut", 0) == whole


def test_lines_of_the_log_behind_the_checkpoint_are_written_once(tmp_path):
    folder = RunFolder(tmp_path)
    training = side_by_side()
    for _ in range(9):
        training.advance()
    Checkpoint(folder.checkpoint, CONFIG).save(training)
    (tmp_path / "log.jsonl").write_text('{"epoch": 7}\n')
    again = side_by_side()
    loop.train(again, Checkpoint(folder.checkpoint, CONFIG), [JsonLines(folder, "log.jsonl")])
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [{name: row[name] for name in COLUMNS} for row in logged] == again.rows()


def test_the_bar_counts_samples_and_what_is_left(tmp_path, monkeypatch):
    class Counter(SimpleNamespace):
        def update(self, n):
            self.n += n
            seen.append((self.n, self.total))

        def set_postfix_str(self, text, refresh):
            self.text = text

        def close(self):
            seen.append(self.text)

    seen: list = []
    library = SimpleNamespace(tqdm=lambda total, initial, **_: Counter(n=initial, total=total, text=""))
    monkeypatch.setattr(loop, "load", lambda name: library)
    loop.train(side_by_side(epochs=2), Checkpoint(tmp_path / "one", CONFIG))
    *counts, text = seen
    assert counts == [(24 * step, 192) for step in range(1, 9)]
    assert text.startswith("val_loss ")
    assert text.endswith(", 0 models go on")
    seen.clear()
    loop.train_each([alone, alone], Checkpoint(tmp_path / "two", CONFIG), lambda own: None)
    assert seen[0] == (6, 200)
    assert seen[-2] == (200, 200)


# checkpoints of something else


def written(path, tensors, texts):
    tensor_files.write(path, tensors, {name: json.dumps(own) for name, own in texts.items()})


def refused(path, message):
    with pytest.raises(ValueError, match=message) as error:
        Checkpoint(path, CONFIG).resume(side_by_side())
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert "--overwrite starts anew" in str(error.value)


def test_a_checkpoint_of_an_older_format_is_refused(tmp_path):
    path = tmp_path / "checkpoint"
    older = {"updates": 3, "rows": 1, "progress": [], "steps": 3}
    written(path, {"best.weight": torch.zeros(3)}, {STATE: older})
    refused(path, f"its format is None, this version of mathkernels reads {FORMAT}")
    facts = {"kind": "mathkernels equations checkpoint", "config": CONFIG, "epoch": 1}
    written(path, {"engine/weight": torch.zeros(3)}, {"mathkernels": facts})
    refused(path, "its metadata lacks 'state'")
    Checkpoint(tmp_path / "new", CONFIG).save(side_by_side())
    tensors, texts = tensor_files.read(tmp_path / "new")
    written(path, tensors, {STATE: {**json.loads(texts[STATE]), "format": FORMAT + 1}})
    refused(path, f"its format is {FORMAT + 1}, this version")


def test_a_checkpoint_of_another_model_or_configuration_is_refused(tmp_path):
    path = tmp_path / "checkpoint"
    Checkpoint(path, {**CONFIG, "task": "another"}).save(side_by_side())
    refused(path, "is of another configuration")
    Checkpoint(path, CONFIG).save(alone())
    refused(path, "is of another model, weight lacks")
    path.write_bytes(b"nothing of the kind")
    refused(path, "is damaged or no checkpoint of this trainer")


def test_a_model_without_a_finite_value_has_no_best_epoch(tmp_path):
    training = side_by_side()
    training.learner._measure = lambda net, models: [{"val_loss": float("nan")}] * len(models)
    loop.train(training, Checkpoint(tmp_path / "checkpoint", CONFIG))
    assert [(one.stopped, one.best_epoch) for one in training.records] == [("diverged", NEVER)] * 3
    assert not training.best["weight"].any()
