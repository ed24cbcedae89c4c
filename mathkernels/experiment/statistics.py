"""Point estimates with 95 % intervals, as the NALM papers summarise 25 seeds.

Success rates get Wilson's score interval, iteration counts a gamma and sparsity errors a beta likelihood with
the profile interval of their mean (Madsen & Johansen 2020, appendix). Where a likelihood has no maximum (one
value, or all alike) Student's t takes over.

Both likelihoods are exponential families, in which the mean is a direction in the plane of the natural
parameters. So the likelihood of the nuisance parameter is concave for every mean, the profile has one peak,
and bracketing finds both ends of the interval without a start value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mathkernels.experiment.optional import load

SPARSITY_LIMIT = 0.5  # of min(|w|, |1 - |w||) for weights in [-1, 1]


@dataclass(frozen=True)
class Estimate:
    """A value and its interval; NaN where there is none."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


def _sample(values: ArrayLike, low: float = -math.inf) -> np.ndarray:
    sample = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(sample).all():
        raise ValueError("values: got NaN or infinity, needs finite numbers; leave failed runs out")
    if sample.size and sample.min() < low:
        raise ValueError(f"values: got {sample.min()}, needs numbers of at least {low:g}")
    return sample


def _level(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: got {confidence!r}, needs a number between 0 and 1")
    return confidence


def wilson(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """Success rate k/n with Wilson's score interval (Wilson 1927); all NaN for n = 0."""
    if not 0 <= successes <= n:
        raise ValueError(f"successes: got {successes!r} of n={n!r}, needs 0 <= successes <= n")
    if n == 0:
        return Estimate()
    z = NormalDist().inv_cdf(0.5 + _level(confidence) / 2)
    rate = successes / n
    center = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # at k = 0 and k = n one end is exactly the rate; rounding must not move it across
    return Estimate(rate, max(min(center - half, rate), 0.0), min(max(center + half, rate), 1.0))


def student_mean(
    values: ArrayLike, low: float = -math.inf, high: float = math.inf, confidence: float = 0.95
) -> Estimate:
    """Sample mean with Student's t interval clipped to [low, high]; one value has no interval."""
    sample = _sample(values)
    if sample.size == 0:
        return Estimate()
    mean = float(sample.mean())
    if sample.size == 1:
        return Estimate(mean)
    quantile = float(load("scipy.stats").t.ppf(0.5 + _level(confidence) / 2, sample.size - 1))
    half = quantile * float(sample.std(ddof=1)) / math.sqrt(sample.size)
    return Estimate(mean, max(mean - half, low), min(mean + half, high))


def gamma_mean(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Mean of non-negative values under a gamma likelihood, with its profile interval.

    The maximum-likelihood mean of a gamma distribution is the sample mean. Falls back to Student's t, limited
    to non-negative values, where the likelihood has no maximum: n <= 1, deviation <= 1e-5, or a zero.
    """
    sample = _sample(values, low=0.0)
    if sample.size <= 1 or sample.std(ddof=1) <= 1e-5 or sample.min() == 0:
        return student_mean(sample, 0.0, math.inf, confidence)
    special = load("scipy.special")
    mean, mean_log = float(sample.mean()), float(np.log(sample).mean())

    def profile(log_mu: float) -> float:
        excess = (
            mean * math.exp(-log_mu) + log_mu - mean_log - 1
        )  # = log(alpha) - digamma(alpha) at the best alpha
        alpha = math.exp(_root(lambda a: a - float(special.digamma(math.exp(a))) - excess, -60.0, 60.0))
        log_alpha = math.log(alpha)
        return sample.size * float(
            alpha * (log_alpha - log_mu)
            - special.gammaln(alpha)
            + (alpha - 1) * mean_log
            - alpha * mean * math.exp(-log_mu)
        )

    peak = math.log(mean)
    low, high = _interval(profile, peak, peak - 30.0, peak + 30.0, confidence)
    return Estimate(mean, math.exp(low), math.exp(high))


def beta_mean(values: ArrayLike, *, published: bool = False, confidence: float = 0.95) -> Estimate:
    """Mean of sparsity errors in [0, 0.5] under a beta likelihood of their doubles, with profile interval.

    Args:
        values: clipped to [1e-16, 0.5 - 1e-16], as 0 and 0.5 have no finite likelihood and weights that
            nothing limits (behind a closed gate, say) can have errors above 0.5.
        published: evaluate the likelihood at the values themselves instead of at their doubles, as the papers
            did; their "means" are then half the true ones wherever the beta likelihood is used.

    Falls back to Student's t, limited to [0, 0.5], for n <= 1 or a standard deviation <= 1e-10.
    """
    sample = np.clip(_sample(values, low=0.0), 1e-16, SPARSITY_LIMIT - 1e-16)
    if sample.size <= 1 or sample.std(ddof=1) <= 1e-10:
        return student_mean(sample, 0.0, SPARSITY_LIMIT, confidence)
    special = load("scipy.special")
    shares = sample * (1 if published else 2)
    log_share, log_rest = float(np.log(shares).mean()), float(np.log1p(-shares).mean())

    def likelihood(logit: float, log_v: float) -> float:
        a = math.exp(log_v) * float(special.expit(logit))
        b = math.exp(log_v) * float(special.expit(-logit))
        return sample.size * float((a - 1) * log_share + (b - 1) * log_rest - special.betaln(a, b))

    def profile(logit: float) -> float:
        m, rest = float(special.expit(logit)), float(special.expit(-logit))

        def slope(log_v: float) -> float:  # falls with v, because the likelihood is concave along a direction
            v = math.exp(log_v)
            per_share = special.digamma(v) - special.digamma(m * v) + log_share
            return float(m * per_share + rest * (special.digamma(v) - special.digamma(rest * v) + log_rest))

        return likelihood(logit, _root(slope, math.log(1e-5), 42.0))

    found = load("scipy.optimize").minimize_scalar(
        lambda logit: -profile(logit), bounds=(-40.0, 40.0), method="bounded", options={"xatol": 1e-10}
    )
    low, high = _interval(profile, float(found.x), -40.0, 40.0, confidence)
    mean, low, high = (float(special.expit(logit)) / 2 for logit in (float(found.x), low, high))
    return Estimate(mean, low, high)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Root of a falling function between two bounds, or the bound on whose side it would lie."""
    if function(low) <= 0:
        return low
    if function(high) >= 0:
        return high
    brentq: Any = load("scipy.optimize").brentq
    return float(brentq(function, low, high, xtol=1e-12))


def _interval(
    profile: Callable[[float], float], peak: float, low: float, high: float, confidence: float
) -> tuple[float, float]:
    """Both points where the log-likelihood is half a chi-square quantile below its peak (Wilks 1938)."""
    drop = NormalDist().inv_cdf(0.5 + _level(confidence) / 2) ** 2 / 2
    top = profile(peak)
    left = -_root(lambda mirrored: profile(-mirrored) - top + drop, -peak, -low)
    return left, _root(lambda at: profile(at) - top + drop, peak, high)
