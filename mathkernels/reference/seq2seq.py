"""A character sequence-to-sequence model and its training in plain torch: what `Seq2SeqEnsemble` means.

One model, its tensors in a dict under torch's names (:mod:`mathkernels.ensemble.seq2seq_tensors` lists them).
The layers, their options and Adam are those of Keras.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mathkernels.optim import keras

Parameters = dict[str, Tensor]

NORM_EPS, NORM_MOMENTUM = 1e-3, 0.99


def one_hot(ids: Tensor, alphabet: int, dtype: torch.dtype) -> Tensor:
    """Symbols (B,T) -> (B,T,A); -1 becomes a row of zeros."""
    return (ids[..., None] == torch.arange(alphabet)).to(dtype)


def lstm(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    """x (B,T,I), weight_ih (4H,I), weight_hh (4H,H), bias (4H) -> states (B,T,H), from zero."""
    h = c = x.new_zeros(len(x), weight_hh.shape[1])
    states = []
    for step in x.unbind(1):
        i, f, g, o = (step @ weight_ih.T + h @ weight_hh.T + bias).chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        states.append(h)
    return torch.stack(states, dim=1)


def bidirectional(x: Tensor, parameters: Parameters, layer: str) -> tuple[Tensor, Tensor]:
    """x (B,T,I) -> the two directions' states (B,T,2H) by time, and the last states of both (B,2H)."""

    def direction(suffix: str, x: Tensor) -> Tensor:
        return lstm(
            x, *(parameters[f"{layer}.{part}_l0{suffix}"] for part in ("weight_ih", "weight_hh", "bias_ih"))
        )

    ahead, back = direction("", x), direction("_reverse", x.flip(1))
    return torch.cat([ahead, back.flip(1)], dim=-1), torch.cat([ahead[:, -1], back[:, -1]], dim=-1)


def batch_norm(x: Tensor, parameters: Parameters, norm: str, training: bool) -> Tensor:
    """x (...,F); in training by the batch's mean and biased variance, which also move the running statistics.

    Keras moves its running variance by the biased variance here; torch would take the unbiased one.
    """
    if f"{norm}.weight" not in parameters:
        return x
    mean, variance = parameters[f"{norm}.running_mean"], parameters[f"{norm}.running_var"]
    if training:
        axes = tuple(range(x.dim() - 1))
        batch_mean, batch_variance = x.mean(axes), x.var(axes, correction=0)
        with torch.no_grad():
            mean.lerp_(batch_mean, 1 - NORM_MOMENTUM)
            variance.lerp_(batch_variance, 1 - NORM_MOMENTUM)
        mean, variance = batch_mean, batch_variance
    scaled = (x - mean) / (variance + NORM_EPS).sqrt()
    return scaled * parameters[f"{norm}.weight"] + parameters[f"{norm}.bias"]


def seq2seq_logits(parameters: Parameters, inputs: Tensor, steps_out: int, training: bool) -> Tensor:
    """token ids (B,Tin) -> logits (B,Tout,A)."""
    weight = parameters["output.weight"]
    _, x = bidirectional(one_hot(inputs, len(weight), weight.dtype), parameters, "encoder")
    x = batch_norm(x, parameters, "encoder_norm", training)
    x, _ = bidirectional(x[:, None].expand(-1, steps_out, -1), parameters, "decoder")
    x = batch_norm(x, parameters, "decoder_norm", training)
    return x @ weight.T + parameters["output.bias"]


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """logits (B,T,A), targets (B,T) -> the mean over samples and steps."""
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten().long())


class KerasAdam:
    """Adam in Keras' form over the tensors of one model, see :mod:`mathkernels.optim.keras`."""

    def __init__(self, trained: Parameters, learning_rate: float, eps: float) -> None:
        self.trained, self.learning_rate, self.eps, self.updates = trained, learning_rate, eps, 0
        self.first = {name: torch.zeros_like(p) for name, p in trained.items()}
        self.second = {name: torch.zeros_like(p) for name, p in trained.items()}

    def step(self, gradients: Parameters) -> None:
        self.updates += 1
        rate = keras.adam_rate(self.learning_rate, self.updates)
        for name, parameter in self.trained.items():
            first, second = self.first[name], self.second[name]
            keras.adam_(parameter, gradients[name], first, second, rate, self.eps)


class Seq2Seq:
    """One model in training; ``parameters`` (without a model axis) are changed in place."""

    def __init__(self, parameters: Parameters, learning_rate: float = 0.01, eps: float = 1e-7) -> None:
        self.parameters = parameters
        trained = {
            name: p for name, p in parameters.items() if ".running_" not in name and "bias_hh" not in name
        }
        self.adam = KerasAdam(trained, learning_rate, eps)

    def train_epoch(self, inputs: Tensor, targets: Tensor, order: Tensor, batch: int) -> float:
        """One update for each minibatch of ``order`` (M,); returns the loss averaged over its samples."""
        total = 0.0
        for rows in order.split(batch):
            leaves = {name: p.detach().requires_grad_() for name, p in self.adam.trained.items()}
            logits = seq2seq_logits(self.parameters | leaves, inputs[rows], targets.shape[1], training=True)
            loss = cross_entropy(logits, targets[rows])
            self.adam.step(dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True)))
            total += float(loss.detach()) * len(rows)
        return total / len(order)

    def logits(self, inputs: Tensor, steps_out: int) -> Tensor:
        """inputs (N,Tin) -> logits (N,Tout,A), by the running statistics."""
        return seq2seq_logits(self.parameters, inputs, steps_out, training=False)
