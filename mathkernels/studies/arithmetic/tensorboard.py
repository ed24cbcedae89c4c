"""TensorBoard folders with the names of the papers' logs, and their table as one CSV file.

    python -m mathkernels.studies.arithmetic.tensorboard RUNS --out results.csv

reads every run folder below RUNS, written here or by the papers' own scripts (Madsen & Johansen 2020; Mistry,
Farrahi & Hare 2021), and writes the columns of their exports, one row per logged step.
"""

from __future__ import annotations

import argparse
import csv
import os
import struct
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from mathkernels.experiment.optional import MissingLibraryError, load
from mathkernels.experiment.run_folder import plain_number
from mathkernels.experiment.terminal import run_script
from mathkernels.files import replacing
from mathkernels.studies.arithmetic.tables import RUN_COLUMNS, Member, Results, run_rows

VALID, TEST = "metric/valid/interpolation", "metric/test/extrapolation"
LOSS, PENALTY, TOTAL = "loss/train/critation", "loss/train/regualizer", "loss/train/total"  # spelled so
SPARSITY = "sparsity_error"
COLUMNS = (
    *("name", "metric.valid.interpolation", "metric.test.extrapolation", "step", "wall.time"),
    "sparse.error.max",
)
# tags of single parameters, columns weights.w0, gate.g0 and so on
_PARAMETERS = ("weights/", "gate/", "imaginary/")
# One file per run under a fixed name, so that a second export takes the place of the first.
_FILE = "events.out.tfevents.0000000000.mathkernels"
_LONGEST_NAME = 255  # bytes of a folder's name


def layer_path(module: Any) -> str:
    """Return the papers' name of a module in tags; their additive and multiplicative units log as NAC."""
    names: dict[str, str] = {"NAU": "nac", "NMU": "nac", "RealNPU": "real_npu"}
    if module.name == "NMRU":
        signed = "nmru-sign" if module.sign_retrieval else "nmru"
        return f"gated-{signed}" if getattr(module, "gated", False) else signed
    return names.get(module.name) or str(module.name).lower()


def folder_name(name: str) -> str:
    """Return the name of a run as that of a folder; ``unquote`` is the inverse."""
    folder = quote(name, safe=" !#$&'()+,;=@[]{}^~`→·")
    if len(folder.encode()) > _LONGEST_NAME:
        what = f"has more than {_LONGEST_NAME} bytes; needs a shorter label"
        raise ValueError(f"run name: {name!r} {what}")
    return folder


def check_names(members: Sequence[Member]) -> list[str]:
    """Return the folder of each member.

    Raises:
        ValueError: two members have one name, or a name is too long for a folder.
        MissingLibraryError: tensorboard is not installed.
    """
    load("tensorboard.summary.writer.record_writer")
    counts = Counter(folder_name(member.name) for member in members)
    for name, count in counts.items():
        if count > 1:
            raise ValueError(f"run name: got {unquote(name)!r} {count} times, needs names that differ")
    return list(counts)


def write_runs(folder: str | os.PathLike[str], members: Sequence[Member], results: Results) -> None:
    """Write one run folder per member, with every logged row and the parameters of its best row.

    Wall times are spread evenly over the iterations, because a compiled call trains many runs at once.

    Raises:
        ValueError: two members have one name, or a name is too long for a folder.
        MissingLibraryError: tensorboard is not installed.
    """
    names = check_names(members)
    begun = time.time() - results.seconds
    rows = run_rows(members, results, "")
    for i, (name, member) in enumerate(zip(names, members, strict=True)):
        learned = {key: value for key, value in rows[i].items() if key not in RUN_COLUMNS}
        own = Path(folder) / name
        own.mkdir(parents=True, exist_ok=True)
        with replacing(own / _FILE) as temporary, temporary.open("wb") as file:
            record = load("tensorboard.summary.writer.record_writer").RecordWriter(file).write
            event = load("tensorboard.compat.proto.event_pb2").Event
            record(event(wall_time=begun, file_version="brain.Event:2").SerializeToString())
            seconds = results.seconds / max(member.run.iterations, 1)
            for step, scalars in _scalars(member, results, i, learned):
                summary = _summary(scalars)
                logged = event(wall_time=begun + seconds * step, step=step, summary=summary)
                record(logged.SerializeToString())


def _scalars(
    member: Member, results: Results, i: int, learned: Mapping[str, Any]
) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield step and tags of every logged row of run i."""
    module, curves = member.run.module, results.curves(i)
    weight = "W_real" if module.name == "RealNPU" else "W"  # of the NPU it sums W_real and W_im
    for row, step in enumerate(results.steps(i)):
        scalars = {
            VALID: curves["valid"][row],
            TEST: curves["test"][row],
            LOSS: curves["loss"][row],
            PENALTY: curves["penalty"][row],
            TOTAL: curves["loss"][row] + curves["penalty"][row],
            f"{layer_path(module)}/{weight}/{SPARSITY}": curves["sparsity"][row],
        }
        if row == results.best_row[i]:
            scalars |= {name.replace(".", "/", 1): value for name, value in learned.items()}
        yield int(step), {tag: float(value) for tag, value in scalars.items()}


def _summary(scalars: Mapping[str, float]) -> Any:
    """Return a summary of scalars in double precision, so that the table reads back what was computed."""
    summary_pb2 = load("tensorboard.compat.proto.summary_pb2")
    types = load("tensorboard.compat.proto.types_pb2")
    tensor = load("tensorboard.compat.proto.tensor_pb2").TensorProto
    plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name="scalars")
    scalar = summary_pb2.SummaryMetadata(plugin_data=plugin, data_class=summary_pb2.DATA_CLASS_SCALAR)
    return summary_pb2.Summary(
        value=[
            summary_pb2.Summary.Value(
                tag=tag, tensor=tensor(dtype=types.DT_DOUBLE, double_val=[value]), metadata=scalar
            )
            for tag, value in scalars.items()
        ]
    )


def _records(path: Path, partial: bool) -> Iterator[bytes]:
    """Yield the records of an event file: length, check, content, check.

    Raises:
        ValueError: it ends within a record and ``partial`` is not set.
    """
    with path.open("rb") as file:
        while header := file.read(12):
            length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else -1
            content = file.read(length + 4) if 0 <= length <= path.stat().st_size else b""
            if len(content) != length + 4:
                what = "ends within a record, it is damaged or still being written"
                if not partial:
                    raise ValueError(f"'{path}' {what}; --partial takes the whole records before it")
                warnings.warn(f"'{path}' {what}", stacklevel=2)
                return
            yield content[:-4]


def _value(value: Any) -> float | None:
    """Return the number of a summary value in any of the forms that writers use, None for other things."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind == "tensor" and not value.tensor.tensor_shape.dim:
        return float(load("tensorboard.util.tensor_util").make_ndarray(value.tensor))
    return None


def read_run(folder: Path, partial: bool = False) -> tuple[dict[int, dict[str, float]], dict[int, float]]:
    """Return step -> tag -> value and step -> seconds since the first event of one run folder.

    Of several event files the later counts where both have a step, as after a resume.
    """
    found: dict[int, dict[str, float]] = {}
    times: dict[int, float] = {}
    event_pb2 = load("tensorboard.compat.proto.event_pb2")
    for path in sorted(folder.glob("*tfevents*")):
        for record in _records(path, partial):
            try:
                event = event_pb2.Event.FromString(record)
            except load("google.protobuf.message").DecodeError as error:
                raise ValueError(f"'{path}' is damaged or no event file ({error})") from error
            times.setdefault(-1, event.wall_time)
            for each in event.summary.value:
                if (number := _value(each)) is not None:
                    found.setdefault(event.step, {})[each.tag] = number
                    times[event.step] = event.wall_time
    first = times.pop(-1, 0.0)
    return found, {step: seconds - first for step, seconds in times.items()}


def table(runs: str | os.PathLike[str], partial: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the rows of all run folders below ``runs``, a row per step with a validation or test error.

    Raises:
        ValueError: there is no run, or an event file is cut off or damaged.
    """
    root = Path(runs)
    folders = sorted({path.parent for path in root.rglob("*tfevents*") if ".tmp" not in path.name})
    if not folders:
        raise ValueError(f"runs: got '{root}', needs a folder with TensorBoard event files in or below it")
    for folder in folders:
        found, times = read_run(folder, partial)
        name = "/".join(unquote(part) for part in folder.relative_to(root).parts) or folder.name
        for step in sorted(found):
            tags = found[step]
            if VALID in tags or TEST in tags:
                yield {
                    "name": name,
                    "metric.valid.interpolation": tags.get(VALID, float("nan")),
                    "metric.test.extrapolation": tags.get(TEST, float("nan")),
                    "step": step,
                    "wall.time": times[step],
                    "sparse.error.max": _sparsity(tags),
                    **{
                        tag.replace("/", ".", 1): value
                        for tag, value in tags.items()
                        if tag.startswith(_PARAMETERS)
                    },
                }


def _sparsity(tags: Mapping[str, float]) -> float:
    """Return the largest sparsity error of the layers' weights; a complex layer's is the sum of its parts."""
    layers: dict[str, float] = {}
    for tag, value in tags.items():
        path, _, last = tag.rpartition("/")
        layer, _, tensor = path.rpartition("/")
        if last == SPARSITY and tensor != "gate":
            layers[layer] = layers.get(layer, 0.0) + value
    return float(np.max(list(layers.values()))) if layers else float("nan")


def write_table(out: str | os.PathLike[str], rows: Iterator[Mapping[str, Any]]) -> int:
    """Write the rows with the exports' columns, then those of single parameters; return how many."""
    held = list(rows)
    columns = list(dict.fromkeys([*COLUMNS, *(name for row in held for name in row)]))
    with replacing(Path(out)) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: plain_number(value) for key, value in row.items()} for row in held)
    return len(held)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mathkernels.studies.arithmetic.tensorboard", description=__doc__)
    parser.add_argument("runs", type=Path, help="folder with run folders")
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--partial", action="store_true", help="take the whole records of a cut-off file")
    args = parser.parse_args(argv)
    try:
        written = write_table(args.out, table(args.runs, args.partial))
    except (ValueError, OSError, MissingLibraryError) as error:
        parser.error(str(error))
    print(f"{written} rows → {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
