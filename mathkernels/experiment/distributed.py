"""Training in several processes that torchrun has started, with torch's DistributedDataParallel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mathkernels.experiment.checkpoint import Checkpoint
from mathkernels.experiment.training import Training

PATIENCE = timedelta(hours=12)  # others wait while the first process makes the data


@dataclass(frozen=True)
class Processes:
    """The processes of a training.

    Args:
        rank: of this one.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def share(self, rows: Any) -> Any:
        """Return this process's rows of a batch: every ``world``-th."""
        return rows if self.world == 1 else rows[self.rank :: self.world]

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all processes."""
        if self.world > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.world > 1:
            distributed.barrier()

    def wrap(self, net: nn.Module, device: torch.device) -> nn.Module:
        """Return a module that calls ``net`` and leaves in every process the mean of all gradients.

        torch puts gradients together in the order in which the first step made them, anew in every process
        that is started. Where it looks for unused parameters it keeps the order of parameters, so that sums
        over more than two processes have the same bits in a training that goes on.
        """
        if self.world == 1:
            return net
        places = [device.index] if device.type == "cuda" else None
        whole = _WithUnused(net).to(device)
        return DistributedDataParallel(whole, device_ids=places, find_unused_parameters=True)


class _WithUnused(nn.Module):
    """A module with a parameter that is never used, without which torch warns that it found none."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.unused = net, nn.Parameter(torch.zeros(()))

    def forward(self, *inputs: Any) -> Any:
        return self.net(*inputs)


@contextmanager
def processes(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes of torchrun, if it started this one; give them and this one's device.

    Args:
        device: "cuda" becomes the device of this process on its machine.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes(), device
        return
    on_gpu = device.type == "cuda"
    if on_gpu:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    try:
        yield Processes(distributed.get_rank(), world), device
    finally:
        distributed.destroy_process_group()


class ReadOnlyCheckpoint(Checkpoint):
    """What all processes but the first have: they go on from the file and leave writing to that one."""

    def save(self, training: Training | None) -> None:
        pass


def checkpoint(own: Processes, path: Path, config: dict[str, Any]) -> Checkpoint:
    """Return this process's checkpoint, read before any process goes on to write it."""
    found = (Checkpoint if own.first else ReadOnlyCheckpoint)(path, config)
    own.wait()
    return found
