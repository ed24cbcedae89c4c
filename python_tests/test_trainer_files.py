"""The trainers' files: overwritten folders, moved ones, equal runs."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
pytest.importorskip("safetensors")
pytest.importorskip("scipy")
pytest.importorskip("yaml")

from trainer_cases import ADDING, TRAINERS, digests, files, made, stop_after

from mathkernels.experiment import run_files, tensor_files
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.studies.adding.config import Config, Sweep
from mathkernels.studies.arithmetic import folder as output

TIMED = ("adding", "deepmath", "symbolic")  # trainers whose tables have seconds


@pytest.fixture(params=TRAINERS)
def trainer(request, tmp_path, monkeypatch):
    return made(request.param, tmp_path, monkeypatch)


# overwritten folders


def test_an_overwritten_folder_holds_the_new_run_alone_and_files_of_others(trainer, tmp_path):
    old, fresh = tmp_path / "old", tmp_path / "fresh"
    assert trainer(old, models=3) == 0
    if trainer.name == "adding":
        assert trainer(old, "--mode", "validate", models=3) == 0
    (old / "notes.txt").write_text("mine")
    for inner in ("model", "weights"):
        if (old / inner).is_dir():
            (old / inner / "seed0-backup.safetensors").write_text("mine")
    assert trainer(old, "--overwrite", models=1) == 0
    assert trainer(fresh, models=1) == 0
    kept = [name for name in files(old) if name not in files(fresh)]
    assert all("notes" in name or "backup" in name for name in kept), kept
    assert "notes.txt" in kept


def test_the_files_of_any_trainer_go(tmp_path, monkeypatch):
    first, then = made("equations", tmp_path, monkeypatch), made("adding", tmp_path, monkeypatch)
    assert first(tmp_path / "run") == 0
    assert then(tmp_path / "run", "--overwrite") == 0
    assert then(tmp_path / "fresh") == 0
    assert files(tmp_path / "run") == files(tmp_path / "fresh")


def test_every_file_that_a_trainer_writes_is_known(trainer, tmp_path):
    assert trainer(tmp_path / "run", models=2) == 0
    known = {
        str(path.relative_to(tmp_path / "run")) for path in run_files.found(tmp_path / "run", run_files.EVERY)
    }
    assert {*files(tmp_path / "run")} - known == {"config.json", "status.json"}
    assert {*output.OUTPUTS} <= {*run_files.EVERY}


def test_to_resume_and_to_overwrite_at_once_is_refused(trainer, tmp_path, capsys):
    assert trainer(tmp_path / "run") == 0
    before = digests(tmp_path / "run", files(tmp_path / "run"))
    for more in ([], ["--sweep"]) if trainer.name == "adding" else ([],):
        with pytest.raises(SystemExit):
            trainer(tmp_path / "run", "--resume", "--overwrite", *more)
        assert "--resume, --overwrite: got both" in capsys.readouterr().err
    assert digests(tmp_path / "run", files(tmp_path / "run")) == before


def test_an_overwrite_that_stops_anywhere_leaves_a_run_of_one_configuration(tmp_path, monkeypatch):
    """Stopped after each single change to the folder; what is there is never new beside old."""
    outputs = ("runs.csv", "weights/<name>-seed<n>.safetensors")
    for stop in range(30):
        root = tmp_path / str(stop)
        folder = RunFolder(root)
        folder.begin({"lr": 1}, outputs=outputs)
        folder.write_csv("runs.csv", [{"x": 1}], ["x"])
        (root / "weights").mkdir()
        (root / "weights" / "NMU-z0-seed3.safetensors").write_text("old")
        folder.checkpoint.write_text("old")
        folder.write_json("status.json", {"status": "finished"})
        left = [stop]

        def counted(plain, left=left):
            def change(*arguments, **named):
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
                return plain(*arguments, **named)

            return change

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", counted(Path.unlink))
            patch.setattr("mathkernels.files.os.replace", counted(os.replace))
            try:
                RunFolder(root).begin({"lr": 2}, outputs=outputs, overwrite=True)
            except KeyboardInterrupt:
                pass
            else:
                break
        config = json.loads((root / "config.json").read_text())
        status = json.loads((root / "status.json").read_text())["status"]
        held = [*run_files.found(root, (*outputs, "checkpoint"))]
        assert status == "running" or (config, len(held)) == ({"lr": 1}, 3)
        assert config == {"lr": 1} or not held
        RunFolder(root).begin({"lr": 2}, outputs=outputs, overwrite=True)
    assert stop > 5
    assert files(root) == [".lock", "config.json", "status.json"]


def test_foreign_files_and_what_stands_in_the_way_are_refused(trainer, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    table = "table.md" if trainer.name in ("deepmath", "symbolic") else "runs.csv"
    (run / table).write_text("mine")
    with pytest.raises(SystemExit):
        trainer(run)
    assert f"holds {table} but no config.json of a run that wrote it" in capsys.readouterr().err
    assert (run / table).read_text() == "mine"
    inner = {"adding": "model", "sequential_mnist": "weights"}.get(trainer.name)
    for name, make in (("checkpoint", Path.mkdir), (inner, lambda path: path.write_text("mine"))):
        if name is None:
            continue
        root = tmp_path / f"blocked-{name}"
        root.mkdir()
        make(root / name)
        with pytest.raises(SystemExit):
            trainer(root, "--overwrite")
        assert name in capsys.readouterr().err
        assert files(root) in ([], [name])


@pytest.mark.parametrize("place", ["", " ", "a\0b", "x" * 300, "file/below", "file"])
def test_a_place_that_cannot_be_written_is_one_line_before_training(
    trainer, tmp_path, capsys, monkeypatch, place
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit):
        trainer(repr(place) if trainer.name == "adding" and not place.strip() else place)
    captured = capsys.readouterr()
    assert "error: " in captured.err.strip().splitlines()[-1]
    assert captured.out == ""
    assert (tmp_path / "file").read_text() == "mine"
    own = [name for name in files(tmp_path) if not name.startswith(("mathematics/", "pairs/"))]
    assert set(own) <= {"file", "tiny.yaml"}


@pytest.mark.parametrize("name", ["adding", "equations", "deepmath", "symbolic"])
def test_logs_of_tensorboard_hold_every_epoch_of_every_model(tmp_path, monkeypatch, name):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer = made(name, tmp_path, monkeypatch)
    stop_after(monkeypatch, 2)
    assert trainer(tmp_path / "run", "--tensorboard", str(tmp_path / "logs"), models=2, epochs=3) == 130
    monkeypatch.undo()
    again = made(name, tmp_path, monkeypatch)
    more = "--tensorboard", str(tmp_path / "logs"), "--resume"
    assert again(tmp_path / "run", *more, models=2, epochs=3) == 0
    folders = sorted({path.parent for path in (tmp_path / "logs").rglob("events*")})
    assert len(folders) == (1 if name == "deepmath" else 2)
    for folder in folders:
        held = accumulator.EventAccumulator(str(folder))
        held.Reload()
        for tag in held.Tags()["scalars"]:
            assert [one.step for one in held.Scalars(tag)] == [1, 2, 3]


@pytest.mark.parametrize("name", ["adding", "equations", "deepmath", "symbolic"])
@pytest.mark.parametrize("place", ["", "file", "file/below", "x" * 300, "a\0b"])
def test_logs_that_cannot_be_written_are_refused_before_training(tmp_path, capsys, monkeypatch, name, place):
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit):
        made(name, tmp_path, monkeypatch)(tmp_path / "run", "--tensorboard", place)
    assert "--tensorboard: " in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "run").exists()


# moved folders, sweeps


def test_a_folder_that_was_moved_resumes(trainer, tmp_path, monkeypatch):
    assert trainer(tmp_path / "whole", models=2, epochs=4) == 0
    stop_after(monkeypatch, 2)
    assert trainer(tmp_path / "cut", models=2, epochs=4) == 130
    monkeypatch.undo()
    again = made(trainer.name, tmp_path, monkeypatch)
    shutil.move(tmp_path / "cut", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert again("elsewhere", "--resume", models=2, epochs=4) == 0
    names = [name for name in files(tmp_path / "whole") if name.endswith(".safetensors")]
    assert names
    assert digests(tmp_path / "whole", names) == digests(tmp_path / "elsewhere", names)


def test_combinations_of_a_sweep_have_a_folder_each_and_count_once():
    near = (0.001, 0.0010000001, 1e-3, 0.01)
    sweep = Sweep(t=(1_000_000, 999_999, 999_999), learning_rate=near, forget_bias=(1.0, 1.0 + 1e-9))
    found = [config for _, config in Config(Path("out"), sweep=sweep).combinations()]
    assert len(found) == 2 * 3 * 2
    assert len({config.artifacts for config in found}) == len(found)
    usual = Config(Path("out"), sweep=Sweep(t=(150,), learning_rate=(1e-3,), clip_norm=(None,)))
    assert [c.artifacts.name for _, c in usual.combinations()] == ["t150-learning_rate0.001-clip_normnone"]


def test_an_overwritten_sweep_holds_no_combination_of_the_old_one(tmp_path, monkeypatch):
    trainer = made("adding", tmp_path, monkeypatch)
    assert trainer(tmp_path / "sweep", "--sweep") == 0
    other = tmp_path / "sweep" / "t4" / "mine.txt"
    other.write_text("mine")
    assert trainer(tmp_path / "other") == 0
    shutil.move(tmp_path / "other", tmp_path / "sweep" / "other")  # a run, but of no sweep
    whole = files(tmp_path / "sweep" / "other")
    config = tmp_path / "tiny.yaml"
    config.write_text(ADDING.replace("[4, 5]", "[6]"))
    own = ["--config", str(config), "--set", f"artifacts={tmp_path / 'sweep'}", "train.epochs=2"]
    assert trainer.module.main([*own, "--sweep", "--overwrite"]) == 0
    below = [path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()]
    assert sorted(below) == ["other", "t4", "t6"]
    assert files(tmp_path / "sweep" / "t4") == ["mine.txt"]
    assert files(tmp_path / "sweep" / "other") == whole
    assert other.read_text() == "mine"


def test_messages_name_the_option_that_the_trainer_has(trainer, tmp_path, capsys):
    assert trainer(tmp_path / "run") == 0
    with pytest.raises(SystemExit):
        trainer(tmp_path / "run", epochs=1)
    option = "--set artifacts=DIR" if trainer.name == "adding" else "--out"
    message = capsys.readouterr().err
    assert f"{option} takes another folder" in message
    assert ("--out" in message.splitlines()[-1]) == (option == "--out")


# equal runs


def test_equal_runs_leave_equal_files(trainer, tmp_path):
    """All but those with seconds or the folder's name in them: tables, logs, states, lists of digests."""
    timed = {
        *("loss.csv", "runs.csv", "log.jsonl", "status.json", "files.json", "checkpoint", "config_copy.yaml"),
        *("curves.csv", "history.csv", "table.md", "config.yaml"),
    }
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        assert trainer(folder, models=3) == 0
        if trainer.name == "adding":
            assert trainer(folder, "--mode", "validate", models=3) == 0
    same = [name for name in files(first) if name not in timed or trainer.name not in TIMED]
    same = [name for name in same if not name.startswith("log") and name != "status.json"]
    assert files(first) == files(second)
    assert sum(name.endswith(".safetensors") for name in same) >= 1
    assert digests(first, same) == digests(second, same)


def test_texts_of_a_file_stand_in_the_order_of_their_names(tmp_path):
    from safetensors import safe_open

    source = random.Random(0)
    for index in range(20):
        texts = {"".join(source.choices('abcdeé"\\', k=6)): str(source.random()) for _ in range(9)}
        tensors = {f"t{i}": torch.randn(source.randint(1, 5), 3) for i in range(source.randint(1, 5))}
        found = set()
        for turn in range(3):
            path = tmp_path / f"{index}-{turn}.safetensors"
            shuffled = source.sample([*texts.items()], len(texts))
            tensor_files.write(path, tensors, dict(shuffled))
            found.add(path.read_bytes())
        assert len(found) == 1
        with safe_open(path, "pt") as file:
            held = file.metadata()
            assert held.pop(tensor_files.DIGEST)
            assert held == texts
            assert all(torch.equal(file.get_tensor(name), value) for name, value in tensors.items())
