"""IDX files, digits and their sequences."""

import gzip
import struct
import sys

import numpy as np
import pytest

from mathkernels.data import mnist
from mathkernels.data.mnist import Digits, load_digits, read_idx, sequences


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def few():
    labels = np.array([0, 3, 1, 9, 0, 2, 5, 7, 4, 8, 6], np.int64)
    images = np.zeros((11, 2, 2), np.float32)
    return Digits("eleven", dict.fromkeys(mnist.PARTS, images), dict.fromkeys(mnist.PARTS, labels))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_idx_file_gives_back_its_array(tmp_path, suffix):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(idx(array)) if suffix else idx(array))
    assert np.array_equal(read_idx(path), array)


def test_an_idx_file_may_hold_wider_numbers(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes([0, 0, 12, 1]) + struct.pack(">I3i", 3, -1, 2, 70000))
    assert read_idx(path).tolist() == [-1, 2, 70000]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with ''"),
        (b"\x89PNG....", "begins with '89 50 4e 47'"),
        (b"\0\0\x08\x03\0\0", "has 6 bytes; needs 16 for its sizes alone"),
        (idx(np.zeros((2, 3), np.uint8))[:-1], r"has 17 bytes; needs 18 for its shape \(2, 3\)"),
        (idx(np.zeros(2, np.uint8)) + b"x", r"has 11 bytes; needs 10 for its shape \(2,\)"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, content, message):
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"IDX file: '.*damaged' {message}"):
        read_idx(path)


def test_a_cut_or_missing_compressed_file_is_named(tmp_path):
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(idx(np.zeros(500, np.uint8)))[:-9])
    for name in ("cut.gz", "absent.gz"):
        with pytest.raises(ValueError, match=rf"IDX file: '.*{name}' cannot be read"):
            read_idx(tmp_path / name)


def test_mnist_is_split_and_normalised_as_published(tmp_path, monkeypatch):
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        images = np.zeros((count, 28, 28), np.uint8)
        images[-1] = 255
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(
            idx(np.arange(count, dtype=np.int64).astype(np.uint8) % 10)
        )
    digits = load_digits(tmp_path)
    assert [digits.labels[part].size for part in mnist.PARTS] == [55_000, 5_000, 10_000]
    assert digits.size == 28
    assert digits.source.startswith("MNIST")
    assert digits.images["train"].dtype == np.float32
    black, white = -0.1307 / 0.3081, (1 - 0.1307) / 0.3081
    # float32, two roundings after an exact number
    np.testing.assert_allclose(digits.images["train"][0], black, rtol=1e-6)
    np.testing.assert_allclose(digits.images["validation"][-1], white, rtol=1e-6)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(9, np.uint8)))
    with pytest.raises(ValueError, match=r"holds \(9,\) of uint8; needs \(10000,\) of uint8"):
        load_digits(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match=r"has no t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte\.gz"):
        load_digits(tmp_path)


def test_the_small_digits_say_that_they_are_not_mnist():
    pytest.importorskip("sklearn")
    digits = load_digits()
    assert digits.source == "8x8 digits of scikit-learn, not MNIST"
    assert [digits.images[part].shape for part in mnist.PARTS] == [(n, 8, 8) for n in mnist.SCIKIT_SIZES]
    assert abs(float(digits.images["train"].mean())) < 1e-5  # 80,000 float32 values around 0
    assert abs(float(digits.images["train"].std()) - 1) < 1e-5
    assert all(set(labels.tolist()) == set(range(10)) for labels in digits.labels.values())


def test_a_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        ImportError, match=r"scikit-learn is needed but not installed.*mathkernels\[examples\]"
    ):
        load_digits()


def test_sequences_are_windows_of_one_permutation_of_the_usable_images(few):
    for task, usable in (("product", 9), ("sum", 11)):
        whole = sequences(few, "test", task, usable)[0].ravel()
        assert sorted(few.labels["test"][whole].tolist()) == ([0] if task == "sum" else []) * 2 + [
            *range(1, 10)
        ]
        for length in (1, 2, 4):
            numbers, targets = sequences(few, "test", task, length)
            assert np.array_equal(numbers.ravel(), whole[: numbers.size])
            assert numbers.shape == targets.shape == (usable // length, length)
    assert not np.array_equal(*(sequences(few, part, "sum", 11)[0] for part in ("train", "test")))


def test_targets_are_the_products_and_sums_of_all_prefixes(few):
    for task, function in (("product", np.prod), ("sum", np.sum)):
        numbers, targets = sequences(few, "train", task, 3)
        for row, expected in zip(few.labels["train"][numbers], targets, strict=True):
            assert expected.tolist() == [function(row[: t + 1]) for t in range(3)]


def test_impossible_sequences_are_named(few):
    with pytest.raises(ValueError, match="part is 'valid'; needs one of 'train', 'validation', 'test'"):
        sequences(few, "valid", "sum", 2)
    with pytest.raises(ValueError, match="task is 'div'; needs one of 'product', 'sum'"):
        sequences(few, "test", "div", 2)
    with pytest.raises(ValueError, match="length is 10; needs 1 to 9, the images of 'test'"):
        sequences(few, "test", "product", 10)
