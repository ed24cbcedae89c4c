"""The compiled sequences below their ops: raw calls against a plain loop, on every instruction set."""

import dataclasses
import itertools

import pytest
import sequence_kernel_cases as cases
import torch
from sequence_kernel_cases import Case

from mathkernels import _C, backends

every_kind = pytest.mark.parametrize("kind", cases.GATES)

# E, D, T, B, I, H: up to eight rows, whose lanes are units; tiles of 16 units, full and not; weights laid out
# once and on the way; several rounds of products with x and of weight gradients
FEW_ROWS = [(1, 1, 2, 1, 70, 16), (2, 2, 9, 7, 5, 35), (1, 2, 40, 4, 2, 18), (1, 1, 1, 8, 3, 66)]
MANY_ROWS = 130  # more than those whose lanes are units in calls of one or two steps
# E, D, T, B, I, H: panels of 16 and 32 rows, full and not; tiles with and without padding; several blocks
SHAPES = [
    (1, 1, 1, 1, 1, 1),
    (2, 1, 3, 5, 2, 3),
    (1, 1, 5, 32, 2, 7),
    (1, 2, 4, 33, 3, 20),
    (3, 2, 2, 16, 1, 13),
    (1, 1, 9, 70, 5, 18),
    (1, 2, 3, 130, 4, 9),
    *FEW_ROWS,
]
EMPTY = [(0, 1, 2, 3, 2, 2), (1, 1, 0, 3, 2, 2), (1, 2, 2, 0, 2, 2), (1, 1, 2, 3, 0, 2), (1, 1, 2, 3, 2, 0)]
FEATURES = [
    {},
    {"biases": False, "states": False},
    {"symbols": True},
    {"lengths": True},
    {"lengths": True, "symbols": True, "states": False},
]


def assert_close(ours, theirs, tolerance=1e-12):
    # float64: sums of at most some hundred numbers in another order, carried through 40 steps
    for name, value in theirs.items():
        if name in ours:
            error = (ours[name] - value).abs().max().item() if value.numel() else 0.0
            size = value.abs().max().item() if value.numel() else 0.0
            assert error <= tolerance * (1 + size), f"{name}: error {error:.3g} where values reach {size:.3g}"


def assert_same_bits(ours, theirs):
    """Gates apart: where no row takes a step, they stay as they were."""
    for name, value in theirs.items():
        assert name == "gates" or torch.equal(ours[name], value), (
            f"{name} differs by up to {(ours[name] - value).abs().max()}"
        )


@every_kind
@pytest.mark.parametrize("shape", [*SHAPES, *EMPTY], ids=str)
@pytest.mark.parametrize("features", FEATURES, ids=lambda f: "+".join(f) or "plain")
def test_float64_equals_a_plain_loop(kind, shape, features):
    if features.get("symbols") and shape[4] == 0:
        pytest.skip("there is no symbol")
    case = Case(kind, shape, **features)
    meaning = cases.meaning(case, case.inputs)
    arriving = cases.arriving_at(meaning)
    gradients = cases.gradients(case, case.inputs, arriving)
    for name in backends.available():
        backends.force(name)
        out = cases.forward(case)
        assert_close(out, meaning)
        assert_close(cases.backward(case, out, arriving), gradients)


@every_kind
@pytest.mark.parametrize(
    "shape", [(1, 1, 40, 33, 3, 20), (2, 2, 12, 32, 2, 50), (1, 1, 150, 2, 4, 40)], ids=str
)
@pytest.mark.parametrize("features", FEATURES, ids=lambda f: "+".join(f) or "plain")
def test_float32_errs_at_most_twice_as_much_as_a_plain_loop(kind, shape, features):
    case = Case(kind, shape, torch.float32, **features)
    plain = cases.meaning(case, case.inputs)
    arriving = cases.arriving_at(plain)
    plain |= cases.gradients(case, case.inputs, arriving)
    double = dataclasses.replace(case, inputs=cases.as_type(case.inputs, torch.float64))
    true = cases.meaning(double, double.inputs)
    true |= cases.gradients(double, double.inputs, cases.as_type(arriving, torch.float64))
    for isa in backends.available():
        backends.force(isa)
        out = cases.forward(case)
        ours = {**out, **cases.backward(case, out, arriving)}
        for name, value in true.items():
            error = (ours[name].double() - value).abs().max().item()
            theirs = (plain[name].double() - value).abs().max().item()
            # of 36 to 60 draws of each of these cases the worst was 6.1 units beyond twice torch's error
            limit = 2 * theirs + 8 * torch.finfo(torch.float32).eps * value.abs().max().item()
            assert error <= limit, f"{name}, {isa}: error {error:.3g}, needs {limit:.3g}"


@every_kind
@pytest.mark.parametrize(
    "shape",
    [
        (2, 2, 5, 70, 3, 13),
        (1, 1, 7, 33, 2, 20),
        (1, 1, 3, 128, 4, 530),
        (1, 1, 150, 1, 3, 150),  # from here on threads share the steps of a sequence
        (1, 2, 20, 7, 50, 70),
        (1, 1, 1, 2, 9, 140),
    ],
    ids=str,
)
@pytest.mark.parametrize("lengths", [False, True])
def test_the_number_of_threads_changes_no_bit(kind, shape, lengths):
    one = Case(kind, shape, torch.float32, lengths=lengths, threads=1)
    three = dataclasses.replace(one, threads=3)
    out = cases.forward(one)
    arriving = cases.arriving_at(out)
    assert_same_bits(cases.forward(three), out)
    assert_same_bits(cases.backward(three, out, arriving), cases.backward(one, out, arriving))


@every_kind
@pytest.mark.skipif(not {"v3", "v4"} <= set(backends.available()), reason="needs both")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("features", FEATURES, ids=lambda f: "+".join(f) or "plain")
def test_instruction_sets_with_fma_agree_bit_for_bit(kind, dtype, features):
    for shape in [(1, 2, 6, 47, 3, 21), (2, 1, 5, 130, 9, 20), *FEW_ROWS]:
        case = Case(kind, shape, dtype, **features)
        found = {}
        for name in ("v3", "v4"):
            backends.force(name)
            out = cases.forward(case)
            torch.manual_seed(1)
            found[name] = {**out, **cases.backward(case, out, cases.arriving_at(out))}
        assert_same_bits(found["v3"], found["v4"])


def part_of(case: Case, *, model: int | None = None, row: int = 0) -> Case:
    """The call with one of its models, or one of its rows, alone."""
    E, D, T, B, I, H = case.shape
    if model is not None:
        inputs = {name: value[model : model + 1].clone() for name, value in case.inputs.items()}
        return dataclasses.replace(case, shape=(1, D, T, B, I, H), inputs=inputs)
    rows = {"x": 2, "h0": 2, "c0": 2, "lengths": 1}
    inputs = {
        name: value.narrow(rows[name], row, 1).clone() if name in rows else value
        for name, value in case.inputs.items()
    }
    return dataclasses.replace(case, shape=(E, D, T, 1, I, H), inputs=inputs)


@every_kind
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_model_alone_equals_itself_in_the_ensemble(kind, lengths, bfloat16):
    for rows in (40, 5):
        check_models(Case(kind, (3, 2, 5, rows, 3, 12), torch.float32, lengths=lengths, bfloat16=bfloat16))


def check_models(case: Case) -> None:
    out = cases.forward(case)
    arriving = cases.arriving_at(out)
    grads = cases.backward(case, out, arriving)
    for model in range(3):
        alone = part_of(case, model=model)
        got = cases.forward(alone)
        coming = {name: value[model : model + 1].clone() for name, value in arriving.items()}
        assert_same_bits(got, {name: out[name][model : model + 1] for name in ("y", "hn")})
        assert_same_bits(
            cases.backward(alone, got, coming), {n: g[model : model + 1] for n, g in grads.items()}
        )


@every_kind
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("sizes", [(3, 20), (2, 19)], ids=str)
def test_a_row_alone_equals_itself_in_the_batch(kind, lengths, bfloat16, sizes):
    case = Case(kind, (1, 2, 6, 75, *sizes), torch.float32, lengths=lengths, bfloat16=bfloat16)
    out = cases.forward(case)
    arriving = cases.arriving_at(out)
    grads = cases.backward(case, out, arriving)
    for row in (0, 31, 32, 63, 64, 74):
        alone = part_of(case, row=row)
        got = cases.forward(alone)
        coming = {name: value.narrow(2, row, 1).clone() for name, value in arriving.items()}
        states = ("y", "hn", "cn", "cells")
        assert_same_bits(got, {name: out[name].narrow(2, row, 1) for name in states if name in out})
        rows = {name: grads[name].narrow(2, row, 1) for name in ("x", "h0", "c0") if name in grads}
        got_grads = cases.backward(alone, got, coming)
        assert_same_bits(got_grads, rows)


@every_kind
def test_a_nan_stays_in_its_model_and_its_row(kind):
    case = Case(kind, (2, 2, 4, 35, 3, 8), torch.float32)
    case.inputs["x"][1, 2, 5, 0] = torch.nan
    out = cases.forward(case)
    grads = cases.backward(case, out, cases.arriving_at(out))
    assert torch.isnan(out["y"][1, 2, 5]).any()
    others = [row for row in range(35) if row != 5]
    for name in ("y", "hn"):
        assert torch.isfinite(out[name][0]).all()
        assert torch.isfinite(out[name][1][:, others]).all()
    assert torch.isfinite(grads["x"][1][:, others]).all()
    for grad in grads.values():
        assert torch.isfinite(grad[0]).all()


@every_kind
def test_nothing_is_read_beyond_a_rows_length(kind):
    case = Case(kind, (1, 2, 6, 20, 3, 8), torch.float32, lengths=True)
    out = cases.forward(case)
    arriving = cases.arriving_at(out)
    padding = torch.arange(6)[None, :, None] >= case.inputs["lengths"][:, None]
    assert padding.any()
    assert not padding.all()
    spoilt = dataclasses.replace(case, inputs=dict(case.inputs))
    spoilt.inputs["x"] = case.inputs["x"].masked_fill(padding[..., None], torch.nan)
    again = cases.forward(spoilt)
    assert_same_bits(again, out)
    for name in ("y", "cells"):
        if name in arriving:
            arriving[name] = arriving[name].masked_fill(padding[..., None], 5.0)
    first = cases.backward(case, out, arriving)
    for name in ("y", "cells"):
        if name in arriving:
            arriving[name] = arriving[name].masked_fill(padding[..., None], torch.nan)
    assert_same_bits(cases.backward(spoilt, again, arriving), first)
    assert (first["x"][padding] == 0).all()
    assert (out["y"][padding] == 0).all()


@every_kind
def test_what_is_absent_counts_as_zeros_and_what_is_not_wanted_is_left_out(kind):
    case = Case(kind, (2, 2, 5, 20, 3, 8), torch.float32)
    out = cases.forward(case)
    arriving = cases.arriving_at(out)
    grads = cases.backward(case, out, arriving)
    assert_same_bits(cases.forward(case, save=False), {name: out[name] for name in ("y", "hn")})
    for wanted in itertools.chain([("x",), ("h0",), ("weight_hh", "weight_ih", "bias_ih", "bias_hh")], [()]):
        some = cases.backward(case, out, arriving, wanted)
        assert set(some) == set(wanted)
        assert_same_bits(some, {name: grads[name] for name in wanted})
    for name in arriving:
        zero = {**arriving, name: torch.zeros_like(arriving[name])}
        without = {key: value for key, value in arriving.items() if key != name}
        assert_same_bits(cases.backward(case, out, without), cases.backward(case, out, zero))
    states = dataclasses.replace(case, inputs=dict(case.inputs))
    absent = dataclasses.replace(case, inputs=dict(case.inputs))
    for name in ("h0", "c0"):
        if name in states.inputs:
            states.inputs[name] = torch.zeros_like(states.inputs[name])
            del absent.inputs[name]
    zeros, nothing = cases.forward(states), cases.forward(absent)
    assert_same_bits(nothing, zeros)
    expected = cases.backward(states, zeros, arriving)
    assert_same_bits({**expected, **cases.backward(absent, nothing, arriving)}, expected)


@every_kind
@pytest.mark.parametrize("symbols", [1, 7, 16, 33, 64, 95, 97, 128, 129, 300])
def test_symbols_equal_one_hot_rows(kind, symbols, isa):
    """The weights of up to 128 symbols may be looked up in registers, 16 or 32 in each."""
    case = Case(kind, (2, 2, 5, 37, symbols, 12), torch.float32, symbols=True)
    rows = torch.nn.functional.one_hot(case.inputs["x"], symbols).float()
    dense = dataclasses.replace(case, symbols=False, inputs={**case.inputs, "x": rows})
    assert_same_bits(cases.forward(case), cases.forward(dense))


def test_sequences_agree_with_torch_nn():
    for kind, module in (("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)):
        case = Case(kind, (1, 1, 9, 33, 4, 37), torch.float32)
        out = cases.forward(case)
        arriving = cases.arriving_at(out)
        layer = module(4, 37)
        x = case.inputs["x"][0].clone().requires_grad_()
        with torch.no_grad():
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(layer, f"{name}_l0").copy_(case.inputs[name][0, 0])
        states = tuple(case.inputs[n][0] for n in ("h0", "c0") if n in case.inputs)
        y, _ = layer(x, states if kind == "lstm" else states[0])
        torch.testing.assert_close(out["y"][0], y)
        (y * arriving["y"][0]).sum().backward()
        grads = cases.backward(case, out, {"y": arriving["y"]})
        # float32, of torch as well; accuracy is tested above, this is about the meaning
        torch.testing.assert_close(grads["x"][0], x.grad, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(grads["weight_hh"][0, 0], layer.weight_hh_l0.grad, rtol=1e-4, atol=1e-4)


def test_the_module_lists_its_kinds():
    assert _C.sequence_kinds == {"lstm": 0, "gru": 1}


def test_the_gate_functions_err_as_their_header_says(isa):
    """With weights of 1 and zero states, a step of an LSTM keeps sigmoid and tanh of x (cells/gates.h)."""
    near, far = torch.logspace(-6, 0, 2048), torch.linspace(1, 41, 2048)
    x = torch.cat([near, -near, far, -far])
    ones = {
        "x": x.view(1, 1, -1, 1),
        "weight_ih": torch.ones(1, 1, 4, 1),
        "weight_hh": torch.ones(1, 1, 4, 1),
    }
    case = Case("lstm", (1, 1, 1, len(x), 1, 1), torch.float32, biases=False, states=False, inputs=ones)
    kept = cases.forward(case)["gates"].view(-1, 4, 32).transpose(0, 1).reshape(4, -1)
    for index, exact in enumerate([x.double().sigmoid()] * 2 + [x.double().tanh(), x.double().sigmoid()]):
        ulp = torch.finfo(torch.float32).eps * 2.0 ** exact.abs().log2().floor()
        error = (kept[index].double() - exact).abs() / ulp
        limit = 7 + (x < 0) * x.abs() * (index != 2)
        assert (error <= limit).all(), (
            f"gate {index}: {(error - limit).max().item():.2f} ULP beyond what is stated"
        )


@every_kind
@pytest.mark.parametrize("features", FEATURES, ids=lambda f: "+".join(f) or "plain")
def test_bfloat16_rounds_what_enters_products_and_nothing_else(kind, features, isa):
    case = Case(kind, (2, 2, 5, 37, 6, 20), torch.float32, bfloat16=True, **features)
    out = cases.forward(case)
    # a state between two bfloat16 numbers may be rounded the other way: half a unit of 2^-8 in one product
    assert_close(out, cases.meaning(case, case.inputs), 2.0**-9)
    arriving = cases.arriving_at(out)
    # gradients of sums are rounded as well: up to 2^-9 of each, several times on the way through the steps
    assert_close(cases.backward(case, out, arriving), cases.gradients(case, case.inputs, arriving), 2.0**-7)
    plain = cases.forward(dataclasses.replace(case, bfloat16=False))
    assert not torch.equal(plain["y"], out["y"])


@every_kind
@pytest.mark.parametrize("rows", [MANY_ROWS, 3])
@pytest.mark.parametrize("inputs", [6, 7])
def test_bfloat16_adds_the_second_of_two_products_first(kind, rows, inputs, isa):
    """One step of bfloat16 numbers: the bits of float32 products with neighbours swapped.

    An odd last number meets a zero. The state of a GRU is more than a factor of products, so it is 0 there.
    """
    shape = (1, 2, 1, rows, inputs, 20)
    case = Case(kind, shape, torch.float32, bfloat16=True, states=kind == "lstm")
    exact = {name: case.inputs[name].to(torch.bfloat16).float() for name in ("x", "weight_ih", "weight_hh")}
    exact |= {name: case.inputs[name].to(torch.bfloat16).float() for name in ("h0",) if name in case.inputs}
    case.inputs |= exact
    even = inputs + inputs % 2
    exact |= {name: torch.nn.functional.pad(exact[name], (0, even - inputs)) for name in ("x", "weight_ih")}
    swapped = {name: value.unflatten(-1, (-1, 2)).flip(-1).flatten(-2) for name, value in exact.items()}
    plain = Case(kind, (*shape[:4], even, 20), torch.float32, inputs={**case.inputs, **swapped})
    assert_same_bits(cases.forward(case), cases.forward(plain))
    assert not torch.equal(
        cases.forward(case)["y"], cases.forward(dataclasses.replace(case, bfloat16=False))["y"]
    )


@pytest.mark.parametrize("rows", [MANY_ROWS, 3])
def test_bfloat16_takes_what_is_below_the_smallest_normal_number_as_zero(rows, isa):
    """In products and there alone: 2^-70 times 2^-70 is 0, and half of 2^-130 is not."""
    tiny = 2.0**-70
    case = Case("lstm", (1, 1, 1, rows, 2, 1), torch.float32, biases=False, states=False, bfloat16=True)
    case.inputs |= {"x": torch.full((1, 1, rows, 2), tiny), "weight_ih": torch.full((1, 1, 4, 2), tiny)}
    rounded, plain = (cases.forward(each)["y"] for each in (case, dataclasses.replace(case, bfloat16=False)))
    assert (rounded == 0).all()
    assert (plain > 0).all()
    kept = dataclasses.replace(case, inputs={**case.inputs, "h0": torch.zeros(1, 1, rows, 1)})
    kept.inputs["c0"] = torch.full((1, 1, rows, 1), 2.0**-130)
    assert (cases.forward(kept)["cn"] == 2.0**-131).all()


@pytest.fixture
def words():
    """Turns products of words on or off, or skips where the processor lacks the instruction."""

    def turn(on: bool) -> None:
        if not _C.bfloat16_pairs_set(_C.pairs["always" if on else "never"]):
            pytest.skip("this processor has no vdpbf16ps")
        assert _C.bfloat16_pairs() == on

    yield turn
    assert _C.bfloat16_pairs_set(_C.pairs["where_faster"])


@every_kind
@pytest.mark.parametrize("features", FEATURES, ids=lambda f: "+".join(f) or "plain")
def test_two_bfloat16_numbers_in_a_word_give_the_bits_of_two_floats(kind, features, isa, words):
    """With 512 bits the words go through vdpbf16ps, elsewhere through plain operations."""
    for shape in [*SHAPES, (1, 2, 3, 34, 7, 15), (1, 1, 1, 150, 1, 530), *EMPTY]:
        if features.get("symbols") and shape[4] == 0:
            continue
        for size in (1.0, 2.0**-120):  # of the gradients that arrive: those of the sums are as small
            case = Case(kind, shape, torch.float32, bfloat16=True, **features)
            found = []
            for on in (False, True):
                words(on)
                out = cases.forward(case)
                torch.manual_seed(1)
                arriving = {name: size * value for name, value in cases.arriving_at(out).items()}
                found.append({**out, **cases.backward(case, out, arriving)})
            assert_same_bits(*found)
