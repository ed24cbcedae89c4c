"""The attention kernels against the reference, on sizes drawn at random."""

from __future__ import annotations

import dataclasses
import random

import pytest
import torch
from attention_cases import Case, drawn
from torch import Tensor

from mathkernels import backends, ops, reference
from mathkernels.ops._attention_of_rows import attention_of_rows
from mathkernels.testing import assert_no_worse_than, poisoned_memory


def gradients(function, leaves: list[Tensor], seed: int = 0) -> list[Tensor]:
    """Results, and the gradients of all leaves under fixed random gradients of the results."""
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    found = function(*leaves)
    generator = torch.Generator().manual_seed(seed)
    arriving = [
        torch.rand(f.shape, dtype=torch.float64, generator=generator).to(f.dtype) - 0.5 for f in found
    ]
    made = torch.autograd.grad(found, leaves, arriving, allow_unused=True)
    return [
        *(f.detach() for f in found),
        *(torch.zeros_like(leaf) if g is None else g for g, leaf in zip(made, leaves, strict=True)),
    ]


@pytest.mark.parametrize("seed", range(60))
def test_results_and_gradients_are_those_of_the_reference(seed):
    case = drawn(seed)
    with poisoned_memory():
        found = gradients(case.function, case.leaves())
    wanted = gradients(case.meaning, case.leaves())
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def changed(case: Case, **inputs: Tensor) -> Case:
    return dataclasses.replace(case, inputs={**case.inputs, **inputs})


def assert_same_bits(found: list[Tensor], wanted: list[Tensor]) -> None:
    assert len(found) == len(wanted)
    for k, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        assert torch.equal(ours.nan_to_num(nan=7.5), theirs.nan_to_num(nan=7.5)), f"result {k}"


@pytest.mark.parametrize("seed", range(100, 106))
def test_every_instruction_set_is_right(isa, seed):
    case = drawn(seed)
    found, wanted = (gradients(f, case.leaves()) for f in (case.function, case.meaning))
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("seed", range(200, 212))
def test_sets_with_fused_multiply_adds_have_the_same_bits(seed):
    case = drawn(seed, torch.float32)
    found = []
    for name in backends.available():
        backends.force(name)
        if backends.fused():
            found.append(gradients(case.function, case.leaves()))
    for other in found[1:]:
        assert_same_bits(other, found[0])


@pytest.mark.parametrize("seed", range(300, 320))
def test_float32_errs_at_most_as_the_accuracy_rule_says(seed):
    case = drawn(seed, torch.float32)

    def one(function):
        return lambda *leaves: torch.cat([r.flatten() for r in function(*leaves)[:3]])

    def meaning(*leaves):
        return one(dataclasses.replace(case, dtype=leaves[0].dtype).meaning)(*leaves)

    # As in test_sequence_accuracy.py, gates that err by some ULP hand that on from step to step.
    assert_no_worse_than(one(case.function), meaning, case.leaves(), floor_ulp=4 + 2 * case.sizes[1])


@pytest.mark.parametrize("seed", range(400, 410))
def test_bits_do_not_depend_on_the_number_of_threads(seed):
    case = drawn(seed, torch.float32)
    I, H, _, *heads = case.sizes[3:]
    case = dataclasses.replace(case, sizes=(2, 5, 70, I, H, 29, *heads), inputs={})  # worth several threads
    found = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found.append(gradients(case.function, case.leaves()))
    assert_same_bits(found[1], found[0])
    assert_same_bits(found[2], found[0])


OF_ROWS = {
    "x": 2,
    "keys": 1,
    "values": 1,
    "h0": 1,
    "c0": 1,
    "feed0": 1,
    "mask": 1,
    "lengths": 1,
}  # their axes
OF_RESULTS = (2, 2, 2, 1, 1, 1, 2)


def axes(case: Case) -> list[int]:
    """The axis of rows in each of the results that are there."""
    there = (
        True,
        True,
        case.attentional,
        True,
        case.kind == "lstm",
        case.F > 0 and case.query == "after",
        True,
    )
    return [axis for axis, is_there in zip(OF_RESULTS, there, strict=True) if is_there]


@pytest.mark.parametrize("seed", range(500, 520))
def test_a_row_alone_has_the_bits_that_it_has_in_the_batch(seed):
    case = drawn(seed, torch.float32)
    E, T, B, *others = case.sizes
    row = random.Random(seed).randrange(B)
    alone = {
        name: tensor.narrow(OF_ROWS[name], row, 1) if name in OF_ROWS else tensor
        for name, tensor in case.inputs.items()
    }
    whole = case.function(*case.leaves())
    single = dataclasses.replace(case, sizes=(E, T, 1, *others), inputs=alone)
    assert_same_bits(
        single.function(*single.leaves()),
        [r.narrow(axis, row, 1) for r, axis in zip(whole, axes(case), strict=True)],
    )


@pytest.mark.parametrize("seed", range(600, 612))
def test_a_model_alone_has_the_bits_that_it_has_among_others(seed):
    case = drawn(seed, torch.float32)
    others = case.sizes[1:]
    case = dataclasses.replace(case, sizes=(3, *others), inputs={})
    given = {name: tensor[1:2] for name, tensor in case.inputs.items()}
    single = dataclasses.replace(case, sizes=(1, *others), inputs=given)
    generator = torch.Generator().manual_seed(1)
    arriving = [torch.rand(r.shape, generator=generator) - 0.5 for r in case.function(*case.leaves())]

    def run(of: Case, arrived: list[Tensor]) -> list[Tensor]:
        leaves = [leaf.requires_grad_() for leaf in of.leaves()]
        found = of.function(*leaves)
        return [
            *found,
            *torch.autograd.grad(found, leaves, arrived, materialize_grads=True, allow_unused=True),
        ]

    whole = run(case, arriving)
    assert_same_bits(run(single, [a[1:2] for a in arriving]), [r[1:2] for r in whole])


@pytest.mark.parametrize("seed", range(700, 720))
def test_what_stands_at_masked_places_never_arrives(seed):
    case = drawn(seed, torch.float32)
    mask = torch.rand(case.inputs["keys"].shape[:3]) < 0.5
    mask[:, 0] = False  # a row without any place
    clean = changed(case, mask=mask)
    keys, values = (
        torch.where(mask[..., None], case.inputs[name], torch.full((), bad))
        for name, bad in (("keys", torch.nan), ("values", torch.inf))
    )
    dirty = changed(clean, keys=keys, values=values)
    found, wanted = (gradients(of.function, of.leaves()) for of in (dirty, clean))
    assert_same_bits(found, wanted)
    assert all(torch.isfinite(value).all() for value in found)
    weights = found[len(axes(case)) - 1]
    assert (
        weights.movedim(2, 1)[:, :, :, :][~mask[:, :, None, None].expand_as(weights.movedim(2, 1))] == 0
    ).all()


@pytest.mark.parametrize("seed", range(800, 812))
def test_a_row_of_nan_stays_alone(seed):
    case = drawn(seed, torch.float32)
    if case.sizes[2] == 1 or case.ids:
        case = dataclasses.replace(case, sizes=(*case.sizes[:2], 20, *case.sizes[3:]), ids=False, inputs={})
    row, length = case.sizes[2] - 1, case.sizes[1]
    inputs = {"x": case.inputs["x"].clone()}
    inputs["x"][:, :, row] = torch.nan
    if case.lengths:
        inputs["lengths"] = case.inputs["lengths"].clone()
        inputs["lengths"][:, row] = length
    if case.mask:
        inputs["mask"] = case.inputs["mask"].clone()
        inputs["mask"][:, row] = True
    dirty = changed(case, **inputs)
    clean = changed(dirty, x=case.inputs["x"])
    for found, wanted, axis in zip(
        dirty.function(*dirty.leaves()), clean.function(*clean.leaves()), axes(case), strict=True
    ):
        others = [k for k in range(case.sizes[2]) if k != row]
        assert_same_bits(
            [found.index_select(axis, torch.tensor(others))],
            [wanted.index_select(axis, torch.tensor(others))],
        )
    y, context = dirty.function(*dirty.leaves())[:2]
    assert y[:, -1, row].isnan().all()
    if case.query == "after" or length > 1:
        assert context[:, -1, row].isnan().all()  # the query is one of NaN


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_call_of_many_steps_is_as_many_calls_of_one(kind):
    case = Case(kind, (2, 6, 20, 3, 8, 5, 2, 4, 3, 7), feed="attentional", dtype=torch.float32)
    given = dict(case.inputs)
    order = ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "keys", "values")
    op = getattr(ops, f"{kind}_attention")
    options = {"heads": 2, "feed": "attentional"}
    x, *fixed = [given.pop(name) for name in order]
    whole = op(x, *fixed, **given, **options)
    states = {name: given.pop(name, None) for name in ("h0", "c0", "feed0")}
    out = whole
    for t in range(6):
        present = {name: state for name, state in states.items() if state is not None}
        out = op(x[:, t : t + 1], *fixed, **given, **present, **options)
        states = {"h0": out.hn, "c0": out.cn, "feed0": out.feed}
        assert torch.equal(out.y, whole.y[:, t : t + 1])
        assert torch.equal(out.attentional, whole.attentional[:, t : t + 1])
    assert torch.equal(out.hn, whole.hn)


@pytest.mark.parametrize("seed", range(900, 930))
def test_attention_alone(seed):
    r = random.Random(seed)
    E, B, Q, S = r.randint(1, 3), r.choice([1, 5, 17, 40]), r.choice([1, 3, 33, 70]), r.choice([0, 1, 7, 20])
    N, P, R, additive = r.choice([1, 2, 3]), r.randint(1, 9), r.randint(1, 9), r.random() < 0.4
    shapes = [(E, B, Q, N * P), (E, B, S, N * P), (E, B, S, N * R), *([(E, N * P)] if additive else [])]
    leaves = [torch.rand(*shape, dtype=torch.float64) * 2 - 1 for shape in shapes]
    mask = torch.rand(E, B, S) < 0.6 if r.random() < 0.6 else None
    scale = 1.0 if additive else r.choice([1.0, P**-0.5])

    def ours(query, keys, values, weight_score=None):
        return ops.attention_step(
            query, keys, values, mask, weight_score, heads=N, scale=scale, return_weights=True
        )

    def theirs(query, keys, values, weight_score=None):
        return reference.attention_step(query, keys, values, mask, weight_score, N, scale)

    with poisoned_memory():
        found = gradients(ours, leaves)
    for mine, exact in zip(found, gradients(theirs, leaves), strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-9, atol=1e-11)
    alone = ops.attention_step(
        leaves[0], leaves[1], leaves[2], mask, leaves[3] if additive else None, heads=N, scale=scale
    )
    assert torch.equal(alone, found[0])


@pytest.mark.parametrize("seed", range(12))
def test_rows_read_the_sources_that_they_name(isa, seed):
    source = random.Random(seed)
    E, B, Q, S, N = (source.randint(1, most) for most in (2, 7, 4, 20, 3))
    P, R, taken = source.randint(1, 9), source.randint(1, 20), source.randint(0, 9)
    dtype = source.choice([torch.float32, torch.float64])
    query, keys = torch.randn(E, taken, Q, N * P, dtype=dtype), torch.randn(E, B, S, N * P, dtype=dtype)
    values = keys if source.random() < 0.3 else torch.randn(E, B, S, N * R, dtype=dtype)
    score = torch.randn(E, N * P, dtype=dtype) if source.random() < 0.5 else None
    mask = torch.rand(E, B, S) > 0.3 if source.random() < 0.7 else None
    rows = torch.randint(B, (E, taken))
    options = {"heads": N, "scale": 1.0 if score is not None else 0.5, "return_weights": True}

    def read(tensor):
        return None if tensor is None else torch.stack([t[r] for t, r in zip(tensor, rows, strict=True)])

    found = attention_of_rows(query, keys, values, mask, score, rows, **options)
    expected = ops.attention_step(query, read(keys), read(values), read(mask), score, **options)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)
    if taken:
        for wrong in (-1, B):
            with pytest.raises(ValueError, match=rf"rows are .*; needs 0 to {B - 1}, the rows of keys"):
                attention_of_rows(query, keys, values, mask, score, rows.clone().fill_(wrong), **options)
    with pytest.raises(TypeError, match=r"rows is torch\.int32; needs torch\.int64"):
        attention_of_rows(query, keys, values, mask, score, rows.int(), **options)
    given = query.requires_grad_(), keys, values, score, mask, rows, *options.values()
    with pytest.raises(NotImplementedError, match="attention_of_rows: there are no gradients"):
        torch.ops.mathkernels.attention_of_rows(*given)


def test_second_derivatives():
    for case in (
        Case("lstm", (1, 2, 2, 2, 4, 3, 2, 2, 2, 2), feed="attentional", lengths=True, mask=True),
        Case("gru", (1, 2, 2, 2, 3, 3, 1, 2, 2, 2), "before", projects=True, score="additive"),
    ):
        leaves = [leaf.requires_grad_() for leaf in case.leaves()]
        assert torch.autograd.gradcheck(case.function, leaves)
        assert torch.autograd.gradgradcheck(case.function, leaves, fast_mode=True)
