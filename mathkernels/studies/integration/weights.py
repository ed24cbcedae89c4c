"""Files of a trial's weights, with what is needed to ask the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mathkernels.data.symbolic import algebra, infix, prefix
from mathkernels.data.symbolic.algebra import OutsideLanguageError
from mathkernels.data.symbolic.language import WORDS, Tree
from mathkernels.data.symbolic.prefix import SyntaxProblem
from mathkernels.data.symbolic.trees import has_variable
from mathkernels.experiment import configuration, tensor_files
from mathkernels.studies.integration.answers import Judged, decode, encoded, judge
from mathkernels.studies.integration.config import Config
from mathkernels.studies.integration.model import Integrator, build
from mathkernels.studies.integration.second_opinion import SecondOpinion
from mathkernels.studies.integration.verification import Verifier

_KEY = "symbolic"
MOST_SHOWN = 5  # runners-up
SECONDS = 2.0  # that sympy has for each answer that balls leave open


def name_of(trial: str) -> str:
    """The file of a trial's weights."""
    return f"{trial}.safetensors"


def save(path: Path, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write weights with JSON values: config, trial, seen (words that trained), words (of the longest
    problem), epoch and val_loss."""
    tensor_files.write(path, weights, {_KEY: json.dumps(dict(facts))})


class Answerer:
    """A trained model that answers questions.

    Args:
        folder: of the run.
        trial: whose weights; None: the one with the lowest validation loss.

    Attributes:
        trial: the name.
        epoch, loss: when the weights were the best, and their validation loss.

    Raises:
        ValueError: there are no weights, or they are damaged or of something else.
        ImportError: symengine or python-flint is not installed.
    """

    def __init__(self, folder: Path, trial: str | None = None) -> None:
        paths = sorted(folder.glob("*.safetensors")) if trial is None else [folder / name_of(trial)]
        held = [(path, *_read(path)) for path in paths if path.exists()]
        if not held:
            what = "weights" if trial is None else f"'{name_of(trial)}'"
            raise ValueError(f"weights: '{folder}' holds no {what}; train there first")
        path, tensors, facts = min(held, key=lambda one: one[2]["val_loss"])
        try:
            self.config = configuration.build(Config, facts["config"], f"'{path}'")
            self.trial, self.epoch, self.loss = facts["trial"], facts["epoch"], facts["val_loss"]
            self.seen, self.most = frozenset(facts["seen"]), int(facts["words"])
            self.model: Integrator = build(self.config.model_params[self.trial], self.config)
            tensor_files.match(tensors, self.model.state_dict())
        except (KeyError, TypeError) as error:
            raise ValueError(f"weights: '{path}' lacks {error}; needs a file of this trainer") from error
        except ValueError as error:
            raise ValueError(f"weights: '{path}' {error}") from error
        self.model.load_state_dict(tensors)
        self.engine, self.verifier = algebra.symengine_algebra(), Verifier(SecondOpinion(SECONDS))

    def problem(self, question: str) -> Tree:
        """The canonical tree of "integrate x*cos(x)", where the first word may be missing.

        Raises:
            ValueError: it is no function of x, or too long; with the place of what is wrong.
        """
        text = question.strip()
        for begin in ("integrate ", "Y' =", "y' ="):
            text = text.removeprefix(begin).strip()
        try:
            tree = infix.read(text)
        except SyntaxProblem as error:
            raise ValueError(f"--ask: {error}: {text!r}") from None
        try:
            found = algebra.tree_of(self.engine.expression(tree))
        except (OutsideLanguageError, RuntimeError) as error:
            raise ValueError(f"--ask: {text!r}: {error}") from None
        others = sorted({*prefix.words(found)} & {"y", "z", "t", *(f"a{k}" for k in range(10))})
        if others:
            raise ValueError(f"--ask: {text!r} holds '{others[0]}'; needs a function of x alone")
        if not self.fits(found):
            count = len(prefix.words(found))
            raise ValueError(f"--ask: the problem has {count} words; needs at most {self.most}")
        return found

    def fits(self, problem: Tree) -> bool:
        """Whether a problem has no more words than the longest of the training."""
        return len(prefix.words(problem)) <= self.most

    def ask(self, question: str, beams: int) -> str:
        """The answer as lines of text: equation, LaTeX, verdict, and what else was thought of."""
        tree = self.problem(question)
        judged = self.judged(tree, beams)
        lines = [f"Y' = {infix.write(tree)}"]
        if unseen := {*prefix.words(tree)} - self.seen:
            lines.append(f"warning: no problem of the training holds {', '.join(sorted(unseen))}")
        if not has_variable(tree):
            lines.append("note: a constant; no problem of the training is one")
        shown = [(answer, verdict) for answer, verdict in zip(judged.answers, judged.verdicts, strict=True)]
        best = judged.best
        if best is None or best.tree is None:
            return "\n".join([*lines, "no answer"])
        verdict = next(verdict for answer, verdict in shown if answer is best)
        lines += [f"Y = {infix.write(best.tree)} + C", f"LaTeX: {infix.latex(best.tree)} + C"]
        lines.append(f"verdict: {verdict.value}")
        for answer, other in [one for one in shown if one[0] is not best][:MOST_SHOWN]:
            text = " ".join(answer.words) if answer.tree is None else infix.write(answer.tree)
            lines.append(f"  {other.value:9}  p = {np.exp(answer.log_prob):.2g}  {text}")
        return "\n".join(lines)

    def judged(self, tree: Tree, beams: int) -> Judged:
        """All answers to a problem, judged."""
        (answers,) = decode(self.model, *encoded([tree]), beams, self.config.max_length, legal=True)
        return judge(tree, answers, self.verifier, every=True)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        tensors, texts = tensor_files.read(path)
        facts = tensor_files.facts(texts, _KEY)
        if not isinstance(facts.get("val_loss"), float):
            raise ValueError("holds no weights of this trainer")
    except ValueError as error:
        raise ValueError(f"weights: '{path}' {error}") from error
    return tensors, facts


def seen_words(ids: np.ndarray) -> list[str]:
    """The words among ids."""
    return [WORDS[one] for one in np.unique(ids)]
