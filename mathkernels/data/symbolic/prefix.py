"""Trees as words in prefix notation, operator before operands: ``mul INT+ 2 sin x``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mathkernels.data.symbolic.language import ARITY, DIGITS, MINUS, PLUS, Tree

MOST_DIGITS = 1000  # of an integer


class SyntaxProblem(ValueError):
    """A sentence is no expression.

    Args:
        what: what is wrong.
        place: number of the word or character, from 0, where it was seen; as many as there are at the end.
    """

    def __init__(self, what: str, place: int) -> None:
        super().__init__(what)
        self.place = place


def words(tree: Tree) -> list[str]:
    """The words of a tree."""
    found: list[str] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            found.append(node[0])
            waiting.extend(reversed(node[1:]))
        elif isinstance(node, int):
            found.append(PLUS if node >= 0 else MINUS)
            found.extend(str(abs(node)))
        else:
            found.append(node)
    return found


def tree(sentence: str | Iterable[str]) -> Tree:
    """The tree of a sentence: of its words, or of a text with spaces between them.

    Raises:
        SyntaxProblem: a word is unknown or stands where it cannot; operands are missing or left over.
    """
    given: Sequence[str] = sentence.split() if isinstance(sentence, str) else list(sentence)
    open_nodes: list[tuple[str, list[Tree]]] = []  # operators whose operands are still read
    place = 0
    while place < len(given):
        word, begin = given[place], place
        place += 1
        if word in (PLUS, MINUS):
            while place < len(given) and given[place] in DIGITS:
                place += 1
            node: Tree = _integer(word, given[begin + 1 : place], begin)
        elif word not in ARITY:
            raise SyntaxProblem(f"word {begin + 1} is '{word}', which is {_what_it_is(word)}", begin)
        elif ARITY[word]:
            open_nodes.append((word, []))
            continue
        else:
            node = word
        while open_nodes:
            operator, operands = open_nodes[-1]
            operands.append(node)
            if len(operands) < ARITY[operator]:
                break
            node = (operator, *operands)
            open_nodes.pop()
        else:
            if place < len(given):
                raise SyntaxProblem(
                    f"the expression is whole before word {place + 1}, '{given[place]}'", place
                )
            return node
    if not open_nodes:
        raise SyntaxProblem("there are no words", 0)
    operator, operands = open_nodes[-1]
    raise SyntaxProblem(
        f"the words end, but '{operator}' has {len(operands)} of {ARITY[operator]} operands", len(given)
    )


def _integer(sign: str, digits: Sequence[str], begin: int) -> int:
    if not digits:
        raise SyntaxProblem(f"word {begin + 1}, '{sign}', needs digits behind it", begin)
    if len(digits) > MOST_DIGITS:
        raise SyntaxProblem(f"the integer at word {begin + 1} has more than {MOST_DIGITS} digits", begin)
    if len(digits) > 1 and digits[0] == "0":
        raise SyntaxProblem(f"the integer at word {begin + 1} begins with 0", begin)
    value = int("".join(digits))
    return value if sign == PLUS else -value


def _what_it_is(word: str) -> str:
    return "a digit without INT+ or INT- before it" if word in DIGITS else "no word of the language"


def operators(tree: Tree) -> int:
    """How many operators a tree has."""
    count, waiting = 0, [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            count += 1
            waiting.extend(node[1:])
    return count
