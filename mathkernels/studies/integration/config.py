"""The configuration of a training on symbolic integration: the project's trials, and what surrounds them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mathkernels.data import ranges
from mathkernels.data.symbolic.generate import Request
from mathkernels.data.symbolic.pairs import METHODS, Pairs
from mathkernels.experiment import configuration

WORDING = "{name}: got {given}; needs {right}"
PLACES = ("save_path", "data_path")  # keys that say where, not what
MOST_UNITS, MOST_HEADS, MOST_BATCH, MOST_WORDS = 8_192, 256, 1_000_000, 10_000
# what the project's script does, and what is repaired here unless it is asked for
REPLICA = {"output_activation": "tanh", "masked_loss": False, "shuffle": False, "encoder_state": False}


@dataclass(frozen=True)
class Trial:
    """One model and how long it trains, by the project's keys.

    Args:
        epoch: of them at most.
        optimizer: Keras' Adam or RMSprop with Keras' defaults.
        num_units: u, of each direction of the encoder, of the decoder, and of each head.
        is_gru: whether the encoder is a GRU, else an LSTM; the decoder is a GRU.
        num_heads: of attention.
    """

    epoch: int = 100
    optimizer: Literal["adam", "RMSprop"] = "adam"
    num_units: int = 64
    is_gru: bool = True
    num_heads: int = 4

    def __post_init__(self) -> None:
        for name, most in (("epoch", ranges.MOST), ("num_units", MOST_UNITS), ("num_heads", MOST_HEADS)):
            ranges.set_fields(self, **{name: ranges.whole(name, getattr(self, name), 1, most, WORDING)})


@dataclass(frozen=True)
class Generate:
    """What ``--generate`` draws for each method; see :mod:`mathkernels.data.symbolic.pairs`."""

    methods: tuple[Literal["bwd", "fwd", "ibp"], ...] = ("bwd",)
    operators: int = 15
    words: int = 510
    count: int = 1_300_000
    held_out: int = 10_000
    seed: int = 0
    limit: float = 5.0  # seconds of the processor for a pair


def published_trials() -> dict[str, Trial]:
    """The five trials of the project."""
    return {
        "trial_1": Trial(100, "adam", 64, True, 4),
        "trial_2": Trial(100, "RMSprop", 64, False, 4),
        "trial_3": Trial(100, "adam", 256, False, 8),
        "trial_4": Trial(100, "adam", 256, True, 8),
        "trial_5": Trial(100, "adam", 512, True, 8),
    }


@dataclass(frozen=True)
class Config:
    model_params: dict[str, Trial] = field(default_factory=published_trials)
    batch_size: int = 128
    steps_per_epoch: int = 100
    validation_steps: int = 20  # batches of the validation set, the same ones every epoch
    patience: int = 5  # epochs without a better validation loss
    learning_rate: float = 1e-3
    output_activation: Literal["linear", "tanh"] = "linear"  # of the logits
    masked_loss: bool = True  # mean over words; false: over padding too, times the share of words
    shuffle: bool = True  # false: the stream as the file has it, most frequent pairs first
    encoder_state: bool = True  # whether the decoder begins with the encoder's last state, else with 0
    method: Literal["bwd", "fwd", "ibp", "all"] = "bwd"  # whose pairs train
    train_most: int | None = None  # pairs that train, the first of the file
    skip_bad: bool = False  # leave out lines of a file that are no pair
    max_length: int = 512  # words of an answer that is decoded, its end included
    test_most: int = 500  # problems of the test set that are solved and judged
    beams: tuple[int, ...] = (1, 10)
    seed: int = 0
    save_path: Path = Path("runs/symbolic")
    data_path: Path = Path("data/symbolic")  # a folder for each method below it
    generate: Generate = field(default_factory=Generate)

    def __post_init__(self) -> None:
        if not self.model_params:
            raise ValueError(WORDING.format(name="model_params", given="no trial", right="at least one"))
        counts = {"batch_size": MOST_BATCH, "steps_per_epoch": ranges.MOST, "validation_steps": ranges.MOST}
        counts |= {"patience": ranges.MOST, "max_length": MOST_WORDS, "test_most": ranges.MOST}
        for name, most in counts.items():
            ranges.set_fields(self, **{name: ranges.whole(name, getattr(self, name), 1, most, WORDING)})
        if self.train_most is not None:
            most = ranges.whole("train_most", self.train_most, 1, ranges.MOST, WORDING)
            ranges.set_fields(self, train_most=most)
        if not self.beams or len({*self.beams}) < len(self.beams):
            given = ranges.shown(self.beams)
            raise ValueError(
                WORDING.format(name="beams", given=given, right="different numbers, at least one")
            )
        ranges.set_fields(
            self,
            beams=tuple(ranges.whole("beams", one, 1, 1_000, WORDING) for one in self.beams),
            learning_rate=ranges.positive("learning_rate", self.learning_rate, 1e6, WORDING),
            seed=ranges.whole("seed", self.seed, 0, 2**31 - 1, WORDING),
        )
        for method in self.generate.methods:
            self.request(method)  # refuses what cannot be generated

    @property
    def methods(self) -> tuple[str, ...]:
        """Whose pairs train."""
        return METHODS if self.method == "all" else (self.method,)

    def folder(self, method: str) -> Path:
        """The folder of a method's pairs."""
        return self.data_path / method

    def request(self, method: str) -> Request:
        """What is generated of a method."""
        own = self.generate
        pairs = Pairs(method, own.operators, own.words)
        return Request(pairs, own.count, own.held_out, own.seed, own.limit)

    def as_published(self) -> Config:
        """The same with the project's logits, loss, stream and first state of the decoder."""
        return replace(self, **REPLICA)

    def described(self) -> dict[str, Any]:
        """What decides the result, as JSON values: all but the places of folders."""
        return {name: value for name, value in configuration.plain(self).items() if name not in PLACES}
