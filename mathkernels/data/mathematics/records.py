"""JSON lines and Parquet rows with ``question`` and ``answer``, written out once as the text layout.

A well-known mirror of the data set holds texts that are literally b'...\\n', the way Python shows bytes. They
are read by the rules of such literals and never evaluated.
"""

from __future__ import annotations

import gzip
import importlib
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mathkernels import files
from mathkernels.data import ranges
from mathkernels.data.mathematics.modules import AREAS

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet")
COLUMNS = ("question", "answer")
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "t": "\t", "r": "\r"}
_LITERAL = re.compile(r"b(?:'([^'\\]|\\.)*'|\"([^\"\\]|\\.)*\")", re.DOTALL)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)


def is_records(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def module_of(path: Path) -> str:
    """Return the module that a file is of: its folder if that is named like a module, else its own name."""
    return path.parent.name if is_module(path.parent.name) else path.name.partition(".")[0]


def is_module(name: str) -> bool:
    """Whether a name is like those of the authors' modules."""
    return name.partition("__")[0] in AREAS and "__" in name


def is_test(path: Path) -> bool:
    """Whether a file's name says that it is a test set, which is one of interpolation."""
    return path.name.lower().startswith(("test", "interpolate"))


def convert(path: Path, text: Path) -> None:
    """Write the rows of a file as text, questions and answers on alternate lines; whole or absent.

    Raises:
        ValueError: a row is damaged or lacks a column; the message names it.
        ImportError: the file is Parquet and pyarrow is not installed.
    """
    rows = _parquet(path) if path.suffix == ".parquet" else _json_lines(path)
    mirrored: bool | None = None
    with files.replacing(text) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as out:
        for number, row in rows:
            pair = [_text(row.get(column), path, number, column) for column in COLUMNS]
            if mirrored is None:
                mirrored = _LITERAL.fullmatch(pair[0]) is not None
            for column, value in zip(COLUMNS, pair, strict=True):
                where = f"data: '{path}', row {number}, {column}"
                out.write(_plain(literal(value, where) if mirrored else value, where) + "\n")


def literal(value: str, where: str = "literal") -> str:
    """Return the text of a bytes literal such as b'4\\n', without the newline at its end.

    Raises:
        ValueError: it is none, or holds an escape other than \\\\ \\' \\" \\n \\t \\r \\xNN.
    """
    if _LITERAL.fullmatch(value) is None:
        raise ValueError(f"{where}: got {ranges.shown(value)}, needs b'...' as in the rows before")

    def plain(match: re.Match[str]) -> str:
        sign = match[1]
        if sign in _ESCAPES:
            return _ESCAPES[sign]
        if sign[0] == "x" and len(sign) == 3:
            return chr(int(sign[1:], 16))
        raise ValueError(f"{where}: got the escape \\{sign}, needs one of \\\\ \\' \\\" \\n \\t \\r \\xNN")

    return _ESCAPE.sub(plain, value[2:-1]).removesuffix("\n")


def _plain(value: str, where: str) -> str:
    value = value.removesuffix("\n").removesuffix("\r")
    if not value or "\n" in value or "\r" in value:
        raise ValueError(f"{where}: got {ranges.shown(value)}, needs one line of text")
    return value


def _text(value: Any, path: Path, number: int, column: str) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        given = "nothing" if value is None else ranges.shown(value)
        raise ValueError(f"data: '{path}', row {number}, {column}: got {given}, needs a text")
    return value


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    opened: Any = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as source:
        try:
            for number, line in enumerate(source, 1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"got {ranges.shown(row)}, needs an object with question and answer")
                yield number, row
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"data: '{path}' is damaged ({error}); needs a whole gzip file") from error
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"data: '{path}' is no JSON lines ({error})") from error


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    except ImportError as error:
        remedy = "install it with: pip install 'mathkernels[parquet]'"
        raise ImportError(f"data: '{path}' needs pyarrow; {remedy}") from error
    try:
        with parquet.ParquetFile(path) as file:
            lacking = [name for name in COLUMNS if name not in file.schema_arrow.names]
            if lacking:
                raise ValueError(
                    f"data: '{path}' lacks the column {lacking[0]}; has {file.schema_arrow.names}"
                )
            number = 0
            for batch in file.iter_batches(10_000, columns=list(COLUMNS)):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except arrow.ArrowException as error:
        raise ValueError(f"data: '{path}' is no whole Parquet file ({error})") from error
