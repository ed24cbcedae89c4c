"""Units along sequences: the fused op beside the same cell as a loop of stock torch, eager and compiled."""

import pytest
import torch
from recurrent import CHOSEN, IMPLEMENTATIONS, SIZES, assert_equal_answers, measured, seconds


@pytest.mark.parametrize("which", IMPLEMENTATIONS)
@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("unit", CHOSEN)
def test_forward_and_backward_of_a_sequence(benchmark, short, unit, size, which):
    if not measured(which, size, short):
        pytest.skip("compiling would take too long")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert_equal_answers(unit, which, size)
        repeats = 2 if short else 20
        seconds(unit, which, size, 2)
        benchmark.group = f"{unit}, {size}"
        benchmark.extra_info["passes"] = repeats
        benchmark.pedantic(seconds, args=(unit, which, size, repeats), rounds=2 if short else 7)
    finally:
        torch.set_num_threads(before)
