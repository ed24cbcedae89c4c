"""The three models of the Deep Math project: simple LSTM, attentional LSTM, and plain sequence to sequence.

All are trained with teacher forcing: they read the question, think for K steps, and predict each character of
the answer from those before it. Scores are made only where a character is to be predicted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mathkernels.initial import keras
from mathkernels.studies.mathematics.layers import Dense, States, TokenLSTM, attend

EMBEDDING_BOUND = 0.05  # of Keras' first values


class Batch(NamedTuple):
    """Questions and answers as a model reads them.

    Args:
        question: ids (S,B); the simple model's hold question, thinking steps and answer.
        lengths: characters of each question (B).
        answer: ids (T,B), thinking steps first; without elements for the simple model.
        places: of the characters to predict (N), in the steps of the last LSTM: step times B plus row.
        rows: of these (N).
        targets: these characters' ids (N).
    """

    question: Tensor
    lengths: Tensor
    answer: Tensor
    places: Tensor
    rows: Tensor
    targets: Tensor


class Model(nn.Module):
    """What all models share: the last layer, and greedy decoding by single steps."""

    decoder: TokenLSTM
    output: Dense

    def forward(self, batch: Batch) -> Tensor:
        """Return the scores (N,V) of the characters to predict."""
        raise NotImplementedError

    def begin(self, batch: Batch) -> tuple[States, Callable[[Tensor], Tensor]]:
        """Read questions and think; return states, and what makes scores (B,V) of outputs (1,B,H)."""
        raise NotImplementedError

    def table(self) -> Tensor | None:
        """Return the embeddings that the answer's characters are read by."""
        return None

    @torch.no_grad()
    def greedy(self, batch: Batch, start: int, stop: int, most: int, shift: int = 0) -> Tensor:
        """Return the likeliest character after each other (most,B), int64, stop behind the end.

        Args:
            batch: its questions are read, its answers are not.
            start: id that the answer begins after.
            stop: id that ends it.
            most: characters, that which ends it among them.
            shift: what is added to an id where it is read.
        """
        states, scores = self.begin(batch)
        last = torch.full_like(batch.lengths, start)
        ended = torch.zeros_like(last, dtype=torch.bool)
        found = torch.full((most, len(last)), stop, dtype=torch.int64, device=last.device)
        for step in range(most):
            y, states = self.decoder((last + shift)[None], self.table(), states)
            last = torch.where(ended, stop, scores(y).argmax(1))
            found[step] = last
            ended = ended | (last == stop)
            if ended.all():
                break
        return found


class Simple(Model):
    """One LSTM reads question, thinking steps and answer as one sequence of one-hot vectors.

    Args:
        characters: V of questions and answers together; the id V is a thinking step, a vector of zeros.
        hidden: H.
        stock: whether torch.nn.LSTM runs.
    """

    def __init__(self, characters: int, hidden: int, stock: bool = False) -> None:
        super().__init__()
        self.decoder = TokenLSTM(characters, hidden, stock)
        self.output = Dense(hidden, characters, stock)

    def forward(self, batch: Batch) -> Tensor:
        y, _ = self.decoder(batch.question, None)
        return self.output(y.flatten(0, 1).index_select(0, batch.places))

    def begin(self, batch: Batch) -> tuple[States, Callable[[Tensor], Tensor]]:
        _, states = self.decoder(batch.question, None, None, batch.lengths)
        return states, lambda y: self.output(y[0])


class Seq2Seq(Model):
    """An LSTM reads the question; another begins with its last state, thinks, and reads the answer.

    Args:
        characters: V_q of questions; the id V_q is a vector of zeros.
        answers: V_a of answers, likewise.
        hidden: H of both.
        stock: whether torch.nn.LSTM runs.
    """

    def __init__(self, characters: int, answers: int, hidden: int, stock: bool = False) -> None:
        super().__init__()
        self.encoder = TokenLSTM(characters, hidden, stock)
        self.decoder = TokenLSTM(answers, hidden, stock)
        self.output = Dense(hidden, answers, stock)

    def forward(self, batch: Batch) -> Tensor:
        _, states = self.encoder(batch.question, None, None, batch.lengths)
        y, _ = self.decoder(batch.answer, None, states)
        return self.output(y.flatten(0, 1).index_select(0, batch.places))

    def begin(self, batch: Batch) -> tuple[States, Callable[[Tensor], Tensor]]:
        _, states = self.encoder(batch.question, None, None, batch.lengths)
        if len(batch.answer):
            _, states = self.decoder(batch.answer, None, states)
        return states, lambda y: self.output(y[0])


class Attentional(Model):
    """A bidirectional LSTM reads the question; another reads the answer and attends to what the first made.

    Ids are ranks plus 1. Attention is for the output only: its context is not fed back. As published the
    model has three properties that ``replica`` brings back: thinking steps change nothing (leave them out of
    the batch), the padding of the question is attended to, and the decoder begins with the encoder's vector
    of the last step, padding or not, so that all questions shorter than that begin alike.

    Args:
        characters: V_q of questions.
        answers: V_a of answers.
        embedding: E.
        encoder: units of one direction.
        hidden: H of the decoder.
        replica: the published model instead of the repaired one.
        stock: whether torch.nn.LSTM runs.
    """

    def __init__(
        self,
        characters: int,
        answers: int,
        embedding: int,
        encoder: int,
        hidden: int,
        replica: bool = False,
        stock: bool = False,
    ) -> None:
        super().__init__()
        self.replica = replica
        self.question_table = nn.Parameter(torch.zeros(characters + 1, embedding))
        self.answer_table = nn.Parameter(torch.zeros(answers + 1, embedding))
        self.encoder = TokenLSTM(embedding, encoder, stock, bidirectional=True)
        self.bridge = Dense(2 * encoder, hidden, stock)
        self.decoder = TokenLSTM(embedding, hidden, stock)
        self.attentional = Dense(2 * hidden, hidden, stock)
        self.output = Dense(hidden, answers, stock)

    def table(self) -> Tensor:
        return self.answer_table

    def _encode(self, batch: Batch) -> tuple[Tensor, Tensor | None, States]:
        """Return keys (S,B,H), the mask (B,S) of those that count, and the decoder's states."""
        y, (last, _) = self.encoder(batch.question, self.question_table, None, batch.lengths)
        keys = self.bridge(y)
        if self.replica:
            return keys, None, (keys[-1:], keys[-1:])
        first = self.bridge(torch.cat([last[0], last[1]], 1))[None]
        steps = torch.arange(len(keys), device=keys.device)
        return keys, steps < batch.lengths[:, None], (first, first)

    def _hidden(self, context: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(self.attentional(torch.cat([context, y], -1)))

    def forward(self, batch: Batch) -> Tensor:
        keys, mask, states = self._encode(batch)
        y, _ = self.decoder(batch.answer, self.answer_table, states)
        # steps before the first character to predict need no context
        first = self.thinking(batch)
        y = y[first:]
        context, _ = attend(y, keys, mask)
        places = batch.places - first * y.shape[1]
        asked = [rows.flatten(0, 1).index_select(0, places) for rows in (context, y)]
        return self.output(self._hidden(*asked))

    @staticmethod
    def thinking(batch: Batch) -> int:
        """Return how many steps come before the first character to predict."""
        return int(batch.places.min()) // batch.answer.shape[1] if len(batch.places) else 0

    def begin(self, batch: Batch) -> tuple[States, Callable[[Tensor], Tensor]]:
        keys, mask, states = self._encode(batch)
        if len(batch.answer):
            _, states = self.decoder(batch.answer, self.answer_table, states)
        return states, lambda y: self.output(self._hidden(attend(y, keys, mask)[0], y)[0])

    @torch.no_grad()
    def weights(self, batch: Batch) -> Tensor:
        """Return how much each step of the answer attends to each of the question, (T,B,S)."""
        keys, mask, states = self._encode(batch)
        y, _ = self.decoder(batch.answer, self.answer_table, states)
        found = attend(y, keys, mask, weights=True)[1]
        assert found is not None
        return found


def initialise(model: nn.Module, seed: int) -> None:
    """Set first values as Keras draws them; the same for both kinds of layers."""
    source = torch.Generator().manual_seed(seed)
    shapes = {name: tuple(own.shape) for name, own in model.named_parameters()}
    values = keras.draw(shapes, source)
    with torch.no_grad():
        for name, own in model.named_parameters():
            if name.endswith("_table"):
                values[name].uniform_(-EMBEDDING_BOUND, EMBEDDING_BOUND, generator=source)
            own.copy_(values[name])


def parameters(model: nn.Module) -> int:
    """Return how many numbers are trained."""
    return sum(own.numel() for own in model.parameters() if own.requires_grad)
