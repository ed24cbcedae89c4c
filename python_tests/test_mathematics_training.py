"""Training of Deep Math: what is chosen, loss and limits, exact resume, files, several processes, asking."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import mathematics_cases as cases
import numpy as np
import pytest
import torch
from torch.nn import functional

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
pytest.importorskip("safetensors")
pytest.importorskip("yaml")

from mathkernels.data.mathematics.corpus import read
from mathkernels.experiment import configuration, loop, run_files, tensor_files
from mathkernels.experiment.checkpoint import Checkpoint
from mathkernels.studies.mathematics import published, weights
from mathkernels.studies.mathematics.batches import Batches, split
from mathkernels.studies.mathematics.config import Clip, Config
from mathkernels.studies.mathematics.plan import plan
from mathkernels.studies.mathematics.templates import of_texts, template
from mathkernels.studies.mathematics.training import clip_, training

ROOT = Path(__file__).resolve().parents[1]
TINY = {
    "latent_dim": 12,
    "num_encoder_units": 6,
    "num_decoder_units": 12,
    "embedding_dim": 6,
    "thinking_steps": 3,
}
WORDS = [f"{name}={value}" for name, value in TINY.items()]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return cases.write(tmp_path_factory.mktemp("data") / "raw")


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("train_deepmath", ROOT / "examples" / "train_deepmath.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config(data, **values):
    own = {"batch_size": 24, "epochs": 3, "learning_rate": 0.01, "valid_split": 0.1, **TINY, **values}
    return Config(data_path=data, **own)


def command(data, out, *more, model="attentional"):
    own = ["--preset", "smoke", "--data", str(data), "--out", str(out), "--model", model, "--threads", "1"]
    return [*own, "--set", "batch_size=24", "math_module=arithmetic", *WORDS, *more]


# what trains and what tests


def test_the_split_repeats_and_takes_every_question_once(data):
    sets = split(read(data), config(data, remove_seen=False))
    again = split(read(data), config(data, remove_seen=False))
    assert np.array_equal(sets.rows, again.rows)
    valid = sets.tests[0].rows
    assert sorted([*sets.rows, *valid]) == [*range(360)]
    assert len(valid) == 36
    other = split(read(data), config(data, remove_seen=False, seed=1))
    assert not np.array_equal(sets.rows, other.rows)


def test_questions_of_the_training_set_are_removed_from_all_others_and_counted(data):
    sets = split(read(data), config(data))
    train = {sets.train.pair(row)[0] for row in sets.rows}
    for one in sets.tests:
        assert not train & {one.corpus.pair(row)[0] for row in one.rows}
        whole = 36 if one.name == "valid" else 40
        assert len(one.rows) + one.removed == whole
        assert (one.removed > 0) == (one.name != "extrapolate")


@pytest.mark.parametrize("trim", [True, False])
def test_an_epoch_sees_every_question_at_most_once_in_batches_of_about_one_length(data, trim):
    own = config(data, trim_batches=trim)
    what = plan(own)
    batches, seen, spread = Batches(what.sets, own, what.encoding), [], []
    assert batches.steps == 324 // 24
    for step in range(batches.steps):
        texts = batches.texts(step)
        seen += [bytes(row[:n]) for row, n in zip(texts.question, texts.question_lengths, strict=True)]
        spread.append(np.ptp(texts.question_lengths))
    counts = {one: seen.count(one) for one in seen}
    known = [
        bytes(what.sets.train.ids(np.array([row]), False, what.encoding.question)[0][0])
        for row in what.sets.rows
    ]
    assert all(count <= known.count(one) for one, count in counts.items())
    assert (np.mean(spread) < 5) == trim
    first = batches.texts(5).question
    assert np.array_equal(Batches(what.sets, own, what.encoding).texts(5).question, first)
    later = batches.texts(5 + batches.steps).question
    assert sorted(map(bytes, later)) != sorted(map(bytes, first))


def test_too_few_questions_for_a_batch_are_refused(data):
    with pytest.raises(
        ValueError, match=r"got 360 questions, of which 324 train; needs at least a batch of 1024"
    ):
        split(read(data), config(data, batch_size=1024))


# loss and limits


def test_the_replicas_loss_weighs_characters_by_their_number_and_counts_every_position(data):
    values = {}
    for replica, loss in ((False, "labelled"), (False, "all"), (True, "all")):
        own = config(data, model="attentional", replica=replica, trim_batches=not replica, loss=loss)
        learner = plan(own).learner(CPU)
        batch = learner.encoding.encode(learner.batches.texts(0))
        characters = len(batch.targets)
        scores = torch.randn(characters, 30, generator=torch.Generator().manual_seed(0))
        each = functional.cross_entropy(scores, batch.targets, reduction="none")
        expected = (each * (batch.targets + 1 if replica else 1)).sum()
        expected = expected / (24 * (3 + 32) if loss == "all" else characters)
        torch.testing.assert_close(learner.loss(scores, batch, characters)[0], expected)
        values[replica, loss] = expected.item()
    assert len({*values.values()}) == 3


def test_gradients_are_limited_by_tensor_by_number_or_together():
    def gradients(kind, value):
        own = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))]
        own[0].grad, own[1].grad = torch.tensor([3.0, 4.0]), torch.tensor([0.5])
        clip_(own, Clip(kind, value))
        return torch.cat([one.grad for one in own])

    expected = {"norm_per_tensor": [0.6, 0.8, 0.5], "value": [1, 1, 0.5], "none": [3, 4, 0.5]}
    norm = (9 + 16 + 0.25) ** 0.5
    expected["global_norm"] = [3 / norm, 4 / norm, 0.5 / norm]
    for kind, right in expected.items():
        torch.testing.assert_close(gradients(kind, 1.0), torch.tensor(right, dtype=torch.float32))
    torch.testing.assert_close(gradients("global_norm", 100.0), torch.tensor([3, 4, 0.5]))


# training


@pytest.mark.parametrize(
    "values",
    [
        {"model": "simple"},
        {"model": "attentional", "evaluate_steps": 5},
        {"model": "seq2seq", "reset_optimizer": True},
    ],
)
def test_a_training_that_is_cut_after_any_step_ends_with_the_same_bits(data, tmp_path, values):
    what = plan(config(data, epochs=2, **values))
    whole = training(what.learner(CPU))
    while not whole.finished:
        whole.advance()
    for steps in (1, 7, 14, 20):
        cut, path = training(what.learner(CPU)), tmp_path / f"checkpoint{steps}"
        for _ in range(steps):
            cut.advance()
        Checkpoint(path, what.describe()).save(cut)
        on = training(what.learner(CPU))
        Checkpoint(path, what.describe()).resume(on)
        while not on.finished:
            on.advance()
        for name, own in whole.learner.state().items():
            assert torch.equal(own, on.learner.state()[name]), (steps, name)
        assert [{**row, "seconds": 0} for row in on.rows()] == [{**row, "seconds": 0} for row in whole.rows()]


def test_a_model_learns_and_the_best_weights_of_both_sets_are_kept(data, tmp_path):
    run = training(plan(config(data, model="simple", epochs=12, latent_dim=24)).learner(CPU))
    loop.train(run, Checkpoint(tmp_path / "checkpoint", {}))
    rows = run.rows()
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert run.learner.lowest == min(row["extrapolate_error"] for row in rows)
    assert run.records[0].best == min(row["interpolate_error"] for row in rows)
    names = [key for key in rows[0] if key.startswith("interpolate/")]
    assert names == [f"interpolate/{name}" for name in cases.MODULES]
    for row in rows:
        assert row["interpolate_exact_match"] == pytest.approx(np.mean([row[name] for name in names]))


@pytest.mark.parametrize("model", ["attentional", "simple", "seq2seq"])
@pytest.mark.parametrize("stock", [False, True])
def test_in_bfloat16_losses_follow_those_in_float32(data, model, stock):
    """Rounding is seen in the first loss, and three steps later losses are still within a hundredth."""
    losses = {}
    for bfloat16 in (False, True):
        learner = plan(config(data, model=model, bfloat16=bfloat16), stock=stock).learner(CPU)
        losses[bfloat16] = []
        for step in range(4):
            before = learner.sums.clone()
            learner.step(step)
            grown = learner.sums - before
            losses[bfloat16].append(float(grown[0] / grown[1]))
    assert losses[True][0] != losses[False][0]
    np.testing.assert_allclose(losses[True], losses[False], rtol=0.01)


def test_two_processes_train_as_one_and_a_killed_training_goes_on_to_the_same_bits(data, tmp_path):
    script = [sys.executable, str(ROOT / "python_tests" / "deepmath_worker.py"), str(data), str(tmp_path)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "find_unused" not in done.stderr
    one, two, cut = ((tmp_path / name) for name in ("one", "two", "cut"))
    assert (two / "weights").read_bytes() == (cut / "weights").read_bytes()
    assert (two / "rows.json").read_text() == (cut / "rows.json").read_text()
    # sums over a batch are taken in another order: losses agree to rounding, amplified by 39 steps
    first, second = (json.loads((folder / "rows.json").read_text()) for folder in (one, two))
    for row, other in zip(first, second, strict=True):
        for name, value in row.items():
            assert other[name] == pytest.approx(value, rel=1e-4), name
    tensors = [tensor_files.read(folder / "weights")[0] for folder in (one, two)]
    for name, own in tensors[0].items():
        torch.testing.assert_close(own, tensors[1][name], rtol=1e-3, atol=1e-4)


# the command


def test_the_command_trains_writes_and_answers(data, example, tmp_path, capsys):
    out = tmp_path / "run"
    assert example.main(command(data, out)) == 0
    shown = capsys.readouterr().out
    assert "removed that stand in the training set" in shown
    assert "| mul | interpolate |" in shown
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    known = {path.relative_to(out).as_posix() for path in run_files.found(out, run_files.MATHEMATICS)}
    assert names - known == {"config.json", "status.json", "checkpoint", "files.json"}
    assert {
        "bars-epoch1.png",
        "bars-epoch2.png",
        "bars.gif",
        "attention.png",
        *weights.BEST.values(),
    } <= names
    with (out / "samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["set"] for row in rows} == {"valid", "interpolate", "extrapolate"}
    assert all((row["prediction"] == row["answer"]) == (row["right"] == "1") for row in rows)
    assert example.main(command(data, out, "--ask", "What is 3 + 4?", "why is it so?")) == 0
    shown = capsys.readouterr().out
    assert "What is 3 + 4? -> " in shown
    assert "reads like this" in shown.splitlines()[-1]
    assert "warning" not in shown.splitlines()[-2]
    for wrong, message in (("", "0 characters"), ("1" * 161, "161 characters"), ("3 × 4", "got '×'")):
        with pytest.raises(SystemExit):
            example.main(command(data, out, "--ask", wrong))
        assert message in capsys.readouterr().err
    # the same command again, with --resume: nothing is trained anew
    before = (out / weights.LAST).read_bytes()
    assert example.main(command(data, out, "--resume")) == 0
    assert (out / weights.LAST).read_bytes() == before


def test_the_command_counts_without_training_and_refuses_what_cannot_be(data, example, tmp_path, capsys):
    out = tmp_path / "run"
    assert example.main(command(data, out, "--no-train")) == 0
    assert "324 questions train" in capsys.readouterr().out
    assert not out.exists()
    for more, message in (
        (["--device", "cuda"], "--device: got cuda, for which our LSTM has no kernel"),
        (["--resume", "--overwrite"], "got both"),
        (["--set", "bach_size=3"], "did you mean batch_size?"),
        (["--set", "math_module=arithmetic__mull"], "did you mean arithmetic__mul"),
        (["--set", "train_level=simple"], "train_level: got 'simple'"),
        (["--settings", "none.json"], "cannot be read"),
        (["--ask", "1 + 1"], "holds no best-interpolate.safetensors; train there first"),
    ):
        with pytest.raises(SystemExit):
            example.main(command(data, out, *more))
        assert message in capsys.readouterr().err
        out.mkdir(exist_ok=True)


def test_the_projects_settings_are_taken_as_they_are(tmp_path):
    """Keys and values of the file that the project ships for its GPU; and keys of older files."""
    settings = {
        "math_module": "arithmetic",
        "train_level": "*",
        "batch_size": 512,
        "thinking_steps": 16,
        "epochs": 1,
    }
    settings |= {"num_encoder_units": 512, "num_decoder_units": 2048, "embedding_dim": 256}
    settings |= {"save_path": "/artifacts/", "data_path": "/storage/"}
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings))
    own = configuration.load(Config, path)
    assert (own.batch_size, own.num_decoder_units, str(own.save_path)) == (512, 2048, "/artifacts")
    path.write_text(json.dumps({**settings, "latent_dim": 256, "saved_model": "weights.safetensors"}))
    assert configuration.load(Config, path).latent_dim == 256


@pytest.mark.parametrize("name", ["smoke", "cpu", "linear-1d", "gpu", "paper"])
def test_every_preset_is_a_configuration(name):
    own = configuration.load(Config, ROOT / "configs" / f"deepmath-{name}.yaml")
    assert own.request().record()
    if name == "paper":
        assert (own.replica, own.loss, own.trim_batches, own.clip.kind) == (
            True,
            "all",
            False,
            "norm_per_tensor",
        )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "batch_size: got 0; needs at least 1"),
        ({"train_level": "all"}, "train_level: got 'all'; needs one of easy, medium, hard"),
        ({"valid_split": 1.0}, "valid_split: got 1.0; needs a number above 0, below 1"),
        ({"betas": (0.9, 1.0)}, "betas: got 1.0"),
        ({"thinking_steps": -1}, "thinking_steps: got -1"),
        ({"model": "attentional", "replica": True}, "replica: got true with trim_batches"),
        ({"evaluate_steps": 0}, "evaluate_steps: got 0"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=message):
        Config(**wrong)


def test_weights_of_another_model_or_file_are_refused(data, tmp_path):
    own = config(data, model="simple", saved_model=tmp_path / "none")
    with pytest.raises(ValueError, match=r"weights: .*none"):
        plan(own).model()
    what = plan(config(data, model="simple"))
    own = {name: value[None] for name, value in what.model().state_dict().items()}
    weights.Kept(tmp_path, what).save("w", own, {"of": "last", "epoch": 1})
    assert weights.Answerer(tmp_path / "w").answer("3*4") is not None
    begun = plan(config(data, model="simple", saved_model=tmp_path / "w", seed=5)).model()
    assert torch.equal(begun.output.weight, what.model().output.weight)
    with pytest.raises(ValueError, match="is of another model"):
        plan(config(data, model="simple", latent_dim=13, saved_model=tmp_path / "w")).model()
    tensor_files.write(tmp_path / "foreign", {"a": torch.zeros(1)}, {})
    with pytest.raises(ValueError, match="no weights of this trainer"):
        weights.Answerer(tmp_path / "foreign")


# templates and published figures


def test_templates_tell_questions_of_training_from_others():
    known = of_texts(["What is 1 + 2?", "Calculate -3*4.", "5 - 4", "(3/4)/2", "Simplify sqrt(8) + 1."])
    assert template("What is -10 + 2?") == template("What is 1 + 2?") == "What is # ?"
    assert known.warning("What is 7 + 22?") == ""
    assert known.warning("12 - 345") == ""
    assert "reads like this" in known.warning("How much is 1 + 2?")
    assert "' / 0'" in known.warning("1 / 7")
    assert known.warning("Calculate 3 / 4.") != ""


def test_published_figures_stand_beside_their_modules():
    assert published.of("interpolate", "arithmetic__mul") == (0.45, 0.36, 0.44, 0.47, 0.55, 0.3914)
    assert published.of("extrapolate", "arithmetic__div_big").attentional_epoch_1 == 0.4275
    assert published.of("interpolate", "algebra__linear_1d") is None
    assert (len(published.INTERPOLATE), len(published.EXTRAPOLATE)) == (9, 6)
