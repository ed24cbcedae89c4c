"""Make torch's recurrent modules inside a model this library's, and back: the same objects, another class."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.nn.utils import parametrize

from mathkernels.nn._tensors import LOW
from mathkernels.nn.cells import GRUCell, LSTMCell
from mathkernels.nn.gru import GRU
from mathkernels.nn.lstm import LSTM

_PAIRS: dict[type[nn.Module], type[nn.Module]] = {
    nn.LSTM: LSTM,
    nn.GRU: GRU,
    nn.LSTMCell: LSTMCell,
    nn.GRUCell: GRUCell,
}
# For isinstance, in the place of (torch.nn.LSTM, torch.nn.GRU, ...): before and after `convert`.
RECURRENT: tuple[type[nn.Module], ...] = (*_PAIRS, *_PAIRS.values())
_SEQUENCE_OPTIONS = ("num_layers", "bias", "batch_first", "bidirectional")
_HARMLESS = ("flatten_parameters",)  # which models replace by nothing, and which does nothing


def convert(model: nn.Module, *, back: bool = False) -> nn.Module:
    """Make every LSTM, GRU, LSTMCell and GRUCell of torch.nn inside a model one of mathkernels.nn.

    The modules stay the same objects; what changes is their class. So everything stays that hangs on them:
    parameters, ties, requires_grad, dtype, device (meta too), buffers, child modules, hooks of all kinds and
    their handles, attributes, training mode, torch.nn.utils.prune's masks, weight_norm and spectral_norm, old
    and new, and every other parametrization. Optimisers need nothing.

    Afterwards ``isinstance(module, torch.nn.LSTM)`` is false. Loops that look for recurrent modules take
    ``isinstance(module, mathkernels.nn.RECURRENT)``, a tuple of torch's classes and this library's, or read
    ``module.mode``, "LSTM" or "GRU". Tools that replace modules by their class, as quantisation does, see a
    converted model without any: ``quantize_dynamic(convert(model, back=True), {torch.nn.LSTM})``.

    Args:
        model: changed in place, also where it is such a module itself.
        back: make this library's modules torch.nn's instead.

    Returns:
        The model.

    Raises:
        ValueError: modules that have no counterpart, such as subclasses; the message names each with its
            reason, and nothing has been changed.
    """
    pairs = {ours: theirs for theirs, ours in _PAIRS.items()} if back else _PAIRS
    found = {name: module for name, module in model.named_modules() if isinstance(module, tuple(pairs))}
    told = [f"{name or 'the model itself'} {why}" for name, m in found.items() if (why := _refuse(m, pairs))]
    if told:
        raise ValueError(f"convert: no counterpart for {'; '.join(told)}")
    for module in found.values():
        _become(module, pairs[parametrize.type_before_parametrizations(module)])
    return model


def _refuse(module: nn.Module, pairs: dict) -> str | None:
    """Why a module has no counterpart, or None."""
    kind = parametrize.type_before_parametrizations(module)
    if kind not in pairs:
        return f"is a {type(module).__name__}, a subclass"
    if module.__dict__.get("proj_size", 0):
        return f"has proj_size={module.proj_size}; projections are not supported"
    if getattr(module, "models", None) is not None and kind in _PAIRS.values():
        return f"has models={module.models}; torch.nn has single models"
    for option, attribute in (("bfloat16", "in_bfloat16"), ("token_ids", "token_ids")):
        if kind in _PAIRS.values() and getattr(module, attribute):
            return f"has {option}=True; torch.nn has no such option"
    return _refuse_parameters(module) or _refuse_names(module, kind, pairs[kind])


def _refuse_parameters(module: nn.Module) -> str | None:
    """Why its parameters cannot be used, or None; parametrised ones are not computed for it."""
    computed = module._modules.get("parametrizations")
    tensors = [*module.parameters(recurse=False), *(computed.parameters() if computed is not None else ())]
    right = (torch.float32, torch.float64, *LOW)
    strange = {str(tensor.dtype) for tensor in tensors if tensor.dtype not in right}
    if strange:
        return f"has parameters of {', '.join(sorted(strange))}; needs float32, float64, bfloat16 or float16"
    places = module._parameters, module.__dict__, computed._modules if computed is not None else {}
    missing = [name for name in _weight_names(module) if all(p.get(name) is None for p in places)]
    return f"has no {', '.join(missing)}" if missing else None


def _refuse_names(module: nn.Module, kind: type[nn.Module], new: type[nn.Module]) -> str | None:
    """Why an attribute of the module itself cannot stay what it is, or None."""
    usual = vars(kind(1, 1, device="meta"))
    more = [name for name in vars(module) if name not in usual]
    for name in more:
        if callable(getattr(kind, name, None)) and name not in _HARMLESS:
            return f"has a {name} of its own in the place of {kind.__name__}'s"
    taken = vars(new(1, 1, device="meta"))
    for name in (*more, *module._buffers, *module._modules, *module._parameters):
        if name in taken or (hasattr(new, name) and not hasattr(kind, name)):
            return f"has {name!r}, which is a name of {new.__module__.split('.')[0]}'s {new.__name__} itself"
    return None


def _weight_names(module: nn.Module) -> Iterable[str]:
    if isinstance(module, (nn.RNNBase, LSTM, GRU)):
        return module._flat_weights_names
    return ("weight_ih", "weight_hh", "bias_ih", "bias_hh")[: 4 if module.bias else 2]


def _become(module: nn.Module, new: Callable[..., nn.Module]) -> None:
    """Give the module the other class and the attributes that only one of the two has."""
    options = {name: getattr(module, name) for name in _SEQUENCE_OPTIONS if name in module.__dict__}
    old, state = parametrize.type_before_parametrizations(module), module.__dict__
    example = new(module.input_size, module.hidden_size, **options, device="meta")
    for name in vars(old(1, 1, device="meta")):
        if name not in vars(example):
            state.pop(name, None)
    state.update({name: value for name, value in vars(example).items() if name not in state})
    if isinstance(example, nn.RNNBase):
        # torch makes the list anew where it holds something else than the attributes, as it does here where
        # they are computed
        held = zip(example._flat_weights_names, example._flat_weights, strict=True)
        state["_flat_weights"] = [
            next((p[n] for p in (module._parameters, state) if n in p), other) for n, other in held
        ]
    kind = type(example)
    if type(module) is not old:  # parametrised: a class of its own, which holds the properties that compute
        kept = {
            k: v for k, v in vars(type(module)).items() if k not in ("__dict__", "__weakref__", "__doc__")
        }
        kind = type(f"Parametrized{kind.__name__}", (kind,), kept)
    module.__class__ = kind  # pyright: ignore[reportAttributeAccessIssue]
