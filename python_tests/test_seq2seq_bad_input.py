"""Every argument of the sequence-to-sequence ensemble with a value that has no meaning: one clear error."""

import math

import pytest
import torch
from seq2seq_cases import EQUATIONS, data, ensemble

from mathkernels.ensemble import Seq2SeqEnsemble

GOOD = {"alphabet": 13, "steps_in": 10, "steps_out": 5, "hidden": 4, "seeds": (1, 2)}


@pytest.mark.parametrize(
    ("field", "value", "right"),
    [
        ("alphabet", 0, "at least 1"),
        ("alphabet", 128, "at most 127"),
        ("alphabet", 2.0, "integer"),
        ("steps_in", 0, "at least 1"),
        ("steps_out", -1, "at least 1"),
        ("hidden", True, "integer"),
        ("seeds", (), "at least one"),
        ("seeds", (1, -2), "at least 0"),
        ("seeds", "12", "at least one integer"),
        ("batch_norm", 1, "True or False"),
        ("learning_rate", 0, "positive"),
        ("learning_rate", math.inf, "positive"),
        ("eps", 0.0, "positive"),
        ("eps", "1e-7", "positive"),
        ("dtype", torch.float16, "float32 or torch.float64"),
        ("threads", 0, "at least 1"),
    ],
)
def test_the_constructor_names_the_argument(field, value, right):
    with pytest.raises(ValueError, match=rf"(?s)^{field}.*{right}"):
        Seq2SeqEnsemble(**{**GOOD, field: value})


INPUTS, TARGETS, ORDER = data(EQUATIONS, 2)
OTHERS = {
    "inputs": [
        (INPUTS.int(), "int8 tensor"),
        (INPUTS[:, :9], r"\(N,10\)"),
        (INPUTS - 2, "from -1 to 12"),
        (INPUTS + 1, "from -1 to 12"),
    ],
    "targets": [(TARGETS - 1, "from 0 to 12"), (TARGETS[:3], "one row for each"), (TARGETS[0], r"\(N,5\)")],
    "order": [
        (ORDER[0], r"\(2,M\)"),
        (ORDER[:, :0], "at least 1"),
        (ORDER.int(), "int64"),
        (ORDER + 1, "from 0 to 199"),
        (ORDER - 1, "from 0 to 199"),
    ],
    "batch": [(0, "at least 1"), (2.5, "integer")],
}


@pytest.mark.parametrize(
    ("field", "value", "right"), [(f, v, r) for f, all_ in OTHERS.items() for v, r in all_]
)
def test_an_epoch_names_the_argument(field, value, right):
    given = {"inputs": INPUTS, "targets": TARGETS, "order": ORDER, "batch": 96, field: value}
    trained = ensemble(EQUATIONS)
    with pytest.raises(ValueError, match=rf"(?s)^{field}.*{right}"):
        trained.train_epoch(**given)
    assert trained.updates == 0


@pytest.mark.parametrize("field", ["inputs", "targets", "order"])
def test_what_is_no_tensor_is_refused(field):
    given = {"inputs": INPUTS, "targets": TARGETS, "order": ORDER, "batch": 96}
    given[field] = given[field].tolist()
    with pytest.raises(TypeError, match=rf"^{field}: got list"):
        ensemble(EQUATIONS).train_epoch(**given)


def test_evaluation_checks_like_training():
    trained = ensemble(EQUATIONS)
    with pytest.raises(ValueError, match=r"^inputs"):
        trained.predict(INPUTS + 1)
    with pytest.raises(ValueError, match=r"^targets"):
        trained.evaluate(INPUTS, TARGETS[:3])
    with pytest.raises(ValueError, match=r"^inputs.*at least one"):
        trained.evaluate(INPUTS[:0], TARGETS[:0])


@pytest.mark.parametrize(
    ("change", "error", "right"),
    [
        (lambda p: p.pop("output.bias"), ValueError, r"missing tensors.*output\.bias"),
        (lambda p: p.update(extra=torch.zeros(2)), ValueError, "unknown tensors.*extra"),
        (lambda p: p.update({"output.bias": torch.zeros(13)}), ValueError, r"output\.bias.*\(2, 13\)"),
        (lambda p: p.update({"output.bias": torch.zeros(2, 13).int()}), ValueError, "floating-point"),
        (lambda p: p.update({"output.bias": [1.0]}), TypeError, r"output\.bias.*needs a tensor"),
        (lambda p: p.pop("encoder.bias_hh_l0"), ValueError, r"missing tensors.*encoder\.bias_hh_l0"),
    ],
)
def test_parameters_are_named_and_shaped(change, error, right):
    start = ensemble(EQUATIONS).parameters()
    change(start)
    with pytest.raises(error, match=rf"(?s)^parameters.*{right}"):
        ensemble(EQUATIONS, parameters=start)


@pytest.mark.parametrize(
    ("change", "right"),
    [
        (lambda s: s.pop("updates"), r"state\['updates'\]"),
        (lambda s: s.update(updates=torch.tensor([-1])), r"state\['updates'\]"),
        (lambda s: s.pop("second_moment.output.bias"), r"second_moment.*output\.bias"),
        (lambda s: s.update({"output.bias": s["output.bias"].double()}), "dtype.*float32"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, right):
    trained = ensemble(EQUATIONS)
    before = trained.state()
    state = ensemble(EQUATIONS, (5, 6)).state()
    change(state)
    with pytest.raises(ValueError, match=rf"(?s){right}"):
        trained.load_state(state)
    for name, tensor in trained.state().items():
        assert torch.equal(tensor, before[name])
