"""Characters of questions and answers, fixed so that ids do not depend on which questions are drawn.

An id is the rank of a character in the sorted list. An answer stands between START and STOP.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field

import numpy as np

from mathkernels.data import ranges

START, STOP = "\t", "\n"
MOST_QUESTION, MOST_ANSWER = 160, 30  # characters, of the data set's authors
# what the nine arithmetic modules write; sampling would miss rare ones
ARITHMETIC = "()*+,-./0123456789?ACDEIMPSTWabcdefghijklmnopqrstuvwxyz "
ARITHMETIC_ANSWERS = "()*+-./0123456789abcdefqrst "
PRINTABLE = string.ascii_letters + string.digits + string.punctuation + " "
NONE = 255  # no character of a vocabulary


@dataclass(frozen=True)
class Vocabulary:
    """A sorted list of characters.

    Args:
        characters: without START and STOP, which are added; order and repetitions do not matter.
    """

    characters: str
    _table: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ordered = "".join(sorted({*self.characters, START, STOP}))
        wrong = [one for one in ordered if not one.isascii()]
        ranges.require(not wrong, "vocabulary: characters", "".join(wrong), "ASCII characters")
        table = np.full(256, NONE, np.uint8)
        table[np.frombuffer(ordered.encode(), np.uint8)] = np.arange(len(ordered))
        ranges.set_fields(self, characters=ordered, _table=table)

    def __len__(self) -> int:
        return len(self.characters)

    def id_of(self, character: str) -> int:
        return self.characters.index(character)

    def ids(self, text: bytes | str) -> np.ndarray:
        """Return the ids of a text's characters, uint8.

        Raises:
            ValueError: a character is not in the vocabulary; the message names it and its place.
        """
        if isinstance(text, str):
            text = text.encode("utf-8")
        found = self._table[np.frombuffer(text, np.uint8)]
        if (found == NONE).any():
            raise ValueError(f"vocabulary: {self.foreign(text)}")
        return found

    def table(self) -> np.ndarray:
        """Return the id of each byte (256), uint8, NONE for one outside the vocabulary."""
        return self._table.copy()

    def foreign(self, text: bytes | str) -> str:
        """Say which character of a text is not in the vocabulary."""
        shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        wrong = next(((n, one) for n, one in enumerate(shown) if one not in self.characters), (0, ""))
        known = self.characters.strip()
        return f"got {wrong[1]!r} at character {wrong[0] + 1} of {ranges.shown(shown)}; needs one of {known}"

    def text(self, ids: np.ndarray) -> str:
        """Return the characters of ids up to STOP, without it."""
        return "".join(self.characters[one] for one in ids).partition(STOP)[0]


@dataclass(frozen=True)
class Vocabularies:
    """Those of questions, of answers, and of both together."""

    question: Vocabulary
    answer: Vocabulary
    joint: Vocabulary


def of_modules(names: list[str]) -> Vocabularies:
    """Return what modules of these names need: the fixed arithmetic lists if all are arithmetic, else
    every printable character."""
    if all(name.startswith("arithmetic__") for name in names):
        question, answer = ARITHMETIC, ARITHMETIC_ANSWERS
    else:
        question = answer = PRINTABLE
    return Vocabularies(Vocabulary(question), Vocabulary(answer), Vocabulary(question + answer))
