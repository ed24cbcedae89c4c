"""Attention of some queries of every row to its source, for E independent models."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor

from mathkernels import _C, reference
from mathkernels.ops._attention import check_shapes, new_gradients, only_wanted, own, vjp
from mathkernels.ops._dispatch import Kernels
from mathkernels.ops._library import DTYPES, check_dtype
from mathkernels.ops._memory import maker, scratch
from mathkernels.ops._sequence_checks import address, dense
from mathkernels.ops._twice import Derivative, define_twice

_LETTERS = {
    "query": "E,B,Q,N*P",
    "keys": "E,B,S,N*P",
    "values": "E,B,S,N*R",
    "weight_score": "E,N*P",
    "mask": "E,B,S",
    "dcontext": "E,B,Q,N*R",
    "dweights": "E,B,N,Q,S",
    "weights": "E,B,N,Q,S",
}


class Given(NamedTuple):
    query: Tensor
    keys: Tensor
    values: Tensor
    weight_score: Tensor | None
    mask: Tensor | None


def check_heads(op: str, keys: Tensor, values: Tensor, heads: int) -> None:
    """Raise unless the heads divide the keys and the values."""
    if heads < 1:
        raise ValueError(f"{op}: heads is {heads}; needs at least 1")
    for name, tensor in (("keys", keys), ("values", values)):
        if tensor.shape[-1] % heads:
            raise ValueError(
                f"{op}: heads is {heads}, which does not divide the {tensor.shape[-1]} columns of {name}"
            )


def check(op: str, given: Given, heads: int, scale: float, **more: Tensor | None) -> dict[str, int]:
    query, keys, values, weight_score, _ = given
    tensors = {**given._asdict(), **more}
    names = "E", "B", "Q", "N*P", "S", "N*R", "N"
    sizes: dict[str, int] = dict.fromkeys(names, -1)
    if query.dim() == keys.dim() == values.dim() == 4:
        check_heads(op, keys, values, heads)
        found = (*query.shape, keys.shape[2], values.shape[3], heads)
        sizes.update(zip(names, found, strict=True))
    check_dtype(op, "query", query)
    check_shapes(op, _LETTERS, sizes, tensors)
    if weight_score is not None and scale != 1:
        raise ValueError(f"{op}: scale is {scale} beside weight_score; an additive score needs 1")
    return sizes


def call_of(given: Given, sizes: dict[str, int], heads: int) -> object:
    E, B, Q, NP, S, NR, _ = sizes.values()
    additive, dtype = given.weight_score is not None, DTYPES.index(given.query.dtype)
    threads = torch.get_num_threads()
    return _C.attention_call(dtype, E, B, Q, S, heads, NP // heads, NR // heads, additive, threads)


def most(sizes: dict[str, int]) -> int:
    E, B, Q, NP, S, NR, N = sizes.values()
    return E * max(B, 1) * max(Q, S, 1) * max(NP, NR, N * min(Q, S), 1)


def outputs(new: Any, sizes: dict[str, int], return_weights: bool) -> tuple[Tensor, Tensor]:
    E, B, Q, _, S, NR, N = sizes.values()
    return new((E, B, Q, NR)), new((E, B, N, Q, S) if return_weights else (E, 0))


def addresses(given: Given, scale: float) -> tuple[list[Tensor | None], list[Any]]:
    """The tensors, which have to live until the call has returned, and what it takes of them."""
    kept = dense(given)
    query, keys, values, weight_score, mask = map(address, kept)
    return kept, [query, keys, values, mask, weight_score, scale]


def _rule(*arguments: Any) -> tuple[Tensor, Tensor]:
    given, (heads, scale, return_weights) = Given(*arguments[:5]), arguments[5:]
    sizes = check("attention_step", given, heads, scale)
    return outputs(given.query.new_empty, sizes, return_weights)


def _cpu(*arguments: Any) -> tuple[Tensor, Tensor]:
    given, (heads, scale, return_weights) = Given(*arguments[:5]), arguments[5:]
    sizes = check("attention_step", given, heads, scale)
    context, weights = outputs(maker(most(sizes), given.query.dtype), sizes, return_weights)
    call = call_of(given, sizes, heads)
    workspace = scratch(_C.attention_forward_workspace(call))
    _kept, passed = addresses(given, scale)
    wanted = address(weights) if return_weights else 0
    _C.attention_forward(call, *passed, 0, 0, address(context), wanted, address(workspace))
    return context, weights


def reference_of(*arguments: Any) -> tuple[Tensor, Tensor]:
    query, keys, values, weight_score, mask, heads, scale, return_weights = arguments
    context, weights = reference.attention_step(query, keys, values, mask, weight_score, heads, scale)
    return context, weights if return_weights else weights.new_empty(weights.shape[0], 0)


def _check_backward(arguments: tuple) -> tuple[Given, dict[str, int]]:
    (dcontext, dweights), given, weights = arguments[:2], Given(*arguments[2:7]), arguments[7]
    more = {"dcontext": dcontext, "dweights": dweights, "weights": weights}
    return given, check("attention_step_backward", given, *arguments[8:10], **more)


def _wanted(given: Given, wants: tuple) -> list[bool]:
    return [want and tensor is not None for want, tensor in zip(wants, given[:4], strict=True)]


def _rule_backward(*arguments: Any) -> tuple[Tensor, ...]:
    given, sizes = _check_backward(arguments)
    return new_gradients(given.query.new_empty, given[:4], arguments[10:], sizes["E"])


def _cpu_backward(*arguments: Any) -> tuple[Tensor, ...]:
    given, sizes = _check_backward(arguments)
    heads, scale = arguments[8:10]
    wanted = _wanted(given, arguments[10:])
    gradients = new_gradients(maker(most(sizes), given.query.dtype), given[:4], wanted, sizes["E"])
    call = call_of(given, sizes, heads)
    workspace = scratch(_C.attention_backward_workspace(call))
    _kept, passed = addresses(given, scale)
    arrived = dense((*arguments[:2], arguments[7]))
    made = (address(gradient) if want else 0 for gradient, want in zip(gradients, wanted, strict=True))
    _C.attention_backward(call, *passed, *map(address, arrived), *made, address(workspace))
    return gradients


def _pullback(*arguments: Any) -> tuple[Tensor, ...]:
    (dcontext, dweights), given = arguments[:2], Given(*arguments[2:7])
    heads, scale, *wants = arguments[7:]

    def forward(query: Tensor, keys: Tensor, values: Tensor, weight_score: Tensor | None) -> tuple:
        return reference.attention_step(query, keys, values, given.mask, weight_score, heads, scale)

    found = vjp(forward, given[:4], (dcontext, dweights))
    return only_wanted(found, given[:4], wants, given.query.shape[0])


def _reference_backward(*arguments: Any) -> tuple[Tensor, ...]:
    return _pullback(*arguments[:7], *arguments[8:])


class _Derivative(Derivative):
    gradients = 2  # of the context and of the weights

    def __init__(self) -> None:
        super().__init__(5, _pullback)
        self.kept = 1

    def training(self, arguments: tuple) -> tuple:
        return (*own(*arguments[:5]), *arguments[5:7], True)

    def leave(self, ctx: Any, outputs: Any, options: tuple) -> tuple[Any, list[Tensor]]:
        context, weights = outputs
        ctx.set_materialize_grads(False)
        if options[-1]:
            return outputs, ctx.outputs.to_save(weights)
        none = context.new_empty(context.shape[0], 0)
        ctx.mark_non_differentiable(none)
        return (context, none), [weights]

    def keep(self, outputs: Any) -> tuple[Tensor, ...]:
        return (outputs[1],)

    def options(self, options: tuple, needed: tuple[bool, ...]) -> tuple:
        return *options[:2], *needed[:4]

    def returned(self, tensors: tuple, options: tuple) -> list[bool]:
        return [*_wanted(Given(*tensors[:5]), options[2:])]


_tensors = "Tensor query, Tensor keys, Tensor values, Tensor? weight_score, Tensor? mask"
_wants = "bool want_query, bool want_keys, bool want_values, bool want_score"
_attention_step = define_twice(
    (
        f"attention_step({_tensors}, int heads, float scale, bool return_weights) -> (Tensor, Tensor)",
        f"attention_step_backward(Tensor? dcontext, Tensor? dweights, {_tensors}, Tensor weights, int heads,"
        f" float scale, {_wants}) -> (Tensor, Tensor, Tensor, Tensor)",
    ),
    Kernels(_rule, _cpu, reference_of),
    Kernels(_rule_backward, _cpu_backward, _reference_backward),
    _Derivative(),
)


@overload
def attention_step(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    weight_score: Tensor | None = None,
    *,
    heads: int = 1,
    scale: float = 1.0,
    return_weights: Literal[False] = False,
) -> Tensor: ...
@overload
def attention_step(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    weight_score: Tensor | None = None,
    *,
    heads: int = 1,
    scale: float = 1.0,
    return_weights: Literal[True],
) -> tuple[Tensor, Tensor]: ...
@overload
def attention_step(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    weight_score: Tensor | None = None,
    *,
    heads: int = 1,
    scale: float = 1.0,
    return_weights: bool,
) -> Tensor | tuple[Tensor, Tensor]: ...
def attention_step(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    weight_score: Tensor | None = None,
    *,
    heads: int = 1,
    scale: float = 1.0,
    return_weights: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attend with Q queries of each row to the S places of its source, by N heads.

    score_s = scale q . k_s, or with ``weight_score`` v: sum_p v_p tanh(q_p + k_sp);  weights = softmax of the
    scores over s;  context = sum_s weights_s values_s. Head n has columns nP to (n+1)P of queries and keys
    and nR to (n+1)R of values.

    Args:
        query: (E,B,Q,N*P), float32 or float64.
        keys, values: (E,B,S,N*P) and (E,B,S,N*R), in the dtype and on the device of ``query``, as all floats.
        mask: (E,B,S), bool: which places take part; all by default. What stands at others is read as 0 and
            has weight 0; a row without any has context 0 and no gradients.
        weight_score: (E,N*P), makes the score additive; scale must be 1 then.
        heads: N.
        scale: of dot scores, P**-0.5 for scaled ones.
        return_weights: return the weights as well.

    Returns:
        The context (E,B,Q,N*R), with ``return_weights`` and the weights (E,B,N,Q,S). Differentiable to any
        order, through the weights as well.

    Raises:
        ValueError: shapes disagree, heads do not divide them, or a scale is given with ``weight_score``.
        TypeError: dtypes or devices differ or are not supported; CUDA tensors, unless plain torch is enabled.

    Source: Luong, Pham & Manning 2015 (dot), Bahdanau, Cho & Bengio 2015 (additive), Vaswani et al. 2017
    (scaled, heads).
    """
    context, weights = _attention_step(query, keys, values, weight_score, mask, heads, scale, return_weights)
    return (context, weights) if return_weights else context
