"""What Python calls by name is what csrc/common/enumerations.h lists: no order is known twice."""

import re
from pathlib import Path
from typing import get_args

import pytest
from ensemble_cases import RUNS
from torch import dtype as torch_dtype

from mathkernels import _C
from mathkernels.data import distributions
from mathkernels.data.arithmetic import OPERATIONS
from mathkernels.ensemble import program, seq2seq, streams
from mathkernels.ensemble.describe import CRITERIA
from mathkernels.ops import _library
from mathkernels.ops.discretisation import KINDS
from mathkernels.reference import random

HEADER = Path(__file__).parent.parent / "csrc" / "common" / "enumerations.h"
LIST = re.compile(r"^#define MK_(\w+)\((\w+)\)((?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)


def lists() -> dict[str, list[str]]:
    """Name of each list of the header, as _C has it, and the names that it holds."""
    found = {}
    for name, argument, body in LIST.findall(HEADER.read_text()):
        if name not in ("ENUMERATOR", "COUNT"):
            found[name.lower()] = re.findall(rf"\b{argument}\((\w+)\)", body)
    return found


def test_the_header_has_lists():
    assert len(lists()) > 10
    assert lists()["pairs"] == ["never", "always", "where_faster"]


@pytest.mark.parametrize("name", lists())
def test_every_list_is_exported(name):
    assert getattr(_C, name) == {each: number for number, each in enumerate(lists()[name])}


def test_every_cell_has_a_cost_and_every_module_a_cell():
    assert set(program._COST) == set(_C.cells)
    used = {layer.cell for run in RUNS.values() for layer in program.layers(run.module, run.task.inputs)}
    assert used <= set(_C.cells)
    assert set(_C.cells) - used <= {"custom"}, "a cell that no run of ensemble_cases.py trains"


def test_every_penalty_of_a_module_or_of_the_op_exists():
    each = [program.layers(run.module, run.task.inputs) for run in RUNS.values()]
    used = {tensor.penalty for layers in each for layer in layers for tensor in layer.tensors} | set(KINDS)
    assert {name.replace("-", "_") for name in used} == set(_C.penalties)


def test_what_descriptions_name_is_what_the_trainers_know():
    assert set(OPERATIONS) == set(_C.operations)
    assert set(CRITERIA) == set(_C.criteria)
    assert set(random.GENERATORS) == set(program.GENERATORS)
    assert sorted(streams.KINDS.values()) == sorted(_C.distributions.values())
    assert set(streams.KINDS) == set(get_args(distributions.Distribution))


@pytest.mark.parametrize("types", [_library.DTYPES, seq2seq.DTYPES, tuple(program.DTYPES)])
def test_number_types_are_counted_alike(types):
    names = [str(each).removeprefix("torch.") if isinstance(each, torch_dtype) else each for each in types]
    assert {name: number for number, name in enumerate(names)} == _C.dtypes
