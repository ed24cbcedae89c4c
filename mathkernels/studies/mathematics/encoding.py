"""Questions and answers as ids in the places where each model reads and predicts them.

K thinking steps stand between question and answer. Of an answer 4 2 the characters START 4 2 are read, and at
each of these steps the next of 4 2 STOP is to be predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mathkernels.data.mathematics.vocabulary import (
    MOST_ANSWER,
    MOST_QUESTION,
    START,
    STOP,
    Vocabularies,
    Vocabulary,
)
from mathkernels.studies.mathematics.config import Config, Kind
from mathkernels.studies.mathematics.models import Attentional, Batch, Model, Seq2Seq, Simple

MARKED = MOST_ANSWER + 2  # characters of an answer with START and STOP


@dataclass(frozen=True)
class Texts:
    """Ids of some questions and answers, in the vocabularies that the model reads them with.

    Args:
        question, answer: (B,S) and (B,T), uint8; what lies behind an end is not read.
        question_lengths, answer_lengths: (B), int64.
    """

    question: np.ndarray
    question_lengths: np.ndarray
    answer: np.ndarray
    answer_lengths: np.ndarray

    def take(self, rows: np.ndarray) -> Texts:
        """Return some of them, as wide as their longest."""
        lengths, answers = self.question_lengths[rows], self.answer_lengths[rows]
        question = self.question[rows, : int(lengths.max(initial=0))]
        return Texts(question, lengths, self.answer[rows, : int(answers.max(initial=0))], answers)


@dataclass(frozen=True)
class Encoding:
    """How a model reads.

    Args:
        kind: of model.
        vocabularies: of the data.
        thinking: K.
        trim: whether a batch is as long as its longest row, and not as any can be.
        replica: whether the attentional model is the published one, whose thinking steps change nothing.
    """

    kind: Kind
    vocabularies: Vocabularies
    thinking: int
    trim: bool = True
    replica: bool = False

    @property
    def question(self) -> Vocabulary:
        return self.vocabularies.joint if self.kind == "simple" else self.vocabularies.question

    @property
    def answer(self) -> Vocabulary:
        return self.vocabularies.joint if self.kind == "simple" else self.vocabularies.answer

    @property
    def shift(self) -> int:
        """What is added to an id where it is read: of the attentional model 0 is padding."""
        return int(self.kind == "attentional")

    @property
    def positions(self) -> int:
        """Positions of an answer's sequence at full length, over which the project takes its mean."""
        whole = self.thinking + MARKED
        return MOST_QUESTION - 4 + whole if self.kind == "simple" else whole

    @property
    def _empty(self) -> tuple[int, int]:
        """Ids of what stands in a question's and an answer's place and is no character."""
        if self.kind == "attentional":
            return 0, 0
        return len(self.question), len(self.answer)

    @property
    def _steps(self) -> int:
        """Thinking steps that the model takes; those of the published attentional model are masked."""
        return 0 if self.replica and self.kind == "attentional" else self.thinking

    def encode(self, texts: Texts) -> Batch:
        """Return the batch for teacher forcing."""
        lengths, answers = texts.question_lengths, texts.answer_lengths
        begin = lengths + self.thinking if self.kind == "simple" else np.full_like(lengths, self._steps)
        full = self.positions if self.kind == "simple" else self._steps + MARKED
        longest = int((begin + answers).max()) + 1  # the last character read is the answer's last
        steps = longest if self.trim else max(full, longest)
        empty, empty_answer = self._empty
        rows, batch = len(lengths), np.arange(len(lengths))[:, None]
        read = np.full((rows, steps), empty_answer, np.int64)
        if self.kind == "simple":
            within = np.arange(texts.question.shape[1]) < lengths[:, None]
            read[:, : texts.question.shape[1]][within] = texts.question[within]
        marked, ends = self._marked(texts)
        places = begin[:, None] + np.arange(marked.shape[1])
        written = (np.arange(marked.shape[1]) < ends[:, None]) & (places < steps)
        read[np.broadcast_to(batch, places.shape)[written], places[written]] = marked[written] + self.shift
        predicted = np.arange(marked.shape[1] - 1) < (ends - 1)[:, None]
        where, targets = places[:, :-1][predicted], marked[:, 1:][predicted]
        owner = np.broadcast_to(batch, predicted.shape)[predicted]
        if self.kind == "simple":
            question, answer = read, np.zeros((rows, 0), np.int64)
        else:
            question, answer = self._questions(texts, empty), read
        return Batch(
            _tensor(question.T),
            torch.from_numpy(lengths),
            _tensor(answer.T),
            torch.from_numpy(where * rows + owner),
            torch.from_numpy(owner.copy()),
            torch.from_numpy(targets),
        )

    def encode_questions(self, texts: Texts) -> Batch:
        """Return a batch to be answered: its answers are not in it, but its thinking steps are."""
        empty, empty_answer = self._empty
        none = torch.zeros(0, dtype=torch.int64)
        rows, lengths = len(texts.question), texts.question_lengths
        if self.kind != "simple":
            thinking = np.full((self._steps, rows), empty_answer, np.int64)
            question = self._questions(texts, empty)
            return Batch(_tensor(question.T), torch.from_numpy(lengths), _tensor(thinking), none, none, none)
        width = texts.question.shape[1]
        read = np.full((rows, width + self.thinking), empty, np.int64)
        within = np.arange(width) < lengths[:, None]
        read[:, :width][within] = texts.question[within]
        thought = torch.from_numpy(lengths + self.thinking)
        return Batch(_tensor(read.T), thought, torch.zeros(0, rows, dtype=torch.int64), none, none, none)

    def _questions(self, texts: Texts, empty: int) -> np.ndarray:
        width = texts.question.shape[1]
        read = np.full(
            (len(texts.question), width if self.trim else max(MOST_QUESTION, width)), empty, np.int64
        )
        within = np.arange(width) < texts.question_lengths[:, None]
        read[:, :width][within] = texts.question[within].astype(np.int64) + self.shift
        return read

    def _marked(self, texts: Texts) -> tuple[np.ndarray, np.ndarray]:
        """Return the answers between START and STOP (B,T), int64, and their lengths (B)."""
        rows, width = texts.answer.shape
        marked = np.zeros((rows, width + 2), np.int64)
        marked[:, 0], marked[:, 1:-1] = self.answer.id_of(START), texts.answer
        marked[np.arange(rows), texts.answer_lengths + 1] = self.answer.id_of(STOP)
        return marked, texts.answer_lengths + 2

    def greedy(self, model: Model, texts: Texts) -> list[str]:
        """Return the model's answers, written character by character."""
        batch = self.encode_questions(texts)
        most = MOST_ANSWER + 1
        start, stop = self.answer.id_of(START), self.answer.id_of(STOP)
        found = model.greedy(batch, start, stop, most, self.shift).cpu().numpy()
        return [self.answer.text(column) for column in found.T]

    def texts(self, questions: list[str], answers: list[str] | None = None) -> Texts:
        """Return the ids of texts."""
        answers = [""] * len(questions) if answers is None else answers
        parts = []
        for own, vocabulary in ((questions, self.question), (answers, self.answer)):
            ids = [vocabulary.ids(one) for one in own]
            lengths = np.array([len(one) for one in ids], np.int64)
            padded = np.zeros((len(ids), int(lengths.max(initial=0))), np.uint8)
            for row, one in enumerate(ids):
                padded[row, : len(one)] = one
            parts += [padded, lengths]
        return Texts(*parts)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.int64))


def encoding_of(config: Config, vocabularies: Vocabularies) -> Encoding:
    return Encoding(config.model, vocabularies, config.thinking_steps, config.trim_batches, config.replica)


def model_of(config: Config, vocabularies: Vocabularies, stock: bool) -> Model:
    """Return a new model of a configuration, its parameters not yet set."""
    question, answer = len(vocabularies.question), len(vocabularies.answer)
    if config.model == "simple":
        return Simple(len(vocabularies.joint), config.latent_dim, stock)
    if config.model == "seq2seq":
        return Seq2Seq(question, answer, config.latent_dim, stock)
    units = config.embedding_dim, config.num_encoder_units, config.num_decoder_units
    return Attentional(question, answer, *units, config.replica, stock)
