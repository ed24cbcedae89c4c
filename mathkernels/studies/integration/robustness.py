"""How a trained model does beyond its test set: simple families of problems, sums of them, and textbooks.

Beside it, on the textbook problems, what sympy solves in the time that is given to it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from mathkernels.data.symbolic import infix
from mathkernels.data.symbolic.language import Tree
from mathkernels.studies.integration import textbooks
from mathkernels.studies.integration.answers import Judged, Score, solve
from mathkernels.studies.integration.report import markdown, share
from mathkernels.studies.integration.stress import FAMILIES, MOST_TERMS, Suite
from mathkernels.studies.integration.verification import Verdict
from mathkernels.studies.integration.weights import Answerer

EACH: Final = 50  # problems of a family
FEWEST: Final = 8  # problems that a model solves alone, from which sums are made
SECONDS: Final = 2.0  # that sympy has for a problem
COLUMNS = {
    "suite": str,
    "problems": int,
    "too_long": int,
    "right": int,
    "undecided": int,
    "first_right": int,
    "seconds": float,  # of the model for a problem, judging included
    "sympy_right": int,
    "sympy_undecided": int,
}
SAMPLES = {"suite": str, "problem": str, "answer": str, "verdict": str}


def measured(answerer: Answerer, beams: int, seed: int, sympy: bool = True) -> list[dict[str, Any]]:
    """Return a row for each suite, with its judged problems under "judged".

    Problems with more words than any that trained are not asked, and counted as too long: they are wrong.

    Args:
        answerer: the model.
        beams: of its search, by the grammar.
        seed: of the stress suite.
        sympy: whether sympy gets the textbook problems too.
    """
    suite, rows, solved = Suite(seed), [], []
    for family in FAMILIES:
        cases = [*suite.singles(family, EACH)]
        row = _row(family, answerer, [case.problem for case in cases], beams)
        rows.append(row)
        right = {one.problem for one in row["judged"] if one.verdict is Verdict.RIGHT}
        solved += [(case.problem, case.answer) for case in cases if case.problem in right]
    if len(solved) >= FEWEST:
        for terms in range(2, MOST_TERMS + 1):
            problems = [case.problem for case in suite.sums(solved, terms, EACH)]
            rows.append(_row(f"sums of {terms} that it solves alone", answerer, problems, beams))
    for name, book in textbooks.books().items():
        problems = [one.problem for one in book.problems]
        row = _row(f"textbook: {name}", answerer, problems, beams)
        if sympy:
            verdicts = Counter(textbooks.sympy_solves(problems, SECONDS, os.cpu_count() or 1))
            row |= {"sympy_right": verdicts["right"], "sympy_undecided": verdicts["undecided"]}
        rows.append(row)
    return rows


def _row(suite: str, answerer: Answerer, problems: Sequence[Tree], beams: int) -> dict[str, Any]:
    short = [problem for problem in problems if answerer.fits(problem)]
    begun = time.perf_counter()
    score, judged = Score(beams, True), []
    if short:
        asked = [(problem, None) for problem in short]
        most = answerer.config.max_length
        score, judged = solve(answerer.model, asked, answerer.verifier, beams=beams, most=most, legal=True)
    spent = (time.perf_counter() - begun) / max(len(short), 1)
    own = {name: getattr(score, name) for name in ("right", "undecided", "first_right")}
    counts = {"problems": len(problems), "too_long": len(problems) - len(short)}
    return {"suite": suite, **counts, **own, "seconds": round(spent, 4), "judged": judged}


def plain(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows as they are written, without the problems."""
    return [{name: row[name] for name in COLUMNS if name in row} for row in rows]


def samples(rows: Sequence[dict[str, Any]], each: int = 6) -> list[dict[str, str]]:
    """Return some problems of each suite with the model's best answers."""
    found = []
    for row in rows:
        judged: list[Judged] = row["judged"]
        for one in judged[:: max(1, len(judged) // each)][:each]:
            best = one.best
            text = "" if best is None or best.tree is None else infix.write(best.tree)
            own = {"problem": infix.write(one.problem), "answer": text, "verdict": one.verdict.value}
            found.append({"suite": row["suite"], **own})
    return found


def table(rows: Sequence[dict[str, Any]], beams: int) -> str:
    """Return the rows as Markdown."""
    head = ["suite", "problems", "too long", f"right, beam {beams}", "right, first answer", "ms each"]
    head.append(f"sympy right, {SECONDS:g} s each")
    lines = [head, ["---"] * len(head)]
    for row in rows:
        of = row["problems"]
        cells = [row["suite"].replace("*", r"\*"), str(of), str(row["too_long"])]
        cells += [share(row["right"], row["undecided"], of), share(row["first_right"], 0, of)]
        cells.append(f"{1e3 * row['seconds']:.0f}")
        with_sympy = "sympy_right" in row
        cells.append(share(row["sympy_right"], row["sympy_undecided"], of) if with_sympy else "")
        lines.append(cells)
    return markdown(lines)
