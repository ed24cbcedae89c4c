"""Swap torch's recurrent modules inside a model for this library's, and back, with the same parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from mathkernels.nn.cells import GRUCell, LSTMCell
from mathkernels.nn.gru import GRU
from mathkernels.nn.lstm import LSTM

_PAIRS: dict[type[nn.Module], type[nn.Module]] = {
    nn.LSTM: LSTM,
    nn.GRU: GRU,
    nn.LSTMCell: LSTMCell,
    nn.GRUCell: GRUCell,
}
_SEQUENCE_OPTIONS = ("num_layers", "bias", "batch_first", "dropout", "bidirectional")


def convert(model: nn.Module, *, back: bool = False) -> nn.Module:
    """Replace every LSTM, GRU, LSTMCell and GRUCell of torch.nn inside a model by that of mathkernels.nn.

    The parameters are not copied: they stay the same objects, so that optimisers, ties between modules,
    requires_grad, device and dtype stay as they are, as do training mode and hooks. A module that stands in
    several places is replaced by one module.

    Args:
        model: changed in place; if it is itself such a module, only the returned one is new.
        back: replace this library's modules by torch.nn's instead.

    Returns:
        The model, or what replaces it.

    Raises:
        ValueError: modules that have no counterpart; the message names each with its reason, and nothing has
            been changed.
    """
    pairs = {ours: theirs for theirs, ours in _PAIRS.items()} if back else _PAIRS
    refuse = _refuse_back if back else _refuse
    found = {name: module for name, module in model.named_modules() if isinstance(module, tuple(pairs))}
    told = [f"{name or 'the model itself'} {why}" for name, m in found.items() if (why := refuse(m, pairs))]
    if told:
        raise ValueError(f"convert: no counterpart for {'; '.join(told)}")
    new = {module: _counterpart(module, pairs[type(module)]) for module in found.values()}
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child in new:
                parent._modules[name] = new[child]
    return new.get(model, model)


def _refuse(module: nn.Module, pairs: dict) -> str | None:
    """Why a module of torch.nn has no counterpart here, or None."""
    if type(module) not in pairs:
        return f"is a {type(module).__name__}, a subclass"
    if getattr(module, "proj_size", 0):
        return f"has proj_size={module.proj_size}; projections are not supported"
    strange = {str(p.dtype) for p in module.parameters() if p.dtype not in (torch.float32, torch.float64)}
    return f"has parameters of {', '.join(sorted(strange))}; needs float32 or float64" if strange else None


def _refuse_back(module: nn.Module, pairs: dict) -> str | None:
    """Why a module of this library has no counterpart in torch.nn, or None."""
    if type(module) not in pairs:
        return f"is a {type(module).__name__}, a subclass"
    if module.models is not None:
        return f"has models={module.models}; torch.nn has single models"
    return "has bfloat16=True; torch.nn has no such option" if module.in_bfloat16 else None


def _counterpart(module: nn.Module, kind: Callable[..., nn.Module]) -> nn.Module:
    """A module of the other library with the parameters, mode and hooks of this one."""
    is_sequence = isinstance(module, (nn.RNNBase, LSTM, GRU))
    names = _SEQUENCE_OPTIONS if is_sequence else ("bias",)
    options = {name: getattr(module, name) for name in names}
    new = kind(module.input_size, module.hidden_size, **options, device="meta")
    for name, parameter in module._parameters.items():
        setattr(new, name, parameter)
    for name, value in module.__dict__.items():
        if "hooks" in name:
            new.__dict__[name] = value
    new.training = module.training
    return new
