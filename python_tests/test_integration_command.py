"""The command of the trainer on symbolic integration: configurations, files, asking, comparing, resuming."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
pytest.importorskip("safetensors")
pytest.importorskip("yaml")
pytest.importorskip("symengine")
pytest.importorskip("flint")

import symbolic_cases
from trainer_cases import made, stop_after

from mathkernels.experiment import configuration
from mathkernels.studies.integration import robustness, textbooks
from mathkernels.studies.integration.config import Config, published_trials
from mathkernels.studies.integration.weights import Answerer

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return symbolic_cases.write(tmp_path_factory.mktemp("data"))


# configurations


def test_presets_are_read_and_the_replica_is_the_projects():
    for name in ("smoke", "cpu", "full"):
        own = configuration.load(Config, ROOT / "configs" / f"symbolic-{name}.yaml")
        assert all(trial.num_units > 0 for trial in own.model_params.values())
    assert own.model_params == published_trials()
    assert (own.batch_size, own.steps_per_epoch, own.validation_steps, own.patience) == (128, 100, 20, 5)
    theirs = own.as_published()
    assert (theirs.output_activation, theirs.masked_loss) == ("tanh", False)
    assert not theirs.shuffle
    assert not theirs.encoder_state


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_params": {}}, "model_params: got no trial"),
        ({"beams": ()}, "beams: got"),
        ({"beams": (1, 1)}, "beams: got"),
        ({"beams": (0,)}, "beams: got 0"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"train_most": 0}, "train_most: got 0"),
    ],
)
def test_a_configuration_that_cannot_be_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        Config(**values)


# the command


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        trainer = made("symbolic", root, patch)
        assert trainer(root / "run", models=3) == 0
    return trainer, root / "run"


def test_a_run_leaves_a_table_of_every_trial(trained):
    _, run = trained
    with (run / "history.csv").open() as file:
        history = [*csv.DictReader(file)]
    assert [(row["trial"], row["epoch"]) for row in history] == [
        (f"trial_{trial}", str(epoch)) for trial in (1, 2, 3) for epoch in (1, 2)
    ]
    with (run / "scores.csv").open() as file:
        scores = [*csv.DictReader(file)]
    assert len(scores) == 3 * 2 * 2
    assert all(int(row["invalid"]) == 0 for row in scores if row["legal"] == "1")
    text = (run / "table.md").read_text()
    assert "| trial_2 | LSTM 4, 2 heads, RMSprop |" in text
    assert "| y' = 2*x | trial_1 | y = " in text
    assert json.loads((run / "status.json").read_text())["status"] == "finished"


def test_a_trained_model_answers_and_says_how_sure(trained, capsys):
    trainer, run = trained
    capsys.readouterr()
    assert trainer(run, "--ask", "integrate x*cos(x)", "sin(2*x) + pi") == 0
    shown = capsys.readouterr().out
    assert "Y' = x*cos(x)" in shown
    assert shown.count("verdict: ") == 2
    assert shown.count("LaTeX: ") == 2
    assert "warning: no problem of the training holds" in shown
    with (run / "history.csv").open() as file:
        best = min(csv.DictReader(file), key=lambda row: float(row["val_loss"]))
    assert shown.startswith(f"{best['trial']}, weights of epoch {best['epoch']}, ")
    for trial in "123":
        assert trainer(run, "--ask", "x", "--trial", trial) == 0
        assert capsys.readouterr().out.startswith(f"trial_{trial}, weights of epoch ")


def test_problems_of_other_kinds_are_tried(trained, monkeypatch, capsys):
    trainer, run = trained
    books = textbooks.books(["Stewart"])
    books["Stewart"].problems[:] = books["Stewart"].problems[:5]
    monkeypatch.setattr(textbooks, "books", lambda: books)
    monkeypatch.setattr(robustness, "EACH", 3)
    monkeypatch.setattr(robustness, "FEWEST", 0)
    plain = robustness.Suite.sums
    known = [(("pow", "x", -1), ("ln", "x")), ("x", ("mul", ("div", 1, 2), ("pow", "x", 2))), (1, "x")]
    known += [(("cos", "x"), ("sin", "x")), (("exp", "x"), ("exp", "x"))]
    monkeypatch.setattr(robustness.Suite, "sums", lambda self, solved, *how: plain(self, known, *how))
    capsys.readouterr()
    assert trainer(run, "--robustness") == 0
    assert "| textbook: Stewart | 5 | " in capsys.readouterr().out
    with (run / "robustness.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == len(robustness.FAMILIES) + 3 + 1
    assert {row["problems"] for row in rows} == {"3", "5"}
    assert [row["sympy_right"] != "" for row in rows] == [False] * (len(rows) - 1) + [True]
    assert 3 <= int(rows[-1]["sympy_right"]) <= 5
    with (run / "robustness-samples.csv").open() as file:
        found = [*csv.DictReader(file)]
    assert {row["verdict"] for row in found} <= {"right", "wrong", "undecided"}
    tried = sum(int(row["problems"]) - int(row["too_long"]) for row in rows)
    assert len(found) == tried


def test_runs_are_compared(trained, tmp_path, capsys):
    trainer, run = trained
    capsys.readouterr()
    assert trainer(tmp_path / "unused", "--compare", str(run), str(run)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 2 * 3 + 1
    assert lines[2].startswith("| run | trial_1 | bwd | repaired | 0 | 2 (")
    assert lines[-1].startswith("| published | transformer, beam 10 | bwd |")
    for folder, message in ((tmp_path / "none", "there is no folder"), (tmp_path, "holds no run")):
        with pytest.raises(SystemExit):
            trainer(tmp_path / "unused", "--compare", str(folder))
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("integrate foo(x)", "'foo' at character 1 is no function"),
        ("x +", "the text ends where an expression is expected"),
        ("x*y", "holds 'y'; needs a function of x alone"),
        ("", "--ask"),
        ("+".join(f"sin({k}*x)" for k in range(2, 40)), "words; needs at most"),
        ("__import__('os').system('true')", "has no meaning here"),
    ],
)
def test_a_problem_that_cannot_be_read_is_one_line(trained, capsys, question, message):
    trainer, run = trained
    capsys.readouterr()
    with pytest.raises(SystemExit):
        trainer(run, "--ask", question)
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_trial_that_is_not_there_is_named_with_the_nearest(trained, tmp_path, capsys):
    trainer, run = trained
    for given, more in (("trail_1", "did you mean trial_1?"), ("9", "trial_9")):
        with pytest.raises(SystemExit):
            trainer(tmp_path / "other", "--trial", given, models=2)
        assert more in capsys.readouterr().err
    with pytest.raises(SystemExit):
        trainer(tmp_path / "nothing", "--ask", "x")
    assert "holds no weights; train there first" in capsys.readouterr().err
    (run / "notes.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"notes\.safetensors"):
        Answerer(run)
    (run / "notes.safetensors").unlink()


def test_the_same_run_in_two_parts_has_the_same_bits(tmp_path, monkeypatch):
    trainer = made("symbolic", tmp_path, monkeypatch)
    assert trainer(tmp_path / "whole", "--stock", models=2) == 0
    for epochs, steps in ((1, 1), (3, 0)):
        run = tmp_path / f"cut-{epochs}"
        stop_after(monkeypatch, epochs, steps)
        assert trainer(run, "--stock", models=2) == 130
        monkeypatch.undo()
        again = made("symbolic", tmp_path, monkeypatch)
        assert again(run, "--stock", "--resume", models=2) == 0
        for name in ("trial_1.safetensors", "trial_2.safetensors", "scores.csv", "samples.csv"):
            assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_command_counts_without_training(data, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("train_symbolic", ROOT / "examples" / "train_symbolic.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    own = ["--preset", "smoke", "--data", str(data), "--out", str(tmp_path / "run"), "--threads", "1"]
    assert module.main([*own, "--no-train", "--set", "batch_size=20", "--trial", "2"]) == 0
    shown = capsys.readouterr().out
    assert "60 pairs train, 12 validate, test: 12 bwd" in shown
    assert "trial_2: LSTM of 32 units" in shown
    assert "trial_1" not in shown
    assert not (tmp_path / "run").exists()
    with pytest.raises(SystemExit):
        module.main([*own, "--no-train", "--device", "cuda"])
    assert "for which our layers have no kernel" in capsys.readouterr().err
