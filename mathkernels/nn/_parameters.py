"""Parameters of modules with a model axis: registered with the shape that they have to keep."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mathkernels.nn._layer import check_models
from mathkernels.nn._tensors import check_parameter


class Parameters(nn.Module):
    """A module, alone or as E independent models, whose parameters then have a leading E."""

    def __init__(
        self, models: int | None, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        self.models = check_models(type(self).__name__, models)
        self._new = {"device": device, "dtype": dtype}
        self._right: dict[str, tuple[int, ...]] = {}

    @property
    def lead(self) -> tuple[int, ...]:
        """The axes before those of one model."""
        return () if self.models is None else (self.models,)

    def _register(self, name: str, *shape: int, there: bool = True) -> None:
        """An empty parameter, or None in its place."""
        if not there:
            self.register_parameter(name, None)
            return
        self._right[name] = (*self.lead, *shape)
        self.register_parameter(name, nn.Parameter(torch.empty(self._right[name], **self._new)))

    def _tensors(self, *names: str, like: torch.dtype | None = None) -> list[Any]:
        """Parameters, or what is computed in their place, with a model axis; None where there is none.

        Raises:
            ValueError: one does not have its shape.
            TypeError: it has another dtype than ``like``, by default that of the first.
        """
        layer, found = type(self).__name__, []
        for name in names:
            value = getattr(self, name)
            if name not in self._right:
                found.append(None)
                continue
            tensor = check_parameter(layer, name, value, self._right[name])
            like = like or tensor.dtype
            if tensor.dtype != like:
                raise TypeError(f"{layer}: {name} is {tensor.dtype}; needs {like} like the first weight")
            found.append(tensor if self.lead else tensor[None])
        return found

    @torch.no_grad()
    def _draw(self, bound: float, *names: str) -> None:
        """Fill parameters that are there from U(-bound, bound)."""
        for name in names:
            if name in self._right:
                nn.init.uniform_(getattr(self, name), -bound, bound)


def models_first(tensor: Tensor, models: int | None) -> Tensor:
    """The tensor with an axis of models."""
    return tensor if models is not None else tensor.unsqueeze(0)
