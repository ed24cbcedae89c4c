"""Equations, their texts and symbols, and the sets that a seed gives."""

from __future__ import annotations

import itertools
import random
import re

import numpy as np
import pytest

from mathkernels.data import equation_sets
from mathkernels.data.equation_sets import PADDING, build, decode, encode, part
from mathkernels.data.equations import END, Equation, Equations

ARTICLE = Equations()
PROGRAM = Equations(
    n_examples=62_375, reverse=True, pad_inputs=True, end_char=False, question_width=10, answer_width=7
)
MIXED = Equations(operations=("+", "-", "*"), n_operations=3, n_examples=300, new_equations=100)


@pytest.fixture(scope="module")
def article():
    return build(ARTICLE)


def test_a_question_has_a_symbol_for_each_character_and_rows_of_zeros_after_its_end():
    own = part(ARTICLE, [Equation((31, 87), ("+",))])
    assert own.inputs.shape == (1, 10)
    assert own.inputs.dtype == own.targets.dtype == np.int8
    assert (own.inputs[0] != PADDING).sum() == 8
    assert own.inputs[0, 8:].tolist() == [PADDING, PADDING]
    assert decode(own.inputs, ARTICLE.alphabet) == ["31 + 87\0"]
    assert decode(own.targets, ARTICLE.alphabet) == [" 118\0"]


def test_the_articles_sizes():
    assert len(ARTICLE.alphabet) == len({*ARTICLE.alphabet}) == 13
    assert (ARTICLE.question_length, ARTICLE.answer_length) == (10, 5)
    assert ARTICLE.n_test == 3_000


def test_the_programs_texts_are_aligned_and_reversed():
    equation = Equation((31, 87), ("+",))
    assert PROGRAM.question_of(equation) == "  31 +  87"[::-1]
    assert PROGRAM.answer_to(equation) == "    118"[::-1]
    assert PROGRAM.readable(PROGRAM.answer_to(equation)) == "118"
    assert len(PROGRAM.alphabet) == 13  # one is never used
    assert PROGRAM.n_test == 6_238


def test_the_sets_are_the_articles_shuffled_permutations_in_their_order(article):
    source = random.Random(1)
    expected = list(itertools.permutations(range(1000), 2))
    source.shuffle(expected)
    assert [one.numbers for one in article.test.equations] == expected[:3_000]
    assert [one.numbers for one in article.train.equations] == expected[3_000:30_000]
    assert [one.numbers for one in article.new.equations] == expected[30_000:50_000]
    row = article.train.targets[17]
    assert int(decode(row[None], ARTICLE.alphabet)[0].strip(" \0")) == sum(expected[3_017])


def test_operators_are_drawn_one_equation_after_the_other_as_in_the_program():
    kind = Equations(max_number=20, operations=("+", "-"), n_operations=2, n_examples=50, new_equations=10)
    random.seed(kind.seed)
    numbers = list(itertools.permutations(range(21), 3))
    random.shuffle(numbers)
    expected = []
    for x, y, z in numbers[:60]:
        first = random.choice(["+", "-"])
        expected.append(f"{x} {first} {y} {random.choice(['+', '-'])} {z}")
    sets = build(kind)
    found = [one.text for own in (sets.test, sets.train, sets.new) for one in own.equations]
    assert found == expected


@pytest.mark.parametrize("kind", [MIXED, Equations(max_number=99, n_examples=400, new_equations=50)])
def test_sets_have_no_equation_in_common_and_a_seed_gives_them_again(kind):
    sets = build(kind)
    found = [one for own in (sets.test, sets.train, sets.new) for one in own.equations]
    assert len({*found}) == len(found) == kind.n_examples + kind.new_equations
    again, other = build(kind), build(Equations(**{**vars(kind), "seed": 2}))
    assert np.array_equal(sets.train.inputs, again.train.inputs)
    assert not np.array_equal(sets.train.inputs, other.train.inputs)


@pytest.mark.parametrize(
    ("text", "value"),
    [("131 + 83 - 744 * 33", -24338), ("2 * 3 + 4 * 5", 26), ("1 - 2 - 3", -4), ("8 / 2 / 4", 1)],
)
def test_products_come_before_sums(text, value):
    parts = text.split(" ")
    equation = Equation(tuple(map(int, parts[::2])), tuple(parts[1::2]))
    assert equation.value == value
    assert equation.text == text


@pytest.mark.parametrize(
    ("numbers", "decimals", "answer"),
    [
        ((1, 8), 2, "0.12"),
        ((3, 8), 2, "0.38"),
        ((999, 1), 2, "999.00"),
        ((2, 3), 3, "0.667"),
        ((7, 2), 0, "4"),
        ((0, 5), 1, "0.0"),
    ],
)
def test_a_quotient_is_rounded_half_to_even(numbers, decimals, answer):
    kind = Equations(operations=("/",), decimals=decimals)
    assert kind.plain_answer(Equation(numbers, ("/",))) == answer


def test_a_negative_quotient_keeps_its_sign_and_none_without_a_digit_has_one():
    kind = Equations(operations=("/", "-"), n_operations=2, decimals=1)
    assert kind.plain_answer(Equation((1, 2, 3), ("-", "/"))) == "0.3"
    assert kind.plain_answer(Equation((1, 5, 4), ("-", "/"))) == "-0.2"  # -0.25
    assert kind.plain_answer(Equation((1, 26, 25), ("-", "/"))) == "0.0"  # -0.04


def test_a_remainder_stands_behind_the_floored_quotient():
    kind = Equations(operations=("/",), answer="remainder", n_examples=500, new_equations=0)
    assert kind.plain_answer(Equation((744, 33), ("/",))) == "22r18"
    assert kind.answer_length == 8
    for own in build(kind).train.equations:
        quotient, rest = map(int, kind.plain_answer(own).split("r"))
        assert 0 <= rest < own.numbers[1]
        assert quotient * own.numbers[1] + rest == own.numbers[0]


@pytest.mark.parametrize(
    "options",
    [
        {"operations": ("-",)},
        {"operations": ("*",)},
        {"operations": ("/",), "decimals": 2},
        {"operations": ("+", "-", "*"), "n_operations": 3},
        {"operations": ("+", "-", "*", "/"), "n_operations": 2, "decimals": 1},
        {"operations": ("+", "-"), "min_number": -50, "max_number": 60},
        {"operations": ("*",), "min_number": -50, "max_number": 60, "reverse": True, "pad_inputs": True},
        {"operations": ("/",), "answer": "remainder", "end_char": False},
    ],
)
def test_every_answer_has_room_and_reads_back(options):
    kind = Equations(**options, n_examples=2_000, new_equations=0)
    for own in (build(kind).train, build(kind).test):
        for equation, text in zip(own.equations, decode(own.targets, kind.alphabet), strict=True):
            assert kind.readable(text) == kind.plain_answer(equation)
            assert kind.parse(equation.text) == equation


def test_a_share_of_the_training_set_has_small_operands_and_no_other_set_changes():
    plain = Equations(n_examples=3_000, new_equations=500)
    kind = Equations(n_examples=3_000, new_equations=500, small_share=0.4)
    before, after = build(plain), build(kind)
    assert after.test.equations == before.test.equations
    assert after.new.equations == before.new.equations
    assert len(after.train) == len(before.train) == 2_700
    small = after.train.small
    assert small[-1_080:].all()
    assert 0.15 < small[:-1_080].mean() < 0.23  # 19 % of all equations have an operand below 100
    held = {*after.test.equations, *after.new.equations}
    assert not held & {*after.train.equations}
    assert len({*after.train.equations}) == 2_700
    assert min(one.smallest for one in after.train.equations) < 10


def test_a_share_of_the_training_set_has_fewer_operators():
    options = {**vars(MIXED), "n_examples": 3_000, "pad_inputs": True}
    before, after = build(Equations(**options)), build(Equations(**{**options, "shorter_share": 0.4}))
    assert after.test.equations == before.test.equations
    assert after.new.equations == before.new.equations
    assert after.train.equations[:1_620] == before.train.equations[1_080:]
    counts = [len(one.operators) for one in after.train.equations]
    assert counts[:1_620] == [3] * 1_620
    assert {*counts[1_620:]} == {1, 2}
    assert abs(counts.count(1) - 540) < 5 * (1_080 / 4) ** 0.5
    short = after.train.equations[-1]
    assert decode(after.train.inputs[-1:], MIXED.alphabet)[0].rstrip(END).endswith(f" {short.numbers[-1]}")


def test_dividing_by_zero_is_not_asked():
    kind = Equations(max_number=9, operations=("/",), n_examples=70, new_equations=11)
    sets = build(kind)
    found = [one.numbers for own in (sets.test, sets.train, sets.new) for one in own.equations]
    assert len(found) == 81
    assert all(y != 0 for _, y in found)


def test_symbols_and_texts_are_each_others_inverse():
    texts = ["1 + 2\0", "", "9" * 10]
    symbols = encode(texts, ARTICLE.alphabet, 10)
    assert decode(symbols, ARTICLE.alphabet) == texts
    assert (symbols[1] == PADDING).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 & 2", r"text: '1 & 2' has characters outside the alphabet '0123456789\+ "),
        ("1 + é", "'1 \\+ é' has characters outside the alphabet"),
        ("1 + \xff", "'1 \\+ ÿ' has characters outside the alphabet"),
        ("11111 + 11", "has 10 characters, there is room for 9"),
    ],
)
def test_a_text_that_cannot_be_encoded_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        encode(["1 + 1", text], ARTICLE.alphabet, 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("47 & 58", "equation: '47 & 58' has '&'; the network knows '0123456789\\+ ' only"),
        ("47 - 58", "has '-'"),
        ("1" + END, "has '\\\\x00'"),
        ("47 +", "equation: got '47 \\+', needs the form 999 \\+ 998"),
        ("47 + 58 + 1", "needs the form 999 \\+ 998"),
        ("", "needs the form"),
        ("1000 + 1", "got '1000 \\+ 1', needs numbers of at most 3 characters"),
    ],
)
def test_a_question_that_is_none_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        ARTICLE.parse(text)


def test_a_question_may_be_written_without_or_with_more_spaces():
    assert ARTICLE.parse(" 47+58 ") == ARTICLE.parse("47 +  58") == Equation((47, 58), ("+",))
    assert MIXED.parse("131 + 83 - 744 * 33") == Equation((131, 83, 744, 33), ("+", "-", "*"))
    assert Equations(operations=("-",)).parse("5-3").numbers == (5, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operations": ("%",)}, "operations: got %, needs some of + - * /"),
        ({"operations": ()}, "operations: got none"),
        ({"min_number": 5, "max_number": 5}, "max_number: got 5 with min_number 5, needs room for 2"),
        ({"n_operations": 0}, "n_operations: got 0, needs at least 1"),
        ({"new_equations": -1}, "new_equations: got -1, needs at least 0"),
        ({"split": 0.0}, "split: got 0.0, needs to leave equations on both sides"),
        ({"split": 1.0}, "split: got 1.0"),
        ({"answer": "remainder"}, "answer: got remainder for 1 of +, needs a single division"),
        ({"small_share": 1.5}, "small_share: got 1.5, needs 0 to 1"),
        ({"max_number": 9, "small_share": 0.5}, "small_share: needs numbers from 0"),
        ({"shorter_share": -0.5, "n_operations": 2}, "shorter_share: got -0.5, needs 0 to 1"),
        ({"shorter_share": 0.5}, "shorter_share: got 0.5 for one operator"),
        (
            {"shorter_share": 0.6, "small_share": 0.6, "n_operations": 2},
            "shorter_share: got 0.6 with small_share",
        ),
        ({"max_numbers": (9,)}, "max_numbers: got [9], needs 2 numbers"),
        ({"max_numbers": (9, 1_000)}, "max_numbers: got [9, 1000], needs numbers up to max_number, 999"),
        (
            {"max_numbers": (0, 0)},
            "max_numbers: got [0, 0] with min_number 0, needs room for distinct numbers",
        ),
        ({"max_numbers": (-1, 9)}, "max_numbers: got [-1, 9] with min_number 0"),
        ({"max_numbers": (99, 9), "small_share": 0.5}, "small_share: needs max_numbers to be left out"),
        ({"question_width": 9}, "question_width: got 9, needs at least 10"),
        ({"answer_width": 4}, "answer_width: got 4, needs at least 5"),
    ],
)
def test_an_option_that_cannot_be_is_named(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Equations(**options)


@pytest.mark.parametrize("options", [{"max_number": 99}, {"max_number": 99, "n_examples": 9_000}])
def test_more_equations_than_there_are_is_named(options):
    with pytest.raises(ValueError, match=r"n_examples, new_equations: got .*, there are 9900 equations"):
        build(Equations(**options))


def test_more_small_equations_than_there_are_is_named():
    kind = Equations(max_number=20, n_examples=400, new_equations=0, small_share=1.0)
    with pytest.raises(ValueError, match=r"small_share: got 1\.0, found"):
        build(kind)


@pytest.mark.parametrize(("limit", "new"), [(equation_sets.LARGEST_LIST, 20), (0, 19)])  # listed, drawn
def test_each_place_has_its_own_highest_number(limit, new, monkeypatch):
    monkeypatch.setattr(equation_sets, "LARGEST_LIST", limit)
    kind = Equations(
        max_numbers=(20, 3), operations=("*",), n_examples=60, split=0.5, new_equations=new, pad_inputs=True
    )
    sets = build(kind)
    found = {one.numbers for own in (sets.test, sets.train, sets.new) for one in own.equations}
    assert found <= {(x, y) for x in range(21) for y in range(4) if x != y}
    assert len(found) == 60 + new
    assert equation_sets._choices(kind) == 80
    assert kind.answer_length == 3
    assert kind.form == "20 * 2"
    assert kind.question_of(Equation((20, 3), ("*",))) == " 20 *   3\0"


@pytest.mark.parametrize(("highest", "room"), [((99, 9), 3), ((999, 1), 4), ((99, 9, 1), 3), ((9, 9, 0), 2)])
def test_there_is_room_for_the_largest_mixed_answer(highest, room):
    kind = Equations(
        max_numbers=highest, n_operations=len(highest) - 1, operations=("+", "*"), end_char=False
    )
    assert kind.answer_length == room


def test_equations_are_drawn_where_there_are_too_many_to_list():
    assert equation_sets._choices(MIXED) > equation_sets.LARGEST_LIST
    for own in build(MIXED).train.equations:
        assert len({*own.numbers}) == 4
        assert all(0 <= number <= 999 for number in own.numbers)
