"""The checkpoint of a run folder: one safetensors file, whole or absent, from which training goes on exactly.

It holds the state of the training in hand, what earlier trainings of the same folder left, and the
configuration. Nothing in it is trusted: one of another program, configuration or format, and one that was
damaged or edited, ends in one line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mathkernels.data import ranges
from mathkernels.experiment import tensor_files
from mathkernels.experiment.training import Training

FORMAT = 2  # of the file; those before had no number
STATE = "state"  # its JSON text
_ANEW = "--overwrite starts anew"


class Checkpoint:
    """The checkpoint of one or more trainings that follow each other.

    Args:
        path: of the file.
        config: JSON values that decide the result.

    Attributes:
        finished: what each finished training has left, as JSON values.

    Raises:
        ValueError: the file is damaged, or of something else; the message names it.
    """

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        self.path, self.config = path, json.loads(json.dumps(config))
        self.finished: list[Any] = []
        self._tensors: dict[str, Tensor] = {}
        self._values: dict[str, Any] | None = None  # of the training that the file holds
        if path.exists():
            self._read()

    def _read(self) -> None:
        try:
            self._tensors, texts = tensor_files.read(self.path)
            if STATE not in texts:
                raise ValueError(f"its metadata lacks {STATE!r}")
            values = tensor_files.facts(texts, STATE)
            if values.get("format") != FORMAT:
                given = ranges.shown(values.get("format"))
                raise ValueError(f"its format is {given}, this version of mathkernels reads {FORMAT}")
            self.finished = tensor_files.listed(values, "finished")
            held = values.get("training")
            if held is not None and not isinstance(held, dict):
                raise ValueError(f"training: got {ranges.shown(held)}, needs its values")
        except ValueError as error:
            raise self.refused(error) from error
        self._values, self._config = held, values.get("config")

    def refused(self, error: ValueError) -> ValueError:
        """Return the error of a file that does not hold what it should."""
        what = f"is damaged or no checkpoint of this trainer ({error}); {_ANEW}"
        return ValueError(f"checkpoint: '{self.path}' {what}")

    def resume(self, training: Training) -> None:
        """Let a new training go on from the file, if there is one that holds a training in hand.

        Raises:
            ValueError: it is of another model or configuration, or holds what no training leaves.
        """
        if self._values is None:
            return
        try:
            # first, since it says most of what is different
            tensor_files.match(tensor_files.below("best.", self._tensors), training.best)
            if self._config != self.config:
                raise ValueError("is of another configuration")
            training.load(self._tensors, self._values)
        except ValueError as error:
            raise ValueError(f"checkpoint: '{self.path}' {error}; {_ANEW}") from error
        self._tensors, self._values = {}, None

    def save(self, training: Training | None) -> None:
        """Write the file; until it is whole, the one before stays.

        Args:
            training: in hand, or None between two.
        """
        tensors, values = ({}, None) if training is None else training.state()
        held = {"format": FORMAT, "config": self.config, "finished": self.finished, "training": values}
        tensor_files.write(self.path, tensors, {STATE: json.dumps(held)})

    def finish(self, left: Any) -> None:
        """Record what a finished training has left, and save that.

        Args:
            left: JSON values.
        """
        self.finished = [*self.finished, left]
        self.save(None)


def set_random_state(state: Tensor) -> None:
    """Let torch's generator go on from what ``torch.get_rng_state`` returned.

    Raises:
        ValueError: it is no such state.
    """
    tensor_files.match({"random": state}, {"random": torch.get_rng_state()})
    try:
        torch.set_rng_state(state)
    except RuntimeError as error:
        raise ValueError(f"random: got no state of torch's generator ({error})") from error
