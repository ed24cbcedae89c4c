"""The generator of the mathematics data set: its authors' package, processes, seeds, interruptions."""

from __future__ import annotations

import json
import random

import mathematics_cases as cases
import numpy as np
import pytest

from mathkernels.data import processes
from mathkernels.data.mathematics import modules, questions
from mathkernels.data.mathematics.chunks import Drawing
from mathkernels.data.mathematics.generate import Request, generate
from mathkernels.data.mathematics.modules import Difficulty
from mathkernels.data.mathematics.questions import TOO_SLOW, draw
from mathkernels.data.processes import Pool, seed_of

SLOW = ("comparison__sort_more", "probability__")  # a second each, and three a second


def files(folder):
    paths = sorted(path for path in folder.rglob("*.txt"))
    return {str(path.relative_to(folder)): path.read_text() for path in paths}


def made(folder, kind, count, workers=1, limit=5.0, **request):
    own = Request(f"arithmetic__{kind}", "easy", 3 * count, 0, limit=limit, **request)
    return generate(folder, own, workers, samplers=cases.samplers)


@pytest.mark.parametrize("folder", modules.FOLDERS)
def test_every_module_of_the_package_makes_questions_with_current_libraries(folder):
    found = modules.samplers(folder)
    assert len(found) == (15 if folder == modules.EXTRAPOLATE else 56)
    some = found if folder in ("train-hard", "extrapolate") else [*found][::7]
    for name in some:
        if not name.startswith(SLOW):
            ((question, answer),), dropped = draw(found[name], (0, folder, name), 1, 20.0)
            assert 0 < len(question) <= 160, name
            assert 0 < len(answer) <= 30, name
            assert dropped[questions.FAILED] == 0, name


def test_arithmetic_answers_are_right():
    for folder in ("train-hard", "interpolate", "extrapolate"):
        found = modules.samplers(folder, Difficulty())
        for name in ("add_sub_multiple", "mul"):
            last = {"mul": "_big"}.get(name, "_longer") if folder == "extrapolate" else ""
            own = found[f"arithmetic__{name}{last}"]
            for question, answer in draw(own, (1, folder), 20, 20.0)[0]:
                signs = [one for one in question.split() if any(sign in one for sign in "0123456789()+-*")]
                expression = " ".join(signs).rstrip("?.")
                if name == "add_sub_multiple":
                    assert eval(expression) == int(answer), question


def test_a_seed_repeats_its_questions_and_another_gives_others():
    found = modules.samplers("train-easy")["arithmetic__mul"]
    first = draw(found, (0, "a"), 10, 5.0)
    np.random.default_rng(0)
    random.random()
    assert draw(found, (0, "a"), 10, 5.0) == first
    assert draw(found, (1, "a"), 10, 5.0) != first
    assert seed_of(0, "train-easy", "arithmetic__mul", 3, 7) == 6914612638586087706


def test_scaled_questions_are_smaller_and_extrapolation_is_larger():
    digits = {}
    for folder in ("train-easy", "interpolate", "extrapolate"):
        name = "arithmetic__mul" + ("_big" if folder == "extrapolate" else "")
        drawn = draw(modules.samplers(folder, Difficulty())[name], (0, folder), 60, 5.0)[0]
        digits[folder] = np.mean([sum(one.isdigit() for one in question) for question, _ in drawn])
    assert digits["train-easy"] < digits["interpolate"] < digits["extrapolate"] < 8


def test_files_do_not_depend_on_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr("mathkernels.data.mathematics.generate.CHUNK", 20)
    one, two = tmp_path / "one", tmp_path / "two"
    report = made(one, "problem", 70, workers=1)
    assert (report.questions, report.files) == (70, 1)
    made(two, "problem", 70, workers=2)
    assert files(one) == files(two)
    lines = files(one)["train-easy/arithmetic__problem.txt"].splitlines()
    assert len(lines) == 140
    assert {path.name for path in one.iterdir()} >= {"train-easy", "interpolate", "extrapolate"}
    assert all(
        eval(question) == int(answer) for question, answer in zip(lines[::2], lines[1::2], strict=True)
    )
    assert len({*lines[::2]}) > 40


def test_an_interrupted_generation_goes_on_to_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setattr("mathkernels.data.mathematics.generate.CHUNK", 20)
    made(tmp_path / "whole", "problem", 70)
    plain = Pool.run

    def cut(self, chunks):
        for number, done in enumerate(plain(self, chunks)):
            yield done
            if number == 1:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Pool, "run", cut)
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "cut", "problem", 70)
    assert not (tmp_path / "cut" / "train-easy" / "arithmetic__problem.txt").exists()
    assert made(tmp_path / "cut", "problem", 70).questions == 30  # two chunks of 20 were there
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert made(tmp_path / "cut", "problem", 70).questions == 0
    assert not (tmp_path / "cut" / ".parts").exists()


def test_a_question_that_takes_too_long_is_dropped_and_counted(tmp_path):
    report = made(tmp_path / "slow", "slow", 30, limit=0.05)
    assert report.dropped[TOO_SLOW] > 0
    assert report.killed == 0
    lines = files(tmp_path / "slow")["train-easy/arithmetic__slow.txt"].splitlines()
    assert len(lines) == 60


def test_a_process_that_hangs_is_killed_and_its_chunk_drawn_without_that_question(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "GRACE", 0.5)
    report = made(tmp_path / "hang", "hanging", 30, limit=0.1)
    assert report.killed == report.dropped[TOO_SLOW] > 0
    assert len(files(tmp_path / "hang")["train-easy/arithmetic__hanging.txt"].splitlines()) == 60


def test_failures_and_long_questions_are_dropped_and_counted(tmp_path):
    report = made(tmp_path / "failing", "failing", 20)
    assert report.dropped["failed"] > 0
    assert report.dropped["too long"] > 0
    assert "failed" in str(report)


def test_a_folder_of_another_request_or_of_others_is_refused(tmp_path):
    made(tmp_path, "problem", 10)
    with pytest.raises(ValueError, match=r"data folder: .* differs in seed; needs another folder"):
        made(tmp_path, "problem", 10, seed=1)
    (tmp_path / "generated.json").unlink()
    with pytest.raises(ValueError, match=r"holds files that were not generated here"):
        made(tmp_path, "problem", 10)
    (tmp_path / "generated.json").write_text("{")
    with pytest.raises(ValueError, match=r"is no JSON"):
        made(tmp_path, "problem", 10)


def test_an_unknown_module_is_named_with_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"math_module: got 'aritmetic__mull'.*did you mean arithmetic__mul"):
        generate(tmp_path, Request("aritmetic__mull", per_train_module=3), 1)
    with pytest.raises(ValueError, match=r"got 'mull', .*did you mean mul"):
        generate(tmp_path, Request("arithmetic", per_train_module=3, only=("mull",)), 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"level": "simple"}, "train_level: got 'simple', needs one of easy, medium, hard"),
        ({"per_train_module": 1}, "per_train_module: got 1, needs at least 3"),
        ({"limit": 0}, "limit: got 0, needs"),
        ({"difficulty": None, "seed": -1}, "seed: got -1"),
    ],
)
def test_a_wrong_request_is_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=message):
        Request(**wrong)
    with pytest.raises(ValueError, match=r"difficulty.train\[1\]: got 1.0"):
        Difficulty(train=(2.0, 1.0))


def test_the_record_of_a_folder_says_what_was_asked(tmp_path):
    made(tmp_path, "problem", 10, seed=5)
    held = json.loads((tmp_path / "generated.json").read_text())
    assert held["seed"] == 5
    assert held["per_train_module"] == 30
    assert Drawing(5, 1.0).difficulty is None
