"""JAX: lax.scan over steps, vmap over models, one jit for forward and one for value and gradients.

Inputs are multiplied for the whole sequence before the scan.
"""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sequence_cases import Arrays, SequenceCase


def lstm_cell(state: Any, projected: Any, weight: Any, bias: Any) -> Any:
    h, c = state
    i, f, g, o = jnp.split(projected + (h @ weight.T + bias), 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def gru_cell(state: Any, projected: Any, weight: Any, bias: Any) -> Any:
    h, c = state
    x_r, x_z, x_n = jnp.split(projected, 3, axis=-1)
    h_r, h_z, h_n = jnp.split(h @ weight.T + bias, 3, axis=-1)
    z = jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + jax.nn.sigmoid(x_r + h_r) * h_n)
    h = n + z * (h - n)
    return (h, c), h


class JaxScan:
    models = 1

    def __init__(self, case: SequenceCase) -> None:
        self.case = case
        self.cell = {"lstm": lstm_cell, "gru": gru_cell}[case.kind]
        weights = {name: jnp.asarray(values) for name, values in case.weights.items()}
        self.x, self.dy = jnp.asarray(case.dense), jnp.asarray(case.dy)
        # constant inputs are data: only what backward differentiates is an argument of the function
        self.given = {**weights, "x": self.x} if case.input_gradient else weights
        self.outputs = jax.jit(self._outputs)
        self.value_and_gradients = jax.jit(self._value_and_gradients)

    def _model(self, x: Any, weights: dict[str, Any]) -> Any:
        """x (T,B,I), weights with a leading D; returns (T,B,DH)."""
        zeros = jnp.zeros((self.case.batch, self.case.hidden), jnp.float32)
        found = []
        for direction in range(self.case.directions):
            own = {name: values[direction] for name, values in weights.items()}
            projected = x @ own["weight_ih"].T + own["bias_ih"]
            _, states = jax.lax.scan(
                lambda state, row, own=own: self.cell(state, row, own["weight_hh"], own["bias_hh"]),
                (zeros, zeros),
                projected,
                reverse=direction == 1,
            )
            found.append(states)
        return jnp.concatenate(found, axis=-1)

    def _outputs(self, given: dict[str, Any], x: Any) -> Any:
        x = given.get("x", x)
        weights = {name: given[name] for name in self.case.weights}
        if self.case.models == 1:  # vmap would make batched products of single ones
            return self._model(x[0], {name: values[0] for name, values in weights.items()})[None]
        return jax.vmap(self._model)(x, weights)

    def _value_and_gradients(self, given: dict[str, Any], x: Any, dy: Any) -> Any:
        y, pull = jax.vjp(lambda given: self._outputs(given, x), given)
        return y, pull(dy)[0]

    def prove(self, count: int) -> Arrays:
        """Return "forward" and "y" (E,T,B,DH): the outputs of both passes; and the gradients by name."""
        y, gradients = self.value_and_gradients(self.given, self.x, self.dy)
        found = {"forward": self.outputs(self.given, self.x), "y": y, **gradients}
        return {name: np.asarray(value) for name, value in found.items()}

    def forward(self, count: int) -> float:
        """Return the seconds of ``count`` passes without gradients."""
        return _seconds(self.outputs, (self.given, self.x), count)

    def training(self, count: int) -> float:
        """Return the seconds of ``count`` passes forward and backward."""
        return _seconds(self.value_and_gradients, (self.given, self.x, self.dy), count)


def _seconds(function: Any, given: tuple[Any, ...], count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        jax.block_until_ready(function(*given))
    return time.perf_counter() - begin
