"""(c) JAX: the step of one model, vmap over models, lax.scan over iterations, one jit for everything."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import BATCH, SEEDS, Case

State = (
    Any  # (parameters, first moments, second moments), each a tuple of (E,I), and the number of steps done
)


def nmu(x: Any, parameters: Any, module: Any) -> Any:
    (weight,) = parameters
    factors = weight[:, None] * (x - 1) + 1
    return jnp.prod(factors, axis=0)


def real_npu(x: Any, parameters: Any, module: Any) -> Any:
    weight, gate = parameters
    relevance, weight = jnp.clip(gate, 0, 1)[:, None], weight[:, None]
    power = (jnp.log(relevance * (jnp.abs(x) + (module.epsilon - 1)) + 1) * weight).sum(0)
    angle = (jnp.where(x < 0, math.pi, 0.0) * (relevance * weight)).sum(0)
    return jnp.exp(power) * jnp.cos(angle)


class JaxScan:
    """Random bits by ``generator``: "threefry2x32" (JAX's default) or "unsafe_rbg" (XLA's own, faster)."""

    def __init__(self, case: Case, generator: str, common: bool) -> None:
        self.case, self.common, self.models = case, common, case.models
        self.low, self.width = case.low.reshape(-1, 1, 1, 1), case.width.reshape(-1, 1, 1, 1)
        self.key = jax.random.key(0, impl=generator)
        self.steps = partial(jax.jit, static_argnums=2)(self._steps)
        self.fed = jax.jit(
            lambda state, xs: jax.lax.scan(lambda s, x: (self._step(s, x), None), state, xs)[0]
        )

    def _loss(self, parameters: Any, x: Any) -> Any:
        """parameters (I) each, x (I,B) of one model."""
        module: Any = self.case.module
        a, b = x[0], x[1]
        weight = parameters[0]
        if self.case.operation == "mul":
            error = nmu(x, parameters, module) - a * b
            extra = module.penalty * jnp.minimum(jnp.abs(weight), jnp.abs(1 - weight)).mean()
        else:
            gate = parameters[1]
            error = real_npu(x, parameters, module) - a / b
            extra = jnp.abs(1 - jnp.abs(weight)).mean() + jnp.minimum(jnp.abs(gate), jnp.abs(1 - gate)).mean()
            extra = extra + module.norm.start * (jnp.abs(weight).sum() + jnp.abs(gate).sum())
        return (error * error).mean() + extra

    def _step(self, state: State, x: Any) -> State:
        parameters, first, second, done = state
        done = done + 1
        gradients = jax.vmap(jax.grad(self._loss))(parameters, x)
        first = jax.tree.map(lambda m, g: m + 0.1 * (g - m), first, gradients)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
        rate, root = self.case.lr / (1 - 0.9**done), jnp.sqrt(1 - 0.999**done)
        moved = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + 1e-8), parameters, first, second
        )
        lowest = 0 if self.case.operation == "mul" else -1
        clamped = (jnp.clip(moved[0], lowest, 1), *(jnp.clip(gate, 0, 1) for gate in moved[1:]))
        return clamped, first, second, done

    def _steps(self, state: State, key: Any, iterations: int) -> tuple[State, Any]:
        def body(carry: Any, _: None) -> Any:
            state, key = carry
            key, used = jax.random.split(key)
            shape = (1 if self.common else len(self.low), SEEDS, self.case.inputs, BATCH)
            x = jax.random.uniform(used, shape) * self.width + self.low
            return (self._step(state, x.reshape(self.models, -1, BATCH)), key), None

        (state, key), _ = jax.lax.scan(body, (state, key), None, length=iterations)
        return state, key

    def _start(self) -> State:
        parameters = tuple(jnp.asarray(v) for v in self.case.start.values())
        zeros = tuple(jnp.zeros_like(p) for p in parameters)
        return parameters, zeros, zeros, jnp.zeros((), jnp.float32)

    def prove(self, iterations: int) -> np.ndarray:
        drawn = [
            self.case.inputs_at(t).reshape(self.models, BATCH, -1).swapaxes(1, 2) for t in range(iterations)
        ]
        parameters = self.fed(self._start(), jnp.asarray(np.stack(drawn)))[0]
        return np.concatenate([np.asarray(p) for p in parameters], axis=1)

    def time(self, iterations: int) -> float:
        """Compiles on the first call with a number of iterations, outside the clock."""
        compiled = self.steps.lower(self._start(), self.key, iterations).compile()
        begin = time.perf_counter()
        jax.block_until_ready(compiled(self._start(), self.key))
        return time.perf_counter() - begin
