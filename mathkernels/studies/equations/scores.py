"""What an engine of the equation learner is, whatever trains inside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor


class Scores(NamedTuple):
    """Of each network: mean cross-entropy, share of right characters, share of wholly right answers."""

    loss: np.ndarray
    character_accuracy: np.ndarray
    exact_match: np.ndarray


class Engine(Protocol):
    """E networks in training; each tensor of parameters and state has a leading axis E."""

    def train_epoch(
        self, inputs: np.ndarray, targets: np.ndarray, order: np.ndarray, rate: float
    ) -> np.ndarray:
        """Train once through inputs (N,T), targets (N,O) int8 in the order (E,N) int64; mean losses (E)."""
        ...

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Answers (E,N,O) int8 to inputs (N,T) int8."""
        ...

    def evaluate(self, inputs: np.ndarray, targets: np.ndarray) -> Scores:
        """Compare answers with targets (N,O) int8."""
        ...

    def parameters(self) -> dict[str, Tensor]:
        """Copies of parameters and running statistics, by the names of :class:`EquationModel`."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Everything that training goes on from."""
        ...

    def load_state(self, state: Mapping[str, Tensor], epoch: int) -> None:
        """Go on from what ``state`` returned after so many epochs; ValueError names what is not so."""
        ...
