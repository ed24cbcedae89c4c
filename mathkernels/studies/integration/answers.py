"""Answers of a trained model: decoded, by the grammar or freely, read as expressions, and judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mathkernels.data.symbolic import corpus, prefix
from mathkernels.data.symbolic.language import (
    COEFFICIENTS,
    END,
    IDS,
    PAD,
    PROBLEM,
    START,
    VARIABLES,
    WORDS,
    Grammar,
    Tree,
)
from mathkernels.data.symbolic.prefix import SyntaxProblem
from mathkernels.studies.integration.model import Integrator
from mathkernels.studies.integration.verification import Verdict, Verifier

NEVER_IN_ANSWERS = (*PROBLEM, *VARIABLES[1:], *COEFFICIENTS)  # a problem is a function of x


class Answer(NamedTuple):
    """One output.

    Args:
        words: without the end.
        log_prob: of all words and the end.
        tree: None if the words are no expression.
    """

    words: list[str]
    log_prob: float
    tree: Tree | None


def allowed_words(most: int, grammar: Grammar) -> Callable[[Tensor, Tensor], Tensor]:
    """The hook of decoding: which words may follow, so that the answer is whole within so many, its end
    included."""

    def hook(tokens: Tensor, sentences: Tensor) -> Tensor:
        states = grammar.after(tokens.cpu().numpy())
        return torch.from_numpy(grammar.allowed(states, most - tokens.shape[1])).to(tokens.device)

    return hook


def decode(
    model: Integrator, source: Tensor, lengths: Tensor, beams: int, most: int, legal: bool
) -> list[list[Answer]]:
    """The answers to each problem, the likeliest by mean log-probability of a word first.

    Args:
        model: that answers.
        source: problems (S,B), ids.
        lengths: of them (B).
        beams: that are kept, and answers of each problem at most.
        most: words of an answer, its end included.
        legal: whether the grammar decides which words may follow.
    """
    options: dict[str, Any] = {"start": IDS[START], "end": IDS[END], "max_length": most}
    if legal:
        options["allowed"] = allowed_words(most, Grammar(WORDS, NEVER_IN_ANSWERS))
    if beams > 1:
        options |= {"beams": beams, "n_best": beams, "alpha": 1.0}  # the published code's
    found = (model.greedy if beams == 1 else model.beam_search)(source, lengths, **options)
    answers = []
    for tokens, ends, log_probs in zip(
        found.tokens.tolist(), found.lengths.tolist(), found.log_probs.tolist(), strict=True
    ):
        each = zip(tokens, ends, log_probs, strict=True)
        answers.append([_answer(ids[:end], log_prob) for ids, end, log_prob in each if end])
    return answers


def _answer(ids: Sequence[int], log_prob: float) -> Answer:
    words = [WORDS[one] for one in ids]
    try:
        tree = prefix.tree(words[:-1]) if words[-1] == END else None
    except SyntaxProblem:
        tree = None
    if tree is not None and {*NEVER_IN_ANSWERS} & {*words}:
        tree = None
    return Answer(words[:-1] if words[-1] == END else words, log_prob, tree)


@dataclass
class Score:
    """How a model does on problems, with one way of decoding.

    Args:
        beams, legal: the way.
        problems: that were asked.
        right: where one of the answers is right, which is what the paper counts.
        undecided: where none is right, but one may be.
        first_right, first_undecided: the same of the first answer alone.
        invalid: outputs that are no expression.
        outputs: of all problems.
        first_invalid: first answers that are no expression.
        exact: first answers that are the known one, word by word.
    """

    beams: int
    legal: bool
    problems: int = 0
    right: int = 0
    undecided: int = 0
    first_right: int = 0
    first_undecided: int = 0
    invalid: int = 0
    outputs: int = 0
    first_invalid: int = 0
    exact: int = 0

    def row(self) -> dict[str, Any]:
        """As values of a table."""
        return {**asdict(self), "legal": int(self.legal)}


@dataclass(frozen=True)
class Judged:
    """A problem with its answers, and the verdicts on those up to the first right one."""

    problem: Tree
    answers: list[Answer]
    verdicts: list[Verdict]

    @property
    def verdict(self) -> Verdict:
        """Of the best answer."""
        for one in (Verdict.RIGHT, Verdict.UNDECIDED):
            if one in self.verdicts:
                return one
        return Verdict.WRONG

    @property
    def best(self) -> Answer | None:
        """The first right answer, or else the first one that is an expression."""
        for one in (Verdict.RIGHT, Verdict.UNDECIDED, Verdict.WRONG):
            for answer, verdict in zip(self.answers, self.verdicts, strict=False):
                if verdict is one and answer.tree is not None:
                    return answer
        return self.answers[0] if self.answers else None


def judge(problem: Tree, answers: list[Answer], verifier: Verifier, every: bool = False) -> Judged:
    """Judge answers to a problem, in their order.

    Args:
        every: go on behind the first right one.
    """
    verdicts: list[Verdict] = []
    for answer in answers:
        found = Verdict.WRONG if answer.tree is None else verifier.check(problem, answer.tree)
        verdicts.append(found)
        if found is Verdict.RIGHT and not every:
            break
    return Judged(problem, answers, verdicts)


def count(score: Score, judged: Judged, known: list[str] | None = None) -> None:
    """Count a judged problem."""
    score.problems += 1
    score.right += judged.verdict is Verdict.RIGHT
    score.undecided += judged.verdict is Verdict.UNDECIDED
    first = judged.verdicts[0] if judged.verdicts else Verdict.WRONG
    score.first_right += first is Verdict.RIGHT
    score.first_undecided += first is Verdict.UNDECIDED
    score.outputs += len(judged.answers)
    score.invalid += sum(answer.tree is None for answer in judged.answers)
    if judged.answers:
        score.first_invalid += judged.answers[0].tree is None
        score.exact += known is not None and judged.answers[0].words == known


def solve(
    model: Integrator,
    problems: Sequence[tuple[Tree, Sequence[str] | None]],
    verifier: Verifier,
    *,
    beams: int,
    most: int,
    legal: bool,
) -> tuple[Score, list[Judged]]:
    """Let a model solve problems, and judge its answers.

    Args:
        model: that answers.
        problems: each with the words of the known answer, or None.
        verifier: that judges.
        beams, most, legal: as in :func:`decode`.
    """
    source, lengths = encoded([problem for problem, _ in problems])
    score, found = Score(beams, legal), []
    decoded = decode(model, source, lengths, beams, most, legal)
    for (problem, known), answers in zip(problems, decoded, strict=True):
        judged = judge(problem, answers, verifier)
        count(score, judged, None if known is None else [*known])
        found.append(judged)
    return score, found


def encoded(problems: Sequence[Tree]) -> tuple[Tensor, Tensor]:
    """Ids (S,B) of problems and their lengths (B)."""
    ids = [torch.tensor([*corpus.encoded(prefix.words(problem))]) for problem in problems]
    lengths = torch.tensor([len(one) for one in ids])
    return torch.nn.utils.rnn.pad_sequence(ids, padding_value=IDS[PAD]), lengths
