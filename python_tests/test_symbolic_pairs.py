"""Pairs of problems and answers: right, canonical, the same for any number of processes, and their files."""

import gzip
import json
import random
import re

import numpy as np
import pytest

from mathkernels.data.symbolic import algebra, corpus, generate, infix, prefix, probes
from mathkernels.data.symbolic.algebra import OutsideLanguageError, tree_of
from mathkernels.data.symbolic.generate import Request, held_out_places
from mathkernels.data.symbolic.language import IDS, PAD
from mathkernels.data.symbolic.pairs import METHODS, Dropped, Pairs

SYMENGINE, SYMPY = algebra.symengine_algebra(), algebra.sympy_algebra()


def drawn(pairs, count, seed=0):
    draw, source, found = pairs.drawer(), random.Random(seed), []
    while len(found) < count:
        try:
            found.append(draw(source))
        except Dropped:
            continue
    return found


# -- canonical trees


@pytest.mark.parametrize(
    ("equation", "canonical"),
    [
        ("x + 1 + x", "1 + 2*x"),
        ("sqrt(x)*sqrt(x)", "x"),
        ("sin(x)*x*3", "3*x*sin(x)"),
        ("x/2", "x/2"),
        ("exp(log(x))", "x"),
        ("x^(1/2)", "sqrt(x)"),
    ],
)
def test_both_packages_give_one_canonical_form(equation, canonical):
    for package in (SYMENGINE, SYMPY):
        assert infix.write(tree_of(package.expression(infix.read(equation)))) == canonical


@pytest.mark.parametrize("equation", ["1/(x - x)", "sqrt(-1)*x", "ln(0)", "(-1)^(1/2) + x"])
def test_what_the_language_cannot_say_is_refused(equation):
    for package in (SYMENGINE, SYMPY):
        with pytest.raises((OutsideLanguageError, RuntimeError)):
            tree_of(package.expression(infix.read(equation)))


def test_the_unknown_function_is_no_number():
    with pytest.raises(OutsideLanguageError, match="Y'"):
        SYMENGINE.expression(("sub", "Y'", "x"))


# -- pairs


@pytest.mark.parametrize(("method", "most", "count"), [("bwd", 6, 150), ("ibp", 4, 60), ("fwd", 3, 12)])
def test_a_problem_is_the_derivative_of_its_answer(method, most, count):
    """By sympy's derivative in 30 digits at points where both have values."""
    x = SYMPY.leaves["x"]
    for problem, answer in drawn(Pairs(method, most), count):
        difference = SYMPY.expression(answer).diff(x) - SYMPY.expression(problem)
        tried = 0
        for point in (0.31, 0.77, 1.93, 3.7, -0.41):
            value = complex(difference.evalf(30, subs={x: point}, maxn=200)) if point else 0
            scale = abs(complex(SYMPY.expression(problem).evalf(30, subs={x: point}, maxn=200)))
            if np.isfinite(value) and np.isfinite(scale) and scale < 1e12:
                assert abs(value) < 1e-12 * max(scale, 1), (infix.write(problem), infix.write(answer), point)
                tried += 1
        assert tried, infix.write(problem)


@pytest.mark.parametrize(("method", "most", "count"), [("bwd", 8, 200), ("ibp", 4, 60)])
def test_pairs_are_canonical_and_have_no_additive_constant(method, most, count):
    for problem, answer in drawn(Pairs(method, most), count):
        for tree in (problem, answer):
            assert tree_of(SYMENGINE.expression(tree)) == tree
            assert prefix.tree(prefix.words(tree)) == tree
            assert probes.is_defined(tree)
        terms = infix.chain("add", answer)
        assert all("x" in prefix.words(term) for term in terms)


def test_few_operators_come_as_often_as_told_and_all_numbers_do():
    pairs = Pairs("bwd", 10)
    drawer = pairs.drawer().__self__
    source = random.Random(0)
    counts = np.bincount([prefix.operators(drawer.tree(source)) for _ in range(8000)], minlength=11)
    assert counts[:4].sum() / 8000 == pytest.approx(1 / 40, abs=0.006)
    assert (abs(counts[4:] - 7800 / 7) < 5 * np.sqrt(7800 / 7)).all()


def test_a_simplified_problem_is_sympys():
    found = drawn(Pairs("bwd", 3, simplify=1.0), 5)
    for problem, _ in found:
        expected = SYMPY.module.simplify(SYMPY.expression(problem))
        assert len(prefix.words(problem)) <= 2 * len(prefix.words(tree_of(expected)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "ode"}, "method: got 'ode', needs one of bwd, fwd, ibp"),
        ({"most_operators": 0}, "most_operators: got 0"),
        ({"most_words": 1}, "most_words: got 1"),
        ({"simplify": 2}, "simplify: got 2, needs a probability"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Pairs(**arguments)


# -- folders


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("prim_*"))}


@pytest.mark.parametrize("method", METHODS)
def test_files_do_not_depend_on_processes_or_interruptions(tmp_path, monkeypatch, method):
    monkeypatch.setattr(generate, "CHUNK", {"bwd": 60, "ibp": 60, "fwd": 6})
    request = Request(Pairs(method, 3), count={"bwd": 200, "ibp": 150, "fwd": 14}[method], held_out=5)
    generate.generate(tmp_path / "one", request, workers=1)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate.generate(tmp_path / "two", request, workers=2, progress=interrupt)
    assert not contents(tmp_path / "two")
    report = generate.generate(tmp_path / "two", request, workers=2)
    assert 0 < report.drawn < request.count
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert generate.generate(tmp_path / "two", request).drawn == 0  # all there
    record = json.loads((tmp_path / "two/generated.json").read_text())
    assert record["versions"].keys() == {"symengine", "sympy", "numpy"}
    assert record["seed"] == 0


def test_a_file_is_sorted_and_no_problem_stands_in_two(tmp_path):
    generate.generate(tmp_path, Request(Pairs("bwd", 4), count=3000, held_out=100), workers=1)
    parts = {split: corpus.read(tmp_path / f"prim_bwd.{split}") for split in generate.SPLITS}
    assert [len(parts["valid"]), len(parts["test"])] == [100, 100]
    assert (np.diff(parts["train"].counts) <= 0).all()
    problems = [" ".join(part.problems[k]) for part in parts.values() for k in range(len(part))]
    assert len({*problems}) == len(problems)
    assert sum(int(part.counts.sum()) for part in parts.values()) == 3000


@pytest.mark.parametrize(("count", "each"), [(100, 10), (3000, 100), (21, 2), (10, 0), (50_000, 1000)])
def test_as_many_places_are_held_out_as_asked_for(count, each):
    places = held_out_places(count, each)
    assert len(places) == 2 * each
    assert (np.diff(places) > 0).all()
    assert each == 0 or 0 <= places[0] <= places[-1] < count


def test_a_folder_of_another_request_is_refused(tmp_path):
    request = Request(Pairs("bwd", 3), count=50, held_out=2)
    generate.generate(tmp_path / "a", request, workers=1)
    with pytest.raises(ValueError, match="pairs of another request, which differs in count"):
        generate.generate(tmp_path / "a", Request(Pairs("bwd", 3), count=51, held_out=2))
    (tmp_path / "b").mkdir()
    (tmp_path / "b/prim_bwd.train").write_text("1|sub Y' x\tx\n")
    with pytest.raises(ValueError, match="were not generated here"):
        generate.generate(tmp_path / "b", request)


# -- reading

GOOD = "3|sub Y' mul INT+ 2 x\tpow x INT+ 2\n1|sub Y' cos x\tsin x\n"


@pytest.mark.parametrize("packed", [False, True])
def test_a_published_line_is_read(tmp_path, packed):
    path = tmp_path / ("part.gz" if packed else "part")
    path.write_bytes(gzip.compress(GOOD.encode()) if packed else GOOD.replace("\n", "\r\n").encode())
    found = corpus.read(path)
    assert found.counts.tolist() == [3, 1]
    assert found.trees(0) == (("mul", 2, "x"), ("pow", "x", 2))
    assert found.explained(0) == (
        "problem:  Y' = 2*x\nanswer:   Y = x^2\n"
        "drawn:    3 times; 1 operators, 4 words -> 1 operators, 4 words"
    )
    ids, lengths = found.answers.padded(np.array([1, 0]), start=True, end=True)
    assert lengths.tolist() == [4, 6]
    words = "<s> sin x </s> <pad> <pad>", "<s> pow x INT+ 2 </s>"
    assert ids.tolist() == [[IDS[word] for word in row.split()] for row in words]
    assert found.problems.padded(np.array([1]))[0].tolist() == [[IDS["cos"], IDS["x"]]]
    assert found.problems.padded(np.zeros(0, int))[0].shape == (0, 0)
    assert IDS[PAD] == 0


def test_a_missing_last_newline_or_count_loses_nothing(tmp_path):
    (tmp_path / "part").write_text("sub Y' cos x\tsin x")
    assert corpus.read(tmp_path / "part").counts.tolist() == [1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1|sub Y' cos x sin x", "line 3 of .* there is no tab"),
        ("x|sub Y' cos x\tsin x", "the count is 'x'"),
        ("1|cos x\tsin x", "the problem begins with 'cos x'"),
        ("1|sub Y' \tsin x", "a side has no words"),
        ("1|sub Y' cos x\tsin foo", "'foo' is no word of the language"),
        ("", "there is no tab"),
        ("1|sub Y' cos\xff\tsin x", "no word of the language"),
    ],
)
def test_a_bad_line_is_named_or_counted(tmp_path, line, message):
    (tmp_path / "part").write_bytes((GOOD + line + "\n" + GOOD).encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        corpus.read(tmp_path / "part")
    found = corpus.read(tmp_path / "part", skip_bad=True)
    assert found.bad == (3,)
    assert len(found) == 4


def test_a_file_that_is_missing_or_empty_is_named(tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"there is no file '{tmp_path / 'none'}'")):
        corpus.read(tmp_path / "none")
    (tmp_path / "part").write_text("")
    with pytest.raises(ValueError, match="has no lines"):
        corpus.read(tmp_path / "part")
