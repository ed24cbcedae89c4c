"""The configuration of a Deep Math training: the keys of the project's settings.json, and ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mathkernels.data import ranges
from mathkernels.data.mathematics.generate import Request
from mathkernels.data.mathematics.modules import LEVELS, Difficulty

Kind = Literal["simple", "attentional", "seq2seq"]
WORDING = "{name}: got {given}; needs {right}"
MOST_UNITS, MOST_STEPS, MOST_BATCH = 65_536, 1_000, 1_000_000


@dataclass(frozen=True)
class Clip:
    """How gradients are limited: each tensor's norm (the project), each number (the paper), or the whole."""

    kind: Literal["norm_per_tensor", "value", "global_norm", "none"] = "global_norm"
    value: float = 1.0

    def __post_init__(self) -> None:
        ranges.set_fields(self, value=ranges.positive("value", self.value, wording=WORDING))


@dataclass(frozen=True)
class Generate:
    """What ``--generate`` writes; see ``Request`` of :mod:`mathkernels.data.mathematics.generate`."""

    per_train_module: int = 2_000_000
    per_test_module: int = 10_000
    seed: int = 0
    entropy: Difficulty | None = None  # null: the authors' own
    only: tuple[str, ...] = ()
    limit: float = 10.0


@dataclass(frozen=True)
class Config:
    math_module: str = "arithmetic"  # prefix of the names of modules
    train_level: str = "*"
    batch_size: int = 1024
    thinking_steps: int = 16
    epochs: int = 3
    num_encoder_units: int = 512  # of a direction
    num_decoder_units: int = 2048
    embedding_dim: int = 256
    save_path: Path = Path("runs/deepmath")
    data_path: Path = Path("data/deepmath")
    # ours, and two of older settings
    model: Kind = "simple"
    latent_dim: int = 2048  # of simple and seq2seq
    saved_model: Path | None = None  # weights to begin with
    replica: bool = False  # of the attentional model: as published, not repaired
    loss: Literal["labelled", "all"] = "labelled"  # mean over characters to predict, or over all positions
    learning_rate: float = 6e-4
    betas: tuple[float, float] = (0.9, 0.995)
    eps: float = 1e-9
    clip: Clip = field(default_factory=Clip)
    reset_optimizer: bool = False  # a fresh Adam each epoch, as three jobs of one epoch have
    bfloat16: bool = False  # autocast
    trim_batches: bool = True  # to the longest of their rows, drawn from others of about its length
    valid_split: float = 0.2  # share of the training questions
    valid_most: int | None = None  # of these that are evaluated
    remove_seen: bool = True  # questions of validation and test that stand in the training set
    evaluate_steps: int | None = None  # steps between evaluations; None: once through the data
    seed: int = 42  # of the split, the first weights and the orders
    generate: Generate = field(default_factory=Generate)

    def __post_init__(self) -> None:
        counts = {"batch_size": MOST_BATCH, "epochs": ranges.MOST, "latent_dim": MOST_UNITS}
        counts |= dict.fromkeys(("num_encoder_units", "num_decoder_units", "embedding_dim"), MOST_UNITS)
        for name, most in counts.items():
            ranges.set_fields(self, **{name: ranges.whole(name, getattr(self, name), 1, most, WORDING)})
        for name in ("valid_most", "evaluate_steps"):
            if (value := getattr(self, name)) is not None:
                ranges.set_fields(self, **{name: ranges.whole(name, value, 1, ranges.MOST, WORDING)})
        if self.train_level not in (*LEVELS, "*"):
            right = f"one of {', '.join(LEVELS)}, *"
            raise ValueError(
                WORDING.format(name="train_level", given=ranges.shown(self.train_level), right=right)
            )
        below = "a number from 0, below 1"
        betas = tuple(ranges.real("betas", one, 0, 1 - 1e-9, below, WORDING) for one in self.betas)
        share = "a number above 0, below 1"
        ranges.set_fields(
            self,
            thinking_steps=ranges.whole("thinking_steps", self.thinking_steps, 0, MOST_STEPS, WORDING),
            learning_rate=ranges.positive("learning_rate", self.learning_rate, 1e6, WORDING),
            eps=ranges.positive("eps", self.eps, 1, WORDING),
            betas=betas,
            valid_split=ranges.real("valid_split", self.valid_split, 1e-9, 1 - 1e-9, share, WORDING),
            seed=ranges.whole("seed", self.seed, 0, 2**31 - 1, WORDING),
        )
        if self.replica and self.trim_batches and self.model == "attentional":
            what = "got true with trim_batches; needs trim_batches: false, since padding is attended to"
            raise ValueError(f"replica: {what}")
        self.request()  # refuses what cannot be generated

    def request(self) -> Request:
        """Return what is generated."""
        own = self.generate
        return Request(
            self.math_module,
            self.train_level,
            own.per_train_module,
            own.per_test_module,
            own.seed,
            own.entropy,
            own.only,
            own.limit,
        )
