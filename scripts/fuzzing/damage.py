"""What may happen to a file: cut off, bits turned, exchanged, or well-formed with other content."""

from __future__ import annotations

import copy
import io
import json
import math
import os
import pickle
from typing import Any, NamedTuple

import numpy as np
import torch

from fuzzing.calls import Draw

HEADER = 8  # bytes of the length of a safetensors header


class Damage(NamedTuple):
    """What was done, the new content, and whether whoever reads it must notice."""

    told: str
    content: bytes
    wrong: bool = False


class Executed:
    """What a pickle runs when it is loaded: it makes a file that tells of it."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.mark,)


def of_bytes(draw: Draw, content: bytes, mark: str) -> Damage:
    """Damage that knows nothing of the format."""
    size, how = len(content), draw.randrange(9)
    at = draw.randrange(max(size, 1))
    if how <= 1:
        return Damage(f"cut off at {at} of {size} bytes", content[:at])
    if how <= 4 and size:
        turned, bit = bytearray(content), draw.randrange(8)
        turned[at] ^= 1 << bit
        return Damage(f"bit {bit} of byte {at} turned", bytes(turned))
    if how == 5:
        length = draw.one(1, 4, 16, 512)
        return Damage(
            f"{length} bytes from {at} zero", content[:at] + b"\0" * length + content[at + length :]
        )
    if how == 6:
        more = draw.one(b"\0", b"\n", b"x" * 100, content[:at])
        return Damage(f"{len(more)} bytes more at {at}", content[:at] + more + content[at:])
    if how == 7:
        memory = io.BytesIO()
        torch.save({"net": Executed(mark)}, memory)
        kinds = (pickle.dumps(Executed(mark)), memory.getvalue(), pickle.dumps({"a": 1}))
        return Damage("a pickle in its place", draw.choice(kinds), True)
    others = (
        b"",
        b"hello\n" * 20,
        b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
        draw.randbytes(200),
        b"{}",
        b"[" * 3000,
    )
    return Damage("another file in its place", draw.choice(others))


def _wrong_value(draw: Draw, value: Any) -> tuple[Any, bool]:
    """Another JSON value, and whether no reader may take it for the one that stood there."""
    if isinstance(value, bool):
        return draw.one("x", 7, [], None), True
    if isinstance(value, int):
        return draw.one(-7, 1.5, "x", [], {}, 10**30, -(10**30), 2**63, math.nan), True
    if isinstance(value, float):
        return draw.one(("x", True), ([], True), ({}, True), (-7.0, False), (math.nan, False), (1e300, False))
    if isinstance(value, str):
        return draw.one(3, [], {"a": 1}), True
    if isinstance(value, list):
        return draw.one(("x", True), (7, True), ([*value, *value], False), ([], False))
    return draw.one("x", 7, [1]), True


def of_values(draw: Draw, content: Any) -> tuple[str, Any, bool]:
    """JSON content with one value exchanged, missing or added."""
    content = copy.deepcopy(content)
    places = list(_places(content, ()))
    if not places or draw.holds(0.05):
        if isinstance(content, dict):
            return "a key more", {**content, "no_such_key": 1}, False
        return "nothing", None, True
    path = draw.choice(places)
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    name = ".".join(map(str, path))
    if draw.holds(0.15):
        del inner[path[-1]]
        return f"without {name}", content, False
    old = inner[path[-1]]
    inner[path[-1]], wrong = _wrong_value(draw, old)
    if old is None:
        wrong = False
    return f"{name} = {str(inner[path[-1]])[:30]}", content, wrong


def _places(content: Any, path: tuple) -> Any:
    items = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in items:
        yield (*path, key)
        yield from _places(value, (*path, key))


def of_array(draw: Draw, array: np.ndarray) -> tuple[str, np.ndarray, bool]:
    """An array of another type or shape, or with numbers that no index may have."""
    how = draw.randrange(4)
    if how == 0:
        kind = draw.one("float64", "float32", "int64", "int32", "int8", "complex64", "U3", "bool")
        return f"as {kind}", array.astype(kind), np.dtype(kind) != array.dtype
    if how == 1:
        return "with an axis more", array[None], True
    if how == 2:
        return "without its last entry", array.ravel()[:-1], True
    if array.size and array.dtype.kind in "iu":
        number = draw.one(-5, 10**8, np.iinfo(array.dtype).max, np.iinfo(array.dtype).min)
        return f"full of {number}", np.full_like(array, number), True
    return "full of NaN", np.full_like(array, np.nan) if array.dtype.kind == "f" else array, False


def of_npz(draw: Draw, content: bytes) -> Damage:
    """A well-formed .npz with another array or header."""
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays["header"].tobytes())
    if draw.holds(0.5):
        told, header, wrong = of_values(draw, header)
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    else:
        name = draw.choice([name for name in arrays if name != "header"])
        what, arrays[name], wrong = of_array(draw, arrays[name])
        told = f"{name} {what}"
        if draw.holds(0.2):
            del arrays[name]
            told, wrong = f"without {name}", True
    memory = io.BytesIO()
    np.savez(memory, **arrays)
    return Damage(told, memory.getvalue(), wrong)


def of_safetensors(draw: Draw, content: bytes) -> Damage:
    """A well-formed safetensors file with other texts, or with another tensor."""
    from safetensors.torch import load, save

    end = HEADER + int.from_bytes(content[:HEADER], "little")
    texts = json.loads(content[HEADER:end]).get("__metadata__", {})
    texts.pop("sha256", None)  # as if it had been written so
    tensors = load(content)
    facts = {key: text for key, text in texts.items() if text.startswith("{")}
    wrong = False
    if facts and draw.holds(0.6):
        key = draw.choice(sorted(facts))
        told, values, wrong = of_values(draw, json.loads(texts[key]))
        texts[key] = json.dumps(values)
        wrong = wrong and "config" not in told  # a configuration is judged by its own rules
    elif texts and draw.holds(0.1):
        del texts[draw.choice(sorted(texts))]
        told = "without a text"
    else:
        name = draw.choice(sorted(tensors))
        how = draw.randrange(4)
        if how == 0:
            told, wrong = f"without {name}", True
            del tensors[name]
        elif how == 1:
            told, tensors["no_such_tensor"] = "a tensor more", torch.zeros(2)
        else:
            what, array, wrong = of_array(draw, tensors[name].numpy())
            told = f"{name} {what}"
            if array.dtype.kind != "U":
                tensors[name] = torch.from_numpy(np.ascontiguousarray(array))
    return Damage(told, save(tensors, texts), wrong)


def of_json(draw: Draw, content: bytes) -> Damage:
    told, values, wrong = of_values(draw, json.loads(content))
    return Damage(told, json.dumps(values).encode(), wrong)


def of_yaml(draw: Draw, content: bytes) -> Damage:
    import yaml

    told, values, wrong = of_values(draw, yaml.safe_load(content))
    return Damage(told, yaml.safe_dump(values).encode(), wrong)


def of_csv(draw: Draw, content: bytes) -> Damage:
    """A table with a cell, a row or a column changed."""
    lines = content.decode().splitlines()
    at = draw.randrange(len(lines))
    cells = lines[at].split(",")
    how = draw.randrange(4)
    if how == 0:
        cells[draw.randrange(len(cells))] = draw.one("", "x", "-1", "nan", '"', "1e999", "9" * 40)
    elif how == 1:
        del cells[draw.randrange(len(cells))]
    elif how == 2:
        cells.append("1")
    else:
        cells = [] if at else cells[::-1]
    lines[at] = ",".join(cells)
    return Damage(f"row {at} changed", ("\n".join(lines) + "\n").encode())
