"""The project's model: a bidirectional encoder, a GRU decoder, cross attention and a norm, then logits.

Source: the symbolic-mathematics project, after Lample & Charton 2020 (arXiv:1912.01412). d is what the GRU
decoder makes of the answer so far, m what the encoder makes of the problem, both directions added up:
x = LayerNorm(d + W_O attention(d W_Q, m W_K, m W_V)), with heads of u units each, and logits W x + b.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mathkernels import nn as mk
from mathkernels.data.symbolic.language import WORDS
from mathkernels.initial.keras import glorot_, orthogonal_
from mathkernels.studies.integration.config import Config, Trial

EPS = 1e-3  # of Keras' LayerNormalization
EMBEDDING_BOUND = 0.05  # of Keras' first values


class Batch(NamedTuple):
    """Problems and answers as a model reads them.

    Args:
        problem: ids (S,B).
        lengths: words of each problem (B).
        before: ids (T,B) that answers are predicted after, the start first.
        places: of the words to predict (N), step times B plus row.
        rows: of these (N).
        targets: these words' ids (N).
    """

    problem: Tensor
    lengths: Tensor
    before: Tensor
    places: Tensor
    rows: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return self if device.type == "cpu" else Batch(*(one.to(device, non_blocking=True) for one in self))


class Integrator(mk.Seq2Seq):
    """The model on this library's layers.

    Args:
        trial: sizes and kind of the encoder.
        encoder_state: whether the decoder begins with what a linear layer makes of the encoder's last states.
        tanh: whether logits go through tanh, as in the project.
        words: V, of problems and of answers.
    """

    def __init__(self, trial: Trial, encoder_state: bool, tanh: bool, words: int = len(WORDS)) -> None:
        units, heads = trial.num_units, trial.num_heads
        kind = mk.GRU if trial.is_gru else mk.LSTM
        decoder = mk.AttentionGRU(
            units,
            units,
            units,
            heads=heads,
            key_size=units,
            value_size=units,
            cross=True,
            norm_eps=EPS,
            attention_bias=True,
        )
        super().__init__(
            kind(units, units, bidirectional=True),
            decoder,
            words,
            source_vocabulary=words,
            bridge="linear" if encoder_state else "none",
            merge="sum",
        )
        self.heads, self.tanh = heads, tanh

    def logits(self, outputs: Tensor) -> Tensor:
        found = super().logits(outputs)
        return found.tanh() if self.tanh else found

    def scores(self, batch: Batch) -> Tensor:
        """The logits (N,V) of the words to predict."""
        start = self.encode(batch.problem, batch.lengths)
        assert start.memory is not None
        x, table = self._read("embedding", batch.before)
        y, *_ = self.decoder(x, start.memory, start.states, embedding=table)
        return self.logits(y.flatten(0, 1)[batch.places])


class Stock(nn.Module):
    """The same model on torch.nn, with the weights of an Integrator.

    Args:
        like: the model whose weights it begins with.
    """

    def __init__(self, like: Integrator) -> None:
        super().__init__()
        units, words = like.encoder.hidden_size, like.vocabulary
        self.heads, self.tanh = like.heads, like.tanh
        kind = nn.GRU if isinstance(like.encoder, mk.GRU) else nn.LSTM
        columns = self.heads * units
        self.problems, self.answers = nn.Embedding(words, units), nn.Embedding(words, units)
        self.encoder, self.decoder = kind(units, units, bidirectional=True), nn.GRU(units, units)
        self.bridge = nn.Linear(2 * units, units) if like.bridge.kind != "none" else None
        self.query, self.key, self.value = (nn.Linear(units, columns) for _ in range(3))
        self.attended, self.norm = nn.Linear(columns, units), nn.LayerNorm(units, EPS)
        self.output = nn.Linear(units, words)
        for name, value in self._of(like.state_dict()).items():
            self.get_parameter(name).data.copy_(value)
        for name, own in like.encoder.named_parameters():  # Keras' LSTM has one bias
            self.encoder.get_parameter(name).requires_grad_(own.requires_grad)

    def _of(self, ours: dict[str, Tensor]) -> dict[str, Tensor]:
        """Parameters of this module by the names of ours."""
        found = {name: ours[name] for name in ours if name.startswith("encoder.")}
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            found[f"decoder.{name}_l0"] = ours[f"decoder.{name}"]
        biases = ours["decoder.attention.in_proj_bias"].chunk(3)
        for name, bias in zip(("query", "key", "value"), biases, strict=True):
            found[f"{name}.weight"] = ours[f"decoder.attention.{name[0]}_proj_weight"]
            found[f"{name}.bias"] = bias
        others = {
            "problems.weight": "source_embedding",
            "answers.weight": "embedding",
            "attended.weight": "decoder.attention.out_proj_weight",
            "attended.bias": "decoder.attention.out_proj_bias",
            "norm.weight": "decoder.norm_weight",
            "norm.bias": "decoder.norm_bias",
            "output.weight": "output_weight",
            "output.bias": "output_bias",
        }
        if self.bridge is not None:
            others |= {"bridge.weight": "bridge.weight_0", "bridge.bias": "bridge.bias_0"}
        return found | {name: ours[own] for name, own in others.items()}

    def ours(self, like: Integrator) -> dict[str, Tensor]:
        """The weights by the names of an Integrator of this kind."""
        found = {name: torch.empty_like(value) for name, value in like.state_dict().items()}
        for name, place in self._of(found).items():  # views of what is found
            place.copy_(self.get_parameter(name).detach())
        return found

    def scores(self, batch: Batch) -> Tensor:
        """The logits (N,V) of the words to predict."""
        packed = pack_padded_sequence(self.problems(batch.problem), batch.lengths.cpu(), enforce_sorted=False)
        y, ends = self.encoder(packed)
        y, _ = pad_packed_sequence(y, total_length=len(batch.problem))
        memory = sum(y.chunk(2, -1))
        last = ends[0] if isinstance(ends, tuple) else ends
        first = None if self.bridge is None else self.bridge(torch.cat([last[0], last[1]], 1))[None]
        d, _ = self.decoder(self.answers(batch.before), first)
        steps = torch.arange(len(batch.problem), device=y.device)
        allowed = steps < batch.lengths[:, None]
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3)
            for part in (self.query(d), self.key(memory), self.value(memory))
        )
        context = functional.scaled_dot_product_attention(q, k, v, allowed[:, None, None])
        x = self.norm(d + self.attended(context.permute(2, 0, 1, 3).flatten(2)))
        found = self.output(x.flatten(0, 1)[batch.places])
        return found.tanh() if self.tanh else found


Net = Integrator | Stock


def initialise(model: Integrator, seed: int) -> None:
    """Set first values as Keras draws them: embeddings uniform, matrices Glorot-uniform, recurrent ones
    orthogonal, biases 0 but those of an LSTM's forget gates."""
    source, values = torch.Generator().manual_seed(seed), {}
    for name, own in model.named_parameters():
        value = values[name] = torch.zeros(own.shape)
        last = name.rpartition(".")[2]
        if last.endswith("embedding"):
            value.uniform_(-EMBEDDING_BOUND, EMBEDDING_BOUND, generator=source)
        elif last.startswith("weight_hh"):
            orthogonal_(value, source)
        elif value.dim() == 2:
            glorot_(value, source)
        elif last == "norm_weight":
            value.fill_(1)
        elif last.startswith("bias_ih") and isinstance(model.encoder, mk.LSTM) and name.startswith("encoder"):
            units = model.encoder.hidden_size
            value[units : 2 * units] = 1
    with torch.no_grad():
        for name, own in model.named_parameters():
            own.copy_(values[name])
            # Keras has one bias of an LSTM where torch has two: the second stays 0
            if "bias_hh" in name and name.startswith("encoder") and isinstance(model.encoder, mk.LSTM):
                own.requires_grad_(False)


def build(trial: Trial, config: Config, words: int = len(WORDS)) -> Integrator:
    """A new model of a trial, with its first weights."""
    model = Integrator(trial, config.encoder_state, config.output_activation == "tanh", words)
    initialise(model, config.seed)
    return model


def parameters(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(own.numel() for own in model.parameters() if own.requires_grad)
