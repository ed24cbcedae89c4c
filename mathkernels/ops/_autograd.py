"""How an op is differentiated, as a kernel of the op itself (dispatch key Autograd).

Whatever calls an op meets it: eager code, transforms of torch.func in any order, compiled and exported
graphs, the bare op. A wrapper around the op would not: inside vmap nothing seems to require gradients, and a
graph holds the op alone. torch's own `register_autograd` refuses torch.func.grad (torch 2.13).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.autograd.forward_ad import _set_fwd_grad_enabled
from torch.autograd.function import _SingleLevelFunction

_BELOW_AUTOGRAD = torch._C._after_autograd_keyset


def autograd_kernel(op: Any, forward: Callable, backward: Callable) -> Callable:
    """The kernel of dispatch key Autograd, to be registered with the keyset as its first argument.

    Args:
        forward: (ctx, call, *arguments) -> the op's outputs. ``call(*arguments)`` runs the op below autograd;
            forward may change arguments and outputs, and saves what backward needs.
        backward: (ctx, *grads) -> one gradient or None for each argument of the op. It calls ops that can be
            differentiated themselves.
    """
    name = op._schema.name.partition("::")[2]

    def run(ctx: Any, *passed: Any) -> Any:
        *arguments, keyset = passed

        def call(*given: Any) -> Any:
            if not torch._C._are_functorch_transforms_active():
                with torch._C._AutoDispatchBelowAutograd():
                    return op.redispatch(keyset, *given)
            # Transforms further out differentiate this call; the function around it turned that off.
            with torch.enable_grad(), _set_fwd_grad_enabled(True), torch._C._AutoDispatchBelowAutograd():
                return op.redispatch(keyset, *given)

        return forward(ctx, call, *arguments)

    def pull(ctx: Any, *grads: Tensor | None) -> tuple:
        return *backward(ctx, *grads), None

    function: Any = type(
        f"mathkernels_{name}",
        (_SingleLevelFunction,),
        {"forward": staticmethod(run), "backward": staticmethod(pull)},
    )

    def kernel(keyset: Any, *arguments: Any) -> Any:
        _refuse_forward_mode(name, arguments)
        below = keyset & _BELOW_AUTOGRAD
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*arguments):
            if not torch._C._are_functorch_transforms_active():
                return function.apply(*arguments, below)
            with enable_single_level_autograd_function():
                return function.apply(*arguments, below)
        with torch._C._AutoDispatchBelowAutograd():
            return op.redispatch(below, *arguments)

    return kernel


def _refuse_forward_mode(name: str, arguments: tuple) -> None:
    if forward_ad._current_level < 0:
        return
    for value in arguments:
        if isinstance(value, Tensor) and forward_ad.unpack_dual(value).tangent is not None:
            raise NotImplementedError(
                f"{name}: there is no forward-mode derivative (jvp, jacfwd, forward_ad); use reverse mode:"
                " grad, vjp, jacrev, and jacrev of jacrev in place of hessian"
            )


class Overwritable:
    """Outputs that backward needs and that the caller may overwrite, as an in-place activation does.

    They are saved without their version counters; backward asks here whether they still hold what was
    computed, and computes them again if not.
    """

    def __init__(self) -> None:
        self.counters: list[Tensor] = []
        self.versions: list[int] = []

    def to_save(self, *outputs: Tensor) -> list[Tensor]:
        """What to save in the place of the outputs."""
        # Under transforms and while a graph is traced torch's own check stays: it refuses.
        if torch._C._are_functorch_transforms_active() or any(
            type(output) is not Tensor for output in outputs
        ):
            return list(outputs)
        for output in outputs:
            self.watch(output)
        return [output.data for output in outputs]

    def watch(self, output: Tensor) -> None:
        """Count writes into the output too; a tensor without elements has its counter but not its memory."""
        counter = output.detach()
        counter.data = output.new_empty(0)
        self.counters.append(counter)
        self.versions.append(counter._version)

    def changed(self) -> bool:
        return self.versions != [counter._version for counter in self.counters]


def watch_alias(output: Tensor, alias: Tensor) -> bool:
    """Whether backward of an op here notices writes into an alias of its output that is no view to torch.

    Where it does not, the alias must not be handed out.
    """
    own = getattr(output.grad_fn, "outputs", None)
    if not isinstance(own, Overwritable) or not own.counters:
        return False
    own.watch(alias)
    return True
