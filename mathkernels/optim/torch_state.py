"""What torch's Adam remembers, as named tensors of E optimisers: for checkpoints that unpickle nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq")
STEP = "step"


def of(optimizers: Sequence[torch.optim.Adam]) -> dict[str, Tensor]:
    """Return moments and steps (E,...) of optimisers whose parameters have equal shapes.

    The names are ``exp_avg.0`` and so on, by the place of the parameter. Before a first step there are none.
    """
    found = {}
    for index, parameters in enumerate(_parameters(optimizers)):
        states = [one.state.get(own) for one, own in zip(optimizers, parameters, strict=True)]
        for key in (*MOMENTS, STEP) if all(states) else ():
            found[f"{key}.{index}"] = torch.stack([state[key] for state in states])  # type: ignore[index]
    return found


def load(optimizers: Sequence[torch.optim.Adam], state: Mapping[str, Tensor], steps: int | None) -> None:
    """Let optimisers go on from what :func:`of` returned.

    Args:
        optimizers: E of the kind that it was of.
        state: its tensors.
        steps: done by each optimiser; None: any number from 1, but equal ones.

    Raises:
        ValueError: a tensor is missing, unknown, of another shape or type, or holds what no training leaves.
    """
    lead, parameters = len(optimizers), _parameters(optimizers) if steps != 0 else []
    needed = {}
    for index, own in enumerate(parameters):
        needed |= {f"{key}.{index}": (lead, *own[0].shape) for key in MOMENTS}
        needed[f"{STEP}.{index}"] = (lead,)
    if different := needed.keys() ^ state.keys():
        name = min(different)
        raise ValueError(f"{'lacks' if name in needed else 'has'} {name} of the optimiser")
    for name, shape in needed.items():
        own = state[name]
        if tuple(own.shape) != shape or own.dtype != _dtype(name, parameters):
            raise ValueError(f"{name}: got {tuple(own.shape)} of {own.dtype}, needs {shape} of the optimiser")
        _check(name, own, steps)
    for index, own in enumerate(parameters):
        for e, (optimizer, parameter) in enumerate(zip(optimizers, own, strict=True)):
            held = {key: state[f"{key}.{index}"][e].clone() for key in (*MOMENTS, STEP)}
            optimizer.state[parameter] = held


def _parameters(optimizers: Sequence[torch.optim.Adam]) -> list[tuple[Tensor, ...]]:
    return [*zip(*(one.param_groups[0]["params"] for one in optimizers), strict=True)]


def _dtype(name: str, parameters: list[tuple[Tensor, ...]]) -> torch.dtype:
    key, _, index = name.partition(".")
    return torch.float32 if key == STEP else parameters[int(index)][0].dtype


def _check(name: str, own: Tensor, steps: int | None) -> None:
    if name.startswith("exp_avg_sq.") and (own < 0).any():
        raise ValueError(f"has {own[own < 0][0].item():g} in {name}; needs numbers from 0")
    if name.startswith(STEP):
        right = steps if steps is not None else own[0].round() if own[0] >= 1 else 1
        if not (own == right).all():
            raise ValueError(f"{name}: got {own.tolist()}, needs equal whole numbers, {steps or 'from 1'}")
