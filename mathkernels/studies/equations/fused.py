"""The engine of the equation learner that trains all networks in one compiled call per epoch."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mathkernels.ensemble.seq2seq import Seq2SeqEnsemble
from mathkernels.studies.equations.config import Config
from mathkernels.studies.equations.scores import Scores


class FusedEngine:
    """Networks of one layer in encoder and decoder, see :class:`Seq2SeqEnsemble`.

    Args:
        config: of all networks.
        parameters: (E,...) by the names of ``EquationModel``.
    """

    def __init__(self, config: Config, parameters: Mapping[str, Tensor]) -> None:
        self.batch = config.train.batch_size
        self.ensemble = Seq2SeqEnsemble(
            alphabet=len(config.data.alphabet),
            steps_in=config.data.question_length,
            steps_out=config.data.answer_length,
            hidden=config.model.hidden_size,
            seeds=config.train.seeds,
            batch_norm=config.model.batch_norm,
            learning_rate=config.train.learning_rate,
            eps=config.train.eps,
            parameters={_theirs(name): own for name, own in parameters.items()},
        )

    def train_epoch(
        self, inputs: np.ndarray, targets: np.ndarray, order: np.ndarray, rate: float
    ) -> np.ndarray:
        self.ensemble.learning_rate = rate
        x, y, rows = (torch.from_numpy(own) for own in (inputs, targets, order))
        return self.ensemble.train_epoch(x, y, rows, self.batch).numpy()

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return self.ensemble.predict(torch.from_numpy(inputs)).numpy()

    def evaluate(self, inputs: np.ndarray, targets: np.ndarray) -> Scores:
        scores = self.ensemble.evaluate(torch.from_numpy(inputs), torch.from_numpy(targets))
        return Scores(*(own.numpy() for own in scores))

    def parameters(self) -> dict[str, Tensor]:
        return {_ours(name): own for name, own in self.ensemble.parameters().items()}

    def state(self) -> dict[str, Tensor]:
        return self.ensemble.state()

    def load_state(self, state: Mapping[str, Tensor], epoch: int) -> None:
        try:
            self.ensemble.load_state(state)
        except TypeError as error:  # of a tensor's type; a file's contents are no argument of a call
            raise ValueError(str(error)) from error


def _theirs(name: str) -> str:
    """encoder.0.lstm.x -> encoder.x, encoder.0.norm.x -> encoder_norm.x."""
    return re.sub(r"^(\w+)\.0\.norm\.", r"\1_norm.", re.sub(r"^(\w+)\.0\.lstm\.", r"\1.", name))


def _ours(name: str) -> str:
    own = re.sub(r"^(encoder|decoder)_norm\.", r"\1.0.norm.", name)
    return re.sub(r"^(encoder|decoder)\.(?!0\.)", r"\1.0.lstm.", own)
