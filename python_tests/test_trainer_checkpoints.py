"""Checkpoints of the trainers that were edited, or are of something else: named, and never unpickled."""

from __future__ import annotations

import copy
import json
import math
import random
from pathlib import Path

import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
pytest.importorskip("safetensors")
pytest.importorskip("scipy")
pytest.importorskip("yaml")

from trainer_cases import TRAINERS, made, stop_after

from mathkernels.experiment import tensor_files


@pytest.fixture(params=TRAINERS)
def trainer(request, tmp_path, monkeypatch):
    return made(request.param, tmp_path, monkeypatch)


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


# what reads checkpoints is the same for all; those of the last two trainers take seconds to train on from
@pytest.mark.parametrize(
    ("name", "seed"),
    [(name, seed) for k, name in enumerate(TRAINERS) for seed in range(12 if k < len(TRAINERS) - 2 else 4)],
)
def test_a_checkpoint_that_was_edited_is_named_or_as_good_as_before(
    name, tmp_path, monkeypatch, capsys, seed
):
    """Well-formed, with a wrong type, sign, fraction, size or name: a line names the file, or it trains."""
    trainer, source = made(name, tmp_path, monkeypatch), random.Random(f"{name} {seed}")
    stop_after(monkeypatch, 1)
    assert trainer(tmp_path / "run", models=2) == 130
    monkeypatch.undo()
    again = made(name, tmp_path, monkeypatch)
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

    stop_after(monkeypatch, 1)
    assert trainer(tmp_path / "run") == 130
    torch.save({"done": 0, "trap": Trap()}, tmp_path / "run" / "checkpoint")
    with pytest.raises(SystemExit):
        trainer(tmp_path / "run", "--resume")
    assert "checkpoint" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "sprung").exists()
