"""Prints a digest of each thing that a fit is made of, for test_machines.py; run in a process of its own."""

import hashlib
import json

import numpy as np
import torch

from mathkernels.data.arithmetic import CHALLENGING, MIXED_SIGNS, Task
from mathkernels.ensemble import RealNPU, Run
from mathkernels.ensemble.program import build_programs
from mathkernels.ensemble.schedules import Norm, Ramp
from mathkernels.ensemble.seq2seq import Seq2SeqEnsemble
from mathkernels.studies.division.catalogue import FIGURES

SCHEDULES = ("step", "correction", "penalty", "norm")


def digest(*arrays: np.ndarray) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def schedules() -> list[np.ndarray]:
    """All schedules of every optimiser of the paper and of some others, in float64."""
    optimisers = dict.fromkeys(v.optimizer for study in FIGURES.values() for v in study.variants)
    task = Task(operation="mul", interpolation="U[1,2]", extrapolation="U[2,6]")
    module = RealNPU(norm=Norm(start=1e-9, end=1e-3, every=700, growth=3.7))
    found = []
    for betas in ((0.9, 0.999), (0.3, 0.77), (0.95, 0.9999)):
        for optimizer in optimisers:
            if optimizer.name == "adam":
                optimizer = type(optimizer)(lr=optimizer.lr, betas=betas)
            run = Run(module=module, task=task, seed=0, optimizer=optimizer, iterations=60_000, ramp=RAMP)
            (program,) = build_programs([run], "float64", "hash")
            for last in (777, 60_001):
                program.advance_to(last)
                found += [getattr(program, f"_{name}_array").copy() for name in SCHEDULES]
                program.position = last
    return found


RAMP = Ramp(start=20_000, end=35_000)


def sets() -> list[np.ndarray]:
    tables = [*CHALLENGING.values(), *MIXED_SIGNS.values()]
    made = [Task(inputs=10, interpolation=inside, extrapolation=outside) for inside, outside in tables]
    return [task.evaluation_inputs(which) for task in made for which in ("validation", "test")]


def streams() -> list[np.ndarray]:
    found = []
    for inside, outside in CHALLENGING.values():
        run = Run(module=RealNPU(), task=Task(interpolation=inside, extrapolation=outside), seed=0)
        (program,) = build_programs([run], "float64", "hash")
        found += [program._slot_shape_array, program._scale_array, program._offset_array]
    return found


def main() -> None:
    learner = Seq2SeqEnsemble(alphabet=12, hidden=8, steps_in=5, steps_out=3, seeds=[0])
    grown = 0.999 ** np.arange(1.0, 60_001.0)
    content = {
        "schedules": digest(*schedules()),
        "sets": digest(*sets()),
        "streams": digest(*streams()),
        "steps": digest(learner._step_sizes(60_000).numpy()),
        "numpy's own powers": digest(grown),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }
    print(json.dumps(content))


if __name__ == "__main__":
    main()
