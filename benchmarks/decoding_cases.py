"""What the benchmarks of decoding run: answers to questions of characters by greedy decoding and beam search.

One LSTM reads a question; an LSTM with attention to it and input feeding (Luong et al. 2015) writes the
answer. The weights are drawn. What they say of a next character depends on the state strongly enough for
rounding to change hardly any choice, and the bias of the end symbol makes answers end at many lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

Arrays = dict[str, np.ndarray]
START, END = 0, 1
SHARPNESS = 12.0  # of the logits, as a multiple of what torch.nn draws


@dataclass(frozen=True)
class DecodingCase:
    """Answers to some questions.

    Attributes:
        name: as in the tables.
        sentences, source: how many questions, and their characters.
        hidden, inputs, vocabulary: sizes of both LSTMs and of the attentional state, of embeddings, and V.
        longest: the most tokens of an answer, its end symbol included.
        beams: of the search; 0 decodes greedily.
        pace: how fast answers come to their end: the logit of a unit's growth in a step.
        alpha: power of the length by which beams' scores are divided.
    """

    name: str
    sentences: int
    source: int
    hidden: int
    inputs: int
    vocabulary: int
    longest: int
    beams: int
    pace: float
    alpha: float = 0.6

    @cached_property
    def weights(self) -> Arrays:
        """By the names of mathkernels.nn.Seq2Seq's parameters, float32."""
        draw, H, I, V = np.random.default_rng(0), self.hidden, self.inputs, self.vocabulary
        shapes = {
            "encoder.weight_ih_l0": (4 * H, I),
            "encoder.weight_hh_l0": (4 * H, H),
            "encoder.bias_ih_l0": (4 * H,),
            "encoder.bias_hh_l0": (4 * H,),
            "decoder.weight_ih": (4 * H, I + H),
            "decoder.weight_hh": (4 * H, H),
            "decoder.bias_ih": (4 * H,),
            "decoder.bias_hh": (4 * H,),
            "decoder.weight_output": (H, 2 * H),
            "decoder.bias_output": (H,),
            "output_weight": (V, H),
            "output_bias": (V,),
        }
        width = H**-0.5
        found = {name: draw.uniform(-width, width, size).astype(np.float32) for name, size in shapes.items()}
        for name in ("source_embedding", "embedding"):
            found[name] = draw.standard_normal((V, I), np.float32)
        found["output_weight"] *= SHARPNESS
        self._count(found)
        return found

    def _count(self, weights: Arrays) -> None:
        """Let the first unit of the decoder's state grow from step to step, and make the end symbol of it.

        It grows from where the encoder leaves it, which differs by question.
        """
        H = self.hidden
        for gate, bias in enumerate((self.pace, 12.0, 12.0, 12.0)):  # i, f, g, o; the others stay open
            for name in ("weight_ih", "weight_hh", "bias_ih"):
                weights[f"decoder.{name}"][gate * H] = 0
            weights["decoder.bias_hh"][gate * H] = bias
        weights["encoder.weight_ih_l0"][2 * H] *= 4  # of g
        weights["decoder.weight_output"][0] = 0
        weights["decoder.weight_output"][0, H] = 2  # of h, whose columns follow those of the context
        weights["decoder.bias_output"][0] = 0
        weights["output_weight"][:, 0] = 0
        weights["output_weight"][END, 0] = 40
        weights["output_bias"][END] = -30

    @cached_property
    def questions(self) -> np.ndarray:
        """Token ids (S,B), int64."""
        size = self.source, self.sentences
        return np.random.default_rng(1).integers(2, self.vocabulary, size)


def _cases(name: str, *sizes: int, beams: int, pace: float) -> list[DecodingCase]:
    how = {0: "greedy", beams: f"{beams} beams"}
    return [DecodingCase(f"{name}, {label}", *sizes, count, pace) for count, label in how.items()]


TABLE = _cases("1,024 questions of 160 characters", 1024, 160, 256, 64, 96, 30, beams=10, pace=-2.9)
SHORT = _cases("short", 9, 11, 17, 5, 12, 8, beams=3, pace=-1.0)
DECODING_CASES = {case.name: case for case in (*TABLE, *SHORT)}
