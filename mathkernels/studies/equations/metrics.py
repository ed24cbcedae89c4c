"""What is reported of the equation learner: accuracies per character and per equation, and the mistakes.

The article's accuracy is that of single characters. Here "character accuracy" and "exact match" (of a whole
answer, end included) always stand by their names. The tables test two claims of the article: that most
mistakes have an operand below 100, and that each is in a single digit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from statistics import median
from typing import Any

import numpy as np

from mathkernels.data import equation_sets
from mathkernels.data.equation_sets import Part
from mathkernels.data.equations import Equation, Equations
from mathkernels.experiment.statistics import wilson

RUN_COLUMNS = (
    *(
        "seed",
        "best_epoch",
        "test_loss",
        "test_character_accuracy",
        "test_exact_match",
        "test_wrong",
        "test_n",
    ),
    *("new_character_accuracy", "new_exact_match", "new_wrong", "new_n", "diverged"),
)
MISTAKE_COLUMNS = (
    *("seed", "set", "equation", "expected", "predicted", "wrong_characters", "positions", "error", "small"),
)
STRATUM_COLUMNS = (
    "stratum",
    "equations",
    "share",
    "mistakes",
    "mistake_share",
    "rate",
    "rate_low",
    "rate_high",
)
POSITION_COLUMNS = ("position", "accuracy", "wrong")

Row = dict[str, Any]

# by the smallest operand, which is below the number and not below the one before
STRATA = {"an operand below 10": 10.0, "an operand of 10 to 99": 100.0, "all operands from 100": float("inf")}


def run_row(seed: int, best_epoch: int, loss: float, diverged: int | None, test: Row, new: Row) -> Row:
    """Return the row of one network.

    Args:
        seed: of the network.
        best_epoch, loss: of its weights; without an epoch of finite loss it has none, and answers nothing.
        diverged: the first epoch of an infinite or NaN loss.
        test, new: its accuracies.
    """
    row = {"seed": seed, "best_epoch": best_epoch, "test_loss": loss, "diverged": diverged or ""}
    if not best_epoch:
        return row | {"test_loss": float("nan")}
    row |= {f"test_{name}": value for name, value in test.items()}
    return row | {f"new_{name}": value for name, value in new.items()}


def accuracies(part: Part, predicted: np.ndarray) -> Row:
    """Return character accuracy, exact match, and how many of how many answers are wrong; predicted (N,O)."""
    right = predicted == part.targets
    n = len(part)
    wrong = int(n - right.all(1).sum())
    exact = (n - wrong) / n if n else float("nan")
    own = {"character_accuracy": float(right.mean()) if n else float("nan"), "exact_match": exact}
    return {**own, "wrong": wrong, "n": n}


def mistakes(kind: Equations, part: Part, predicted: np.ndarray, seed: int, name: str) -> list[Row]:
    """Return a row for each wrong answer of one network; positions are counted from the left, as read."""
    wrong = predicted != part.targets
    texts = equation_sets.decode(predicted, kind.alphabet)
    rows = []
    for index in np.flatnonzero(wrong.any(1)):
        equation = part.equations[index]
        own = np.flatnonzero(wrong[index])
        places = _places(kind, own)
        answer = kind.readable(texts[index])
        row = {"seed": seed, "set": name, "equation": equation.text, "expected": kind.plain_answer(equation)}
        row |= {"predicted": answer, "wrong_characters": len(own)}
        row |= {"positions": " ".join(map(str, places)), "error": error(kind, equation, answer)}
        rows.append(row | {"small": int(equation.smallest < equation_sets.SMALL)})
    return rows


def _places(kind: Equations, positions: np.ndarray) -> list[int]:
    """Return positions in reading order: a reversed answer is turned round, its end stays last."""
    body = kind.answer_length - kind.end_char
    return sorted(int(body - 1 - p) if kind.reverse and p < body else int(p) for p in positions)


def error(kind: Equations, equation: Equation, answer: str) -> float:
    """Return how far an answer (or its quotient) is from the right one; NaN if it is no number."""
    text, expected = answer, kind.plain_answer(equation)
    if kind.answer == "remainder":
        text, expected = text.partition("r")[0], expected.partition("r")[0]
    try:
        return float(abs(Fraction(text) - Fraction(expected)))
    except (ValueError, ZeroDivisionError):
        return float("nan")


def strata(part: Part, predicted: np.ndarray) -> list[Row]:
    """Return the pooled mistakes of E networks by the size of the smallest operand; predicted (E,N,O)."""
    operands = np.array([one.smallest for one in part.equations])
    wrong = (predicted != part.targets).any(2)
    rows: list[Row] = []
    low = 0.0
    for name, high in STRATA.items():
        own = (operands >= low) & (operands < high)
        count, n = int(wrong[:, own].sum()), int(own.sum())
        rate = wilson(count, n * len(wrong))
        row = {"stratum": name, "equations": n, "share": n / max(len(part), 1), "mistakes": count}
        row |= {"mistake_share": count / wrong.sum() if wrong.any() else float("nan")}
        rows.append(row | {"rate": rate.value, "rate_low": rate.low, "rate_high": rate.high})
        low = high
    return rows


def positions(kind: Equations, part: Part, predicted: np.ndarray) -> list[Row]:
    """Return character accuracy by position of the answer, in reading order; predicted (E,N,O)."""
    right = predicted == part.targets
    rows = []
    for column in range(right.shape[2]):
        own = right[:, :, column]
        place = _places(kind, np.array([column]))[0]
        rows.append({"position": place, "accuracy": float(own.mean()), "wrong": int((~own).sum())})
    return sorted(rows, key=lambda row: row["position"])


def claims(rows: Sequence[Row], part: Part) -> list[str]:
    """Return what the pooled mistakes on the new equations say of the article's two claims, in sentences."""
    own = [row for row in rows if row["set"] == "new"]
    if not own:
        return ["No network made a mistake on the new equations."]
    small, single = sum(row["small"] for row in own), sum(row["wrong_characters"] == 1 for row in own)
    share = wilson(small, len(own))
    population = float(part.small.mean())
    one = wilson(single, len(own))
    return [
        f"{small} of {len(own)} mistakes ({_percent(share.value)}, 95 % interval {_percent(share.low)} to "
        f"{_percent(share.high)}) have an operand below 100; of the equations {_percent(population)} have.",
        f"{single} of {len(own)} mistakes ({_percent(one.value)}, 95 % interval {_percent(one.low)} to "
        f"{_percent(one.high)}) are in a single character.",
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def table(rows: Sequence[Row]) -> str:
    """Return the networks and their medians as text."""
    head = (
        "seed",
        "best epoch",
        "test loss",
        "test characters",
        "test equations",
        "new characters",
        "new wrong",
    )
    lines: list[tuple[str, ...]] = [head]
    for row in rows:
        lines.append((str(row["seed"]), str(row["best_epoch"]), *_cells(row)))
    learned = [row for row in rows if row["best_epoch"]]
    if len(learned) > 1:
        middle = {name: median(row[name] for row in learned) for name in RUN_COLUMNS[2:-1]}
        lines.append(("median", "", *_cells(middle)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    what = "right characters and, in every character, right equations; at the epoch of the lowest test loss"
    notes = [
        f"seed {row['seed']} diverged: its loss is infinite or NaN from epoch {row['diverged']} on"
        for row in rows
        if row["diverged"] != ""
    ]
    return "\n".join([f"Share of {what}", "", text[0], "-" * len(text[0]), *text[1:], *notes])


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    if "new_wrong" not in row:
        return ("no finite loss", "", "", "", "")
    wrong = f"{row['new_wrong']:g} of {row['new_n']:,.0f}"
    shown = (f"{row[name]:.5f}" for name in ("test_character_accuracy", "test_exact_match"))
    return (f"{row['test_loss']:.2e}", *shown, f"{row['new_character_accuracy']:.5f}", wrong)


def strata_table(rows: Sequence[Row]) -> str:
    """Return where the mistakes on the new equations are, pooled over all networks, as text."""
    head = f"{'new equations with':<24}{'equations':>10}{'share':>8}{'mistakes':>10}{'share':>8}{'rate':>11}"
    lines = [head, "-" * len(head)]
    for row in rows:
        own = f"{row['stratum']:<24}{row['equations']:>10,}{_percent(row['share']):>8}{row['mistakes']:>10}"
        share = "" if not row["mistakes"] else _percent(row["mistake_share"])
        lines.append(f"{own}{share:>8}{row['rate']:>11.2e}")
    return "\n".join(lines)


def examples(kind: Equations, part: Part, predicted: np.ndarray, indices: Sequence[int]) -> str:
    """Return answers of one network as lines "x + y = p   (expected: r)"; predicted (N,O)."""
    texts = equation_sets.decode(predicted[list(indices)], kind.alphabet)
    lines = []
    for index, text in zip(indices, texts, strict=True):
        equation = part.equations[index]
        expected = kind.plain_answer(equation)
        lines.append(f"{equation.text} = {kind.readable(text)}   (expected: {expected})")
    return "\n".join(lines)
