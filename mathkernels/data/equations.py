"""Equations and how they and their answers are written, for networks that learn to calculate.

Source: Schumacher 2017, *Learning math with LSTMs*: its article, which the defaults are of, and its longer
program, which has reversed and padded texts, several operators and decimals.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

from mathkernels.data import ranges

OPERATIONS = ("+", "-", "*", "/")
END = "\0"  # ends a text
LARGEST_NUMBER, MOST_OPERATIONS, MOST_EQUATIONS, WIDEST = 10**18, 64, 10**8, 10_000


class Equation(NamedTuple):
    """Numbers and the operators between them."""

    numbers: tuple[int, ...]
    operators: tuple[str, ...]

    @property
    def text(self) -> str:
        return self.written(0)

    def written(self, width: int) -> str:
        """The equation with its numbers right-aligned to a width."""
        parts = [f"{self.numbers[0]:>{width}}"] if width else [str(self.numbers[0])]
        for operator, number in zip(self.operators, self.numbers[1:], strict=True):
            parts += [operator, f"{number:>{width}}" if width else str(number)]
        return " ".join(parts)

    @property
    def smallest(self) -> int:
        """The operand of the smallest amount, without its sign."""
        return min(map(abs, self.numbers))

    @property
    def divides_by_zero(self) -> bool:
        pairs = zip(self.operators, self.numbers[1:], strict=True)
        return any(operator == "/" and number == 0 for operator, number in pairs)

    @property
    def value(self) -> int | Fraction:
        """What the equation comes to, products before sums; ZeroDivisionError where it is not defined."""
        terms: list[int | Fraction] = [self.numbers[0]]
        for operator, number in zip(self.operators, self.numbers[1:], strict=True):
            if operator == "*":
                terms[-1] *= number
            elif operator == "/":
                terms[-1] = Fraction(terms[-1]) / number
            else:
                terms.append(number if operator == "+" else -number)
        return sum(terms)


def _largest_value(numbers: tuple[int, ...]) -> int:
    """Return the most that numbers from 0 on come to with + or * between them."""
    most = [0]  # of the first n numbers
    for end in range(1, len(numbers) + 1):
        most.append(max(most[begin] + math.prod(numbers[begin:end]) for begin in range(end)))
    return most[-1]


@dataclass(frozen=True)
class Equations:
    """Which equations there are and how they are written.

    Args:
        min_number, max_number: the operands' range, both ends included.
        max_numbers: the highest number of each place, none above ``max_number``; empty: that one everywhere.
            Padded numbers still have all one width.
        operations: operators, from + - * /; each place draws one.
        n_operations: operators in an equation.
        n_examples: equations of test set and training set together.
        split: the test set's fraction of them.
        new_equations: equations beyond them, which neither trains nor chooses weights.
        seed: of the draws.
        reverse: questions and answers are written from their last character to their first.
        pad_inputs: numbers are right-aligned to one width, and the question to its own.
        end_char: a character ends question and answer.
        answer: "number", rounded to ``decimals`` places where it is not whole (half to even), or
            "remainder": of one division, the floored quotient and what is left, written 22r18.
        decimals: places of a number that is an answer; 0 writes whole numbers.
        question_width, answer_width: characters with the end, None for as many as are needed.
        small_share: fraction of the training set with small operands. The number of digits of each is drawn
            first, all being equally likely, and one operand at least has fewer digits than the largest.
        shorter_share: fraction of the training set with fewer operators, each number of them from 1 on being
            equally likely; the other sets have no such equations.

    Raises:
        ValueError: an argument that cannot be; the message names it.
    """

    min_number: int = 0
    max_number: int = 999
    max_numbers: tuple[int, ...] = ()
    operations: tuple[str, ...] = ("+",)
    n_operations: int = 1
    n_examples: int = 30_000
    split: float = 0.1
    new_equations: int = 20_000
    seed: int = 1
    reverse: bool = False
    pad_inputs: bool = False
    end_char: bool = True
    answer: Literal["number", "remainder"] = "number"
    decimals: int = 0
    question_width: int | None = None
    answer_width: int | None = None
    small_share: float = 0.0
    shorter_share: float = 0.0

    def __post_init__(self) -> None:
        self._check_numbers()
        wrong = [one for one in self.operations if one not in OPERATIONS]
        if wrong or not self.operations:
            given = wrong[0] if wrong else "none"
            raise ValueError(f"operations: got {given}, needs some of {' '.join(OPERATIONS)}")
        if self.max_number - self.min_number < self.n_operations:
            what = f"max_number: got {self.max_number} with min_number {self.min_number}"
            raise ValueError(f"{what}, needs room for {self.n_operations + 1} distinct numbers")
        self._check_max_numbers()
        if not 0 < self.n_test < self.n_examples:
            raise ValueError(f"split: got {self.split}, needs to leave equations on both sides")
        if self.answer == "remainder" and (self.operations, self.n_operations) != (("/",), 1):
            what = f"{self.n_operations} of {' '.join(self.operations)}"
            raise ValueError(f"answer: got remainder for {what}, needs a single division")
        if self.answer == "remainder" and self.min_number < 0:
            raise ValueError(f"min_number: got {self.min_number}, an answer with remainder needs at least 0")
        if self.small_share + self.shorter_share > 1:
            raise ValueError(f"shorter_share: got {self.shorter_share} with small_share {self.small_share}")
        if self.shorter_share and self.n_operations == 1:
            raise ValueError(
                f"shorter_share: got {self.shorter_share} for one operator, needs more operators"
            )
        if self.small_share and (self.min_number < 0 or self.max_number < 10):
            raise ValueError("small_share: needs numbers from 0 or more up to two digits or more")
        for name, needed in (("question_width", self._question), ("answer_width", self._answer)):
            given = getattr(self, name)
            if given is not None and given < needed:
                raise ValueError(f"{name}: got {given}, needs at least {needed} characters")

    def _check_numbers(self) -> None:
        """Refuse a number that is out of the range of its field, whatever the others are."""
        bounds = {
            "n_operations": (1, MOST_OPERATIONS),
            "n_examples": (2, MOST_EQUATIONS),
            "new_equations": (0, MOST_EQUATIONS),
            "decimals": (0, 100),
            "min_number": (-LARGEST_NUMBER, LARGEST_NUMBER),
            "max_number": (-LARGEST_NUMBER, LARGEST_NUMBER),
            "seed": (0, ranges.LAST_SEED),
        }
        for name, (low, high) in bounds.items():
            ranges.set_fields(self, **{name: ranges.whole(name, getattr(self, name), low, high)})
        for name in ("question_width", "answer_width"):
            if (width := getattr(self, name)) is not None:
                ranges.set_fields(self, **{name: ranges.whole(name, width, 1, WIDEST)})
        for name in ("split", "small_share", "shorter_share"):
            ranges.set_fields(self, **{name: ranges.share(name, getattr(self, name))})
        low, high = bounds["max_number"]
        numbers = (
            ranges.whole(f"max_numbers[{i}]", one, low, high) for i, one in enumerate(self.max_numbers)
        )
        ranges.set_fields(self, max_numbers=tuple(numbers))

    def _check_max_numbers(self) -> None:
        if not self.max_numbers:
            return
        given, places = f"max_numbers: got {list(self.max_numbers)}", self.n_operations + 1
        if len(self.max_numbers) != places:
            raise ValueError(f"{given}, needs {places} numbers, one for each operand")
        if max(self.max_numbers) > self.max_number:
            raise ValueError(f"{given}, needs numbers up to max_number, {self.max_number}")
        if any(high - self.min_number < index for index, high in enumerate(sorted(self.max_numbers))):
            raise ValueError(f"{given} with min_number {self.min_number}, needs room for distinct numbers")
        if self.small_share:
            raise ValueError("small_share: needs max_numbers to be left out")

    @property
    def highest(self) -> tuple[int, ...]:
        """The highest number of each place."""
        return self.max_numbers or (self.max_number,) * (self.n_operations + 1)

    @property
    def n_test(self) -> int:
        return round(self.split * self.n_examples)

    @property
    def number_width(self) -> int:
        return max(len(str(self.min_number)), len(str(self.max_number)))

    @property
    def _question(self) -> int:
        return self.number_width * (self.n_operations + 1) + 3 * self.n_operations + self.end_char

    @property
    def _answer(self) -> int:
        largest = max(abs(self.min_number), abs(self.max_number))
        if self.answer == "remainder":
            return 2 * len(str(largest)) + 1 + self.end_char
        if "*" in self.operations:
            numbers = self._largest_amounts
            largest = math.prod(numbers) if {*self.operations} == {"*"} else _largest_value(numbers)
        elif "+" in self.operations or self.n_operations > 1 or self.min_number < 0:
            largest *= self.n_operations + 1
        places = self.decimals + 1 if self.decimals else 0
        return len(str(largest)) + places + self._negative + self.end_char

    @property
    def _largest_amounts(self) -> tuple[int, ...]:
        """The largest amounts, without signs, that an equation's numbers can have together."""
        if self.max_numbers:
            return tuple(max(abs(self.min_number), abs(high)) for high in self.max_numbers)
        places = range(self.n_operations + 1)
        ends = {self.min_number + i for i in places} | {self.max_number - i for i in places}
        return tuple(sorted(map(abs, ends), reverse=True)[: len(places)])

    @property
    def _negative(self) -> bool:
        return "-" in self.operations or self.min_number < 0

    @property
    def question_length(self) -> int:
        """Positions of a question."""
        return self.question_width or self._question

    @property
    def answer_length(self) -> int:
        """Positions of an answer."""
        return self.answer_width or self._answer

    @property
    def alphabet(self) -> str:
        """All characters, in the order of their token ids."""
        marks = "." if self.decimals else ""
        marks += "r" if self.answer == "remainder" else ""
        sign = "-" if self.min_number < 0 and "-" not in self.operations else ""
        return "0123456789" + "".join(self.operations) + sign + marks + " " + END

    def question_of(self, equation: Equation) -> str:
        """Return the text of a question as the network reads it."""
        if self.pad_inputs:
            text = equation.written(self.number_width).rjust(self.question_length - self.end_char)
        else:
            text = equation.text
        return (text[::-1] if self.reverse else text) + END * self.end_char

    def answer_to(self, equation: Equation) -> str:
        """Return the text of an answer as the network shall write it, right-aligned to the answers' width."""
        text = self.plain_answer(equation).rjust(self.answer_length - self.end_char)
        return (text[::-1] if self.reverse else text) + END * self.end_char

    def plain_answer(self, equation: Equation) -> str:
        """Return the answer as people write it; ZeroDivisionError where there is none."""
        if self.answer == "remainder":
            quotient, rest = divmod(*equation.numbers)
            return f"{quotient}r{rest}"
        value = equation.value
        if not self.decimals:
            return str(round(value))
        scaled = round(value * 10**self.decimals)
        digits = str(abs(scaled)).rjust(self.decimals + 1, "0")
        return f"{'-' * (scaled < 0)}{digits[: -self.decimals]}.{digits[-self.decimals :]}"

    def readable(self, text: str) -> str:
        """Return a text of the network as people write it: in reading order, without end and margin."""
        own = text.replace(END, "")
        return (own[::-1] if self.reverse else own).strip()

    def parse(self, text: str) -> Equation:
        """Read an equation such as "47 + 58".

        Raises:
            ValueError: a character outside the alphabet, another form, or too long; the message says which.
        """
        known = self.alphabet.replace(END, "")
        for character in text:
            if character not in known:
                raise ValueError(f"equation: {text!r} has {character!r}; the network knows {known!r} only")
        own = "".join(re.escape(one) for one in self.operations)
        number = r"\s*(-?\d+)\s*"
        pattern = number + rf"(?:([{own}]){number})" * self.n_operations
        match = re.fullmatch(pattern, text)
        if match is None:
            example = self.form
            raise ValueError(f"equation: got {text!r}, needs the form {example}")
        parts = match.groups()
        equation = Equation(tuple(map(int, parts[::2])), parts[1::2])
        if any(len(str(one)) > self.number_width for one in equation.numbers):
            what = f"numbers of at most {self.number_width} characters"
            raise ValueError(f"equation: got {text!r}, needs {what}")
        if any(one < self.min_number for one in equation.numbers):
            raise ValueError(f"equation: got {text!r}, needs numbers from {self.min_number}")
        if equation.divides_by_zero:
            raise ValueError(f"equation: got {text!r}, which divides by 0; needs another number behind /")
        return equation

    @property
    def form(self) -> str:
        """What an equation looks like."""
        numbers = [high - index for index, high in enumerate(self.highest)]
        operators = [self.operations[index % len(self.operations)] for index in range(self.n_operations)]
        return Equation(tuple(numbers), tuple(operators)).text
