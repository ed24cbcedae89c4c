"""What code written for torch.nn does to a layer, done to ours: names, numbers of numpy, in-place writes."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn as torch_nn

from mathkernels import nn

SEQUENCES, CELLS = ("LSTM", "GRU"), ("LSTMCell", "GRUCell")
ARITHMETIC = ("NAC", "NACMul", "NACSigma", "NACNMU", "NALU", "GNALU", "INALU", "NAU", "NMU", "NRU", "NMRU")
ARITHMETIC += ("NPU", "RealNPU")
every_sequence = pytest.mark.parametrize("kind", SEQUENCES)
every_recurrent = pytest.mark.parametrize("kind", [*SEQUENCES, *CELLS])
every_layer = pytest.mark.parametrize("kind", ARITHMETIC)


def pair(kind, *sizes, dtype=torch.float64, **options):
    """torch.nn's module and ours, with its weights."""
    theirs = getattr(torch_nn, kind)(*sizes, **options, dtype=dtype)
    ours = getattr(nn, kind)(*sizes, **options, dtype=dtype)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def flat(results):
    """All tensors of a call's results."""
    if isinstance(results, torch.Tensor):
        return [results]
    return [tensor for result in results for tensor in flat(result)]


@every_recurrent
def test_the_input_has_torchs_name_too(kind):
    theirs, ours = pair(kind, 3, 5)
    x = torch.randn(4, 3, dtype=torch.float64)
    expected = flat(theirs(input=x))
    for found in (flat(ours(input=x)), flat(ours(x=x)), flat(ours(x))):
        # float64: some tens of roundings in another order, carried through a few steps
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    with pytest.raises(TypeError, match=f"^{kind}: x and input are both given"):
        ours(x, input=x)
    with pytest.raises(TypeError, match=f"^{kind}: x is NoneType; needs a tensor"):
        ours()


@every_sequence
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}], ids=str)
def test_lists_of_weights_and_the_mode_are_torchs(kind, options):
    theirs, ours = pair(kind, 3, 5, **options)
    for name in ("mode", "proj_size", "_flat_weights_names", "_all_weights", "num_layers", "dropout"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for found, expected in zip(ours._flat_weights, theirs._flat_weights, strict=True):
        assert torch.equal(found, expected)
    assert all(a is b for a, b in zip(ours._flat_weights, ours.parameters(), strict=True))
    found = {name for name in dir(theirs) if not name.startswith("__")} - set(dir(ours))
    # torch's own bookkeeping of what cuDNN sees
    assert found <= {
        "_flat_weight_refs",
        "_init_flat_weights",
        "_update_flat_weights",
        "_weights_have_changed",
    }


@every_sequence
def test_torchs_checks_can_be_called(kind):
    theirs, ours = pair(kind, 3, 5, 2, bidirectional=True, batch_first=True)
    x, h = torch.randn(7, 4, 3, dtype=torch.float64), torch.randn(4, 7, 5, dtype=torch.float64)
    hidden = (h, h) if kind == "LSTM" else h
    for module in (theirs, ours):
        assert module.get_expected_hidden_size(x, None) == (4, 7, 5)
        assert module.get_expected_hidden_size(x[0], torch.tensor([6, 4])) == (4, 6, 5)
        module.check_forward_args(x, hidden, None)
        wrong = (h[:1], h) if kind == "LSTM" else h[:1]
        with pytest.raises(RuntimeError, match=r"\(4, 7, 5\), got \[1, 7, 5\]"):
            module.check_forward_args(x, wrong, None)
    order = torch.randperm(7)
    assert all(
        map(torch.equal, flat(ours.permute_hidden(hidden, order)), flat(theirs.permute_hidden(hidden, order)))
    )
    if kind == "LSTM":
        assert ours.get_expected_cell_size(x, None) == (4, 7, 5)
    with pytest.raises(ValueError, match=rf"^{kind}: x, real numbers, has shape \(7, 4, 2\)"):
        ours.check_input(x[..., :2], None)


@every_sequence
def test_weight_drop_as_language_models_do_it(kind):
    """The weight becomes a plain tensor that is set anew before each call."""
    theirs, ours = pair(kind, 3, 5)
    x, found = torch.randn(4, 2, 3, dtype=torch.float64), []
    for module in (theirs, ours):
        raw = torch_nn.Parameter(module.weight_hh_l0.detach().clone())
        del module.weight_hh_l0
        mask = torch.linspace(-1, 1, raw.numel()).reshape(raw.shape) > 0
        module.weight_hh_l0 = raw * mask
        module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
        y = module(x)[0]
        found.append([y, *torch.autograd.grad(y.square().sum(), [raw, module.weight_ih_l0])])
    torch.testing.assert_close(found[1], found[0], rtol=1e-11, atol=1e-11)
    other = torch.randn(5 * ours.gates, 5, dtype=torch.float64)
    ours._flat_weights = [ours.weight_ih_l0, other, ours.bias_ih_l0, ours.bias_hh_l0]
    assert ours.weight_hh_l0 is other


@every_sequence
def test_all_weights_of_parametrised_layers_are_computed(kind):
    theirs, ours = pair(kind, 3, 5, 2, bidirectional=True)
    for module in (theirs, ours):
        torch_nn.utils.parametrizations.weight_norm(module, "weight_hh_l1")
    found, expected = ([w for ws in m.all_weights for w in ws] for m in (ours, theirs))
    assert all(map(torch.equal, found, expected))
    assert ours._flat_weights[9].grad_fn is not None


@every_recurrent
def test_numpys_numbers_are_sizes_and_options(kind):
    for whole in (np.int64, np.int32, np.uint8):
        more = {"num_layers": whole(2), "dropout": np.float32(0.5)} if kind in SEQUENCES else {}
        module = getattr(nn, kind)(whole(3), whole(4), bias=np.bool_(True), models=whole(2), **more)
        plain = {k: (int if k == "num_layers" else float)(v) for k, v in more.items()}
        assert repr(module) == repr(getattr(nn, kind)(3, 4, models=2, **plain))
        assert {type(getattr(module, name)) for name in ("input_size", "hidden_size", "models")} == {int}
        assert all(tensor.isfinite().all() for tensor in flat(module(torch.randn(2, 5, 3))))
    for size in (np.float64(3), np.int64(0), np.bool_(True), 10**30, "3", [3], None, np.array([3])):
        with pytest.raises(ValueError, match=f"^{kind}: input_size is .*; needs a positive integer"):
            getattr(nn, kind)(size, 4)


@every_layer
def test_numpys_numbers_are_arguments_of_arithmetic_layers(kind):
    make = getattr(nn, kind)
    options = {name: np.float32(0.5) for name in ("epsilon", "penalty") if hasattr(make(3, 2), name)}
    layer = make(np.int64(3), np.int32(2), models=np.uint8(4), **options)
    plain = make(3, 2, models=4, **{name: 0.5 for name in options})
    assert repr(layer) == repr(plain)
    plain.load_state_dict(layer.state_dict())
    x = torch.rand(4, 5, 3) + 0.5
    assert torch.equal(layer(x), plain(x))
    ramp = np.float64(0.25)
    torch.testing.assert_close(layer.regularizer(ramp), plain.regularizer(0.25), check_dtype=False)
    for value in (np.float64("nan"), np.float32("inf"), -np.float64(1), 10**400, np.array([1.0]), "1", None):
        for name in options:
            with pytest.raises(
                ValueError, match=rf"^{kind}: {name} is .*needs a finite number of at least 0"
            ):
                make(3, 2, **{name: value})


def test_numpys_numbers_are_options_of_the_rest():
    assert nn.RealNPU(3, 2, norm_order=np.int64(2)).norm_order == 2
    assert nn.NALU(3, 2, shared=np.bool_(False)).shared is False
    assert nn.RecurrentUnit("NMU", initial=np.float32(2)).initial == 2.0
    with pytest.raises(ValueError, match=r"^RecurrentUnit: initial is 'a'; needs a number or None"):
        nn.RecurrentUnit("NMU", initial="a")


NO_TENSORS = [None, [[1.0, 2.0, 3.0]], np.ones((4, 3), np.float32), 3.0, "text"]


@pytest.mark.parametrize("kind", [*SEQUENCES, *CELLS, *ARITHMETIC])
@pytest.mark.parametrize("value", NO_TENSORS, ids=lambda value: type(value).__name__)
def test_what_is_no_tensor_gives_one_line(kind, value):
    module = getattr(nn, kind)(3, 2)
    message = rf"^{kind}: x is {type(value).__name__}; needs a tensor, which torch.as_tensor makes$"
    with pytest.raises(TypeError, match=message):
        module(value)
    if kind in SEQUENCES:
        with pytest.raises(TypeError, match=f"^{kind}: lengths is .*; needs whole numbers$"):
            module(torch.randn(2, 1, 3), lengths="text")
    if kind in (*SEQUENCES, *CELLS) and value is not None:
        hx = (value, value) if kind.startswith("LSTM") else value
        with pytest.raises(
            TypeError, match=f"^{kind}: h0 is {type(value).__name__}; needs a tensor of shape"
        ):
            module(torch.randn(4, 3), hx)


@pytest.mark.parametrize("value", NO_TENSORS, ids=lambda value: type(value).__name__)
def test_what_is_no_tensor_gives_one_line_along_sequences(value):
    module, l = nn.RecurrentUnit("NMU"), torch.rand(4, 3)
    with pytest.raises(TypeError, match=f"^RecurrentUnit: l is {type(value).__name__}; needs a tensor"):
        module(value)
    if value is not None:
        with pytest.raises(TypeError, match=f"^RecurrentUnit: initial is {type(value).__name__}; needs a"):
            module(l, value)


@every_recurrent
def test_a_weight_of_the_wrong_shape_is_named(kind):
    generator = torch.Generator().manual_seed(3)
    for models in (None, 2):
        module = getattr(nn, kind)(3, 5, models=models)
        x = torch.randn(*(() if models is None else (models,)), 4, 3)
        for name, parameter in list(module.named_parameters()):
            right = tuple(parameter.shape)
            # as many elements as before, which a reshape would take
            wrongs = [(*right[:-2], right[-1], right[-2]) if len(right) > 1 else (1, *right), (*right, 1)]
            wrongs.append((*right[:-1], right[-1] + int(torch.randint(1, 4, (), generator=generator))))
            for wrong in (shape for shape in wrongs if shape != right):
                setattr(module, name, torch_nn.Parameter(torch.zeros(wrong)))
                text = f"{kind}: {name} has shape {wrong}; needs {right}"
                with pytest.raises(
                    ValueError, match=f"^{text.replace('(', chr(92) + '(')}$".replace(")", r"\)")
                ):
                    module(x)
            setattr(module, name, torch_nn.Parameter(parameter.detach().double()))
            if name != "weight_ih" and name != "weight_ih_l0":
                with pytest.raises(
                    TypeError, match=f"^{kind}: {name} is torch.float64; needs torch.float32 like"
                ):
                    module(x)
            setattr(module, name, parameter)
        module(x)


@every_layer
def test_a_parameter_of_the_wrong_shape_is_named(kind):
    for models in (None, 2):
        layer = getattr(nn, kind)(3, 2, models=models)
        x = torch.rand(*(() if models is None else (models,)), 4, 3)
        for name, parameter in list(layer.named_parameters()):
            right = tuple(parameter.shape)
            for wrong in ((*right[:-1], right[-1] + 1), (1, *right), (right[-1] * 2, *right[1:-1], 1)):
                setattr(layer, name, torch_nn.Parameter(torch.zeros(wrong)))
                with pytest.raises(ValueError, match=rf"^{kind}: {name} has shape .*; needs \({right[0]}"):
                    layer(x)
            setattr(layer, name, parameter)
        layer(x)
    unit = nn.RecurrentUnit("NMU")
    unit.unit.weight = torch_nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"^NMU: weight has shape \(2, 2\); needs \(1, 2\)$"):
        unit(torch.rand(4, 3))


@pytest.mark.parametrize("kind", [*SEQUENCES, *CELLS, *ARITHMETIC])
def test_meta_devices_run_on_shapes_alone(kind):
    with torch.device("meta"):
        module, x = getattr(nn, kind)(3, 2), torch.empty(7, 3)
    results = flat(module(x))
    with torch.autocast("cpu", torch.bfloat16):
        results += flat(module(x))
    expected = flat(getattr(nn, kind)(3, 2)(torch.rand(7, 3)))
    assert all(result.is_meta for result in results)
    assert [r.shape for r in results] == 2 * [e.shape for e in expected]
    sum(result.sum() for result in results).backward()
    assert all(parameter.grad.is_meta for parameter in module.parameters())
    if kind in SEQUENCES:
        y, _ = module(torch.empty(4, 5, dtype=torch.int64, device="meta"))
        assert y.shape == (4, 5, 2)


@every_recurrent
def test_copies_and_files_of_before_have_the_options_of_now(kind):
    module, x = getattr(nn, kind)(3, 2), torch.rand(7, 3)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(flat(twin(x))[0], flat(module(x))[0])
    state = dict(vars(module))
    del state["token_ids"]
    old = type(module).__new__(type(module))
    old.__setstate__(state)
    assert old.token_ids is False
    assert torch.equal(flat(old(x))[0], flat(module(x))[0])
