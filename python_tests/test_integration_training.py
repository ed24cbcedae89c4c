"""Training on symbolic integration: models, batches, losses, decoding by the grammar, files, asking."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
pytest.importorskip("safetensors")
pytest.importorskip("yaml")
pytest.importorskip("symengine")
pytest.importorskip("flint")

import symbolic_cases

from mathkernels.data.symbolic import corpus, prefix
from mathkernels.data.symbolic.language import END, IDS, PAD, START, WORDS, Grammar
from mathkernels.studies.integration import answers, batches, published
from mathkernels.studies.integration.answers import NEVER_IN_ANSWERS, Answer, Judged, Score
from mathkernels.studies.integration.batches import POOL, Batches, Part, read
from mathkernels.studies.integration.config import Config, Trial, published_trials
from mathkernels.studies.integration.evaluation import Sums, evaluate
from mathkernels.studies.integration.model import Stock, build, parameters
from mathkernels.studies.integration.training import Learner, training
from mathkernels.studies.integration.verification import Verdict, Verifier

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
KINDS = [Trial(3, "adam", 6, True, 2), Trial(3, "RMSprop", 5, False, 3)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return symbolic_cases.write(tmp_path_factory.mktemp("data"))


def config(data, **values):
    own = {"batch_size": 20, "steps_per_epoch": 2, "validation_steps": 1, "learning_rate": 0.01, **values}
    return Config(model_params={"trial_1": KINDS[0]}, data_path=data, **own)


def whole(part):
    return part.batch(np.arange(len(part)))


# models


def test_the_published_trials_have_the_published_numbers_of_parameters():
    own = Config().as_published()
    found = [parameters(build(trial, own, 48)) for trial in published_trials().values()]
    assert found == [150_640, 166_768, 3_586_352, 3_325_232, 13_204_016]
    assert [*published.TRIALS] == [*published_trials()]


@pytest.mark.parametrize("trial", KINDS)
@pytest.mark.parametrize("replica", [False, True])
def test_the_model_is_the_same_on_layers_of_torch(data, trial, replica):
    own = config(data).as_published() if replica else config(data)
    batch, model = whole(read(own).train), build(trial, own)
    stock = Stock(model)
    assert parameters(stock) == parameters(model)
    torch.testing.assert_close(stock.scores(batch), model.scores(batch), rtol=1e-4, atol=1e-5)
    for net in (model, stock):
        functional.cross_entropy(net.scores(batch), batch.targets).backward()
    with torch.no_grad():
        for value in stock.parameters():
            value.copy_(torch.zeros_like(value) if value.grad is None else value.grad)
    for name, gradient in stock.ours(model).items():  # gradients of torch by our names
        own_gradient = model.get_parameter(name).grad
        if own_gradient is not None:
            torch.testing.assert_close(own_gradient, gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_weights_go_to_torch_and_back(data):
    for trial in KINDS:
        model = build(trial, config(data))
        back = Stock(model).ours(model)
        assert back.keys() == model.state_dict().keys()
        assert all(torch.equal(back[name], value) for name, value in model.state_dict().items())


# pairs and batches


def test_a_batch_holds_the_words_of_its_pairs(data):
    part = read(config(data)).train
    rows = np.array([5, 0, 17])
    batch = part.batch(rows)
    for column, row in enumerate(rows):
        file, place = part.files[0], int(part.places[row, 1])
        problem = [WORDS[one] for one in batch.problem[: batch.lengths[column], column].tolist()]
        assert problem == file.problems[place]
        assert (batch.problem[batch.lengths[column] :, column] == IDS[PAD]).all()
        answer = file.answers[place]
        before = [WORDS[one] for one in batch.before[:, column].tolist()]
        assert before[: len(answer) + 1] == [START, *answer]
        targets = batch.targets[batch.rows == column]
        steps = batch.places[batch.rows == column] // len(rows)
        assert [WORDS[one] for one in targets.tolist()] == [*answer, END]
        assert steps.tolist() == [*range(len(answer) + 1)]


def test_a_pass_takes_every_pair_once_and_follows_from_the_seed(data):
    part = read(config(data)).train
    own = Batches(part, config(data))
    seen = np.concatenate([own.rows(step) for step in range(3)])
    assert sorted(seen) == [*range(60)]
    assert not np.array_equal(own.rows(0), own.rows(3))
    again = Batches(part, config(data))
    assert np.array_equal(again.rows(4), own.rows(4))
    assert not np.array_equal(Batches(part, config(data, seed=1)).rows(0), own.rows(0))


def test_shuffled_batches_have_pairs_of_about_equal_lengths(tmp_path):
    source = random.Random(0)
    lines = symbolic_cases.lines(symbolic_cases.pairs(400, 3, most=4))
    source.shuffle(lines)
    path = tmp_path / "prim_bwd.train"
    path.write_text("\n".join(lines) + "\n")
    file = corpus.read(path)
    part = Part((file,), np.stack([np.zeros(400, np.int64), np.arange(400)], 1))
    own = Batches(part, Config(batch_size=20))
    assert own.each_pass < POOL
    spread = [np.ptp(part.lengths[own.rows(step), 1]) for step in range(20)]
    assert np.median(spread) <= 1


def test_without_shuffling_batches_follow_the_file_and_begin_anew(data):
    own = Batches(read(config(data)).train, config(data, shuffle=False, batch_size=50))
    assert own.rows(0).tolist() == [*range(50)]
    assert own.rows(1).tolist() == [*range(50, 60), *range(40)]


def test_pairs_of_all_methods_train_together_the_most_frequent_first(tmp_path):
    for seed, method in enumerate(("bwd", "fwd", "ibp")):
        symbolic_cases.write(tmp_path, method, seed)
    parts = read(config(tmp_path, method="all"))
    assert len(parts.train) == 180
    assert {*parts.tests} == {"bwd", "fwd", "ibp"}
    counts = [parts.train.files[file].counts[place] for file, place in parts.train.places]
    assert counts == sorted(counts, reverse=True)
    batch = parts.train.batch(np.arange(7))
    for column, (file, place) in enumerate(parts.train.places[:7]):
        words = [WORDS[one] for one in batch.problem[: batch.lengths[column], column].tolist()]
        assert words == parts.train.files[file].problems[int(place)]


def test_problems_that_train_neither_validate_nor_test(tmp_path):
    """Other generators may have drawn them; the same problem with another answer counts as well."""
    for seed, method in enumerate(("bwd", "fwd")):
        symbolic_cases.write(tmp_path, method, seed)
    train = (tmp_path / "bwd" / "prim_bwd.train").read_text().splitlines()
    for split, count in (("valid", 3), ("test", 5)):
        path = tmp_path / "fwd" / f"prim_fwd.{split}"
        own = path.read_text().splitlines()
        path.write_text("\n".join([*train[:count], *own, f"{train[9].partition(chr(9))[0]}\tx"]) + "\n")
    alone = read(config(tmp_path))
    problems = alone.train.problems()
    assert alone.seen["fwd"] >= 6
    assert alone.seen["bwd"] == alone.seen["valid"] == 0
    for part in (alone.valid, *alone.tests.values()):
        assert not part.problems() & problems
    assert len(alone.tests["fwd"]) + alone.seen["fwd"] == symbolic_cases.SIZES["test"] + 6


def test_bad_lines_are_named_or_counted(tmp_path):
    symbolic_cases.write(tmp_path)
    path = tmp_path / "bwd" / "prim_bwd.train"
    path.write_text("1|sub Y' foo\tx\n" + path.read_text())
    with pytest.raises(ValueError, match=r"line 1 of .*'foo' is no word of the language"):
        read(config(tmp_path))
    assert read(config(tmp_path, skip_bad=True)).bad == 1
    path.unlink()
    with pytest.raises(ValueError, match="--generate draws pairs"):
        read(config(tmp_path))


# loss and measures


def test_losses_are_means_over_words_or_over_everything_times_the_share_of_words(data):
    parts = read(config(data))
    for masked in (True, False):
        learner = Learner(config(data, masked_loss=masked), KINDS[0], parts)
        batch = learner.batches.batch(0)
        scores = torch.randn(len(batch.targets), len(WORDS))
        loss, _ = learner.loss(scores, batch)
        every = parts.train.batch(learner.batches.rows(0), padding=True)
        words = every.targets != IDS[PAD]
        if masked:
            assert len(batch.targets) == words.sum()
            right = functional.cross_entropy(scores, batch.targets)
        else:
            assert len(batch.targets) == every.before.numel()
            right = functional.cross_entropy(scores, batch.targets) * words.sum() / len(words)
        torch.testing.assert_close(loss, right)


def test_padding_that_is_predicted_is_not_counted(data):
    part = read(config(data)).train
    plain, padded = part.batch(np.arange(60)), part.batch(np.arange(60), padding=True)
    words = padded.targets != IDS[PAD]
    scores = torch.randn(len(padded.targets), len(WORDS))
    scores[torch.arange(len(scores)), padded.targets] += 4.5 * words  # padding is mostly wrong
    found = []
    for batch, own in ((padded, scores), (plain, scores[words])):
        found.append(Sums())
        found[-1].add(own, batch, functional.cross_entropy(own, batch.targets, reduction="none"))
    assert found[0].losses == pytest.approx(found[1].losses)
    assert replace(found[0], losses=0.0) == replace(found[1], losses=0.0)
    assert 0 < found[0].right_answers < 60


def test_exact_match_with_the_words_given_is_that_of_greedy_decoding(data):
    own = config(data)
    parts = read(own)
    run = training("trial_1", replace(own, model_params={"trial_1": Trial(60, num_units=16)}), parts)
    while not run.finished:
        run.advance()
    model = run.learner.model
    sums = evaluate(model, parts.train, len(parts.train), CPU)
    asked = [problem for problem, _ in batches.problems(parts.train, np.arange(len(parts.train)))]
    found = answers.decode(model, *answers.encoded(asked), 1, 20, legal=False)
    file = parts.train.files[0]
    right = sum(one[0].words == file.answers[k] for k, one in enumerate(found))
    assert 0 < sums.right_answers == right < len(parts.train)
    named = sums.named("val_")
    assert named["val_exact_match"] == right / len(parts.train)
    batch = whole(parts.train)
    scores = model.scores(batch)
    assert named["val_loss"] == pytest.approx(functional.cross_entropy(scores, batch.targets).item(), 1e-5)
    accuracy = (scores.argmax(1) == batch.targets).float().mean().item()
    assert named["val_token_accuracy"] == pytest.approx(accuracy)


# decoding


def test_the_state_of_a_sentence_is_that_of_its_words_one_by_one():
    source, grammar = np.random.default_rng(0), Grammar(WORDS, NEVER_IN_ANSWERS)
    states, sentences = grammar.start(200), np.zeros((200, 0), np.int64)
    for step in range(24):
        assert np.array_equal(grammar.after(sentences), states)
        allowed = grammar.allowed(states, 30 - step)
        ended = ~allowed.any(1)
        assert (sentences[ended] == IDS[END]).any(1).all()
        chosen = np.array([source.choice(np.flatnonzero(row)) if row.any() else IDS[END] for row in allowed])
        keep = ~(ended | (chosen == IDS[END]))
        sentences = np.concatenate([sentences, chosen[:, None]], 1)[keep]
        states = grammar.step(states, chosen)[keep]
    assert len(sentences) > 5


@pytest.mark.parametrize("beams", [1, 4, 30])
@pytest.mark.parametrize("most", [2, 3, 9, 24])
def test_what_is_decoded_by_the_grammar_is_an_expression_within_the_limit(data, beams, most):
    own = config(data)
    part = read(own).train
    given = answers.encoded([problem for problem, _ in batches.problems(part, np.arange(16))])
    for seed in range(2):
        model = build(KINDS[seed], replace(own, seed=seed))
        with torch.no_grad():
            model.output_bias.normal_(generator=torch.Generator().manual_seed(seed)).mul_(3)
        for found in answers.decode(model, *given, beams, most, legal=True):
            assert found
            assert len({tuple(one.words) for one in found}) == len(found)
            for one in found:
                assert len(one.words) < most
                assert prefix.tree(one.words) == one.tree
                assert not {*one.words} & {*NEVER_IN_ANSWERS}


def test_without_the_grammar_invalid_outputs_are_counted(data):
    own = config(data)
    parts = read(own)
    model = build(KINDS[0], own)  # not trained, it writes nonsense
    asked = batches.problems(parts.train, np.arange(12))
    free, _ = answers.solve(model, asked, Verifier(), beams=5, most=12, legal=False)
    legal, judged = answers.solve(model, asked, Verifier(), beams=5, most=12, legal=True)
    assert free.problems == legal.problems == 12
    assert free.invalid > 0
    assert legal.invalid == legal.first_invalid == 0
    assert legal.outputs == sum(len(one.answers) for one in judged)


def test_verdicts_are_counted_by_the_best_and_by_the_first_answer():
    right, wrong, bad = (Answer([name], -1.0, tree) for name, tree in (("x", "x"), ("1", 1), ("+", None)))
    cases = [
        ([wrong, right], [Verdict.WRONG, Verdict.RIGHT], Verdict.RIGHT, right),
        ([bad, wrong], [Verdict.WRONG, Verdict.WRONG], Verdict.WRONG, wrong),
        ([wrong, bad], [Verdict.UNDECIDED, Verdict.WRONG], Verdict.UNDECIDED, wrong),
        ([], [], Verdict.WRONG, None),
    ]
    score = Score(2, True)
    for given, verdicts, verdict, best in cases:
        judged = Judged("x", given, verdicts)
        assert judged.verdict is verdict
        assert judged.best is best
        answers.count(score, judged, ["1"])
    assert (score.problems, score.right, score.undecided) == (4, 1, 1)
    assert (score.first_right, score.first_undecided) == (0, 1)
    assert (score.outputs, score.invalid, score.first_invalid, score.exact) == (6, 2, 1, 2)


def test_judging_stops_at_the_first_right_answer():
    given = [
        Answer([], 0.0, tree) for tree in (("pow", "x", 2), ("mul", ("div", 1, 2), ("pow", "x", 2)), "x")
    ]
    assert answers.judge("x", given, Verifier()).verdicts == [Verdict.WRONG, Verdict.RIGHT]
    every = answers.judge("x", given, Verifier(), every=True).verdicts
    assert every == [Verdict.WRONG, Verdict.RIGHT, Verdict.WRONG]
