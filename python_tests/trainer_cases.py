"""The trainers of torch models on tasks of seconds, and a Ctrl-C at a chosen epoch."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import mathematics_cases
import numpy as np
import symbolic_cases
import torch

from mathkernels.data import mnist
from mathkernels.experiment import loop
from mathkernels.experiment.training import Training

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
ADDING = (
    "dataset: {dt_length: 60, t: 5}\ntrain: {epochs: 2, batch: 20}\nmodel: {cells: 4}\nsweep: {t: [4, 5]}\n"
)
EQUATIONS = ["data.max_number=99", "data.n_examples=200", "data.new_equations=50", "model.hidden_size=4"]
DEEPMATH = (
    *("batch_size=120", "math_module=arithmetic", "thinking_steps=1", "num_encoder_units=4"),
    *("num_decoder_units=4", "embedding_dim=4", "valid_split=0.1"),
)
TRAINERS = ("adding", "equations", "sequential_mnist", "deepmath", "symbolic")


def deepmath(root, models, epochs):
    """The command line of Deep Math, whatever the number of models: it trains one."""
    data = root / "mathematics"
    if not data.exists():
        mathematics_cases.write(data)
    own = ["--preset", "smoke", "--data", str(data), "--model", "attentional", "--threads", "1"]
    return [*own, "--set", *DEEPMATH, f"epochs={epochs}"]


def symbolic(root, models, epochs):
    """The command line of symbolic integration: a trial is a model."""
    (root / "tiny.yaml").write_text(symbolic_cases.configuration(models, epochs))
    data = root / "pairs"
    if not data.exists():
        symbolic_cases.write(data)
    return ["--config", str(root / "tiny.yaml"), "--data", str(data), "--threads", "1"]


OWN = {"deepmath": deepmath, "symbolic": symbolic}


class Trainer:
    """One of the trainers, on a task of seconds."""

    def __init__(self, name, root):
        spec = importlib.util.spec_from_file_location(f"train_{name}", EXAMPLES / f"train_{name}.py")
        self.name, self.module, self.root = name, importlib.util.module_from_spec(spec), root
        spec.loader.exec_module(self.module)

    def __call__(self, folder, *more, models=1, epochs=2):
        """Train into a folder and return the exit code."""
        place = {"adding": "--set"}.get(self.name, "--out")
        if self.name == "adding":
            (self.root / "tiny.yaml").write_text(ADDING)
            own = ["--config", str(self.root / "tiny.yaml"), "--models", str(models)]
            own += [place, f"artifacts={folder}", f"train.epochs={epochs}"]
        elif self.name == "equations":
            own = [*EQUATIONS, f"train.epochs={epochs}", "--models", str(models), place, str(folder)]
        elif self.name in OWN:
            own = [*OWN[self.name](self.root, models, epochs), place, str(folder)]
        else:
            own = ["--unit", "NMU", "--ramp", "1", "3", "--seeds", str(models), "--epochs", str(epochs)]
            own += [place, str(folder)]
        return self.module.main([*own, *more])


def made(name, tmp_path, monkeypatch):
    source = np.random.RandomState(0)
    sizes = dict(zip(mnist.PARTS, (60, 30, 30), strict=True))
    images = {part: source.uniform(-1, 1, (n, 8, 8)).astype(np.float32) for part, n in sizes.items()}
    labels = {part: source.randint(0, 10, n) for part, n in sizes.items()}
    monkeypatch.setattr(mnist, "load_digits", lambda folder: mnist.Digits("random", images, labels))
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    torch.set_num_threads(1)
    return Trainer(name, tmp_path)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def digests(folder, names):
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def stop_after(monkeypatch, epochs, steps=0):
    """Let Ctrl-C come after so many epochs, of all runs together, and so many steps of the next one."""
    plain, begun = Training.update, [0]

    def interrupted(self):
        begun[0] += self.step % self.schedule.steps == 0
        if begun[0] > epochs and self.step % self.schedule.steps >= steps:
            raise KeyboardInterrupt
        plain(self)

    monkeypatch.setattr(Training, "update", interrupted)
