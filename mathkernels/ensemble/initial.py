"""Initial parameters of a run, as the papers' scripts draw them."""

import math

import numpy as np
import torch

from mathkernels.ensemble.describe import NAU, NMRU, NMU, NPU, NRU, RealNPU, Run


def initial_parameters(run: Run) -> np.ndarray:
    """Return the parameters (P,) of a run before its first update, float32: weights (W_re, W_im), then gates.

    torch's generator is seeded with the run's seed and the second of two draws is used, because the original
    scripts initialise in the constructor and once more; so these equal their initial weights bit for bit.
    Sources: Madsen & Johansen 2020 (NAU, NMU), Heim et al. 2020 (Real NPU), Mistry et al. 2021 (NRU, NMRU).
    """
    inputs = run.task.inputs
    xavier = math.sqrt(6 / (inputs + 1))
    match run.module:
        case NAU() | NRU():
            low, high, count = -min(0.5, xavier), min(0.5, xavier), inputs
        case NMU():
            low, high, count = 0.25, 0.75, inputs
        case NMRU():
            low, high, count = 0.25, 0.75, 2 * inputs
        case RealNPU() | NPU():
            bound = xavier if run.module.init == "xavier" else min(0.5, xavier)
            low, high, count = -bound, bound, inputs
    generator = torch.Generator().manual_seed(run.seed)
    weights = torch.empty(count)
    for _ in range(2):
        weights.uniform_(low, high, generator=generator)
    imaginary = np.zeros(inputs if isinstance(run.module, NPU) else 0, np.float32)
    gated = isinstance(run.module, (RealNPU, NPU)) or (isinstance(run.module, NMRU) and run.module.gated)
    gates = np.full(count if gated else 0, 0.5, np.float32)
    return np.concatenate([weights.numpy(), imaginary, gates])
