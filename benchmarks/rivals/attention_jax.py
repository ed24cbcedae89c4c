"""JAX: lax.scan over the steps of a decoder, one jit for forward and one for value and gradients."""

from __future__ import annotations

import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from attention_cases import Arrays, AttentionCase


class JaxDecoder:
    """Inputs are multiplied for all steps before the scan; [context, h] W is one product a step.

    Args:
        products: with keys and values: "einsum", or "sums", multiply and add.
        apart: keys and values are constants of the scan, and their gradients come from one product each over
            all steps: zeros, whose gradients are asked for, are added to scores and contexts.
        rows: of the batch in a block, which goes through all steps before the next; by default all of them.
        vectorised: all models in one call by vmap; else one call for each.
    """

    models = 1

    def __init__(
        self,
        case: AttentionCase,
        products: str,
        *,
        apart: bool = False,
        rows: int | None = None,
        vectorised: bool = False,
    ) -> None:
        self.case, self.products, self.apart, self.vectorised = case, products, apart, vectorised
        self.blocks = case.batch // math.gcd(rows or case.batch, case.batch)
        given = {name: jnp.asarray(values) for name, values in case.given.items()}
        dy = tuple(map(jnp.asarray, case.gradients))
        both, ahead = self._together if apart else self._plain, self._ahead
        if vectorised:
            both, ahead = jax.vmap(both), jax.vmap(ahead)
            self.given = [(given, dy)]
        else:
            each = range(case.models)
            self.given = [jax.tree.map(lambda v, m=m: v[m], (given, dy)) for m in each]
        self.value_and_gradients, self.outputs = jax.jit(both), jax.jit(ahead)

    def _attend(self, h: Any, keys: Any, values: Any, zero_scores: Any, zero_context: Any) -> tuple[Any, Any]:
        q = (h * self.case.scale).reshape(-1, self.case.heads, self.case.depth)
        if self.products == "einsum":
            alpha = jax.nn.softmax(jnp.einsum("bnsd,bnd->bns", keys, q) + zero_scores, axis=-1)
            context = jnp.einsum("bns,bnsd->bnd", alpha, values)
        else:
            alpha = jax.nn.softmax((keys * q[:, :, None]).sum(-1) + zero_scores, axis=-1)
            context = (alpha[..., None] * values).sum(2)
        return context.reshape(h.shape) + zero_context, alpha

    def _recurrence(
        self, recurrent: Any, rows: Any, keys: Any, values: Any, h: Any, c: Any, zeros: Any
    ) -> tuple[Any, Any, Any]:
        """rows (T,B,4H), the multiplied inputs -> states and contexts (T,B,H), weights (T,B,heads,S)."""

        def step(state: Any, given: Any) -> Any:
            h, c, context = state
            row, *zero = given
            i, f, g, o = jnp.split(row + jnp.concatenate((context, h), axis=1) @ recurrent, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            context, alpha = self._attend(h, keys, values, *zero)
            return (h, c, context), (h, context, alpha)

        return jax.lax.scan(step, (h, c, jnp.zeros_like(h)), (rows, *zeros))[1]

    def _decode(self, p: dict[str, Any], zeros: tuple[Any, Any]) -> tuple[Any, Any, Any]:
        case = self.case
        keys, values = (
            p[m].reshape(case.batch, case.source, case.heads, case.depth).swapaxes(1, 2)
            for m in ("keys", "values")
        )
        if self.apart:
            keys, values = jax.lax.stop_gradient((keys, values))
        rows = p["x"] @ p["weight_ih"][:, : case.inputs].T + (p["bias_ih"] + p["bias_hh"])
        recurrent = jnp.concatenate((p["weight_ih"][:, case.inputs :], p["weight_hh"]), axis=1).T
        if self.blocks == 1:
            return self._recurrence(recurrent, rows, keys, values, p["h0"], p["c0"], zeros)

        def cut(v: Any, axis: int) -> Any:
            """Make an axis of blocks, the first, out of the batch's axis."""
            apart = v.reshape(*v.shape[:axis], self.blocks, -1, *v.shape[axis + 1 :])
            return jnp.moveaxis(apart, axis, 0)

        given = cut(rows, 1), *(cut(v, 0) for v in (keys, values, p["h0"], p["c0"]))
        every = (*given, tuple(cut(zero, 1) for zero in zeros))
        found = jax.lax.map(lambda one: self._recurrence(recurrent, *one), every)
        return tuple(jnp.moveaxis(v, 0, 1).reshape(v.shape[1], -1, *v.shape[3:]) for v in found)

    def _no_zeros(self) -> tuple[Any, Any]:
        T, B = self.case.steps, self.case.batch
        return jnp.zeros((T, B, 1, 1)), jnp.zeros((T, B, 1))

    def _ahead(self, p: dict[str, Any]) -> tuple[Any, Any]:
        return self._decode(p, self._no_zeros())[:2]

    def _plain(self, p: dict[str, Any], dy: tuple[Any, Any]) -> Any:
        y, pull = jax.vjp(self._ahead, p)
        return y, pull(dy)[0]

    def _together(self, p: dict[str, Any], dy: tuple[Any, Any]) -> Any:
        case = self.case
        T, B, S, n = case.steps, case.batch, case.source, case.heads
        zeros = jnp.zeros((T, B, n, S)), jnp.zeros((T, B, case.hidden))
        (h, context, alpha), pull = jax.vjp(self._decode, p, zeros)
        gradients, (dscores, dcontext) = pull((*dy, jnp.zeros_like(alpha)))
        queries, dcontext = (v.reshape(T, B, n, case.depth) for v in (h, dcontext))
        dkeys = jnp.einsum("tbns,tbnd->bsnd", dscores, queries) * case.scale
        dvalues = jnp.einsum("tbns,tbnd->bsnd", alpha, dcontext)
        size = (B, S, case.hidden)
        return (h, context), {**gradients, "keys": dkeys.reshape(size), "values": dvalues.reshape(size)}

    def prove(self, count: int) -> Arrays:
        """Return states and contexts of both passes, and the gradients by name, all with a leading E."""
        found = []
        for p, dy in self.given:
            (y, context), gradients = self.value_and_gradients(p, dy)
            forward_y, forward_context = self.outputs(p)
            own = {"forward y": forward_y, "forward context": forward_context, "y": y, "context": context}
            found.append({**own, **gradients})
        join = np.concatenate if self.vectorised else np.stack
        return {name: join([np.asarray(one[name]) for one in found]) for name in found[0]}

    def forward(self, count: int) -> float:
        """Return the seconds of ``count`` passes without gradients."""
        return _seconds(self.outputs, [(p,) for p, _ in self.given], count)

    def training(self, count: int) -> float:
        """Return the seconds of ``count`` passes forward and backward."""
        return _seconds(self.value_and_gradients, self.given, count)


def _seconds(function: Any, calls: list[tuple[Any, ...]], count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        jax.block_until_ready([function(*given) for given in calls])
    return time.perf_counter() - begin
