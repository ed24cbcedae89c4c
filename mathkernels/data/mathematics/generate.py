"""Generates the data set with its authors' package, in the text layout of their archive.

    generate(Path("data/raw"), Request("arithmetic", per_train_module=60_000, per_test_module=1_000))

writes train-easy/arithmetic__add_or_sub.txt and so on, question and answer on alternate lines. Every file is
whole or absent; the same call after an interruption draws only what is missing. Modules are cut into chunks
of a fixed size, each with a seed of its own, so that nothing depends on the number of processes.

Some modules (see UNREPEATABLE) draw other questions in another process even for one seed: keep their files.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mathkernels import files
from mathkernels.data import ranges
from mathkernels.data.mathematics import modules
from mathkernels.data.mathematics.chunks import Chunk, Drawing
from mathkernels.data.mathematics.modules import EXTRAPOLATE, FOLDERS, INTERPOLATE, TRAIN, Difficulty
from mathkernels.data.processes import Pool

CHUNK = 2_000  # questions
RECORD = "generated.json"
PARTS = ".parts"
UNREPEATABLE = ("_composed", "polynomials__add", "polynomials__compose")


@dataclass(frozen=True)
class Request:
    """What is generated.

    Args:
        module: prefix of the names of modules, such as "arithmetic" or "algebra__linear_1d".
        level: "easy", "medium", "hard" or "*" for all three.
        per_train_module: questions of a module over all three levels, a third in each.
        per_test_module: questions of each file of interpolation and extrapolation.
        seed: decides all of them.
        difficulty: entropies of our own in place of the authors'; arithmetic alone.
        only: names of modules without their area, to take fewer than the prefix does; empty for all.
        limit: seconds that a question may take; slower ones are dropped and counted.
    """

    module: str = "arithmetic"
    level: str = "*"
    per_train_module: int = 2_000_000
    per_test_module: int = 10_000
    seed: int = 0
    difficulty: Difficulty | None = None
    only: tuple[str, ...] = ()
    limit: float = 10.0

    def __post_init__(self) -> None:
        right = f"one of {', '.join(modules.LEVELS)}, *"
        ranges.require(self.level in (*modules.LEVELS, "*"), "train_level", self.level, right)
        ranges.set_fields(
            self,
            per_train_module=ranges.whole("per_train_module", self.per_train_module, 3),
            per_test_module=ranges.whole("per_test_module", self.per_test_module, 0),
            seed=ranges.whole("seed", self.seed, 0, ranges.LAST_SEED),
            limit=ranges.positive("limit", self.limit, 3600),
        )

    @property
    def folders(self) -> list[str]:
        wanted = TRAIN if self.level == "*" else (f"train-{self.level}",)
        return [name for name in FOLDERS if name in (*wanted, INTERPOLATE, EXTRAPOLATE)]

    def count(self, folder: str) -> int:
        return self.per_train_module // 3 if folder in TRAIN else self.per_test_module

    def names(self, folder: str, known: list[str]) -> list[str]:
        """Return the modules of a folder; extrapolation may have none."""
        if folder == EXTRAPOLATE:
            found = [name for name in known if modules.trained(name).startswith(self.module)]
        else:
            found = modules.chosen(self.module, known)
        if not self.only:
            return found
        short = {name: modules.trained(name).rpartition("__")[2] for name in found}
        if folder != EXTRAPOLATE and (unknown := {*self.only} - {*short.values()}):
            modules.chosen(min(unknown), short.values())  # raises, and names the nearest
        return [name for name, own in short.items() if own in self.only]

    def record(self) -> dict[str, Any]:
        """Return what decides the questions, as JSON values."""
        return json.loads(json.dumps(asdict(self)))


@dataclass
class Report:
    """What a generation did: questions written, dropped by reason, and processes killed."""

    files: int = 0
    questions: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    killed: int = 0

    def __str__(self) -> str:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.dropped.items() if count)
        killed = f", {self.killed} processes killed" if self.killed else ""
        return f"{self.questions:,} questions in {self.files} files; dropped: {reasons or 'none'}{killed}"


def generate(
    folder: Path,
    request: Request,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    samplers: Callable[[str, Difficulty | None], dict[str, modules.Sampler]] = modules.samplers,
) -> Report:
    """Write the files that the folder lacks.

    Args:
        folder: created if absent.
        request: what is wanted.
        workers: processes; None: one for each core.
        progress: called with questions done and wanted in this call, after every chunk.
        samplers: the callables of a folder; for tests.

    Raises:
        ImportError: mathematics_dataset is not installed.
        ValueError: the folder holds files of another request or another process writes it; an unknown module.
    """
    wanted = {
        where: request.names(where, sorted(samplers(where, request.difficulty))) for where in request.folders
    }
    folder.mkdir(parents=True, exist_ok=True)
    lock = files.FolderLock.take(folder, "data folder")
    _claim(folder, request)
    chunks = [
        chunk
        for where, names in wanted.items()
        for name in names
        if not _path(folder, where, name).exists()
        for chunk in _chunks(folder, request, where, name)
    ]
    report, open_files = Report(), {chunk.name[:2]: 0 for chunk in chunks}
    for chunk in chunks:
        open_files[chunk.name[:2]] += not chunk.path.exists()
    missing = [chunk for chunk in chunks if not chunk.path.exists()]
    total = sum(chunk.count for chunk in missing)
    pool: Pool[Chunk] = Pool(Drawing(request.seed, request.limit, request.difficulty, samplers), workers)
    for chunk, dropped in pool.run(missing):
        report.questions += chunk.count
        for reason, count in dropped.items():
            report.dropped[reason] = report.dropped.get(reason, 0) + count
        open_files[chunk.name[:2]] -= 1
        if not open_files[chunk.name[:2]]:
            _join(folder, request, *chunk.name[:2])
            report.files += 1
        progress(report.questions, total)
    for where, name in open_files:
        if not _path(folder, where, name).exists():  # all of its chunks were there
            _join(folder, request, where, name)
            report.files += 1
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    for where in request.folders:
        (folder / where).mkdir(exist_ok=True)  # no module of extrapolation may have been asked for
    report.killed = pool.killed
    del lock
    return report


def _claim(folder: Path, request: Request) -> None:
    """Note the request in the folder, or refuse the files of another one."""
    path, record = folder / RECORD, request.record()
    if path.exists():
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"data folder: '{path}' is no JSON ({error}); remove it and its files") from None
        different = [key for key in record if key != "limit" and held.get(key) != record[key]]
        if different:
            what = f"questions of another request, which differs in {', '.join(different)}"
            raise ValueError(f"data folder: '{folder}' holds {what}; needs another folder, or none")
        return
    if any((folder / where).exists() for where in FOLDERS):
        raise ValueError(f"data folder: '{folder}' holds files that were not generated here; needs another")
    with files.replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _path(folder: Path, where: str, name: str) -> Path:
    return folder / where / f"{name}.txt"


def _chunks(folder: Path, request: Request, where: str, name: str) -> list[Chunk]:
    count, found = request.count(where), []
    for number, begin in enumerate(range(0, count, CHUNK)):
        path = folder / PARTS / where / f"{name}.{number}.txt"
        found.append(Chunk(where, name, number, min(CHUNK, count - begin), path))
    return found


def _join(folder: Path, request: Request, where: str, name: str) -> None:
    """Make the file of a module from those of its chunks."""
    path = _path(folder, where, name)
    path.parent.mkdir(exist_ok=True)
    chunks = _chunks(folder, request, where, name)
    with files.replacing(path) as temporary, temporary.open("wb") as whole:
        for chunk in chunks:
            with chunk.path.open("rb") as part:
                shutil.copyfileobj(part, whole)
    for chunk in chunks:
        chunk.path.unlink()
