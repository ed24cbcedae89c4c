"""Asks a trained network of the equation learner."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mathkernels.data.equation_sets import decode, part
from mathkernels.studies.equations.activations import model_of
from mathkernels.studies.equations.model import one_hot
from mathkernels.studies.equations.weights import WEIGHTS, read_weights


class Answerer:
    """The best network of a training, by the loss on its test set.

    Args:
        path: of the run's folder, or of its weights.

    Raises:
        ValueError: there are no weights, or they are damaged or of something else.
    """

    def __init__(self, path: Path) -> None:
        file = path / WEIGHTS if path.is_dir() else path
        self.config, parameters, losses = read_weights(file)
        self.best = int(np.argmin(losses))
        if losses[self.best] == np.inf:
            what = "no network of it has a finite loss on the test set: all diverged, or ended no epoch"
            raise ValueError(f"checkpoint: '{file}' holds no trained weights, {what}")
        self.model = model_of(self.config, parameters, self.best)

    def answer(self, text: str) -> str:
        """Return the network's answer to an equation such as "47 + 58".

        Raises:
            ValueError: it has other characters than the network knows, another form, or is too long.
        """
        kind = self.config.data
        equation = kind.parse(text)
        inputs = torch.from_numpy(part(kind, [equation]).inputs)
        with torch.no_grad():
            symbols = self.model(one_hot(inputs, self.model.characters)).argmax(2)
        return kind.readable(decode(symbols.numpy(), kind.alphabet)[0])

    def line(self, text: str) -> str:
        """Return question and answer, with the right answer where it is another one."""
        kind, answer = self.config.data, self.answer(text)
        right = kind.plain_answer(kind.parse(text))
        return f"{text.strip()} = {answer}" + ("" if answer == right else f"   (right: {right})")


def converse(answerer: Answerer, lines: Iterable[str], show: Callable[[str], Any]) -> None:
    """Answer line after line; what cannot be answered is said and does not end the conversation."""
    for text in lines:
        if not text.strip():
            return
        try:
            show(answerer.line(text.strip()))
        except ValueError as error:
            show(str(error))


def prompted(form: str) -> Iterable[str]:
    """Yield what the user types until an empty line, Ctrl-C or the end of the input."""
    print(f"Equations such as {form}; an empty line ends.")
    while True:
        try:
            yield input("? ")
        except (EOFError, KeyboardInterrupt):
            print()
            return
