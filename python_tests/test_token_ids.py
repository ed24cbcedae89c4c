"""Whole numbers as x: ids where they can be nothing else, and never features read as ids in silence."""

import pytest
import torch
from torch import nn as torch_nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mathkernels import nn

every_sequence = pytest.mark.parametrize("kind", ["LSTM", "GRU"])
every_recurrent = pytest.mark.parametrize("kind", ["LSTM", "GRU", "LSTMCell", "GRUCell"])
REFUSED = (
    r"x, whole numbers of shape \(\.\.\., 3\) that are all 0 or 1, may be token ids \(.*\) or features \(.*\)"
)
REFUSED += r"; needs token_ids=True in the constructor for token ids, or x.float\(\) for features"


def flat(results):
    """All tensors of a call's results."""
    if isinstance(results, torch.Tensor):
        return [results]
    return [tensor for result in results for tensor in flat(result)]


def equal(found, expected):
    return all(map(torch.equal, flat(found), flat(expected)))


def steps(kind):
    return () if kind.endswith("Cell") else (6,)


@every_recurrent
@pytest.mark.parametrize("models", [None, 2])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_zeros_and_ones_that_may_be_features_are_refused(kind, models, dtype):
    module = getattr(nn, kind)(3, 5, models=models)
    lead = () if models is None else (models,)
    rows = torch_nn.functional.one_hot(torch.randint(0, 3, (*lead, *steps(kind))), 3).to(dtype)
    for x in (rows, torch.zeros_like(rows), torch.ones_like(rows)):
        with pytest.raises(ValueError, match=f"^{kind}: {REFUSED}$"):
            module(x)
    asked = getattr(nn, kind)(3, 5, models=models, token_ids=True)
    asked.load_state_dict(module.state_dict())
    assert "token_ids=True" in repr(asked)
    as_ids = torch_nn.functional.one_hot(rows.long(), 3).float()
    torch.testing.assert_close(flat(asked(rows)), flat(module(as_ids)))
    assert equal(module(rows.float()), asked(rows.float()))


@every_recurrent
@pytest.mark.parametrize("batch_first", [False, True])
def test_ids_are_taken_where_something_tells_them(kind, batch_first):
    """A value above 1, another size of the batch, initial states or lengths of a batch."""
    cell = kind.endswith("Cell")
    module = getattr(nn, kind)(3, 5, **({} if cell else {"batch_first": batch_first}))
    asked = getattr(nn, kind)(3, 5, token_ids=True, **({} if cell else {"batch_first": batch_first}))
    asked.load_state_dict(module.state_dict())
    x = torch.randint(0, 2, (*steps(kind), 3))
    batch = 6 if batch_first and not cell else 3
    h = torch.zeros(*(() if cell else (1,)), batch, 5)
    hx = (h, h) if kind.startswith("LSTM") else h
    assert equal(module(x, hx), asked(x))
    if not cell:
        assert equal(module(x, lengths=[3] * batch), asked(x, lengths=[3] * batch))
        with pytest.raises(ValueError, match=rf"^{kind}: lengths has shape \(\); needs \({batch},\)"):
            module(x, lengths=3)
    other = x.clone()
    other[..., 0] = 2
    assert equal(module(other), asked(other))
    wider = torch.randint(0, 2, (*steps(kind), 4))
    assert equal(module(wider), asked(wider))
    assert equal(module(x[..., 0]), asked(x[..., 0]))
    assert equal(module(x[:0]), asked(x[:0]))


@every_sequence
def test_random_ids_equal_one_hot_rows(kind):
    """Whatever the sizes are, they are read as ids or refused by name."""
    generator, refused = torch.Generator().manual_seed(5), 0
    for _ in range(60):
        T, B, I = (int(torch.randint(1, 5, (), generator=generator)) for _ in range(3))
        module = getattr(nn, kind)(I, 3)
        x = torch.randint(0, I, (T, B), generator=generator)
        expected = flat(module(torch_nn.functional.one_hot(x, I).float()))
        if B == I and x.max() <= 1:
            refused += 1
            with pytest.raises(ValueError, match="token_ids=True"):
                module(x)
            module.token_ids = True
        torch.testing.assert_close(flat(module(x)), expected)
    assert 0 < refused < 30


@every_recurrent
def test_whole_numbers_with_a_feature_axis_are_refused_with_the_remedy(kind):
    module = getattr(nn, kind)(3, 5)
    x = torch.randint(0, 3, (*steps(kind), 4, 3))
    with pytest.raises(
        ValueError, match=rf"^{kind}: x, token ids below 3, has shape .*; features need \.float\(\)$"
    ):
        module(x)
    if not kind.endswith("Cell"):
        with pytest.raises(ValueError, match=rf"x holds {300 % 256}; needs token ids from 0 to 2"):
            module(torch.full((6, 3), 300 % 256, dtype=torch.uint8))


@every_sequence
def test_graphs_assert_it_when_they_run(kind):
    torch._dynamo.reset()
    module, safe = getattr(nn, kind)(3, 5), torch.tensor([[0, 1, 2], [0, 0, 1]])
    unsafe = safe.clamp(max=1)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    T, B = torch.export.Dim("T", min=2), torch.export.Dim("B", min=2)
    shapes = {"x": {0: T, 1: B}}
    wide = torch.randint(0, 3, (5, 4))
    exported = torch.export.export(module, (wide,), dynamic_shapes=shapes).module()
    for function in (compiled, exported):
        assert equal(function(safe), module(safe))
        assert equal(function(wide), module(wide))
        with pytest.raises(RuntimeError, match=f"{kind}: {REFUSED}"):
            function(unsafe)
    module.token_ids = True
    assert equal(compiled(unsafe), module(unsafe))


@every_sequence
def test_transforms_that_hide_values_refuse_the_shape(kind):
    module, asked = getattr(nn, kind)(3, 5), getattr(nn, kind)(3, 5, token_ids=True)
    asked.load_state_dict(module.state_dict())
    x = torch.randint(0, 3, (2, 6, 3))
    with pytest.raises(ValueError, match=f"{kind}: {REFUSED}"):
        torch.vmap(module)(x)
    assert equal(torch.vmap(asked)(x)[0], torch.stack([asked(one)[0] for one in x]))
    assert torch.vmap(module)(x[..., :2])[0].shape == (2, 6, 2, 5)
    with FakeTensorMode():  # there are no values that could be wrong
        assert getattr(nn, kind)(3, 5)(torch.ones(6, 3, dtype=torch.int64))[0].shape == (6, 3, 5)
