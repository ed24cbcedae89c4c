"""Raw ops survive whatever their schema lets in: a value, or an error; never a crash."""

import subprocess
import sys

import numpy as np
import pytest
import raw_ops
import torch
from composition_cases import OPS

from mathkernels import nn

NAMES = sorted(
    name.partition("::")[2]
    for name in torch._C._dispatch_get_all_op_names()
    if name.startswith("mathkernels::")
)


def test_valid_calls_cover_every_registered_op():
    assert {op._schema.name.partition("::")[2] for op, _ in raw_ops.valid_calls()} == set(NAMES)


def test_arguments_that_no_module_passes():
    done = subprocess.run([sys.executable, raw_ops.__file__], capture_output=True, text=True)
    assert done.returncode == 0, f"died after: {done.stderr.splitlines()[-1]}"
    *found, last = done.stdout.splitlines()
    assert not found, "\n".join(found)
    assert int(last.split()[0]) > 50 * len(NAMES)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_buffer_of_token_ids_may_be_filled_anew_before_backward(kind):
    buffer = np.arange(12).reshape(4, 3) % 5
    x = torch.from_numpy(buffer)
    module = getattr(nn, kind)(5, 6)
    module(x.clone())[0].sin().sum().backward()
    right = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    y = module(x)[0]
    buffer[:] = 10**8
    y.sin().sum().backward()
    for ours, parameter in zip(right, module.parameters(), strict=True):
        assert torch.equal(ours, parameter.grad)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_buffer_of_lengths_may_be_filled_anew_before_backward(kind):
    buffer = np.array([4, 1, 2])
    x, lengths = torch.randn(4, 3, 5), torch.from_numpy(buffer)
    module = getattr(nn, kind)(5, 6)
    module(x, lengths=lengths.clone())[0].sin().sum().backward()
    right = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    y = module(x, lengths=lengths)[0]
    buffer[:] = [1, 4, 10**9]
    y.sin().sum().backward()
    for ours, parameter in zip(right, module.parameters(), strict=True):
        assert torch.equal(ours, parameter.grad)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_backward_checks_what_indexes_memory(kind):
    calls = [
        call for call in raw_ops.valid_calls() if call[0]._schema.name == f"mathkernels::{kind}_backward"
    ]
    seen = 0
    for op, arguments in calls:
        for at, value in enumerate(arguments):
            if isinstance(value, torch.Tensor) and value.dtype == torch.int64:
                name = op._schema.arguments[at].name
                for bad in (-1, 10**8):
                    wrong = (*arguments[:at], torch.full_like(value, bad), *arguments[at + 1 :])
                    with pytest.raises(ValueError, match=rf"{kind}_backward: {name} holds {bad}"):
                        op(*wrong)
                    seen += 1
    assert seen >= 8


def test_no_gradient_of_token_ids_can_be_asked_for():
    for op, arguments in raw_ops.valid_calls():
        if op._schema.name == "mathkernels::lstm_backward" and not arguments[4].is_floating_point():
            with pytest.raises(ValueError, match="want_x is True, but x holds token ids"):
                op(*arguments[:15], True, *arguments[16:])


def test_a_gru_has_no_cells():
    x, w, u, h = (
        torch.randn(1, 2, 3, 4),
        torch.randn(1, 1, 15, 4),
        torch.randn(1, 1, 15, 5),
        torch.randn(1, 1, 3, 5),
    )
    with pytest.raises(ValueError, match="gru: c0 is given; a GRU has no cells"):
        torch.ops.mathkernels.gru(x, w, u, None, None, h, h, None, False, False, False)


@pytest.mark.parametrize("case", OPS, ids=lambda case: case.id)
def test_a_storage_that_was_freed_is_refused(case):
    leaves = case.leaves()
    for leaf in leaves:
        size = leaf.untyped_storage().nbytes()
        leaf.untyped_storage().resize_(0)
        with pytest.raises(ValueError, match="storage"):
            case.function(*leaves)
        leaf.untyped_storage().resize_(size)
        leaf.fill_(0.5)


def test_a_storage_that_was_freed_is_named():
    seen = 0
    for op, arguments in raw_ops.valid_calls():
        for at, value in enumerate(arguments):
            if isinstance(value, torch.Tensor) and value.numel():
                freed = value.clone()
                freed.untyped_storage().resize_(0)
                name = op._schema.arguments[at].name
                with pytest.raises(ValueError, match=rf": {name} is .* its storage has been freed"):
                    op(*arguments[:at], freed, *arguments[at + 1 :])
                seen += 1
    assert seen > 2 * len(NAMES)
