"""Units that run along a sequence: what `mathkernels.ops.recurrent_unit` means."""

import torch
from torch import Tensor

from mathkernels.reference.nac import nac
from mathkernels.reference.nac_mul import nac_mul, nac_nmu, nac_sigma
from mathkernels.reference.nalu import nalu
from mathkernels.reference.nau import nau
from mathkernels.reference.nmu import nmu

# unit -> its layer, trained numbers for two inputs and one output, and whether the layer takes an epsilon
UNITS = {
    "nac": (nac, 4, False),
    "nac_mul": (nac_mul, 4, True),
    "nac_sigma": (nac_sigma, 2, True),
    "nac_nmu": (nac_nmu, 2, True),
    "nalu": (nalu, 6, True),
    "nau": (nau, 2, False),
    "nmu": (nmu, 2, False),
}


def recurrent_unit(l: Tensor, weight: Tensor, initial: Tensor, unit: str, epsilon: float) -> Tensor:
    """l (E,T,B), weight (E,P) of a unit of UNITS, initial (E,B) -> h (E,T,B):  h_t = unit([l_t, h_{t-1}])."""
    layer, _, takes_epsilon = UNITS[unit]
    options = (epsilon,) if takes_epsilon else ()
    states, state = [], initial
    for scalar in l.unbind(1):
        state = layer(torch.stack([scalar, state], dim=-1), weight[:, None], *options)[..., 0]
        states.append(state)
    # no step: empty, but still a function of all three
    return torch.stack(states, dim=1) if states else l + initial[:, None] * weight.sum()
