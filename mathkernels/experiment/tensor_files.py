"""Files of tensors and facts (safetensors): equal contents give equal bytes, and nothing in them is trusted.

A file holds the digest of its content, since the format has none: a bit that turned would be another weight.

What is read is checked against what is expected, so that a well-formed file of something else, or one that
was edited, ends in one line that names the key. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mathkernels.data import ranges
from mathkernels.experiment.optional import load
from mathkernels.experiment.run_folder import replacing

DIGEST = "sha256"  # the text that holds the digest of the rest
HEADER = 8  # bytes of the header's length, and what headers are padded to


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and texts; the file is whole or absent."""
    dense = {name: own.detach().cpu().contiguous() for name, own in tensors.items()}
    texts = {**metadata, DIGEST: _digest(dense, metadata)}
    content = load("safetensors.torch").save(dense, texts)
    with replacing(path) as temporary:
        temporary.write_bytes(_ordered(content))


def _digest(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    """Return a digest of names, types, shapes and bytes of tensors, and of texts."""
    shapes = {name: [str(own.dtype), list(own.shape)] for name, own in tensors.items()}
    found = hashlib.sha256(json.dumps([shapes, dict(texts)], sort_keys=True).encode())
    for name in sorted(tensors):
        found.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _ordered(content: bytes) -> bytes:
    """Return a safetensors file with its texts in the order of their names; the library draws the order."""
    end = HEADER + int.from_bytes(content[:HEADER], "little")
    header = json.loads(content[HEADER:end])
    if texts := header.pop("__metadata__", None):
        header = {"__metadata__": dict(sorted(texts.items())), **header}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % HEADER)
    return len(text).to_bytes(HEADER, "little") + text + content[end:]


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return tensors and texts of a file; one without a digest is of another program and taken as it is.

    Raises:
        ValueError: it cannot be read, is no safetensors file, or its digest is that of another content; the
            message says why, without the path.
    """
    try:
        with load("safetensors").safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            texts = dict(file.metadata() or {})
    # RuntimeError and TypeError: of a type that torch does not have
    except (OSError, ValueError, RuntimeError, TypeError, load("safetensors").SafetensorError) as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    digest = texts.pop(DIGEST, None)
    if digest is not None and digest != _digest(tensors, texts):
        raise ValueError(f"its {DIGEST} is that of another content: it was damaged or edited")
    return tensors, texts


def facts(texts: Mapping[str, str], key: str) -> dict[str, Any]:
    """Return the JSON object that a text of a file holds, {} if there is no such text.

    Raises:
        ValueError: it holds something else.
    """
    try:
        found = json.loads(texts.get(key, "{}"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{key} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{key} holds {type(found).__name__}, needs a JSON object")
    return found


def match(found: Mapping[str, Tensor], needed: Mapping[str, Tensor], what: str = "") -> None:
    """Refuse tensors that are not those that are needed.

    Args:
        found: of a file.
        needed: of the same names, shapes and types; their values do not matter.
        what: stands before a name in messages.

    Raises:
        ValueError: a tensor is missing, unknown, of another shape or of another type.
    """
    for name, value in needed.items():
        own = found.get(name)
        shape = tuple(value.shape)
        given = "lacks" if own is None else tuple(own.shape)
        if own is None or given != shape:
            raise ValueError(f"is of another model, {what}{name} {given}; needs {shape}")
        if own.dtype != value.dtype:
            raise ValueError(f"has {own.dtype} for {what}{name}; needs {value.dtype}")
    if unknown := sorted(set(found) - set(needed)):
        raise ValueError(f"has {what}{unknown[0]}, which this model does not have")


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): own for name, own in tensors.items() if name.startswith(prefix)}


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with the prefix before their names."""
    return {prefix + name: own.detach() for name, own in tensors.items()}


def only(tensors: Mapping[str, Tensor], prefixes: Sequence[str]) -> None:
    """Refuse a tensor whose name begins with none of the prefixes."""
    for name in tensors:
        if not name.startswith(tuple(prefixes)):
            raise ValueError(f"has {ranges.shown(name)}, which this trainer does not write")


def not_negative(tensors: Mapping[str, Tensor], what: str) -> None:
    """Refuse a number below 0; NaN may stand, as in a training that has diverged."""
    for name, own in tensors.items():
        if (own < 0).any():
            raise ValueError(f"has {own[own < 0][0].item():g} in {what}{name}; needs numbers from 0")


def whole(values: Mapping[str, Any], key: str, low: int, high: int) -> int:
    """Return the whole number under a key of a file's facts, see :func:`ranges.whole`."""
    return ranges.whole(key, _held(values, key), low, high)


def number(value: Any, key: str) -> float:
    """Return a number of a file, which may be NaN or infinite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{key}: got {ranges.shown(value)}, needs a number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{key}: got {ranges.shown(value)}, needs a number of float64") from None


def listed(values: Mapping[str, Any], key: str, length: int | None = None) -> list[Any]:
    """Return the list under a key, of a length if one is given."""
    held = _held(values, key)
    if not isinstance(held, list) or length not in (None, len(held)):
        given = f"a list of {len(held)}" if isinstance(held, list) else ranges.shown(held)
        raise ValueError(f"{key}: got {given}, needs a list{'' if length is None else f' of {length}'}")
    return held


def rows(held: Any, key: str, columns: Mapping[str, type]) -> list[dict[str, Any]]:
    """Return rows of a file's facts.

    Args:
        held: what the file holds under the key.
        key: for messages.
        columns: that each row must have and no others, with the type of their values: int, float or str.
    """
    for index, row in enumerate(listed({key: held}, key)):
        place = f"{key}[{index}]"
        if not isinstance(row, dict) or row.keys() != columns.keys():
            raise ValueError(f"{place}: got {ranges.shown(row)}, needs {', '.join(columns)}")
        for name, kind in columns.items():
            if kind is str:
                fits = isinstance(row[name], str)
                right = "a text"
            elif kind is int:
                fits = type(row[name]) is int and -1 <= row[name] <= ranges.LAST_SEED
                right = "a whole number of at least -1"
            else:
                number(row[name], f"{place}.{name}")
                continue
            if not fits:
                raise ValueError(f"{place}.{name}: got {ranges.shown(row[name])}, needs {right}")
    return held


def _held(values: Mapping[str, Any], key: str) -> Any:
    if key not in values:
        raise ValueError(f"lacks {key}")
    return values[key]


def row_of(tensors: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """Return the tensors of one model out of those of E."""
    return {name: own[index] for name, own in tensors.items()}


def empty_like(tensors: Mapping[str, Tensor], lead: int) -> dict[str, Tensor]:
    """Return shapes and types of E = lead models of the kind of these, which lead with E; without memory."""
    shapes = {name: (lead, *own.shape[1:]) for name, own in tensors.items()}
    return {name: torch.empty(shapes[name], dtype=own.dtype, device="meta") for name, own in tensors.items()}
