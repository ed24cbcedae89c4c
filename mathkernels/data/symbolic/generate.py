"""Generates a folder of pairs in the text format of the published data.

    generate(Path("data/bwd"), Request(Pairs("bwd", most_operators=6), count=40_000))

writes prim_bwd.train, .valid and .test, each line ``count|sub Y' PROBLEM<TAB>ANSWER``, where the count says
how often the pair was drawn, the most frequent and then the shortest first. Pairs are drawn in chunks with
seeds of their own, so that nothing depends on the number of processes; the same call after an interruption
draws what is missing.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from mathkernels import files
from mathkernels.data import ranges
from mathkernels.data.processes import OutOfTimeError, Pool, limited, seed_of
from mathkernels.data.symbolic import prefix
from mathkernels.data.symbolic.pairs import FAILED, REASONS, TOO_SLOW, Dropped, Pairs

CHUNK = {"bwd": 2_000, "fwd": 100, "ibp": 1_000}  # pairs of one seed: some seconds of work
RECORD, PARTS = "generated.json", ".parts"
SPLITS = ("train", "valid", "test")
MOST_DROPPED = 100_000  # in a row
PACKAGES = ("symengine", "sympy", "numpy")


@dataclass(frozen=True)
class Chunk:
    """Pairs that one seed decides."""

    method: str
    number: int
    count: int
    path: Path

    @property
    def name(self) -> tuple[str | int, ...]:
        return self.method, self.number


@dataclass(frozen=True)
class Drawing:
    """What decides the pairs of a chunk besides its name.

    Args:
        pairs: how they are drawn.
        seed: of all chunks.
        limit: seconds of the processor for a pair.
    """

    pairs: Pairs
    seed: int
    limit: float

    @property
    def preload(self) -> str:
        return __name__

    def write(
        self, chunk: Chunk, skip: frozenset[int], begin: Callable[[int], None] = lambda number: None
    ) -> dict[str, int]:
        """Draw a chunk into its file, and return how many draws gave no pair for which reason.

        Raises:
            ValueError: thousands in a row gave none.
        """
        found: list[str] = []
        dropped: dict[str, int] = dict.fromkeys(REASONS, 0)
        draw, number, in_a_row = self.pairs.drawer(), 0, 0
        while len(found) < chunk.count:
            begin(number)
            source = random.Random(seed_of(self.seed, *chunk.name, number))
            try:
                if number in skip:
                    raise Dropped(TOO_SLOW)
                with limited(self.limit):
                    problem, answer = draw(source)
                found.append(f"{' '.join(prefix.words(problem))}\t{' '.join(prefix.words(answer))}")
                in_a_row = 0
            except OutOfTimeError:
                dropped[TOO_SLOW] += 1
            except RecursionError:
                dropped[FAILED] += 1
            except Dropped as reason:
                dropped[str(reason)] += 1
                in_a_row += 1
                if in_a_row > MOST_DROPPED:
                    raise ValueError(
                        f"generator: {in_a_row} draws in a row gave no pair ({dropped})"
                    ) from None
            number += 1
        chunk.path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(chunk.path) as temporary:
            temporary.write_text("\n".join(found) + "\n", encoding="utf-8", newline="\n")
        return dropped


@dataclass(frozen=True)
class Request:
    """What is generated.

    Args:
        pairs: how.
        count: of pairs that are drawn, repetitions included.
        held_out: of different pairs that become validation, and as many that become test; at most a tenth
        each.
        seed: decides all of them.
        limit: seconds of the processor that a pair may take; slower ones are dropped and counted.
    """

    pairs: Pairs = field(default_factory=Pairs)
    count: int = 40_000
    held_out: int = 1_000
    seed: int = 0
    limit: float = 5.0

    def __post_init__(self) -> None:
        ranges.set_fields(
            self,
            count=ranges.whole("count", self.count, 1),
            held_out=ranges.whole("held_out", self.held_out, 0),
            seed=ranges.whole("seed", self.seed, 0, ranges.LAST_SEED),
            limit=ranges.positive("limit", self.limit, 3600),
        )

    def record(self) -> dict[str, Any]:
        """What decides the pairs, as JSON values."""
        return json.loads(json.dumps(asdict(self)))


@dataclass
class Report:
    """What a generation did."""

    drawn: int = 0
    different: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    killed: int = 0

    def __str__(self) -> str:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.dropped.items() if count)
        killed = f", {self.killed} processes killed" if self.killed else ""
        drawn = f"{self.drawn:,} pairs drawn, {self.different:,} different"
        return f"{drawn}; no pair: {reasons or 'never'}{killed}"


def generate(
    folder: Path,
    request: Request,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Report:
    """Write the files that the folder lacks.

    Args:
        folder: created if absent.
        request: what is wanted.
        workers: processes; None: one for each core.
        progress: called with pairs drawn and wanted in this call, after every chunk.

    Raises:
        ImportError: symengine or sympy is not installed.
        ValueError: the folder holds files of another request, or another process writes it.
    """
    request.pairs.drawer()  # what is missing is said before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    lock = files.FolderLock.take(folder, "data folder")
    report = Report(dropped=dict.fromkeys(REASONS, 0))
    if _claim(folder, request) and all(_path(folder, request, split).exists() for split in SPLITS):
        return report
    chunks = _chunks(folder, request)
    missing = [chunk for chunk in chunks if not chunk.path.exists()]
    total = sum(chunk.count for chunk in missing)
    pool: Pool[Chunk] = Pool(Drawing(request.pairs, request.seed, request.limit), workers)
    for chunk, dropped in pool.run(missing):
        report.drawn += chunk.count
        for reason, count in dropped.items():
            report.dropped[reason] += count
        progress(report.drawn, total)
    report.killed = pool.killed
    report.different = _join(folder, request, chunks)
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    del lock
    return report


def _path(folder: Path, request: Request, split: str) -> Path:
    return folder / f"prim_{request.pairs.method}.{split}"


def _chunks(folder: Path, request: Request) -> list[Chunk]:
    method = request.pairs.method
    size = CHUNK[method]
    return [
        Chunk(method, number, min(size, request.count - begin), folder / PARTS / f"{method}.{number}.txt")
        for number, begin in enumerate(range(0, request.count, size))
    ]


def _join(folder: Path, request: Request, chunks: list[Chunk]) -> int:
    """Count the pairs, sort them, hold some out, and write all files; return how many are different.

    Of two answers to one problem the shorter one stays. What is held out is spread over all frequencies, as
    in the published data: of N sorted pairs those at places floor(i^a) with a = ln(N - 1/2) / ln(most).
    """
    counts: Counter[str] = Counter()
    answers: dict[str, str] = {}
    for chunk in chunks:
        for line in chunk.path.read_text(encoding="utf-8").splitlines():
            problem, answer = line.split("\t")
            counts[problem] += 1
            held = answers.get(problem)
            if held is None or (len(answer), answer) < (len(held), held):
                answers[problem] = answer
    order = sorted(
        counts, key=lambda problem: (-counts[problem], len(problem) + len(answers[problem]), problem)
    )
    places = held_out_places(len(order), min(request.held_out, len(order) // 10))
    which = np.zeros(len(order), np.int8)
    which[places[0::2]], which[places[1::2]] = 1, 2
    for number, split in enumerate(SPLITS):
        with files.replacing(_path(folder, request, split)) as temporary:
            lines = (
                f"{counts[order[k]]}|sub Y' {order[k]}\t{answers[order[k]]}\n"
                for k in np.flatnonzero(which == number)
            )
            temporary.write_text("".join(lines), encoding="utf-8", newline="\n")
    return len(order)


def held_out_places(count: int, each: int) -> np.ndarray:
    """Places of 2 * each pairs among so many sorted ones, few of the most frequent, ascending, int64."""
    wanted = 2 * each
    if wanted == 0:
        return np.zeros(0, np.int64)
    power = np.log(count - 0.5) / np.log(wanted)
    places = np.unique(np.floor(np.arange(1, wanted + 1) ** power).astype(np.int64))
    free = np.setdiff1d(np.arange(count), places)
    more = free[np.linspace(0, len(free) - 1, wanted - len(places)).astype(np.int64)]
    return np.sort(np.concatenate([places, more]))


def _claim(folder: Path, request: Request) -> bool:
    """Note the request in the folder, or refuse the files of another one; return whether it was there."""
    path, record = folder / RECORD, request.record()
    if path.exists():
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"data folder: '{path}' is no JSON ({error}); remove it and its files") from None
        different = [key for key in record if key != "limit" and held.get(key) != record[key]]
        if different:
            what = f"pairs of another request, which differs in {', '.join(different)}"
            raise ValueError(f"data folder: '{folder}' holds {what}; needs another folder, or none")
        return True
    if any(folder.glob("prim_*.*")):
        raise ValueError(f"data folder: '{folder}' holds files that were not generated here; needs another")
    versions = {name: metadata.version(name) for name in PACKAGES if _is_installed(name)}
    with files.replacing(path) as temporary:
        text = json.dumps({**record, "versions": versions}, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")
    return False


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
