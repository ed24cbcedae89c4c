"""mathkernels.nn.Seq2Seq: its greedy decoding and its beam search."""

from __future__ import annotations

import time

import torch
from decoding_cases import END, START, Arrays, DecodingCase

from mathkernels.nn import LSTM, AttentionLSTM, Seq2Seq
from mathkernels.nn.decoding import Decoded


class OurDecoding:
    models = 1

    def __init__(self, case: DecodingCase) -> None:
        self.case = case
        H, I, V = case.hidden, case.inputs, case.vocabulary
        decoder = AttentionLSTM(I, H, H, score="dot", feed="attentional", attentional_size=H)
        self.module = Seq2Seq(LSTM(I, H), decoder, V, source_vocabulary=V, bridge="pass")
        self.module.load_state_dict({name: torch.from_numpy(v) for name, v in case.weights.items()})
        self.questions = torch.from_numpy(case.questions)
        self.options = {"start": START, "end": END, "max_length": case.longest}

    def _decode(self) -> Decoded:
        if self.case.beams:
            given = {"beams": self.case.beams, "alpha": self.case.alpha, **self.options}
            return self.module.beam_search(self.questions, **given)
        return self.module.greedy(self.questions, **self.options)

    def prove(self, count: int) -> Arrays:
        """Return "tokens" (B,L), filled up with the end symbol, and "log_probs" (B)."""
        found = self._decode()
        return {"tokens": found.tokens[:, 0].numpy(), "log_probs": found.log_probs[:, 0].numpy()}

    def forward(self, count: int) -> float:
        """Return the seconds of decoding everything ``count`` times."""
        begin = time.perf_counter()
        for _ in range(count):
            self._decode()
        return time.perf_counter() - begin
