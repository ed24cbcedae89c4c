"""When two results are the same: the rules by which a call counts as a silent difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fuzzing.calls import Difference

FACTOR, FLOOR = 16.0, 64.0  # times the error that is due; ULP of the largest value of a model
EACH = 2.0  # ULP more for every input: a product rounds twice at each
LARGE = 1e3
RULE = (
    f"an error above {FACTOR:g} times that of plain torch at the same precision (or of one unit in the last "
    f"place of every input, if that is larger) plus {FLOOR:g} ULP, and {EACH:g} for each input, of the "
    f"largest value of the model, of gradients under dy of one sign"
)
Function = Callable[..., Any]


def tensors(result: Any) -> list[Tensor]:
    """The tensors of a result, nested or not, in order."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, (tuple, list)):
        return [tensor for part in result for tensor in tensors(part)]
    return []


def pulled(function: Function, leaves: Sequence[Tensor], shift: float = 0.0) -> list[Tensor]:
    """Values of a function and its gradients, under a dy from -1 to 1 that differs from entry to entry.

    With a ``shift`` of 2 dy has one sign, and sums over rows do not cancel by its signs.
    """
    leaves = [leaf.detach().requires_grad_(leaf.is_floating_point()) for leaf in leaves]
    values = [value for value in tensors(function(*leaves)) if value.is_floating_point()]
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    total = sum((value * (_direction(value) + shift)).sum() for value in values)
    if not (isinstance(total, Tensor) and total.requires_grad):
        return [value.detach() for value in values]
    grads = torch.autograd.grad(total, wanted, allow_unused=True)
    filled = [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(grads, wanted, strict=True)]
    return [*(value.detach() for value in values), *filled]


def _direction(value: Tensor) -> Tensor:
    """Numbers from -1 to 1 that depend on the place within a model only."""
    count = value[0].numel() if value.dim() > 1 and len(value) else value.numel()
    line = torch.linspace(-1, 1, max(count, 2), dtype=torch.float64)[:count].to(value.dtype)
    return line.reshape(value.shape[1:] if value.dim() > 1 and len(value) else value.shape)


def same_bits(ours: Sequence[Tensor], theirs: Sequence[Tensor], what: str) -> None:
    """Raise Difference unless all bits agree; any NaN equals any other."""
    if len(ours) != len(theirs):
        raise Difference(f"{what}: {len(ours)} results against {len(theirs)}")
    for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise Difference(
                f"{what}: result {index} is {tuple(a.shape)} {a.dtype} against {tuple(b.shape)} {b.dtype}"
            )
        equal = (a == b) | (a.isnan() & b.isnan()) if a.is_floating_point() else a == b
        if not bool(equal.all()):
            at = tuple(int(i) for i in (~equal).nonzero()[0])
            found = f"{what}: result {index} differs in {int((~equal).sum())} of {a.numel()} entries"
            raise Difference(f"{found}, first at {at}: {a[at].item()!r} against {b[at].item()!r}")


def close(
    ours: Function,
    theirs: Function,
    leaves: Sequence[Tensor],
    precision: float | None = None,
    keeps_nan: bool = True,
    scale: float = 0.0,
    models: bool = True,
) -> None:
    """Raise Difference where values or gradients are worse than the RULE allows.

    Finite numbers are compared with finite numbers. A result that is not finite is a difference only if
    all numbers of the model are finite and of at most LARGE; a value that is not NaN is one where plain
    torch has NaN and the model holds NaN. If it holds infinity too, infinity will do for NaN: whether the
    two terms of W x + 1 - W meet as infinities of both signs depends on how it is written. Gradients may
    be numbers there: autograd divides by factors, or multiplies rows that are masked, which a kernel
    never touches.

    Args:
        ours: a function of the leaves.
        theirs: the same in plain torch.
        leaves: what the functions are given.
        precision: the unit in the last place, by default that of the leaves' dtype.
        keeps_nan: whether a value must be NaN where plain torch has it.
        models: whether the first axis of leaves and results is that of models, which are judged one by one.
        scale: the least that counts as the largest value, for what passes through saturated gates.
    """
    unit = precision or torch.finfo(leaves[0].dtype).eps
    inputs = leaves[0].shape[-1] if leaves[0].dim() else 1
    real = sum(leaf.is_floating_point() for leaf in leaves)
    mine = pulled(ours, leaves)
    exact = pulled(theirs, [leaf.double() if leaf.is_floating_point() else leaf for leaf in leaves])
    uncancelled = pulled(
        theirs, [leaf.double() if leaf.is_floating_point() else leaf for leaf in leaves], 2.0
    )
    others = [_rounded(theirs, leaves, exact, unit)]
    others += [pulled(theirs, _moved(leaves, sign * unit)) for sign in (1, -1)]
    if len(mine) != len(exact):
        raise Difference(f"{len(mine)} results against {len(exact)}")
    for index, (a, e) in enumerate(zip(mine, exact, strict=True)):
        if a.shape != e.shape:
            raise Difference(f"result {index} has shape {tuple(a.shape)} against {tuple(e.shape)}")
        for model in range(len(e)) if models and e.dim() > 1 else [...]:
            own = [leaf[model] if leaf.dim() > 1 else leaf for leaf in leaves if leaf.is_floating_point()]
            _close_one(
                f"result {index}",
                a[model],
                e[model],
                [other[index][model] for other in others],
                (FLOOR + EACH * inputs) * unit * max(scale, _largest_known(uncancelled[index][model])),
                ordinary=all(bool((leaf.abs() <= LARGE).all()) for leaf in own),
                nan=keeps_nan and index < len(mine) - real and any(bool(leaf.isnan().any()) for leaf in own),
                infinite=any(bool(leaf.isinf().any()) for leaf in own),
            )


def _rounded(
    theirs: Function, leaves: Sequence[Tensor], exact: Sequence[Tensor], unit: float
) -> list[Tensor]:
    """Plain torch at the leaves' precision; for float64 its errors in float32, scaled down."""
    if any(leaf.dtype == torch.float32 for leaf in leaves):
        return [plain.double() for plain in pulled(theirs, leaves)]
    single = pulled(theirs, [leaf.float() if leaf.is_floating_point() else leaf for leaf in leaves])
    share = unit / torch.finfo(torch.float32).eps
    return [e + (s.double() - e) * share for s, e in zip(single, exact, strict=True)]


def _moved(leaves: Sequence[Tensor], step: float) -> list[Tensor]:
    """The leaves in float64 with every number a step away, up and down in turn."""
    found = []
    for leaf in leaves:
        turn = torch.arange(leaf.numel(), dtype=torch.float64).mul(2.4).sin().sign().reshape(leaf.shape)
        found.append(leaf.double() * (1 + step * turn) if leaf.is_floating_point() else leaf)
    return found


def _close_one(
    what: str,
    ours: Tensor,
    exact: Tensor,
    others: Sequence[Tensor],
    floor: float,
    *,
    ordinary: bool,
    nan: bool,
    infinite: bool,
) -> None:
    """Compare a result of one model; ``others`` are what rounding makes of the exact one."""
    a = ours.double()
    known = exact.isfinite() & (exact.abs() < torch.finfo(ours.dtype).max / 4)
    for other in others:
        known &= other.isfinite()
    if ordinary and bool((~a.isfinite() & known).any()):
        at = tuple(int(i) for i in (~a.isfinite() & known).nonzero()[0])
        raise Difference(f"{what} is {a[at].item()} at {at}, plain torch has {exact[at].item():.6g}")
    lost = exact.isnan() & others[0].isnan() & (a.isfinite() if infinite else ~a.isnan())
    if nan and bool(lost.any()):
        at = tuple(int(i) for i in lost.nonzero()[0])
        raise Difference(f"{what} is {a[at].item():.6g} at {at}, plain torch has NaN")
    known &= a.isfinite()
    if not bool(known.any()):
        return
    a, e = a[known], exact[known]
    due = max(_largest(other[known] - e) for other in others)
    error, limit = _largest(a - e), FACTOR * due + max(floor, FLOOR * torch.finfo(ours.dtype).tiny)
    if error > limit:
        worst = int((a - e).abs().argmax())
        told = f"{a[worst].item():.9g} against {e[worst].item():.9g}"
        raise Difference(f"{what}: {told}, error {error:.3g}, allowed {limit:.3g}")


def _largest(values: Tensor) -> float:
    return values.abs().max().item() if values.numel() else 0.0


def _largest_known(values: Tensor) -> float:
    return _largest(values[values.isfinite()])
