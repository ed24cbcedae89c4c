"""Wrong command lines of the NALM and two-layer trainers: one clear error before anything is trained."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")
pytest.importorskip("tensorboard")
pytest.importorskip("tqdm")

from mathkernels.experiment import run_folder
from mathkernels.experiment.run_folder import RunFolder

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SMALL = ["--module", "NMU", "--range", "U[1,2]", "--seeds", "1", "--iterations", "300", "--threads", "1"]


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trainer():
    return load("train_nalm")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of the arguments --figure --module --original --list is required"),
        (["--figure", "33"], "figure: got '33', needs one of 1a, 1b"),
        (["--figure", "3", "6"], "figure: got '6', needs one of"),
        (["--original", "--layer-type LSTM"], "--layer-type: got 'LSTM', needs one of RealNPU"),
        (["--original", "--layer-type NRU", "--inputs", "3"], "--inputs: a figure fixes it"),
        (["--module", "NMRU", "--sweep", "gate=1"], "option of NMRU: got 'gate'"),
        (["--module", "NMRU", "--momentum", "1"], "momentum: got 1.0 for the optimizer 'adam'"),
        (["--module", "NMRU", "--criterion", "mae"], "criterion: got 'mae', needs one of mse, pcc, mape"),
        (["--module", "nmru"], "did you mean 'NMRU'?"),
        (["--module", "NMRU", "--range", "U[1,3]"], "did you mean 'U[1,2]'?"),
        (["--module", "NMRU", "--range", "1..2"], "needs the form 'U[-2,2]'"),
        (["--module", "NMRU", "--range", "U[2,1]", "--extrapolation", "U[2,6]"], "low < high"),
        (["--module", "NMRU", "--operation", "divide"], "did you mean 'div'?"),
        (["--module", "NMRU", "--inputs", "1"], "Task.inputs: got 1, needs at least 2"),
        (["--module", "NMRU", "--iterations", "-1"], "iterations: got -1"),
        (["--module", "NMRU", "--lr", "-1"], "Adam.lr: got -1.0"),
        (["--module", "NMRU", "--lr", "nan"], "Adam.lr: got nan"),
        (["--module", "NMRU", "--ramp", "5", "2"], "Ramp.end: got 2"),
        (["--module", "NMRU", "--optimizer", "adamw"], "did you mean 'adam'?"),
        (["--module", "RealNPU", "--option", "clip=gw"], "RealNPU.clip: got 'gw'"),
        (["--module", "RealNPU", "--option", "clipp=g"], "did you mean 'clip'?"),
        (["--module", "RealNPU", "--option", "clip"], "needs the form name=value"),
        (["--module", "NMRU", "--seeds", "many"], "got 'many', needs a number, 10-14 or 3,5,8"),
        (["--module", "NMRU", "--seeds", "14-10"], "--seeds: got '14-10', needs FIRST-LAST"),
        (["--module", "NMRU", "--seeds", "4294967296"], "--seeds: got '4294967296', needs at most 100,000"),
        (
            ["--module", "NMRU", "--seeds", "18446744073709551616,1"],
            "Study.seeds[0]: got 18446744073709551616",
        ),
        (["--module", "NMRU", "--iterations", "100000000000"], "iterations: got 100000000000, needs"),
        (
            ["--module", "NMRU", "--iterations", "2000000000"],
            "Run.evaluate_every: got 1000, needs at least 2,001",
        ),
        (["--module", "NMRU", "--range", "-2..2"], "range: got '-2..2', needs the form 'U[-2,2]'"),
        (
            ["--module", "NMRU", "--range", "U[1e39,1e40]", "--extrapolation", "U[1,2]"],
            "float32 holds (3.4e+38)",
        ),
        (
            ["--module", "NMRU", "--range", "U[3,4]", "--extrapolation", "-1"],
            "range: got '-1', needs the form",
        ),
        (["--module", "NMRU", "--sweep", "LR=0.1"], "did you mean 'lr'?"),
        (["--module", "NMRU", "--sweep", "-x=0.1"], "got '-x', needs one of sign_retrieval, gated, epsilon"),
        (["--module", "NAC."], "did you mean 'NACMul'?"),
        (["--module", ""], "module: got '', needs one of"),
        (["--module", "NMRU", "--optimizer", ""], "optimizer: got ''"),
        (["--module", "NMRU", "--operation", ""], "Task.operation: got ''"),
        (["--original", ""], "original: got '', needs flags such as"),
        (["--original", "--simple"], "is of the two-layer script, which train_two_layers.py takes"),
        (["--original", "--layer-type NRU --simple"], "which train_two_layers.py takes"),
        (["--original", "--layer-type NAC."], "did you mean 'MNAC'?"),
        (["--original", "--no-such"], "original: --no-such is no flag of the one-layer script"),
        (["--module", "NMRU", "--threads", "0"], "threads: got 0, needs a positive integer"),
        (["--module", "NMRU", "--inputs", "600"], "task.inputs: got 600, needs at most 512"),
        (
            ["--module", "NMRU", "--range", "U[-6,-2] or U[2,6]", "--extrapolation", "U[2,6]"],
            "needs one interval to train on",
        ),
        (["--module", "NMRU", "--resume", "--overwrite"], "--overwrite: not allowed with argument --resume"),
        (["--module", "NMRU", "--tensorboard", ""], "--tensorboard: got '', needs the name of a folder"),
        (
            ["--module", "NMRU", "--tensorboard", "/dev/null/x"],
            "--tensorboard: got '/dev/null/x', which cannot be",
        ),
        (["--module", "NMRU", "--seeds", "0"], "Study.seeds: got none"),
        (["--module", "NMRU", "--seeds", "1,1"], "needs each seed once"),
        (["--figure", "3", "--lr", "1"], "--lr: a figure fixes it"),
        (["--figure", "3", "--restarts", "5"], "--restarts: a figure fixes it"),
        (
            ["--module", "NMRU", "--restarts", "99"],
            "Run.restarts.window: got 99, needs fewer than the 51 rows",
        ),
        (["--module", "NMRU", "--clip-value", "1", "--clip-norm", "1"], "needs None beside clip_norm=1.0"),
        (["--module", "NMRU", "--clip-value", "-1"], "Run.clip_value: got -1.0"),
        (["--module", "NMRU", "--evaluate-every", "0"], "Run.evaluate_every: got 0"),
    ],
)
def test_wrong_arguments_end_with_one_clear_error_before_training(
    trainer, tmp_path, capsys, arguments, message
):
    out = tmp_path / "run"
    with pytest.raises(SystemExit) as exit:
        trainer.main([*arguments, "--out", str(out)])
    assert exit.value.code == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_an_unwritable_folder_ends_with_one_clear_error_before_training(trainer, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SystemExit) as exit:
        trainer.main(["--figure", "3", "--out", str(tmp_path / "file" / "run")])
    assert exit.value.code == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--original", ""], "original: got '', needs flags such as"),
        (["--original", "python single_layer.py --layer-type NRU"], "which train_nalm.py takes"),
        (["--original", "--simple", "--gates"], "--original: its line has the operation"),
        (["--operation", ""], "operation: got '', needs one of add"),
        (["--operation", "-mul"], "operation: got '-mul', needs one of add"),
        (["--seeds", "14-10"], "--seeds: got '14-10', needs FIRST-LAST"),
        (["--iterations", "100000000000"], "iterations: got 100000000000, needs"),
        (["--resume", "--overwrite"], "--overwrite: not allowed with argument --resume"),
        (
            ["--threads", "99999"],
            "threads: got 99999, needs a positive integer or None, at least 1 and at most 1,024",
        ),
    ],
)
def test_wrong_arguments_of_two_layers_end_before_training(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as exit:
        load("train_two_layers").main(["--smoke", "--out", str(tmp_path / "run"), *arguments])
    assert exit.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "--out: got '', needs the name of a folder"),
        ("a\0b", "--out: got 'a\\x00b', needs the name of a folder"),
        ("a" * 300, "File name too long"),
        ("file", "got 'file', which cannot be written (there is a file)"),
        ("file/below", "Not a directory"),
        ("dangling", "got 'dangling', which cannot be written (there is a file)"),
    ],
)
def test_a_folder_that_cannot_be_is_one_line_before_training(
    trainer, tmp_path, monkeypatch, capsys, name, reason
):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("in the way")
    Path("dangling").symlink_to("nowhere")
    with pytest.raises(SystemExit) as exit:
        trainer.main([*SMALL, "--out", name])
    assert exit.value.code == 2
    message = capsys.readouterr().err.rpartition("error: ")[2]
    assert reason in message
    assert message.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"file", "dangling"}


def test_a_link_to_a_folder_is_followed(trainer, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert trainer.main([*SMALL, "--out", str(tmp_path / "link")]) == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "summary.csv").exists()


def names_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != ".lock"}


def test_an_overwritten_folder_holds_what_the_last_run_wrote_and_what_is_the_users(trainer, tmp_path):
    few = ["--range", "U[1,2]", "--iterations", "300", "--seeds", "1", "--threads", "1"]
    held, fresh = tmp_path / "held", tmp_path / "fresh"
    runs = {
        "campaign": (trainer, ["--figure", "3", "10", *few]),
        "two layers": (load("train_two_layers"), ["--smoke", "--models", "NMU", "--threads", "1"]),
        "smaller campaign": (trainer, ["--figure", "10", "5", *few]),
        "study": (trainer, SMALL),
    }
    for number, (script, arguments) in enumerate(runs.values()):
        assert script.main([*arguments, "--out", str(held), *(["--overwrite"] if number else [])]) == 0
        (held / "notes.csv").write_text("the user's own")
        assert script.main([*arguments, "--out", str(fresh / str(number))]) == 0
        assert names_in(held) == names_in(fresh / str(number)) | {"notes.csv"}


def test_what_a_run_of_another_kind_listed_is_dropped_and_nothing_outside(tmp_path):
    folder = RunFolder(tmp_path / "run")
    patterns = ["weights/*.bin", "curves.csv", "../outside", "/etc/hostname", "*/../../outside"]
    folder.begin({"a": 1}, outputs=patterns)
    (folder.path / "weights").mkdir()
    for path in ("run/weights/1.bin", "run/curves.csv", "run/own.csv", "outside"):
        (tmp_path / path).write_text("x")
    folder.write_json("status.json", {"status": "finished"})
    run_folder._begun.clear()
    RunFolder(tmp_path / "run").begin({"a": 1}, outputs=["other.csv"], overwrite=True)
    assert names_in(tmp_path) == {"run", "run/config.json", "run/status.json", "run/own.csv", "outside"}


def test_resuming_and_overwriting_exclude_each_other_in_every_trainer(tmp_path):
    folder = RunFolder(tmp_path)
    folder.begin({"a": 1})
    folder.checkpoint.write_text("half way")
    with pytest.raises(ValueError, match="--overwrite: got --resume as well"):
        folder.begin({"a": 1}, resume=True, overwrite=True)
    assert folder.checkpoint.read_text() == "half way"


def test_a_study_whose_names_no_log_folder_can_have_is_refused_before_training(trainer, tmp_path, capsys):
    digits = "0" * 60
    sweep = [f"epsilon=1e-7,1{digits}e-68", *(f"{name}_penalty=0.5{digits}" for name in ("weight", "gate"))]
    given = [
        "--module",
        "RealNPU",
        "--seeds",
        "1",
        "--iterations",
        "10",
        "--sweep",
        *sweep,
        "norm.growth=10.000",
    ]
    with pytest.raises(SystemExit):
        trainer.main([*given, "--tensorboard", str(tmp_path / "logs"), "--out", str(tmp_path / "run")])
    assert "has more than 255 bytes; needs a shorter label" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
