"""Decoders with attention: their parameters and what they compute, with a model axis throughout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mathkernels.nn._layer import check_choice, check_number, check_size
from mathkernels.nn._linear import linear, of_rows
from mathkernels.nn._parameters import Parameters
from mathkernels.nn._tensors import LOW
from mathkernels.nn.attention import Attention, Memory


class Steps(NamedTuple):
    """What steps computed, with a model axis; see the decoders."""

    y: Tensor  # (E,T,B,H)
    context: Tensor  # (E,T,B,NR)
    attentional: Tensor | None  # (E,T,B,A)
    states: list[Tensor]  # (E,B,H) each, what is fed (E,B,F) last
    weights: Tensor | None  # (E,T,B,N,S)


class DecoderSteps(Parameters):
    """Subclasses set ``gates`` and ``cell_states`` and call their ops."""

    gates: int
    cell_states: tuple[str, ...]
    weight_ih: nn.Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        memory_size: int,
        *,
        score: str = "scaled_dot",
        heads: int = 1,
        key_size: int | None = None,
        value_size: int | None = None,
        query: str = "after",
        feed: str = "none",
        attentional_size: int | None = None,
        cross: bool = False,
        norm_eps: float = 1e-5,
        bias: bool = True,
        attention_bias: bool = False,
        batch_first: bool = False,
        models: int | None = None,
        bfloat16: bool = False,
        token_ids: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(models, device, dtype)
        name, both = type(self).__name__, (True, False)
        self.input_size = check_size(name, "input_size", input_size)
        self.hidden_size = check_size(name, "hidden_size", hidden_size)
        self.memory_size = check_size(name, "memory_size", memory_size)
        self.query = check_choice(name, "query", query, ("after", "before"))
        feeds = ("none", "context", "attentional") if self.query == "after" else ("none", "context")
        self.feed = check_choice(name, "feed", feed, feeds)
        self.cross = check_choice(name, "cross", cross, both)
        self.norm_eps = check_number(name, "norm_eps", norm_eps)
        self.bias = check_choice(name, "bias", bias, both)
        self.batch_first = check_choice(name, "batch_first", batch_first, both)
        self.in_bfloat16 = check_choice(name, "bfloat16", bfloat16, both)
        self.token_ids = check_choice(name, "token_ids", token_ids, both)
        if attentional_size is not None:
            attentional_size = check_size(name, "attentional_size", attentional_size, " or None")
        self.attentional_size = attentional_size
        if self.feed == "attentional" and attentional_size is None:
            raise ValueError(f"{name}: feed is 'attentional'; needs attentional_size")
        if self.cross and attentional_size is not None:
            raise ValueError(f"{name}: cross and attentional_size are given; the output is of one of them")
        self.attention = Attention(
            self.hidden_size,
            self.memory_size,
            score=score,
            heads=heads,
            key_size=key_size,
            value_size=value_size,
            output_size=self.hidden_size if self.cross else None,
            bias=check_choice(name, "attention_bias", attention_bias, both),
            batch_first=self.batch_first,
            models=models,
            bfloat16=self.in_bfloat16,
            device=device,
            dtype=dtype,
        )
        self.read_size = self.attention.heads * self.attention.value_size
        self.fed_size = {"none": 0, "context": self.read_size, "attentional": attentional_size or 0}[
            self.feed
        ]
        # where the query comes before, the context is fed within a step and no state
        self.states = (*self.cell_states, *(("feed0",) if self.fed_size and self.query == "after" else ()))
        rows, A = self.gates * self.hidden_size, attentional_size or 0
        self._register("weight_ih", rows, self.input_size + self.fed_size)
        self._register("weight_hh", rows, self.hidden_size)
        self._register("bias_ih", rows, there=self.bias)
        self._register("bias_hh", rows, there=self.bias)
        self._register("weight_output", A, self.read_size + self.hidden_size, there=A > 0)
        self._register("bias_output", A, there=self.bias and A > 0)
        self._register("norm_weight", self.hidden_size, there=self.cross)
        self._register("norm_bias", self.hidden_size, there=self.cross)
        self._draw_own()

    @property
    def output_size(self) -> int:
        """Columns of the output."""
        return self.attentional_size or self.hidden_size

    def reset_parameters(self) -> None:
        """Draw all parameters anew, those of attention included."""
        self._draw_own()
        self.attention.reset_parameters()

    def _draw_own(self) -> None:
        self._draw(self.hidden_size**-0.5, "weight_ih", "weight_hh", "bias_ih", "bias_hh")
        self._draw((self.read_size + self.hidden_size) ** -0.5, "weight_output", "bias_output")
        for name, value in (("norm_weight", 1.0), ("norm_bias", 0.0)):
            if name in self._right:
                nn.init.constant_(getattr(self, name), value)

    def _fused(
        self, x: Tensor, weights: Sequence[Any], source: Sequence[Any], states: Sequence[Any], **rest: Any
    ) -> Any:
        raise NotImplementedError

    def _recurrence(self, x: Tensor, weights: Sequence[Any], states: Sequence[Any], bfloat16: bool) -> tuple:
        raise NotImplementedError

    def _wide(self, *names: str, of: Parameters | None = None) -> list[Any]:
        """Parameters as kernels take them."""
        stored = self.weight_ih.dtype
        found = (of or self)._tensors(*names, like=stored)
        return [t.float() if t is not None and t.dtype in LOW else t for t in found]

    def _cell(self, embedding: Tensor | None, bfloat16: bool) -> list[Any]:
        """weight_ih, weight_hh, bias_ih and bias_hh; with an embedding (E,V,I) of columns for its rows."""
        found = self._wide("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        if embedding is not None:
            of_x, of_fed = found[0].split([self.input_size, self.fed_size], -1)
            columns = of_rows(type(self).__name__, of_x[:, None], embedding, bfloat16)[:, 0]
            found[0] = torch.cat([columns, of_fed], -1) if self.fed_size else columns
        return found

    def run(
        self,
        x: Tensor,
        source: Memory,
        states: Sequence[Tensor | None],
        lengths: Tensor | None,
        return_weights: bool,
        bfloat16: bool,
        embedding: Tensor | None = None,
    ) -> Steps:
        """x (E,T,R,I) or token ids (E,T,R), perhaps rows of an embedding (E,V,I), states (E,R,·); R is the
        source's rows, or k times as many."""
        h, c, f = self._three(states)
        if self.feed == "none":
            return self.apart(x, source, states, lengths, return_weights, bfloat16, embedding)
        attention = self.attention
        q, score = self._wide("q_proj_weight", "score_weight", of=attention)
        q_bias = attention._bias(0)
        weights = self._cell(embedding, bfloat16)
        w_out, b_out = self._wide("weight_output", "bias_output")
        if w_out is not None and b_out is None:
            b_out = w_out.new_zeros(w_out.shape[:2])
        found = self._fused(
            x,
            weights,
            source,
            (h, c, f, lengths),
            weight_query=q,
            bias_query=None if q is None or q_bias is None else q_bias.to(q.dtype),
            weight_score=score,
            weight_output=w_out,
            bias_output=b_out,
            heads=attention.heads,
            scale=attention.scale,
            query=self.query,
            feed=self.feed,
            return_weights=return_weights,
            bfloat16=bfloat16,
        )
        ends = [state for state in (found.hn, found.cn, found.feed) if state is not None]
        return Steps(found.y, found.context, found.attentional, ends, found.weights)

    def _three(self, states: Sequence[Tensor | None]) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        given = dict(zip(self.states, states, strict=True))
        return given.get("h0"), given.get("c0"), given.get("feed0")

    def apart(
        self,
        x: Tensor,
        source: Memory,
        states: Sequence[Tensor | None],
        lengths: Tensor | None,
        return_weights: bool,
        bfloat16: bool,
        embedding: Tensor | None = None,
    ) -> Steps:
        """The recurrence and attention by ops of their own: many steps without feeding, or a single step.

        The fused decoder lays keys and values out in every call; these read them as they are.
        """
        h, c, f = self._three(states)
        E, T, R = x.shape[:3]
        before = None
        weights = self._cell(embedding, bfloat16)
        if lengths is not None:  # a row of no step attends to nothing
            steps = (lengths > 0)[..., None]
            mask = steps.expand(source.keys.shape[:3]) if source.mask is None else source.mask & steps
            source = source._replace(mask=mask)
        if self.feed != "none":
            if self.query == "before":
                h = weights[1].new_zeros(E, R, self.hidden_size) if h is None else h
                before = self._attend(h[:, None], source, return_weights, bfloat16)
                f = before[0][:, 0]
            f = weights[1].new_zeros(E, R, self.fed_size) if f is None else f
            if not x.is_floating_point():
                x = (x[..., None] == torch.arange(self.input_size, device=x.device)).to(f.dtype)
            x = torch.cat([x, f[:, None]], -1)
        one = [None if w is None else w[:, None] for w in weights]
        first = [None if state is None else state[:, None] for state in (h, c)]
        y, *ends = self._recurrence(x, one, (*first, lengths), bfloat16)
        ends = [end[:, 0] for end in ends]
        if before is None:
            asking = y
            if self.query == "before":
                start = y.new_zeros(E, 1, R, self.hidden_size) if h is None else h[:, None]
                asking = torch.cat([start, y], 1)[:, :T]
            before = self._attend(asking, source, return_weights, bfloat16)
        context, alpha = before
        attentional = None
        w_out, b_out = self._wide("weight_output", "bias_output")
        if w_out is not None:
            both = torch.cat([context, y], -1)
            rows = both.reshape(E, T * R, both.shape[3])
            attentional = torch.tanh(linear(rows, w_out, b_out, bfloat16)).reshape(E, T, R, w_out.shape[1])
        if lengths is not None:
            valid = self._valid(lengths, T)
            context = torch.where(valid, context, 0)
            attentional = None if attentional is None else torch.where(valid, attentional, 0)
            alpha = None if alpha is None else torch.where(valid[..., None], alpha, 0)
        if len(self.states) > len(ends):
            fed = attentional if self.feed == "attentional" else context
            ends.append(fed[:, -1].clone())  # pyright: ignore[reportOptionalSubscript]
        return Steps(y, context, attentional, ends, alpha)

    @staticmethod
    def _valid(lengths: Tensor, steps: int) -> Tensor:
        """(E,T,B,1): whether a step is before the end of its row."""
        return (torch.arange(steps, device=lengths.device)[:, None] < lengths[:, None])[..., None]

    def _attend(
        self, asking: Tensor, source: Memory, return_weights: bool, bfloat16: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Contexts (E,T,R,NR) and weights (E,T,R,N,S) of states (E,T,R,H); R = n k rows of n sources."""
        E, T, R, H = asking.shape
        n = source.batch
        k = R // n if n else 1
        queries = asking.reshape(E, T, n, k, H).permute(0, 2, 1, 3, 4).reshape(E, n, T * k, H)
        context, alpha = self.attention.attend(
            self.attention.queries(queries, bfloat16), source, return_weights
        )
        columns = context.shape[3]
        context = context.reshape(E, n, T, k, columns).permute(0, 2, 1, 3, 4).reshape(E, T, R, columns)
        if alpha is not None:
            N, S = alpha.shape[2], alpha.shape[4]
            alpha = alpha.reshape(E, n, N, T, k, S).permute(0, 3, 1, 4, 2, 5).reshape(E, T, R, N, S)
        return context, alpha

    def _output(self, steps: Steps, lengths: Tensor | None, bfloat16: bool) -> Tensor:
        """(E,T,B,·): what a call returns of each step."""
        if not self.cross:
            return steps.y if steps.attentional is None else steps.attentional
        E, T, R, columns = steps.context.shape
        rows = self.attention.project(
            "out_proj_weight", None, steps.context.reshape(E, T * R, columns), bfloat16
        )
        sums = steps.y + rows.reshape(steps.y.shape)
        weight, bias = self._wide("norm_weight", "norm_bias")
        normed = nn.functional.layer_norm(sums, (self.hidden_size,), eps=self.norm_eps)
        found = normed * weight[:, None, None] + bias[:, None, None]
        return found if lengths is None else torch.where(self._valid(lengths, T), found, 0)

    def extra_repr(self) -> str:
        defaults = {
            "query": "after",
            "feed": "none",
            "attentional_size": None,
            "cross": False,
            "bias": True,
            "batch_first": False,
            "models": None,
            "in_bfloat16": False,
            "token_ids": False,
        }
        given = [
            f"{name.removeprefix('in_')}={getattr(self, name)!r}"
            for name, usual in defaults.items()
            if getattr(self, name) != usual
        ]
        return ", ".join([str(self.input_size), str(self.hidden_size), str(self.memory_size), *given])
