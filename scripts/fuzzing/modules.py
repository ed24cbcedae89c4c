"""Random calls of all modules: right ones against torch.nn or the reference, others to be refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import composition_cases
import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import mathkernels.nn as fused
from fuzzing import values
from fuzzing.calls import Call, Difference, Draw, shown
from fuzzing.compare import close, same_bits, tensors

RECURRENT = ("LSTM", "GRU")
CELLS = ("LSTMCell", "GRUCell")


def _twins(draw: Draw) -> tuple[str, nn.Module, nn.Module, dict[str, Any], tuple[int, int]]:
    """A recurrent module of ours, torch's with the same weights, the options, and (I, H)."""
    name = draw.choice((*RECURRENT, *RECURRENT, *CELLS))
    sizes = (
        values.size(draw, (1, 2, 3, 8, 17), 60, 0.0),
        values.size(draw, (1, 2, 5, 8, 16, 17, 33), 100, 0.0),
    )
    options: dict[str, Any] = {"bias": draw.holds(0.8), "dtype": draw.one(torch.float32, torch.float64)}
    if name in RECURRENT:
        options |= {"num_layers": draw.one(1, 1, 2, 3), "bidirectional": draw.holds(0.4)}
        options |= {"batch_first": draw.holds(0.4)}
    theirs = getattr(nn, name)(*sizes, **options)
    ours = getattr(fused, name)(*sizes, **options)
    ours.load_state_dict(theirs.state_dict())
    return name, ours, theirs, options, sizes


def twin(draw: Draw) -> Call:
    """A recurrent module beside torch's: values, gradients, packed sequences, conversion."""
    name, ours, theirs, options, (I, H) = _twins(draw)
    B, T = values.size(draw, (1, 2, 3, 8, 16, 17, 33), 130, 0.0), values.size(draw, (1, 2, 3, 6), 12, 0.0)
    batched = draw.holds(0.8)
    shape = ((B,) if batched else ()) + (I,)
    if name in RECURRENT:
        shape = (B, T, I) if batched and options["batch_first"] else (T, *shape)
    x = values.strided(draw, torch.randn(shape, dtype=options["dtype"]))
    packed = name in RECURRENT and batched and draw.holds(0.3)
    lengths = [draw.randint(1, T) for _ in range(B)]
    states = None if draw.holds(0.5) else _states(name, options, B if batched else None, H, options["dtype"])
    if draw.holds(0.2):
        ours = fused.convert(copy.deepcopy(theirs))

    def of(module: nn.Module) -> Callable[..., Any]:
        names = [name for name, _ in module.named_parameters()]

        def apply(x: Tensor, *leaves: Tensor) -> list[Tensor]:
            # the reference rule moves the leaves to float64, the packing and the states follow
            weights = dict(zip(names, leaves, strict=True))
            hx = None if states is None else _cast(states, x.dtype)
            if packed:
                given = pack_padded_sequence(x, lengths, options["batch_first"], enforce_sorted=False)
                y, ends = functional_call(module, weights, (given, hx))
                return tensors((pad_packed_sequence(y, options["batch_first"])[0], ends))
            return tensors(functional_call(module, weights, (x, hx)))

        return apply

    def run() -> None:
        leaves = [x, *(p.detach() for p in theirs.parameters())]
        close(_joined(of(ours)), _joined(of(theirs)), leaves, scale=1.0, models=False)

    told = f"{name}({I}, {H}, {options}) x {tuple(shape)}, packed={packed}, states={states is not None}"
    return Call(told, run, valid=True)


def _joined(function: Callable[..., list[Tensor]]) -> Callable[..., Tensor]:
    return lambda *leaves: torch.cat([t.flatten() for t in function(*leaves)])


def _states(name: str, options: dict[str, Any], batch: int | None, H: int, dtype: torch.dtype) -> Any:
    lead = (options["num_layers"] * (1 + options["bidirectional"]),) if name in RECURRENT else ()
    made = [torch.randn(*lead, *(() if batch is None else (batch,)), H, dtype=dtype) for _ in range(2)]
    return tuple(made) if name.startswith("LSTM") else made[0]


def _cast(states: Any, dtype: torch.dtype) -> Any:
    return states.to(dtype) if isinstance(states, Tensor) else tuple(state.to(dtype) for state in states)


def meant(draw: Draw) -> Call:
    """Every module of the grid of compositions: its meaning, copies of it, E of it against one."""
    case = draw.choice(composition_cases.MODULES)
    module = case.make()
    module.train(draw.holds(0.5) or case.name in ("NRU", "NMRU"))  # the meaning of these is that of training
    x = values.strided(draw, case.x())
    way = draw.choice(list(_WAYS))

    def run() -> None:
        parameters = dict(module.named_parameters())
        names = list(parameters)

        def ours(x: Tensor, *leaves: Tensor) -> Tensor:
            return case.run(_Bound(module, dict(zip(names, leaves, strict=True))), x)

        def theirs(x: Tensor, *leaves: Tensor) -> Tensor:
            return case.meaning(dict(zip(names, leaves, strict=True)), x)

        leaves = [x, *(p.detach() for p in parameters.values())]
        close(ours, theirs, leaves, models=False)
        _WAYS[way](case, module, x)

    return Call(f"{case.id} {way}", run, valid=True)


class _Bound:
    """A module with other parameters."""

    def __init__(self, module: nn.Module, parameters: dict[str, Tensor]) -> None:
        self.module, self.parameters = module, parameters

    def __call__(self, x: Tensor) -> Any:
        return functional_call(self.module, self.parameters, (x,))


def _copied(case: Any, module: nn.Module, x: Tensor) -> None:
    y = case.run(module, x)
    same_bits([case.run(copy.deepcopy(module), x)], [y], "deepcopy")
    same_bits([case.run(pickle.loads(pickle.dumps(module)), x)], [y], "pickle")
    other = case.make().train(module.training)
    other.load_state_dict(module.state_dict())
    same_bits([case.run(other, x)], [y], "state_dict")


def _models(case: Any, module: nn.Module, x: Tensor) -> None:
    models = case.make(2).train(module.training)
    y = case.run(models, torch.stack([x, x * 0.75]))
    alone = {name: value[1] for name, value in models.state_dict().items()}
    module.load_state_dict(alone)
    same_bits([case.run(module, x * 0.75)], [y[1]], "a model alone against among others")


def _mapped(case: Any, module: nn.Module, x: Tensor) -> None:
    parameters = {name: p.detach() for name, p in module.named_parameters()}

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return case.run(_Bound(module, parameters), x).square().sum()

    together = vmap(grad(loss), in_dims=(None, 0))(parameters, torch.stack([x, 1.25 * x]))
    for at, own in enumerate((x, 1.25 * x)):
        leaves = [p.detach().requires_grad_() for p in parameters.values()]
        total = loss(dict(zip(parameters, leaves, strict=True)), own)
        for name, plain in zip(parameters, torch.autograd.grad(total, leaves), strict=True):
            if not torch.allclose(together[name][at], plain, rtol=1e-9, atol=1e-12):
                raise Difference(f"vmap of grad: {name} differs from autograd")


def _silent(case: Any, module: nn.Module, x: Tensor) -> None:
    y = case.run(module, x)
    with torch.no_grad():
        same_bits([case.run(module, x)], [y.detach()], "no_grad")
    with torch.inference_mode():
        same_bits([case.run(module, x)], [y.detach()], "inference_mode")


_WAYS = {"copied": _copied, "models": _models, "mapped": _mapped, "no_grad": _silent}


def _wrong_input(draw: Draw, x: Tensor) -> tuple[str, Any]:
    """Something in the place of x that does not fit."""
    last = x.shape[-1]
    options: list[tuple[str, Any]] = [
        ("None", None),
        ("a list", x.tolist()),
        ("an array", x.detach().numpy()),
        ("a number", draw.one(0, 1.5, np.float64(2.0), np.int64(3))),
        ("a text", "x"),
        ("other last axis", torch.randn(*x.shape[:-1], last + draw.one(-1, 1, 5), dtype=x.dtype)),
        ("no axis", torch.randn((), dtype=x.dtype)),
        ("another dtype", x.to(draw.one(torch.float16, torch.float32, torch.complex64, torch.bool))),
        ("meta", x.to("meta")),
        ("sparse", x.detach().to_sparse()),
        ("quite empty", x.new_empty(0)),
        ("many axes", x[(None,) * draw.one(3, 5, 20)]),
        ("whole numbers beyond any size", torch.full(x.shape[:-1], draw.one(-1, 2**31, 2**62))),
        ("whole numbers", torch.zeros(x.shape, dtype=torch.int64)),
        ("nested", [[x], x]),
    ]
    return draw.choice(options)


MADE = ("Attention", "AttentionLSTM", "AttentionGRU", "Seq2Seq")  # the grid makes their other input of x


def wrong(draw: Draw) -> Call:
    """A module that is given something else than it takes, as x, states or lengths."""
    if draw.holds(0.5):
        case = draw.choice([case for case in composition_cases.MODULES if case.name not in MADE])
        module, x, sequence = case.make(), case.x(), False
    else:
        name, module, _, options, (I, _) = _twins(draw)
        sequence = name in RECURRENT
        x = torch.randn((3, 2, I) if sequence else (2, I), dtype=options["dtype"])
    given: dict[str, Any] = {}
    if draw.holds(0.6):
        told, x = _wrong_input(draw, x)
        names: tuple[str, ...] = ("x", "l")
    else:
        options = [
            None,
            3,
            "h",
            torch.randn(2),
            (torch.randn(2, 2),),
            [None, None],
            x,
            (x, x),
            np.zeros((1, 2, 3)),
        ]
        given["hx"] = wanted = draw.choice(options)
        told, names = f"hx {shown(wanted)}", ("hx", "h0", "c0", "initial")
    if sequence and draw.holds(0.4):
        lengths = draw.choice(
            [None, 3, [1, 2], [4, -1], [1.5, 2], torch.tensor([2**40, 1]), "12", [], [[1, 2]]]
        )
        given["lengths"] = lengths
        told, names = f"{told}, lengths {shown(lengths)}", (*names, "lengths")

    def run() -> None:
        for result in tensors(module(x, **given)):
            result.detach().sum()

    # the parameter itself is missing from forward: Python names it
    return Call(f"{type(module).__name__} given {told}", run, names)


_MAKERS = (twin, meant, wrong)


def module(draw: Draw) -> Call:
    return draw.choices(_MAKERS, (3, 3, 4))[0](draw)


KINDS = {"module": module}
