"""Files of a model's weights, with what is needed to ask it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from mathkernels.data.mathematics import vocabulary
from mathkernels.experiment import configuration, tensor_files
from mathkernels.experiment.schedule import Row
from mathkernels.experiment.training import Training
from mathkernels.studies.mathematics.batches import EXTRAPOLATE, INTERPOLATE
from mathkernels.studies.mathematics.config import Config
from mathkernels.studies.mathematics.encoding import Encoding, encoding_of, model_of
from mathkernels.studies.mathematics.models import Model
from mathkernels.studies.mathematics.plan import Plan, described
from mathkernels.studies.mathematics.templates import Templates, of_corpus
from mathkernels.studies.mathematics.training import Learner

BEST = {INTERPOLATE: "best-interpolate.safetensors", EXTRAPOLATE: "best-extrapolate.safetensors"}
LAST = "last.safetensors"
_KEY = "deepmath"


class Kept:
    """Keeps a training's last and best weights in its folder, as they are measured; a log of the loop.

    Args:
        folder: of the run.
        plan: of the training.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder, self._plan = folder, plan
        self._training: Training | None = None

    @cached_property
    def _facts(self) -> dict[str, Any]:
        known = of_corpus(self._plan.sets.train, self._plan.sets.rows)
        return {
            "config": described(self._plan.config),
            "modules": self._plan.data.train.modules,
            "templates": sorted(known.templates),
            "grams": sorted(known.grams),
        }

    def begin(self, training: Training) -> None:
        self._training = training

    def write(self, rows: Sequence[Row]) -> None:
        """Write what the rows say is the last, and those of its sets that are the best, unless it is NaN."""
        training, (row,) = self._training, rows
        assert training is not None, "begin comes first"
        if not math.isfinite(row[training.table.monitor]):
            return
        (record,), learner = training.records, training.learner
        assert isinstance(learner, Learner)
        self.save(LAST, learner.weights(), {"of": "last", "epoch": row["epoch"]})
        if record.best_epoch == row["epoch"]:
            label = {"of": training.table.monitor, "epoch": row["epoch"], "error": record.best}
            self.save(BEST[INTERPOLATE], training.best, label)
        if learner.extrapolates and learner.best_epoch == row["epoch"]:
            label = {"of": f"{EXTRAPOLATE}_error", "epoch": row["epoch"], "error": learner.lowest}
            self.save(BEST[EXTRAPOLATE], learner.best, label)

    def save(self, name: str, tensors: Mapping[str, Tensor], label: Mapping[str, Any]) -> None:
        """Write weights (1,...) with their configuration and a label of what they are."""
        facts = {**self._facts, "label": dict(label)}
        own = tensor_files.row_of(tensors, 0)
        tensor_files.write(self._folder / name, own, {_KEY: json.dumps(facts)})

    def close(self) -> None:
        pass


class Answerer:
    """A trained model that answers questions.

    Args:
        path: of its run's folder, or of a file of weights.
        best: which of the folder's, by "interpolate" or "extrapolate".

    Attributes:
        label: what the weights are: epoch, set and exact match.

    Raises:
        ValueError: there are no weights, or they are damaged or of something else.
    """

    def __init__(self, path: Path, best: str = "interpolate") -> None:
        file = _found(path, best) if path.is_dir() else path
        try:
            tensors, texts = tensor_files.read(file)
            facts = tensor_files.facts(texts, _KEY)
            if not facts:
                raise ValueError("holds no weights of this trainer")
            self.config = configuration.build(Config, facts["config"], f"'{file}'")
            self.encoding: Encoding = encoding_of(self.config, vocabulary.of_modules(list(facts["modules"])))
            self.templates = Templates(frozenset(facts["templates"]), frozenset(facts["grams"]))
            self.label: Mapping[str, Any] = facts["label"]
            self.model: Model = model_of(self.config, self.encoding.vocabularies, stock=False)
            tensor_files.match(tensors, self.model.state_dict())
        except (KeyError, TypeError) as error:
            raise ValueError(f"weights: '{file}' lacks {error}; needs a file of this trainer") from error
        except ValueError as error:
            raise ValueError(f"weights: '{file}' {error}") from error
        self.model.load_state_dict(tensors)
        self.model.eval()

    def answer(self, question: str) -> str:
        """Return the model's answer.

        Raises:
            ValueError: the question is empty, too long, or has a character that the vocabulary lacks.
        """
        if not 1 <= len(question) <= vocabulary.MOST_QUESTION:
            right = f"needs 1 to {vocabulary.MOST_QUESTION} characters"
            raise ValueError(f"--ask: got a question of {len(question)} characters; {right}")
        return self.encoding.greedy(self.model, self.encoding.texts([question]))[0]

    def line(self, question: str) -> str:
        """Return question and answer, and a warning where the question is unlike those of training."""
        warning = self.templates.warning(question)
        return f"{question} -> {self.answer(question)}" + (f"   (warning: {warning})" if warning else "")


def _found(folder: Path, best: str) -> Path:
    for name in (BEST[best], LAST):
        if (folder / name).exists():
            return folder / name
    raise ValueError(f"weights: '{folder}' holds no {BEST[best]}; train there first")
