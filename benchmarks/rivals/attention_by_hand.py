"""A decoder as an expert writes it in torch: one autograd.Function over all steps, gradients by hand.

What makes it fast: inputs are multiplied for all steps at once; a step is one product, [context, h] W; every
buffer is made once and written with out=; backward forms the gradients of the weights, keys and values by one
product each over all steps. The batch goes by blocks of rows, each through all steps, so that its keys and
values stay in the cache. Queries multiply as rows, which bmm computes four to nine times as fast as columns.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from attention_cases import AttentionCase
from torch import Tensor

from rivals import attention_gates as gates
from rivals.attention_layer import AttentionLayer, Leaves
from rivals.attention_loops import by_heads


def packed(w: Tensor, rows: int) -> Tensor:
    """Return w (O,I) in oneDNN's own layout for products with so many rows."""
    return torch.ops.mkldnn._reorder_linear_weight(w.contiguous(), rows)


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Return x w' + b with a packed w."""
    return torch.ops.mkldnn._linear_pointwise(x, w, b, "none", [], "")


def linear_plus(x: Tensor, w: Tensor, other: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise.binary(x, other, w, None, "add")


class Buffers:
    """Everything that a decoder needs, made once, and its two passes.

    Args:
        case: the sizes.
        rows: of the batch in a block.
        workers: let two Python threads, each with one of torch's, share the blocks; else they run one after
            another on all threads.
        pack: multiply through oneDNN with weights laid out once a pass, which is faster for few rows.
        compiled: fuse the gates' arithmetic by torch.compile.
    """

    def __init__(self, case: AttentionCase, rows: int, workers: bool, pack: bool, compiled: bool) -> None:
        T, B, S, H, n = case.steps, case.batch, case.source, case.hidden, case.heads
        self.case, self.pack = case, pack
        self.blocks = [slice(first, min(first + rows, B)) for first in range(0, B, rows)]
        self.rows = min(rows, B)
        self.z, self.dz = torch.empty(T, B, 4 * H), torch.empty(T, B, 4 * H)  # gates; gradients of their sums
        self.state = torch.empty(T + 1, B, 2 * H)  # context, h
        self.c, self.tanh_c = torch.empty(T + 1, B, H), torch.empty(T, B, H)
        self.alpha, self.dscores = torch.empty(T, B * n, S), torch.empty(T, B * n, S)
        self.dcontext = torch.empty(T, B, H)
        self.q, self.dh, self.dc, self.scratch = (torch.empty(B, H) for _ in range(4))
        self.dstate, self.dalpha = torch.empty(B, 2 * H), torch.empty(B * n, S)
        self.gates_forward: Callable[..., None] = gates.forward
        self.gates_backward: Callable[..., None] = gates.backward
        if compiled:
            self.gates_forward = torch.compile(gates.fusible_forward, dynamic=False)
            self.gates_backward = torch.compile(gates.fusible_backward, dynamic=False)
        self.pool: ThreadPoolExecutor | None = None
        if workers:
            self.pool = ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,))

    def each_block(self, work: Callable[[slice, slice], None]) -> None:
        """Call ``work`` with the rows of each block, and with those of its heads."""
        n = self.case.heads
        turns = [(rows, slice(rows.start * n, rows.stop * n)) for rows in self.blocks]
        if self.pool is None:
            for turn in turns:
                work(*turn)
            return
        before = torch.get_num_threads()
        torch.set_num_threads(1)  # MKL's as well; each worker has set its own
        list(self.pool.map(torch.no_grad()(lambda turn: work(*turn)), turns))
        torch.set_num_threads(before)

    def forward(
        self,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        h0: Tensor,
        c0: Tensor,
        w_x: Tensor,
        recurrent: Tensor,
        bias: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return states and contexts (T,B,H).

        Keys and values are (B heads,S,H/heads); w_x (4H,I) multiplies x, recurrent (4H,2H) [context, h].
        """
        case = self.case
        T, H, d = case.steps, case.hidden, case.depth
        z = self.z.flatten(0, 1)
        if self.pack:
            own = packed(recurrent, self.rows)
            sums = linear(x.flatten(0, 1), packed(w_x, len(z)), bias).view_as(self.z)
        else:
            own = recurrent.t()
            sums = torch.addmm(bias, x.flatten(0, 1), w_x.t(), out=z).view_as(self.z)
        self.state[0, :, :H].zero_()
        self.state[0, :, H:].copy_(h0)
        self.c[0].copy_(c0)
        y, contexts = x.new_empty(T, case.batch, H), x.new_empty(T, case.batch, H)

        def block(rows: slice, by_head: slice) -> None:
            own_keys, own_values = keys[by_head].mT, values[by_head]
            for t in range(T):
                z, h, context, alpha = self.z[t, rows], y[t, rows], contexts[t, rows], self.alpha[t, by_head]
                if self.pack:
                    gate_sums = linear_plus(self.state[t, rows], own, sums[t, rows])
                else:
                    gate_sums = torch.addmm(z, self.state[t, rows], own, out=z)
                self.gates_forward(
                    gate_sums, self.c[t, rows], z, self.c[t + 1, rows], self.tanh_c[t, rows], h
                )
                torch.mul(h, case.scale, out=self.q[rows])
                torch.bmm(self.q[rows].view(-1, 1, d), own_keys, out=alpha.unsqueeze(1))
                torch.softmax(alpha, 1, out=alpha)
                torch.bmm(alpha.unsqueeze(1), own_values, out=context.view(-1, 1, d))
                self.state[t + 1, rows, :H].copy_(context)
                self.state[t + 1, rows, H:].copy_(h)

        self.each_block(block)
        return y, contexts

    def backward(
        self,
        dy: Tensor,
        dcontexts: Tensor,
        y: Tensor,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        w_x: Tensor,
        recurrent: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return the gradients of x, keys, values (B,S,H each), h0, c0, the weights, and of either bias."""
        T, H, n, d = self.case.steps, self.case.hidden, self.case.heads, self.case.depth
        dh0, dc0 = torch.empty_like(self.dh), torch.empty_like(self.dc)
        own = packed(recurrent.t(), self.rows) if self.pack else recurrent

        def block(rows: slice, by_head: slice) -> None:
            own_keys, own_values = keys[by_head], values[by_head].mT
            dh, dc, scratch, dalpha = self.dh[rows], self.dc[rows], self.scratch[rows], self.dalpha[by_head]
            dstate = self.dstate[rows].zero_()
            dc.zero_()
            for t in reversed(range(T)):
                dcontext, dscores, dz = self.dcontext[t, rows], self.dscores[t, by_head], self.dz[t, rows]
                torch.add(dcontexts[t, rows], dstate[:, :H], out=dcontext)
                torch.add(dy[t, rows], dstate[:, H:], out=dh)
                torch.bmm(dcontext.view(-1, 1, d), own_values, out=dalpha.unsqueeze(1))
                torch._softmax_backward_data(
                    dalpha, self.alpha[t, by_head], 1, torch.float32, grad_input=dscores
                )
                torch.bmm(dscores.unsqueeze(1), own_keys, out=scratch.view(-1, 1, d))
                dh.add_(scratch, alpha=self.case.scale)
                self.gates_backward(
                    self.z[t, rows], self.c[t, rows], self.tanh_c[t, rows], dh, dc, dz, scratch
                )
                dstate = linear(dz, own) if self.pack else torch.mm(dz, own, out=dstate)
            dc0[rows] = dc
            dh0[rows] = dstate[:, H:]

        self.each_block(block)
        dz = self.dz.flatten(0, 1)
        drecurrent = dz.t() @ self.state[:T].flatten(0, 1)
        dweight_ih = torch.cat((dz.t() @ x.flatten(0, 1), drecurrent[:, :H]), dim=1)
        dx = linear(dz, packed(w_x.t(), len(dz))) if self.pack else dz @ w_x
        queries = y.view(T, -1, d).transpose(0, 1)
        dkeys = torch.bmm(self.dscores.permute(1, 2, 0), queries).mul_(self.case.scale)
        dvalues = torch.bmm(self.alpha.permute(1, 2, 0), self.dcontext.view(T, -1, d).transpose(0, 1))
        if n > 1:
            dkeys, dvalues = (m.unflatten(0, (-1, n)).transpose(1, 2).flatten(2) for m in (dkeys, dvalues))
        return dx.view_as(x), dkeys, dvalues, dh0, dc0, dweight_ih, drecurrent[:, H:], dz.sum(0)


class Decoder(torch.autograd.Function):
    """Leaves in the order of ``AttentionCase.given``."""

    @staticmethod
    def forward(ctx: Any, buffers: Buffers, *leaves: Tensor) -> tuple[Tensor, Tensor]:
        x, keys, values, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh = leaves
        keys, values = by_heads(keys, buffers.case), by_heads(values, buffers.case)
        w_x, w_context = weight_ih.tensor_split([buffers.case.inputs], dim=1)
        recurrent = torch.cat((w_context, weight_hh), dim=1)
        y, contexts = buffers.forward(x, keys, values, h0, c0, w_x, recurrent, bias_ih + bias_hh)
        ctx.buffers = buffers
        ctx.save_for_backward(y, x, keys, values, w_x, recurrent)
        return y, contexts

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dcontexts: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.buffers.backward(dy, dcontexts, *ctx.saved_tensors)
        return None, *gradients, gradients[-1]


class ByHand(AttentionLayer):
    """The models of a case share the buffers: each goes back before the next goes forward."""

    def __init__(
        self,
        case: AttentionCase,
        rows: int | None = None,
        *,
        workers: bool = False,
        pack: bool = False,
        compiled: bool = False,
    ) -> None:
        super().__init__(case)
        self.buffers = Buffers(case, rows or case.batch, workers, pack, compiled)

    def outputs(self, leaves: Leaves) -> tuple[Tensor, Tensor]:
        return Decoder.apply(self.buffers, *leaves.values())
