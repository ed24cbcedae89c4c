"""Whether a question looks like those that a model was trained on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mathkernels.data.mathematics.corpus import Corpus

SAMPLED = 20_000  # questions that templates are taken from
_GRAM = 4
_WORD = re.compile(r"[A-Za-z]{2,}")


def template(text: str) -> str:
    """Return the words of a question in their order, with # for whatever stands between them."""
    found: list[str] = []
    for token in re.findall(r"[^\s,.?:;]+|[,.?:;](?=\s|$)", text.replace("sqrt", "")):
        kind = token if _WORD.fullmatch(token) or token in ",.?:;" else "#"
        if kind != "#" or found[-1:] != ["#"]:
            found.append(kind)
    return " ".join(found)


def grams(text: str) -> set[str]:
    """Return all runs of four characters, numbers being 0 and single letters x."""
    plain = re.sub(r"\b[A-Za-z]\b", "x", re.sub(r"\d+", "0", text))
    padded = f"^{plain}$"
    return {padded[place : place + _GRAM] for place in range(max(1, len(padded) - _GRAM + 1))}


@dataclass(frozen=True)
class Templates:
    """What training questions look like.

    Args:
        templates: of their words.
        grams: runs of characters.
    """

    templates: frozenset[str]
    grams: frozenset[str]

    def warning(self, text: str) -> str:
        """Say why a question is unlike those of training, "" if it is like them."""
        if template(text) not in self.templates:
            return "no question of its training reads like this; an answer means little"
        if unknown := sorted(grams(text) - self.grams):
            return (
                f"no question of its training has {unknown[0]!r} (0 for any number); an answer means little"
            )
        return ""


def of_texts(texts: Iterable[str]) -> Templates:
    words: set[str] = set()
    runs: set[str] = set()
    for text in texts:
        words.add(template(text))
        runs |= grams(text)
    return Templates(frozenset(words), frozenset(runs))


def of_corpus(corpus: Corpus, rows: np.ndarray) -> Templates:
    """Return those of at most SAMPLED questions, evenly spread."""
    chosen = rows[:: max(1, -(-len(rows) // SAMPLED))]
    return of_texts(corpus.pair(int(row))[0] for row in chosen)
