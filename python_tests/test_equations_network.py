"""The equation learner's network, its engines, its metrics and what it shows of itself."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("yaml")
pytest.importorskip("matplotlib")

from mathkernels.data.equation_sets import build, part
from mathkernels.data.equations import Equation, Equations
from mathkernels.optim.keras import step_in_keras_form
from mathkernels.studies.equations import activations as inside
from mathkernels.studies.equations import engine as equations_engine
from mathkernels.studies.equations import metrics
from mathkernels.studies.equations import plots as equations_plots
from mathkernels.studies.equations.config import Config, Model, Train
from mathkernels.studies.equations.model import (
    BatchNorm,
    EquationModel,
    HardSigmoidLSTM,
    one_hot,
    summary,
)
from mathkernels.studies.equations.scores import Scores
from mathkernels.studies.equations.training import training

FEW = Equations(max_number=99, n_examples=600, new_equations=100)


def config(engine="torch", seeds=(1, 2), data=FEW, **model):
    train = Train(engine=engine, seeds=seeds, batch_size=128)
    return Config(data, Model(**{"hidden_size": 6, **model}), train)


@pytest.fixture(scope="module")
def sets():
    return build(FEW)


class Recorder:
    """An engine that learns nothing and keeps the orders that it is given."""

    def __init__(self):
        self.orders = []

    def train_epoch(self, inputs, targets, order, rate):
        self.orders.append(order)
        return np.zeros(len(order))

    def evaluate(self, inputs, targets):
        return Scores(*np.zeros((3, 2)))

    def parameters(self):
        return {}


def test_stages_take_equations_of_few_operators_first():
    data = Equations(n_operations=3, n_examples=300, new_equations=0, shorter_share=0.6)
    engine, sets = Recorder(), build(data)
    run = training(Config(data, train=Train(stage_epochs=2, seeds=(1, 2))), sets, engine)
    for _ in range(6):
        run.advance()
    operators = np.array([len(one.operators) for one in sets.train.equations])
    for epoch, order in enumerate(engine.orders):
        expected = np.flatnonzero(operators <= epoch // 2 + 1)
        assert np.array_equal(np.sort(order), [expected, expected])
        assert not np.array_equal(order[0], order[1])


def test_stages_without_shorter_equations_are_refused():
    with pytest.raises(ValueError, match=r"train\.stage_epochs: got 2, needs data\.shorter_share above 0"):
        Config(train=Train(stage_epochs=2))


def trained(net):
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def test_the_network_has_the_articles_size():
    plain = EquationModel(Config(model=Model(batch_norm=False)), 1)
    assert trained(plain) == 2 * 80 * (13 + 20 + 1) + 2 * 80 * (40 + 20 + 1) + 41 * 13 == 15_733
    net = EquationModel(Config(), 1)
    assert trained(net) == 15_733 + 160
    text = summary(net, 10)
    assert "15,893 parameters and 160 running statistics" in text
    assert "15,733 parameters" in summary(plain, 10)


def test_the_network_starts_as_keras_draws_it():
    net = EquationModel(Config(), 3)
    for stage in (net.encoder[0], net.decoder[0]):
        for suffix in ("", "_reverse"):
            own = {name: getattr(stage.lstm, f"{name}_l0{suffix}").detach() for name in (
                "weight_ih", "weight_hh", "bias_ih", "bias_hh"
            )}  # fmt: skip
            bound = math.sqrt(6 / (80 + own["weight_ih"].shape[1]))
            assert own["weight_ih"].abs().max() <= bound
            assert own["weight_ih"].abs().max() > 0.9 * bound
            identity = own["weight_hh"].T @ own["weight_hh"]
            torch.testing.assert_close(identity, torch.eye(20), atol=1e-5, rtol=0)
            assert own["bias_ih"].reshape(4, 20).sum(1).tolist() == [0, 20, 0, 0]
            assert not own["bias_hh"].any()
    assert not net.output.bias.any()
    again = EquationModel(Config(), 3)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_padding_is_a_row_of_zeros():
    found = one_hot(torch.tensor([[2, -1]], dtype=torch.int8), 4)
    assert found.tolist() == [[[0, 0, 1, 0], [0, 0, 0, 0]]]


def test_the_backward_reader_ends_at_the_first_character():
    net = EquationModel(config(batch_norm=False), 1).eval()
    x = torch.randn(3, 10, 13)
    outputs = dict(net.outputs(x))
    y, repeated = outputs["encoder.0.lstm"], outputs["encoder.0.norm"]
    torch.testing.assert_close(repeated, torch.cat([y[:, -1, :6], y[:, 0, 6:]], 1))
    assert outputs["output"].shape == (3, FEW.answer_length, 13)


def test_batch_norm_keeps_the_plain_variance():
    x = torch.randn(7, 3, 4)
    norm, stock = BatchNorm(4), nn.BatchNorm1d(4, 1e-3, 0.01)
    torch.testing.assert_close(norm(x), stock(x.flatten(0, 1)).reshape(x.shape))
    plain = x.flatten(0, 1).var(0, correction=0)
    torch.testing.assert_close(norm.running_var, 0.99 + 0.01 * plain)
    torch.testing.assert_close(norm.running_mean, stock.running_mean)
    assert torch.equal(norm.eval()(x), norm(x))


def test_hard_sigmoid_gates_are_clipped_lines():
    torch.manual_seed(0)
    lstm = HardSigmoidLSTM(3, 2, batch_first=True, bidirectional=True)
    x = torch.randn(4, 5, 3) * 4
    y, (h, c) = lstm(x)
    assert y.shape == (4, 5, 4)
    for direction, suffix in enumerate(("", "_reverse")):
        state = cell = torch.zeros(4, 2)
        for t in range(5) if direction == 0 else reversed(range(5)):
            rows = x[:, t] @ getattr(lstm, f"weight_ih_l0{suffix}").T + getattr(lstm, f"bias_ih_l0{suffix}")
            rows = rows + state @ getattr(lstm, f"weight_hh_l0{suffix}").T
            rows = rows + getattr(lstm, f"bias_hh_l0{suffix}")
            i, f, g, o = rows.reshape(4, 4, 2).unbind(1)
            hard = [np.clip(0.2 * gate.detach().numpy() + 0.5, 0, 1) for gate in (i, f, o)]
            cell = torch.tensor(hard[1]) * cell + torch.tensor(hard[0]) * g.tanh()
            state = torch.tensor(hard[2]) * cell.tanh()
            torch.testing.assert_close(y[:, t, 2 * direction : 2 * direction + 2], state)
        torch.testing.assert_close(h[direction], state)
        torch.testing.assert_close(c[direction], cell)


def test_adam_steps_in_keras_form(sets):
    """The first tensors of a training follow lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)."""
    own = config(seeds=(1,))
    own = Config(own.data, own.model, Train(engine="torch", batch_size=128, eps=1e-3))
    engine = equations_engine.make(own)
    bias = engine.nets[0].output.bias
    x, y = one_hot(torch.from_numpy(sets.train.inputs[:128]), 13), torch.from_numpy(sets.train.targets[:128])
    expected = bias.detach().double().clone()
    m = v = torch.zeros(13, dtype=torch.float64)
    for t in (1, 2, 3):
        engine.nets[0].train()
        scores = engine.nets[0](x)
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), y.long().flatten())
        engine.optimizers[0].zero_grad()
        loss.backward()
        g = bias.grad.double().clone()
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        expected -= 0.01 * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (v.sqrt() + 1e-3)
        step_in_keras_form(engine.optimizers[0], 0.01, 1e-3)
        torch.testing.assert_close(bias.detach().double(), expected, atol=1e-6, rtol=1e-5)


def orders(n, seeds, epoch):
    return np.stack([np.random.default_rng([seed, epoch]).permutation(n) for seed in range(seeds)])


@pytest.mark.parametrize("engine", ["torch", "fused"])
@pytest.mark.parametrize("options", [{}, {"batch_norm": False}])
def test_an_engine_goes_on_from_its_state_with_the_same_bits(sets, engine, options):
    torch.set_num_threads(1)
    one, train = equations_engine.make(config(engine, **options)), sets.train
    one.train_epoch(train.inputs, train.targets, orders(len(train), 2, 0), 0.01)
    other = equations_engine.make(config(engine, **options))
    other.load_state({name: own.clone() for name, own in one.state().items()}, 1)
    for epoch in (1, 2):
        order = orders(len(train), 2, epoch)
        losses = [own.train_epoch(train.inputs, train.targets, order, 0.005) for own in (one, other)]
        assert np.array_equal(*losses)
    for name, own in one.parameters().items():
        assert torch.equal(own, other.parameters()[name]), name


def test_dropout_goes_on_from_a_state_with_the_same_bits_too(sets):
    options = config("torch", dropout=0.2, encoder_depth=2, decoder_depth=2)
    one, other, train = equations_engine.make(options), equations_engine.make(options), sets.train
    one.train_epoch(train.inputs, train.targets, orders(len(train), 2, 0), 0.01)
    other.load_state(one.state(), 1)
    losses = [
        own.train_epoch(train.inputs, train.targets, orders(len(train), 2, 1), 0.01) for own in (one, other)
    ]
    assert np.array_equal(*losses)


@pytest.mark.parametrize("options", [{}, {"batch_norm": False}])
def test_the_fused_engine_trains_as_the_stock_one_does(sets, options):
    """Float rounding alone differs, so a few updates agree to it; after many, training would amplify it."""
    stock, fused = (equations_engine.make(config(engine, **options)) for engine in ("torch", "fused"))
    train = sets.train
    for name, own in stock.parameters().items():
        torch.testing.assert_close(fused.parameters()[name], own, rtol=0, atol=0)
    losses = [
        own.train_epoch(train.inputs, train.targets, orders(len(train), 2, 0), 0.01) for own in (stock, fused)
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    for name, own in stock.parameters().items():
        torch.testing.assert_close(fused.parameters()[name], own, rtol=1e-3, atol=1e-4, msg=name)
    scores = [own.evaluate(sets.test.inputs, sets.test.targets) for own in (stock, fused)]
    np.testing.assert_allclose(scores[1].loss, scores[0].loss, rtol=1e-3)
    np.testing.assert_allclose(scores[1].character_accuracy, scores[0].character_accuracy, atol=0.02)


@pytest.mark.parametrize("engine", ["torch", "fused"])
def test_a_network_alone_trains_as_it_does_beside_others(sets, engine):
    torch.set_num_threads(1)
    pair, alone = (equations_engine.make(config(engine, seeds=seeds)) for seeds in ((1, 2), (2,)))
    order = orders(len(sets.train), 2, 0)
    pair.train_epoch(sets.train.inputs, sets.train.targets, order, 0.01)
    alone.train_epoch(sets.train.inputs, sets.train.targets, order[1:], 0.01)
    for name, own in alone.parameters().items():
        assert torch.equal(own[0], pair.parameters()[name][1]), name


@pytest.mark.parametrize("engine", ["torch", "fused"])
def test_scores_are_those_of_the_answers(sets, engine):
    own = equations_engine.make(config(engine))
    predicted = own.predict(sets.test.inputs)
    scores = own.evaluate(sets.test.inputs, sets.test.targets)
    assert predicted.shape == (2, *sets.test.targets.shape)
    right = predicted == sets.test.targets
    # quotients of whole numbers, rounded once or twice
    np.testing.assert_allclose(scores.character_accuracy, right.mean((1, 2)), rtol=1e-12)
    np.testing.assert_allclose(scores.exact_match, right.all(2).mean(1), rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate": "hard_sigmoid"}, "model.gate: got hard_sigmoid, which only --stock"),
        ({"dropout": 0.1}, "model.dropout: got 0.1, which the fused engine does not train"),
        ({"encoder_depth": 2}, "model.encoder_depth: got 2, which the fused engine does not train"),
        ({"decoder_depth": 3}, "model.decoder_depth: got 3"),
    ],
)
def test_what_only_other_engines_train_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        config("fused", **options)


def test_the_rate_falls_to_its_last_value_in_equal_factors():
    train = Train(epochs=10, decay_from=0.5, final_rate=1e-4)
    rates = [train.rate(epoch) for epoch in range(10)]
    assert rates[:5] == [0.01] * 5
    assert rates[9] == pytest.approx(1e-4)
    factors = [b / a for a, b in itertools.pairwise(rates[4:])]
    assert factors == pytest.approx([0.01**0.2] * 5)
    assert [Train(epochs=3).rate(epoch) for epoch in range(3)] == [0.01] * 3


# metrics, on answers with known mistakes


@pytest.fixture
def known():
    equations = [Equation(numbers, ("+",)) for numbers in ((47, 58), (94, 909), (2, 7), (500, 600))]
    own = part(Equations(), equations)
    predicted = np.stack([own.targets, own.targets])
    for row, text in enumerate((" 115\0", "1903\0", "  19\0")):
        predicted[1, row] = ["0123456789+ \0".index(character) for character in text]
    return own, predicted


def test_accuracies_of_characters_and_of_equations_are_told_apart(known):
    own, predicted = known
    assert metrics.accuracies(own, predicted[0]) == {
        "character_accuracy": 1.0,
        "exact_match": 1.0,
        "wrong": 0,
        "n": 4,
    }
    found = metrics.accuracies(own, predicted[1])
    assert found == {"character_accuracy": 17 / 20, "exact_match": 0.25, "wrong": 3, "n": 4}


def test_mistakes_say_where_and_by_how_much(known):
    own, predicted = known
    rows = metrics.mistakes(Equations(), own, predicted[1], 7, "new")
    assert [(row["equation"], row["expected"], row["predicted"]) for row in rows] == [
        ("47 + 58", "105", "115"),
        ("94 + 909", "1003", "1903"),
        ("2 + 7", "9", "19"),
    ]
    assert [row["wrong_characters"] for row in rows] == [1, 1, 1]
    assert [row["positions"] for row in rows] == ["2", "1", "2"]
    assert [row["error"] for row in rows] == [10, 900, 10]
    assert [row["small"] for row in rows] == [1, 1, 1]
    sentences = metrics.claims(rows, own)
    assert "3 of 3 mistakes (100.0 %" in sentences[0]
    assert "of the equations 75.0 % have" in sentences[0]
    assert "3 of 3 mistakes" in sentences[1]
    assert metrics.claims([], own) == ["No network made a mistake on the new equations."]


def test_positions_of_reversed_answers_are_counted_as_read():
    kind = Equations(reverse=True)
    own = part(kind, [Equation((31, 87), ("+",))])
    predicted = own.targets.copy()
    predicted[0, 0] = 0  # the last digit is written first
    rows = metrics.mistakes(kind, own, predicted, 1, "test")
    assert (rows[0]["predicted"], rows[0]["positions"]) == ("110", "3")
    by_position = metrics.positions(kind, own, predicted[None])
    assert [row["wrong"] for row in by_position] == [0, 0, 0, 1, 0]


def test_an_answer_that_is_no_number_has_no_error():
    kind = Equations()
    equation = Equation((1, 2), ("+",))
    assert math.isnan(metrics.error(kind, equation, "1+2"))
    assert math.isnan(metrics.error(kind, equation, ""))
    assert metrics.error(kind, equation, "13") == 10
    division = Equations(operations=("/",), answer="remainder")
    assert metrics.error(division, Equation((744, 33), ("/",)), "21r18") == 1


def test_strata_share_out_all_equations_and_mistakes(known):
    rows = metrics.strata(*known)
    assert [row["equations"] for row in rows] == [1, 2, 1]
    assert [row["mistakes"] for row in rows] == [1, 2, 0]
    assert [row["rate"] for row in rows] == [0.5, 0.5, 0.0]
    assert "an operand of 10 to 99" in metrics.strata_table(rows)
    assert all(math.isnan(row["mistake_share"]) for row in metrics.strata(known[0], known[1][:1]))


def test_examples_are_shown_as_the_article_shows_them(known):
    own, predicted = known
    text = metrics.examples(Equations(), own, predicted[1], [1, 3])
    assert text == "94 + 909 = 1903   (expected: 1003)\n500 + 600 = 1100   (expected: 1100)"


# what goes on inside


def test_activations_are_those_of_every_layer(sets):
    own = config()
    net = inside.model_of(own, equations_engine.start(own), 1)
    layers = inside.activations(net, sets.test.inputs[:2])
    length = FEW.question_length
    assert layers["input"].shape == (2, length, 13)
    assert layers["encoder.0.lstm"].shape == (2, length, 12)
    assert layers["encoder.0.norm"].shape == (2, 12)
    # float32 probabilities, each off by up to some ULP of exp
    np.testing.assert_allclose(layers["output"].sum(2), 1, rtol=1e-5)
    text = inside.greyscale({name: layer[0] for name, layer in layers.items()})
    lines = text.split("\n")
    assert len(lines) == 6 + length * 2 + 1 + 3 * FEW.answer_length
    assert lines[1].count("\x1b[48;5;") == 13
    assert "\x1b[48;5;232m" in text
    assert "\x1b[48;5;255m" in text
    units = inside.reading(net, sets.test, range(3))
    assert inside.liveliest(units) == units.reshape(-1, 12).var(0).argmax()


def test_a_scatter_has_a_dot_for_each_equation_and_mistakes_in_red(known):
    own, predicted = known
    figure = equations_plots.scatter(own, (predicted[1] != own.targets).any(1), "title")
    right, wrong = figure.axes[0].collections
    assert right.get_offsets().tolist() == [[500, 600]]
    assert wrong.get_offsets().tolist() == [[47, 58], [94, 909], [2, 7]]
    assert (right.get_alpha(), wrong.get_alpha()) == (0.33, 1.0)


def test_a_histogram_gathers_large_errors_and_answers_without_number():
    figure = equations_plots.histogram([1, 1, 3, 10, 900, math.nan], "title")
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 3]
