"""What every module does with tensors beside its arithmetic: checks, number types, outputs of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch  # pyright: ignore[reportAttributeAccessIssue]

from mathkernels.ops._autograd import watch_alias

LOW = (torch.bfloat16, torch.float16)
_unsafe_view = torch.ops.aten._unsafe_view.default


def check_tensor(layer: str, name: str, value: object) -> Tensor:
    """The value, or a TypeError that names it where it is no tensor."""
    if isinstance(value, Tensor):
        return value
    raise TypeError(f"{layer}: {name} is {type(value).__name__}; needs a tensor, which torch.as_tensor makes")


def check_parameter(layer: str, name: str, value: object, right: tuple[int, ...]) -> Tensor:
    """What stands in a parameter's place: anybody may have assigned something else.

    Raises:
        TypeError: it is no tensor.
        ValueError: its shape is not the right one, with which a reshape might still get along.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{layer}: {name} is {type(value).__name__}; needs a tensor of shape {right}")
    if value.shape != right:
        raise ValueError(f"{layer}: {name} has shape {tuple(value.shape)}; needs {right}")
    return value


def one_of(layer: str, x: Any, input: Any) -> Any:
    """The input under our name or under torch.nn's."""
    if input is None:
        return x
    if x is not None:
        raise TypeError(f"{layer}: x and input are both given; they are two names of the first argument")
    return input


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """What torch.autocast rounds to on this device; None outside of it and where there is none (meta)."""
    kind = device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return None
    return torch.get_autocast_dtype(kind)


def widen(layer: str, name: str, tensor: Any, stored: torch.dtype, lenient: bool) -> Any:
    """A floating-point tensor as kernels take it: bfloat16 and float16 become float32, exactly.

    Args:
        stored: dtype of the parameters. What differs from it is left for the op to name, which does not know
            that parameters have been widened; so with narrow ones it is named here.
        lenient: take other types of at most 32 bits too, as autocast does.

    Raises:
        TypeError: the parameters are narrow and the tensor has another dtype.
    """
    if tensor is None or not tensor.is_floating_point():
        return tensor
    if tensor.dtype == stored or (lenient and stored != torch.float64 and tensor.dtype in LOW):
        return tensor.float() if tensor.dtype in LOW else tensor
    if stored in LOW and not (lenient and tensor.dtype == torch.float32):
        raise TypeError(f"{layer}: {name} is {tensor.dtype}; needs {stored} like the parameters")
    return tensor


def is_wrapped(tensor: Tensor) -> bool:
    """Whether a transform of torch.func is at work on the tensor."""
    return _functorch.is_functorch_wrapped_tensor(tensor)


def is_tracing() -> bool:
    return torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def fresh_view(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """The tensor in another shape, no view to autograd: `detach_` works, as do writes.

    Only for what nobody else holds, saved tensors of a backward included.
    """
    return tensor.reshape(shape) if is_tracing() else _unsafe_view(tensor, shape)


def own(
    tensor: Tensor,
    shape: Sequence[int],
    swap: tuple[int, int] | None = None,
    dtype: torch.dtype | None = None,
    saved: bool = True,
) -> Tensor:
    """An op's output as a tensor that its receiver may write into, in another shape, dtype and order of axes.

    With ``saved`` backward reads it. In eager mode it notices such writes; under a transform of torch.func
    and in a graph this is a copy, as torch.nn makes one where it stacks steps.
    """
    if is_tracing():  # keeps sizes free
        found = tensor.reshape(shape)
        return found.transpose(*swap) if swap else found
    found = fresh_view(tensor, shape)
    found = found.transpose_(*swap) if swap else found
    if dtype in LOW:
        return found.to(dtype)
    if not saved:
        return found
    # inside a transform an outer level may record what this one does not
    if torch.compiler.is_compiling() or is_wrapped(tensor):
        return found.clone()
    return found.clone() if tensor.requires_grad and not watch_alias(tensor, found) else found
