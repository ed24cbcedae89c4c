"""Greedy decoding and beam search: against exhaustive search of a small model; what they promise."""

import itertools
import math

import pytest
import torch
from beam_cases import END, START, Toy, V, one, plain_search, rescored

from mathkernels.nn._beams import covered
from mathkernels.nn.decoding import beam_search, greedy

L = 4
ALPHAS = [-0.7, 0.0, 0.6, 1.0]


def forbid(tokens, sentences):
    return torch.arange(V).expand(len(tokens), V) != START


FORBID_START = {"allowed": forbid}


def exhaustive(model, state, alpha, least=1, coverage=0.0):
    """All outputs of at most L tokens, best first."""
    found = []
    for length in range(least, L + 1):
        for middle in itertools.product([t for t in range(V) if t not in (START, END)], repeat=length - 1):
            tokens = [*middle, END]
            log_prob, covered = rescored(model, state, tokens, True)
            found.append((log_prob / length**alpha + coverage * covered, tokens))
    return sorted(found, key=lambda pair: -pair[0])


def search(model, state, beams=3, **options):
    given = {"start": START, "end": END, "max_length": L, **FORBID_START, **options}
    return beam_search(model, state, beams=beams, **given)


def outputs(decoded):
    """For each sentence its outputs as (score, tokens)."""
    parts = zip(decoded.tokens, decoded.lengths, decoded.scores, strict=True)
    return [[(s.item(), t[:l].tolist()) for t, l, s in zip(*part, strict=True) if l] for part in parts]


def same_bits(one, other):
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("patience", [1.0, math.inf])
def test_wide_beams_find_what_exhaustive_search_finds(alpha, patience):
    model = Toy()
    state = model.start(4)
    found = outputs(search(model, state, 40, alpha=alpha, n_best=15, patience=patience))
    for index, sentence in enumerate(found):
        right = exhaustive(model, one(state, index), alpha)[:15]
        assert [tokens for _, tokens in sentence] == [tokens for _, tokens in right]
        torch.testing.assert_close([s for s, _ in sentence], [s for s, _ in right])


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("end_bias", [-3.0, 0.0, 3.0])
def test_the_bound_ends_a_search_only_when_nothing_can_change(alpha, end_bias):
    """With and without the bound the same outputs, and in the long run fewer steps with it."""
    for seed in range(6):
        model = Toy(seed=seed, end_bias=end_bias)
        state = model.start(5, seed)
        bounded = search(model, state, 3, alpha=alpha, n_best=3, patience=math.inf, max_length=7)
        without = [
            plain_search(
                model, one(state, row), 3, start=START, end=END, max_length=7, alpha=alpha, allowed=forbid
            )
            for row in range(5)
        ]
        assert [[t for _, t in s] for s in outputs(bounded)] == [[t for _, _, t in s[:3]] for s in without]


@pytest.mark.parametrize("alpha", ALPHAS)
def test_one_beam_is_greedy(alpha):
    for seed in range(5):
        model = Toy(seed=seed)
        state = model.start(20, seed)
        beam, best = (
            search(model, state, 1, alpha=alpha, max_length=9),
            greedy(model, state, start=START, end=END, max_length=9, **FORBID_START),
        )
        for field in ("tokens", "lengths", "log_probs"):
            assert torch.equal(getattr(beam, field), getattr(best, field))


@pytest.mark.parametrize("beams", [1, 2, 5])
def test_results_do_not_depend_on_batch_block_or_neighbours(beams):
    model = Toy()
    state = model.start(13)
    options = {"alpha": 0.8, "n_best": beams, "max_length": 8, "coverage": 0.1}
    whole = search(model, state, beams, **options)
    same_bits(whole, search(model, state, beams, block=3, **options))
    order = torch.randperm(13)
    same_bits(
        [part[order] for part in whole], search(model, model.select(state, order, order), beams, **options)
    )
    for index in range(13):
        alone = search(model, one(state, index), beams, **options)
        same_bits([part[index : index + 1] for part in whole], alone)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_first_outputs_are_the_same_for_any_n_best(alpha):
    model = Toy(seed=3)
    state = model.start(10)
    most = search(model, state, 4, alpha=alpha, n_best=4, max_length=7)
    for n in (1, 2, 3):
        few = search(model, state, 4, alpha=alpha, n_best=n, max_length=7)
        same_bits(few, [part[:, :n] for part in most])


def test_the_best_are_returned_and_not_the_shortest():
    model = Toy(seed=2, end_bias=1.0)
    state = model.start(8)
    found = outputs(search(model, state, 40, alpha=1.0, n_best=3))
    shortest = 0
    for index, sentence in enumerate(found):
        right = exhaustive(model, one(state, index), 1.0)
        assert [tokens for _, tokens in sentence] == [tokens for _, tokens in right[:3]]
        shortest += sorted(len(t) for _, t in sentence) == sorted(len(t) for _, t in right)[:3]
    assert shortest < len(found)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("beams", [1, 3, 8])
def test_outputs_are_well_formed(alpha, beams):
    """One end symbol each and nothing behind it, no duplicates, in order, with the score of the tokens."""
    model = Toy(seed=4)
    state = model.start(9)
    decoded = search(model, state, beams, alpha=alpha, n_best=beams, max_length=6, min_length=2)
    behind = torch.arange(6) >= decoded.lengths[..., None]
    assert (decoded.tokens[behind] == END).all()
    for index, sentence in enumerate(outputs(decoded)):
        assert len(sentence) == beams
        assert len({tuple(tokens) for _, tokens in sentence}) == beams
        assert [s for s, _ in sentence] == sorted((s for s, _ in sentence), reverse=True)
        for score, tokens in sentence:
            assert tokens.count(END) == 1
            assert tokens[-1] == END
            assert 2 <= len(tokens) <= 6
            assert score == pytest.approx(
                rescored(model, one(state, index), tokens) / len(tokens) ** alpha, abs=1e-12
            )


def test_coverage_counts():
    model = Toy(seed=5)
    state = model.start(6)
    found = outputs(search(model, state, 40, n_best=3, coverage=0.7, alpha=0.4, patience=math.inf))
    for index, sentence in enumerate(found):
        right = exhaustive(model, one(state, index), 0.4, coverage=0.7)[:3]
        assert [tokens for _, tokens in sentence] == [tokens for _, tokens in right]
        torch.testing.assert_close([s for s, _ in sentence], [s for s, _ in right])


def test_as_many_outputs_as_asked_for_at_the_length_limit():
    model = Toy(end_bias=-30.0)
    for sentence in outputs(search(model, model.start(4), 5, n_best=5, max_length=5)):
        assert len(sentence) == 5
        assert sum(len(tokens) == 5 for _, tokens in sentence) >= 3


def test_a_beam_wider_than_the_vocabulary_and_outputs_that_do_not_exist():
    model = Toy()
    state = model.start(3)
    decoded = search(model, state, 50, n_best=50, max_length=2)  # 1 output of one token, 2 of two
    assert decoded.lengths.gt(0).sum(1).tolist() == [3, 3, 3]
    assert (decoded.scores[decoded.lengths == 0] == -math.inf).all()
    best = search(model, state, 50, n_best=1, max_length=2)
    same_bits(best, [part[:, :1] for part in decoded])


def test_ties_go_to_the_lowest_beam_and_token():
    class Even(Toy):
        def step(self, tokens, state, return_weights):
            out = super().step(tokens, state, return_weights)
            return out._replace(scores=torch.full_like(out.scores, -math.log(V)))

    model = Even()
    state = model.start(3)
    best = greedy(
        model,
        state,
        start=START,
        end=3,
        max_length=3,
        allowed=lambda t, s: torch.ones(len(t), V, dtype=torch.bool),
    )
    assert best.tokens[:, 0].tolist() == [[0, 0, 3]] * 3
    found = outputs(beam_search(model, state, beams=2, start=START, end=3, max_length=3, n_best=2))
    assert [tokens for _, tokens in found[0]] == [[0, 0, 3], [0, 1, 3]]
    assert found[0] == found[1] == found[2]


def test_finished_rows_leave_the_batch():
    model = Toy(seed=1)
    state = model.start(30)
    model.rows.clear()
    lengths = greedy(model, state, start=START, end=END, max_length=9, **FORBID_START).lengths[:, 0]
    assert model.rows == [int((lengths > step).sum()) for step in range(int(lengths.max()))]
    model.rows.clear()
    search(model, state, 3, max_length=9)
    assert model.rows[-1] < 90
    assert model.rows[1:] == sorted(model.rows[1:], reverse=True)


def test_the_hook_is_asked_once_a_step_for_the_whole_batch():
    model, asked = Toy(), []
    state = model.start(4)

    def allowed(tokens, sentences):
        asked.append((tokens.clone(), sentences.clone()))
        mask = torch.ones(len(tokens), V, dtype=torch.bool)
        mask[:, START] = False
        mask[sentences == 2, 2] = False  # a rule for one sentence
        mask[:, END] &= torch.tensor(tokens.shape[1] >= 2)
        return mask

    numbers = torch.tensor([7, 2, 9, 4])
    decoded = search(model, state, 3, max_length=6, n_best=2, allowed=allowed, numbers_of=numbers)
    assert len(asked) == len({len(tokens[0]) for tokens, _ in asked})
    assert asked[0][1].tolist() == [7, 2, 9, 4]
    assert all(END not in tokens for tokens, _ in asked)
    for number, sentence in zip(numbers.tolist(), outputs(decoded), strict=True):
        for _, tokens in sentence:
            assert len(tokens) >= 3
            assert number != 2 or 2 not in tokens


@pytest.mark.parametrize("decode", ["greedy", "beams"])
def test_masks_that_leave_nothing_raise(decode):
    model = Toy()
    state = model.start(3)

    def run(allowed, **options):
        given = {"start": START, "end": END, "max_length": L, "allowed": allowed, **options}
        return (
            greedy(model, state, **given)
            if decode == "greedy"
            else beam_search(model, state, beams=2, **given)
        )

    def none_in_the_third(tokens, sentences):
        mask = torch.ones(len(tokens), V, dtype=torch.bool)
        mask[sentences == 2] = tokens.shape[1] == 0
        return mask

    only = lambda *ids: lambda t, s: torch.isin(torch.arange(V), torch.tensor(ids)).expand(len(t), V)  # noqa: E731
    with pytest.raises(ValueError, match="allows no token in sentence 2 after"):
        run(none_in_the_third, min_length=2)
    with pytest.raises(ValueError, match="allows no token that min_length 1 and max_length 4 allow"):
        run(only(2))
    with pytest.raises(ValueError, match="allows no token that min_length 3"):
        run(only(END), min_length=3)
    with pytest.raises(ValueError, match="the mask has shape"):
        run(lambda t, s: torch.ones(V, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"needs a tensor of torch\.bool"):
        run(lambda t, s: torch.ones(len(t), V))


def test_bad_input_is_named():
    model = Toy()
    state = model.start(2)
    for options, message in [
        ({"beams": 0}, "beams is 0; needs a positive integer"),
        ({"beams": 2, "n_best": 3}, "n_best is 3; needs at most beams 2"),
        ({"alpha": math.nan}, "alpha is nan"),
        ({"patience": 0.1}, "patience is 0.1"),
        ({"coverage": -1.0}, "coverage is -1.0"),
        ({"max_length": 0}, "max_length is 0"),
        ({"min_length": 9}, "min_length is 9; needs at most max_length 4"),
        ({"end": -1}, "end is -1"),
        ({"block": 0}, "block is 0"),
        ({"numbers_of": torch.arange(3)}, "numbers_of has 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            search(model, state, **options)
    for bad in (math.nan, 0.5):

        class Bad(Toy):
            def step(self, tokens, state, return_weights, bad=bad):
                out = super().step(tokens, state, return_weights)
                out.scores[-1, 2] = bad
                return out

        for decode in (search, lambda m, s: greedy(m, s, start=START, end=END, max_length=3)):
            with pytest.raises(ValueError, match="log-probability in sentence 1 is"):
                decode(Bad(), state)


def test_no_sentences():
    model = Toy()
    assert search(model, model.start(0)).tokens.shape == (0, 1, L)
    assert greedy(model, model.start(0), start=START, end=END, max_length=L).tokens.shape == (0, 1, L)


@pytest.mark.parametrize("decode", ["greedy", "beams"])
def test_what_is_no_output_holds_end_symbols_and_no_probability(decode):
    """The one token that min_length leaves has no probability, and the end comes after it."""
    model = Toy(2, never=(0,))
    options = {"start": 0, "end": 1, "max_length": L, "min_length": 2}
    if decode == "beams":
        found = beam_search(model, model.start(3), beams=3, n_best=3, **options)
    else:
        found = greedy(model, model.start(3), **options)
    assert (found.lengths == 0).all()
    assert (found.tokens == 1).all()
    assert (found.scores == -math.inf).all()
    assert (found.log_probs == -math.inf).all()


def test_coverage_has_the_same_bits_however_far_the_source_is_padded():
    for S in (1, 2, 3, 7, 8, 20):
        weights = torch.rand(5, S, dtype=torch.float64)
        for more in (1, 5, 40):
            padded = torch.nn.functional.pad(weights, (0, more))
            there = torch.arange(S + more).expand(5, -1) < S
            alone = covered(weights, torch.ones(5, S, dtype=torch.bool))
            assert torch.equal(covered(padded, there), alone)
            torch.testing.assert_close(alone, weights.log().sum(1))


def test_no_sentences_have_no_coverage():
    model = Toy()
    assert search(model, model.start(0), coverage=0.5).tokens.shape == (0, 1, L)


def test_powers_of_the_length_stay_within_floats():
    model = Toy()
    state = model.start(2)
    for alpha in (1e300, 10**400, -500, math.inf, True, "x", None):
        with pytest.raises(ValueError, match=r"alpha is .*; needs a finite number"):
            search(model, state, alpha=alpha)
    assert search(model, state, alpha=20).scores.isfinite().all()


@pytest.mark.parametrize("decode", [search, lambda m, s, **o: greedy(m, s, start=START, max_length=L, **o)])
def test_an_end_beyond_the_vocabulary_is_named(decode):
    model = Toy()
    with pytest.raises(ValueError, match="end is 4; needs a token id below 4"):
        decode(model, model.start(2), end=4)
    with pytest.raises(TypeError, match="allowed is int; needs a function"):
        decode(model, model.start(2), end=1, allowed=3)
    with pytest.raises(TypeError, match=r"torch\.bool on meta; needs a tensor of torch\.bool with values"):
        decode(
            model,
            model.start(2),
            end=1,
            allowed=lambda t, s: torch.ones(len(t), V, dtype=torch.bool, device="meta"),
        )
