"""The equation learner in JAX: vmap over models, lax.scan over minibatches, one jit for an epoch.

The steps of the LSTMs are written out, both directions of a layer are one batched product, the decoder's
constant input is multiplied once, and symbols are gathered from the rows of their matrix: of the ways tried
the fastest. The last minibatch, which is smaller, is a jit of its own.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from seq2seq import EQUATIONS, Start

SUFFIXES = ("", "_reverse")


def _layer(p: Any, layer: str, part: str) -> Any:
    return jnp.stack([p[f"{layer}.{part}_l0{suffix}"] for suffix in SUFFIXES])


def _states(inputs: list[Any], weight_hh: Any) -> list[Any]:
    """Inputs of each step (2,B,4H), weight_hh (2,4H,H) -> states of each step (2,B,H)."""
    h = c = None
    states = []
    for z in inputs:
        z = z if h is None else z + jnp.einsum("dbh,dgh->dbg", h, weight_hh)
        i, f, g, o = jnp.split(z, 4, axis=-1)
        fresh = jax.nn.sigmoid(i) * jnp.tanh(g)
        c = fresh if c is None else jax.nn.sigmoid(f) * c + fresh
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        states.append(h)
    return states


def _norm(x: Any, p: Any, norm: str) -> Any:
    mean, variance = x.mean(0), x.var(0)
    return (x - mean) * (p[f"{norm}.weight"] / jnp.sqrt(variance + 1e-3)) + p[f"{norm}.bias"]


def loss_of(p: Any, x: Any, y: Any) -> Any:
    """x (B,Tin) of symbols + 1, y (B,Tout)."""
    rows = jnp.swapaxes(_layer(p, "encoder", "weight_ih"), 1, 2)
    rows = jnp.concatenate([jnp.zeros_like(rows[:, :1]), rows], axis=1)
    rows = rows + _layer(p, "encoder", "bias_ih")[:, None]
    both = jnp.stack([x, x[:, ::-1]])
    gathered = [jax.vmap(lambda table, at: table[at])(rows, both[:, :, t]) for t in range(x.shape[1])]
    last = _states(gathered, _layer(p, "encoder", "weight_hh"))[-1]
    encoded = _norm(jnp.concatenate([last[0], last[1]], axis=-1), p, "encoder_norm")
    z = jnp.einsum("bi,dgi->dbg", encoded, _layer(p, "decoder", "weight_ih"))
    z = z + _layer(p, "decoder", "bias_ih")[:, None]
    states = _states([z] * y.shape[1], _layer(p, "decoder", "weight_hh"))
    decoded = [
        jnp.concatenate([ahead[0], back[1]], axis=-1)
        for ahead, back in zip(states, states[::-1], strict=True)
    ]
    decoded = _norm(jnp.concatenate(decoded), p, "decoder_norm")
    logits = decoded @ p["output.weight"].T + p["output.bias"]
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y.T.reshape(-1, 1), axis=-1)
    return -chosen.mean()


def _step(state: Any, batch: Any) -> Any:
    p, first, second, done = state
    done = done + 1
    gradients = jax.grad(loss_of)(p, *batch)
    rate = 0.01 * jnp.sqrt(1 - 0.999**done) / (1 - 0.9**done)
    first = jax.tree.map(lambda m, g: m + 0.1 * (g - m), first, gradients)
    second = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), second, gradients)
    p = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), p, first, second)
    return p, first, second, done


@partial(jax.jit, donate_argnums=0)
@partial(jax.vmap, in_axes=(0, None, None, 0))
def _minibatches(state: Any, x: Any, y: Any, rows: Any) -> Any:
    """rows (minibatches, B)."""
    return jax.lax.scan(lambda s, r: (_step(s, (x[r], y[r])), None), state, rows)[0]


class JaxEpoch:
    name = "JAX, vmap and scan"

    def __init__(self, start: Start) -> None:
        p = {
            name: jnp.asarray(tensor.numpy())
            for name, tensor in start.parameters.items()
            if "running" not in name and "bias_hh" not in name
        }
        zeros = jax.tree.map(jnp.zeros_like, p)
        self.state = p, zeros, jax.tree.map(jnp.zeros_like, p), jnp.zeros(len(start.order))
        self.x, self.y = (
            jnp.asarray(start.inputs.numpy() + 1),
            jnp.asarray(start.targets.numpy().astype(np.int32)),
        )
        self.order = start.order.numpy()

    def epoch(self, minibatches: int | None = None) -> None:
        models, samples = self.order.shape
        whole = samples // EQUATIONS.batch if minibatches is None else minibatches
        used = whole * EQUATIONS.batch
        rows = self.order[:, :used].reshape(models, whole, EQUATIONS.batch)
        self.state = _minibatches(self.state, self.x, self.y, rows)
        if minibatches is None and used < samples:
            self.state = _minibatches(self.state, self.x, self.y, self.order[:, None, used:])
        jax.block_until_ready(self.state)

    def parameters(self) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(np.array(p)) for name, p in self.state[0].items()}
