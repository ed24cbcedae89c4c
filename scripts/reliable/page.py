"""docs/reliability.md from its measurements; equal measurements give an equal page."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from fuzzing.calls import FAILURES, OUTCOMES
from fuzzing.compare import RULE

KINDS = {
    "op": "ops, right calls",
    "raw-op": "raw ops, arguments exchanged",
    "module": "modules, calls",
    "constructor": "modules, constructors",
    "description": "descriptions and data",
    "fit": "tiny trainings",
    "decoding": "greedy decoding and beam search",
    "loader": "files, states, command lines",
}
_INTRODUCTION = """# Reliability

What happens to calls that nobody should make, trainings that are killed, files that are damaged, and
models that go wrong: counted, not claimed. This page is generated: `make reliability` measures
everything again and writes it. `python scripts/reliability.py --calls N` makes fewer or more random
calls; with `--page-only` it renders the page from `docs/results/reliability.json`.
"""
_CALLS = """Each is made in a process that is watched: `python scripts/fuzz.py --calls N --seed S` makes
some, and a finding prints the one line that repeats it.
"""
_RULE = f"""Values and gradients of right calls are compared with plain torch in float64. A silent
difference is {RULE}; a value that is not finite where plain torch is and the model's numbers are
ordinary; a number where plain torch has NaN from a NaN of the model; any bit that differs between 1 and
2 threads, a model alone and among others, a row alone and in its batch, a training resumed and at once;
a wrong field, file or state that is taken; code of a file that is run.
"""
_KILLS = """## Kills

Trainings ended by SIGKILL at random moments and in the middle of writing their checkpoint (half
written, before it is flushed, before and after it replaces the old one), resumed each time, and
compared bit by bit with one that was left alone.
"""
_DAMAGES = """## Damaged files

Files cut off, with a bit turned, with bytes zeroed or put in between, or exchanged for something else,
a pickle that would run code among them. *Refused*: the message names the file. *As it was*: the damage
was where the format keeps nothing, and every number is as before. *Failed*: a crash, code that was run,
or other numbers although the format vouches for them.
"""
_CONTAINMENT = """## Containment

One model, row or run is filled with NaN or infinity, or given a step size that drives it there;
everything that belongs to the others must keep every bit (of rows: values and the gradient of the
input, since gradients of weights are sums over rows).
"""
_BITS = """## Bits

Cases in which all bits of values, gradients or trained states must agree. Threads are 1 against 2, 3, 4
and 8.
"""
_NOT_COVERED = """## What is not covered

- **GPUs.** Everything here ran on a CPU; the Triton kernels and the CUDA trainer are not on this page.
- **Other machines.** Bits are compared on one machine with one instruction set. Between instruction
  sets that fuse multiply and add and those that do not, results differ by rounding.
- **Numbers in plain files.** Where the column *other numbers* is not 0, the format keeps no digest: a
  bit that turned in a number is read as another number. Checkpoints of ensembles, compressed files and
  tables with a list do notice.
- **Size.** Random calls have at most some hundred rows and some ten thousand numbers, so that there can
  be many of them; tensors beyond 2³¹ entries and memory that runs out half-way are not among them.
- **Extreme numbers.** Where weights are infinite or beyond 1,000, values are compared where both sides
  are finite, bits always. Sequences with such weights are compared by their bits alone.
- **Messages.** *Unclear* counts refusals whose message does not name the argument as the caller knows
  it; some of them are torch's own (sparse tensors, devices, sizes that no memory holds).
- **Concurrency.** Calls from several Python threads at once, forks in the middle of a call and the end
  of the interpreter are tested, and not counted here.
- **Power.** A kill ends a process, not the machine: that a file which was flushed survives the loss of
  power is the file system's promise.
"""


def render(results: Mapping[str, Any]) -> str:
    """Return the page."""
    machine = results["machine"]
    place = f"Measured on {machine['processor']}, {machine['cores']} cores, instruction set {machine['isa']},"
    versions = f"torch {machine['torch']}, Python {machine['python']}."
    parts = [_INTRODUCTION, f"{place} {versions}\n", _fuzz(results["fuzz"]), _kills(results["kills"])]
    parts += [_damages(results["damages"])]
    header = ["spoilt", "with", "in", "cases", "changes elsewhere"]
    parts += [_CONTAINMENT, _counted(results["containment"], header)]
    header = ["what must not matter", "of", "cases", "mismatches"]
    parts += [_BITS, _counted(results["bits"], header)]
    return "\n".join([*parts, _NOT_COVERED])


def _table(header: Sequence[str], rows: Sequence[Sequence[object]], words: int = 1) -> str:
    """A table of Markdown whose first columns hold words and whose others hold numbers."""
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * words + "---:|" * (len(header) - words)]
    for row in rows:
        cells = [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _fuzz(fuzz: Mapping[str, Any]) -> str:
    counts = fuzz["counts"]
    shown = [name for name in OUTCOMES if name not in ("broken",)]
    rows = [
        [KINDS.get(kind, kind), sum(own.values()), *(own.get(name, 0) for name in shown)]
        for kind, own in sorted(counts.items(), key=lambda item: list(KINDS).index(item[0]))
    ]
    totals = ["**all**", *(sum(row[at] for row in rows) for at in range(1, len(rows[0])))]
    failed = sum(own.get(name, 0) for own in counts.values() for name in FAILURES)
    parts = [f"## Random calls\n\n{fuzz['calls']:,} calls from seed {fuzz['seed']}; {failed} failed.", _CALLS]
    parts += [_table(["calls", "made", *shown], [*rows, totals])]
    rule = textwrap.fill(_RULE, 110, break_long_words=False, break_on_hyphens=False)
    parts += [*(f"- *{name}*: {OUTCOMES[name]}." for name in shown), "", rule, ""]
    return "\n".join(parts)


def _kills(kills: Sequence[Mapping[str, Any]]) -> str:
    rows = [[k["engine"], k["trainings"], k["kills"], k["in a save"], k["differ"]] for k in kills]
    header = ["training", "trainings", "kills", "of them in a save", "other bits"]
    return "\n".join([_KILLS, _table(header, rows)])


def _damages(damages: Sequence[Mapping[str, Any]]) -> str:
    columns = ("damaged", "refused", "unclear", "as it was", "other numbers", "failed")
    rows = [[d["file"], *(d[column] for column in columns)] for d in damages]
    totals = ["**all**", *(sum(row[at] for row in rows) for at in range(1, len(columns) + 1))]
    return "\n".join([_DAMAGES, _table(["file", *columns], [*rows, totals])])


def _counted(rows: Sequence[Mapping[str, Any]], header: Sequence[str]) -> str:
    found = [[*row["of"], row["cases"], row["failed"]] for row in rows]
    return _table(header, sorted(found, key=lambda row: row[: len(header) - 2]), len(header) - 2)
