"""Optimisers: Keras' conventions beside torch's, and many independent models in one update."""

from mathkernels.optim import torch_state
from mathkernels.optim.batched import BatchedOptimizer

__all__ = ["BatchedOptimizer", "torch_state"]
