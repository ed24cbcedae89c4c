"""A model, and a direction, of a sequence has the bits that it has alone: shapes drawn at random."""

import dataclasses
import random

import pytest
import sequence_kernel_cases as cases
import torch
from sequence_kernel_cases import Case

from mathkernels import nn, ops

every_kind = pytest.mark.parametrize("kind", cases.GATES)
FEATURES = [{}, {"symbols": True}, {"lengths": True}, {"bfloat16": True}, {"lengths": True, "symbols": True}]


def with_models(case: Case, models: slice, directions: slice = slice(None)) -> Case:
    """The call with some of its models, and of those some directions, alone."""
    E, D, *others = case.shape
    shared = ("x", "lengths")  # by the directions
    inputs = {
        name: value[models].clone() if name in shared else value[models, directions].clone()
        for name, value in case.inputs.items()
    }
    shape = (len(range(E)[models]), len(range(D)[directions]), *others)
    return dataclasses.replace(case, shape=shape, inputs=inputs)


def run(case: Case, arriving: dict | None = None) -> tuple[dict, dict, dict]:
    """What the case gives, what arrives at it, and its gradients."""
    out = cases.forward(case)
    arriving = cases.arriving_at(out) if arriving is None else arriving
    return out, arriving, cases.backward(case, out, arriving)


def assert_models_are_alone(case: Case, threads: tuple[int, ...] = (1, 2)) -> None:
    out, arriving, grads = run(case)
    models = case.shape[0]
    cuts = [slice(e, e + 1) for e in range(models)] + ([slice(1, models)] if models > 2 else [])
    for cut in cuts:
        for number in threads:
            alone = dataclasses.replace(with_models(case, cut), threads=number)
            got, _, got_grads = run(alone, {name: value[cut].clone() for name, value in arriving.items()})
            for name in ("y", "hn", "cn", "cells"):
                assert name not in out or torch.equal(got[name], out[name][cut]), name
            for name, value in got_grads.items():
                assert torch.equal(value, grads[name][cut]), f"gradient of {name}"


def drawn(rng: random.Random, kind: str, rows: tuple[int, int], hidden: tuple[int, int]) -> Case:
    shape = (
        rng.randint(2, 5),
        rng.randint(1, 2),
        rng.randint(3, 6),
        rng.randint(*rows),
        rng.choice([1, 3, 18]),
        rng.randint(*hidden),
    )
    features = rng.choice(FEATURES)
    double = not features.get("bfloat16") and rng.random() < 0.3
    return Case(
        kind, shape, torch.float64 if double else torch.float32, threads=rng.randint(1, 3), **features
    )


@every_kind
@pytest.mark.parametrize("rows", [(1, 8), (9, 16), (17, 32), (33, 200), (500, 700)], ids=str)
def test_a_model_alone_equals_itself_among_others(kind, rows):
    rng = random.Random(f"{kind} {rows}")
    for _ in range(10 if rows[1] <= 32 else 2):
        assert_models_are_alone(drawn(rng, kind, rows, (1, 40)))


@every_kind
@pytest.mark.parametrize("features", FEATURES, ids=lambda f: "+".join(f) or "plain")
def test_a_model_of_more_than_a_megabyte_alone_equals_itself_among_others(kind, features):
    """Its panels share their weights while these are in the cache."""
    rng = random.Random(f"{kind} {features}")
    hidden = {"lstm": 262, "gru": 300}[kind]
    for directions, rows in ((1, rng.randint(97, 128)), (2, rng.randint(40, 96)), (1, rng.randint(129, 200))):
        shape = (2, directions, 3, rows, rng.choice([1, 5]), hidden)
        assert_models_are_alone(Case(kind, shape, torch.float32, **features), (rng.randint(1, 3),))
    if not features.get("bfloat16"):
        assert_models_are_alone(Case(kind, (2, 1, 3, 70, 3, 220), torch.float64, **features), (2,))


@every_kind
def test_a_direction_alone_equals_itself_beside_the_other(kind):
    """All but the gradient of x, which sums over both; the second alone takes steps that are turned round."""
    rng = random.Random(kind)
    shapes = [(2, 2, 4, rng.randint(*rows), 3, rng.randint(2, 30)) for rows in [(1, 8), (17, 32), (33, 90)]]
    for shape in [*shapes, (1, 2, 3, rng.randint(97, 128), 2, 300)]:
        case = Case(kind, shape, torch.float32)
        out, arriving, grads = run(case)
        H = shape[-1]
        for direction in (0, 1):
            cut, units = slice(direction, direction + 1), slice(direction * H, (direction + 1) * H)
            along = (lambda value: value) if direction == 0 else (lambda value: value.flip(1))
            alone = with_models(case, slice(None), cut)
            alone.inputs["x"] = along(alone.inputs["x"])
            coming = {
                name: along(value[..., units]).contiguous()
                if name in ("y", "cells")
                else value[:, cut].clone()
                for name, value in arriving.items()
            }
            got, _, got_grads = run(alone, coming)
            assert torch.equal(along(got["y"]), out["y"][..., units])
            assert torch.equal(got["hn"], out["hn"][:, cut])
            for name, value in got_grads.items():
                assert name == "x" or torch.equal(value, grads[name][:, cut]), f"gradient of {name}"


@every_kind
@pytest.mark.parametrize("rows", [20, 32, 40])
def test_modules_of_several_models_equal_single_ones(kind, rows):
    module = {"lstm": nn.LSTM, "gru": nn.GRU}[kind]
    together, x = module(3, 20, models=2), torch.randn(5, rows, 3)
    (together(x.expand(2, -1, -1, -1))[0].square().sum()).backward()
    for model in range(2):
        alone = module(3, 20)
        with torch.no_grad():
            for name, value in alone.named_parameters():
                value.copy_(together.get_parameter(name)[model])
        alone(x)[0].square().sum().backward()
        for name, value in alone.named_parameters():
            assert torch.equal(value.grad, together.get_parameter(name).grad[model]), name


@every_kind
@pytest.mark.parametrize("rows", [5, 20, 40])
def test_gates_that_one_model_saved_serve_a_backward_mapped_over_many(kind, rows):
    """The Jacobian: one forward, and a backward of as many models as there are outputs."""
    E, T, H = 1, 3, 2  # two steps would have loops of their own
    gates = cases.GATES[kind] * H
    weights = [torch.randn(E, 1, gates, size, dtype=torch.float64) for size in (3, H)]
    x = torch.randn(E, T, rows, 3, dtype=torch.float64)

    def last(x):
        return getattr(ops, kind)(x, *weights)[0][0, -1, :, 0]

    def one_by_one(x):
        x = x.clone().requires_grad_()
        return torch.stack([torch.autograd.grad(value, x, retain_graph=True)[0] for value in last(x)])

    torch.testing.assert_close(torch.func.jacrev(last)(x), one_by_one(x), rtol=0, atol=0)
