"""Check what `python -m build --outdir FOLDER` made: the sdist holds all that a build needs, the wheel
works without the checkout. Run it with a Python that has torch: ``python scripts/check_package.py FOLDER``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SINGLE = ("CMakeLists.txt", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py")
FOLDERS = ("cmake", "csrc", "mathkernels")  # of a build; the last without what an editable build puts there
WHEEL = (  # besides Python: a few of what is easily left out
    *("py.typed", "_C.pyi", "csrc/flags.txt", "csrc/custom/module.cpp"),
    *(f"data/symbolic/textbooks/{name}" for name in ("Apostol.m", "Moses.m", "Stewart.m", "LICENSE")),
)
BUILT = {".so", ".pyc", ".pyo"}

SMOKE = """
import torch
from mathkernels import backends, ensemble, info, nn, ops
layer = nn.NMU(2, 1)
layer(torch.rand(5, 2)).sum().backward()
assert torch.equal(ops.nmu(torch.ones(1, 1, 2), torch.ones(1, 1, 2)), torch.ones(1, 1, 1))
nn.LSTM(3, 4)(torch.rand(5, 2, 3))[0].sum().backward()
task = ensemble.Task(interpolation="U[1,2]", extrapolation="U[2,6]", operation="mul")
runs = [ensemble.Run(module=ensemble.NMU(), task=task, seed=seed, iterations=2) for seed in range(3)]
ensemble.fit(runs)
print(info.report()["mathkernels"], info.__file__)
"""


def needed() -> set[str]:
    """The files of the checkout that a build reads, relative to it."""
    found = {name for name in SINGLE}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT)
            installed = name.parts[:2] == ("mathkernels", "csrc")
            if path.is_file() and path.suffix not in BUILT and not installed:
                found.add(name.as_posix())
    return found


def check_sdist(path: Path) -> None:
    """Raise unless the sdist holds what is needed, and nothing that was built."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    if missing := sorted(needed() - names):
        raise SystemExit(
            f"{path.name}: {len(missing)} files are missing, among them {', '.join(missing[:5])}"
        )
    if built := sorted(name for name in names if Path(name).suffix in BUILT or name.startswith("build")):
        raise SystemExit(f"{path.name}: holds what a build makes: {', '.join(built[:5])}")


def check_wheel(path: Path) -> None:
    """Raise unless the wheel imports and runs where there is no checkout."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        for name in WHEEL:
            if not (Path(folder) / "mathkernels" / name).exists():
                raise SystemExit(f"{path.name}: mathkernels/{name} is missing")
        environment = {**os.environ, "PYTHONPATH": folder}
        done = subprocess.run([sys.executable, "-c", SMOKE], cwd=folder, env=environment, check=False)
        if done.returncode:
            raise SystemExit(f"{path.name}: the smoke run failed with {done.returncode}")


def main() -> None:
    folder = Path(sys.argv[1])
    for pattern, check in (("*.tar.gz", check_sdist), ("*.whl", check_wheel)):
        found = list(folder.glob(pattern))
        if len(found) != 1:
            raise SystemExit(f"{folder}: holds {len(found)} files {pattern}; needs one")
        check(found[0])
        print(f"{found[0].name}: complete")


if __name__ == "__main__":
    main()
