"""What decoders with attention share: one call over a target, and single steps, in the shapes of the user."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from mathkernels.nn._decoder_steps import DecoderSteps
from mathkernels.nn._parameters import models_first
from mathkernels.nn._sequence import widening
from mathkernels.nn._sequence_shapes import check_embedding, check_input, check_lengths, check_state, text
from mathkernels.nn._tensors import LOW, own, widen
from mathkernels.nn.attention import Memory


class AttentionDecoder(DecoderSteps):
    """Subclasses set ``gates`` and ``cell_states`` and call their ops."""

    def prepare(
        self, memory: Any, mask: Tensor | None = None, lengths: Any = None, *, lay_out: bool = True
    ) -> Memory:
        """Keys, values and mask of a source for many calls; see `Attention.prepare`."""
        return self.attention.prepare(memory, mask, lengths, lay_out=lay_out)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | PackedSequence | Memory,
        hx: Any = None,
        lengths: Any = None,
        *,
        memory_mask: Tensor | None = None,
        memory_lengths: Any = None,
        return_context: bool = False,
        return_weights: bool = False,
        embedding: Tensor | None = None,
    ) -> Any:
        """Run along a whole target.

        Args:
            x: inputs or token ids, see the class.
            memory: the source.
            hx: initial states, 0 by default; what is fed may be left out, which is 0 then.
            lengths: valid steps of each row, (B,), or (E,B) with ``models``: from there on outputs are 0, and
                the final states are those after the last valid step.
            memory_mask, memory_lengths: where a source may be attended to, as in `Attention.prepare`.
            return_context: return the contexts (T, B, N*R) as well.
            return_weights: return the weights (T, B, N, S) as well.
            embedding: a table (V, I) of which x holds numbers of rows, as in `LSTM`.

        Returns:
            the output, the tuple of final states, and what else was asked for.
        """
        name, models = type(self).__name__, self.models
        axes = ("B", "T") if self.batch_first else ("T", "B")
        ids, batched = check_input(name, x, axes, self.input_size, models)
        stored, bfloat16, lenient = widening(self.in_bfloat16, self.weight_ih)
        if embedding is not None:
            embedding = check_embedding(name, embedding, x, self.input_size, models)
            embedding = widen(name, "embedding", embedding, stored, lenient)
        x = models_first(x.long() if ids else widen(name, "x", x, stored, lenient), models)
        x = x.unsqueeze(2) if not batched else x.transpose(1, 2) if self.batch_first else x
        source = self.attention.prepare(memory, memory_mask, memory_lengths, batched=batched)
        if source.keys.shape[1] != x.shape[2]:
            raise ValueError(f"{name}: memory has {source.keys.shape[1]} rows; needs the {x.shape[2]} of x")
        states = self._initial(hx, (x.shape[2],) if batched else (), stored, lenient)
        if lengths is not None:
            lengths = check_lengths(name, lengths, x, batched, models)
        steps = self.run(x, source, states, lengths, return_weights, bfloat16, embedding)
        swap = (len(self.lead), len(self.lead) + 1) if batched and self.batch_first else None
        found = [self._output(steps, lengths, bfloat16)]
        found += [steps.context] if return_context else []
        found += [steps.weights] if steps.weights is not None else []
        dropped = ((0,) if models is None else ()) + (
            () if batched else (2,)
        )  # the axes of one model, one row

        def handed(
            tensor: Tensor, without: tuple[int, ...], swap: tuple[int, int] | None, saved: bool
        ) -> Tensor:
            shape = [n for axis, n in enumerate(tensor.shape) if axis not in without]
            return own(tensor, shape, swap, stored, saved)

        output, *more = [handed(tensor, dropped, swap, True) for tensor in found]
        without = tuple(min(axis, 1) for axis in dropped)
        return output, tuple(handed(state, without, None, False) for state in steps.states), *more

    def step(self, x: Tensor, state: Any, memory: Memory, return_weights: bool = False) -> tuple[Any, ...]:
        """One step of R rows: R is the number of the memory's rows or a multiple k of it, k rows to each.

        Args:
            x: (R, I), or token ids (R,); with ``models`` a leading E, as everywhere.
            state: the states before, (R, H) and (R, F); None for 0.
            memory: what `prepare` returned.

        Returns:
            the output (R, ·), the states after, and with ``return_weights`` the weights (R, N, S).
        """
        name, models = type(self).__name__, self.models
        ids, batched = check_input(name, x, ("B",), self.input_size, models)
        R, n = x.shape[len(self.lead)] if batched else 1, memory.batch
        if not batched or (R % n if n else R):
            raise ValueError(f"{name}: x has shape {text(x.shape)}; needs rows, a multiple of memory's {n}")
        stored, bfloat16, lenient = widening(self.in_bfloat16, self.weight_ih)
        x = models_first(x.long() if ids else widen(name, "x", x, stored, lenient), models)
        states = self._initial(state, (R,), stored, lenient)
        steps = self.apart(x.unsqueeze(1), memory, states, None, return_weights, bfloat16)
        kept = [self._output(steps, None, bfloat16), *([] if steps.weights is None else [steps.weights])]
        output, *more = (part[:, 0] if models is not None else part[0, 0] for part in kept)
        after = tuple(part if models is not None else part[0] for part in steps.states)
        if stored in LOW:
            output, after = output.to(stored), tuple(part.to(stored) for part in after)
        return output, after, *more

    def _initial(
        self, hx: Any, rows: tuple[int, ...], stored: torch.dtype, lenient: bool
    ) -> list[Tensor | None]:
        """The initial states (E,B,·); None for 0."""
        name = type(self).__name__
        if hx is None:
            return [None] * len(self.states)
        given = [hx] if isinstance(hx, Tensor) else hx
        counts = (len(self.cell_states), len(self.states))
        if not isinstance(given, (tuple, list)) or len(given) not in counts:
            what = f"{len(given)} of them" if isinstance(given, (tuple, list)) else type(hx).__name__
            raise TypeError(f"{name}: hx is {what}; needs ({', '.join(self.states)})")
        found: list[Tensor | None] = []
        for label, state in zip(self.states, given, strict=False):
            columns = self.fed_size if label == "feed0" else self.hidden_size
            state = check_state(name, label, state, (*self.lead, *rows, columns))
            state = models_first(widen(name, label, state, stored, lenient), self.models)
            found.append(state if rows else state.unsqueeze(1))
        return found + [None] * (len(self.states) - len(found))
