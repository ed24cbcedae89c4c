"""Any module in JAX: the step of one model from a table of formulas, vmap, one loop, one jit.

Samples are the last axis: a formula takes x (I,B) and the tensors (columns) of one unit and returns (B).
"""

from __future__ import annotations

import functools
import math
import operator
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import BATCH
from module_cases import ModuleCase

State = Any  # parameters, first and second moments, each a tuple of (E,O,columns), and the steps done
CHUNK = 10  # iterations of a scan within the loop, a tenth faster than a loop alone
WIDE = 4  # from here on a matrix product is faster than a sum written out; up to here a written out product


def weighted(weight: Any, x: Any) -> Any:
    """sum_i weight_i x_i: weight (I), x (I,B) -> (B); a short sum is written out, so that XLA fuses it."""
    if len(weight) >= WIDE:
        return weight @ x
    return functools.reduce(operator.add, [w * v for w, v in zip(weight, x, strict=True)])


def product(values: Any, weight: Any) -> Any:
    """prod_i (weight_i values_i + 1 - weight_i): values (I,B), weight (I) -> (B)."""
    if len(weight) <= WIDE:
        return functools.reduce(operator.mul, [w * (v - 1) + 1 for w, v in zip(weight, values, strict=True)])
    return jnp.prod(weight[:, None] * (values - 1) + 1, axis=0)


def absolute(p: Any) -> Any:
    """|p| with torch's slope at 0, which is 0; JAX takes 1."""
    return p * jnp.sign(p)


@jax.custom_jvp
def tanh(a: Any) -> Any:
    """Rounded near 1 as others round it (XLA's is 1 from 8 on): Adam makes whole steps of any slope but 0."""
    e = jnp.exp(-2 * jnp.abs(a))
    return jnp.sign(a) * (1 - 2 * e / (1 + e))


@tanh.defjvp
def _(primals: Any, tangents: Any) -> Any:
    t = tanh(primals[0])
    return t, (1 - t * t) * tangents[0]


def accumulator(a: Any, b: Any, base: float = math.e) -> Any:
    return tanh(a * math.log(base)) * jax.nn.sigmoid(b * math.log(base))


def exp_log(weight: Any, x: Any, epsilon: float) -> Any:
    return jnp.exp(weighted(weight, jnp.log(jnp.abs(x) + epsilon)))


def nalu(unit: Any, x: Any, gate: Any, added: Any, multiplied: Any) -> Any:
    base = (1 + math.sqrt(5)) / 2 if unit.name == "GNALU" else math.e
    opened = jax.nn.sigmoid(weighted(gate, x) * math.log(base))
    return opened * added + (1 - opened) * multiplied


def nalu_shared(unit: Any, x: Any, a: Any, b: Any, gate: Any) -> Any:
    weight = accumulator(a, b, (1 + math.sqrt(5)) / 2 if unit.name == "GNALU" else math.e)
    return nalu(unit, x, gate, weighted(weight, x), exp_log(weight, x, unit.epsilon))


def nalu_separate(unit: Any, x: Any, a: Any, b: Any, c: Any, d: Any, gate: Any) -> Any:
    added = weighted(accumulator(a, b), x)
    return nalu(unit, x, gate, added, exp_log(accumulator(c, d), x, unit.epsilon))


def inalu(unit: Any, x: Any, a: Any, b: Any, c: Any, d: Any, gate: Any) -> Any:
    weight, opened = accumulator(c, d), jax.nn.sigmoid(gate)
    power = weighted(weight, jnp.log(jnp.maximum(jnp.abs(x), unit.epsilon)))
    signed = product(jnp.sign(x), jnp.abs(weight)) * jnp.exp(jnp.minimum(power, 20))
    return opened * weighted(accumulator(a, b), x) + (1 - opened) * signed


def real_npu(unit: Any, x: Any, weight: Any, gate: Any) -> Any:
    relevance = jnp.clip(gate, 0, 1)
    magnitude = jnp.log(relevance[:, None] * (jnp.abs(x) + (unit.epsilon - 1)) + 1)
    turns = weighted(relevance * weight, jnp.where(x < 0, math.pi, 0.0))
    return jnp.exp(weighted(weight, magnitude)) * jnp.cos(turns)


def npu(unit: Any, x: Any, weight: Any, imaginary: Any, gate: Any) -> Any:
    relevance = jnp.clip(gate, 0, 1)
    magnitude = jnp.log(relevance[:, None] * (jnp.abs(x) + (unit.epsilon - 1)) + 1)
    angle = jnp.where(x < 0, math.pi, 0.0)
    power = weighted(weight, magnitude) - weighted(relevance * imaginary, angle)
    return jnp.exp(power) * jnp.cos(weighted(relevance * weight, angle) + weighted(imaginary, magnitude))


def nru(unit: Any, x: Any, weight: Any) -> Any:
    power = jnp.exp(weight[:, None] * jnp.log(jnp.abs(x)))
    gate = jnp.tanh(1000 * weight) ** 2
    if not unit.separate_signs:
        return product(jnp.sign(x) * power, gate)
    negative = jnp.abs(jnp.round(weight)) % 2  # a constant in backward
    sign = jnp.prod(jnp.where((x < 0) & (negative[:, None] == 1), -1.0, 1.0), axis=0)
    return product(power, gate) * jax.lax.stop_gradient(sign)


def nmru(unit: Any, x: Any, weight: Any, gate: Any = None) -> Any:
    u = jnp.concatenate([x, 1 / (x + unit.epsilon)])
    u = u if gate is None else u * gate[:, None]
    if not unit.sign_retrieval:
        return product(u, weight)
    turns = weighted(weight, jnp.where(u < 0, math.pi, 0.0))
    return product(jnp.abs(u), weight) * jnp.cos(turns)


FORMULAS: dict[str, Callable[..., Any]] = {  # by the compiled cell
    "linear": lambda unit, x, weight, bias: weight @ x + bias,
    "relu": lambda unit, x, weight, bias: jax.nn.relu(weight @ x + bias),
    "relu6": lambda unit, x, weight, bias: jax.nn.relu6(weight @ x + bias),
    "nau": lambda unit, x, weight: weight @ x,  # the clamp after the step keeps it in [-1, 1]
    "nmu": lambda unit, x, weight: product(x, weight),
    "nac": lambda unit, x, a, b: accumulator(a, b) @ x,
    "nac_mul": lambda unit, x, a, b: exp_log(accumulator(a, b), x, unit.epsilon),
    "nac_sigma": lambda unit, x, a: exp_log(jax.nn.sigmoid(a), x, unit.epsilon),
    "nac_nmu": lambda unit, x, weight: exp_log(weight, x, unit.epsilon),
    "nalu": nalu_shared,
    "gnalu": nalu_shared,
    "nalu_separate": nalu_separate,
    "nalu_nau_nmu": lambda unit, x, w, m, gate: nalu(unit, x, gate, weighted(w, x), product(x, m)),
    "inalu": inalu,
    "real_npu": real_npu,
    "npu": npu,
    "nru": nru,
    "nru_separate": nru,
    "nmru": nmru,
    "nmru_unsigned": nmru,
    "nmru_gated": nmru,
}
PENALTIES: dict[str, Callable[[Any], Any]] = {
    "unit": lambda p: jnp.minimum(absolute(p), absolute(1 - p)),
    "ternary": lambda p: jnp.minimum(absolute(p), absolute(1 - absolute(p))),
    "signed-unit": lambda p: absolute(1 - absolute(p)),
    "absolute": absolute,
}
OPERATIONS: dict[str, Callable[..., Any]] = {"add": jnp.add, "mul": jnp.multiply, "div": jnp.divide}


class JaxModules:
    """All models of a case; random bits by JAX's default generator, shared by the ranges of a seed."""

    def __init__(self, case: ModuleCase) -> None:
        self.case, self.models = case, case.models
        self.low, self.width = case.low.reshape(-1, 1, 1, 1), case.width.reshape(-1, 1, 1, 1)
        self.tensors = [tensor for part in case.parts for tensor in part.layer.tensors]
        self.steps = jax.jit(self._steps)
        self.fed = jax.jit(
            lambda state, xs: jax.lax.scan(lambda s, x: (self._step(s, x), None), state, xs)[0]
        )

    def _loss(self, parameters: Any, x: Any) -> Any:
        """Of one model: parameters (O,columns) each, x (I,B)."""
        left, values = list(parameters), x
        for unit, layer, names in self.case.parts:
            own, left = left[: len(names)], left[len(names) :]
            formula = functools.partial(FORMULAS[layer.cell], unit, values)
            # one unit without vmap, which would keep XLA from fusing: three times as fast
            values = jax.vmap(formula)(*own) if layer.outputs > 1 else formula(*(p[0] for p in own))
        a, b = (x[first] if n == 1 else x[first : first + n].sum(0) for first, n in self.case.spans)
        error = values - OPERATIONS[self.case.operation](a, b)
        total = (error * error).mean()
        for p, tensor in zip(parameters, self.tensors, strict=True):
            if tensor.strength:
                each = PENALTIES[tensor.penalty](p)
                total = total + tensor.strength * (each.mean() if tensor.mean else each.sum())
            if self.case.norm is not None:
                total = total + self.case.norm.start * absolute(p).sum()
        return total

    def _gradients(self, parameters: Any, x: Any) -> Any:
        gradients = jax.grad(self._loss)(parameters, x)
        if self.case.clip_norm is None:
            return gradients
        norm = jnp.sqrt(sum((g * g).sum() for g in gradients))
        share = jnp.minimum(self.case.clip_norm / (norm + 1e-6), 1)
        return tuple(g * share for g in gradients)

    def _step(self, state: State, x: Any) -> State:
        parameters, first, second, done = state
        done = done + 1
        gradients = jax.vmap(self._gradients)(parameters, x)
        first = tuple(m + 0.1 * (g - m) for m, g in zip(first, gradients, strict=True))
        second = tuple(0.999 * v + 0.001 * g * g for v, g in zip(second, gradients, strict=True))
        rate = self.case.lr / -jnp.expm1(done * math.log(0.9))  # 1 - 0.999^t would lose half its digits
        root = jnp.sqrt(-jnp.expm1(done * math.log(0.999)))
        moved = []
        for p, m, v, tensor in zip(parameters, first, second, self.tensors, strict=True):
            new = p - rate * m / (jnp.sqrt(v) / root + 1e-8)
            moved.append(new if tensor.clamp is None else jnp.clip(new, *tensor.clamp))
        return tuple(moved), first, second, done

    def _steps(self, state: State, key: Any, chunks: Any) -> tuple[State, Any]:
        shape = (1, self.case.seeds, self.case.inputs, BATCH)

        def body(carry: Any, _: None) -> Any:
            state, key = carry
            key, used = jax.random.split(key)
            x = jax.random.uniform(used, shape) * self.width + self.low
            return (self._step(state, x.reshape(self.models, -1, BATCH)), key), None

        def chunk(_: Any, carry: Any) -> Any:
            return jax.lax.scan(body, carry, None, length=CHUNK)[0]

        return jax.lax.fori_loop(0, chunks, chunk, (state, key))

    def _start(self) -> State:
        parameters = tuple(jnp.asarray(values) for values in self.case.start.values())
        zeros = tuple(jnp.zeros_like(p) for p in parameters)
        return parameters, zeros, zeros, jnp.zeros((), jnp.float32)

    def prove(self, iterations: int) -> np.ndarray:
        drawn = np.stack([self.case.inputs_at(t).swapaxes(1, 2) for t in range(iterations)])
        parameters = self.fed(self._start(), jnp.asarray(drawn))[0]
        return np.concatenate([np.asarray(p).reshape(self.models, -1) for p in parameters], axis=1)

    def time(self, iterations: int) -> float:
        """The number of chunks is an argument of the compiled loop: the first call compiles for all."""
        start, key, chunks = self._start(), jax.random.key(0), -(-iterations // CHUNK)
        begin = time.perf_counter()
        jax.block_until_ready(self.steps(start, key, chunks))
        return (time.perf_counter() - begin) * iterations / (chunks * CHUNK)
