"""The trainer of the adding problem from its command line to its files."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
pytest.importorskip("safetensors")
pytest.importorskip("scipy")
pytest.importorskip("yaml")

from safetensors.torch import load_file

from mathkernels.data import adding
from mathkernels.experiment import configuration, loop
from mathkernels.experiment.training import Training
from mathkernels.studies.adding.config import Config

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "train_adding.py"
TINY = """
dataset: {dt_length: 500, t: 6}
train: {epochs: 4, batch: 60, es_patience: 9}
model: {cells: 8}
optim: {learning_rate: 0.01}
sweep: {t: [5, 6], initial: [keras, chrono]}
"""
SAME = ("seed", "epoch", "updates", "loss", "val_loss", "within")  # of loss.csv; seconds differ


@pytest.fixture
def trainer(monkeypatch):
    """The example as a module; one thread, because torch's own sums depend on their number."""
    spec = importlib.util.spec_from_file_location("train_adding", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    torch.set_num_threads(1)
    return module


@pytest.fixture
def command(tmp_path):
    """Arguments of a small training into a folder of the test."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return lambda name, *values: ["--config", str(path), "--set", f"artifacts={tmp_path / name}", *values]


def rows(path, columns=SAME):
    with path.open() as file:
        return [{name: row[name] for name in columns} for row in csv.DictReader(file)]


def weights(folder):
    return {path.name: load_file(path) for path in sorted((folder / "model").iterdir())}


def assert_same_results(first, second):
    assert rows(first / "loss.csv") == rows(second / "loss.csv")
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    for name, tensors in one.items():
        assert all(torch.equal(value, other[name][key]) for key, value in tensors.items())


@pytest.mark.parametrize("layer", [[], ["--stock"]])
def test_a_training_leaves_its_artefacts(trainer, command, tmp_path, layer):
    assert trainer.main([*command("run"), "--models", "2", *layer]) == 0
    run = tmp_path / "run"
    losses = rows(run / "loss.csv")
    assert [(row["seed"], row["epoch"], row["updates"]) for row in losses] == [
        (str(seed), str(epoch), str(epoch * 6)) for seed in (0, 1) for epoch in (1, 2, 3, 4)
    ]
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((run / "status.json").read_text())["status"] == "finished"
    copy = configuration.load(Config, run / "config_copy.yaml")
    assert copy == configuration.load(Config, tmp_path / "tiny.yaml", [f"artifacts={run}"])
    assert sorted(weights(run)) == ["seed0.safetensors", "seed1.safetensors"]


def test_predictions_are_those_of_the_weights_in_a_stock_layer(trainer, command, tmp_path):
    assert trainer.main([*command("run"), "--models", "2"]) == 0
    assert trainer.main([*command("run"), "--mode", "validate"]) == 0
    with np.load(tmp_path / "run" / "pred.npz") as held:
        x, y, y_hat = (torch.from_numpy(held[name]) for name in ("x", "y", "y_hat"))
    assert x.shape == (500, 6, 2)
    assert torch.equal((x[..., 0] * x[..., 1]).sum(1), y)
    own = adding.generate(500, 6, 0)
    assert not np.isin(x[..., 0].numpy(), own.numbers).any()  # new ones
    layer, output = torch.nn.LSTM(2, 8, batch_first=True), torch.nn.Linear(8, 1)
    measured = json.loads((tmp_path / "run" / "pred.json").read_text())["models"]
    for index, tensors in enumerate(weights(tmp_path / "run").values()):
        for module, prefix in ((layer, "lstm."), (output, "output.")):
            own_state = {key.removeprefix(prefix): value for key, value in tensors.items() if prefix in key}
            module.load_state_dict(own_state)
        with torch.no_grad():
            expected = output(layer(x)[0][:, -1])[:, 0]
        torch.testing.assert_close(y_hat[index], expected, rtol=0, atol=1e-5)
        errors = (y_hat[index].double() - y).numpy()
        assert measured[index]["mse"] == pytest.approx(float((errors**2).mean()))
        assert measured[index]["within"] == pytest.approx(float((abs(errors) < 0.04).mean()))


def test_an_lstm_learns_short_sequences(trainer, command, tmp_path):
    settings = ["train.epochs=30", "train.stop_below=0.01", "dataset.dt_length=3000", "model.cells=16"]
    assert trainer.main([*command("run", *settings, "optim.learning_rate=0.02")]) == 0
    last = rows(tmp_path / "run" / "loss.csv")[-1]
    assert float(last["val_loss"]) < 0.01  # always answering 1: 0.167
    (run,) = rows(tmp_path / "run" / "runs.csv", ("stopped", "best_val_loss", "epochs"))
    assert run["stopped"] == "solved"
    assert int(run["epochs"]) < 30


def test_the_stock_layer_trains_alike(trainer, command, tmp_path):
    """Both start from equal weights and see equal batches; they differ by rounding."""
    assert trainer.main(command("ours")) == 0
    assert trainer.main([*command("stock"), "--stock"]) == 0
    ours, stock = (rows(tmp_path / name / "loss.csv", ("loss", "val_loss")) for name in ("ours", "stock"))
    for one, other in zip(ours, stock, strict=True):
        for name in one:
            # 24 updates; rounding of 6e-8 grows by Adam, whose steps are as long for small gradients
            assert float(one[name]) == pytest.approx(float(other[name]), rel=1e-3)


@pytest.mark.parametrize("layer", [[], ["--stock"]])
def test_a_model_alone_equals_itself_beside_models_that_stop_earlier(trainer, command, tmp_path, layer):
    stopping = ["train.es_patience=1", "optim.learning_rate=0.1", "train.epochs=12"]
    assert trainer.main([*command("all", *stopping), "--models", "4", *layer]) == 0
    together = rows(tmp_path / "all" / "loss.csv")
    ends = {row["seed"]: row["epoch"] for row in together}
    assert len(set(ends.values())) > 1  # they do not stop together
    for seed in range(4):
        alone = tmp_path / f"seed{seed}"
        assert trainer.main([*command(alone.name, *stopping, f"optim.seed={seed}"), *layer]) == 0
        assert rows(alone / "loss.csv") == [row for row in together if row["seed"] == str(seed)]
        name = f"seed{seed}.safetensors"
        one, other = weights(alone)[name], weights(tmp_path / "all")[name]
        assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_a_killed_and_resumed_training_equals_an_uninterrupted_one(command, tmp_path):
    """Killed at several moments; the checkpoint is written after every update."""
    size = ["train.epochs=40", "train.es_patience=10", "optim.learning_rate=0.03"]
    program = (
        "import sys, runpy; from mathkernels.experiment import loop as t; t.SAVE_SECONDS = 0.0; "
        f"sys.argv[0] = {str(EXAMPLE)!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    begin = [sys.executable, "-c", program]
    more = ["--models", "3", "--threads", "1"]
    # in a folder where the sources do not hide an installed package
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    here = {"env": environment, "cwd": tmp_path}
    subprocess.run([*begin, *command("whole", *size), *more], check=True, capture_output=True, **here)
    killed, checkpoint = 0, tmp_path / "cut" / "checkpoint"
    for wait in (0.0, 0.01, 0.03):
        resume = ["--resume"] if killed else []
        process = subprocess.Popen([*begin, *command("cut", *size), *more, *resume], **here)
        old = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == old):
            time.sleep(0.001)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed >= 2
    assert not (tmp_path / "cut" / "loss.csv").exists()  # it was not over
    command_line = [*begin, *command("cut", *size), *more, "--resume"]
    subprocess.run(command_line, check=True, capture_output=True, **here)
    assert_same_results(tmp_path / "whole", tmp_path / "cut")


def test_ctrl_c_keeps_what_is_done_and_resume_goes_on(trainer, command, tmp_path, monkeypatch):
    assert trainer.main([*command("whole"), "--models", "2"]) == 0
    plain, left = Training.update, [15]

    def interrupted(self):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        plain(self)

    monkeypatch.setattr(Training, "update", interrupted)
    assert trainer.main([*command("cut"), "--models", "2"]) == 130
    assert len(rows(tmp_path / "cut" / "loss.csv")) == 2 * 2  # two whole epochs of both models
    assert (tmp_path / "cut" / "loss.png").exists()
    assert json.loads((tmp_path / "cut" / "status.json").read_text())["status"] == "interrupted"
    monkeypatch.setattr(Training, "update", plain)
    with pytest.raises(SystemExit):  # neither --resume nor --overwrite
        trainer.main([*command("cut"), "--models", "2"])
    assert trainer.main([*command("cut"), "--models", "2", "--resume"]) == 0
    assert_same_results(tmp_path / "whole", tmp_path / "cut")


def test_a_sweep_trains_every_combination_and_keeps_finished_ones(trainer, command, tmp_path, capsys):
    size = ["train.epochs=2", "train.stop_below=10"]
    assert trainer.main([*command("sweep", *size), "--sweep", "--models", "2"]) == 0
    assert "| 6 | chrono | 0/2 [0%, 66%] | – |" in capsys.readouterr().out
    folder = tmp_path / "sweep"
    names = ["t5-initialkeras", "t5-initialchrono", "t6-initialkeras", "t6-initialchrono"]
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(names)
    runs = rows(folder / "sweep.csv", ("t", "initial", "seed", "stopped"))
    assert [tuple(row.values()) for row in runs] == [
        (t, initial, seed, "solved") for t in "56" for initial in ("keras", "chrono") for seed in "01"
    ]
    for picture in ("losses.png", "loss_vs_t.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    kept, again = (folder / name / "loss.csv" for name in names[:2])
    before = kept.stat().st_mtime_ns
    status = json.loads((folder / names[1] / "status.json").read_text())
    (folder / names[1] / "status.json").write_text(json.dumps({**status, "status": "interrupted"}))
    again.unlink()
    assert trainer.main([*command("sweep", *size), "--sweep", "--models", "2", "--resume"]) == 0
    assert kept.stat().st_mtime_ns == before
    assert again.exists()
    for other in (["--models", "1"], ["--models", "2", "--stock"]):
        with pytest.raises(SystemExit):
            trainer.main([*command("sweep", *size), "--sweep", *other, "--resume"])
        assert "holds another run, which differs in" in capsys.readouterr().err


def test_logs_for_tensorboard_hold_the_losses(trainer, command, tmp_path):
    pytest.importorskip("tensorboard")
    from mathkernels.studies.arithmetic.tensorboard import read_run

    assert trainer.main([*command("run"), "--models", "2", "--tensorboard", str(tmp_path / "logs")]) == 0
    for seed in "01":
        found, _ = read_run(tmp_path / "logs" / f"run-seed{seed}")
        losses = [row for row in rows(tmp_path / "run" / "loss.csv") if row["seed"] == seed]
        for row in losses:
            for tag in ("loss", "val_loss", "within"):
                assert found[int(row["epoch"])][tag] == pytest.approx(float(row[tag]))


def test_smoke_shrinks_the_shipped_configuration(trainer, tmp_path):
    shipped = ROOT / "configs" / "adding.yaml"
    arguments = ["--config", str(shipped), "--smoke", "--set", f"artifacts={tmp_path / 'smoke'}"]
    assert trainer.main(arguments) == 0
    assert len(rows(tmp_path / "smoke" / "loss.csv")) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "0"], "--models: got 0; needs at least 1"),
        (["--device", "tpu9"], "--device: got tpu9, which torch cannot use here"),
        (["--threads", "0"], "--threads: got 0; needs at least 1"),
        (["train.epoch=3"], r"unknown key train.epoch; did you mean train.epochs\?"),
        (["dataset.t=1"], "dataset.t: got 1; needs at least 2"),
        (["optim.learning_rate=0"], "optim.learning_rate: got 0.0; needs a finite number above 0"),
        (["optim.clip_norm=-1"], "optim.clip_norm: got -1.0; needs a finite number above 0"),
        (["optim.name=lion"], "optim.name: got 'lion' .*, needs one of adam, sgd"),
        (["optim.validation_split=1"], "optim.validation_split: got 1.0; needs a number between 0 and 1"),
        (["optim.validation_split=0.999"], "got dt_length 500 with validation_split 0.999; needs a sequence"),
        (["train.es_patience=0"], "train.es_patience: got 0; needs at least 1"),
        (["model.forget_bias=.nan"], "model.forget_bias: got nan; needs a finite number"),
        (["--mode", "validate"], "artifacts: '.*none' has no model/seed.*; train it with --mode train"),
    ],
)
def test_bad_arguments_are_named(trainer, command, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit):
        trainer.main(
            [*command("none"), *arguments] if arguments[0][0] == "-" else command("none", *arguments)
        )
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not (tmp_path / "none").exists()


def test_a_file_that_is_missing_or_no_yaml_is_named(trainer, tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("dataset: [t")
    for name, message in (("absent.yaml", "absent.yaml' cannot be read"), ("bad.yaml", "is not valid YAML")):
        with pytest.raises(SystemExit):
            trainer.main(["--config", str(tmp_path / name)])
        assert message in capsys.readouterr().err


def test_models_and_checkpoints_of_another_model_are_named(trainer, command, tmp_path, capsys, monkeypatch):
    assert trainer.main(command("run")) == 0

    def refused(arguments, message):
        with pytest.raises(SystemExit):
            trainer.main(arguments)
        error = capsys.readouterr().err
        assert re.search(message, error), error

    other = command("run", "model.cells=9")
    what = r"is of another model, lstm.weight_ih_l0 \(32, 2\); the configuration needs \(36, 2\)"
    refused([*other, "--mode", "validate"], what)
    refused([*other, "--resume"], "holds another run, which differs in model; ")
    refused([*command("run"), "--models", "2", "--resume"], "holds another run, which differs in models")
    run = tmp_path / "run"
    (run / "model" / "seed0.safetensors").write_bytes(b"no weights")
    refused([*command("run"), "--mode", "validate"], "seed0.safetensors' is damaged")
    unfinished = {**json.loads((run / "status.json").read_text()), "status": "interrupted"}
    (run / "status.json").write_text(json.dumps(unfinished))
    good = (run / "checkpoint").read_bytes()
    (run / "checkpoint").write_bytes(good[: len(good) // 2])
    refused([*command("run"), "--resume"], "checkpoint: '.*' is damaged or no checkpoint of this trainer")
    assert trainer.main([*other, "--overwrite"]) == 0
    foreign = (run / "checkpoint").read_bytes()
    assert trainer.main([*command("run"), "--overwrite"]) == 0
    (run / "status.json").write_text(json.dumps(unfinished))
    (run / "checkpoint").write_bytes(foreign)
    refused(
        [*command("run"), "--resume"], r"of another model, lstm.weight_ih_l0 \(1, 36, 2\); needs \(1, 32, 2\)"
    )
