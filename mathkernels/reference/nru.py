"""Neural reciprocal unit (Mistry, Farrahi & Hare 2021): what `mathkernels.ops.nru` means."""

import torch
from torch import Tensor

from mathkernels.reference.nmu import product


def nru(x: Tensor, weight: Tensor, training: bool) -> Tensor:
    """x (E,B,I), weight (E,O,I) -> (E,B,O):  z = prod_i (sign(x_i) |x_i|^W_i T_i + 1 - T_i).

    T = tanh(1000 W)^2 in training, |W| in evaluation. sign(0) = 0; the power's slopes there are taken as 0.
    1 - T is taken first, as the original does: at T = 1 a factor is the power itself, however small.
    """
    x, weight = x[:, :, None], weight[:, None]
    gate = torch.tanh(1000 * weight) ** 2 if training else weight.abs()
    nonzero = x != 0
    power = x.sign() * torch.where(nonzero, x.abs(), 1) ** weight
    power = torch.where(nonzero, power, (x.sign() * x.abs() ** weight).detach())
    return product(power * gate + (1 - gate))


def nru_separate(x: Tensor, weight: Tensor, training: bool) -> Tensor:
    """x (E,B,I), weight (E,O,I) -> (E,B,O), z = prod_i (|x_i|^W_i T_i + 1 - T_i) prod_i sign(x_i)^round(W_i).

    T as above; the product of the signs is a constant in backward, and halves are rounded to even.
    """
    x, weight = x[:, :, None], weight[:, None]
    gate = torch.tanh(1000 * weight) ** 2 if training else weight.abs()
    magnitude = product(x.abs() ** weight * gate + (1 - gate))
    return magnitude * torch.prod(x.sign() ** weight.round(), dim=-1).detach()
