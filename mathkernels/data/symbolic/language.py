"""The words of the prefix language, and which of them may follow which.

Source: appendix C of arXiv:1912.01412; the list of words is that of its published data.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np

CONSTANTS: Final = ("pi", "E")
VARIABLES: Final = ("x", "y", "z", "t")
COEFFICIENTS: Final = tuple(f"a{k}" for k in range(10))
PROBLEM: Final = ("Y", "Y'", "Y''")  # the unknown function and its derivatives
BINARY: Final = ("add", "sub", "mul", "div", "pow")
UNARY: Final = (
    *("inv", "pow2", "pow3", "pow4", "pow5", "sqrt", "exp", "ln", "abs", "sign"),
    *("sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "acot", "asec", "acsc"),
    *("sinh", "cosh", "tanh", "coth", "sech", "csch", "asinh", "acosh", "atanh", "acoth", "asech", "acsch"),
)
PLUS, MINUS = "INT+", "INT-"
DIGITS: Final = tuple("0123456789")
LEAVES: Final = (*CONSTANTS, *VARIABLES, *COEFFICIENTS, *PROBLEM)

PAD, START, END = "<pad>", "<s>", "</s>"
SPECIALS: Final = (PAD, START, END)
WORDS: Final = (*SPECIALS, *LEAVES, *BINARY, *UNARY, PLUS, MINUS, *DIGITS)
IDS: Final = {word: number for number, word in enumerate(WORDS)}

ARITY: Final = {
    **dict.fromkeys(LEAVES, 0),
    **dict.fromkeys(UNARY, 1),
    **dict.fromkeys(BINARY, 2),
    PLUS: 0,
    MINUS: 0,
}

Tree = str | int | tuple  # a leaf, an integer, or (operator, operand) or (operator, operand, operand)


class Grammar:
    """Which words may come next, for many sentences at once: the automaton behind decoding that stays legal.

    The state of a sentence is how many operands are still due and whether an integer has begun: a sentence
    begins with one operand due, an operator of k operands adds k - 1, a leaf takes one away, an integer is a
    sign and digits without a leading zero, and the end comes when nothing is due. No word is allowed that
    leaves more due than fits into the words that are left.

    Args:
        words: the vocabulary of decoding, by id; END is one of them. Default: all.
        without: words of it that are never written.

    Raises:
        ValueError: END is missing, or no leaf is among the words, so that nothing could ever end.
    """

    # what a digit may follow: the sign, a first digit other than 0, or nothing because the integer was a 0
    NUMBER, SIGN, DIGIT, ZERO = range(4)

    def __init__(self, words: tuple[str, ...] = WORDS, without: Collection[str] = ()) -> None:
        usable = {*words} - {*without}
        if END not in usable:
            raise ValueError(f"Grammar: words are {' '.join(words)}; needs {END} among them")
        if not usable & {*LEAVES} and not (usable & {PLUS, MINUS} and usable & {*DIGITS}):
            raise ValueError(
                f"Grammar: words are {' '.join(words)}; needs a variable, a constant or integers"
            )
        self.words = words
        self.operand = 1 if usable & {*LEAVES} else 2  # words of the shortest one
        self.ids = {word: number for number, word in enumerate(words)}
        self.signs = np.array([word in (PLUS, MINUS) for word in words])
        self.digits = np.array([word in DIGITS for word in words])
        self.zero = np.array([word == "0" for word in words])
        self.end = np.array([word == END for word in words])
        self.usable = np.array([word in usable for word in words])
        self.begins = np.array([word in ARITY for word in words])
        self.change = np.array([ARITY.get(word, 1) - 1 for word in words])

    def start(self, count: int) -> np.ndarray:
        """The states (N,2), int64, of N sentences without a word: operands due, state of an integer."""
        return np.tile(np.array([1, self.NUMBER], np.int64), (count, 1))

    def allowed(self, states: np.ndarray, left: int) -> np.ndarray:
        """Which words may come next, (N,V) bool.

        Args:
            states: (N,2).
            left: how many words may still be written, the end included.
        """
        due, number = states[:, 0, None], states[:, 1, None]
        # behind this word come the operands still due, a digit if it is a sign, and the end
        needs = (due + self.change) * self.operand + self.signs + 1
        found = self.begins & (due > 0) & (number != self.SIGN) & (needs < left)
        first, more = number == self.SIGN, number == self.DIGIT
        found |= self.digits & (first | more) & (due * self.operand + 1 < left)
        found |= self.end & (due == 0) & (number != self.SIGN)
        return found & self.usable

    def after(self, sentences: np.ndarray) -> np.ndarray:
        """The states (N,2) of N sentences of T words each (N,T), by id."""
        states = self.start(len(sentences))
        states[:, 0] += (self.begins[sentences] * self.change[sentences]).sum(1)
        for words in sentences[:, -2:].T:  # an integer's state depends on no more
            states[:, 1] = self.step(states, words)[:, 1]
        return states

    def step(self, states: np.ndarray, words: np.ndarray) -> np.ndarray:
        """The states (N,2) after one word (N), by id, in each sentence."""
        due, number = states[:, 0], states[:, 1]
        operand = self.begins[words]
        due = np.where(operand, due + self.change[words], due)
        digit = np.where(self.zero[words] & (number == self.SIGN), self.ZERO, self.DIGIT)
        number = np.where(self.signs[words], self.SIGN, np.where(self.digits[words], digit, self.NUMBER))
        return np.stack([due, number], 1)
