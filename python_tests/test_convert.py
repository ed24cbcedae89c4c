"""nn.convert: torch's recurrent modules inside a model against ours, there and back."""

import pytest
import torch
from torch import nn as torch_nn

from mathkernels import nn


class Tagger(torch_nn.Module):
    """A model with every kind of module, one of them in two places."""

    def __init__(self):
        super().__init__()
        self.encoder = torch_nn.LSTM(4, 5, 2, batch_first=True, dropout=0.25, bidirectional=True)
        self.rest = torch_nn.Sequential(torch_nn.Linear(10, 3), torch_nn.Tanh())
        self.decoders = torch_nn.ModuleDict({"gru": torch_nn.GRU(3, 6, bias=False, batch_first=True)})
        self.decoders["again"] = self.decoders["gru"]
        self.cells = torch_nn.ModuleList([torch_nn.LSTMCell(6, 2), torch_nn.GRUCell(2, 2)])

    def forward(self, x):
        y, _ = self.encoder(x)
        y, _ = self.decoders["again"](self.rest(y))
        h, _ = self.cells[0](y[:, -1])
        return self.cells[1](h)


def kinds(model):
    return [type(m) for m in model.modules() if isinstance(m, torch_nn.RNNBase | nn.LSTM | nn.GRU)]


def test_a_model_converts_there_and_back_and_computes_the_same():
    model = Tagger().double().eval()
    x = torch.randn(7, 6, 4, dtype=torch.float64)
    names, expected = list(model.state_dict()), model(x)
    assert nn.convert(model) is model
    assert kinds(model) == [nn.LSTM, nn.GRU]
    assert isinstance(model.cells[0], nn.LSTMCell)
    assert isinstance(model.cells[1], nn.GRUCell)
    assert list(model.state_dict()) == names
    torch.testing.assert_close(model(x), expected, rtol=1e-11, atol=1e-11)  # float64, six steps
    assert (model.encoder.num_layers, model.encoder.dropout) == (2, 0.25)
    assert model.encoder.batch_first
    assert model.encoder.bidirectional
    assert nn.convert(model, back=True) is model
    assert kinds(model) == [torch_nn.LSTM, torch_nn.GRU]
    assert type(model.cells[0]) is torch_nn.LSTMCell
    assert torch.equal(model(x), expected)


@pytest.mark.parametrize("back", [False, True])
def test_parameters_modes_and_hooks_stay_as_they_were(back):
    model = Tagger()
    if back:
        nn.convert(model)
    model.encoder.weight_hh_l1.requires_grad_(False)
    model.decoders["gru"].eval()
    called = []
    model.encoder.register_forward_hook(lambda *_: called.append("encoder"))
    before = list(model.parameters())
    optimizer = torch.optim.SGD([p for p in before if p.requires_grad], lr=0.1)
    nn.convert(model, back=back)
    assert all(a is b for a, b in zip(model.parameters(), before, strict=True))
    assert not model.encoder.weight_hh_l1.requires_grad
    assert model.encoder.training
    assert not model.decoders["gru"].training
    assert model.decoders["gru"] is model.decoders["again"]
    moved = model.encoder.weight_ih_l0.detach().clone()
    model(torch.randn(3, 5, 4)).sum().backward()
    optimizer.step()
    assert called == ["encoder"]
    assert not torch.equal(model.encoder.weight_ih_l0, moved)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "LSTMCell", "GRUCell"])
def test_a_module_itself_is_replaced_and_others_are_left_alone(kind):
    module = getattr(torch_nn, kind)(3, 4)
    converted = nn.convert(module)
    assert type(converted) is getattr(nn, kind)
    assert type(nn.convert(converted, back=True)) is type(module)
    assert nn.convert(converted) is converted
    plain = torch_nn.Linear(3, 4)
    assert nn.convert(plain) is plain
    assert type(nn.convert(torch_nn.RNN(3, 4))) is torch_nn.RNN


def test_a_tied_parameter_stays_tied():
    model = torch_nn.ModuleList([torch_nn.GRU(3, 4), torch_nn.GRU(3, 4)])
    model[1].weight_hh_l0 = model[0].weight_hh_l0
    nn.convert(model)
    assert model[1].weight_hh_l0 is model[0].weight_hh_l0


class OwnLSTM(torch_nn.LSTM):
    """A subclass, which may do anything."""


def test_what_has_no_counterpart_is_named_and_nothing_is_changed():
    model = torch_nn.ModuleDict(
        {
            "fine": torch_nn.GRU(3, 4),
            "projected": torch_nn.LSTM(3, 4, proj_size=2),
            "narrow": torch_nn.GRU(3, 4).to(torch.float8_e4m3fn),
            "own": OwnLSTM(3, 4),
        }
    )
    message = (
        "convert: no counterpart for projected has proj_size=2; projections are not supported; narrow has "
        "parameters of torch.float8_e4m3fn; needs float32, float64, bfloat16 or float16; own is a OwnLSTM,"
        " a subclass"
    )
    with pytest.raises(ValueError, match=message):
        nn.convert(model)
    assert type(model["fine"]) is torch_nn.GRU
    with pytest.raises(ValueError, match="convert: no counterpart for the model itself has proj_size=2"):
        nn.convert(model["projected"])
    with pytest.raises(ValueError, match=r"the model itself has models=3; torch\.nn has single models"):
        nn.convert(nn.LSTM(3, 4, models=3), back=True)
    with pytest.raises(ValueError, match=r"the model itself has bfloat16=True; torch\.nn has no such option"):
        nn.convert(nn.GRUCell(3, 4, bfloat16=True), back=True)
