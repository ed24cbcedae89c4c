"""Encoder and decoder as one model: trained with the target given, used by greedy decoding or beam search."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from mathkernels.nn._bridge import Bridge
from mathkernels.nn._decoder import AttentionDecoder
from mathkernels.nn._layer import check_choice, check_size
from mathkernels.nn._linear import linear
from mathkernels.nn._parameters import Parameters
from mathkernels.nn._sequence import SequenceLayer, widening
from mathkernels.nn._sequence_shapes import check_lengths, text
from mathkernels.nn._steps import Decoded, StepOutput
from mathkernels.nn._tensors import LOW, check_tensor, own
from mathkernels.nn.attention import Memory
from mathkernels.nn.decoding import MOST_TOGETHER, beam_search, greedy

MOST_ROWS = 256  # of an embedding that are multiplied by the input weights once, instead of every token
ENCODED_TOGETHER = 128  # sentences, of those that are decoded together
MOST_BYTES = 1 << 28  # of what the encoder makes of the sentences that are decoded together


class Start(NamedTuple):
    """What a decoder goes on from: its states, (B,H) or (L,B,H) each, and the source as it reads it."""

    states: tuple[Tensor, ...] | None
    memory: Memory | None
    rows: int


class Seq2Seq(Parameters):
    """Encoder, bridge and decoder, with embeddings before them and a projection to logits behind.

    Shapes: source ``(S, B)`` token ids or what else the encoder takes, target ``(T, B)`` token ids, logits
    ``(T, B, V)``; ``batch_first``, as encoder and decoder have it, puts B first. With ``models=E`` every
    tensor and parameter has a leading E; encoder and decoder have the same ``models``.
    Parameters: those of ``encoder``, ``decoder`` and ``bridge``; ``source_embedding`` (V_source, I) and
    ``embedding`` (V, I), N(0, 1); ``output_weight`` (V, O) and ``output_bias``, U(-1/sqrt(O), 1/sqrt(O)).

    Args:
        encoder: an `LSTM` or a `GRU`, of any depth, in one direction or both.
        decoder: an `AttentionLSTM` or `AttentionGRU`, whose memory is the encoder's output; or an `LSTM` or
            `GRU` in one direction, which knows the source by the bridge alone.
        vocabulary: V, how many tokens there are in targets.
        source_vocabulary: V_source; adds an embedding for the encoder. Otherwise the source goes to it as it
            is: real numbers or, as one-hot rows, token ids.
        embed: whether targets are embedded; otherwise the decoder takes token ids itself.
        bridge: "none", "pass", "linear" or "tanh": how the encoder's last states become the decoder's first.
        merge: "concat" or "sum" of the outputs of both directions.
        output_bias: adds a bias to the logits.

    Raises:
        ValueError: an argument is out of its range, or parts do not fit each other.
        TypeError: encoder or decoder is no such module.
    """

    def __init__(
        self,
        encoder: SequenceLayer,
        decoder: AttentionDecoder | SequenceLayer,
        vocabulary: int,
        *,
        source_vocabulary: int | None = None,
        embed: bool = True,
        bridge: str = "linear",
        merge: str = "concat",
        output_bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        name = "Seq2Seq"
        if not isinstance(encoder, SequenceLayer):
            raise TypeError(f"{name}: encoder is {type(encoder).__name__}; needs an LSTM or a GRU")
        if not isinstance(decoder, (AttentionDecoder, SequenceLayer)):
            kinds = "AttentionLSTM, AttentionGRU, LSTM or GRU"
            raise TypeError(f"{name}: decoder is {type(decoder).__name__}; needs one of {kinds}")
        if encoder.models != decoder.models or encoder.batch_first != decoder.batch_first:
            both = [f"models={part.models}, batch_first={part.batch_first}" for part in (encoder, decoder)]
            raise ValueError(f"{name}: the encoder has {both[0]}, the decoder {both[1]}; needs the same")
        if isinstance(decoder, SequenceLayer) and decoder.bidirectional:
            raise ValueError(f"{name}: the decoder is bidirectional; needs one direction")
        super().__init__(encoder.models, device, dtype)
        self.vocabulary = check_size(name, "vocabulary", vocabulary)
        self.embed = check_choice(name, "embed", embed, (True, False))
        self.merge = check_choice(name, "merge", merge, ("concat", "sum"))
        self.batch_first = encoder.batch_first
        if not embed and decoder.input_size != self.vocabulary:
            raise ValueError(
                f"{name}: without an embedding the decoder's input_size {decoder.input_size} needs to be"
                f" vocabulary {self.vocabulary}"
            )
        self.encoder, self.decoder = encoder, decoder
        self.attends = isinstance(decoder, AttentionDecoder)
        memory = encoder.hidden_size * (encoder.directions if merge == "concat" else 1)
        if isinstance(decoder, AttentionDecoder):
            if decoder.memory_size != memory:
                raise ValueError(
                    f"{name}: memory_size of the decoder is {decoder.memory_size}; needs {memory}, the"
                    " columns of the encoder's output"
                )
            begins = (len(decoder.cell_states), decoder.hidden_size, None)
            self.columns = decoder.output_size
        else:
            begins = (len(decoder.states), decoder.hidden_size, decoder.num_layers)
            self.columns = decoder.hidden_size
        self.bridge = Bridge(
            bridge,
            (len(encoder.states), encoder.directions, encoder.hidden_size),
            begins,
            models=encoder.models,
            device=device,
            dtype=dtype,
        )
        source = 0 if source_vocabulary is None else check_size(name, "source_vocabulary", source_vocabulary)
        self._register("source_embedding", source, encoder.input_size, there=source > 0)
        self._register("embedding", self.vocabulary, decoder.input_size, there=self.embed)
        self._register("output_weight", self.vocabulary, self.columns)
        self._register("output_bias", self.vocabulary, there=output_bias)
        self._draw_own()

    def reset_parameters(self) -> None:
        """Draw all parameters anew, those of the parts included."""
        for part in (self.encoder, self.bridge, self.decoder):
            part.reset_parameters()
        self._draw_own()

    def _draw_own(self) -> None:
        for name in ("source_embedding", "embedding"):
            if name in self._right:
                torch.nn.init.normal_(getattr(self, name))
        self._draw(self.columns**-0.5, "output_weight", "output_bias")

    def _tokens(self, which: str, tokens: Any) -> Tensor:
        tokens = check_tensor("Seq2Seq", "target" if which == "embedding" else "source", tokens)
        if tokens.is_floating_point() or tokens.dtype == torch.bool:
            raise TypeError(f"Seq2Seq: {which} takes token ids; the tokens are {tokens.dtype}")
        return tokens.long()

    def _embedded(self, which: str, tokens: Tensor) -> Tensor:
        """Token ids as rows of an embedding, or as they are where there is none."""
        (table,) = self._tensors(which)
        if table is None:
            return tokens
        tokens = self._tokens(which, tokens)
        E, V, columns = table.shape
        if self.models is not None:
            shift = torch.arange(E, device=tokens.device) * V
            tokens = tokens + shift.reshape(E, *[1] * (tokens.dim() - 1))
        return torch.nn.functional.embedding(tokens, table.reshape(E * V, columns))

    def _read(self, which: str, tokens: Any) -> tuple[Any, Tensor | None]:
        """What a layer reads: token ids and the table whose rows they are, or these rows where they are many,
        or what there is without a table."""
        (table,) = self._tensors(which)
        if table is None or table.shape[1] > MOST_ROWS:
            return self._embedded(which, tokens), None
        return self._tokens(which, tokens), table if self.models is not None else table[0]

    def logits(self, outputs: Tensor) -> Tensor:
        """Outputs of the decoder (..., O) -> logits (..., V)."""
        weight, bias = self._tensors("output_weight", "output_bias")
        stored, bfloat16, _ = widening(False, weight)
        wide = [None if t is None else t.float() if t.dtype in LOW else t for t in (weight, bias)]
        E, shape = self.models or 1, outputs.shape
        rows = outputs.to(wide[0].dtype).reshape(E, outputs[..., 0].numel() // E, self.columns)  # pyright: ignore[reportOptionalMemberAccess]
        found = linear(rows, wide[0], wide[1], bfloat16)  # pyright: ignore[reportArgumentType]
        return own(found, (*shape[:-1], self.vocabulary), None, stored)

    def encode(self, source: Any, lengths: Any = None) -> Start:
        """The states and the memory that a decoder begins with.

        Args:
            source: token ids or real numbers, with an axis of the batch; or a PackedSequence.
            lengths: (B,), or (E,B) with ``models``: how much there is of each row.
        """
        return self._encode(source, lengths, lay_out=True)

    def _encode(self, source: Any, lengths: Any, lay_out: bool) -> Start:
        if isinstance(source, PackedSequence):
            if lengths is not None or self.models is not None:
                raise ValueError("Seq2Seq: source is a PackedSequence, which goes without lengths and models")
            source, lengths = pad_packed_sequence(source, batch_first=self.batch_first)
            lengths = lengths.to(source.device)
        x, table = self._read("source_embedding", source)
        y, ends = self.encoder(x, lengths=lengths, embedding=table)
        axis = len(self.lead) + (0 if self.batch_first else 1)
        ends = ends if isinstance(ends, tuple) else (ends,)
        memory = None
        if isinstance(self.decoder, AttentionDecoder):
            if self.merge == "sum" and self.encoder.bidirectional:
                forward, backward = y.chunk(2, -1)
                y = forward + backward
            memory = self.decoder.prepare(y, None, lengths, lay_out=lay_out)
        return Start(self.bridge(ends), memory, y.shape[axis])

    def forward(
        self,
        source: Any,
        target: Tensor,
        source_lengths: Any = None,
        target_lengths: Any = None,
        return_weights: bool = False,
    ) -> Any:
        """Logits of the next token at every step, with the target given (teacher forcing).

        Args:
            source: see the class; may be a PackedSequence.
            target: tokens that go into the decoder, the start symbol first.
            source_lengths, target_lengths: how much there is of each row, (B,), or (E,B) with ``models``.
            return_weights: return the weights of attention, (T,B,N,S), as well.
        """
        start = self.encode(source, source_lengths)
        x, table = self._read("embedding", target)
        if isinstance(self.decoder, AttentionDecoder):
            given = x, start.memory, start.states, target_lengths
            how: dict[str, Any] = {"return_weights": return_weights, "embedding": table}
            outputs, _, *more = self.decoder(*given, **how)  # pyright: ignore[reportArgumentType]
            return (self.logits(outputs), *more) if return_weights else self.logits(outputs)
        if return_weights:
            raise ValueError("Seq2Seq: return_weights is True, but the decoder does not attend")
        states = start.states
        hx: Any = states[0] if states is not None and len(states) == 1 else states
        outputs, _ = self.decoder(x, hx, lengths=target_lengths, embedding=table)
        return self.logits(outputs)

    # ---- single steps, for one model (`StepModel`)

    def sentences(self, state: Start) -> int:
        """How many rows a state has."""
        return state.rows

    def select(self, state: Start, rows: Tensor, sentences: Tensor | None) -> Start:
        """The states of other rows and, unless it is None, the source of some sentences only."""
        states = state.states
        if states is not None:
            states = tuple(part.index_select(-2, rows) for part in states)
        memory = state.memory
        if memory is not None and sentences is not None:
            memory = memory.select(sentences)
        return Start(states, memory, len(rows))

    def step(self, tokens: Tensor, state: Start, return_weights: bool = False) -> StepOutput:
        """Log-probabilities (R,V) of what follows one token (R,) in each row."""
        if self.models is not None:
            raise ValueError("Seq2Seq: single steps need a module without models")
        x = self._embedded("embedding", tokens)
        weights = source = None
        if isinstance(self.decoder, AttentionDecoder):
            assert state.memory is not None
            outputs, states, *more = self.decoder.step(x, state.states, state.memory, return_weights)
            if return_weights:
                weights, source = more[0].mean(1), state.memory.places()[0]
        else:
            states = state.states
            hx: Any = states[0] if states is not None and len(states) == 1 else states
            one = x.unsqueeze(1) if self.batch_first else x.unsqueeze(0)
            lengths = torch.ones_like(tokens)  # tells the decoder that these are token ids
            y, ends = self.decoder(one, hx, lengths=lengths)
            outputs = y[:, 0] if self.batch_first else y[0]
            states = ends if isinstance(ends, tuple) else (ends,)
        scores = torch.log_softmax(self.logits(outputs).float(), -1) if outputs.dtype in LOW else None
        if scores is None:
            scores = torch.log_softmax(self.logits(outputs), -1)
        return StepOutput(scores, Start(states, state.memory, len(tokens)), weights, source)

    # ---- decoding

    def greedy(
        self, source: Any, lengths: Any = None, *, block: int | None = None, **options: Any
    ) -> Decoded:
        """`decoding.greedy` of source sentences; options are its.

        Args:
            source, lengths: as in `encode`.
            block: sentences that go through encoder and decoder together; by default up to 1,024, fewer where
                what the encoder makes of the longest would take more than 256 MB.
        """
        return self._decode(greedy, source, lengths, block, options)

    def beam_search(
        self, source: Any, lengths: Any = None, *, block: int | None = None, **options: Any
    ) -> Decoded:
        """`decoding.beam_search` of source sentences; options are its, and arguments as in `greedy`."""
        return self._decode(beam_search, source, lengths, block, options)

    @torch.no_grad()
    def _decode(
        self,
        decode: Callable[..., Decoded],
        source: Any,
        lengths: Any,
        block: int | None,
        options: dict[str, Any],
    ) -> Decoded:
        """Sentences of like length go through encoder and decoder together, block by block."""
        if self.models is not None:
            raise ValueError("Seq2Seq: decoding needs a module without models")
        if block is not None:
            block = check_size("Seq2Seq", "block", block)
        if isinstance(source, PackedSequence):
            source, lengths = pad_packed_sequence(source, batch_first=self.batch_first)
        source = check_tensor("Seq2Seq", "source", source)
        if source.dim() < 2:
            right = text(("B", "S") if self.batch_first else ("S", "B"))
            raise ValueError(
                f"Seq2Seq: source has shape {text(source.shape)}; needs {right}, or columns more"
            )
        start = options.get("start")
        if isinstance(start, numbers.Integral) and int(start) >= self.vocabulary:
            raise ValueError(
                f"Seq2Seq: start is {start}; needs a token id below vocabulary {self.vocabulary}"
            )
        rows_first = source if self.batch_first else source.transpose(0, 1)
        count = rows_first.shape[0]
        if block is None:
            columns = self.encoder.hidden_size * self.encoder.directions
            each = rows_first[:1].shape[1] * columns * self._tensors("output_weight")[0].element_size()  # pyright: ignore[reportOptionalMemberAccess]
            block = min(max(MOST_BYTES // max(each, 1), 1), MOST_TOGETHER)
        if lengths is not None:
            lengths = check_lengths("Seq2Seq", lengths, rows_first.transpose(0, 1)[None], True, None)[0]
        order = torch.arange(count) if lengths is None else lengths.argsort(stable=True)
        parts = []
        for rows in order.split(block) if count else [order]:
            some, most = rows_first[rows], None
            if lengths is not None:
                most = lengths[rows]
                some = some[:, : max(int(most.max()), 1)] if len(rows) else some
            parts.append(decode(self, self._begin(some, most), block=block, numbers_of=rows, **options))
        back = order.argsort()
        return Decoded(*(torch.cat(part)[back] for part in zip(*parts, strict=True)))

    def _begin(self, rows_first: Tensor, lengths: Tensor | None) -> Start:
        """`encode`, of few sentences at a time: outputs stay in the cache until the decoder has them."""
        count, axis = len(rows_first), 0 if self.batch_first else 1
        if count <= ENCODED_TOGETHER:
            return self.encode(rows_first.movedim(0, axis), lengths)
        memory: Memory | None = None
        states = []
        for first in range(0, count, ENCODED_TOGETHER):
            rows = slice(first, first + ENCODED_TOGETHER)
            some = rows_first[rows].movedim(0, axis)
            part = self._encode(some, None if lengths is None else lengths[rows], lay_out=False)
            if part.memory is not None:
                memory = part.memory.room(count) if memory is None else memory
                memory.write(first, part.memory)
            states.append(part.states)
        together = None
        if states[0] is not None:
            together = tuple(torch.cat(same, -2) for same in zip(*states, strict=True))
        return Start(together, memory, count)

    def extra_repr(self) -> str:
        source = (
            f", source_vocabulary={self._right['source_embedding'][-2]}"
            if "source_embedding" in self._right
            else ""
        )
        embed = "" if self.embed else ", embed=False"
        merge = "" if self.merge == "concat" else f", merge={self.merge!r}"
        return f"vocabulary={self.vocabulary}{source}{embed}{merge}"
