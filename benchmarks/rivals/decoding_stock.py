"""Greedy decoding and beam search as a loop in stock torch: nn.LSTM encodes, its cell and bmm decode.

A batch goes on until its last answer has ended. The beams of a question share its keys and values, unless
``repeated``, as in many programs, gives each beam a copy.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import torch
import torch.nn.functional as F
from decoding_cases import END, START, Arrays, DecodingCase
from torch import Tensor, nn


class State(NamedTuple):
    """h, c and what is fed, (R,H) each; the memory (B,S,H), or (R,S,H)."""

    h: Tensor
    c: Tensor
    fed: Tensor
    memory: Tensor

    def select(self, rows: Tensor) -> State:
        return State(self.h[rows], self.c[rows], self.fed[rows], self.memory)


class StockDecoding:
    models = 1

    def __init__(
        self,
        case: DecodingCase,
        *,
        batch: int,
        repeated: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.case, self.repeated = case, repeated
        self.weights = {name: torch.from_numpy(values).to(dtype) for name, values in case.weights.items()}
        self.encoder = nn.LSTM(case.inputs, case.hidden, dtype=dtype)
        own = {n.removeprefix("encoder."): v for n, v in self.weights.items() if n.startswith("encoder.")}
        self.encoder.load_state_dict(own)
        self.batches = torch.from_numpy(case.questions).split(batch, dim=1)

    def encode(self, questions: Tensor) -> State:
        """Token ids (S,B) -> the state before the first step."""
        y, (h, c) = self.encoder(self.weights["source_embedding"][questions])
        return State(h[0], c[0], torch.zeros_like(h[0]), y.transpose(0, 1).contiguous())

    def step(self, last: Tensor, state: State) -> tuple[Tensor, State]:
        """The last tokens (R,) -> log-probabilities of the next ones (R,V), and the state after."""
        w, memory = self.weights, state.memory
        x = torch.cat((w["embedding"][last], state.fed), dim=1)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        h, c = torch.lstm_cell(x, (state.h, state.c), *(w[f"decoder.{name}"] for name in names))
        queries = h.view(len(memory), -1, self.case.hidden)
        alpha = torch.softmax(torch.bmm(queries, memory.mT), dim=-1)
        context = torch.bmm(alpha, memory).view(h.shape)
        both = torch.cat((context, h), dim=1)
        fed = torch.tanh(F.linear(both, w["decoder.weight_output"], w["decoder.bias_output"]))
        scores = torch.log_softmax(F.linear(fed, w["output_weight"], w["output_bias"]), dim=-1)
        return scores, State(h, c, fed, memory)

    def greedy(self, questions: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids (S,B) -> tokens (B,L), filled up with the end symbol, and log-probabilities (B)."""
        state = self.encode(questions)
        B = questions.shape[1]
        last, total = torch.full((B,), START), state.h.new_zeros(B)
        ended, tokens = torch.zeros(B, dtype=torch.bool), torch.full((B, self.case.longest), END)
        for t in range(self.case.longest):
            scores, state = self.step(last, state)
            if t == self.case.longest - 1:  # nothing but the end symbol fits
                best, last = scores[:, END], torch.full_like(last, END)
            else:
                best, last = scores.max(dim=1)
            total = torch.where(ended, total, total + best)
            last = torch.where(ended, END, last)
            tokens[:, t] = last
            ended |= last == END
            if bool(ended.all()):
                break
        return tokens, total

    def beam_search(self, questions: Tensor) -> tuple[Tensor, Tensor]:
        """The same by beams: of the 2k best continuations those among the first k that end are outputs.

        A search is over when k outputs have ended, or nothing that goes on can become better than the best.
        """
        case, k, B, V = self.case, self.case.beams, questions.shape[1], self.case.vocabulary
        state = self.encode(questions)
        each = torch.arange(B).repeat_interleave(k)
        state = state.select(each)
        if self.repeated:
            state = state._replace(memory=state.memory[each])
        live = state.h.new_full((B, k), -torch.inf)
        live[:, 0] = 0  # all beams are alike before the first step
        tokens = torch.full((B, k, case.longest), END)
        best_tokens, best_total = tokens[:, 0].clone(), state.h.new_full((B,), -torch.inf)
        best_score, count = best_total.clone(), torch.zeros(B, dtype=torch.int64)
        over, last = torch.zeros(B, dtype=torch.bool), torch.full((B * k,), START)
        rows, first = torch.arange(B)[:, None], torch.arange(B)[:, None] * k
        for t in range(case.longest):
            scores, state = self.step(last, state)
            scores = scores.view(B, k, V)
            if t == case.longest - 1:
                only = scores[..., END].clone()
                scores = torch.full_like(scores, -torch.inf)
                scores[..., END] = only
            values, index = (live[..., None] + scores).view(B, k * V).topk(2 * k)
            parents, chosen = index // V, index % V
            extended = tokens[rows, parents]
            extended[:, :, t] = chosen
            ends = chosen == END
            final = (values / (t + 1) ** case.alpha).masked_fill(~ends, -torch.inf)[:, :k]
            score, which = final.max(dim=1)
            better = (score > best_score) & ~over
            best_score = torch.where(better, score, best_score)
            best_total = torch.where(better, values.gather(1, which[:, None])[:, 0], best_total)
            best_tokens = torch.where(better[:, None], extended[rows[:, 0], which], best_tokens)
            count += (ends[:, :k] & (values[:, :k] > -torch.inf)).sum(dim=1)
            live, slots = values.masked_fill(ends, -torch.inf).topk(k)
            tokens, last = extended[rows, slots], chosen.gather(1, slots).flatten()
            over |= (count >= k) | (live[:, 0] / case.longest**case.alpha <= best_score)
            if bool(over.all()):
                break
            state = state.select((first + parents.gather(1, slots)).flatten())
        return best_tokens, best_total

    @torch.no_grad()
    def _decode(self) -> list[tuple[Tensor, Tensor]]:
        decode = self.beam_search if self.case.beams else self.greedy
        return [decode(questions) for questions in self.batches]

    def prove(self, count: int) -> Arrays:
        """Return "tokens" (B,L), filled up with the end symbol, and "log_probs" (B)."""
        tokens, totals = zip(*self._decode(), strict=True)
        return {"tokens": torch.cat(tokens).numpy(), "log_probs": torch.cat(totals).numpy()}

    def forward(self, count: int) -> float:
        """Return the seconds of decoding everything ``count`` times."""
        begin = time.perf_counter()
        for _ in range(count):
            self._decode()
        return time.perf_counter() - begin
