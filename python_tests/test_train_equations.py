"""The trainer of the equation learner from its command line to its files."""

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

import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
pytest.importorskip("safetensors")
pytest.importorskip("yaml")

from safetensors.torch import load_file, save_file
from trainer_cases import stop_after

from mathkernels.experiment import configuration, loop
from mathkernels.studies.equations import ask as equations_ask
from mathkernels.studies.equations.config import Config
from mathkernels.studies.equations.weights import read, read_weights

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "train_equations.py"
DATA = ["data.max_number=99", "data.n_examples=800", "data.new_equations=200", "train.batch_size=128"]
TINY = [*DATA, "model.hidden_size=8", "train.epochs=6"]


@pytest.fixture
def trainer(monkeypatch):
    """The example; one thread, because torch's own sums depend on their number."""
    spec = importlib.util.spec_from_file_location("train_equations", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    torch.set_num_threads(1)
    return module


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("arguments", [["--models", "2"], ["--stock"], ["train.engine=layers"]])
def test_a_training_writes_its_files(trainer, tmp_path, capsys, arguments):
    assert trainer.main([*TINY, *arguments, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    seeds = 2 if "--models" in arguments else 1
    assert "Before training: test loss" in shown
    assert len(re.findall(r"(?m)^\d+ \+ \d+ = .*\(expected: \d+\)$", shown)) == 5 + 20
    assert f"6 epochs of {seeds} networks" in shown
    assert json.loads((tmp_path / "status.json").read_text())["status"] == "finished"
    curve = rows(tmp_path / "curves.csv")
    assert [int(row["epoch"]) for row in curve] == [epoch for epoch in range(1, 7) for _ in range(seeds)]
    assert {"test_character_accuracy", "test_exact_match"} <= set(curve[0])
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in logged] == [float(row["loss"]) for row in curve]
    assert all(row["seconds"] > 0 for row in logged)
    for row in rows(tmp_path / "runs.csv"):
        own = [one for one in curve if one["seed"] == row["seed"]]
        best = min(own, key=lambda one: float(one["test_loss"]))
        assert (best["epoch"], best["test_loss"]) == (row["best_epoch"], row["test_loss"])
        assert float(row["test_exact_match"]) == float(best["test_exact_match"])
        wrong = [one for one in rows(tmp_path / "mistakes.csv") if one["seed"] == row["seed"]]
        assert sum(one["set"] == "new" for one in wrong) == int(row["new_wrong"])
        assert sum(one["set"] == "test" for one in wrong) == int(row["test_wrong"])
    assert sum(int(row["mistakes"]) for row in rows(tmp_path / "strata.csv")) == sum(
        int(row["new_wrong"]) for row in rows(tmp_path / "runs.csv")
    )
    for name in ("accuracy", "loss", "errors", "error_sizes", "neurons", "neuron"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name
    copied = configuration.load(Config, tmp_path / "config.yaml")
    assert copied.train.seeds == ((1, 2) if seeds == 2 else (1,))
    assert copied == read_weights(tmp_path / "model.safetensors")[0]
    assert not list(tmp_path.glob(".*"))


def test_a_training_can_be_asked(trainer, tmp_path, capsys, monkeypatch):
    assert trainer.main([*TINY, "--models", "2", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    assert trainer.main(["--out", str(tmp_path), "--ask", "47 + 58", "1+2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("47 + 58 = ")
    typed = iter(["5 + 6", "five", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    assert trainer.main(["--out", str(tmp_path), "--ask"]) == 0
    found = capsys.readouterr().out.splitlines()
    assert found[1].startswith("5 + 6 = ")
    assert "has 'f'; the network knows" in found[2]


def test_the_network_that_answers_is_the_best_one_with_the_weights_that_were_best(trainer, tmp_path):
    assert trainer.main([*TINY, "--models", "2", "--out", str(tmp_path)]) == 0
    runs = rows(tmp_path / "runs.csv")
    best = min(range(2), key=lambda e: float(runs[e]["test_loss"]))
    answerer = equations_ask.Answerer(tmp_path)
    assert answerer.best == best
    mistakes = [row for row in rows(tmp_path / "mistakes.csv") if row["seed"] == runs[best]["seed"]]
    for row in mistakes[:20]:
        assert answerer.answer(row["equation"]) == row["predicted"]


@pytest.mark.parametrize("engine", ["torch", "fused"])
def test_an_interrupted_training_keeps_the_best_and_resumes_to_the_same_bits(
    trainer, tmp_path, monkeypatch, engine
):
    own = [*TINY, "--models", "2", f"train.engine={engine}"]
    whole, cut = [*own, "--out", str(tmp_path / "whole")], [*own, "--out", str(tmp_path / "cut")]
    assert trainer.main(whole) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        assert trainer.main(cut) == 130
    assert json.loads((tmp_path / "cut" / "status.json").read_text())["status"] == "interrupted"
    assert len(rows(tmp_path / "cut" / "curves.csv")) == 8
    assert len(rows(tmp_path / "cut" / "runs.csv")) == 2  # of the best weights until then
    assert trainer.main(["--out", str(tmp_path / "cut"), "--ask", "1 + 2"]) == 0
    with pytest.raises(SystemExit):  # neither --resume nor --overwrite
        trainer.main(cut)
    assert trainer.main([*cut, "--resume"]) == 0
    for name in ("curves.csv", "runs.csv", "mistakes.csv", "model.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_training_that_was_killed_resumes_to_the_same_curve(trainer, tmp_path):
    """Killed at any moment: here as soon as some epochs are logged, wherever the process is then."""
    own = [*DATA, "--models", "2", "train.epochs=200"]
    whole, cut = [*own, "--out", str(tmp_path / "whole")], [*own, "--out", str(tmp_path / "cut")]
    script = (
        "import sys, runpy; from mathkernels.experiment import loop as t; "
        "t.SAVE_SECONDS = 0.05; sys.argv[0] = 'train_equations.py'; "
        f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    )
    command = [sys.executable, "-c", script, *cut, "--threads", "1"]
    # in a folder where the sources do not hide an installed package
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=tmp_path, env=environment
    )
    log, checkpoint = tmp_path / "cut" / "log.jsonl", tmp_path / "cut" / "checkpoint"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        # epochs are so short that some end before the first checkpoint is due
        if checkpoint.exists() and log.exists() and log.read_text().count("\n") >= 10:
            break
        time.sleep(0.001)
    assert process.poll() is None, process.communicate()[1].decode()[-2000:]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads((tmp_path / "cut" / "status.json").read_text())["status"] == "running"
    assert trainer.main([*cut, "--threads", "1", "--resume"]) == 0
    assert trainer.main([*whole, "--threads", "1"]) == 0
    for name in ("curves.csv", "runs.csv", "model.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_tensorboard_gets_a_run_per_network(trainer, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = tmp_path / "logs"
    command = [*TINY, "--models", "2", "--out", str(tmp_path / "run"), "--tensorboard", str(logs)]
    assert trainer.main(command) == 0
    curve = rows(tmp_path / "run" / "curves.csv")
    for seed in ("1", "2"):
        events = EventAccumulator(str(logs / f"seed-{seed}"))
        events.Reload()
        found = {event.step: event.value for event in events.Scalars("test_exact_match")}
        own = {int(row["epoch"]): float(row["test_exact_match"]) for row in curve if row["seed"] == seed}
        assert found == pytest.approx(own)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs").glob("equations*.yaml")), ids=lambda path: path.stem
)
def test_every_configuration_of_the_repository_trains(trainer, tmp_path, path):
    small = ["data.n_examples=400", "data.new_equations=50", "train.epochs=1", "train.seeds=[1]"]
    assert trainer.main(["--config", str(path), *small, "--out", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "none.yaml"], "'none.yaml' cannot be read"),
        (["train.epocs=3"], r"unknown key train.epocs; did you mean train.epochs\?"),
        (["train.epochs=0"], "train.epochs: got 0, needs at least 1"),
        (["--set", "train.epochs=0", "train.eps=1"], "train.epochs: got 0, needs at least 1"),
        (["train.epochs=x"], "train.epochs: got 'x' .* needs a whole number"),
        (["--models", "0"], "--models: got 0, needs at least 1"),
        (["--threads", "0"], "--threads: got 0, needs at least 1"),
        (["data.max_number=9"], "there are 90 equations"),
        (["model.gate=hard_sigmoid"], "model.gate: got hard_sigmoid, which only --stock"),
        (["model.hidden_size=0"], "model.hidden_size: got 0, needs at least 1"),
        (["train.seeds=[1, 1]"], r"train.seeds: got \[1, 1\], needs distinct"),
        (["--ask", "1 + 2"], "none' is missing; needs the folder of a training"),
    ],
)
def test_bad_arguments_are_named(trainer, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit):
        trainer.main([*arguments, "--out", str(tmp_path / "none")])
    assert re.search(message, capsys.readouterr().err)


def test_files_of_something_else_are_named(trainer, tmp_path, capsys):
    assert trainer.main([*TINY, "--out", str(tmp_path)]) == 0
    file = tmp_path / "model.safetensors"
    whole = file.read_bytes()

    def refused(message):
        with pytest.raises(SystemExit):
            trainer.main(["--out", str(tmp_path), "--ask", "1 + 2"])
        assert re.search(message, capsys.readouterr().err)

    file.write_bytes(whole[:-10])
    refused("model.safetensors' is damaged or no safetensors file")
    save_file({"weight": torch.zeros(2)}, file)
    refused("is of 'something else', needs one of 'mathkernels equations'")
    other = json.dumps({"kind": "mathkernels mathematics"})
    save_file({"weight": torch.zeros(2)}, file, {"mathkernels": other})
    refused("is of 'mathkernels mathematics', needs one of 'mathkernels equations'")
    file.write_bytes(whole)
    tensors, facts = read(file)
    save_file({**tensors, "output.bias": torch.zeros(1, 3)}, file, {"mathkernels": json.dumps(facts)})
    refused(r"has \(1, 3\) for output.bias, this model needs \(1, 13\)")
    file.write_bytes(whole)
    assert load_file(file)["output.bias"].shape == (1, 13)


def test_a_checkpoint_of_another_training_is_refused(trainer, tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    assert trainer.main([*TINY, "--out", str(first)]) == 0
    assert trainer.main([*TINY, "train.seeds=[5]", "--out", str(second)]) == 0
    (second / "checkpoint").write_bytes((first / "checkpoint").read_bytes())
    with pytest.raises(SystemExit):
        trainer.main([*TINY, "train.seeds=[5]", "--out", str(second), "--resume"])
    assert "is of another configuration" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        trainer.main([*TINY, "train.seeds=[6]", "--out", str(second)])
    assert "holds another run, which differs in train" in capsys.readouterr().err
