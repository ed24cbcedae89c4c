"""Attention over a source: dot products, scaled or general ones, additive scores; one head or many."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from mathkernels.nn._layer import check_choice, check_size
from mathkernels.nn._linear import linear
from mathkernels.nn._masks import source_mask
from mathkernels.nn._parameters import Parameters, models_first
from mathkernels.nn._sequence import widening
from mathkernels.nn._sequence_shapes import text
from mathkernels.nn._tensors import LOW, check_tensor, own, widen
from mathkernels.ops import attention_step
from mathkernels.ops._attention_of_rows import attention_of_rows
from mathkernels.ops._memory import empty

SCORES = ("dot", "scaled_dot", "general", "additive")


class Memory(NamedTuple):
    """A source as attention reads it, made once by `Attention.prepare` for all steps.

    keys (E,B,S,N*P), values (E,B,S,N*R), mask (E,B,S), True where attention may look, or None; and rows (R,),
    which of the B rows it consists of, None for all in order.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor | None
    rows: Tensor | None = None

    @property
    def batch(self) -> int:
        """How many rows it has."""
        return self.keys.shape[1] if self.rows is None else len(self.rows)

    def select(self, rows: Tensor) -> Memory:
        """Some of its rows, (R,) indices; nothing is copied."""
        return self._replace(rows=rows if self.rows is None else self.rows[rows])

    def room(self, rows: int) -> Memory:
        """For so many rows, to be written: otherwise as this one."""
        mask = None if self.mask is None else self.mask.new_empty(len(self.mask), rows, self.mask.shape[2])
        keys, values = (self._room(tensor, rows) for tensor in (self.keys, self.values))
        return Memory(keys, keys if self.values is self.keys else values, mask)

    @staticmethod
    def _room(tensor: Tensor, rows: int) -> Tensor:
        shape = len(tensor), rows, *tensor.shape[2:]
        if tensor.device.type != "cpu":
            return tensor.new_empty(shape)
        return empty(shape, tensor.dtype)  # a fresh one of this size costs as much as what it is made for

    def write(self, first: int, part: Memory) -> None:
        """Put the rows of another one in the place of those from ``first`` on."""
        rows = slice(first, first + part.keys.shape[1])
        self.keys[:, rows] = part.keys
        if self.values is not self.keys:
            self.values[:, rows] = part.values
        if self.mask is not None and part.mask is not None:
            self.mask[:, rows] = part.mask

    def places(self) -> Tensor:
        """Where attention may look in each of its rows, (E,R,S)."""
        if self.mask is None:
            shape = self.keys.shape[0], self.batch, self.keys.shape[2]
            return torch.ones(shape, dtype=torch.bool, device=self.keys.device)
        return self.mask if self.rows is None else self.mask.index_select(1, self.rows)

    def dense(self) -> Memory:
        """The same with tensors that hold its rows alone."""
        if self.rows is None:
            return self
        keys, mask = self.keys.index_select(1, self.rows), self.mask
        values = keys if self.values is self.keys else self.values.index_select(1, self.rows)
        return Memory(keys, values, None if mask is None else mask.index_select(1, self.rows))


class Attention(Parameters):
    """Attention of queries to a memory: context = sum_s alpha_s v_s, alpha = softmax of scores(q, k_s).

    Scores of a head with queries q and keys k of P columns: ``"dot"`` q . k; ``"scaled_dot"`` q . k / sqrt(P)
    (Vaswani et al. 2017); ``"general"`` q . W m (Luong et al. 2015); ``"additive"`` v . tanh(W q + U m)
    (Bahdanau et al. 2015). Without projections keys and values are the memory m itself, and queries what is
    given, cut into heads along the columns.

    Shapes: query ``(Q, B, C)``, memory ``(S, B, M)``, with ``batch_first`` ``(B, Q, C)`` and ``(B, S, M)``,
    without a batch ``(Q, C)`` and ``(S, M)``; memory may be a PackedSequence. Context in the query's place
    with N * R columns, or ``output_size``; weights ``(B, N, Q, S)``. With ``models=E`` every tensor and
    parameter has a leading E; mask and lengths may have one.
    Parameters: ``q_proj_weight`` (N*P, C) and ``k_proj_weight`` (N*P, M) with ``key_size=P`` ("general" has
    the second only), ``v_proj_weight`` (N*R, M) with ``value_size=R``, their biases in this order in
    ``in_proj_bias``, ``out_proj_weight`` (output_size, N*R), ``out_proj_bias``, ``score_weight`` (N*P). These
    are U(-r, r), r = sqrt(6 / (inputs + outputs)), as in torch.nn.MultiheadAttention, whose state dicts load;
    biases 0, ``score_weight`` U(-1/sqrt(P), 1/sqrt(P)).

    A place that may not be attended to has weight 0 exactly, and nothing of it arrives in values or
    gradients, NaN or Inf neither. A row without any allowed place has context 0 (before the output
    projection) and gradients 0.

    Args:
        query_size, memory_size: C and M.
        score: one of "dot", "scaled_dot", "general", "additive".
        heads: N.
        key_size: P; projects queries and keys. Needed for "additive", where it is C / N by default.
        value_size: R; projects values.
        output_size: projects the contexts of all heads together.
        bias: adds biases to the projections.
        models: E independent models in one call.
        bfloat16: round factors of the projections to bfloat16, as in `LSTM`; so does ``torch.autocast``.

    Raises:
        ValueError: an argument is out of its range, sizes do not fit each other or the heads, or a tensor of
            a call does not have the right shape.
        TypeError: a tensor of a call does not have the right type.
    """

    def __init__(
        self,
        query_size: int,
        memory_size: int,
        *,
        score: str = "scaled_dot",
        heads: int = 1,
        key_size: int | None = None,
        value_size: int | None = None,
        output_size: int | None = None,
        bias: bool = False,
        batch_first: bool = False,
        models: int | None = None,
        bfloat16: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(models, device, dtype)
        name = type(self).__name__
        self.query_size = check_size(name, "query_size", query_size)
        self.memory_size = check_size(name, "memory_size", memory_size)
        self.score = check_choice(name, "score", score, SCORES)
        self.heads = check_size(name, "heads", heads)
        self.bias = check_choice(name, "bias", bias, (True, False))
        self.batch_first = check_choice(name, "batch_first", batch_first, (True, False))
        self.in_bfloat16 = check_choice(name, "bfloat16", bfloat16, (True, False))
        none = " or None"
        self.output_size = None if output_size is None else check_size(name, "output_size", output_size, none)
        projects = key_size is not None or self.score in ("general", "additive")
        self.key_size = (
            self._head("query_size", self.query_size)
            if key_size is None
            else check_size(name, "key_size", key_size, none)
        )
        self.value_size = (
            self._head("memory_size", self.memory_size)
            if value_size is None
            else check_size(name, "value_size", value_size, none)
        )
        keys, values = self.heads * self.key_size, self.heads * self.value_size
        if self.score == "general" and keys != self.query_size:
            raise ValueError(f"{name}: heads * key_size is {keys}; 'general' needs query_size {query_size}")
        if not projects and self.query_size != self.memory_size:
            raise ValueError(
                f"{name}: query_size {query_size} and memory_size {memory_size} differ; needs key_size or"
                " score='general' or 'additive', which project"
            )
        asks = projects and self.score != "general"
        self._register("q_proj_weight", keys, self.query_size, there=asks)
        self._register("k_proj_weight", keys, self.memory_size, there=projects)
        self._register("v_proj_weight", values, self.memory_size, there=value_size is not None)
        self._biases = [keys * asks, keys * projects, values * (value_size is not None)]
        self._register("in_proj_bias", sum(self._biases), there=self.bias and any(self._biases))
        columns = self.output_size or 0
        self._register("out_proj_weight", columns, values, there=bool(columns))
        self._register("out_proj_bias", columns, there=self.bias and bool(columns))
        self._register("score_weight", keys, there=self.score == "additive")
        self.reset_parameters()

    def _head(self, label: str, size: int) -> int:
        if size % self.heads:
            raise ValueError(f"{type(self).__name__}: {label} {size} is not divisible by heads {self.heads}")
        return size // self.heads

    @property
    def context_size(self) -> int:
        """Columns of what a call returns."""
        return self.output_size or self.heads * self.value_size

    @property
    def scale(self) -> float:
        return self.key_size**-0.5 if self.score == "scaled_dot" else 1.0

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for weight in ("q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj_weight"):
            if weight in self._right:
                self._draw(math.sqrt(6 / sum(self._right[weight][-2:])), weight)
        self._draw(0.0, "in_proj_bias", "out_proj_bias")
        self._draw(self.key_size**-0.5, "score_weight")

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        # torch.nn.MultiheadAttention holds three matrices in one where their sizes allow it
        for name in ("weight", "bias"):
            if f"{prefix}out_proj.{name}" in state_dict:
                state_dict[f"{prefix}out_proj_{name}"] = state_dict.pop(f"{prefix}out_proj.{name}")
        whole = state_dict.pop(f"{prefix}in_proj_weight", None)
        if whole is not None:
            for part, letter in zip(whole.chunk(3, -2), "qkv", strict=True):
                state_dict[f"{prefix}{letter}_proj_weight"] = part
        super()._load_from_state_dict(state_dict, prefix, *rest)

    # ---- what decoders use, with a model axis throughout

    def widened(self, name: str = "") -> tuple[torch.dtype | None, bool, bool]:
        """The dtype of the parameters (None without any), whether products round, and leniency."""
        first = next(iter(self.parameters()), None)
        if first is None:
            return None, self.in_bfloat16, True
        return widening(self.in_bfloat16, first)

    def _bias(self, which: int) -> Tensor | None:
        (bias,) = self._tensors("in_proj_bias")
        return None if bias is None else bias.split(self._biases, -1)[which]

    def project(self, weight: str, which: int | None, x: Tensor, bfloat16: bool) -> Tensor:
        """x (E,B,I) times a weight (and its part of the bias), or x where there is no such weight."""
        (matrix,) = self._tensors(weight)
        if matrix is None:
            return x
        bias = self._tensors("out_proj_bias")[0] if which is None else self._bias(which)
        wide = [
            None if part is None else part.float() if part.dtype in LOW else part for part in (matrix, bias)
        ]
        return linear(x, wide[0], wide[1], bfloat16)  # pyright: ignore[reportArgumentType]

    def queries(self, query: Tensor, bfloat16: bool) -> Tensor:
        """(E,B,Q,C) -> (E,B,Q,N*P)."""
        E, B, Q, C = query.shape
        columns = self.heads * self.key_size
        found = self.project("q_proj_weight", 0, query.reshape(E, B * Q, C), bfloat16)
        return found.reshape(E, B, Q, columns)

    def attend(self, query: Tensor, memory: Memory, return_weights: bool) -> tuple[Tensor, Tensor | None]:
        """Contexts (E,B,Q,N*R) of projected queries (E,B,Q,N*P), and their weights (E,B,N,Q,S)."""
        (score,) = self._tensors("score_weight")
        score = score if score is None or score.dtype not in LOW else score.float()
        options: dict[str, Any] = {"heads": self.heads, "scale": self.scale}
        if memory.rows is not None and not torch.is_grad_enabled():
            rows = memory.rows.expand(query.shape[:2])
            given = query, *memory[:3], score, rows
            return attention_of_rows(*given, **options, return_weights=return_weights)
        given = query, *memory.dense()[:3], score
        if not return_weights:
            return attention_step(*given, **options), None
        return attention_step(*given, **options, return_weights=True)

    def prepare(
        self,
        memory: Any,
        mask: Tensor | None = None,
        lengths: Any = None,
        *,
        batched: bool = True,
        lay_out: bool = True,
    ) -> Memory:
        """Keys, values and mask of a source, for many calls; see the class for its shapes.

        Args:
            memory: the source; what is a `Memory` already comes back as it is.
            mask: (B,S) bool, True where attention may look; or real numbers, 0 there and elsewhere -inf or
                the least finite number of a type.
            lengths: (B,), the places before which may be attended to.
            batched: whether there is an axis of the batch.
            lay_out: whether keys and values become dense, as many calls should find them.
        """
        name = type(self).__name__
        if isinstance(memory, Memory):
            if mask is not None or lengths is not None:
                raise ValueError(
                    f"{name}: the memory is prepared and has its mask; mask or lengths is given too"
                )
            return memory.dense()
        time_first = not self.batch_first
        if isinstance(memory, PackedSequence):
            if self.models is not None or lengths is not None:
                what = "models" if self.models is not None else "lengths"
                raise ValueError(f"{name}: memory is a PackedSequence, which does not go with {what}")
            memory, lengths = pad_packed_sequence(memory)
            lengths, time_first = lengths.to(memory.device), True
        memory = check_tensor(name, "memory", memory)
        axes = len(self.lead) + (3 if batched else 2)
        if (
            memory.dim() != axes
            or memory.shape[-1] != self.memory_size
            or memory.shape[: len(self.lead)] != self.lead
        ):
            order = (("S", "B") if time_first else ("B", "S")) if batched else ("S",)
            right = text((*self.lead, *order, self.memory_size))
            raise ValueError(f"{name}: memory has shape {text(memory.shape)}; needs {right}")
        stored, bfloat16, lenient = self.widened()
        memory = widen(name, "memory", memory, stored or memory.dtype, lenient)
        memory = models_first(memory, self.models)
        memory = (memory.transpose(1, 2) if time_first else memory) if batched else memory.unsqueeze(1)
        E, B, S, M = memory.shape
        allowed = source_mask(name, mask, lengths, (E, B, S), self.models, batched)
        if allowed is not None:
            allowed = allowed.to(memory.device)
            memory = torch.where(allowed[..., None], memory, 0)  # what is masked reaches no weight's gradient
        if not lay_out and all(self._tensors(name)[0] is None for name in ("k_proj_weight", "v_proj_weight")):
            return Memory(memory, memory, allowed)
        rows = memory.reshape(E, B * S, M)
        keys, values = (
            self.project("k_proj_weight", 1, rows, bfloat16),
            self.project("v_proj_weight", 2, rows, bfloat16),
        )
        same = values is keys  # then the values need not be read, or copied, a second time
        keys = keys.reshape(E, B, S, keys.shape[2])
        return Memory(keys, keys if same else values.reshape(E, B, S, values.shape[2]), allowed)

    def forward(
        self,
        query: Tensor,
        memory: Tensor | PackedSequence | Memory,
        mask: Tensor | None = None,
        lengths: Any = None,
        return_weights: bool = False,
    ) -> Any:
        """The contexts of all queries, and with ``return_weights`` the weights.

        Args:
            query, memory: see the class; memory may come from `prepare`.
            mask, lengths: as in `prepare`. Both together allow what both allow.
        """
        name = type(self).__name__
        query = check_tensor(name, "query", query)
        lead, missing = self.lead, len(self.lead) + 3 - query.dim()
        if missing not in (0, 1) or query.shape[-1] != self.query_size or query.shape[: len(lead)] != lead:
            axes = ("B", "Q") if self.batch_first else ("Q", "B")
            rights = text((*lead, *axes, self.query_size)), text((*lead, "Q", self.query_size))
            raise ValueError(f"{name}: query has shape {text(query.shape)}; needs {' or '.join(rights)}")
        batched = missing == 0
        stored, bfloat16, lenient = self.widened()
        stored = stored or query.dtype
        query = models_first(widen(name, "query", query, stored, lenient), self.models)
        query = (query if self.batch_first else query.transpose(1, 2)) if batched else query.unsqueeze(1)
        source = self.prepare(memory, mask, lengths, batched=batched)
        if source.keys.shape[1] != query.shape[1]:
            raise ValueError(
                f"{name}: memory has {source.keys.shape[1]} rows; needs the {query.shape[1]} of query"
            )
        if source.mask is not None:  # what stands in a row that sees nothing reaches no weight's gradient
            query = torch.where(source.mask.any(-1)[..., None, None], query, 0)
        context, weights = self.attend(self.queries(query, bfloat16), source, return_weights)
        E, B, Q, columns = context.shape
        context = self.project("out_proj_weight", None, context.reshape(E, B * Q, columns), bfloat16)
        keep = (E, B, Q) if batched else (E, Q)
        shape = (*(keep if lead else keep[1:]), self.context_size)
        swap = (len(lead), len(lead) + 1) if batched and not self.batch_first else None
        context = own(context, shape, swap, stored)
        if weights is None:
            return context
        keep = tuple(n for axis, n in enumerate(weights.shape) if (axis or lead) and (axis != 1 or batched))
        return context, own(weights, keep, None, stored)

    def extra_repr(self) -> str:
        defaults = {
            "heads": 1,
            "output_size": None,
            "bias": False,
            "batch_first": False,
            "models": None,
            "in_bfloat16": False,
        }
        given = [
            f"{name.removeprefix('in_')}={getattr(self, name)}"
            for name, usual in defaults.items()
            if getattr(self, name) != usual
        ]
        if "q_proj_weight" in self._right:
            given.insert(0, f"key_size={self.key_size}")
        if "v_proj_weight" in self._right:
            given.insert(1, f"value_size={self.value_size}")
        return ", ".join([str(self.query_size), str(self.memory_size), f"score={self.score!r}", *given])
