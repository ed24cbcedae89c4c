"""Trains small Deep Math models in one, two, killed and resumed processes, as torchrun would start them.

    python deepmath_worker.py DATA OUT

Leaves in OUT the weights and tables of each training. All processes are forked from this one, so that nothing
is imported twice.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

import torch

from mathkernels.experiment import distributed, loop, tensor_files
from mathkernels.studies.mathematics.config import Config
from mathkernels.studies.mathematics.plan import plan
from mathkernels.studies.mathematics.training import training

loop.SAVE_SECONDS = 0.0


def train(data: Path, out: Path, kill_at: int | None) -> None:
    """Train in this process, which is one of those that the environment names, and write what comes out."""
    torch.set_num_threads(1)
    sizes = {"num_encoder_units": 6, "num_decoder_units": 12, "embedding_dim": 6, "thinking_steps": 3}
    config = Config(
        model="attentional",
        data_path=data,
        batch_size=24,
        epochs=3,
        learning_rate=0.01,
        valid_split=0.1,
        **sizes,
    )
    with distributed.processes(torch.device("cpu")) as (own, device):
        what = plan(config, own=own)
        run = training(what.learner(device))
        checkpoint = distributed.checkpoint(own, out / "checkpoint", what.describe())
        plain = run.update

        def update() -> None:
            if run.step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            plain()

        run.update = update  # type: ignore[method-assign]
        assert loop.train(run, checkpoint)
        if own.first:
            tensor_files.write(
                out / "weights", {n: v.detach() for n, v in run.learner.model.state_dict().items()}, {}
            )
            rows = [{name: value for name, value in row.items() if name != "seconds"} for row in run.rows()]
            (out / "rows.json").write_text(json.dumps(rows))


def launch(world: int, data: Path, out: Path, kill_at: int | None = None) -> list[int]:
    """Fork the processes of a training and return their exit codes."""
    out.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(world):
        child = os.fork()
        if not child:
            own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port}
            os.environ.update({name: str(value) for name, value in own.items()}, MASTER_ADDR="127.0.0.1")
            try:
                train(data, out, kill_at)
            except BaseException as error:
                print(f"process {rank}: {error!r}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        children.append(child)
    return [os.waitpid(child, 0)[1] for child in children]


if __name__ == "__main__":
    data, out = map(Path, sys.argv[1:])
    assert launch(1, data, out / "one") == [0]
    assert launch(2, data, out / "two") == [0, 0]
    assert launch(2, data, out / "cut", kill_at=17) == [signal.SIGKILL, signal.SIGKILL]
    assert (out / "cut" / "checkpoint").exists()
    assert launch(2, data, out / "cut") == [0, 0]
