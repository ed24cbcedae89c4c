"""Which backend runs an op: the one policy of all of them, forward and backward.

CPU tensors go to the compiled kernel ("cpu"), CUDA tensors to the Triton kernel ("triton") of an op that has
one. Plain torch ("torch") computes an op only if the caller has enabled or forced it. An op that no backend
may run is refused by name: TypeError, with one line that says what to do. Every call is noted for
``backends.last``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mathkernels import backends

_ORDER = {"CPU": ("cpu", "torch"), "CUDA": ("triton", "torch")}  # by dispatch key, the first enabled one runs


@dataclass(frozen=True)
class Kernels:
    """One op on every backend; all take the arguments of its schema.

    Attributes:
        rule: the shape rule. It checks the arguments and returns new outputs without values.
        cpu: the compiled kernel, which calls the rule itself.
        reference: the op in plain torch, called with arguments that the rule has accepted.
        triton: "module.function" of mathkernels.triton, called like the reference; None where there is none.
        check_values: what the rule cannot see, since it reads no values; for the reference and Triton.
    """

    rule: Callable
    cpu: Callable
    reference: Callable
    triton: str | None = None
    check_values: Callable | None = None


KERNELS: dict[str, Kernels] = {}  # of every op of the library, by name


def choose(name: str, kernels: Kernels, key: str, device: Any) -> tuple[str, str]:
    """The backend that runs an op for tensors on ``device``, of dispatch key "CPU" or "CUDA", and why.

    Raises:
        TypeError: none may; the message says why and what to do.
    """
    own, forced = _ORDER[key][0], backends.forced()
    exists = own == "cpu" or kernels.triton is not None
    told = f"{name}: tensors are on {device}"
    if forced is not None:
        if forced == "torch" or (forced == own and exists):
            return forced, f"forced by backends.force({forced!r})"
        raise TypeError(
            f"{told}; backends.force({forced!r}) is in force, where this op has no kernel for them:"
            " undo it with mathkernels.backends.force(None)"
        )
    if exists and own in backends.enabled():
        return own, backends.reason() if own == "cpu" else f"tensors are on {device}"
    lacking = f"{own!r} is disabled" if exists else "this op has no GPU kernel"
    if "torch" in backends.enabled():
        return "torch", f"tensors are on {device}, {lacking} and 'torch' is enabled"
    remedy = f"enable it with mathkernels.backends.enable({own!r})" if exists else "pass them with .cpu()"
    raise TypeError(
        f"{told}; {lacking}: {remedy}, or let plain torch compute it with"
        " mathkernels.backends.enable('torch')"
    )


def kernel_of(op: Any, kernels: Kernels, key: str) -> Callable:
    """What torch's dispatcher calls for tensors of dispatch key "CPU" or "CUDA"."""
    name, needed, all_tensors = op._schema.name.partition("::")[2], needed_tensors(op), tensors_of(op)
    cpu, KERNELS[name] = kernels.cpu, kernels

    def run(*arguments: Any) -> Any:
        check_present(name, needed, arguments)
        _check_memory(name, all_tensors, arguments)
        if key == "CPU" and backends.usual():
            outputs = cpu(*arguments)
            backends.record(name)
            return outputs
        device = next(argument.device for argument in arguments if isinstance(argument, Tensor))
        backend, reason = choose(name, kernels, key, device)
        if backend == "cpu":
            outputs = cpu(*arguments)
        else:
            kernels.rule(*arguments)
            if kernels.check_values is not None:
                kernels.check_values(*arguments)
            if backend == "torch":
                outputs = _plain(kernels.reference, device, arguments)
            else:
                outputs = triton_kernel(name, kernels.triton, device)(*arguments)
        backends.record(name, backend, reason)
        return outputs

    return run


def _plain(reference: Callable, device: torch.device, arguments: tuple) -> Any:
    """What plain torch computes, in tensors of their own as the shape rule has promised them."""
    given = [argument.detach() if isinstance(argument, Tensor) else argument for argument in arguments]
    # An op runs below autograd, with which references of backward ops make gradients.
    with (
        torch.autocast(device.type, enabled=False),
        torch.enable_grad(),
        torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.AutogradFunctionality, False),
    ):
        outputs = reference(*given)
    if isinstance(outputs, Tensor):
        return outputs.contiguous()
    alias_of = torch._C._is_alias_of  # pyright: ignore[reportAttributeAccessIssue]
    own: list[Tensor] = []
    for output in outputs:
        dense = output.contiguous()
        own.append(dense.clone() if any(alias_of(dense, other) for other in own) else dense)
    return tuple(own)


def triton_kernel(name: str, path: str | None, device: Any) -> Callable:
    """The function "module.function" of mathkernels.triton, which is imported at its first use."""
    module, _, function = str(path).partition(".")
    try:
        return getattr(importlib.import_module(f"mathkernels.triton.{module}"), function)
    except ModuleNotFoundError as error:
        if error.name != "triton":
            raise
        raise ImportError(
            f"{name}: tensors on {device} need triton; install it with `pip install triton`"
        ) from error


def tensors_of(op: Any) -> list[tuple[int, str]]:
    """Place and name of the arguments that are tensors, or may be."""
    kinds = ("Tensor", "Optional[Tensor]")
    arguments = enumerate(op._schema.arguments)
    return [(at, argument.name) for at, argument in arguments if str(argument.type) in kinds]


def needed_tensors(op: Any) -> list[tuple[int, str]]:
    """Place and name of the arguments that have to be tensors."""
    schema = op._schema.arguments
    return [(at, name) for at, name in tensors_of(op) if isinstance(schema[at].type, torch.TensorType)]


def check_present(name: str, needed: list[tuple[int, str]], arguments: tuple) -> None:
    """Raise where a tensor is None that may not be: torch lets None pass as a tensor."""
    for at, argument in needed:
        if arguments[at] is None:
            raise TypeError(f"{name}: {argument} is None; needs a tensor")


def _check_memory(name: str, tensors: list[tuple[int, str]], arguments: tuple) -> None:
    """Raise where a tensor has no memory: FSDP and others free it under them."""
    for at, argument in tensors:
        tensor = arguments[at]
        # Where there is none, the address is that of the first element in a storage at 0.
        if (
            tensor is not None
            and tensor.data_ptr() == tensor.storage_offset() * tensor.itemsize
            and tensor.numel()
        ):
            told = f"{argument} is {tuple(tensor.shape)}, and its storage has been freed"
            raise ValueError(f"{name}: {told}; needs the storage resized and filled again")
