"""Test, training and new sets of equations as token ids.

The same seed gives the same equations in the same order as the programs of Schumacher 2017 do: all ordered
choices of distinct numbers are shuffled by Python's generator; the first are the test set, which also chooses
the weights, the next are trained on, and the next again are the new ones.
"""

from __future__ import annotations

import math
import random
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product

import numpy as np

from mathkernels.data.equations import Equation, Equations

PADDING = -1  # the token id of a position after the end of a text, which networks see as a row of zeros
LARGEST_LIST = 2_000_000  # choices that are listed and shuffled; from more, equations are drawn
PATIENCE = 100_000  # draws without a new equation after which there are none left
RARE = 0.01  # share of distinct draws below which they are drawn one by one
SMALL = 100  # most equations that the article's network gets wrong have an operand below


def encode(texts: Sequence[str], alphabet: str, length: int) -> np.ndarray:
    """Return token ids (N,length) int8: places in the alphabet, and PADDING after a text's end.

    Raises:
        ValueError: a character outside the alphabet, or a text that is too long.
    """
    table = np.full(256, -2, np.int8)
    for index, character in enumerate(alphabet):
        table[ord(character)] = index
    table[255] = PADDING
    for text in texts:
        if len(text) > length:
            raise ValueError(f"text: {text!r} has {len(text)} characters, there is room for {length}")
        if not text.isascii():
            raise ValueError(f"text: {text!r} has characters outside the alphabet {alphabet!r}")
    joined = "".join(text.ljust(length, "\xff") for text in texts).encode("latin-1")
    symbols = table[np.frombuffer(joined, np.uint8)].reshape(len(texts), length)
    if (symbols == -2).any():
        row = int((symbols == -2).any(1).argmax())
        raise ValueError(f"text: {texts[row]!r} has characters outside the alphabet {alphabet!r}")
    return symbols


def decode(symbols: np.ndarray, alphabet: str) -> list[str]:
    """Return the texts of token ids (N,T); PADDING is nothing."""
    characters = [*alphabet, ""]  # its last is that of PADDING
    return ["".join(characters[symbol] for symbol in row) for row in symbols.tolist()]


@dataclass(frozen=True)
class Part:
    """Equations with their token ids: inputs (N,T) and targets (N,O), both int8."""

    equations: tuple[Equation, ...]
    inputs: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.equations)

    @property
    def small(self) -> np.ndarray:
        """(N) whether an operand is below 100."""
        return np.array([one.smallest < SMALL for one in self.equations], bool)


@dataclass(frozen=True)
class Sets:
    """The test set, which also chooses the weights; the training set; and equations that neither has."""

    test: Part
    train: Part
    new: Part


def part(kind: Equations, equations: Iterable[Equation]) -> Part:
    """Return equations with their token ids."""
    own = tuple(equations)
    questions = encode([kind.question_of(one) for one in own], kind.alphabet, kind.question_length)
    answers = encode([kind.answer_to(one) for one in own], kind.alphabet, kind.answer_length)
    return Part(own, questions, answers)


def build(kind: Equations) -> Sets:
    """Return all sets of a configuration.

    Raises:
        ValueError: there are fewer equations than are asked for.
    """
    source = random.Random(kind.seed)
    stream = _listed(kind, source) if _choices(kind) <= LARGEST_LIST else _drawn(kind, source)
    wanted = kind.n_examples + kind.new_equations
    own: list[Equation] = []
    for equation in stream:
        if len(own) == wanted:
            break
        own.append(equation)
    if len(own) < wanted:
        what = f"got {kind.n_examples} and {kind.new_equations}, there are {len(own)} equations"
        raise ValueError(f"n_examples, new_equations: {what}")
    test, new = own[: kind.n_test], own[kind.n_examples :]
    train = own[kind.n_test : kind.n_examples]
    n_small, n_shorter = (round(share * len(train)) for share in (kind.small_share, kind.shorter_share))
    train = train[n_small + n_shorter :]
    if n_small:
        train += _small(kind, source, n_small, {*own})
    train += _shorter(kind, source, n_shorter)
    return Sets(part(kind, test), part(kind, train), part(kind, new))


def _choices(kind: Equations) -> int:
    ranges = sorted(high - kind.min_number + 1 for high in kind.highest)
    return math.prod(size - index for index, size in enumerate(ranges))


def _with_operators(kind: Equations, source: random.Random, numbers: tuple[int, ...]) -> Equation:
    return Equation(numbers, tuple(source.choice(kind.operations) for _ in numbers[1:]))


def _listed(kind: Equations, source: random.Random) -> Iterator[Equation]:
    """Yield every choice of distinct numbers once, shuffled as the program does, with drawn operators."""
    if kind.max_numbers:
        ranges = (range(kind.min_number, high + 1) for high in kind.max_numbers)
        choices = [numbers for numbers in product(*ranges) if len({*numbers}) == len(numbers)]
    else:
        choices = list(permutations(range(kind.min_number, kind.max_number + 1), kind.n_operations + 1))
    source.shuffle(choices)
    drawn = (_with_operators(kind, source, numbers) for numbers in choices)
    yield from (one for one in drawn if not one.divides_by_zero)


def _drawn(kind: Equations, source: random.Random) -> Iterator[Equation]:
    """Yield distinct equations of distinct numbers, where there are too many to list."""
    numbers, seen = range(kind.min_number, kind.max_number + 1), set()
    missed = 0  # draws since the last new equation
    while missed < PATIENCE:
        missed += 1
        if kind.max_numbers:
            own = _distinct(kind, source, kind.n_operations + 1)
        else:
            own = tuple(source.sample(numbers, kind.n_operations + 1))
        equation = _with_operators(kind, source, own)
        if equation not in seen and not equation.divides_by_zero:
            seen.add(equation)
            missed = 0
            yield equation


def _distinct(kind: Equations, source: random.Random, n: int) -> tuple[int, ...]:
    """Draw the numbers of the first n places."""
    highest = kind.highest[:n]
    if _share_distinct(kind.min_number, highest) < RARE:
        return _one_by_one(kind.min_number, highest, source)
    while True:
        numbers = tuple(source.randint(kind.min_number, high) for high in highest)
        if len({*numbers}) == n:
            return numbers


@cache
def _share_distinct(lowest: int, highest: tuple[int, ...]) -> float:
    """Return which share of independent draws are distinct numbers."""
    sizes = sorted(high - lowest + 1 for high in highest)
    return math.prod((size - taken) / size for taken, size in enumerate(sizes))


def _one_by_one(lowest: int, highest: tuple[int, ...], source: random.Random) -> tuple[int, ...]:
    """Draw distinct numbers, all choices equally likely, where independent draws seldom are distinct.

    The narrowest place is drawn first: every number that is taken is then one of each later place's.
    """
    numbers = [0] * len(highest)
    taken: list[int] = []  # ascending
    for place in sorted(range(len(highest)), key=highest.__getitem__):
        number = source.randint(lowest, highest[place] - len(taken))
        for one in taken:
            number += one <= number
        numbers[place] = number
        insort(taken, number)
    return tuple(numbers)


def _shorter(kind: Equations, source: random.Random, n: int) -> list[Equation]:
    """Return n equations with fewer operators; the same may be drawn twice."""
    found = []
    while len(found) < n:
        operators = source.randint(1, kind.n_operations - 1)
        equation = _with_operators(kind, source, _distinct(kind, source, operators + 1))
        if not equation.divides_by_zero:
            found.append(equation)
    return found


def _small(kind: Equations, source: random.Random, n: int, taken: set[Equation]) -> list[Equation]:
    """Return n equations with small operands, none of them taken; raises if that many are not found."""
    digits, found = len(str(kind.max_number)), []
    for _ in range(100 * n):
        if len(found) == n:
            break
        lengths = [source.randint(1, digits) for _ in range(kind.n_operations + 1)]
        ends = [(10 ** (length - 1) if length > 1 else 0, 10**length - 1) for length in lengths]
        numbers = tuple(
            source.randint(max(low, kind.min_number), min(high, kind.max_number))
            for low, high in ends
            if low <= kind.max_number and high >= kind.min_number
        )
        if min(lengths) == digits or len({*numbers}) != len(lengths):
            continue
        equation = _with_operators(kind, source, numbers)
        if equation not in taken and not equation.divides_by_zero:
            taken.add(equation)
            found.append(equation)
    if len(found) < n:
        raise ValueError(f"small_share: got {kind.small_share}, found {len(found)} of {n} small equations")
    return found
