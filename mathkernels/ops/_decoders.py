"""Decoders with attention as ops: what those of LSTM and of GRU cells share.

All functions here take and return c0, cn and cells, which a GRU has not: for it they are None where they come
in, and without elements where they go out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mathkernels import _C
from mathkernels.ops._attention import new_gradients, only_wanted, own, vjp
from mathkernels.ops._decoder_checks import Given, Options, Sizes, check_decoder, check_values
from mathkernels.ops._dispatch import Kernels
from mathkernels.ops._layers import linear_weight_gradient
from mathkernels.ops._library import DTYPES
from mathkernels.ops._memory import maker, scratch
from mathkernels.ops._sequence_checks import address, dense
from mathkernels.ops._twice import Derivative, define_twice

_OPS: dict[str, Callable] = {}
_KINDS: dict[str, int] = _C.sequence_kinds
TENSORS = len(Given._fields)
WITH_GRADIENTS = TENSORS - 2
RESULTS = ("y", "context", "attentional", "hn", "cn", "feed", "weights")
ARRIVING = tuple(f"d{name}" for name in RESULTS)
KEPT = ("y", "context", "attentional", "cells", "gates", "probabilities", "query")
_WANTS = ("x", "weights", "source", "states")


def define_decoder(kind: str, reference: Callable) -> None:
    """Declare ``mathkernels::<kind>_attention`` and its backward.

    Args:
        reference: the decoder in plain torch, which autograd can differentiate.
    """
    op = f"{kind}_attention"
    optional = {name: "?" for name, hint in Given.__annotations__.items() if "None" in str(hint)}
    given = ", ".join(f"Tensor{optional.get(name, '')} {name}" for name in Given._fields)
    options = "int heads, float scale, bool query_before, int feed, bool bfloat16"
    flags = "bool return_weights, bool save"
    arriving = ", ".join(f"Tensor? {name}" for name in ARRIVING)
    kept = ", ".join(f"Tensor kept_{name}" for name in KEPT)
    wants = ", ".join(f"bool want_{name}" for name in _WANTS)
    results, gradients = (", ".join(["Tensor"] * count) for count in (11, WITH_GRADIENTS))
    plain = partial(_plain, reference)
    _OPS[kind] = define_twice(
        (
            f"{op}({given}, {options}, {flags}) -> ({results})",
            f"{op}_backward({arriving}, {given}, {kept}, {options}, {wants}) -> ({gradients})",
        ),
        Kernels(
            partial(_rule, kind),
            partial(_cpu, kind),
            partial(_reference, kind, plain),
            check_values=partial(_check_values, kind),
        ),
        Kernels(
            partial(_rule_backward, kind),
            partial(_cpu_backward, kind),
            partial(_reference_backward, plain),
            check_values=partial(_check_values_backward, kind),
        ),
        _Derivative(plain),
    )


def apply_decoder(kind: str, given: Given, options: Options, return_weights: bool) -> tuple[Tensor, ...]:
    """The results of the op, in the order of `RESULTS`; differentiable to any order, mapped by vmap."""
    return _OPS[kind](*given, *options, return_weights, False)[: len(RESULTS)]


def _split(arguments: tuple) -> tuple[Given, Options, tuple]:
    count = TENSORS + len(Options._fields)
    return Given(*arguments[:TENSORS]), Options(*arguments[TENSORS:count]), arguments[count:]


def _feeds_on(options: Options) -> bool:
    """Whether a step is fed by the one before it."""
    return options.feed != 0 and not options.query_before


def _outputs(
    kind: str, new: Callable, given: Given, sizes: Sizes, options: Options, flags: tuple[bool, bool]
) -> tuple[Tensor, ...]:
    """New results, and what backward needs; without elements those that are not wanted or not there."""
    E, T, B, _, H, S, NP, NR, A, F, N = sizes
    return_weights, save = flags
    cells = kind == "lstm"
    shapes = (
        ((E, T, B, H), True),
        ((E, T, B, NR), True),
        ((E, T, B, A), given.weight_output is not None),
        ((E, B, H), True),
        ((E, B, H), cells),
        ((E, B, F), _feeds_on(options)),
        ((E, T, B, N, S), return_weights),
        ((E, T, B, H), cells and save),
        ((E, 1, T, B, 4 * H), save),
        ((E, T, B, N, S), save),
        ((E, T, B, NP), save and given.weight_query is not None),
    )
    return tuple(new(shape if there else (E, 0)) for shape, there in shapes)


def _rule(kind: str, *arguments: Any) -> tuple[Tensor, ...]:
    given, options, flags = _split(arguments)
    sizes = check_decoder(f"{kind}_attention", kind, given, options)
    return _outputs(kind, given.weight_hh.new_empty, given, sizes, options, flags)


def _check_values(kind: str, *arguments: Any) -> None:
    given, options, _ = _split(arguments)
    op = f"{kind}_attention"
    check_values(op, given, check_decoder(op, kind, given, options))


def _call(kind: str, given: Given, sizes: Sizes, options: Options) -> Any:
    E, T, B, I, H, S, NP, NR, A, F, N = sizes
    dtype, ids = DTYPES.index(given.weight_hh.dtype), given.x.dtype == torch.int64
    threads = torch.get_num_threads()
    call = _C.sequence_call(_KINDS[kind], dtype, options.bfloat16, ids, E, 1, T, B, I + F, H, threads)
    additive, projects = given.weight_score is not None, given.weight_query is not None
    shape = (S, N, NP // N, NR // N, A, additive, projects, options.query_before, options.feed)
    _C.attend(call, *shape)
    return call


def _decoder(given: Given, options: Options, **more: Tensor | None) -> Any:
    """The addresses of the tensors that only a decoder has."""
    tensors = _C.DecoderTensors()
    tensors.scale = options.scale
    own_names = ("keys", "values", "mask", "weight_query", "bias_query", "weight_score", "weight_output")
    for name in (*own_names, "bias_output", "feed0"):
        setattr(tensors, name, address(getattr(given, name)))
    for name, tensor in more.items():
        setattr(tensors, name, address(tensor))
    return tensors


def _there(tensor: Tensor | None) -> Tensor | None:
    return tensor if tensor is not None and tensor.numel() else None


def _dense(given: Given) -> Given:
    """Dense tensors, with copies of integers and masks, which nobody else can change after the checks."""
    return Given(*dense(own(*given)))  # pyright: ignore[reportArgumentType]


def _sequence_inputs(given: Given) -> list[int]:
    names = ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "h0", "c0", "lengths")
    return [address(getattr(given, name)) for name in names]


def _cpu(kind: str, *arguments: Any) -> tuple[Tensor, ...]:
    given, options, flags = _split(arguments)
    op = f"{kind}_attention"
    sizes = check_decoder(op, kind, given, options)
    given = _dense(given)
    check_values(op, given, sizes)
    new = maker(sizes.most, given.weight_hh.dtype)
    outputs = _outputs(kind, new, given, sizes, options, flags)
    y, context, attentional, hn, cn, feed, weights, cells, gates, kept, query = map(_there, outputs)
    made = {"context": context, "attentional": attentional, "feed": feed, "weights": weights}
    decoder = _decoder(given, options, **made, kept=kept, query=query)
    call = _call(kind, given, sizes, options)
    workspace = scratch(_C.sequence_forward_workspace(call))
    results = map(address, (y, hn, cn, gates, cells))
    _C.decoder_forward(decoder, call, *_sequence_inputs(given), *results, address(workspace))
    return outputs


def _check_backward(kind: str, arguments: tuple) -> tuple:
    """Gradients that arrive, what was given, what was kept, options, wanted gradients and sizes."""
    begin, end = len(ARRIVING), len(ARRIVING) + TENSORS
    arriving, given = arguments[:begin], Given(*arguments[begin:end])
    kept, rest = arguments[end : end + len(KEPT)], arguments[end + len(KEPT) :]
    options, wants = Options(*rest[:5]), rest[5:]
    op = f"{kind}_attention_backward"
    sizes = check_decoder(op, kind, given, options)
    if wants[0] and not given.x.is_floating_point():
        raise ValueError(f"{op}: want_x is True, but x holds token ids, which have no gradient")
    right: tuple = _outputs(kind, tuple, given, sizes, options, (True, True))
    for name, tensor, shape in zip(ARRIVING, arriving, right, strict=False):
        _check_result(op, name, tensor, shape, given)
    places = (0, 1, 2, 7, 8, 9, 10)
    for name, tensor, place in zip(KEPT, kept, places, strict=True):
        _check_result(op, f"kept_{name}", tensor, right[place], given)
    return arriving, given, kept, options, wants, sizes


def _check_result(op: str, name: str, tensor: Tensor | None, shape: tuple, given: Given) -> None:
    if tensor is None:
        return
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"{op}: {name} has shape {tuple(tensor.shape)}; needs {tuple(shape)}")
    like = given.weight_hh
    if tensor.dtype != like.dtype or tensor.device != like.device:
        found = f"{tensor.dtype} on {tensor.device}"
        raise TypeError(f"{op}: {name} is {found}; needs {like.dtype} on {like.device} like weight_hh")


def _wanted(given: Given, wants: tuple) -> list[bool]:
    """Which gradients are wanted, of x up to bias_output."""
    x, weights, source, states = wants
    flags = [x, *[weights] * 4, source, source, *[states] * 3, *[weights] * 5]
    return [want and tensor is not None for want, tensor in zip(flags, given[:WITH_GRADIENTS], strict=True)]


def _rule_backward(kind: str, *arguments: Any) -> tuple[Tensor, ...]:
    _, given, _, _, wants, sizes = _check_backward(kind, arguments)
    tensors = given[:WITH_GRADIENTS]
    return new_gradients(given.weight_hh.new_empty, tensors, _wanted(given, wants), sizes.E)


def _check_values_backward(kind: str, *arguments: Any) -> None:
    _, given, _, _, _, sizes = _check_backward(kind, arguments)
    check_values(f"{kind}_attention_backward", given, sizes)


def _cpu_backward(kind: str, *arguments: Any) -> tuple[Tensor, ...]:
    arriving, given, kept, options, wants, sizes = _check_backward(kind, arguments)
    given = _dense(given)
    check_values(f"{kind}_attention_backward", given, sizes)
    gates = kept[KEPT.index("gates")]
    if (
        gates.numel() and gates.flatten()[0].isnan()
    ):  # plain torch ran forward, or the gate is NaN: both made anew
        made_anew = _cpu(kind, *given, *options, False, True)
        kept = (*made_anew[:3], *made_anew[len(RESULTS) :])
    new = maker(sizes.most, given.weight_hh.dtype)
    wanted = _wanted(given, wants)
    gradients = new_gradients(new, given[:WITH_GRADIENTS], wanted, sizes.E)
    made = dict(
        zip(
            Given._fields,
            (g if want else None for g, want in zip(gradients, wanted, strict=True)),
            strict=False,
        )
    )
    if sizes.T == 0 or sizes.B == 0:
        return _of_no_step(gradients, made, arriving)
    dy, dcontext, dattentional, dhn, dcn, dfeed, dweights = dense(map(_there, arriving))
    y, context = kept[0].contiguous(), kept[1].contiguous()
    attentional, cells, gates, probabilities, query = dense(map(_there, kept[2:]))
    # Those before the projections, from which the gradients of their weights come.
    along = (sizes.E, sizes.T, sizes.B)
    dquery = None if given.weight_query is None else new((*along, sizes.NP))
    doutput = None if given.weight_output is None else new((*along, sizes.A))
    decoder = _decoder(
        given,
        options,
        context=context,
        attentional=attentional,
        kept=probabilities,
        query=query,
        dcontext=dcontext,
        dattentional=dattentional,
        dfeed=dfeed,
        dweights=dweights,
        dkeys=made["keys"],
        dvalues=made["values"],
        dfeed0=made["feed0"],
        dweight_score=made["weight_score"],
        dquery=dquery,
        doutput=doutput,
    )
    call = _call(kind, given, sizes, options)
    workspace = scratch(_C.sequence_backward_workspace(call))
    passed = (dy, dhn, dcn, None, *_sequence_inputs(given), y, gates, cells)
    names = ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "h0", "c0")
    of_cells = (made[name] for name in names)
    addresses = (p if isinstance(p, int) else address(p) for p in (*passed, *of_cells, workspace))
    _C.decoder_backward(decoder, call, *addresses)
    if made["weight_query"] is not None and dquery is not None:
        states = _before(y, given.h0) if options.query_before else y
        _projection_gradients(dquery, (states,), made["weight_query"], made["bias_query"])
    if made["weight_output"] is not None and doutput is not None:
        _projection_gradients(doutput, (context, y), made["weight_output"], made["bias_output"])
    return gradients


def _of_no_step(
    gradients: tuple[Tensor, ...], made: dict[str, Tensor | None], arriving: Sequence[Tensor | None]
) -> tuple[Tensor, ...]:
    """What arrives at the last states belongs to the first ones, and nothing else has a gradient."""
    for gradient in gradients:
        gradient.zero_()
    ends = dict(zip(ARRIVING, arriving, strict=True))
    for first, last in (("h0", "dhn"), ("c0", "dcn"), ("feed0", "dfeed")):
        gradient, end = made.get(first), _there(ends[last])
        if gradient is not None and end is not None:
            gradient.copy_(end)
    return gradients


def _before(y: Tensor, h0: Tensor | None) -> Tensor:
    """The states before each step (E,T,B,H). Those of rows that have ended meet gradients of 0."""
    first = torch.zeros_like(y[:, :1]) if h0 is None else h0[:, None]
    return torch.cat([first, y[:, :-1]], 1) if y.shape[1] else y


def _projection_gradients(
    dz: Tensor, inputs: tuple[Tensor, ...], dweight: Tensor, dbias: Tensor | None
) -> None:
    """Gradients of a projection's weight (E,O,K) and bias from those of its results (E,T,B,O).

    Sums over all rows are those of the linear layer's weights: their bits do not depend on threads, as those
    of torch's products do.
    """
    found = linear_weight_gradient(dz.flatten(1, 2), torch.cat(inputs, -1).flatten(1, 2))
    dweight.copy_(found[..., :-1])
    if dbias is not None:
        dbias.copy_(found[..., -1])


def _plain(reference: Callable, given: Given, options: Options) -> tuple[Tensor | None, ...]:
    """The seven results of the reference, None where there is nothing."""
    sequence = (*given[:7], given.mask, given.h0, given.c0, given.feed0, given.lengths)
    return reference(*sequence, *given[10:15], *options)


def _reference(kind: str, plain: Callable, *arguments: Any) -> tuple[Tensor, ...]:
    given, options, flags = _split(arguments)
    return_weights, _ = flags
    found = plain(given, options)
    none = found[0].new_empty(found[0].shape[0], 0)
    results = [*found[:6], found[6] if return_weights else None]
    # Only the kernel's backward reads what is kept, in an order of its own: see _cpu_backward.
    sizes = check_decoder(f"{kind}_attention", kind, given, options)
    kept = _outputs(kind, lambda shape: none.new_full(shape, torch.nan), given, sizes, options, flags)[7:]
    return *(none.clone() if tensor is None else tensor for tensor in results), *kept


def _pullback(plain: Callable, *arguments: Any) -> tuple[Tensor, ...]:
    begin, end = len(ARRIVING), len(ARRIVING) + TENSORS
    arriving, given = arguments[:begin], Given(*arguments[begin:end])
    options, wants = Options(*arguments[end : end + 5]), arguments[end + 5 :]
    found = vjp(lambda *tensors: plain(Given(*tensors), options), given, arriving)
    wanted = _wanted(given, wants)
    return only_wanted(found[:WITH_GRADIENTS], given[:WITH_GRADIENTS], wanted, given.x.shape[0])


def _reference_backward(plain: Callable, *arguments: Any) -> tuple[Tensor, ...]:
    end = len(ARRIVING) + TENSORS
    return _pullback(plain, *arguments[:end], *arguments[end + len(KEPT) :])


class _Derivative(Derivative):
    """Of tensors that may be missing or hold integers, and of outputs that are kept and not handed out."""

    gradients = len(ARRIVING)

    def __init__(self, plain: Callable) -> None:
        super().__init__(TENSORS, partial(_pullback, plain))
        self.kept = len(KEPT)

    def training(self, arguments: tuple) -> tuple:
        # Their owner may fill token ids, masks and lengths anew before backward, unseen by torch.
        return (*own(*arguments[:TENSORS]), *arguments[TENSORS:-1], True)

    def leave(self, ctx: Any, outputs: Any, options: tuple) -> tuple[Any, list[Tensor]]:
        results, kept = outputs[: len(RESULTS)], outputs[len(RESULTS) :]
        ctx.set_materialize_grads(False)
        # A transform further in asks for what is kept, too.
        handed = kept if options[-1] else [results[0].new_empty(results[0].shape[0], 0) for _ in kept]
        ctx.mark_non_differentiable(*handed, *(result for result in results[2:] if result.dim() == 2))
        return (*results, *handed), [*ctx.outputs.to_save(*results[:3]), *kept]

    def keep(self, outputs: Any) -> tuple[Tensor, ...]:
        return *outputs[:3], *outputs[len(RESULTS) :]

    def options(self, options: tuple, needed: tuple[bool, ...]) -> tuple:
        at = Given._fields.index
        states = [needed[at(name)] for name in ("h0", "c0", "feed0")]
        weights = [*needed[1:5], *needed[at("weight_query") : WITH_GRADIENTS]]
        source = needed[at("keys")] or needed[at("values")]
        return *options[:5], needed[0], any(weights), source, any(states)

    def returned(self, tensors: tuple, options: tuple) -> list[bool]:
        return _wanted(Given(*tensors), options[5:])
