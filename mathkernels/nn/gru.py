"""Gated recurrent unit as torch.nn has it, over the compiled sequence kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from mathkernels.nn._sequence import SequenceLayer
from mathkernels.nn._tensors import one_of
from mathkernels.ops import gru


class GRU(SequenceLayer):
    """`torch.nn.GRU` over compiled kernels: its constructor, calls, results, parameters and initial values.

    Shapes: x ``(T, B, I)``, with ``batch_first`` ``(B, T, I)``, without a batch ``(T, I)``, or a
    PackedSequence; y in its place with ``D * H`` features; h ``(L * D, B, H)``, D = 2 with ``bidirectional``.
    With ``models=E`` every tensor and parameter but ``lengths`` has a leading E. Integer x has no feature
    axis: it holds token ids in [0, ``input_size``), equivalent to one-hot input.
    Parameters: ``weight_ih_l0`` (3H, I), ``weight_hh_l0`` (3H, H), ``bias_ih_l0``, ``bias_hh_l0`` (3H), …,
    gates in the order r, z, n, all U(-1/sqrt(H), 1/sqrt(H)). State dicts of torch.nn.GRU load and the other
    way round.
    Source: Cho et al. 2014, *Learning Phrase Representations using RNN Encoder-Decoder*.
    On a GPU: refused, unless ``backends.enable("torch")`` lets plain torch compute it.

    Args:
        dropout: probability of zeroing an output of every layer but the last, in training mode.
        proj_size: 0; projections are not supported.
        models: E independent models in one call.
        bfloat16: round weights and inputs of products to bfloat16; states, sums and all tensors stay float32.
            The same happens under ``torch.autocast`` with bfloat16, and after ``.bfloat16()``, where tensors
            and gradients are bfloat16. After ``.half()`` all is computed in float32 and rounded to float16.
        token_ids: integer x always holds token ids. Otherwise x ``(T, B)`` with B = ``input_size`` of nothing
            but 0 and 1, which may be features ``(T, I)``, is refused where neither hx nor lengths say which.

    Raises:
        ValueError: an argument is out of its range, a tensor of a call or a parameter does not have the
            right shape, or whole numbers x may be token ids or features.
        TypeError: a tensor of a call or a parameter does not have the right type.
        RuntimeError: the module is traced by torch.jit.trace.
    """

    mode, gates, states = "GRU", 3, ("h0",)

    def run_layer(
        self,
        x: Tensor,
        weights: Sequence[Any],
        states: Sequence[Any],
        lengths: Tensor | None,
        return_cells: bool,
        bfloat16: bool,
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor | None]:
        given: list[Any] = [x, *weights, *states, lengths]
        y, hn = gru(*given, bfloat16=bfloat16)
        return y, (hn,), None

    def forward(
        self,
        x: Tensor | PackedSequence | None = None,
        hx: Tensor | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        *,
        embedding: Tensor | None = None,
        input: Tensor | PackedSequence | None = None,
    ) -> tuple[Any, Tensor]:
        """Run along the sequences.

        Args:
            x: inputs or token ids, see the class; torch.nn's name ``input`` is understood too.
            hx: initial state h0, 0 by default.
            lengths: valid steps of each row, (B,), or (E,B) with ``models``: from there on y is 0, the final
                state is that after the last valid step, and the reverse direction starts there.
            embedding: a table (V, I), or (E, V, I) with ``models``, such as an Embedding's weight: x holds
                numbers of its rows, and the result is that of these rows. All V of them are multiplied by
                the input weights, and no step is, which is faster unless there are fewer steps than rows.

        Returns:
            y and hn.
        """
        x = one_of(type(self).__name__, x, input)
        y, (hn,), _ = self.sequence(x, hx, lengths, False, embedding)
        return y, hn
