"""A command line whose values may begin with a minus sign, and types of its options."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Parser(argparse.ArgumentParser):
    """An argument parser that takes "-2..2" for a value, and after an option of one value "--simple" as well.

    argparse itself takes every word with a minus sign for an option unless it is a number. Here it is one if
    it is known, or begins with two signs and does not follow an option that needs a value.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._negative_number_matcher = re.compile(r"-(?!-)")  # argparse's name for what may be a value

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        joined: list[str] = []
        while words:
            word = words.pop(0)
            action = self._option_string_actions.get(word)
            takes_one = action is not None and action.nargs is None and word.startswith("--")
            if takes_one and words and words[0].startswith("--") and not self._is_known(words[0]):
                word = f"{word}={words.pop(0)}"
            joined.append(word)
        return super().parse_known_args(joined, namespace)

    def _is_known(self, word: str) -> bool:
        name = word.partition("=")[0]
        return word == "--" or any(known.startswith(name) for known in self._option_string_actions)


def folder_argument(text: str) -> Path:
    """Return the path of a folder that a command line names; an empty one would be the current folder."""
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError(f"got {text!r}, needs the name of a folder")
    return Path(text)
