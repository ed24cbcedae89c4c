"""The trainers' files: overwritten folders, moved ones, equal runs, and files that were edited."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import math
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
pytest.importorskip("safetensors")
pytest.importorskip("scipy")
pytest.importorskip("yaml")

from mathkernels.data import mnist
from mathkernels.experiment import (
    adding_loop,
    adding_training,
    equations_training,
    output,
    run_files,
    sequential_training,
    tensor_files,
)
from mathkernels.experiment.adding_config import Config, Sweep
from mathkernels.experiment.run_folder import RunFolder

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
ADDING = (
    "dataset: {dt_length: 60, t: 5}\ntrain: {epochs: 2, batch: 20}\nmodel: {cells: 4}\nsweep: {t: [4, 5]}\n"
)
EQUATIONS = ["data.max_number=99", "data.n_examples=200", "data.new_equations=50", "model.hidden_size=4"]
TRAINERS = ("adding", "equations", "sequential_mnist")


class Trainer:
    """One of the trainers, on a task of seconds."""

    def __init__(self, name, root):
        spec = importlib.util.spec_from_file_location(f"train_{name}", EXAMPLES / f"train_{name}.py")
        self.name, self.module, self.root = name, importlib.util.module_from_spec(spec), root
        spec.loader.exec_module(self.module)

    def __call__(self, folder, *more, models=1, epochs=2):
        """Train into a folder and return the exit code."""
        place = {"adding": "--set"}.get(self.name, "--out")
        if self.name == "adding":
            (self.root / "tiny.yaml").write_text(ADDING)
            own = ["--config", str(self.root / "tiny.yaml"), "--models", str(models)]
            own += [place, f"artifacts={folder}", f"train.epochs={epochs}"]
        elif self.name == "equations":
            own = [*EQUATIONS, f"train.epochs={epochs}", "--models", str(models), place, str(folder)]
        else:
            own = ["--unit", "NMU", "--ramp", "1", "3", "--seeds", str(models), "--epochs", str(epochs)]
            own += [place, str(folder)]
        return self.module.main([*own, *more])


@pytest.fixture(params=TRAINERS)
def trainer(request, tmp_path, monkeypatch):
    return made(request.param, tmp_path, monkeypatch)


def made(name, tmp_path, monkeypatch):
    source = np.random.RandomState(0)
    sizes = dict(zip(mnist.PARTS, (60, 30, 30), strict=True))
    images = {part: source.uniform(-1, 1, (n, 8, 8)).astype(np.float32) for part, n in sizes.items()}
    labels = {part: source.randint(0, 10, n) for part, n in sizes.items()}
    monkeypatch.setattr(mnist, "load_digits", lambda folder: mnist.Digits("random", images, labels))
    for module in (adding_loop, equations_training, sequential_training):
        monkeypatch.setattr(module, "SAVE_SECONDS", 0.0)
    torch.set_num_threads(1)
    return Trainer(name, tmp_path)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def digests(folder, names):
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


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
            patch.setattr("mathkernels.files.os.replace", counted(__import__("os").replace))
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
    (run / "runs.csv").write_text("mine")
    with pytest.raises(SystemExit):
        trainer(run)
    assert "holds runs.csv but no config.json of a run that wrote it" in capsys.readouterr().err
    assert (run / "runs.csv").read_text() == "mine"
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
    assert set(files(tmp_path)) <= {"file", "tiny.yaml"}


@pytest.mark.parametrize("name", ["adding", "equations"])
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
    stop_after(monkeypatch, trainer.name, 2)
    assert trainer(tmp_path / "cut", models=2, epochs=4) == 130
    monkeypatch.undo()
    again = made(trainer.name, tmp_path, monkeypatch)
    shutil.move(tmp_path / "cut", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert again("elsewhere", "--resume", models=2, epochs=4) == 0
    names = [name for name in files(tmp_path / "whole") if name.endswith(".safetensors")]
    assert names
    assert digests(tmp_path / "whole", names) == digests(tmp_path / "elsewhere", names)


def stop_after(monkeypatch, name, epochs):
    kind, method = {
        "adding": (adding_training.Training, "end_epoch"),
        "equations": (equations_training.Training, "run_epoch"),
        "sequential_mnist": (sequential_training.Training, "epoch"),
    }[name]
    plain, left = getattr(kind, method), [epochs]

    def interrupted(self):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return plain(self)

    monkeypatch.setattr(kind, method, interrupted)


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
    """All but those with seconds in them: tables of the adding problem, logs, states, lists of digests."""
    timed = {
        "loss.csv",
        "runs.csv",
        "log.jsonl",
        "status.json",
        "files.json",
        "checkpoint",
        "config_copy.yaml",
    }
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        assert trainer(folder, models=3) == 0
        if trainer.name == "adding":
            assert trainer(folder, "--mode", "validate", models=3) == 0
    same = [name for name in files(first) if name not in timed or trainer.name != "adding"]
    same = [name for name in same if name not in ("log.jsonl", "status.json")]
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
            assert file.metadata() == texts
            assert all(torch.equal(file.get_tensor(name), value) for name, value in tensors.items())


# files that were edited


def changed(value, source):
    """Another value in the place of one of a file's JSON."""
    return source.choice(
        [
            None,
            True,
            -1,
            -(2**70),
            2**70,
            0.5,
            math.nan,
            math.inf,
            "x",
            [],
            {},
            [value],
            {"a": value},
            10**400,
        ]
    )


def spoiled(values, source):
    """A copy of JSON values in which one, at any depth, is changed, missing, or there twice."""
    values = copy.deepcopy(values)
    at, parents = values, []
    while isinstance(at, (dict, list)) and at and (not parents or source.random() < 0.8):
        key = source.choice([*at] if isinstance(at, dict) else range(len(at)))
        parents.append((at, key))
        at = at[key]
    holder, key = parents[-1]
    way = source.random()
    if way < 0.2:
        del holder[key]
    elif way < 0.3 and isinstance(holder, dict):
        holder["extra"] = 1
    elif way < 0.4 and isinstance(holder, list):
        holder.append(copy.deepcopy(at))
    else:
        holder[key] = changed(at, source)
    return values


def spoiled_tensors(tensors, source):
    tensors = dict(tensors)
    name = source.choice([*tensors])
    own = tensors[name]
    way = source.randrange(6)
    if way == 0:
        del tensors[name]
    elif way == 1:
        tensors["extra"] = own.clone()
    elif way == 2:
        tensors[name] = own.double() if own.dtype != torch.float64 else own.float()
    elif way == 3:
        tensors[name] = own.to(torch.int8)
    elif way == 4:
        tensors[name] = own[None].repeat(2, *[1] * own.dim())
    else:
        tensors[name] = (-own.abs().float() - 0.5).to(own.dtype)
    return tensors


@pytest.mark.parametrize("seed", range(12))
def test_a_checkpoint_that_was_edited_is_named_or_as_good_as_before(
    trainer, tmp_path, monkeypatch, capsys, seed
):
    """Well-formed, with a wrong type, sign, fraction, size or name: a line names the file, or it trains."""
    source = random.Random(f"{trainer.name} {seed}")
    stop_after(monkeypatch, trainer.name, 1)
    assert trainer(tmp_path / "run", models=2) == 130
    monkeypatch.undo()
    again = made(trainer.name, tmp_path, monkeypatch)
    path = tmp_path / "run" / "checkpoint"
    tensors, texts = tensor_files.read(path)
    (key,) = texts
    for _ in range(3):
        values, own = json.loads(texts[key]), tensors
        if source.random() < 0.6 or not own:
            values = spoiled(values, source)
        else:
            own = spoiled_tensors(own, source)
        kept = (tmp_path / "run" / "status.json").read_bytes()
        tensor_files.write(path, own, {key: json.dumps(values)})
        try:
            code = again(tmp_path / "run", "--resume", models=2)
        except SystemExit as end:
            code = end.code
        assert code in (0, 1, 2)
        if code != 2:
            break
        assert str(path) in capsys.readouterr().err.strip().splitlines()[-1]
        (tmp_path / "run" / "status.json").write_bytes(kept)


def test_nothing_is_unpickled(trainer, tmp_path, monkeypatch, capsys):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    stop_after(monkeypatch, trainer.name, 1)
    assert trainer(tmp_path / "run") == 130
    torch.save({"done": 0, "trap": Trap()}, tmp_path / "run" / "checkpoint")
    with pytest.raises(SystemExit):
        trainer(tmp_path / "run", "--resume")
    assert "checkpoint" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "sprung").exists()
