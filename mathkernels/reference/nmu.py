"""Neural multiplication unit (Madsen & Johansen 2020, eq. 9): what `mathkernels.ops.nmu` means."""

from torch import Tensor


def product(factors: Tensor) -> Tensor:
    """(...,I) -> (...), the product along the last axis, 1 if it is empty.

    Not by torch.prod, whose backward divides by each factor unless one is exactly 0 somewhere in the tensor:
    whether an infinite factor of one sample has a gradient or NaN would depend on the other samples.
    """
    if not factors.shape[-1]:
        return 1 + factors.sum(-1)
    found = factors[..., 0]
    for factor in factors.unbind(-1)[1:]:
        found = found * factor
    return found


def nmu(x: Tensor, weight: Tensor) -> Tensor:
    """x (E,B,I), weight (E,O,I) -> (E,B,O):  z = prod_i (W_i x_i + 1 - W_i)."""
    x, weight = x[:, :, None], weight[:, None]
    return product(weight * x + 1 - weight)
