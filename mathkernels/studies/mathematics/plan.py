"""What is trained in one call: the configuration, its data, its model, and what decides the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mathkernels.data.mathematics import corpus, vocabulary
from mathkernels.data.mathematics.corpus import Data
from mathkernels.experiment import configuration, tensor_files
from mathkernels.experiment.distributed import Processes
from mathkernels.studies.mathematics.batches import Sets, split
from mathkernels.studies.mathematics.config import Config
from mathkernels.studies.mathematics.encoding import Encoding, encoding_of, model_of
from mathkernels.studies.mathematics.evaluation import ALONE
from mathkernels.studies.mathematics.models import Model, initialise
from mathkernels.studies.mathematics.training import Learner

PLACES = ("save_path", "data_path")  # keys that say where, not what
LAYERS = {False: "mathkernels", True: "torch.nn"}  # by --stock


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Args:
        config: of everything.
        data: read from its folder.
        sets: chosen from it.
        encoding: of the model.
        stock: whether torch's layers are trained.
        own: processes that train together.
    """

    config: Config
    data: Data
    sets: Sets
    encoding: Encoding
    stock: bool = False
    own: Processes = ALONE

    def describe(self) -> dict[str, Any]:
        """Return what decides the result, as JSON values."""
        held = {"train": len(self.sets.rows), **{one.name: len(one.rows) for one in self.sets.tests}}
        return {
            **described(self.config),
            "layers": LAYERS[self.stock],
            "processes": self.own.world,
            "sets": held,
        }

    def model(self) -> Model:
        """Return the model with its first weights."""
        model = model_of(self.config, self.encoding.vocabularies, self.stock)
        initialise(model, self.config.seed)
        if self.config.saved_model is not None:
            load_weights(model, self.config.saved_model)
        return model

    def learner(self, device: torch.device) -> Learner:
        """Return a new learner."""
        return Learner(self.config, self.model().to(device), self.sets, self.encoding, device, self.own)


def described(config: Config) -> dict[str, Any]:
    """Return a configuration without the places of its folders, as JSON values."""
    plain = configuration.plain(config)
    return {name: value for name, value in plain.items() if name not in PLACES}


def plan(config: Config, stock: bool = False, own: Processes = ALONE, index: Path | None = None) -> Plan:
    """Read the data of a configuration and choose from it.

    Raises:
        ValueError: data are missing or damaged, or hold characters that no vocabulary has; the message says
            where.
    """
    data = corpus.read(config.data_path, config.math_module, config.train_level, index)
    vocabularies = vocabulary.of_modules(data.train.modules)
    for one in (data.train, data.interpolate, data.extrapolate):
        one.check(vocabularies)
    return Plan(config, data, split(data, config), encoding_of(config, vocabularies), stock, own)


def load_weights(model: Model, path: Path) -> dict[str, str]:
    """Set a model's parameters from a file of weights, and return the file's texts.

    Raises:
        ValueError: it is missing, damaged, or of another model.
    """
    try:
        tensors, texts = tensor_files.read(path)
        tensor_files.match(tensors, model.state_dict())
    except ValueError as error:
        raise ValueError(f"weights: '{path}' {error}") from error
    model.load_state_dict(tensors)
    return texts
