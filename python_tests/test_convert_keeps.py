"""nn.convert keeps whatever hangs on a module, in both directions, or refuses it by name."""

import copy
import io
import pickle
import weakref

import pytest
import torch
from torch import nn as torch_nn
from torch.nn.utils import parametrizations, parametrize, prune

from mathkernels import nn

KINDS = ("LSTM", "GRU", "LSTMCell", "GRUCell")
both_ways = pytest.mark.parametrize("back", [False, True])
every_kind = pytest.mark.parametrize("kind", KINDS)


def weight_of(kind):
    return "weight_hh" if kind.endswith("Cell") else "weight_hh_l0"


def made(kind, back, **options):
    """A module that is to be converted, of torch or, to go back, of ours; and the class it shall have."""
    torch.manual_seed(len(kind))
    source, target = (nn, torch_nn) if back else (torch_nn, nn)
    return getattr(source, kind)(3, 4, dtype=torch.float64, **options), getattr(target, kind)


def outputs(module):
    torch.manual_seed(7)
    x = torch.randn(*((5,) if isinstance(module, nn.LSTM | nn.GRU | torch_nn.RNNBase) else ()), 2, 3)
    found = module(x.double())
    while isinstance(found, tuple):
        found = found[0]
    return found


def assert_same_function(module, values, gradients):
    """Values and gradients of before; float64 and five steps leave ten thousand roundings."""
    torch.testing.assert_close(outputs(module), values, rtol=1e-11, atol=1e-11)
    module.zero_grad()
    outputs(module).square().sum().backward()
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-11, atol=1e-11, msg=name)


def before(module):
    module.zero_grad()
    values = outputs(module)
    values.square().sum().backward()
    return values.detach(), {name: p.grad.clone() for name, p in module.named_parameters()}


WRAPPERS = {
    "old weight_norm": lambda m, name: torch_nn.utils.weight_norm(m, name),
    "old spectral_norm": lambda m, name: torch_nn.utils.spectral_norm(m, name).eval(),
    "new weight_norm": parametrizations.weight_norm,
    "new spectral_norm": lambda m, name: parametrizations.spectral_norm(m, name).eval(),
    "orthogonal": lambda m, name: parametrizations.orthogonal(m, name),
    "pruned": lambda m, name: prune.random_unstructured(m, name, amount=0.4),
    "pruned twice": lambda m, name: prune.l1_unstructured(
        prune.random_unstructured(m, name, amount=0.4), name, amount=0.3
    ),
}


@both_ways
@every_kind
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.filterwarnings("ignore:.*torch.nn.utils.weight_norm.*:FutureWarning")
def test_what_stands_in_a_weights_place_stays(kind, wrapper, back):
    module, target = made(kind, back)
    WRAPPERS[wrapper](module, weight_of(kind))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    expected, state = before(module), {k: v.clone() for k, v in module.state_dict().items()}
    converted = nn.convert(module, back=back)
    assert isinstance(converted, target)
    assert list(converted.state_dict()) == list(state)
    assert all(torch.equal(v, state[k]) for k, v in converted.state_dict().items())
    assert not any(p.is_meta for p in converted.parameters())
    assert_same_function(converted, *expected)
    optimizer.step()
    assert not torch.equal(outputs(converted), expected[0])
    again = nn.convert(converted, back=not back)
    assert not isinstance(again, target)
    values, gradients = before(again)
    assert_same_function(nn.convert(again, back=back), values, gradients)


@both_ways
@every_kind
def test_parametrizations_stay_removable_copyable_and_stackable(kind, back):
    module, target = made(kind, back)
    name = weight_of(kind)

    class Twice(torch_nn.Module):
        def forward(self, weight):
            return 2 * weight

    parametrize.register_parametrization(module, name, Twice())
    parametrize.register_parametrization(module, name.replace("hh", "ih"), Twice())
    expected = before(module)
    converted = nn.convert(module, back=back)
    assert parametrize.is_parametrized(converted, name)
    assert type(converted).__name__ == f"Parametrized{target.__name__}"
    assert parametrize.type_before_parametrizations(converted) is target
    for twin in (converted, copy.deepcopy(converted)):
        assert_same_function(twin, *expected)
    parametrize.register_parametrization(converted, name, Twice())
    assert torch.equal(getattr(converted, name), 4 * converted.parametrizations[name].original)
    parametrize.remove_parametrizations(converted, name)
    parametrize.remove_parametrizations(converted, name.replace("hh", "ih"))
    assert type(converted) is target
    assert outputs(converted).isfinite().all()


@both_ways
@every_kind
def test_masks_can_be_made_permanent_afterwards(kind, back):
    module, _ = made(kind, back)
    name = weight_of(kind)
    prune.random_unstructured(module, name, amount=0.5)
    zeros = getattr(module, name) == 0
    converted = nn.convert(module, back=back)
    outputs(converted).sum().backward()
    assert not converted.get_parameter(f"{name}_orig").grad[zeros].any()
    prune.remove(converted, name)
    assert torch.equal(converted.get_parameter(name) == 0, zeros)
    assert outputs(converted).isfinite().all()


@both_ways
@every_kind
def test_hooks_of_every_kind_run_and_their_handles_remove_them(kind, back):
    module, _ = made(kind, back)
    called = []

    def note(label):
        return lambda *_, **__: called.append(label)

    handles = [
        module.register_forward_pre_hook(note("pre")),
        module.register_forward_pre_hook(note("pre with keywords"), with_kwargs=True),
        module.register_forward_hook(note("forward")),
        module.register_forward_hook(note("always"), always_call=True, with_kwargs=True),
        module.register_full_backward_pre_hook(note("backward pre")),
        module.register_full_backward_hook(note("backward")),
        module.register_state_dict_pre_hook(note("state pre")),
        module.register_state_dict_post_hook(note("state post")),
        module.register_load_state_dict_pre_hook(note("load pre")),
        module.register_load_state_dict_post_hook(note("load post")),
    ]
    module.get_parameter(weight_of(kind)).register_hook(note("gradient"))

    def run(one):
        called.clear()
        x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
        found = one(x)
        while isinstance(found, tuple):
            found = found[0]
        found.sum().backward()
        one.load_state_dict(one.state_dict())
        return sorted(called)

    expected = run(module)
    assert len(set(expected)) == 11
    converted = nn.convert(module, back=back)
    assert run(converted) == expected
    for handle in handles:
        handle.remove()
    assert run(converted) == ["gradient"]


@both_ways
@every_kind
def test_attributes_buffers_and_children_stay(kind, back):
    module, target = made(kind, back)
    module.register_buffer("mean", torch.arange(3.0))
    module.register_buffer("hidden", torch.ones(2), persistent=False)
    module.norm = torch_nn.LayerNorm(4)
    module.inner = torch_nn.ModuleList([made(kind, back)[0]])
    module.note, module.weight_list = "kept", [module.bias_ih if kind.endswith("Cell") else None]
    names, identity = list(module.state_dict()), weakref.ref(module)
    converted = nn.convert(module, back=back)
    assert identity() is converted
    assert list(converted.state_dict()) == names
    assert torch.equal(converted.mean, torch.arange(3.0))
    assert "hidden" in dict(converted.named_buffers())
    assert type(converted.inner[0]) is target
    assert isinstance(converted.norm, torch_nn.LayerNorm)
    assert converted.note == "kept"
    for twin in (copy.deepcopy(converted), pickle.loads(pickle.dumps(converted))):
        assert torch.equal(outputs(twin), outputs(converted))
        assert list(twin.state_dict()) == names
    file = io.BytesIO()
    torch.save(converted, file)
    file.seek(0)
    assert torch.equal(outputs(torch.load(file, weights_only=False)), outputs(converted))


@both_ways
def test_plain_lists_ties_and_modes_see_the_converted_module(back):
    model = torch_nn.Module()
    model.first, _ = made("LSTM", back, num_layers=2, dropout=0.5)
    model.second, target = made("LSTM", back, num_layers=2)
    model.again = model.first
    model.plain = [model.first, {"second": model.second}]
    model.second.weight_hh_l0 = model.first.weight_hh_l0
    model.first.weight_ih_l1.requires_grad_(False)
    model.second.eval()
    parameters = list(model.parameters())
    nn.convert(model, back=back)
    assert type(model.plain[0]) is target
    assert model.plain[0] is model.again is model.first
    assert model.second.weight_hh_l0 is model.first.weight_hh_l0
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert (model.first.training, model.second.training, model.first.dropout) == (True, False, 0.5)
    outputs(model.first).sum().backward()
    assert model.first.weight_ih_l1.grad is None
    assert model.first.weight_hh_l0.grad is not None


@both_ways
@every_kind
def test_a_model_on_meta_stays_there_until_it_is_given_memory(kind, back):
    with torch.device("meta"):
        model = torch_nn.Sequential(made(kind, back)[0])
        converted = nn.convert(model, back=back)
    assert all(p.is_meta for p in converted.parameters())
    with torch.device("meta"):
        assert outputs(converted[0]).is_meta
    real = converted.to_empty(device="cpu")
    real[0].reset_parameters()
    assert outputs(real[0]).isfinite().all()


@both_ways
@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_moving_and_loading_go_on_afterwards(kind, back, dtype):
    module, target = made(kind, back)
    converted = nn.convert(module.to(dtype), back=back)
    assert {p.dtype for p in converted.parameters()} == {dtype}
    converted.double()
    fresh = target(3, 4, dtype=torch.float64)
    fresh.load_state_dict(converted.state_dict())
    torch.testing.assert_close(outputs(converted), outputs(fresh), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.filterwarnings("ignore:.*torch.ao.quantization:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_loops_and_quantisation_have_a_way(kind):
    model = torch_nn.Sequential(getattr(torch_nn, kind)(8, 16))
    x = torch.randn(5, 2, 8)
    assert isinstance(model[0], nn.RECURRENT)
    nn.convert(model)
    assert not isinstance(model[0], torch_nn.LSTM | torch_nn.GRU)
    found = [m for m in model.modules() if isinstance(m, nn.RECURRENT)]
    assert [m.mode for m in found] == [kind]
    for module in found:
        for name, weight in module.named_parameters():
            if "weight_hh" in name:
                torch_nn.init.orthogonal_(weight)
    expected = model(x)[0]
    quantised = torch.ao.quantization.quantize_dynamic(
        nn.convert(copy.deepcopy(model), back=True), {getattr(torch_nn, kind)}, dtype=torch.qint8
    )
    assert "quantized" in type(quantised[0]).__module__
    # weights and inputs of 8 bits: 2^-7 of sums of size 1 over five steps
    torch.testing.assert_close(quantised(x)[0], expected.detach(), rtol=0, atol=5 * 2.0**-7)


def test_a_compiled_module_is_compiled_again():
    torch._dynamo.reset()
    module, _ = made("GRU", False)
    compiled, x = torch.compile(module, backend="eager"), torch.randn(5, 2, 3, dtype=torch.float64)
    expected, _ = compiled(x)
    assert nn.convert(compiled) is compiled
    assert type(module) is nn.GRU
    # float64: some tens of roundings in another order, carried through a few steps
    torch.testing.assert_close(compiled(x)[0], expected, rtol=1e-11, atol=1e-11)


def own_forward(module):
    module.forward = lambda x: x


def own_reset(module):
    module.reset_parameters = lambda: None


def taken(name):
    return lambda module: setattr(module, name, torch_nn.Identity())


def lost_weight(module):
    del module.weight_hh_l0


@pytest.mark.parametrize(
    ("change", "back", "why"),
    [
        (own_forward, False, "has a forward of its own in the place of LSTM's"),
        (own_forward, True, "has a forward of its own in the place of LSTM's"),
        (own_reset, False, "has a reset_parameters of its own in the place of LSTM's"),
        (taken("states"), False, "has 'states', which is a name of mathkernels's LSTM itself"),
        (taken("models"), False, "has 'models', which is a name of mathkernels's LSTM itself"),
        (taken("_flat_weight_refs"), True, "has '_flat_weight_refs', which is a name of torch's LSTM itself"),
        (lost_weight, False, "has no weight_hh_l0"),
        (lost_weight, True, "has no weight_hh_l0"),
        (lambda m: setattr(m, "token_ids", True), True, "has token_ids=True; torch.nn has no such option"),
    ],
)
def test_what_cannot_stay_is_refused_by_name_and_nothing_is_changed(change, back, why):
    model = torch_nn.ModuleDict({"fine": made("GRU", back)[0], "odd": made("LSTM", back)[0]})
    change(model["odd"])
    kept = {name: (type(m), dict(vars(m))) for name, m in model.items()}
    with pytest.raises(ValueError, match=f"^convert: no counterpart for odd {why}$"):
        nn.convert(model, back=back)
    for name, module in model.items():
        assert (type(module), dict(vars(module))) == kept[name]


@both_ways
def test_a_replaced_flatten_parameters_is_no_reason_to_refuse(back):
    module, target = made("LSTM", back)
    expected = outputs(module)
    module.flatten_parameters = lambda: None
    assert isinstance(nn.convert(module, back=back), target)
    # float64: some tens of roundings in another order, carried through a few steps
    torch.testing.assert_close(outputs(module), expected, rtol=1e-11, atol=1e-11)
