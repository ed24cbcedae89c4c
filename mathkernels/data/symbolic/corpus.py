"""Files of pairs: those generated here and the published ones, encoded in memory."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mathkernels.data.symbolic import infix, prefix
from mathkernels.data.symbolic.language import END, IDS, PROBLEM, START, WORDS, Tree

IS_ZERO = ("sub", PROBLEM[1])  # begins a problem: Y' minus what follows is 0
MOST_SHOWN = 80  # characters of a line in a message


class Sentences:
    """Many sentences behind one another, a byte a word.

    Attributes:
        ids: of all words, uint8.
        ends: place behind each sentence (N), int64.
    """

    def __init__(self, ids: np.ndarray, ends: np.ndarray) -> None:
        self.ids, self.ends = ids, ends

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def lengths(self) -> np.ndarray:
        """Words of each sentence (N), int64."""
        return np.diff(self.ends, prepend=0)

    def __getitem__(self, number: int) -> list[str]:
        return [WORDS[one] for one in self.bytes_of(number)]

    def bytes_of(self, number: int) -> bytes:
        """The ids of a sentence."""
        begin = self.ends[number - 1] if number > 0 else 0
        return self.ids[begin : self.ends[number]].tobytes()

    def padded(
        self, rows: np.ndarray, start: bool = False, end: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids (M,W), int64, with the id of the pad behind each sentence, and lengths (M), int64.

        Args:
            rows: numbers of sentences (M).
            start, end: whether START stands before, and END behind each.
        """
        lengths = self.lengths[rows]
        width = int(lengths.max(initial=0)) + start + end
        found = np.full((len(rows), width), IDS["<pad>"], np.int64)
        places = np.arange(width - start - end)
        inside = places < lengths[:, None]
        begins = self.ends[rows] - lengths
        found[:, int(start) : width - end][inside] = self.ids[(begins[:, None] + places)[inside]]
        if start:
            found[:, 0] = IDS[START]
        if end:
            found[np.arange(len(rows)), lengths + start] = IDS[END]
        return found, lengths + start + end


@dataclass(frozen=True)
class Corpus:
    """Pairs of one file.

    Args:
        path: of the file.
        counts: how often each pair was drawn (N), int64.
        problems, answers: N sentences each; a problem is what Y' equals.
        bad: numbers of the lines that were left out, from 1.
    """

    path: Path
    counts: np.ndarray
    problems: Sentences
    answers: Sentences
    bad: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.counts)

    def trees(self, number: int) -> tuple[Tree, Tree]:
        """Problem and answer.

        Raises:
            SyntaxProblem: a sentence has known words only, but is no expression.
        """
        return prefix.tree(self.problems[number]), prefix.tree(self.answers[number])

    def explained(self, number: int) -> str:
        """A pair as equations with their roles, several lines."""
        problem, answer = self.trees(number)
        return (
            f"problem:  Y' = {infix.write(problem)}\n"
            f"answer:   Y = {infix.write(answer)}\n"
            f"drawn:    {self.counts[number]} times; {prefix.operators(problem)} operators,"
            f" {self.problems.lengths[number]} words -> {prefix.operators(answer)} operators,"
            f" {self.answers.lengths[number]} words"
        )


def read(path: Path, most: int | None = None, skip_bad: bool = False) -> Corpus:
    """Read a file, also one that gzip has packed.

    Args:
        path: of lines ``count|sub Y' PROBLEM<TAB>ANSWER``; the count may be missing, and is 1 then.
        most: pairs to read; None: all.
        skip_bad: leave out lines that are no pair instead of raising; `Corpus.bad` has their numbers.

    Raises:
        ValueError: the file is missing or empty, or has a bad line: its number, its text, and what is wrong.
    """
    if not path.is_file():
        raise ValueError(f"corpus: there is no file '{path}'")
    counts: list[int] = []
    bad: list[int] = []
    sides: tuple[bytearray, bytearray] = bytearray(), bytearray()
    ends: tuple[list[int], list[int]] = [], []
    for number, line in _lines(path):
        if most is not None and len(counts) >= most:
            break
        try:
            count, *encoded = _pair(line)
        except ValueError as error:
            if not skip_bad:
                shown = line if len(line) <= MOST_SHOWN else line[:MOST_SHOWN] + "..."
                raise ValueError(f"corpus: line {number} of '{path}' ({shown!r}): {error}") from None
            bad.append(number)
            continue
        counts.append(count)
        for side, place, ids in zip(sides, ends, encoded, strict=True):
            side += ids
            place.append(len(side))
    if not counts:
        what = f"{len(bad)} bad lines and no pair" if bad else "no lines"
        raise ValueError(f"corpus: '{path}' has {what}")
    problems, answers = (
        Sentences(np.frombuffer(bytes(side), np.uint8), np.array(place, np.int64))
        for side, place in zip(sides, ends, strict=True)
    )
    return Corpus(path, np.array(counts, np.int64), problems, answers, tuple(bad))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    file: BinaryIO
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:  # type: ignore[assignment]
        for number, line in enumerate(file, 1):
            yield number, line.decode("utf-8", "replace").rstrip("\r\n")


def _pair(line: str) -> tuple[int, bytes, bytes]:
    count, bar, rest = line.partition("|")
    if not bar:
        count, rest = "1", line
    if not (count.isascii() and count.isdigit()) or len(count) > 18:
        raise ValueError(f"the count is {count[:20]!r}, no whole number")
    problem, tab, answer = rest.partition("\t")
    if not tab:
        raise ValueError("there is no tab between problem and answer")
    words = problem.split()
    if tuple(words[:2]) != IS_ZERO:
        raise ValueError(f"the problem begins with {' '.join(words[:2])!r}, not with {' '.join(IS_ZERO)!r}")
    return int(count), encoded(words[2:]), encoded(answer.split())


def encoded(words: list[str]) -> bytes:
    """The ids of words.

    Raises:
        ValueError: there are none, or one is not in the vocabulary.
    """
    if not words:
        raise ValueError("a side has no words")
    try:
        return bytes([IDS[word] for word in words])
    except KeyError as missing:
        raise ValueError(f"{missing.args[0]!r} is no word of the language") from None
