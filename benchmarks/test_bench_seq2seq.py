"""Epochs of the equation learner, one seed and five: ours beside stock torch and JAX."""

import pytest
from rivals.seq2seq_jax import JaxEpoch
from rivals.seq2seq_torch import StockTorch
from seq2seq import Ours, assert_equal_answers, seconds, start

PARTICIPANTS = [Ours, StockTorch, JaxEpoch]


@pytest.mark.parametrize("models", [1, 5])
@pytest.mark.parametrize("kind", PARTICIPANTS, ids=lambda kind: kind.name)
def test_an_epoch(benchmark, short, kind, models):
    given = start(models)
    participant = kind(given)
    assert_equal_answers(given, Ours(given), participant)
    minibatches = 4 if short else None
    seconds(participant, minibatches)
    benchmark.group = f"an epoch of {models} seeds"
    benchmark.pedantic(seconds, args=(participant, minibatches), rounds=1 if short else 5)
