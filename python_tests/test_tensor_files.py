"""Files of tensors vouch for their content: no bit turns unseen."""

import json
import random

import pytest
import torch

pytest.importorskip("safetensors")

from safetensors.torch import load, save

from mathkernels.experiment import tensor_files

TENSORS = {"weight": torch.arange(12.0).reshape(3, 4), "steps": torch.tensor([3]), "none": torch.zeros(0, 2)}
TEXTS = {"state": json.dumps({"updates": 3, "best": float("inf")}), "about": "é"}


def same(found):
    tensors, texts = found
    # a text more is nobody's: a bit may turn in the name of the digest
    whole = texts.items() >= TEXTS.items() and set(tensors) == set(TENSORS)
    return whole and all(torch.equal(own, TENSORS[name]) for name, own in tensors.items())


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoint"
    tensor_files.write(path, TENSORS, TEXTS)
    return path


def test_what_was_written_is_read(path):
    assert same(tensor_files.read(path))


def test_equal_contents_give_equal_bytes(path, tmp_path):
    tensor_files.write(tmp_path / "again", dict(reversed(TENSORS.items())), dict(reversed(TEXTS.items())))
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_a_turned_bit_is_refused_or_changes_nothing(path):
    good = path.read_bytes()
    draw, refused = random.Random(0), 0
    for at in range(len(good)):
        damaged = bytearray(good)
        damaged[at] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            assert same(tensor_files.read(path)), at
        except ValueError:
            refused += 1
    assert refused > 0.9 * len(good)


def test_a_turned_bit_of_a_number_is_named_as_such(path):
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="sha256"):
        tensor_files.read(path)


def test_a_file_without_a_digest_is_read(path):
    # of another program, or of a version that wrote none
    path.write_bytes(save(load(path.read_bytes()), TEXTS))
    assert same(tensor_files.read(path))
