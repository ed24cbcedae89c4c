"""A good file of every kind that the library reads, and how it is read."""

from __future__ import annotations

import gzip
import importlib.util
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ensemble_cases import run, task

from fuzzing import damage
from fuzzing.calls import Draw
from fuzzing.damage import Damage
from mathkernels import _C
from mathkernels.data import equation_sets, mnist
from mathkernels.data.equations import Equations
from mathkernels.ensemble import NMRU, NMU, Adam, fit
from mathkernels.ensemble.custom import library
from mathkernels.ensemble.run import How
from mathkernels.ensemble.training import train_here
from mathkernels.experiment import configuration, csv_files, loop
from mathkernels.experiment.checkpoint import Checkpoint
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.experiment.training import Training
from mathkernels.nn import LSTM
from mathkernels.studies.adding import config as adding_config
from mathkernels.studies.adding import report as adding_report
from mathkernels.studies.adding import training as adding_training
from mathkernels.studies.equations import config as equations_config
from mathkernels.studies.equations import engine as equations_engine
from mathkernels.studies.equations import training as equations_training
from mathkernels.studies.equations import weights as equations_file
from mathkernels.studies.sequential_mnist import training as sequential_training

ROOT = Path(__file__).resolve().parents[2]
Alter = Callable[[Draw, bytes], Damage]


class Subject(NamedTuple):
    """A file, and how it is read.

    Attributes:
        path: of the good file; damaged ones take its place.
        content: of the good file.
        read: the path -> what was read, as values that can be compared.
        alter: how to write a well-formed file with other content.
        vouched: whether the format notices every bit that turns.
        listed: whether a list beside the file notices any other content as well.
    """

    path: Path
    content: bytes
    read: Callable[[Path], Any]
    alter: Alter | None
    vouched: bool
    listed: bool = False


def plain(value: Any) -> Any:
    """Tensors, arrays and numbers as what compares bit by bit; NaN equals NaN."""
    if isinstance(value, torch.Tensor):
        return plain(value.detach().numpy())
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: plain(own) for key, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(own) for own in value]
    return repr(value)


RUNS = (
    run(NMU(), task=task("mul"), seed=1, iterations=25, evaluate_every=10),
    run(NMU(), task=task("mul"), seed=2, iterations=25, evaluate_every=10),
    run(NMRU(), Adam(lr=0.05), seed=0, iterations=23, evaluate_every=7, ramp=None, clip_norm=1.0),
)


def a_fit(folder: Path) -> Subject:
    path = folder / "fit.ckpt"
    train_here(RUNS, How(1, "float32", "hash", "cpu"), path, stop=lambda: True)

    def read(path: Path) -> Any:
        results = fit(RUNS, threads=1, checkpoint=path)
        return plain(
            [[results.weights(i), results.best_weights(i), results.curves(i)] for i in range(len(RUNS))]
        )

    return Subject(path, path.read_bytes(), read, damage.of_npz, True)


def _example(name: str) -> Any:
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"fuzzed_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def adding_plan(epochs: int = 3, cells: int = 3, models: int = 2) -> adding_training.Plan:
    config = adding_config.Config(
        dataset=adding_config.Dataset(dt_length=40, t=6),
        train=adding_config.Train(epochs=epochs, batch=7),
        model=adding_config.Model(cells=cells),
    )
    net = partial(_example("train_adding").Net, cells, False)
    return adding_training.Plan(config, tuple(range(models)), net, "layer")


def adding(folder: Path) -> Subject:
    plan = adding_plan()
    kept = RunFolder(folder / "adding")
    training = adding_training.training(plan)
    for _ in range(training.schedule.steps + 1):
        training.advance()
    Checkpoint(kept.checkpoint, plan.describe()).save(training)

    def read(path: Path) -> Any:
        again = adding_training.training(plan)
        Checkpoint(kept.checkpoint, plan.describe()).resume(again)
        return plain(again.state())

    return Subject(kept.checkpoint, kept.checkpoint.read_bytes(), read, damage.of_safetensors, True)


def adding_weights(folder: Path) -> Subject:
    plan = adding_plan()
    training = adding_training.training(plan)
    kept = RunFolder(folder / "weights")
    kept.begin(plan.describe())
    while not training.finished:
        training.advance()
    adding_report.write(kept, plan, training)
    path = kept.path / adding_report.MODELS / "seed1.safetensors"
    shapes = {name: own[0].shape for name, own in training.best.items()}

    def read(path: Path) -> Any:
        return plain(adding_report.read_models(kept.path, shapes))

    return Subject(path, path.read_bytes(), read, damage.of_safetensors, True)


def equations_plan(epochs: int = 3) -> tuple[equations_config.Config, equation_sets.Sets]:
    config = equations_config.Config(
        data=Equations(n_examples=60, new_equations=20, max_number=20),
        model=equations_config.Model(hidden_size=3),
        train=equations_config.Train(epochs=epochs, batch_size=16, seeds=(1, 2)),
    )
    return config, equation_sets.build(config.data)


def equations_begun(epochs: int = 3) -> tuple[equations_config.Config, Training]:
    config, sets = equations_plan(epochs)
    engine = equations_engine.make(config, equations_engine.start(config), lstm=LSTM)
    return config, equations_training.training(config, sets, engine)


def equations(folder: Path) -> Subject:
    config, training = equations_begun()
    training.advance()
    path, settings = folder / "equations_checkpoint", configuration.plain(config)
    Checkpoint(path, settings).save(training)

    def read(path: Path) -> Any:
        _, again = equations_begun()
        Checkpoint(path, settings).resume(again)
        return plain(again.state())

    return Subject(path, path.read_bytes(), read, damage.of_safetensors, True)


def equations_weights(folder: Path) -> Subject:
    path, (config, training) = folder / "model.safetensors", equations_begun()
    training.advance()
    equations_file.write_weights(config, training, path)

    def read(path: Path) -> Any:
        config, tensors, losses = equations_file.read_weights(path)
        return plain([configuration.plain(config), tensors, losses])

    return Subject(path, path.read_bytes(), read, damage.of_safetensors, True)


def digits() -> mnist.Digits:
    """Digits made up for tests: eight by eight pixels, in the place of scikit-learn's."""
    source = np.random.default_rng(0)
    counts = dict(zip(mnist.PARTS, (60, 30, 30), strict=True))
    images = {part: source.normal(size=(n, 8, 8)).astype(np.float32) for part, n in counts.items()}
    return mnist.Digits("made up", images, {part: np.arange(n) % 10 for part, n in counts.items()})


def sequential_plan(epochs: int, *units: tuple[str, float]) -> sequential_training.Plan:
    net = partial(_example("train_sequential_mnist").Net, 8, "product")
    return sequential_training.Plan(digits(), "product", units, 1, epochs, (0, 10), net)


def sequential(folder: Path) -> Subject:
    """Interrupted in the middle of the second of two runs."""
    plan = sequential_plan(2, ("NMU", 1.0), ("NMU", 0.0))
    kept = RunFolder(folder / "sequential")
    held, epochs = (loop.SAVE_SECONDS, Training.update), 0

    def update(run: Training) -> None:
        nonlocal epochs
        epochs += run.step % run.schedule.steps == 0
        if epochs == 4:
            raise KeyboardInterrupt
        held[1](run)

    loop.SAVE_SECONDS, Training.update = 0.0, update
    try:
        sequential_training.train(plan, kept)
    finally:
        loop.SAVE_SECONDS, Training.update = held

    def read(path: Path) -> Any:
        sequential_training.train(plan, kept)
        return (kept.path / "runs.csv").read_bytes()

    return Subject(kept.checkpoint, kept.checkpoint.read_bytes(), read, damage.of_safetensors, True)


def listed_table(folder: Path) -> Subject:
    path = folder / "listed" / "runs.csv"
    path.parent.mkdir()
    rows = [{"seed": seed, "solved": True, "mse": 0.1 / (seed + 1)} for seed in range(9)]
    csv_files.write_csv(path, rows, ("seed", "solved", "mse"))
    read = partial(csv_files.read_csv, columns=("seed", "mse"))
    return Subject(path, path.read_bytes(), read, damage.of_csv, True, True)


def table(folder: Path) -> Subject:
    path = folder / "table" / "runs.csv"
    path.parent.mkdir()
    path.write_bytes(b"seed,mse\n" + b"".join(b"%d,0.5\n" % seed for seed in range(9)))
    read = partial(csv_files.read_csv, columns=("seed", "mse"))
    return Subject(path, path.read_bytes(), read, damage.of_csv, False)


def list_of_tables(folder: Path) -> Subject:
    table = listed_table(folder / "list").path
    path = table.with_name(csv_files.LIST)
    return Subject(path, path.read_bytes(), lambda _: csv_files.read_csv(table), damage.of_json, False)


def settings(folder: Path) -> Subject:
    kept = RunFolder(folder / "settings")
    kept.write_json("config.json", {"lr": 0.5, "seeds": [1, 2], "module": {"name": "NMU"}})
    path = kept.path / "config.json"
    return Subject(path, path.read_bytes(), lambda _: kept.read("config.json"), None, False)


def _configuration(kind: type, path: Path, name: str, folder: Path) -> Subject:
    content = configuration.text(configuration.load(kind, path)).encode()
    own = folder / f"{name}.yaml"
    return Subject(
        own, content, lambda p: plain(configuration.plain(configuration.load(kind, p))), damage.of_yaml, False
    )


def adding_yaml(folder: Path) -> Subject:
    return _configuration(adding_config.Config, ROOT / "configs/adding.yaml", "adding", folder)


def equations_yaml(folder: Path) -> Subject:
    return _configuration(equations_config.Config, ROOT / "configs/equations_small.yaml", "equations", folder)


def _images(folder: Path, name: str, pack: Callable[[bytes], bytes], vouched: bool) -> Subject:
    content = bytes([0, 0, 8, 3]) + struct.pack(">3I", 5, 4, 3) + bytes(range(60))
    path = folder / name
    return Subject(path, pack(content), lambda p: plain(mnist.read_idx(p)), None, vouched)


def images(folder: Path) -> Subject:
    return _images(folder, "train-images-idx3-ubyte", lambda content: content, False)


def packed_images(folder: Path) -> Subject:
    return _images(folder, "train-images-idx3-ubyte.gz", partial(gzip.compress, mtime=0), True)


def compiled_module(folder: Path) -> Subject:
    texts = (b"generic", _C.version.encode(), b"mine")
    content = b"\x7fELF" + library._FIELDS.pack(library.MARK, *_C.cell_sizes(), *texts) + b"\0" * 50
    path = folder / "mine.so"
    return Subject(path, content, lambda p: library.read(p)[:2], None, False)


SUBJECTS = {
    "checkpoint of a fit": a_fit,
    "checkpoint of the adding problem": adding,
    "weights of the adding problem": adding_weights,
    "checkpoint of equations": equations,
    "weights of equations": equations_weights,
    "checkpoint of sequential MNIST": sequential,
    "table with a list": listed_table,
    "table": table,
    "list of tables": list_of_tables,
    "settings of a folder": settings,
    "configuration of the adding problem": adding_yaml,
    "configuration of equations": equations_yaml,
    "images": images,
    "compressed images": packed_images,
    "compiled module": compiled_module,
}
