"""What the trainers' commands say and return: divergence, messages, minus signs, Ctrl-C at any time."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
pytest.importorskip("safetensors")
pytest.importorskip("scipy")
pytest.importorskip("yaml")

from trainer_cases import EQUATIONS, EXAMPLES, OWN, TRAINERS, files, made

from mathkernels.experiment import command_line
from mathkernels.experiment.training import Training
from mathkernels.studies.equations import engine as equations_engine
from mathkernels.studies.equations.fused import FusedEngine


@pytest.fixture(params=TRAINERS)
def trainer(request, tmp_path, monkeypatch):
    return made(request.param, tmp_path, monkeypatch)


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def refused(trainer, capsys, *arguments):
    with pytest.raises(SystemExit):
        trainer(*arguments)
    return capsys.readouterr().err.strip().splitlines()[-1]


# divergence


def break_after(monkeypatch, name, epochs, only=None):
    """Let the weights of models (all, or that of one place) become NaN behind an epoch."""
    if name == "adding":
        plain = Training.end_epoch

        def spoil(self):
            rows = plain(self)
            if self.epoch == epochs:
                for value in self.learner.net.parameters():
                    value.data[slice(None) if only is None else only] = float("nan")
            return rows

        monkeypatch.setattr(Training, "end_epoch", spoil)
    elif name == "equations":
        plain = FusedEngine.train_epoch
        done = [0]

        def spoil(self, *arguments):
            losses = plain(self, *arguments)
            done[0] += 1
            if done[0] > epochs:
                self.ensemble._parameter[slice(None) if only is None else only] = float("nan")
            return losses

        monkeypatch.setattr(FusedEngine, "train_epoch", spoil)
    else:
        plain = Training.update

        def spoil(self):
            plain(self)
            own = self.table.of[0]
            place = own["seed"] if "seed" in own else int(own.get("trial", "trial_1")[6:]) - 1
            if self.epoch > epochs and only in (None, place):
                for value in self.learner.net.parameters():
                    value.data[:] = float("nan")

        monkeypatch.setattr(Training, "update", spoil)


def test_a_training_whose_models_all_diverge_is_no_success(trainer, tmp_path, capsys, monkeypatch):
    if trainer.name == "adding":
        monkeypatch.setattr(Training, "update", nan_update(Training.update))
    else:
        break_after(monkeypatch, trainer.name, 0)
    run = tmp_path / "run"
    assert trainer(run, models=2) == 1
    shown = capsys.readouterr().out
    assert "diverged" in shown
    held = json.loads((run / "status.json").read_text())["diverged"]
    assert held == 1 if trainer.name == "deepmath" else held >= 2
    assert not [name for name in files(run) if name.startswith(("model/", "weights/"))]
    if trainer.name == "equations":
        assert {row["best_epoch"] for row in rows(run / "runs.csv")} == {"0"}
        assert {row["new_exact_match"] for row in rows(run / "runs.csv")} == {""}
        assert {row["diverged"] for row in rows(run / "runs.csv")} == {"1"}
        assert "holds no trained weights" in refused(trainer, capsys, run, "--ask", "1 + 2")
    elif trainer.name == "adding":
        assert {row["stopped"] for row in rows(run / "runs.csv")} == {"diverged"}
        assert "its models diverged" in refused(trainer, capsys, run, "--mode", "validate")
    elif trainer.name in ("deepmath", "symbolic"):
        assert not [name for name in files(run) if name.endswith(".safetensors")]
        assert "holds no " in refused(trainer, capsys, run, "--ask", "1 + 2")
    else:
        assert {row["test_mse"] for row in rows(run / "runs.csv")} == {""}
        assert "" not in {row["diverged"] for row in rows(run / "runs.csv")}


def nan_update(plain):
    def update(self):
        plain(self)
        for value in self.learner.net.parameters():
            value.data[:] = float("nan")

    return update


@pytest.mark.parametrize("name", [name for name in TRAINERS if name != "deepmath"])  # which has one model
def test_a_model_that_diverges_beside_others_is_named_and_keeps_what_it_had(
    name, tmp_path, capsys, monkeypatch
):
    trainer = made(name, tmp_path, monkeypatch)
    break_after(monkeypatch, trainer.name, 1 if trainer.name != "sequential_mnist" else 6, only=1)
    run = tmp_path / "run"
    assert trainer(run, models=2, epochs=4 if trainer.name != "sequential_mnist" else 11) == 0
    assert "diverged" in capsys.readouterr().out
    if name == "symbolic":
        assert json.loads((run / "status.json").read_text())["diverged"] == 1
        assert {f"trial_{k}.safetensors" for k in (1, 2)} <= {*files(run)}
        epochs = [int(row["epoch"]) for row in rows(run / "history.csv") if row["trial"] == "trial_2"]
        assert epochs == [1, 2]
        return
    named = {row["seed"]: row.get("diverged", "") or row.get("stopped", "") for row in rows(run / "runs.csv")}
    first, second = named.values()
    assert first in ("", "epochs")
    assert second not in ("", "epochs")
    if trainer.name == "equations":
        assert trainer(run, "--ask", "1 + 2") == 0
        assert rows(run / "runs.csv")[1]["best_epoch"] == "1"
        assert (
            "seed 2 diverged: its loss is infinite or NaN from epoch 2 on" in (run / "report.txt").read_text()
        )


def test_the_engine_of_torch_sees_a_divergence_too(tmp_path, monkeypatch):
    plain = equations_engine.TorchEngine.train_epoch

    def spoil(self, *arguments):
        for net in self.nets:
            next(net.parameters()).data[:] = float("inf")
        return plain(self, *arguments)

    monkeypatch.setattr(equations_engine.TorchEngine, "train_epoch", spoil)
    trainer = made("equations", tmp_path, monkeypatch)
    assert trainer(tmp_path / "run", "--stock", models=2, epochs=5) == 1
    assert len(rows(tmp_path / "run" / "curves.csv")) == 2  # the others would have changed nothing
    assert trainer(tmp_path / "run", "--stock", "--resume", models=2, epochs=5) == 1


# messages and values


def test_messages_say_what_would_be_right(tmp_path, monkeypatch, capsys):
    adding = made("adding", tmp_path, monkeypatch)
    for text in ("none", "None", "x"):
        line = refused(adding, capsys, tmp_path / "run", f"optim.clip_norm={text}")
        assert re.search(rf"optim.clip_norm: got '{text}' \(a text\), needs a number or null$", line), line
    for text in ("null", "~", ""):
        assert adding(tmp_path / "run", f"optim.clip_norm={text}", "--overwrite") == 0


def test_questions_with_signs_and_divisions_by_0(tmp_path, monkeypatch, capsys):
    trainer = made("equations", tmp_path, monkeypatch)
    own = ["data.operations=['/', '-']", "data.min_number=-9"]
    assert trainer(tmp_path / "run", *own) == 0
    capsys.readouterr()
    assert trainer(tmp_path / "run", "--ask", "-5-3", "-5 / 3", "-4/-2") == 0
    asked = [line.partition(" = ")[0] for line in capsys.readouterr().out.splitlines()]
    assert asked == ["-5-3", "-5 / 3", "-4/-2"]
    line = refused(trainer, capsys, tmp_path / "run", "--ask", "5 / 0")
    assert "equation: got '5 / 0', which divides by 0" in line
    typed = iter(["5 / 0", "-5-3", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    assert trainer(tmp_path / "run", "--ask") == 0
    found = capsys.readouterr().out.splitlines()
    assert "got '5 / 0'" in found[1]
    assert found[2].startswith("-5-3 = ")


@pytest.mark.parametrize("value", ["-1", "-1e-3", "-.5", "-inf", "-nan", "-1e400"])
def test_numbers_below_0_are_values_and_named(tmp_path, monkeypatch, capsys, value):
    trainer = made("sequential_mnist", tmp_path, monkeypatch)
    assert "--z: got" in refused(trainer, capsys, tmp_path / "run", "--z", value)


# Ctrl-C


COMMANDS = {
    "adding": ["--smoke", "--threads", "1"],
    "equations": [*EQUATIONS, "train.epochs=2000", "train.engine=layers", "--threads", "1"],
    "sequential_mnist": ["--unit", "LSTM", "--seeds", "1", "--epochs", "5"],
}


def start(name, tmp_path, *more, ignore=False):
    program = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    if ignore:  # as nohup starts a program
        program = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {program}"
    elif ignore is None:  # a program with a handler of its own
        handler = "lambda *_: print('handled', flush=True)"
        program = f"import signal; signal.signal(signal.SIGINT, {handler}); {program}"
    config = ["--config", str(EXAMPLES.parent / "configs" / "adding.yaml")] if name == "adding" else []
    own = [*config, *(COMMANDS[name] if name in COMMANDS else OWN[name](tmp_path, 1, 8)), *more]
    command = [sys.executable, "-c", program, str(EXAMPLES / f"train_{name}.py"), *own]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=tmp_path, env=environment, **pipe)


@pytest.mark.parametrize("name", TRAINERS)
def test_ctrl_c_while_a_trainer_starts_is_one_line(tmp_path, name):
    """At moments spread over the import of libraries and the making of data."""
    pytest.importorskip("sklearn")
    source, seen = random.Random(name), 0
    for attempt in range(4):
        process = start(name, tmp_path, *(["--overwrite"] if attempt else []))
        # once Python itself is up
        while process.poll() is None and "libtorch" not in open_files(process.pid):
            time.sleep(0.001)
        time.sleep(source.uniform(0, 1.5))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode in (0, 130), err[-2000:]
        if process.returncode == 130:
            seen += 1
            lines = [line for line in err.splitlines() if line.strip() and "it/s" not in line]
            assert "Traceback" not in err
            assert len(lines) == 1, err
            assert lines[0].startswith("interrupted")
    assert seen


def open_files(process):
    try:
        with open(f"/proc/{process}/maps") as maps:
            return maps.read()
    except OSError:
        return "libtorch"  # no such system: at once


@pytest.mark.parametrize("ignore", [True, None])
@pytest.mark.parametrize("name", TRAINERS)
def test_a_signal_that_is_ignored_or_handled_by_the_caller_ends_nothing(tmp_path, name, ignore):
    pytest.importorskip("sklearn")
    process = start(name, tmp_path, *(["train.epochs=20"] if name == "equations" else []), ignore=ignore)
    sent = 0
    while process.poll() is None:  # a few: an interpreter that ends takes its handlers back
        if sent < 4 and list(tmp_path.rglob("status.json")):
            process.send_signal(signal.SIGINT)
            sent += 1
        time.sleep(0.05)
    out, err = process.communicate()
    assert process.returncode == 0, err[-2000:]
    assert sent
    assert ("handled" in out) == (ignore is None)


def test_what_belongs_together_is_not_interrupted():
    for handler, expected in ((signal.default_int_handler, KeyboardInterrupt), (signal.SIG_IGN, None)):
        before = signal.signal(signal.SIGINT, handler)
        reached = []
        try:
            with command_line.uninterrupted():
                os.kill(os.getpid(), signal.SIGINT)
                reached.append(torch.zeros(3).sum())
        except KeyboardInterrupt:
            assert expected is KeyboardInterrupt
        else:
            assert expected is None
        finally:
            assert signal.signal(signal.SIGINT, before) is handler
        assert reached
