"""The defects that `make mutants` plants: there are many, each still has its place, and its test is there."""

import re
from pathlib import Path

import pytest
from mutants import MUTANTS

HERE = Path(__file__).parent
ROOT = HERE.parent


@pytest.mark.parametrize("name", MUTANTS)
def test_a_defect_has_its_place_and_its_test(name):
    mutant = MUTANTS[name]
    assert (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.text) == 1
    assert mutant.text != mutant.replacement
    assert all((ROOT / "csrc" / unit).exists() for unit in mutant.units)
    assert bool(mutant.units) == mutant.file.startswith("csrc/")
    file, _, test = mutant.test.partition("::")
    assert re.search(rf"^def {test}\(", (HERE / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_defects_are_planted_in_every_part_and_in_ci():
    assert len(MUTANTS) >= 35
    rooms = {"/".join(mutant.file.split("/")[:3]) for mutant in MUTANTS.values()}
    assert rooms >= {
        "csrc/common/matmul.h",
        "csrc/common/vec.h",
        "csrc/common/transpose.h",
        "csrc/common/random.h",
        "csrc/kernels/layers",
        "csrc/kernels/sequences",
        "csrc/trainers/nalm",
        "csrc/trainers/seq2seq",
        "csrc/cells/optimiser.h",
        "mathkernels/ops/_memory.py",
    }
    steps = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert {"make mutants", "make sanitizers", "make test"} <= set(steps)
