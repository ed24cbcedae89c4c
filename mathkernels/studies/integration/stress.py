"""Simple problems that tell whether a model has learnt rules: large coefficients, powers, sums.

After Welleck, West, Cao & Choi 2022, *Symbolic Brittleness in Sequence Models: on Systematic Generalization
in Symbolic Mathematics*, arXiv:2109.13986, which found models of high test accuracy wrong on them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from mathkernels.data import ranges
from mathkernels.data.processes import seed_of
from mathkernels.data.symbolic import algebra, infix
from mathkernels.data.symbolic.language import Tree
from mathkernels.data.symbolic.trees import has_variable

MOST: Final = 11_000  # a coefficient
MOST_POWER: Final = 1_000
MOST_TERMS: Final = 4
TRIES: Final = 100  # of a sum, before there are too few problems for as many as are asked for


class Case(NamedTuple):
    """A problem with a known answer.

    Args:
        family: its name.
        name: the problem as it is usually written.
        problem: in the canonical form of training data.
        answer: one of its integrals, in that form.
    """

    family: str
    name: str
    problem: Tree
    answer: Tree


_TEMPLATES: Final = {
    "{k}*ln({l}*x)": "{k}*x*ln({l}*x) - {k}*x",
    "{k}*exp({l}*x)": "{k}/{l}*exp({l}*x)",
    "{k}*sin({l}*x)": "-{k}/{l}*cos({l}*x)",
    "{k}*cos({l}*x)": "{k}/{l}*sin({l}*x)",
    "{k}*tan({l}*x)": "-{k}/{l}*ln(cos({l}*x))",
    "{k}*x": "{k}/2*x^2",
    "{k}*x^42": "{k}/43*x^43",
    "32*cos({k}*x)": "32/{k}*sin({k}*x)",
    "x^{k}": "x^({k} + 1)/({k} + 1)",
    "x^(1/{k})": "{k}*x^(({k} + 1)/{k})/({k} + 1)",
}
_SINGLE: Final = {text.format(k="k", l="l"): (text, answer) for text, answer in _TEMPLATES.items()}
FAMILIES: Final = tuple(_SINGLE)  # k and l stand for integers
_POWERS: Final = frozenset({"x^k", "x^(1/k)"})


class Suite:
    """Yields cases; the same seed, the same cases.

    Args:
        seed: of the coefficients and the sums.
        most: largest coefficient.

    Raises:
        ImportError: symengine is not installed.
        ValueError: an argument is out of its range.
    """

    def __init__(self, seed: int = 0, most: int = MOST) -> None:
        self.seed = ranges.whole("seed", seed, 0, ranges.LAST_SEED)
        self.most = ranges.whole("most", most, 1, 10**9)
        self.engine = algebra.symengine_algebra()

    def singles(self, family: str, count: int) -> Iterator[Case]:
        """Yield so many cases of a family, with the smallest coefficients first; fewer if there are no more
        integers.

        Coefficients are spread evenly over their logarithms: as many from 1 to 10 as from 100 to 1,000.

        Args:
            family: one of FAMILIES.
            count: of cases.
        """
        ranges.require(family in _SINGLE, "family", family, f"one of {', '.join(FAMILIES)}")
        source = random.Random(seed_of("stress", self.seed, family))
        most = min(MOST_POWER, self.most) if family in _POWERS else self.most
        firsts = _spread(count, most, source)
        seconds = firsts.copy()
        source.shuffle(seconds)
        for k, l in zip(firsts, seconds, strict=True):
            problem, answer = (text.format(k=k, l=l) for text in _SINGLE[family])
            yield Case(
                family, problem, self._canonical(infix.read(problem)), self._canonical(infix.read(answer))
            )

    def sums(self, solved: Sequence[tuple[Tree, Tree]], terms: int, count: int) -> Iterator[Case]:
        """Yield so many sums of different problems that a model solves alone, each once.

        Args:
            solved: problems and answers.
            terms: 2 to 4.
            count: of cases.

        Raises:
            ValueError: there are too few problems.
        """
        ranges.whole("terms", terms, 2, MOST_TERMS)
        ranges.require(len(solved) >= terms, "solved", f"{len(solved)} problems", f"at least {terms}")
        source = random.Random(seed_of("stress", self.seed, "sums", terms))
        seen: set[Tree] = set()
        for _ in range(count):
            for _ in range(TRIES):
                chosen = source.sample(range(len(solved)), terms)
                problem, answer = (self._sum([solved[k][side] for k in chosen]) for side in (0, 1))
                if problem is not None and answer is not None and problem not in seen:
                    break
            else:
                what = f"got {len(solved)} problems, of which {TRIES} sums of {terms} were no new ones"
                raise ValueError(f"solved: {what}; needs more, or a smaller count")
            seen.add(problem)
            yield Case(f"sum of {terms}", infix.write(problem), problem, answer)

    def _sum(self, trees: list[Tree]) -> Tree | None:
        """None if the terms cancel, or number more than a tree may have."""
        try:
            found = self._canonical(infix.nested("add", trees))
        except (algebra.OutsideLanguageError, RuntimeError):
            return None
        return found if has_variable(found) else None

    def _canonical(self, tree: Tree) -> Tree:
        return algebra.tree_of(self.engine.expression(tree))


def _spread(count: int, most: int, source: random.Random) -> list[int]:
    """Different integers of 1 ... most, ascending, one of each of so many equal parts of the logarithms;
    where a part has none of its own, the smallest integers that are left."""
    count = min(ranges.whole("count", count, 0), most)
    found: set[int] = set()
    for part in range(count):
        found.add(min(most, int((most + 1) ** ((part + source.random()) / count))))
    free = (value for value in range(1, most + 1) if value not in found)
    missing = count - len(found)
    return sorted(found | {next(free) for _ in range(missing)})
