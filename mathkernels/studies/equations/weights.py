"""The file of trained networks of the equation learner: the best weights of each, and what they are of."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mathkernels.data import ranges
from mathkernels.experiment import configuration, tensor_files
from mathkernels.experiment.training import Training
from mathkernels.studies.equations.config import Config
from mathkernels.studies.equations.model import EquationModel, name_counts

WEIGHTS = "model.safetensors"
KIND, FACTS = "mathkernels equations", "mathkernels"


def write_weights(config: Config, run: Training, path: Path) -> None:
    """Write the best weights of every network; the best epoch is 0 for one that has none."""
    best = {"best_loss": [one.best for one in run.records]}
    best["best_epoch"] = [max(one.best_epoch, 0) for one in run.records]
    facts = {"kind": KIND, "config": configuration.plain(config), **best}
    tensor_files.write(path, run.best, {FACTS: json.dumps(facts)})


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and facts of a file.

    Raises:
        ValueError: it is missing, damaged, or of something else.
    """
    try:
        missing = not path.is_file()
    except ValueError:  # it holds NUL
        missing = True
    if missing:
        raise ValueError(f"checkpoint: {str(path)!r} is missing; needs the folder of a training")
    try:
        tensors, texts = tensor_files.read(path)
        facts = tensor_files.facts(texts, FACTS)
    except ValueError as error:
        raise ValueError(f"checkpoint: '{path}' is damaged or no safetensors file ({error})") from error
    if facts.get("kind") != KIND:
        what = f"of {ranges.shown(facts.get('kind', 'something else'))}, needs one of {KIND!r}"
        raise ValueError(f"checkpoint: '{path}' is {what}")
    return tensors, facts


def read_weights(path: Path) -> tuple[Config, dict[str, Tensor], list[float]]:
    """Return configuration, parameters (E,...) and test losses of a trained model's file.

    Raises:
        ValueError: it is missing, damaged, or its tensors are not those of its configuration.
    """
    tensors, facts = read(path)
    if not isinstance(facts.get("config"), dict):
        raise ValueError(f"checkpoint: '{path}' lacks config")
    config = configuration.build(Config, facts["config"], str(path))
    lead, units = len(config.train.seeds), config.model.hidden_size
    depths = {"encoder": config.model.encoder_depth, "decoder": config.model.decoder_depth}
    # before a network of this size is made, which may be larger than the file
    for name in (f"{kind}.{i}.lstm.weight_hh_l0" for kind, depth in depths.items() for i in range(depth)):
        _check_shape(path, tensors, name, (lead, 4 * units, units))
    model = EquationModel(config, 0).state_dict()
    needed = {name: own[None].expand(lead, *own.shape) for name, own in model.items() if name_counts(name)}
    for name, own in needed.items():
        _check_shape(path, tensors, name, tuple(own.shape))
    try:
        tensor_files.match(tensors, needed)
        losses = _best_losses(facts, lead, config.train.epochs)
    except ValueError as error:
        raise ValueError(f"checkpoint: '{path}' {error}") from error
    return config, tensors, losses


def _best_losses(facts: Mapping[str, Any], models: int, last: int) -> list[float]:
    """Return the best loss of each of E networks, infinite where there is none."""
    losses = tensor_files.listed(facts, "best_loss", models)
    found = [tensor_files.number(loss, f"best_loss[{e}]") for e, loss in enumerate(losses)]
    for e, own in enumerate(tensor_files.listed(facts, "best_epoch", models)):
        ranges.whole(f"best_epoch[{e}]", own, 0, last)
        if math.isnan(found[e]) or math.isinf(found[e]) != (own == 0):
            right = "needs a finite one, or inf at 0"
            raise ValueError(f"best_loss[{e}]: got {found[e]} at epoch {own}, {right}")
    return found


def _check_shape(path: Path, tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> None:
    if name not in tensors or tuple(tensors[name].shape) != shape:
        given = tuple(tensors[name].shape) if name in tensors else "nothing"
        raise ValueError(f"checkpoint: '{path}' has {given} for {name}, this model needs {shape}")
