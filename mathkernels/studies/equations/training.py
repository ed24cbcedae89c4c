"""Trains the equation learner epoch by epoch and keeps the best weights of each network.

All that is drawn in an epoch follows from the seed and the epoch's number, so a training that was killed and
resumed from its last checkpoint gives the same bits as one that was not.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mathkernels.data import ranges
from mathkernels.data.equation_sets import Sets
from mathkernels.experiment import configuration, tensor_files
from mathkernels.experiment.command_line import uninterrupted
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.studies.equations.config import Config
from mathkernels.studies.equations.model import EquationModel, name_counts
from mathkernels.studies.equations.scores import Engine, Scores

SAVE_SECONDS = 5.0
SEEN = 1_000  # equations of the training set whose accuracy is logged
LOG, CURVES, WEIGHTS = "log.jsonl", "curves.csv", "model.safetensors"
KIND, FACTS = "mathkernels equations", "mathkernels"
# accuracies per character, and per equation, where every character of an answer must be right
CURVE_COLUMNS = (
    *("seed", "epoch", "rate", "loss", "train_character_accuracy", "train_exact_match"),
    *("test_loss", "test_character_accuracy", "test_exact_match"),
)
_CURVE = {name: int if name in ("seed", "epoch") else float for name in CURVE_COLUMNS}


class Training:
    """A training of E networks.

    Args:
        config: of everything.
        sets: built from it.
        engine: made from it.
    """

    def __init__(self, config: Config, sets: Sets, engine: Engine) -> None:
        self.config, self.sets, self.engine = config, sets, engine
        self.epoch = 0
        self.operators = np.array([len(one.operators) for one in sets.train.equations])
        self.best = engine.parameters()
        self.best_loss = [math.inf] * len(config.train.seeds)
        self.best_epoch = [0] * len(config.train.seeds)
        self.curve: list[dict[str, Any]] = []

    def run_epoch(self) -> list[dict[str, Any]]:
        """Train and evaluate one epoch; return its rows of the curve, one per network."""
        rate, train, test = self.config.train.rate(self.epoch), self.sets.train, self.sets.test
        order = self._order()
        losses = self.engine.train_epoch(train.inputs, train.targets, order, rate)
        seen = self.engine.evaluate(train.inputs[:SEEN], train.targets[:SEEN])
        scores = self.engine.evaluate(test.inputs, test.targets)
        rows = [
            dict(zip(CURVE_COLUMNS, (seed, self.epoch + 1, rate, *values), strict=True))
            for seed, *values in zip(
                *(self.config.train.seeds, map(float, losses)),
                *(map(float, seen.character_accuracy), map(float, seen.exact_match)),
                *(map(float, column) for column in scores),
                strict=True,
            )
        ]
        with uninterrupted():
            self.epoch += 1
            self.curve += rows
            self._keep_best(scores)
        return rows

    def _order(self) -> np.ndarray:
        """Each network's order of an epoch (E,M): while stages last, without the equations of later ones."""
        sources = (np.random.default_rng([seed, self.epoch]) for seed in self.config.train.seeds)
        order = np.stack([source.permutation(len(self.operators)) for source in sources])
        stage_epochs = self.config.train.stage_epochs
        most = self.epoch // stage_epochs + 1 if stage_epochs else self.config.data.n_operations
        return np.stack([rows[self.operators[rows] <= most] for rows in order])

    def _keep_best(self, scores: Scores) -> None:
        better = [e for e, loss in enumerate(scores.loss) if loss < self.best_loss[e]]
        if not better:
            return
        parameters = self.engine.parameters()
        for e in better:
            self.best_loss[e], self.best_epoch[e] = float(scores.loss[e]), self.epoch
            for name, own in parameters.items():
                self.best[name][e] = own[e]

    def save(self, path: Path) -> None:
        """Write the whole state; the file is the old or the new one, never a part."""
        tensors = {f"engine/{name}": own for name, own in self.engine.state().items()}
        tensors |= {f"best/{name}": own for name, own in self.best.items()}
        at = {"epoch": self.epoch, "best_loss": self.best_loss, "best_epoch": self.best_epoch}
        facts = {"kind": f"{KIND} checkpoint", "config": configuration.plain(self.config)}
        _write(path, tensors, {**facts, **at, "curve": self.curve})

    def load(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: it is damaged, or of another training.
        """
        tensors, facts = read(path, f"{KIND} checkpoint")
        if facts.get("config") != configuration.plain(self.config):
            raise ValueError(f"checkpoint: '{path}' is of another configuration; --overwrite trains anew")
        try:
            self._load(tensors, facts)
        except (ValueError, TypeError) as error:
            raise ValueError(f"checkpoint: '{path}' {error}; --overwrite trains anew") from error

    def _load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        seeds = self.config.train.seeds
        epoch = tensor_files.whole(facts, "epoch", 0, self.config.train.epochs)
        best_loss, best_epoch = _bests(facts, len(seeds), epoch)
        curve = tensor_files.rows(tensor_files.listed(facts, "curve", epoch * len(seeds)), "curve", _CURVE)
        for index, row in enumerate(curve):
            place = (index // len(seeds) + 1, seeds[index % len(seeds)])
            if (row["epoch"], row["seed"]) != place:
                given = f"{row['epoch']} of seed {row['seed']}"
                raise ValueError(f"curve[{index}]: got epoch {given}, needs {place[0]} of seed {place[1]}")
        tensor_files.only(tensors, ("engine/", "best/"))
        best = tensor_files.below("best/", tensors)
        tensor_files.match(best, self.best, "best/")
        self.engine.load_state(tensor_files.below("engine/", tensors), epoch)
        self.epoch, self.best_loss, self.best_epoch = epoch, best_loss, best_epoch
        self.curve, self.best = curve, best

    @property
    def diverged(self) -> list[int | None]:
        """Of each network the first epoch whose loss, in training or test, was infinite or NaN."""
        found: dict[int, int] = {}
        for row in self.curve:
            if not (math.isfinite(row["loss"]) and math.isfinite(row["test_loss"])):
                found.setdefault(row["seed"], row["epoch"])
        return [found.get(seed) for seed in self.config.train.seeds]

    @property
    def hopeless(self) -> bool:
        """Whether the weights of every network are NaN, so that no epoch changes anything any more."""
        last = self.curve[-len(self.config.train.seeds) :]
        return bool(last) and all(math.isnan(row["loss"]) and math.isnan(row["test_loss"]) for row in last)

    def write_weights(self, path: Path) -> None:
        """Write the best weights of every network."""
        facts = {"kind": KIND, "config": configuration.plain(self.config)}
        _write(path, self.best, {**facts, "best_loss": self.best_loss, "best_epoch": self.best_epoch})


def _write(path: Path, tensors: Mapping[str, Tensor], facts: dict[str, Any]) -> None:
    tensor_files.write(path, tensors, {FACTS: json.dumps(facts)})


def read(path: Path, kind: str = KIND) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and facts of a file of this trainer.

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
    if facts.get("kind") != kind:
        what = f"of {ranges.shown(facts.get('kind', 'something else'))}, needs one of {kind!r}"
        raise ValueError(f"checkpoint: '{path}' is {what}")
    return tensors, facts


def _bests(facts: Mapping[str, Any], models: int, epoch: int) -> tuple[list[float], list[int]]:
    """Return the best losses of E networks, infinite where there is none, and their epochs."""
    losses = tensor_files.listed(facts, "best_loss", models)
    found = [tensor_files.number(loss, f"best_loss[{e}]") for e, loss in enumerate(losses)]
    epochs = tensor_files.listed(facts, "best_epoch", models)
    for e, own in enumerate(epochs):
        ranges.whole(f"best_epoch[{e}]", own, 0, epoch)
        if math.isnan(found[e]) or math.isinf(found[e]) != (own == 0):
            raise ValueError(
                f"best_loss[{e}]: got {found[e]} at epoch {own}, needs a finite one, or inf at 0"
            )
    return found, epochs


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
        losses, _ = _bests(facts, lead, config.train.epochs)
    except ValueError as error:
        raise ValueError(f"checkpoint: '{path}' {error}") from error
    return config, tensors, losses


def _check_shape(path: Path, tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> None:
    if name not in tensors or tuple(tensors[name].shape) != shape:
        given = tuple(tensors[name].shape) if name in tensors else "nothing"
        raise ValueError(f"checkpoint: '{path}' has {given} for {name}, this model needs {shape}")


def run(training: Training, folder: RunFolder, each: Callable[[list[dict[str, Any]]], None]) -> bool:
    """Train to the end and log each epoch; return whether it got there and was not interrupted by Ctrl-C.

    Args:
        training: new, or loaded from the folder's checkpoint.
        folder: gets log.jsonl, a line per network and epoch, and the checkpoint.
        each: is given the rows of each epoch.
    """
    path, begun = folder.path / LOG, time.monotonic()
    # what was logged after the checkpoint is trained again
    folder.write_text(LOG, "".join(json.dumps(row) + "\n" for row in training.curve))
    saved = begun
    try:
        with path.open("a", encoding="utf-8") as log:
            over = training.hopeless or training.epoch == training.config.train.epochs
            while not over:
                rows = training.run_epoch()
                seconds = round(time.monotonic() - begun, 3)
                log.writelines(json.dumps({**row, "seconds": seconds}) + "\n" for row in rows)
                log.flush()
                each(rows)
                over = training.hopeless or training.epoch == training.config.train.epochs
                if over or time.monotonic() - saved >= SAVE_SECONDS:
                    training.save(folder.checkpoint)
                    saved = time.monotonic()
    except KeyboardInterrupt:
        return False
    return True
