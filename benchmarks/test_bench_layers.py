"""Fused layers beside the same formula in stock torch, eager and compiled; "size 1" is a call's overhead."""

import pytest
import torch
from layers import IMPLEMENTATIONS, LAYERS, SIZES, assert_equal_answers, seconds


@pytest.mark.parametrize("which", IMPLEMENTATIONS)
@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("name", list(LAYERS))
def test_forward_and_backward(benchmark, short, name, size, which):
    if short and which == "stock, compiled":
        pytest.skip("inductor compiles too long for the short mode")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert_equal_answers(name, which, size)
        repeats = 5 if short else 100
        seconds(name, which, size, 3)
        benchmark.group = f"{name}, {size}"
        benchmark.extra_info["passes"] = repeats
        benchmark.pedantic(seconds, args=(name, which, size, repeats), rounds=2 if short else 7)
    finally:
        torch.set_num_threads(before)
