"""The network of the equation learner in torch, its start as Keras draws it, and its layers' outputs.

(B,T,A) one-hot characters -> bidirectional LSTM, last states (B,2H) -> batch norm -> repeated (B,O,2H) ->
bidirectional LSTM (B,O,2H) -> batch norm -> linear (B,O,A): scores of the answer's characters, all at once.
Source: Schumacher 2017, *Learning math with LSTMs*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mathkernels.initial import keras
from mathkernels.studies.equations.config import Config, Model

# Keras counts what is kept, torch what is new
MOMENTUM, EPSILON = 0.01, 1e-3


class HardSigmoidLSTM(nn.LSTM):
    """A bidirectional LSTM with the gates clip(0.2 x + 0.5, 0, 1), step by step; batch first, one layer."""

    def forward(self, input: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:  # type: ignore[override]
        runs = [self._direction(input, ""), self._direction(input.flip(1), "_reverse")]
        y = torch.cat([runs[0][0], runs[1][0].flip(1)], 2)
        return y, (torch.stack([h for _, h, _ in runs]), torch.stack([c for _, _, c in runs]))

    def _direction(self, x: Tensor, suffix: str) -> tuple[Tensor, Tensor, Tensor]:
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        weight_ih, weight_hh, bias_ih, bias_hh = (getattr(self, name + suffix) for name in names)
        steps = functional.linear(x, weight_ih, bias_ih + bias_hh).unbind(1)
        h = c = x.new_zeros(len(x), self.hidden_size)
        outputs = []
        for step in steps:
            i, f, g, o = (step + h @ weight_hh.T).chunk(4, 1)
            i, f, o = (torch.clamp(0.2 * gate + 0.5, 0, 1) for gate in (i, f, o))
            c = f * c + i * torch.tanh(g)
            h = o * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, 1), h, c


class BatchNorm(nn.BatchNorm1d):
    """Batch norm over all but the last axis, which keeps the plain variance of a batch as Keras does.

    torch would keep the variance with n - 1 in the denominator.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features, EPSILON, MOMENTUM)

    def forward(self, input: Tensor) -> Tensor:
        rows = input.flatten(0, -2)
        old = self.running_var.clone() if self.training and self.running_var is not None else None
        y = super().forward(rows)
        if old is not None and self.running_var is not None:
            part = self.running_var - (1 - MOMENTUM) * old
            self.running_var = self.running_var - part / len(rows)  # anew: autograd keeps the other
        return y.reshape(input.shape)


class Stage(nn.Module):
    """One LSTM with what stands behind it.

    Args:
        inputs: features.
        model: of the configuration.
        lstm: a class with the arguments and parameters of ``torch.nn.LSTM``.
        last: whether the output is the last state of each direction and not that of every step.
    """

    def __init__(self, inputs: int, model: Model, lstm: Callable[..., Any], last: bool) -> None:
        super().__init__()
        self.last = last
        self.lstm = lstm(inputs, model.hidden_size, batch_first=True, bidirectional=True)
        # Keras has one bias, torch two: the second stays 0
        for name in ("bias_hh_l0", "bias_hh_l0_reverse"):
            getattr(self.lstm, name).requires_grad_(False)
        self.norm = BatchNorm(2 * model.hidden_size) if model.batch_norm else None
        self.dropout = nn.Dropout(model.dropout) if model.dropout else None

    def outputs(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield the output of each part under its name; of the LSTM that of every step."""
        x, (h, _) = self.lstm(x)
        yield "lstm", x
        if self.last:
            x = torch.cat(tuple(h), 1)
        if self.norm is not None:
            x = self.norm(x)
        if self.dropout is not None:
            x = self.dropout(x)
        yield "norm", x


class EquationModel(nn.Module):
    """The network.

    Args:
        config: of data and network.
        seed: of the first values, which are Keras', see :func:`mathkernels.initial.keras.draw`.
        lstm: a class with the arguments and parameters of ``torch.nn.LSTM``.
    """

    def __init__(self, config: Config, seed: int, lstm: Callable[..., Any] = nn.LSTM) -> None:
        super().__init__()
        model, characters = config.model, len(config.data.alphabet)
        if model.gate == "hard_sigmoid":
            lstm = HardSigmoidLSTM
        self.characters, self.answer_length = characters, config.data.answer_length
        wide, last = 2 * model.hidden_size, model.encoder_depth - 1
        self.encoder = nn.ModuleList(
            Stage(wide if index else characters, model, lstm, index == last)
            for index in range(model.encoder_depth)
        )
        self.decoder = nn.ModuleList(Stage(wide, model, lstm, False) for _ in range(model.decoder_depth))
        self.output = nn.Linear(wide, characters)
        self._start(torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def _start(self, source: torch.Generator) -> None:
        own = dict(self.named_parameters())
        drawn = keras.draw({name: tuple(parameter.shape) for name, parameter in own.items()}, source)
        for name, parameter in own.items():
            parameter.copy_(drawn[name])

    def outputs(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield the output of every layer under its name; the last are the scores (B,O,A)."""
        for kind, stages in (("encoder", self.encoder), ("decoder", self.decoder)):
            for index, stage in enumerate(stages):
                parts = list(stage.outputs(x))  # type: ignore[operator]
                yield from ((f"{kind}.{index}.{name}", part) for name, part in parts)
                x = parts[-1][1]
            if kind == "encoder":
                x = x[:, None].expand(-1, self.answer_length, -1)
        yield "output", self.output(x)

    def forward(self, x: Tensor) -> Tensor:
        """(B,T,A) -> (B,O,A)."""
        *_, (_, scores) = self.outputs(x)
        return scores


def name_counts(name: str) -> bool:
    """Whether a tensor of a torch module matters; torch counts batches, which is not used here."""
    return not name.endswith("num_batches_tracked")


def one_hot(symbols: Tensor, characters: int) -> Tensor:
    """(N,T) int8 -> (N,T,A) float32; a negative id becomes a row of zeros."""
    return functional.one_hot(symbols.long() + 1, characters + 1)[..., 1:].float()


def summary(model: EquationModel, length: int) -> str:
    """Return layers, the shapes of their outputs and their parameters as a table."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            layer = name if name.startswith("output") else ".".join(name.split(".")[:3])
            layer = layer.partition(".")[0] if layer.startswith("output") else layer
            counts[layer] = counts.get(layer, 0) + parameter.numel()
    model.eval()
    with torch.no_grad():
        shapes = {
            name: tuple(x.shape[1:]) for name, x in model.outputs(torch.zeros(1, length, model.characters))
        }
    lines = [f"{'layer':<18}{'output':>12}{'parameters':>12}"]
    lines += [f"{name:<18}{shapes[name]!s:>12}{counts.get(name, 0):>12,}" for name in shapes]
    running = sum(buffer.numel() for buffer in model.buffers() if buffer.dim())
    total = f"{sum(counts.values()):,} parameters"
    return "\n".join([*lines, total + (f" and {running:,} running statistics" if running else "")])
