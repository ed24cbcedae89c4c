"""Checkpoints of a fit: one file that holds its whole state, replaced as a whole or not at all.

The file is numpy's .npz without pickled objects: the descriptions of the runs as JSON and the state arrays. A
fit that was killed and resumed from it ends bitwise equal to one that was never killed.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mathkernels import _C
from mathkernels.ensemble.checks import is_number
from mathkernels.ensemble.describe import Custom, Module, Run, Stack
from mathkernels.ensemble.program import TrainingProgram
from mathkernels.files import check_replaceable, remove_leftovers, replacing

# Counts the changes of the file and of what a position means: since 2 truncated normals draw other numbers.
FORMAT = 2


class MismatchError(ValueError):
    """The file is whole, but of something else."""


def describe(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the runs as plain data; equal descriptions train alike."""
    described = []
    for run in runs:
        fields = dataclasses.asdict(run)
        fields["module"] = _module(run.module)
        fields["optimizer"] = {"name": run.optimizer.name, **fields["optimizer"]}
        described.append(json.loads(json.dumps(fields)))
    return described


def _module(module: Module) -> dict[str, Any]:
    fields = {"name": module.name, **dataclasses.asdict(module)}
    if isinstance(module, Stack):
        fields |= {"first": _module(module.first), "second": _module(module.second)}
    if isinstance(module, Custom):  # by its content: the file may have been moved
        del fields["library"]
        for tensor, own in zip(module.tensors, fields["tensors"], strict=True):
            own["initial"] = repr(tensor.initial)
    return fields


def _difference(path: str, saved: Any, given: Any) -> str | None:
    """Return the first place where two descriptions differ, in words."""
    if isinstance(saved, dict) and isinstance(given, dict):
        for key in [*given, *(key for key in saved if key not in given)]:
            inner = f"{path}.{key}" if path else key
            if found := _difference(inner, saved.get(key), given.get(key)):
                return found
        return None
    return None if saved == given else f"{path} is {saved!r} in the checkpoint and {given!r} now"


def header(runs: Sequence[Run], settings: dict[str, Any]) -> dict[str, Any]:
    """Return what a file of a fit says of itself.

    Args:
        runs: what the fit trains.
        settings: what else its bits depend on (dtype, generator, whether products are fused).
    """
    return {"format": FORMAT, "version": _C.version, "settings": settings, "runs": describe(runs)}


def compare(path: Path, saved: dict[str, Any], given: dict[str, Any]) -> None:
    """Raise ValueError at the first difference between the saved header of a file and the one given now."""
    if not isinstance(saved, dict) or not isinstance(saved.get("runs"), list):
        raise ValueError("its header is not that of a fit")
    for part in ("format", "version", "settings"):
        if found := _difference(part, saved.get(part), given[part]):
            raise MismatchError(f"checkpoint: {path} does not fit: {found}")
    if len(saved["runs"]) != len(given["runs"]):
        what = f"holds {len(saved['runs'])} runs, {len(given['runs'])} were given"
        raise MismatchError(f"checkpoint: {path} {what}")
    for i, (one, other) in enumerate(zip(saved["runs"], given["runs"], strict=True)):
        if found := _difference("", one, other):
            raise MismatchError(f"checkpoint: {path} belongs to other runs: runs[{i}].{found}")


class Checkpoint:
    """The file of one fit.

    Args:
        path: of the file; its folder must exist and be writable.
        runs: what the fit trains.
        settings: what else its bits depend on (dtype, generator, whether products are fused).

    Raises:
        ValueError, TypeError: this is no path of a file, or its folder is missing or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], runs: Sequence[Run], settings: dict[str, Any]) -> None:
        self.path = check_replaceable(path, "checkpoint")
        self._header = header(runs, settings)
        target = Path(os.path.realpath(self.path))
        remove_leftovers(target.parent, target.stem)

    def save(self, programs: Sequence[TrainingProgram], seconds: float) -> None:
        """Write the state beside the old file, flush it to the disk, then put it in the old one's place."""
        arrays: dict[str, Any] = {
            f"{k}/{name}": array
            for k, program in enumerate(programs)
            for name, array in program.state().items()
        }
        positions = [program.position for program in programs]
        text = json.dumps({**self._header, "positions": positions, "seconds": seconds})
        memory = io.BytesIO()
        np.savez(memory, header=np.frombuffer(text.encode(), np.uint8), **arrays)
        with replacing(self.path) as temporary:
            temporary.write_bytes(memory.getbuffer())

    def restore(self, programs: Sequence[TrainingProgram]) -> float:
        """Load the state into the programs and return the seconds trained before; 0 if there is no file yet.

        Raises:
            ValueError: the file is damaged, or belongs to other runs or settings; nothing is changed then.
        """
        if not self.path.exists():
            return 0.0
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            saved = json.loads(arrays.pop("header").tobytes().decode())
            compare(self.path, saved, self._header)
            self._check_state(programs, saved, arrays)
        except MismatchError:
            raise
        except Exception as error:  # zipfile, zlib, struct and numpy each have their own for a damaged zip
            raise ValueError(
                f"checkpoint: {self.path} is damaged or no checkpoint ({error}); "
                "remove it to start anew, or give another path"
            ) from error
        for k, program in enumerate(programs):
            program.position = saved["positions"][k]
            for name, array in program.state().items():
                array[...] = arrays[f"{k}/{name}"]
        return float(saved["seconds"])

    def _check_state(
        self, programs: Sequence[TrainingProgram], saved: dict[str, Any], arrays: dict[str, np.ndarray]
    ) -> None:
        """Raise ValueError unless this is a state that training can have: a kernel trusts its numbers."""
        positions, seconds = saved["positions"], saved["seconds"]
        fits = isinstance(positions, list) and len(positions) == len(programs)
        for k, program in enumerate(programs):
            for name, array in program.state().items():
                held = arrays.get(f"{k}/{name}")
                fits = fits and held is not None and held.shape == array.shape and held.dtype == array.dtype
        if not fits:
            raise MismatchError(
                f"checkpoint: {self.path} was written by another version of mathkernels; remove it"
            )
        if not is_number(seconds) or seconds < 0:
            raise ValueError(f"seconds is {seconds!r}")
        for k, program in enumerate(programs):
            position = positions[k]
            if type(position) is not int or not 0 <= position <= program.end:
                what = f"needs an integer from 0 to {program.end}"
                raise ValueError(f"positions[{k}] is {position!r}, {what}")
            for name, (low, high) in program.bounds(position).items():
                held = arrays[f"{k}/{name}"]
                if held.min() < low or held.max() > high:
                    what = f"holds {held.min()} to {held.max()}, needs {low} to {high}"
                    raise ValueError(f"{k}/{name} {what}")
