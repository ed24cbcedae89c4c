"""The configuration of the equation learner, as in the files configs/equations*.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mathkernels.data import ranges
from mathkernels.data.equations import Equations

MOST_UNITS, DEEPEST, MOST_RATE, MOST_NETWORKS = 16_384, 100, 1e6, 100_000


@dataclass(frozen=True)
class Model:
    """The network: a bidirectional LSTM reads, its last states are repeated, another one writes.

    Args:
        hidden_size: units of each direction.
        encoder_depth, decoder_depth: LSTMs behind each other.
        dropout: behind each LSTM.
        batch_norm: behind each LSTM.
        gate: the gates' function; "hard_sigmoid", clip(0.2 x + 0.5, 0, 1), is that of Keras in 2017.
    """

    hidden_size: int = 20
    encoder_depth: int = 1
    decoder_depth: int = 1
    dropout: float = 0.0
    batch_norm: bool = True
    gate: Literal["sigmoid", "hard_sigmoid"] = "sigmoid"

    def __post_init__(self) -> None:
        most = {"hidden_size": MOST_UNITS, "encoder_depth": DEEPEST, "decoder_depth": DEEPEST}
        for name, high in most.items():
            ranges.set_fields(self, **{name: ranges.whole(name, getattr(self, name), 1, high)})
        right = "0 to less than 1"
        ranges.set_fields(self, dropout=ranges.real("dropout", self.dropout, 0.0, 1 - 1e-9, right))


@dataclass(frozen=True)
class Train:
    """The training: Adam as Keras has it, on the cross-entropy averaged over an answer's characters.

    Args:
        epochs: passes through the training set, each in a new order; a last smaller batch is kept.
        batch_size: equations of a step.
        learning_rate: of the first epochs.
        decay_from, final_rate: from this share of the epochs on the rate falls geometrically, epoch by epoch,
            to ``final_rate``; 1 keeps it.
        stage_epochs: for so many epochs equations of one operator alone are trained on, for as many those of
            up to two, and so on to all; 0 takes all from the beginning. Needs ``data.shorter_share``.
        eps: added outside Adam's bias correction.
        seeds: of the networks that are trained at once; each has its own start and order.
        engine: "fused" trains all networks in one compiled call per epoch, "layers" one after the other with
            the LSTM of mathkernels.nn, "torch" with that of torch.nn.
    """

    epochs: int = 200
    batch_size: int = 256
    learning_rate: float = 0.01
    decay_from: float = 1.0
    final_rate: float = 0.0001
    stage_epochs: int = 0
    eps: float = 1e-7
    seeds: tuple[int, ...] = (1,)
    engine: Literal["fused", "layers", "torch"] = "fused"

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("stage_epochs", 0)):
            ranges.set_fields(self, **{name: ranges.whole(name, getattr(self, name), least)})
        for name in ("learning_rate", "final_rate", "eps"):
            ranges.set_fields(self, **{name: ranges.positive(name, getattr(self, name), MOST_RATE)})
        ranges.set_fields(self, decay_from=ranges.share("decay_from", self.decay_from))
        ranges.whole("seeds, how many", len(self.seeds), 0, MOST_NETWORKS)
        distinct = "distinct whole numbers from 0"
        if not self.seeds or len({*self.seeds}) != len(self.seeds):
            raise ValueError(f"seeds: got {ranges.shown([*self.seeds])}, needs {distinct}")
        seeds = (ranges.whole(f"seeds[{i}]", seed, 0, ranges.LAST_SEED) for i, seed in enumerate(self.seeds))
        ranges.set_fields(self, seeds=tuple(seeds))

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        first = round(self.decay_from * self.epochs)
        if epoch < first:
            return self.learning_rate
        passed = (epoch - first + 1) / (self.epochs - first)
        return self.learning_rate * (self.final_rate / self.learning_rate) ** passed


@dataclass(frozen=True)
class Config:
    """Everything that decides a run of the equation learner."""

    data: Equations = field(default_factory=Equations)
    model: Model = field(default_factory=Model)
    train: Train = field(default_factory=Train)

    def __post_init__(self) -> None:
        engine, model = self.train.engine, self.model
        if self.train.stage_epochs and not self.data.shorter_share:
            what = "needs data.shorter_share above 0"
            raise ValueError(f"train.stage_epochs: got {self.train.stage_epochs}, {what}")
        if engine != "torch" and model.gate != "sigmoid":
            what = f"got {model.gate}, which only --stock (train.engine=torch) trains"
            raise ValueError(f"model.gate: {what}")
        if engine != "fused":
            return
        plain = {"encoder_depth": 1, "decoder_depth": 1, "dropout": 0.0}
        for name, value in plain.items():
            if getattr(model, name) != value:
                what = "which the fused engine does not train; needs train.engine=layers or --stock"
                raise ValueError(f"model.{name}: got {getattr(model, name)}, {what}")
