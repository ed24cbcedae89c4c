"""The batches of a training, each a function of seed and step, and pairs as the model reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mathkernels.data.symbolic import corpus
from mathkernels.data.symbolic.corpus import Corpus
from mathkernels.data.symbolic.language import IDS, PAD, Tree
from mathkernels.studies.integration.config import Config
from mathkernels.studies.integration.model import Batch

POOL = 64  # batches that are sorted by length together
_ORDER, _POOLS, _PICKED = range(3)  # streams of the seed


@dataclass(frozen=True)
class Part:
    """Pairs of one or more files: places (N,2), int64, are the number of the file and of its pair."""

    files: tuple[Corpus, ...]
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    @property
    def lengths(self) -> np.ndarray:
        """Words of problems and of answers (N,2), int64."""
        found = np.zeros((len(self), 2), np.int64)
        for number, file in enumerate(self.files):
            own = self.places[:, 0] == number
            at = self.places[own, 1]
            found[own] = np.stack([file.problems.lengths[at], file.answers.lengths[at]], 1)
        return found

    def problems(self) -> frozenset[bytes]:
        """The ids of all problems."""
        return frozenset(self.files[file].problems.bytes_of(place) for file, place in self.places)

    def without(self, known: frozenset[bytes]) -> Part:
        """The pairs whose problems are not among these."""
        new = [self.files[file].problems.bytes_of(place) not in known for file, place in self.places]
        return Part(self.files, self.places[np.array(new, bool)])

    def batch(self, rows: np.ndarray, padding: bool = False) -> Batch:
        """The pairs of these rows (B).

        Args:
            padding: whether padding behind an answer is to be predicted too.
        """
        sides = [self._padded(rows, answers) for answers in (False, True)]
        (problem, lengths), (answer, ends) = sides
        before, after = answer[:, :-1].T, answer[:, 1:].T  # (T,B)
        inside = np.ones(after.shape, bool) if padding else np.arange(len(after))[:, None] < ends - 1
        places = np.flatnonzero(inside)
        given = problem.T, lengths, before, places, places % len(rows), after[inside]
        return Batch(*(torch.from_numpy(np.ascontiguousarray(one)) for one in given))

    def _padded(self, rows: np.ndarray, answers: bool) -> tuple[np.ndarray, np.ndarray]:
        parts, order = [], []
        for number, file in enumerate(self.files):
            own = np.flatnonzero(self.places[rows, 0] == number)
            side = file.answers if answers else file.problems
            parts.append(side.padded(self.places[rows[own], 1], start=answers, end=answers))
            order.append(own)
        width, lengths = max(ids.shape[1] for ids, _ in parts), np.zeros(len(rows), np.int64)
        found = np.full((len(rows), width), IDS[PAD], np.int64)
        for own, (ids, each) in zip(order, parts, strict=True):
            found[own, : ids.shape[1]], lengths[own] = ids, each
        return found, lengths


@dataclass(frozen=True)
class Parts:
    """What trains, and what validates and tests.

    Args:
        train, valid: pairs.
        tests: by method.
        bad: how many lines were left out.
        seen: by "valid" and by method how many pairs were left out of it because their problem trains:
            another method may have drawn it.
    """

    train: Part
    valid: Part
    tests: dict[str, Part]
    bad: int
    seen: dict[str, int]


def read(config: Config) -> Parts:
    """Read the files of a configuration.

    Raises:
        ValueError: one is missing or has a bad line, or there are too few pairs for a batch.
    """
    held: dict[tuple[str, str], Corpus] = {}
    tested = [method for method in ("bwd", "fwd", "ibp") if _file(config, method, "test").exists()]
    for method in config.methods:
        held |= {(method, split): _read(config, method, split) for split in ("train", "valid")}
    train = _joined([held[method, "train"] for method in config.methods], config.train_most)
    if len(train) < config.batch_size:
        what = f"got {len(train)} pairs that train; needs at least a batch of {config.batch_size}"
        raise ValueError(f"data: {what}")
    others = {"valid": _joined([held[method, "valid"] for method in config.methods], None)}
    others |= {method: _joined([_read(config, method, "test")], None) for method in tested}
    known = train.problems()
    kept = {name: part.without(known) for name, part in others.items()}
    seen = {name: len(part) - len(kept[name]) for name, part in others.items()}
    valid = kept.pop("valid")
    if not len(valid):
        raise ValueError("data: got no pairs of validation whose problems do not train; needs some")
    bad = sum(len(one.bad) for one in held.values())
    return Parts(train, valid, {name: part for name, part in kept.items() if len(part)}, bad, seen)


def _file(config: Config, method: str, split: str) -> Path:
    path = config.folder(method) / f"prim_{method}.{split}"
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.exists() and not path.exists() else path


def _read(config: Config, method: str, split: str) -> Corpus:
    path = _file(config, method, split)
    if not path.exists():
        raise ValueError(
            f"data: there is no '{path}'; --generate draws pairs, or put the published file there"
        )
    return corpus.read(path, config.train_most if split == "train" else None, config.skip_bad)


def _joined(files: list[Corpus], most: int | None) -> Part:
    """The pairs of files, the most frequent first where there are several."""
    places = np.concatenate(
        [np.stack([np.full(len(one), k), np.arange(len(one))], 1) for k, one in enumerate(files)]
    )
    if len(files) > 1:
        counts = np.concatenate([one.counts for one in files])
        places = places[np.argsort(-counts, kind="stable")]
    return Part(tuple(files), places[:most])


class Batches:
    """The training batches of a configuration.

    Shuffled, each pass through the pairs is a new order, in which 64 batches at a time are sorted by length;
    otherwise batches follow the file, which begins anew at its end.
    """

    def __init__(self, part: Part, config: Config) -> None:
        self.part, self.config = part, config
        self.each_pass = len(part) // config.batch_size  # batches; a smaller last one is left out
        self._lengths = part.lengths
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))
        self._pool: tuple[tuple[int, int], np.ndarray] = ((-1, -1), np.zeros((0, 0), np.int64))

    def rows(self, step: int) -> np.ndarray:
        """The rows (B) of a step."""
        size = self.config.batch_size
        if not self.config.shuffle:
            return (step * size + np.arange(size)) % len(self.part)
        number, place = divmod(step, self.each_pass)
        pool, place = divmod(place, POOL)
        if self._pool[0] != (number, pool):
            self._pool = (number, pool), self._sorted(number, pool)
        return self._pool[1][place]

    def _sorted(self, number: int, pool: int) -> np.ndarray:
        seed, size = self.config.seed, self.config.batch_size
        if self._order[0] != number:
            source = np.random.default_rng([seed, _ORDER, number])
            self._order = number, source.permutation(len(self.part))
        rows = self._order[1][pool * POOL * size : min((pool + 1) * POOL, self.each_pass) * size]
        problems, answers = self._lengths[rows].T
        batches = rows[np.lexsort((problems, answers))].reshape(-1, size)
        return np.random.default_rng([seed, _POOLS, number, pool]).permutation(batches)

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        return self.part.batch(self.rows(step), padding=not self.config.masked_loss)


def in_order(part: Part, count: int, size: int, by_length: bool = True) -> Iterator[tuple[np.ndarray, Batch]]:
    """Yield the first so many pairs, so many at once, by length, with their rows."""
    rows = np.arange(min(count, len(part)))
    if by_length:
        problems, answers = part.lengths[rows].T
        rows = rows[np.lexsort((problems, answers))]
    for begin in range(0, len(rows), size):
        yield rows[begin : begin + size], part.batch(rows[begin : begin + size])


def picked(part: Part, count: int, seed: int) -> np.ndarray:
    """Rows of so many pairs at random, ascending: what is solved and judged of a test set."""
    source = np.random.default_rng([seed, _PICKED])
    return np.sort(source.permutation(len(part))[:count])


def problems(part: Part, rows: np.ndarray) -> list[tuple[Tree, list[str]]]:
    """The problems of rows, each with the words of its answer."""
    found = []
    for file, place in part.places[rows]:
        own = part.files[file]
        found.append((own.trees(int(place))[0], own.answers[int(place)]))
    return found
