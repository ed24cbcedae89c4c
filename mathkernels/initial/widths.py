"""Widths of the uniform distributions that initial weights are drawn from, for layers and ensembles alike."""

import math


def glorot_bound(inputs: int, outputs: int) -> float:
    """Half-width of the uniform distribution with variance 2 / (I + O) (Glorot & Bengio 2010)."""
    return math.sqrt(6 / (inputs + outputs))


def glorot_deviation(inputs: int, outputs: int) -> float:
    """Standard deviation of the normal distribution with that variance."""
    return math.sqrt(2 / (inputs + outputs))


def he_bound(inputs: int) -> float:
    """Half-width of the uniform distribution with variance 2 / I, before a ReLU (He et al. 2015)."""
    return math.sqrt(6 / inputs)


def constrained_bound(inputs: int, outputs: int) -> float:
    """Half-width for weights in [-1, 1]: that of Glorot, at most 0.5 (Madsen & Johansen 2020)."""
    return min(0.5, glorot_bound(inputs, outputs))


def accumulator_bound(inputs: int, outputs: int) -> float:
    """Half-width r of U(-r, r) for weight_hat and m_hat, after Madsen & Johansen 2020.

    It gives tanh(weight_hat) sigmoid(m_hat) the variance of Glorot & Bengio 2010, 2 / (I + O), if I + O is at
    least 5.
    """

    def variance(r: float) -> float:
        return (1 - math.tanh(r) / r) * (r - math.tanh(r / 2)) / (2 * r)

    wanted = 2 / max(inputs + outputs, 5)
    low, high = 0.0, 10.0
    for _ in range(60):  # halves 10 down to the spacing of double
        middle = (low + high) / 2
        low, high = (middle, high) if variance(middle) < wanted else (low, middle)
    return (low + high) / 2
