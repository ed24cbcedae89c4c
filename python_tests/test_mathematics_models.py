"""The models of Deep Math: sizes, ids in their places, what is masked, and torch's layers beside ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mathkernels.data.mathematics.vocabulary import STOP, of_modules
from mathkernels.studies.mathematics.config import Config
from mathkernels.studies.mathematics.encoding import Encoding, model_of
from mathkernels.studies.mathematics.evaluation import exact
from mathkernels.studies.mathematics.layers import attend
from mathkernels.studies.mathematics.models import Attentional, Seq2Seq, Simple, initialise, parameters

WORDS = of_modules(["arithmetic__mul"])
QUESTIONS, ANSWERS = ["1+1", "Work out 12 * 3.", "-7*-8"], ["2", "36", "56"]
SIZES = {"latent_dim": 12, "num_encoder_units": 5, "num_decoder_units": 12, "embedding_dim": 6}
KINDS = ("simple", "attentional", "seq2seq")
every_kind = pytest.mark.parametrize("kind", KINDS)


def made(kind, stock=False, replica=False, thinking=4, seed=1, scale=3.0):
    config = Config(
        model=kind, thinking_steps=thinking, replica=replica, trim_batches=not replica, batch_size=2, **SIZES
    )
    model = model_of(config, WORDS, stock)
    initialise(model, seed)
    with torch.no_grad():
        for own in model.parameters():
            own.mul_(scale)  # so that answers differ
    return model, Encoding(kind, WORDS, thinking, not replica, replica)


def test_the_published_numbers_of_parameters():
    with torch.device("meta"):
        assert parameters(Simple(56, 2048)) == 17_358_904
        assert parameters(Simple(34, 2048)) == 17_133_602
        assert parameters(Attentional(54, 30, 256, 512, 2048)) == 32_605_726
        assert parameters(Attentional(32, 13, 2048, 512, 2048)) == 54_665_229
        # one LSTM for question and answer each, and the last layer
        assert parameters(Seq2Seq(54, 30, 512)) == 2 * (4 * 512 * 513) + 4 * 512 * 84 + 513 * 30


def test_the_simple_models_sequence_as_published():
    """1+1, 2, and 16 thinking steps: START at 19, 2 at 20, STOP at 21; each predicted a step before."""
    encoding = Encoding("simple", WORDS, 16, trim=False)
    batch = encoding.encode(encoding.texts(["1+1"], ["2"]))
    joint = WORDS.joint
    one, plus, two, start, stop = (joint.id_of(sign) for sign in "1+2\t\n")
    nothing = len(joint)
    assert batch.question.shape == (204, 1)
    expected = [one, plus, one, *[nothing] * 16, start, two, stop, *[nothing] * (204 - 22)]
    assert batch.question[:, 0].tolist() == expected
    assert batch.places.tolist() == [19, 20]
    assert batch.targets.tolist() == [two, stop]


def test_the_attentional_models_sequences_as_published():
    """The same question: 0 for 16 steps, then ranks plus 1; 2 predicted at step 16 and STOP at 17."""
    encoding = Encoding("attentional", WORDS, 16, trim=False)
    batch = encoding.encode(encoding.texts(["1+1"], ["2"]))
    question, answer = WORDS.question, WORDS.answer
    read = [question.id_of(sign) + 1 for sign in "1+1"]
    assert batch.question[:, 0].tolist() == [*read, *[0] * 157]
    marked = [answer.id_of(sign) + 1 for sign in "\t2\n"]
    assert batch.answer[:, 0].tolist() == [*[0] * 16, *marked, *[0] * (48 - 19)]
    assert batch.places.tolist() == [16, 17]
    assert batch.targets.tolist() == [answer.id_of("2"), answer.id_of(STOP)]
    assert encoding.positions == 48
    assert Encoding("simple", WORDS, 16).positions == 204


@every_kind
def test_a_trimmed_batch_is_as_long_as_its_longest_row_and_has_the_same_scores(kind):
    model, encoding = made(kind)
    texts = encoding.texts(QUESTIONS, ANSWERS)
    short = encoding.encode(texts)
    long = Encoding(kind, WORDS, 4, trim=False).encode(texts)
    assert short.question.shape[0] <= 16 + (4 + 3 if kind == "simple" else 0)
    assert torch.equal(short.targets, long.targets)
    torch.testing.assert_close(model(short), model(long), rtol=0, atol=1e-5)


@every_kind
@pytest.mark.parametrize("replica", [False, True])
def test_our_layers_and_torchs_make_the_same_model(kind, replica):
    ours, encoding = made(kind, replica=replica, scale=1.0)
    stock, _ = made(kind, stock=True, replica=replica, scale=1.0)
    assert {n: tuple(own.shape) for n, own in ours.state_dict().items()} == {
        n: tuple(own.shape) for n, own in stock.state_dict().items()
    }
    batch = encoding.encode(encoding.texts(QUESTIONS, ANSWERS))
    for model in (ours, stock):
        model.double()
        model(batch).square().sum().backward()
    torch.testing.assert_close(ours(batch), stock(batch), rtol=1e-10, atol=1e-10)
    for (name, own), other in zip(ours.named_parameters(), stock.parameters(), strict=True):
        if own.requires_grad:
            torch.testing.assert_close(own.grad, other.grad, rtol=1e-8, atol=1e-9, msg=name)


@every_kind
def test_exact_match_with_the_right_characters_before_is_that_of_greedy_decoding(kind):
    model, encoding = made(kind, seed=3)
    questions = [f"{a}*{b}" for a in range(8) for b in range(-4, 4)]
    greedy = encoding.greedy(model, encoding.texts(questions))
    answers = [one if place % 3 else one[:-1] + "0" for place, one in enumerate(greedy)]  # some of them wrong
    batch = encoding.encode(encoding.texts(questions, answers))
    # an answer that never ended has no STOP to be right about
    ended = np.array([len(one) < 31 for one in greedy])
    found = exact(model(batch), batch).numpy()
    expected = np.array([one == other for one, other in zip(greedy, answers, strict=True)])
    assert (found[ended] == expected[ended]).all()
    assert ended.sum() > 0


@every_kind
def test_a_row_has_the_same_scores_alone_and_beside_longer_ones(kind):
    model, encoding = made(kind)
    together = encoding.encode(encoding.texts(QUESTIONS, ANSWERS))
    scores = model(together)
    for row, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True)):
        alone = encoding.encode(encoding.texts([question], [answer]))
        torch.testing.assert_close(scores[together.rows == row], model(alone), rtol=0, atol=1e-5)


def test_no_attention_goes_to_padding_and_all_of_it_to_the_question():
    model, encoding = made("attentional")
    alpha = model.weights(encoding.encode(encoding.texts(QUESTIONS, ANSWERS)))
    for row, question in enumerate(QUESTIONS):
        assert (alpha[:, row, len(question) :] == 0).all()
        torch.testing.assert_close(alpha[:, row, : len(question)].sum(-1), torch.ones(len(alpha)))


def test_attention_with_and_without_its_weights_is_the_same():
    source = torch.Generator().manual_seed(0)
    query, keys = (torch.randn(n, 3, 8, generator=source, dtype=torch.float64) for n in (5, 7))
    mask = torch.arange(7) < torch.tensor([[7], [1], [4]])
    context, none = attend(query, keys, mask)
    other, weights = attend(query, keys, mask, weights=True)
    assert none is None
    assert weights is not None
    torch.testing.assert_close(context, other)
    torch.testing.assert_close(torch.einsum("tbs,sbh->tbh", weights, keys), other)


# the published model's four properties


def test_in_the_replica_thinking_changes_nothing_and_in_the_repaired_model_it_does():
    for replica in (True, False):
        model, _ = made("attentional", replica=replica)
        scores = []
        for thinking in (0, 4):
            encoding = Encoding("attentional", WORDS, thinking, not replica, replica)
            scores.append(model(encoding.encode(encoding.texts(QUESTIONS, ANSWERS))))
        assert torch.equal(*scores) == replica


def test_in_the_replica_attention_leaks_to_padding():
    """As the published model at its first values: padding gets as much attention as it has steps."""
    model, encoding = made("attentional", replica=True, scale=1e-3)
    alpha = model.weights(encoding.encode(encoding.texts(["1+1"], ["2"])))
    torch.testing.assert_close(
        alpha[:, 0, 3:].sum(-1), torch.full((len(alpha),), 157 / 160), rtol=0, atol=1e-3
    )


def test_in_the_replica_every_shorter_question_begins_with_the_bias():
    for replica in (True, False):
        model, encoding = made("attentional", replica=replica)
        with torch.no_grad():
            model.bridge.bias.uniform_(-1, 1)
        batch = encoding.encode(encoding.texts(QUESTIONS, ANSWERS))
        first = model._encode(batch)[2][0][0]
        assert torch.allclose(first, model.bridge.bias.expand_as(first), atol=1e-6) == replica


def test_first_values_are_those_of_keras():
    model, _ = made("attentional", scale=1.0)
    lstm = model.decoder.lstm
    bias = lstm.bias_ih_l0.reshape(4, -1)
    assert bias.tolist() == [[0.0] * 12, [1.0] * 12, [0.0] * 12, [0.0] * 12]
    assert not lstm.bias_hh_l0.any()
    assert not lstm.bias_hh_l0.requires_grad
    torch.testing.assert_close(lstm.weight_hh_l0.T @ lstm.weight_hh_l0, torch.eye(12), rtol=0, atol=1e-5)
    assert model.question_table.abs().max() <= 0.05
    assert lstm.weight_ih_l0.abs().max() <= (6 / (6 + 48)) ** 0.5


def test_texts_of_the_model_keep_the_ends_of_vocabularies():
    encoding = Encoding("attentional", WORDS, 0)
    with pytest.raises(ValueError, match=r"got 'Z' at character 1 of 'Z\+1'"):
        encoding.texts(["Z+1"])
    with pytest.raises(ValueError, match="vocabulary"):
        encoding.texts(["1+1"], ["two"])
