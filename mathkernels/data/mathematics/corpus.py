"""Finds the files of a data folder, whatever wrote it, and gives their questions one numbering.

Read are: the official archive, unpacked; what :mod:`generate` or the authors' package wrote, with its single
folder ``train`` as well; JSON lines and Parquet (:mod:`records`). Text files may be compressed (".gz").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from mathkernels.data import ranges
from mathkernels.data.mathematics import modules, records
from mathkernels.data.mathematics.modules import EXTRAPOLATE, FOLDERS, INTERPOLATE, LEVELS, SINGLE, TRAIN
from mathkernels.data.mathematics.text_files import INDEX, Questions, index_of, open_questions
from mathkernels.data.mathematics.vocabulary import MOST_ANSWER, MOST_QUESTION, NONE, Vocabularies, Vocabulary

ARCHIVE = "mathematics_dataset-v1.0"  # the folder in the authors' archive


@dataclass(frozen=True)
class Part:
    """One file: the folder that it is of, its module, and its questions."""

    folder: str
    module: str
    questions: Questions


@dataclass
class Corpus:
    """Questions of one or more files, numbered in their order.

    Args:
        parts: the files.
    """

    parts: Sequence[Part]

    def __post_init__(self) -> None:
        self.starts = np.cumsum([0, *(len(one.questions) for one in self.parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """Characters of each question and each answer (N), uint16."""
        found = []
        for answers in (False, True):
            own = np.empty(len(self), np.uint16)
            for start, part in zip(self.starts, self.parts, strict=False):
                for rows in part.questions.blocks():
                    lengths = part.questions.spans(rows, answers)[1]
                    own[start + rows[0] : start + rows[-1] + 1] = np.minimum(lengths, 65_535)
                part.questions.release()
            found.append(own)
        return found[0], found[1]

    def within_limits(self) -> np.ndarray:
        """Return the numbers of questions that are not longer than the authors allow (M), int32."""
        question, answer = self.lengths
        return np.flatnonzero((question <= MOST_QUESTION) & (answer <= MOST_ANSWER)).astype(np.int32)

    def ids(self, rows: np.ndarray, answers: bool, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
        """Return ids (M,W), uint8, NONE behind the end, and lengths (M), int64, of questions or answers."""
        lengths = self.lengths[answers][rows].astype(np.int64)
        ids = np.full((len(rows), int(lengths.max(initial=0))), NONE, np.uint8)
        files = np.searchsorted(self.starts, rows, "right") - 1
        for number in np.unique(files):
            chosen = np.flatnonzero(files == number)
            part = self.parts[number].questions
            found, _ = part.ids(rows[chosen] - self.starts[number], answers, vocabulary)
            ids[chosen, : found.shape[1]] = found
            part.release()  # each question is on a page of its own
        return ids, lengths

    def pair(self, row: int) -> tuple[str, str]:
        """Return question and answer as texts."""
        number = int(np.searchsorted(self.starts, row, "right") - 1)
        part, own = self.parts[number].questions, row - int(self.starts[number])
        return part.line(own, False).decode(), part.line(own, True).decode()

    def modules_of(self, rows: np.ndarray) -> np.ndarray:
        """Return for each question the number of its module among ``modules``."""
        known = {name: number for number, name in enumerate(self.modules)}
        of_part = np.array([known[one.module] for one in self.parts])
        return of_part[np.searchsorted(self.starts, rows, "right") - 1]

    @property
    def modules(self) -> list[str]:
        return sorted({one.module for one in self.parts})

    def check(self, vocabularies: Vocabularies) -> None:
        """Refuse characters that a vocabulary lacks, in any file.

        Raises:
            ValueError: the message names file and line.
        """
        known = vocabularies.joint.characters + "\r"
        for part in self.parts:
            foreign = part.questions.bytes_used() - {*known.encode()}
            if not foreign:
                continue
            byte = min(foreign)
            row, answer = part.questions.place_of(byte)
            line = part.questions.line(row, answer)
            place = f"data: '{part.questions.path}', line {2 * row + 1 + answer}"
            raise ValueError(f"{place}: {vocabularies.joint.foreign(line)}")

    def release(self) -> None:
        """Let go of what the system holds of the files for this process."""
        for part in self.parts:
            part.questions.release()


@dataclass(frozen=True)
class Data:
    """What a data folder holds of some modules.

    Args:
        train, interpolate, extrapolate: the last two may have no files.
        notes: what a user should know, such as that there is no extrapolation.
    """

    train: Corpus
    interpolate: Corpus
    extrapolate: Corpus
    notes: tuple[str, ...] = field(default=())


def read(root: Path, module: str = "arithmetic", level: str = "*", index: Path | None = None) -> Data:
    """Find the files of modules below a folder, or in a file of records.

    Args:
        root: the folder, or a JSON-lines or Parquet file.
        module: prefix of the modules' names.
        level: of training, "*" for all.
        index: where the places of lines are kept; None: in ``.index`` below the folder.

    Raises:
        ValueError: nothing is there, files of a partly unpacked archive are missing, or one is empty or
            damaged.
    """
    right = f"one of {', '.join(LEVELS)}, *"
    ranges.require(level in (*LEVELS, "*"), "train_level", level, right)
    if not root.exists():
        raise ValueError(f"data_path: '{root}' does not exist; make dataset generates it")
    index = index or (root if root.is_dir() else root.parent) / INDEX
    for place in (root, root / ARCHIVE, root / "raw", root / "raw" / ARCHIVE):
        if any((place / name).is_dir() for name in (*FOLDERS, SINGLE)):
            return _archive(place, module, level, index)
    found = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    found = [path for path in found if records.is_records(path)]
    if not found:
        right = f"needs folders such as {TRAIN[0]}, or files ending in {', '.join(records.SUFFIXES)}"
        raise ValueError(f"data_path: '{root}' holds no questions; {right}")
    return _records(found, module, level, index)


def _archive(root: Path, module: str, level: str, index: Path) -> Data:
    single = (root / SINGLE).is_dir() and not any((root / name).is_dir() for name in TRAIN)
    if single and level != "*":
        what = f"holds one folder {SINGLE} for all levels"
        raise ValueError(f"train_level: got {level}, but '{root}' {what}; needs *")
    train = [SINGLE] if single else [*TRAIN] if level == "*" else [f"train-{level}"]
    held = {name: _texts(root / name) for name in (*FOLDERS, SINGLE)}
    known = {one for name in (*FOLDERS[:-1], SINGLE) for one in held[name]}
    names = modules.chosen(module, known)
    lacking = [
        f"{name}/{one}.txt" for name in (*train, INTERPOLATE) for one in names if one not in held[name]
    ]
    if not (root / EXTRAPOLATE).is_dir():
        lacking.append(f"{EXTRAPOLATE}/")
    if lacking:
        shown = ", ".join(lacking[:6]) + (f" and {len(lacking) - 6} more" if len(lacking) > 6 else "")
        raise ValueError(f"data_path: '{root}' lacks {shown}; unpack the archive or generate anew")
    extra = [one for one in held[EXTRAPOLATE] if modules.trained(one) in names or one in names]

    def corpus(folders: Sequence[str], chosen: Sequence[str]) -> Corpus:
        return Corpus(
            [
                Part(name, one, open_questions(held[name][one], index_of(index, root, held[name][one])))
                for name in folders
                for one in chosen
            ]
        )

    notes = ("levels are not told apart",) if single else ()
    return Data(corpus(train, names), corpus([INTERPOLATE], names), corpus([EXTRAPOLATE], extra), notes)


def _texts(folder: Path) -> dict[str, Path]:
    """Return the text files of a folder by module."""
    if not folder.is_dir():
        return {}
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name.endswith((".txt", ".txt.gz")) and not path.name.startswith("."):
            found.setdefault(path.name.removesuffix(".gz").removesuffix(".txt"), path)
    return found


def _records(paths: Sequence[Path], module: str, level: str, index: Path) -> Data:
    if level != "*":
        what = f"got {level}, but '{paths[0]}' does not say of which level a question is"
        raise ValueError(f"train_level: {what}; needs *")
    named = {records.module_of(path) for path in paths}
    # a file may be named after anything; only where modules can be told is one asked for
    names = modules.chosen(module, named) if any(map(records.is_module, named)) else sorted(named)
    parts: dict[bool, list[Part]] = {False: [], True: []}
    for path in paths:
        if (name := records.module_of(path)) not in names:
            continue
        stamp = path.stat()
        text = index / "records" / f"{name}.{path.name}.{stamp.st_size}.{stamp.st_mtime_ns}.txt"
        if not text.exists():
            text.parent.mkdir(parents=True, exist_ok=True)
            records.convert(path, text)
        test = records.is_test(path)
        folder = INTERPOLATE if test else SINGLE
        parts[test].append(Part(folder, name, open_questions(text, text.parent)))
    if not parts[False]:
        raise ValueError(f"data_path: '{paths[0]}' and other files are test sets; needs one for training")
    notes = ["level unknown, no extrapolation", *([] if parts[True] else ["no interpolation set either"])]
    return Data(Corpus(parts[False]), Corpus(parts[True]), Corpus([]), tuple(notes))
