"""Finds questions of one set that stand in another, by fingerprints of 64 bits."""

from __future__ import annotations

import numpy as np

from mathkernels.data.mathematics.corpus import Corpus

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_AT_ONCE = 20_000  # questions


def fingerprints(corpus: Corpus, rows: np.ndarray | None = None) -> np.ndarray:
    """Return a number (M), uint64, for each question, equal for equal texts.

    That any of n questions and any of m have one number but different texts has a probability of n m / 2^64:
    one in seven million for 18 million of training and 150,000 of test.

    Args:
        corpus: of the questions.
        rows: which of them, ascending; None: all.
    """
    found = np.empty(len(corpus) if rows is None else len(rows), np.uint64)
    for start, part in zip(corpus.starts, corpus.parts, strict=False):
        end = start + len(part.questions)
        low, high = (start, end) if rows is None else np.searchsorted(rows, [start, end])
        for begin in range(int(low), int(high), _AT_ONCE):
            places = np.arange(begin, min(begin + _AT_ONCE, int(high)))
            chosen = (places if rows is None else rows[places].astype(np.int64)) - start
            padded, lengths = part.questions.padded(chosen, answers=False)
            found[places] = _mixed(padded, lengths)
            part.questions.release()
    return found


def _mixed(padded: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Mix eight bytes after another into a number; what stands behind a text's end does not count."""
    width = -(-padded.shape[1] // 8) * 8
    words = np.zeros((len(padded), width), np.uint8)
    words[:, : padded.shape[1]] = padded
    state = lengths.astype(np.uint64) * _PRIME
    for number, column in enumerate(words.view("<u8").T):
        mixed = (state ^ column) * _PRIME
        state = np.where(lengths > 8 * number, mixed ^ (mixed >> np.uint64(32)), state)
    return state


def seen(test: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return which fingerprints (M) of a test set are among those of training (N, sorted)."""
    if not len(train):
        return np.zeros(len(test), bool)
    places = np.minimum(np.searchsorted(train, test), len(train) - 1)
    return train[places] == test
