"""Properties that every arithmetic module has."""

import copy
import io
import pickle
from functools import partial

import pytest
import torch

from mathkernels import nn, reference

MAKERS = {
    "NAU": nn.NAU,
    "NMU": nn.NMU,
    "NRU": nn.NRU,
    "NMRU": nn.NMRU,
    "NMRU-no-retrieval": partial(nn.NMRU, sign_retrieval=False),
    "NMRU-gated": partial(nn.NMRU, gated=True),
    "NRU-separate-signs": partial(nn.NRU, separate_signs=True),
    "NPU": nn.NPU,
    "NPU-constrained": partial(nn.NPU.modified, constrain_imaginary=True),
    "NAC": nn.NAC,
    "NACMul": nn.NACMul,
    "NACSigma": nn.NACSigma,
    "NACNMU": nn.NACNMU,
    "NALU": nn.NALU,
    "NALU-separate": partial(nn.NALU, shared=False),
    "NALU-nau-nmu": partial(nn.NALU, units="nau-nmu"),
    "GNALU": nn.GNALU,
    "INALU": nn.INALU,
    "RealNPU": nn.RealNPU,
    "RealNPU-modified": nn.RealNPU.modified,
}
every_module = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@every_module
def test_output_has_the_inputs_leading_shape(make):
    for models, shapes in {
        None: [(7, 3), (3,), (0, 3)],
        4: [(4, 2, 5, 3), (4, 3)],
        1: [(1, 6, 3)],
        2: [(2, 0, 3)],
    }.items():
        layer = make(3, 2, models=models)
        for shape in shapes:
            assert layer(torch.rand(shape) + 0.5).shape == (*shape[:-1], 2)


@every_module
def test_each_of_several_models_is_the_module_alone(make):
    together, x = make(3, 2, models=4), torch.rand(4, 5, 3) + 0.5
    for mode in (True, False):
        together.train(mode)
        y, penalties = together(x), together.regularizer()
        assert penalties.shape == (4,)
        for e in range(4):
            alone = make(3, 2).train(mode)
            alone.load_state_dict({name: value[e] for name, value in together.state_dict().items()})
            assert torch.equal(alone(x[e]), y[e])
            assert alone.regularizer().shape == ()
            torch.testing.assert_close(alone.regularizer(), penalties[e])


@every_module
def test_parameters_are_drawn_again_by_reset_parameters(make):
    layer = make(5, 3)
    torch.manual_seed(3)
    constructed = make(5, 3).state_dict()
    torch.manual_seed(3)
    layer.reset_parameters()
    assert all(torch.equal(value, constructed[name]) for name, value in layer.state_dict().items())
    layer.reset_parameters()
    assert not all(torch.equal(value, constructed[name]) for name, value in layer.state_dict().items())


@every_module
def test_copies_and_files_keep_everything(make):
    layer, x = make(3, 2, models=2), torch.rand(2, 5, 3) + 0.5
    layer.eval()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), layer(x))
        assert repr(twin) == repr(layer)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = make(3, 2, models=2).eval()
    other.load_state_dict(torch.load(file))
    assert torch.equal(other(x), layer(x))


@every_module
def test_meta_device_gives_shapes_without_memory(make):
    layer = make(3, 2, device="meta")
    y = layer(torch.empty(7, 3, device="meta"))
    assert (y.device.type, y.shape) == ("meta", (7, 2))
    real = layer.to_empty(device="cpu")
    real.reset_parameters()
    assert real(torch.rand(7, 3)).isfinite().all()


@every_module
def test_dtype_option_and_conversion(make):
    x = torch.rand(7, 3, dtype=torch.float64)
    assert make(3, 2, dtype=torch.float64)(x).dtype == torch.float64
    assert make(3, 2).double()(x).dtype == torch.float64
    with pytest.raises(TypeError, match=r"torch\.float16; needs torch\.float32 or torch\.float64"):
        make(3, 2).half()(x.half())
    with pytest.raises(TypeError, match=r"needs torch\.float64 on cpu like x"):
        make(3, 2)(x)


@every_module
def test_compiles_to_one_graph(make):
    torch._dynamo.reset()
    layer, x = make(3, 2), torch.rand(7, 3) + 0.5
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), layer(x))
    (compiled(x).sum() + layer.regularizer()).backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_the_default_compiler_takes_a_layer_with_its_regularizer():
    layer, x = nn.NMU(3, 2), torch.rand(7, 3) + 0.5

    def loss():
        return layer(x).square().sum() + layer.regularizer()

    eager = torch.autograd.grad(loss(), layer.weight)[0]
    compiled = torch.autograd.grad(torch.compile(loss, fullgraph=True)(), layer.weight)[0]
    torch.testing.assert_close(compiled, eager)


@every_module
def test_functional_call_maps_over_stacked_modules(make):
    layers = [make(3, 2) for _ in range(3)]
    parameters, buffers = torch.func.stack_module_state(layers)
    x = torch.rand(5, 3) + 0.5

    def call(one):
        return torch.func.functional_call(layers[0], (one, buffers), (x,))

    torch.testing.assert_close(torch.vmap(call)(parameters), torch.stack([layer(x) for layer in layers]))


@every_module
def test_wrong_inputs_are_named(make):
    with pytest.raises(ValueError, match=r"x has shape \(7, 4\); needs \(\*, 3\)"):
        make(3, 2)(torch.rand(7, 4))
    with pytest.raises(ValueError, match=r"x has shape \(2, 5, 3\); needs \(4, \*, 3\)"):
        make(3, 2, models=4)(torch.rand(2, 5, 3))
    with pytest.raises(ValueError, match=r"x has shape \(3,\); needs \(3, \*, 3\)"):
        make(3, 2, models=3)(torch.rand(3))
    with pytest.raises(ValueError, match=r"x has shape \(\); needs \(\*, 3\)"):
        make(3, 2)(torch.tensor(1.0))


@every_module
def test_impossible_sizes_are_named(make):
    for sizes, models, message in [
        ((0, 2), None, "in_features is 0; needs a positive integer"),
        ((3, -1), None, "out_features is -1; needs a positive integer"),
        ((3.0, 1), None, "in_features is 3.0; needs a positive integer"),
        ((3, 1), 0, "models is 0; needs a positive integer or None"),
        ((3, 1), True, "models is True; needs a positive integer or None"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(*sizes, models=models)


@every_module
def test_options_are_checked_by_name(make):
    options = set(vars(make(3, 2))) & {
        "epsilon",
        "penalty",
        "weight_penalty",
        "gate_penalty",
        "imaginary_penalty",
    }
    for name in options:
        with pytest.raises(ValueError, match=rf"{name} is -1; needs a finite number of at least 0"):
            make(3, 2, **{name: -1})


@pytest.mark.parametrize("make", [nn.NAU, nn.NMU, nn.NRU, nn.NMRU, nn.NACNMU], ids=lambda make: make.__name__)
def test_regularizer_is_ramp_times_penalty_times_the_discretisation(make):
    layer = make(3, 2, penalty=4.0)
    mean = reference.discretisation(layer.weight[None], layer.penalty_kind)[0]
    torch.testing.assert_close(layer.regularizer(), 4 * mean)
    torch.testing.assert_close(layer.regularizer(ramp=0.25), mean)
    assert layer.regularizer(ramp=0.0) == 0


@pytest.mark.parametrize(
    ("make", "low", "high"),
    [(nn.NAU, -1, 1), (nn.NRU, -1, 1), (nn.NMU, 0, 1), (nn.NMRU, 0, 1), (nn.NACNMU, 0, 1)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_clamp_brings_the_weights_into_their_range(make, low, high):
    layer = make(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-3, 3, layer.weight.numel()).reshape(layer.weight.shape))
    expected = layer.weight.detach().clamp(low, high)
    layer.clamp_()
    assert torch.equal(layer.weight, expected)
    assert layer.weight.requires_grad


@pytest.mark.parametrize(
    ("make", "low", "high"),
    [
        (nn.NAU, -0.5, 0.5),
        (nn.NRU, -0.5, 0.5),
        (nn.NMU, 0.25, 0.75),
        (nn.NMRU, 0.25, 0.75),
        (nn.NACNMU, 0.25, 0.75),
        (nn.RealNPU, -((6 / 11) ** 0.5), (6 / 11) ** 0.5),
        (nn.RealNPU.modified, -0.5, 0.5),
    ],
)
def test_initial_weights_fill_the_papers_range(make, low, high):
    weight = make(10, 1, models=1000).weight.detach()
    assert low <= weight.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < weight.max() <= high
    # the mean of n uniform numbers has a standard deviation of (high - low) / sqrt(12 n)
    assert abs(weight.mean() - (low + high) / 2) < 5 * (high - low) / (12 * weight.numel()) ** 0.5


def test_the_second_draw_gives_the_weights_of_the_papers_scripts():
    """The scripts seed torch, construct the module and initialise it again; shapes of one output agree."""
    torch.manual_seed(7)
    layer = nn.NMRU(2, 1)
    layer.reset_parameters()
    torch.manual_seed(7)
    expected = [torch.empty(1, 4).uniform_(0.25, 0.75) for _ in range(2)][1]
    assert torch.equal(layer.weight, expected)


def test_training_an_nmu_learns_a_product():
    torch.manual_seed(1)
    layer = nn.NMU(3, 1, models=2)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    for _ in range(600):
        x = torch.rand(2, 64, 3) + 1
        loss = (layer(x)[..., 0] - x[..., 0] * x[..., 2]).square().mean() + layer.regularizer(0.01).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        layer.clamp_()
    torch.testing.assert_close(
        layer.weight.detach(), torch.tensor([1.0, 0.0, 1.0]).expand(2, 1, 3), rtol=0, atol=0.01
    )
