"""Files of a model's weights, with what is needed to ask it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mathkernels.data.mathematics import vocabulary
from mathkernels.experiment import configuration, tensor_files
from mathkernels.studies.mathematics.config import Config
from mathkernels.studies.mathematics.encoding import Encoding, encoding_of, model_of
from mathkernels.studies.mathematics.models import Model
from mathkernels.studies.mathematics.plan import Plan
from mathkernels.studies.mathematics.templates import Templates, of_corpus

BEST = {"interpolate": "best-interpolate.safetensors", "extrapolate": "best-extrapolate.safetensors"}
LAST = "last.safetensors"
_KEY = "deepmath"


def write(path: Path, tensors: Mapping[str, Tensor], plan: Plan, label: Mapping[str, Any]) -> None:
    """Write weights, by name without a model axis, with their configuration and a label of what they are."""
    known = of_corpus(plan.sets.train, plan.sets.rows)
    facts = {
        "config": configuration.plain(plan.config),
        "modules": plan.data.train.modules,
        "templates": sorted(known.templates),
        "grams": sorted(known.grams),
        "label": dict(label),
    }
    tensor_files.write(path, tensors, {_KEY: json.dumps(facts)})


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
