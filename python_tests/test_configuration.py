"""Configurations: from YAML and overrides into dataclasses and back; what does not fit is named."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

pytest.importorskip("yaml")

from mathkernels.experiment import configuration
from mathkernels.experiment.configuration import ConfigurationError


@dataclass(frozen=True)
class Train:
    epochs: int = 200
    rate: float = 0.01
    seeds: tuple[int, ...] = (1,)
    clip: float | None = None
    shuffle: bool = True

    def __post_init__(self):
        if self.epochs < 1:
            raise ValueError(f"epochs: got {self.epochs}, needs at least 1")


@dataclass(frozen=True)
class Config:
    name: str
    train: Train = field(default_factory=Train)
    gate: Literal["sigmoid", "hard_sigmoid"] = "sigmoid"
    window: tuple[float, float] = (0.0, 1.0)
    artifacts: Path = Path("artifacts")
    weights: dict[str, float] = field(default_factory=dict)


def written(tmp_path, text):
    path = tmp_path / "some.yaml"
    path.write_text(text)
    return path


def test_a_file_fills_the_tree_and_keeps_other_defaults(tmp_path):
    path = written(
        tmp_path,
        "name: a\ntrain: {epochs: 3, rate: 1e-7, seeds: [4, 5], clip: 2}\n"
        "artifacts: x/y\nweights: {small: 2}\nwindow: [1, 2.5]\n",
    )
    config = configuration.load(Config, path)
    train = Train(epochs=3, rate=1e-7, seeds=(4, 5), clip=2.0)
    expected = Config("a", train, window=(1.0, 2.5), artifacts=Path("x/y"), weights={"small": 2.0})
    assert config == expected
    assert isinstance(config.train.clip, float)


def test_an_override_wins_over_the_file(tmp_path):
    path = written(tmp_path, "name: a\ntrain: {epochs: 3, seeds: [1]}\n")
    overrides = ["train.epochs=7", "gate=hard_sigmoid", "train.seeds=[2, 3]", "train.clip=null"]
    config = configuration.load(Config, path, overrides)
    assert config == Config("a", Train(epochs=7, seeds=(2, 3)), "hard_sigmoid")


def test_an_empty_section_is_its_defaults(tmp_path):
    assert configuration.load(Config, written(tmp_path, "name: a\ntrain:\n")) == Config("a")


def test_what_is_saved_loads_to_an_equal_configuration(tmp_path):
    config = Config("ä b", Train(rate=1e-7, clip=0.1, seeds=()), weights={"x": 1e30})
    configuration.save(config, tmp_path / "copy.yaml")
    assert configuration.load(Config, tmp_path / "copy.yaml") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\ntrain: {epocs: 3}", r"some.yaml: unknown key train.epocs; did you mean train.epochs\?"),
        ("name: a\nzzzzz: 3", "some.yaml: unknown key zzzzz; known are name, train, gate"),
        ("train: {}", "some.yaml: the key name is missing"),
        ("name: a\ntrain: {epochs: many}", r"train.epochs: got 'many' \(a text\), needs a whole number"),
        ("name: a\ntrain: {epochs: 2.5}", r"train.epochs: got 2.5 \(a number\), needs a whole number"),
        ("name: a\ntrain: {epochs: true}", "train.epochs: got True .*, needs a whole number"),
        ("name: a\ntrain: {shuffle: 1}", "train.shuffle: got 1 .*, needs true or false"),
        ("name: a\ntrain: {rate: fast}", r"train.rate: got 'fast' \(a text\), needs a number"),
        ("name: a\ntrain: {epochs: }", "train.epochs: got nothing, needs a whole number"),
        ("name: a\ntrain: {seeds: 3}", r"train.seeds: got 3 .*, needs a list such as \[1, 2\]"),
        ("name: a\ntrain: {seeds: [1, x]}", r"train.seeds\[1\]: got 'x' .*, needs a whole number"),
        ("name: a\ntrain: 5", "train: got 5 .*, needs keys with values"),
        ("name: a\nwindow: [1]", "window: got 1 values, needs 2"),
        ("name: a\nweights: [1]", "weights: got .*, needs keys with values"),
        ("name: a\ngate: soft", "gate: got 'soft' .*, needs one of sigmoid, hard_sigmoid"),
        ("name: a\ntrain: {epochs: 0}", "some.yaml: train.epochs: got 0, needs at least 1"),
        ("name: a\nname: b", "some.yaml' has the key 'name' twice"),
        ("name: [a", "some.yaml' is not valid YAML in line 1"),
        ("- name", "some.yaml' holds .* needs keys with values"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, text, message):
    with pytest.raises(ConfigurationError) as caught:
        configuration.load(Config, written(tmp_path, text))
    assert re.search(message, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.epochs", "override: got 'train.epochs', needs KEY=VALUE"),
        ("=3", "override: got '=3', needs KEY=VALUE"),
        ("train..x=3", "needs KEY=VALUE"),
        ("name.x=3", "override: got 'name.x=3', but name is 'a' .* has no keys"),
        ("train.epochs=x", "train.epochs: got 'x' .*, needs a whole number"),
        ("train.epoch=3", "with train.epoch=3: unknown key train.epoch; did you mean train.epochs"),
        ("train.seeds=[1", r"override 'train.seeds=\[1' is not valid YAML"),
    ],
)
def test_an_override_that_does_not_fit_is_named(tmp_path, text, message):
    with pytest.raises(ConfigurationError, match=message):
        configuration.load(Config, written(tmp_path, "name: a"), [text])


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"'.*none.yaml' cannot be read \(No such file"):
        configuration.load(Config, tmp_path / "none.yaml")
    with pytest.raises(ConfigurationError, match=r"cannot be read \(Is a directory"):
        configuration.load(Config, tmp_path)
