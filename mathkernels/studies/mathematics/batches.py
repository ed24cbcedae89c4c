"""Which questions train, validate and test, and the batches of each step; all follow from seed and step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mathkernels.data.mathematics import overlap
from mathkernels.data.mathematics.corpus import Corpus, Data
from mathkernels.studies.mathematics.config import Config
from mathkernels.studies.mathematics.encoding import Encoding, Texts

POOL = 64  # batches that are sorted by length together
VALID, INTERPOLATE, EXTRAPOLATE = "valid", "interpolate", "extrapolate"
_SPLIT, _ORDER, _POOLS = range(3)  # streams of the seed


@dataclass(frozen=True)
class Set:
    """Questions that are evaluated.

    Args:
        name: VALID, INTERPOLATE or EXTRAPOLATE.
        corpus: they are of.
        rows: which of it (M), int32.
        removed: how many were left out because they stand in the training set.
    """

    name: str
    corpus: Corpus
    rows: np.ndarray
    removed: int


@dataclass(frozen=True)
class Sets:
    """The questions of a training.

    Args:
        train: of the training set.
        rows: which of it train (N), int32.
        tests: sets that are evaluated and have questions, validation first.
        too_long: questions that were left out because they or their answers exceed the limits.
    """

    train: Corpus
    rows: np.ndarray
    tests: tuple[Set, ...]
    too_long: int


def split(data: Data, config: Config) -> Sets:
    """Choose the questions of a training.

    Raises:
        ValueError: there are too few for one batch.
    """
    usable = data.train.within_limits()
    source = np.random.default_rng([config.seed, _SPLIT])
    source.shuffle(usable)
    held = int(len(usable) * config.valid_split)
    valid, train = np.sort(usable[:held]), np.sort(usable[held:])
    if len(train) < config.batch_size:
        what = f"got {len(usable)} questions, of which {len(train)} train"
        raise ValueError(f"data: {what}; needs at least a batch of {config.batch_size}")
    too_long = len(data.train) - len(usable)
    seen = overlap.fingerprints(data.train, train) if config.remove_seen else np.empty(0, np.uint64)
    seen.sort()
    tests = []
    others = ((INTERPOLATE, data.interpolate), (EXTRAPOLATE, data.extrapolate))
    for name, corpus in ((VALID, data.train), *others):
        rows = valid if name == VALID else corpus.within_limits()
        too_long += 0 if name == VALID else len(corpus) - len(rows)
        known = overlap.seen(overlap.fingerprints(corpus, rows), seen)
        own = rows[~known]
        if name == VALID and config.valid_most is not None and len(own) > config.valid_most:
            own = np.sort(source.permutation(own)[: config.valid_most])
        if len(own):
            tests.append(Set(name, corpus, own, int(known.sum())))
    return Sets(data.train, train, tuple(tests), too_long)


class Batches:
    """The training batches.

    Args:
        sets: of the training.
        config: batch size, seed, whether batches are of about equal lengths.
        encoding: of the model.
    """

    def __init__(self, sets: Sets, config: Config, encoding: Encoding) -> None:
        self.sets, self.config, self.encoding = sets, config, encoding
        self.steps = len(sets.rows) // config.batch_size  # of an epoch; a last smaller batch is left out
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int32))
        self._pool: tuple[tuple[int, int], Texts, np.ndarray] | None = None

    def texts(self, step: int) -> Texts:
        """Return the questions of a step (B)."""
        epoch, place = divmod(step, self.steps)
        pool, place = divmod(place, POOL)
        if self._pool is None or self._pool[0] != (epoch, pool):
            self._pool = ((epoch, pool), *self._read(epoch, pool))
        _, texts, rows = self._pool
        return texts.take(rows[place])

    def _read(self, epoch: int, pool: int) -> tuple[Texts, np.ndarray]:
        """Return the questions of a pool and the numbers (P,B) in them of each of its batches."""
        if self._order[0] != epoch:
            source = np.random.default_rng([self.config.seed, _ORDER, epoch])
            self._order = (epoch, source.permutation(self.sets.rows))
        size = self.config.batch_size
        end = min((pool + 1) * POOL, self.steps)
        rows = self._order[1][pool * POOL * size : end * size]
        texts = read(self.sets.train, rows, self.encoding)
        places = np.arange(len(rows))
        if self.config.trim_batches:
            places = np.lexsort((texts.answer_lengths, texts.question_lengths))
        batches = places.reshape(-1, size)
        source = np.random.default_rng([self.config.seed, _POOLS, epoch, pool])
        return texts, source.permutation(batches) if self.config.trim_batches else batches


def read(corpus: Corpus, rows: np.ndarray, encoding: Encoding) -> Texts:
    """Return questions of a corpus."""
    rows = rows.astype(np.int64)
    question, lengths = corpus.ids(rows, False, encoding.question)
    answer, answer_lengths = corpus.ids(rows, True, encoding.answer)
    return Texts(question, lengths, answer, answer_lengths)


def in_order(one: Set, size: int, encoding: Encoding) -> Iterator[tuple[np.ndarray, Texts]]:
    """Yield a set's questions by length, so many at once, with their numbers."""
    question, answer = (lengths[one.rows] for lengths in one.corpus.lengths)
    order = np.lexsort((answer, question))
    for begin in range(0, len(order), size):
        rows = one.rows[order[begin : begin + size]]
        yield rows, read(one.corpus, rows, encoding)
