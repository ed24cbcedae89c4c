"""Long short-term memory as torch.nn has it, over the compiled sequence kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from mathkernels.nn._sequence import SequenceLayer
from mathkernels.nn._tensors import one_of
from mathkernels.ops import lstm


class LSTM(SequenceLayer):
    """`torch.nn.LSTM` over compiled kernels: its constructor, calls, results, parameters and initial values.

    Shapes: x ``(T, B, I)``, with ``batch_first`` ``(B, T, I)``, without a batch ``(T, I)``, or a
    PackedSequence; y in its place with ``D * H`` features; h and c ``(L * D, B, H)``, D = 2 with
    ``bidirectional``. With ``models=E`` every tensor and parameter but ``lengths`` has a leading E. Integer x
    has no feature axis: it holds token ids in [0, ``input_size``), equivalent to one-hot input.
    Parameters: ``weight_ih_l0`` (4H, I), ``weight_hh_l0`` (4H, H), ``bias_ih_l0``, ``bias_hh_l0`` (4H), …,
    gates in the order i, f, g, o, all U(-1/sqrt(H), 1/sqrt(H)). State dicts of torch.nn.LSTM load and the
    other way round.
    Source: Hochreiter & Schmidhuber 1997, *Long Short-Term Memory*; Gers et al. 2000, *Learning to Forget*.
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

    mode, gates, states = "LSTM", 4, ("h0", "c0")

    # torch.nn has this second name because of projections, with which cells are wider than states
    get_expected_cell_size = SequenceLayer.get_expected_hidden_size

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
        y, hn, cn, *cells = lstm(*given, return_cells=return_cells, bfloat16=bfloat16)
        return y, (hn, cn), cells[0] if cells else None

    def forward(
        self,
        x: Tensor | PackedSequence | None = None,
        hx: tuple[Tensor, Tensor] | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        return_cells: bool = False,
        *,
        embedding: Tensor | None = None,
        input: Tensor | PackedSequence | None = None,
    ) -> Any:
        """Run along the sequences.

        Args:
            x: inputs or token ids, see the class; torch.nn's name ``input`` is understood too.
            hx: initial states (h0, c0), 0 by default.
            lengths: valid steps of each row, (B,), or (E,B) with ``models``: from there on y is 0, the final
                states are those after the last valid step, and the reverse direction starts there.
            return_cells: return the cells of every step as well.
            embedding: a table (V, I), or (E, V, I) with ``models``, such as an Embedding's weight: x holds
                numbers of its rows, and the result is that of these rows. All V of them are multiplied by
                the input weights, and no step is, which is faster unless there are fewer steps than rows.

        Returns:
            y, (hn, cn), and with ``return_cells`` a list with the cells of each layer, in the shape of y.
        """
        x = one_of(type(self).__name__, x, input)
        y, ends, cells = self.sequence(x, hx, lengths, return_cells, embedding)
        return (y, ends, cells) if return_cells else (y, ends)
