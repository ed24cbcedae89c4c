"""Text files of questions and answers on alternate lines, memory-mapped: what is not read takes no memory.

Beside the data, in a folder of their own, lie indices: for each file the place of every line's end, a .npy
that is memory-mapped too. An index is made once and again when size or time of its file have changed.
"""

from __future__ import annotations

import gzip
import mmap
import os
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mathkernels import files
from mathkernels.data.mathematics.vocabulary import NONE, Vocabulary

INDEX = ".index"
_BLOCK = 1 << 24  # bytes that are searched at once
_NEWLINE, _RETURN = 10, 13


def let_go(array: np.ndarray) -> None:
    """Unmap what the system holds of a mapped file for this process; it is read again when needed."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Questions:
    """The questions of one file.

    Args:
        path: as messages name it.
        text: its bytes, uint8, mapped.
        ends: place of the end of each line (2N), mapped: question, answer, question, ...
        carriage: 1 if lines end in CR LF, else 0.
        used: file that notes which bytes occur.
    """

    path: Path
    text: np.ndarray
    ends: np.ndarray
    carriage: int
    used: Path

    def __len__(self) -> int:
        return len(self.ends) // 2

    def spans(self, rows: np.ndarray, answers: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return begin and length of lines, (M) each, int64."""
        lines = 2 * rows.astype(np.int64) + answers
        ends = self.ends[lines].astype(np.int64)
        begins = np.where(lines > 0, self.ends[np.maximum(lines - 1, 0)].astype(np.int64) + 1, 0)
        lengths = ends - begins
        if self.carriage:
            last = self.text[np.maximum(ends - 1, 0)] == _RETURN
            lengths = lengths - (last & (lengths > 0))
        return begins, lengths

    def lengths(self, answers: bool) -> np.ndarray:
        """Return the characters of every question or answer (N), int64."""
        return self.spans(np.arange(len(self)), answers)[1]

    def line(self, row: int, answer: bool) -> bytes:
        """Return the bytes of a question or an answer."""
        begins, lengths = self.spans(np.array([row]), answer)
        return self.text[begins[0] : begins[0] + lengths[0]].tobytes()

    def padded(
        self, rows: np.ndarray, answers: bool, width: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return bytes (M,W), uint8, 0 behind the end of a line, and lengths (M), int64.

        Args:
            rows: numbers of questions (M).
            answers: of these, instead of the questions.
            width: W; None: of the longest.
        """
        begins, lengths = self.spans(rows, answers)
        width = int(lengths.max(initial=0)) if width is None else width
        places = begins[:, None] + np.arange(width)
        within = np.arange(width) < lengths[:, None]
        return np.where(within, self.text[np.where(within, places, 0)], 0).astype(np.uint8), lengths

    def ids(self, rows: np.ndarray, answers: bool, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
        """Return ids (M,W), uint8, NONE behind the end of a line, and lengths (M), int64.

        Raises:
            ValueError: a character is not in the vocabulary; the message names the file and the line.
        """
        found, lengths = self.padded(rows, answers)
        within = np.arange(found.shape[1]) < lengths[:, None]
        ids = np.where(within, vocabulary.table()[found], NONE)
        wrong = (within & (ids == NONE)).any(1)
        if wrong.any():
            row = int(rows[wrong.argmax()])
            place = f"'{self.path}', line {2 * row + 1 + answers}"
            raise ValueError(f"{place}: {vocabulary.foreign(self.line(row, answers))}")
        return ids, lengths

    def bytes_used(self) -> set[int]:
        """Return which bytes occur in the file; found once and noted beside its index."""
        if not self.used.exists():
            counts = np.zeros(256, np.int64)
            for begin in range(0, len(self.text), _BLOCK):
                counts += np.bincount(self.text[begin : begin + _BLOCK], minlength=256)
                let_go(self.text)
            with files.replacing(self.used) as temporary:
                temporary.write_bytes(np.flatnonzero(counts).astype(np.uint8).tobytes())
        return {*self.used.read_bytes()}

    def place_of(self, byte: int) -> tuple[int, bool]:
        """Return the question of the first such byte, and whether it stands in the answer."""
        for begin in range(0, len(self.text), _BLOCK):
            found = np.flatnonzero(self.text[begin : begin + _BLOCK] == byte)
            if len(found):
                line = int(np.searchsorted(self.ends, begin + int(found[0])))
                return line // 2, bool(line % 2)
        raise ValueError(f"byte {byte} does not occur in '{self.path}'")

    def release(self) -> None:
        """Let go of what the system holds of the file for this process."""
        let_go(self.text)
        let_go(self.ends)

    def blocks(self, rows: int = 50_000) -> Iterator[np.ndarray]:
        """Yield the numbers of all questions, so many at once."""
        for begin in range(0, len(self), rows):
            yield np.arange(begin, min(begin + rows, len(self)))


def open_questions(path: Path, index: Path) -> Questions:
    """Return the questions of a text file, plain or compressed (".gz"), with LF or CR LF.

    Args:
        path: of the file.
        index: folder for its index and, if it is compressed, for the plain text; created.

    Raises:
        ValueError: the file is missing, empty, damaged, ends behind a question, or holds an empty line.
    """
    if not path.is_file():
        raise ValueError(f"data: '{path}' is missing")
    index.mkdir(parents=True, exist_ok=True)
    name = path.name
    if path.suffix == ".gz":
        plain = index / path.stem
        if not plain.exists() or plain.stat().st_mtime_ns < path.stat().st_mtime_ns:
            _decompress(path, plain)
        source = plain
    else:
        source = path
    if source.stat().st_size == 0:
        raise ValueError(f"data: '{path}' is empty; needs questions and answers on alternate lines")
    text = np.memmap(source, np.uint8, mode="r")
    stamp = source.stat()
    places = index / f"{name}.{stamp.st_size}.{stamp.st_mtime_ns}.npy"
    if not places.exists():
        for old in index.glob(f"{name}.*.npy"):
            old.unlink()
        _find_lines(path, text, places)
    ends = np.load(places, mmap_mode="r")
    carriage = int(ends[0] > 0 and text[int(ends[0]) - 1] == _RETURN)
    return Questions(path, text, ends, carriage, places.with_suffix(".bytes"))


def _decompress(path: Path, plain: Path) -> None:
    try:
        with files.replacing(plain) as temporary, gzip.open(path) as source, temporary.open("wb") as out:
            shutil.copyfileobj(source, out, _BLOCK)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"data: '{path}' is damaged ({error}); needs a whole gzip file") from error


def _find_lines(path: Path, text: np.ndarray, places: Path) -> None:
    """Write the place of every line's end; a last line may lack its newline."""
    size = len(text)
    kind = np.dtype("<u4" if size < 2**32 else "<u8")
    with files.replacing(places) as temporary:
        raw, count = temporary.with_suffix(".raw"), 0
        try:
            with raw.open("wb") as out:
                last = -1
                for begin in range(0, size, _BLOCK):
                    found = np.flatnonzero(text[begin : begin + _BLOCK] == _NEWLINE) + begin
                    if len(found):
                        _refuse_empty(path, text, np.concatenate([[last], found]), count)
                        last = int(found[-1])
                    count += len(found)
                    out.write(found.astype(kind).tobytes())
                    let_go(text)
                if last != size - 1:
                    count += 1
                    out.write(np.array([size], kind).tobytes())
            if count % 2:
                what = f"has {count} lines, so that the last question has no answer"
                raise ValueError(f"data: '{path}' {what}; needs an even number: cut off?")
            whole = np.memmap(raw, kind, mode="r")
            np.save(temporary, whole)
        finally:
            raw.unlink(missing_ok=True)


def _refuse_empty(path: Path, text: np.ndarray, ends: np.ndarray, before: int) -> None:
    lengths = np.diff(ends) - 1
    short = np.flatnonzero(lengths <= 1)
    for place in short:
        if lengths[place] == 0 or text[ends[place] + 1] == _RETURN:
            raise ValueError(f"data: '{path}', line {before + int(place) + 1} is empty; needs a text")


def index_of(index: Path, root: Path, path: Path) -> Path:
    """Return the folder for the index of a file below a data folder."""
    return index / os.path.relpath(path.parent, root)
