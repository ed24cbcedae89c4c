"""Damaged files, wrong states and misspelt command lines for everything that reads them."""

from __future__ import annotations

import atexit
import contextlib
import io
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import seq2seq_cases
import torch
from seq2seq_cases import Case

from fuzzing import damage, loader_files
from fuzzing.calls import Call, Difference, Draw
from fuzzing.compare import same_bits
from fuzzing.damage import Damage
from fuzzing.loader_files import Subject
from mathkernels.studies.division import original
from mathkernels.studies.product import original as original_two_layers


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mathkernels-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def subject(name: str) -> tuple[Subject, Any]:
    """A good file, made once, and what it reads as."""
    folder = _folder() / name.replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "list").mkdir()
    with _quiet():
        made = loader_files.SUBJECTS[name](folder)
        made.path.write_bytes(made.content)
        return made, made.read(made.path)


def _quiet() -> contextlib.redirect_stdout:
    return contextlib.redirect_stdout(io.StringIO())


OTHER = "read as something else"


def damaged(draw: Draw) -> Call:
    """A file of some kind, damaged or well-formed with other content."""
    name = draw.choice(sorted(loader_files.SUBJECTS))
    one, good = subject(name)
    if one.alter and draw.holds(0.5):
        return _call(draw, name, one, good, one.alter(draw, one.content), one.listed)
    return of_bytes(draw, name)


def of_bytes(draw: Draw, name: str | None = None) -> Call:
    """A file that was cut off, or whose bits turned: refused by a message that names it, or read as it was.

    Where the format does not vouch for its bits, other numbers may be read; the note says so.
    """
    name = name or draw.choice(sorted(loader_files.SUBJECTS))
    one, good = subject(name)
    done = damage.of_bytes(draw, one.content, str(_mark(draw)))
    return _call(draw, name, one, good, done, one.vouched)


def _mark(draw: Draw) -> Path:
    return _folder() / f"executed-{draw.number}"


def _call(draw: Draw, name: str, one: Subject, good: Any, done: Damage, vouched: bool) -> Call:
    mark = _mark(draw)

    def run() -> str:
        one.path.write_bytes(done.content)
        try:
            with _quiet():
                found = one.read(one.path)
        finally:
            if mark.exists():
                raise Difference("code of the file was run")
        if found != good and (vouched or done.wrong):
            raise Difference(f"{OTHER}, without a word")
        return "" if found == good else OTHER

    return Call(f"{name}, {done.told}", run, (one.path.name, str(one.path.parent)))


def state(draw: Draw) -> Call:
    """A state of a sequence-to-sequence ensemble with one tensor exchanged, missing or added."""
    case = Case(5, 2, 2, 3, 10, 5)
    ours = seq2seq_cases.ensemble(case)
    good = ours.state()
    given: dict[str, Any] = dict(good)
    name = draw.choice(sorted(good))
    others = {
        "missing": None,
        "another dtype": good[name].to(draw.one(torch.float64, torch.int32, torch.float16, torch.bool)),
        "an axis more": good[name][None],
        "no tensor": draw.one(None, 3, "x", good[name].numpy(), [1]),
        "negative": torch.full_like(good[name], -1),
        "huge": torch.full_like(good[name], 2**62 if name == "updates" else 3e38),
    }
    what = draw.choice(list(others))
    if what == "missing":
        del given[name]
    else:
        given[name] = others[what]
    # any finite number is a weight; of moments and counts nothing is below 0
    free = what == "huge" or (what == "negative" and name != "updates" and not name.startswith("second"))
    if name == "updates" and what == "huge":
        free = False

    def run() -> None:
        ours.load_state(given)
        if not free:
            raise Difference(f"took {name}, {what}")
        if name != "updates":
            same_bits([ours.state()[name]], [given[name]], "a state put back")

    return Call(f"state of seq2seq, {name} {what}", run, (name, name.partition(".")[2], "state"))


WORDS = [
    *("--operation", "div", "mul", "--layer-type", "NMU", "RealNPU", "NRU", "--learning-rate", "1e-2", "-1"),
    *("--input-size", "10", "0", "2.5", "--subset-ratio", "0.1", "--seed", "3", "--max-iterations", "50000"),
    *("--interpolation-range", "[1,2]", "[2,1]", "[", "[[1,2],[3,4],[]]", "--clip-grad-norm", "--optimizer"),
    *(
        "sgd",
        "--regualizer",
        "nan",
        "1e999",
        "--hidden-size",
        "99999999999999999999",
        "--no-cuda",
        "--simple",
    ),
    *(
        "--num-subsets",
        "''",
        "é",
        "\0",
        "--",
        "-",
        "--pytorch-precision",
        "--nac-mul",
        "mnac",
        "--overlap-ratio",
    ),
]


def line(draw: Draw) -> Call:
    """A published command line, with words exchanged."""
    two = draw.holds(0.5)
    words = ["--operation", draw.one("mul", "add"), "--layer-type", draw.one("NAC", "NMU", "NALU", "linear")]
    for _ in range(draw.one(1, 1, 2, 3)):
        at = draw.randrange(len(words) + 1)
        words[at : at + draw.one(0, 1)] = [draw.choice(WORDS) for _ in range(draw.one(1, 2))]
    given = " ".join(words)

    def run() -> None:
        translated = original_two_layers.translate(given, samples=100) if two else original.translate(given)
        members = translated.study.members()
        if not members:
            raise Difference("a study without runs")

    names = [word for word in words if word.startswith("--")] + [
        word.removeprefix("--") for word in words if word
    ]
    return Call(f"published line {given!r}", run, [*names, "line", "original"])


def loader(draw: Draw) -> Call:
    return draw.choices((damaged, state, line), (8, 1, 1))[0](draw)


KINDS = {"loader": loader, "damage": of_bytes}
