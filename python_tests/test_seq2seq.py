"""The sequence-to-sequence ensemble against the reference loop, and what it promises about bits."""

import math
import multiprocessing
import os
import signal
import threading

import pytest
import torch
from seq2seq_cases import CASES, EQUATIONS, Case, contents, data, ensemble, of_one, trained_reference
from torch import nn

from mathkernels import backends
from mathkernels.ensemble import Seq2SeqEnsemble
from mathkernels.ensemble import seq2seq_tensors as tensors
from mathkernels.reference import seq2seq as reference

EXACT = torch.float64


def differences(found, needed, model):
    return {name: (found[name][model] - tensor).abs().max().item() for name, tensor in needed.items()}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_the_references(isa, case):
    """One update from zero moments: the first moment is a tenth of the gradient."""
    one = case._replace(samples=case.batch)
    inputs, targets, order = data(one, 2)
    trained = ensemble(one, dtype=EXACT)
    start = trained.parameters()
    loss = trained.train_epoch(inputs, targets, order, one.batch)
    state = trained.state()
    for model in range(2):
        stock, losses = trained_reference(one, start, model, order[model], EXACT)
        assert abs(loss[model].item() - losses[0]) < 1e-12
        moments = {f"first_moment.{name}": moment for name, moment in stock.adam.first.items()}
        assert max(differences(state, moments, model).values()) < 1e-13


@pytest.mark.parametrize("case", CASES, ids=str)
def test_twenty_updates_and_more_are_the_references(case):
    """Adam enlarges rounding where a gradient is small: 1e-13 in gradients may become 1e-7 in parameters."""
    inputs, targets, order = data(case, 2)
    trained = ensemble(case, dtype=EXACT)
    start = trained.parameters()
    epochs = math.ceil(20 / math.ceil(case.samples / case.batch))
    for _ in range(epochs):
        loss = trained.train_epoch(inputs, targets, order, case.batch)
    state = trained.state()
    for model in range(2):
        stock, losses = trained_reference(case, start, model, order[model], EXACT, epochs)
        assert abs(loss[model].item() - losses[-1]) < 1e-8
        needed = {name: p for name, p in stock.parameters.items() if "bias_hh" not in name}
        worst = differences(state, needed, model)
        assert max(worst.values()) < 1e-7, worst


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_in_float32_are_no_worse_than_torchs(isa, case):
    """At most twice plain torch's error; where that happens to be exact, 16 ULP of the largest gradient: sums
    over hundreds of samples in another order."""
    one = case._replace(samples=case.batch)
    inputs, targets, order = data(one, 1)
    trained = ensemble(one, (1,))
    start = trained.parameters()
    trained.train_epoch(inputs, targets, order, one.batch)
    state = trained.state()
    exact, _ = trained_reference(one, start, 0, order[0], EXACT)
    single, _ = trained_reference(one, start, 0, order[0], torch.float32)
    largest = max(moment.abs().max().item() for moment in exact.adam.first.values())
    floor = 16 * torch.finfo(torch.float32).eps * largest
    for name, true in exact.adam.first.items():
        error = (state[f"first_moment.{name}"][0].double() - true).abs().max().item()
        plain = (single.adam.first[name].double() - true).abs().max().item()
        assert error <= 2 * plain + floor, name


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, EXACT])
def test_evaluation_is_the_references(isa, case, dtype):
    inputs, targets, order = data(case, 2)
    trained = ensemble(case, dtype=dtype)
    trained.train_epoch(inputs, targets, order, case.batch)
    loss, characters, sequences = trained.evaluate(inputs, targets)
    predicted = trained.predict(inputs)
    assert predicted.shape == (2, case.samples, case.steps_out)
    for model in range(2):
        stock = reference.Seq2Seq(of_one(trained.parameters(), model, EXACT))
        logits = stock.logits(inputs, case.steps_out)
        # float64: sums in another order; float32: some 30 ULP of the largest logit, through ten steps
        tolerance = 1e-12 if dtype == EXACT else 2e-6 * (1 + logits.abs().max().item())
        assert abs(loss[model].item() - reference.cross_entropy(logits, targets).item()) < tolerance
        chosen = logits.gather(-1, predicted[model, ..., None].long())[..., 0]
        assert (logits.amax(-1) - chosen).max().item() <= 2 * tolerance
        right = predicted[model] == targets
        assert characters[model].item() == pytest.approx(right.double().mean().item(), abs=1e-15)
        assert sequences[model].item() == pytest.approx(right.all(-1).double().mean().item(), abs=1e-15)


def test_it_learns():
    """Reversing three symbols of five; at this rate a model does not rest, so not every last one is right."""
    digits = torch.cartesian_prod(*[torch.arange(5, dtype=torch.int8)] * 3)
    order = torch.stack([torch.randperm(125).repeat(2) for _ in range(2)])
    trained = Seq2SeqEnsemble(5, 3, 3, 16, (1, 2))
    losses = [trained.train_epoch(digits, digits.flip(1), order, 25) for _ in range(60)]
    loss, characters, sequences = trained.evaluate(digits, digits.flip(1))
    assert (losses[-1] < 0.1 * losses[0]).all()
    assert (loss < 0.1).all()
    assert (characters > 0.97).all()
    assert (sequences > 0.9).all()


# -- bits


@pytest.mark.parametrize("case", [EQUATIONS, CASES[2], CASES[3]], ids=str)
def test_bits_do_not_depend_on_the_number_of_threads(case):
    inputs, targets, order = data(case, 3)

    def bits(threads):
        trained = ensemble(case, (1, 2, 3), threads=threads)
        loss = trained.train_epoch(inputs, targets, order, case.batch)
        scores = torch.stack(trained.evaluate(inputs, targets))
        return contents(trained), loss.tolist(), scores.tolist(), trained.predict(inputs).tolist()

    alone = bits(1)
    for threads in (2, 3, 5, 16):
        assert bits(threads) == alone


def test_a_model_alone_equals_itself_in_the_ensemble():
    inputs, targets, order = data(EQUATIONS, 3)
    together = ensemble(EQUATIONS, (1, 2, 3), threads=2)
    losses = together.train_epoch(inputs, targets, order, EQUATIONS.batch)
    for model, seed in enumerate((1, 2, 3)):
        alone = ensemble(EQUATIONS, (seed,), threads=2)
        loss = alone.train_epoch(inputs, targets, order[model : model + 1], EQUATIONS.batch)
        assert loss[0] == losses[model]
        for name, tensor in alone.parameters().items():
            assert torch.equal(tensor[0], together.parameters()[name][model]), name
        assert torch.equal(alone.predict(inputs)[0], together.predict(inputs)[model])


def test_where_calls_are_cut_changes_no_bit(monkeypatch):
    inputs, targets, order = data(EQUATIONS, 1)
    whole, cut = ensemble(EQUATIONS, (1,)), ensemble(EQUATIONS, (1,))
    whole.train_epoch(inputs, targets, order, 16)
    monkeypatch.setattr(cut, "_windows", lambda count: [(k, k + 1) for k in range(count)])
    cut.train_epoch(inputs, targets, order, 16)
    assert contents(whole) == contents(cut)


@pytest.mark.parametrize("case", [EQUATIONS, CASES[2]], ids=str)
def test_a_resumed_model_goes_on_with_the_same_bits(case):
    inputs, targets, order = data(case, 2)
    whole, first, second = ensemble(case), ensemble(case), ensemble(case, (8, 9))
    for _ in range(2):
        whole.train_epoch(inputs, targets, order, case.batch)
    first.train_epoch(inputs, targets, order, case.batch)
    second.load_state(first.state())
    assert contents(first) == contents(second)
    second.train_epoch(inputs, targets, order, case.batch)
    assert contents(second) == contents(whole)


def test_what_is_no_number_in_one_model_does_not_touch_another():
    inputs, targets, order = data(EQUATIONS, 2)
    start = ensemble(EQUATIONS).parameters()
    start["output.bias"][0, 0] = math.nan
    spoilt = ensemble(EQUATIONS, parameters=start)
    clean = ensemble(EQUATIONS)
    losses = spoilt.train_epoch(inputs, targets, order, EQUATIONS.batch)
    clean.train_epoch(inputs, targets, order, EQUATIONS.batch)
    assert losses[0].isnan()
    for name, tensor in clean.parameters().items():
        assert torch.equal(tensor[1], spoilt.parameters()[name][1]), name


def train_and_send(connection, threads):
    inputs, targets, order = data(EQUATIONS, 2)
    trained = ensemble(EQUATIONS, threads=threads)
    trained.train_epoch(inputs, targets, order, EQUATIONS.batch)
    connection.send(contents(trained))


def test_a_forked_process_trains_the_same_bits():
    inputs, targets, order = data(EQUATIONS, 2)
    trained = ensemble(EQUATIONS, threads=2)
    trained.train_epoch(inputs, targets, order, EQUATIONS.batch)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=train_and_send, args=(theirs, 2))
    child.start()
    theirs.close()
    try:
        assert ours.poll(60), "the child hangs"
        found = ours.recv()
        child.join(60)
    finally:
        child.kill()
    assert child.exitcode == 0
    assert found == contents(trained)


def test_several_python_threads_train_at_once():
    inputs, targets, order = data(EQUATIONS, 2)
    found = []

    def train(threads):
        trained = ensemble(EQUATIONS, threads=threads)
        trained.train_epoch(inputs, targets, order, EQUATIONS.batch)
        found.append(contents(trained))

    workers = [threading.Thread(target=train, args=(count,)) for count in (1, 2, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 3
    assert found[0] == found[1] == found[2]


def test_ctrl_c_stops_between_minibatches_and_leaves_a_state_that_goes_on(monkeypatch):
    inputs, targets, order = data(EQUATIONS, 1)
    trained, whole = ensemble(EQUATIONS, (1,)), ensemble(EQUATIONS, (1,))

    def windows(count):
        yield 0, 1
        os.kill(os.getpid(), signal.SIGINT)
        yield 1, 2
        raise AssertionError("not interrupted")

    monkeypatch.setattr(trained, "_windows", windows)
    with pytest.raises(KeyboardInterrupt):
        trained.train_epoch(inputs, targets, order, 16)
    assert trained.updates == 2
    whole.train_epoch(inputs, targets, order[:, :32], 16)
    assert contents(trained) == contents(whole)


# -- tensors


def test_first_values_are_those_of_keras():
    values = ensemble(EQUATIONS, (7,), dtype=EXACT).parameters()
    trained = {name: v for name, v in values.items() if "running" not in name and "bias_hh" not in name}
    assert sum(v.numel() for v in trained.values()) == 15_733 + 2 * 80
    bias, unit = values["decoder.bias_ih_l0_reverse"][0], torch.eye(20, dtype=EXACT)
    assert torch.equal(bias, torch.cat([torch.zeros(20), torch.ones(20), torch.zeros(40)]).double())
    recurrent = values["encoder.weight_hh_l0"][0]
    # a float64 factorisation
    assert torch.allclose(recurrent.T @ recurrent, unit, atol=1e-12)
    for name, bound in (("encoder.weight_ih_l0", 6 / 93), ("output.weight", 6 / 53)):
        largest = values[name].abs().max().item()
        assert 0.95 * math.sqrt(bound) < largest <= math.sqrt(bound)
    assert (values["encoder_norm.running_var"] == 1).all()
    assert not torch.equal(
        recurrent, ensemble(EQUATIONS, (8,), dtype=EXACT).parameters()["encoder.weight_hh_l0"][0]
    )


class Stock(nn.Module):
    """The same model of torch's modules, in evaluation."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        features = 2 * case.hidden
        self.encoder = nn.LSTM(case.alphabet, case.hidden, bidirectional=True, batch_first=True)
        self.encoder_norm = nn.BatchNorm1d(features, eps=1e-3)
        self.decoder = nn.LSTM(features, case.hidden, bidirectional=True, batch_first=True)
        self.decoder_norm = nn.BatchNorm1d(features, eps=1e-3)
        self.output = nn.Linear(features, case.alphabet)
        self.steps_out = case.steps_out

    def forward(self, x):
        _, (h, _) = self.encoder(x)
        x = self.encoder_norm(torch.cat([h[0], h[1]], dim=-1))
        x, _ = self.decoder(x[:, None].expand(-1, self.steps_out, -1))
        return self.output(self.decoder_norm(x.transpose(1, 2)).transpose(1, 2))


def test_parameters_load_into_torchs_modules_and_mean_the_same():
    inputs, targets, order = data(EQUATIONS, 2)
    trained = ensemble(EQUATIONS, dtype=EXACT)
    trained.train_epoch(inputs, targets, order, EQUATIONS.batch)
    stock = Stock(EQUATIONS).double().eval()
    stock.load_state_dict(of_one(trained.parameters(), 1, EXACT))
    logits = stock(reference.one_hot(inputs, EQUATIONS.alphabet, EXACT))
    loss = trained.evaluate(inputs, targets)[0][1].item()
    assert abs(reference.cross_entropy(logits, targets).item() - loss) < 1e-12


def test_a_second_bias_is_added_to_the_first():
    inputs, targets, _ = data(EQUATIONS, 2)
    start = ensemble(EQUATIONS, dtype=EXACT).parameters()
    moved = dict(start)
    for suffix in tensors.DIRECTIONS:
        name = f"encoder.bias_hh_l0{suffix}"
        moved[name] = torch.full_like(start[name], 0.25)
        other = name.replace("hh", "ih")
        moved[other] = start[other] - 0.25
    one = ensemble(EQUATIONS, dtype=EXACT, parameters=start).evaluate(inputs, targets)
    same = ensemble(EQUATIONS, dtype=EXACT, parameters=moved).evaluate(inputs, targets)
    # float64: 0.25 is taken away and added, which rounds twice
    assert torch.allclose(one[0], same[0], rtol=0, atol=1e-12)


def test_backends_say_what_ran():
    inputs, targets, order = data(EQUATIONS, 2)
    trained = ensemble(EQUATIONS)
    trained.train_epoch(inputs, targets, order, EQUATIONS.batch)
    ran = backends.last()
    assert ran is not None
    assert (ran.op, ran.backend, ran.isa) == ("seq2seq.train_epoch", "cpu", backends.current())


def test_no_samples_are_predicted_as_none():
    inputs, _, _ = data(EQUATIONS, 2)
    assert ensemble(EQUATIONS).predict(inputs[:0]).shape == (2, 0, 5)


def test_denormal_numbers_count_as_0_and_the_callers_state_comes_back():
    """A symbol that never occurs has a gradient of exactly 0, so that its weight is stored as it was read."""
    case = EQUATIONS
    inputs, targets, order = data(case, 2)
    inputs[inputs == 4] = 5
    start = ensemble(case).parameters()
    start["encoder.weight_ih_l0"][:, :, 4] = 1e-40
    trained = ensemble(case, parameters=start)
    assert (trained.parameters()["encoder.weight_ih_l0"][:, :, 4] != 0).all()
    trained.train_epoch(inputs, targets, order, case.batch)
    assert (trained.parameters()["encoder.weight_ih_l0"][:, :, 4] == 0).all()
    assert (torch.tensor([1e-40]) * 1).item() != 0
