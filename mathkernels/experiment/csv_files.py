"""CSV files that are whole: written at once, listed with their digest, and checked when they are read.

Beside the tables of a folder lies files.json, which holds how many rows each has and the digest of its bytes.
A table that was cut off, edited, or left over from another run is then refused instead of drawn.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mathkernels import __version__
from mathkernels.files import replacing

LIST = "files.json"
FORMAT = 1
_listing = threading.Lock()  # two threads that add to a list would lose one of their entries


def plain_number(value: Any) -> Any:
    """Return what a CSV cell shows: the shortest digits that read back exactly, and nothing for NaN."""
    return "" if value != value else value


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> int:
    """Write rows under the columns and list the file; what a row lacks, and NaN, stays empty."""
    count = 0
    with replacing(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            for row in rows:
                writer.writerow({key: plain_number(value) for key, value in row.items()})
                count += 1
        digest = _digest(temporary)
    with _listing:
        try:
            known = _listed(path.parent) or {}
        except ValueError:
            known = {}  # a list that cannot be read vouches for nothing; its tables are refused from now on
        known[path.name] = {"rows": count, "sha256": digest}
        with replacing(path.with_name(LIST)) as temporary:
            content = {"format": FORMAT, "mathkernels": __version__, "files": known}
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return count


def read_csv(path: Path, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return the rows of a table as text.

    Args:
        path: of the file. If its folder has a list of files, the file must be as the list has it; without a
            list only its form is checked.
        columns: that the table must have; more are allowed.

    Raises:
        ValueError: the file is missing, cut off, changed since it was written, or of another version.
    """
    remedy = "train or export it anew"
    if not path.is_file():
        raise ValueError(f"'{path}' is missing; {remedy}")
    listed = _listed(path.parent)
    try:
        text = path.read_bytes().decode()
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"'{path}' is damaged ({error}); {remedy}") from error
    header = lines[0] if lines else []
    if lacking := [name for name in columns if name not in header]:
        what = f"lacks {', '.join(lacking)}, so it is damaged or was written by another version"
        raise ValueError(f"'{path}' {what}; {remedy}")
    cut = [number for number, line in enumerate(lines, 1) if len(line) != len(header)]
    if not text.endswith("\n") or cut:
        raise ValueError(f"'{path}' is cut off or damaged in row {cut[0] if cut else len(lines)}; {remedy}")
    if listed is not None:
        known = listed.get(path.name)
        if known is None:
            raise ValueError(f"'{path}' is of another run, {LIST} beside it does not list it; {remedy}")
        if known != {"rows": len(lines) - 1, "sha256": _digest(path)}:
            raise ValueError(f"'{path}' has changed since it was written; {remedy}")
    return [dict(zip(header, line, strict=True)) for line in lines[1:]]


def _listed(folder: Path) -> dict[str, Any] | None:
    """Return what the list of a folder says, None if there is no list."""
    path = folder / LIST
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found, files = content["format"], dict(content["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"'{path}' is damaged ({error}); train or export the folder anew") from error
    if found != FORMAT:
        what = f"has format {found!r}, this version of mathkernels reads {FORMAT}"
        raise ValueError(f"'{path}' {what}; train or export the folder anew")
    return files


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        found = hashlib.sha256()
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
