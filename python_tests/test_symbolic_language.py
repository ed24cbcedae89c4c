"""Words, trees and equations: back and forth, and what the grammar allows."""

import itertools
import random

import numpy as np
import pytest

from mathkernels.data.symbolic import algebra, infix, latex, prefix, probes
from mathkernels.data.symbolic.algebra import OutsideLanguageError
from mathkernels.data.symbolic.language import ARITY, DIGITS, END, IDS, MINUS, PLUS, WORDS, Grammar
from mathkernels.data.symbolic.prefix import SyntaxProblem
from mathkernels.data.symbolic.trees import PUBLISHED, Sampler, count

SMALL = ("x", "sin", "add", PLUS, MINUS, "0", "7", END)


def random_trees(number, most=8, seed=0):
    source, sampler = random.Random(seed), Sampler(negative=True)
    return [sampler.draw(source.randint(0, most), source) for _ in range(number)]


def is_expression(words):
    try:
        prefix.tree(words)
    except SyntaxProblem:
        return False
    return True


def test_words_are_the_published_ones_and_different():
    assert len({*WORDS}) == len(WORDS) == len(IDS)
    assert {
        *[
            "add",
            "sub",
            "mul",
            "div",
            "pow",
            "sin",
            "Y'",
            "INT+",
            "INT-",
            "0",
            "9",
            "x",
            "pi",
            "E",
            "a9",
            "acsch",
        ]
    } <= {*WORDS}


def test_a_tree_is_its_words_read_again():
    for tree in random_trees(300):
        assert prefix.tree(prefix.words(tree)) == tree
        assert prefix.tree(" ".join(prefix.words(tree))) == tree


@pytest.mark.parametrize(
    ("sentence", "place", "message"),
    [
        ("", 0, "there are no words"),
        ("add x", 2, "'add' has 1 of 2 operands"),
        ("x x", 1, "whole before word 2"),
        ("mul INT+ x", 1, "word 2, 'INT\\+', needs digits"),
        ("add x 3", 2, "a digit without INT"),
        ("sin foo", 1, "'foo', which is no word"),
        ("INT- 0 4", 0, "begins with 0"),
        ("INT+ " + "7 " * 1001, 0, "more than 1000 digits"),
        ("</s>", 0, "no word of the language"),
    ],
)
def test_what_is_no_expression_is_told_with_its_place(sentence, place, message):
    with pytest.raises(SyntaxProblem, match=message) as caught:
        prefix.tree(sentence)
    assert caught.value.place == place


def test_a_deep_tree_needs_no_recursion_to_be_read():
    sentence = "sin " * 50_000 + "x"
    assert " ".join(prefix.words(prefix.tree(sentence))) == sentence
    assert prefix.operators(prefix.tree(sentence)) == 50_000


# -- equations


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("x*cos(x)", ("mul", "x", ("cos", "x"))),
        ("-x^2", ("mul", -1, ("pow", "x", 2))),
        ("2**-x", ("pow", 2, ("mul", -1, "x"))),
        ("2^3^x", ("pow", 2, ("pow", 3, "x"))),
        ("1 - 2 x + 3", ("add", 1, ("add", ("mul", -2, "x"), 3))),
        ("3/4/x", ("mul", ("div", 3, 4), ("pow", "x", -1))),
        (".5 x", ("mul", ("div", 1, 2), "x")),
        ("2(x + 1)(x - 1)", ("mul", 2, ("mul", ("add", "x", 1), ("add", "x", -1)))),
        ("e^x + E + π", ("add", ("exp", "x"), ("add", "E", "pi"))),
        ("arcsin(log(x))", ("asin", ("ln", "x"))),
        ("x^(1/2)", ("sqrt", "x")),
        (" a1 *\t--x ", ("mul", "a1", "x")),
    ],
)
def test_equations_are_read_as_they_are_meant(text, tree):
    assert infix.read(text) == tree


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", 0, "the text ends where an expression is expected"),
        ("x +", 3, "the text ends where"),
        ("(x", 2, "a parenthesis is open"),
        ("x)", 1, "stands behind a whole expression"),
        ("3 $ x", 2, "character 3, '\\$', has no meaning"),
        ("x + foo(x)", 4, "'foo' at character 5 is no function"),
        ("sin x", 0, "'sin' at character 1 needs its operand in parentheses"),
        ("x * * 2", 4, "stands where an expression is expected"),
        ("(" * 200 + "x" + ")" * 200, 100, "more than 100 parentheses"),
        ("__import__('os')", 0, "is no function|has no meaning"),
    ],
)
def test_what_is_no_equation_is_told_with_its_place(text, place, message):
    with pytest.raises(SyntaxProblem, match=message) as caught:
        infix.read(text)
    assert message.startswith("is no function") or caught.value.place == place


def test_an_equation_equals_its_tree():
    engine = algebra.symengine_algebra()

    def canonical(tree):
        return algebra.tree_of(engine.expression(tree))

    compared = 0
    for tree in random_trees(500, seed=1):
        try:
            expected = canonical(tree)
        except (RuntimeError, OutsideLanguageError):  # a division by 0
            continue
        assert canonical(infix.read(infix.write(tree))) == expected, infix.write(tree)
        compared += 1
    assert compared > 450


@pytest.mark.parametrize(
    "equation",
    [
        *("x^2*exp(x)/2", "-x*ln(x) - 3", "1/(x + 1)", "2*3^x", "(x + 1)^2*sin(x)^2", "-1/x", "-2/3"),
        *("(x - 1)/(x + 1)", "asin(x)", "abs(x - 1)", "2^(x^2)", "(-2)^x", "x/3 + 1/3", "1/(2*(x + 1)^3)"),
        *("sin(x)^(-2)", "x^(-1/2)", "sqrt(x)/2", "sign(x)*a1*pi", "exp(-x/2)", "x^x^x", "acosh(2*x/3)"),
    ],
)
def test_latex_is_that_of_sympy(equation):
    tree, package = infix.read(equation), algebra.sympy_algebra()
    expected = package.module.latex(package.expression(tree), ln_notation=True)
    parts = [sorted(text.replace("- ", "-").split()) for text in (latex.write(tree), expected)]
    assert parts[0] == parts[1]  # factors may have another order


@pytest.mark.parametrize(
    ("tree", "written"),
    [
        (infix.read("(x + 1)/2"), r"\frac{x + 1}{2}"),
        (("sub", "x", ("sub", 1, "x")), r"x - \left(1 - x\right)"),
        (("mul", 2, ("mul", -3, "x")), "-6 x"),
        (("pow2", ("exp", "x")), r"\left(e^{x}\right)^{2}"),
        (("inv", ("add", "x", "E")), r"\frac{1}{x + e}"),
        (infix.read("9^9^9^9"), "9^{9^{9^{9}}}"),
    ],
)
def test_latex_computes_nothing_but_factors(tree, written):
    assert latex.write(tree) == written


def test_latex_of_the_unknown_function_is_refused():
    with pytest.raises(OutsideLanguageError, match="'Y' is no number"):
        latex.write(("add", "x", "Y"))


@pytest.mark.parametrize("operator", ["sin", "inv", "pow2", "sqrt", "abs", "exp"])
def test_what_is_nested_deep_is_written(operator):
    tree = "x"
    for _ in range(600):
        tree = (operator, ("tan", tree))
    assert infix.write(tree).count("tan") == latex.write(tree).count("tan") == 600


# -- the grammar of decoding


def written(grammar, most, source):
    """A sentence of words drawn from what the grammar allows, at most so many with the end."""
    states, found = grammar.start(1), []
    for left in range(most, 0, -1):
        allowed = np.flatnonzero(grammar.allowed(states, left)[0])
        assert len(allowed), (found, left)
        word = np.array([source.choice(allowed)])
        if grammar.words[word[0]] == END:
            return found
        found.append(grammar.words[word[0]])
        states = grammar.step(states, word)
    raise AssertionError("no end came")


@pytest.mark.parametrize(
    "words", [WORDS, SMALL, (PLUS, *DIGITS, "add", END)], ids=["all", "small", "integers"]
)
def test_what_the_grammar_writes_is_an_expression_within_the_limit(words):
    grammar, source = Grammar(words), random.Random(2)
    for k in range(300):
        assert is_expression(written(grammar, 3 + k % 20, source))


def test_the_grammar_allows_exactly_what_can_be_completed():
    """Against every sentence of up to six words: what is allowed is what begins one of them."""
    most, grammar = 6, Grammar(SMALL)
    whole = {
        sentence
        for length in range(1, most)
        for sentence in itertools.product(SMALL[:-1], repeat=length)
        if is_expression(sentence)
    }
    begins = {sentence[:k] for sentence in whole for k in range(len(sentence) + 1)}
    for begin in begins:
        states = grammar.start(1)
        for word in begin:
            states = grammar.step(states, np.array([grammar.ids[word]]))
        # a sentence may take `most` words with its end
        allowed = grammar.allowed(states, most - len(begin))[0]
        expected = [
            begin in whole if word == END else any(s[: len(begin) + 1] == (*begin, word) for s in whole)
            for word in SMALL
        ]
        assert allowed.tolist() == expected, begin


def test_sentences_side_by_side_are_those_alone():
    grammar, source = Grammar(), random.Random(3)
    sentences = [written(grammar, 12, source) for _ in range(20)]
    states = grammar.start(len(sentences))
    for place in range(max(map(len, sentences))):
        here = np.array([place < len(sentence) for sentence in sentences])
        words = np.array([grammar.ids[s[place]] if place < len(s) else grammar.ids[END] for s in sentences])
        for k in np.flatnonzero(here):
            alone = grammar.start(1)
            for word in sentences[k][:place]:
                alone = grammar.step(alone, np.array([grammar.ids[word]]))
            np.testing.assert_array_equal(grammar.allowed(alone, 30)[0], grammar.allowed(states, 30)[k])
        states = np.where(here[:, None], grammar.step(states, words), states)


def _engine_of_others():
    """The language in a grammar of llguidance, one character a word; and the character of each word."""
    signs = [c for c in map(chr, range(33, 127)) if c not in DIGITS and c not in '"\\/']
    others = [word for word in WORDS if word in ARITY]
    letters = {**dict(zip(others, signs, strict=False)), **{digit: digit for digit in DIGITS}}

    def either(arity):
        return " | ".join(f'"{letters[w]}"' for w in others if ARITY[w] == arity and w not in (PLUS, MINUS))

    return letters, "\n".join(
        [
            "start: expression",
            "expression: leaf | unary expression | binary expression expression | integer",
            f"leaf: {either(0)}",
            f"unary: {either(1)}",
            f"binary: {either(2)}",
            f'integer: ("{letters[PLUS]}" | "{letters[MINUS]}") ("0" | /[1-9]/ /[0-9]/*)',
        ]
    )


def test_the_grammar_is_that_of_an_engine_of_others():
    llguidance = pytest.importorskip("llguidance")
    letters, text = _engine_of_others()
    tokens = llguidance.LLTokenizer("byte")
    rules = llguidance.LLMatcher.grammar_from_lark(text)
    grammar, source = Grammar(), random.Random(5)
    for _ in range(60):
        matcher, states = llguidance.LLMatcher(tokens, rules), grammar.start(1)
        for left in range(40, 0, -1):
            # ours also sees to the length, which theirs does not know
            bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
            allowed = np.unpackbits(bits, bitorder="little").astype(bool)
            theirs = np.array([allowed[ord(letters[w])] if w in letters else False for w in WORDS])
            theirs[IDS[END]] = allowed[tokens.eos_token]
            np.testing.assert_array_equal(grammar.allowed(states, 1000)[0], theirs)
            word = source.choice(np.flatnonzero(grammar.allowed(states, left)[0]))
            assert theirs[word]
            if WORDS[word] == END:
                break
            assert matcher.consume_token(ord(letters[WORDS[word]]))
            states = grammar.step(states, np.array([word]))
        assert matcher.is_accepting()


@pytest.mark.parametrize(("words", "message"), [(("x",), "needs </s>"), (("sin", END), "needs a variable")])
def test_a_grammar_that_cannot_end_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        Grammar(words)


# -- random trees


def test_there_are_as_many_trees_as_schroeder_counted():
    assert [count(1, n) for n in range(7)] == [1, 2, 6, 22, 90, 394, 1806]


def test_every_shape_of_three_operators_is_as_likely():
    sampler = Sampler({"sin": 1, "add": 1}, integers=0)
    source, draws = random.Random(4), 22 * 400
    seen: dict = {}
    for _ in range(draws):
        tree = sampler.draw(3, source)
        seen[tree] = seen.get(tree, 0) + 1
    assert len(seen) == 22
    # chi-square with 21 degrees of freedom: 46.8 at a thousandth
    assert sum((n - 400) ** 2 / 400 for n in seen.values()) < 46.8


def test_operators_come_as_often_as_they_weigh_and_leaves_as_told():
    sampler = Sampler({"sin": 1, "exp": 3, "add": 1}, integers=0.25, most_integer=2)
    words = [
        word for tree in (sampler.draw(6, random.Random(k)) for k in range(2000)) for word in _nodes(tree)
    ]
    assert words.count("exp") / words.count("sin") == pytest.approx(3, rel=0.1)
    integers = [word for word in words if isinstance(word, int)]
    assert {*integers} == {1, 2}
    assert len(integers) / (len(integers) + words.count("x")) == pytest.approx(0.25, abs=0.02)


def _nodes(tree):
    return [tree[0], *(n for part in tree[1:] for n in _nodes(part))] if isinstance(tree, tuple) else [tree]


def test_a_tree_has_as_many_operators_as_asked_for():
    for number in range(16):
        assert prefix.operators(Sampler().draw(number, random.Random(number))) == number


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": {"foo": 1.0}}, "operators: got 'foo', needs one of"),
        ({"weights": {"sin": 1.0}}, "needs at least one with two operands"),
        ({"weights": {**PUBLISHED, "sin": 0.0}}, "operators: sin: got 0.0, needs a positive number"),
        ({"most_integer": 0}, "most_integer: got 0"),
        ({"integers": 1.0}, "integers: got 1.0"),
    ],
)
def test_a_sampler_says_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        Sampler(**arguments)


def test_every_word_with_operands_has_a_value():
    for name, arity in ARITY.items():
        if arity and name != "sign":
            tree = (name, *["x", ("add", "x", 1)][:arity])
            assert np.isfinite(probes.values(tree, np.array([0.3, 0.6, 1.5, 2.5]))).any(), name
