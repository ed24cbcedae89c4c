"""The lists of docs/architecture.md, "Adding a module", are the files that a new op or module touches."""

import re
from pathlib import Path

import pytest
from layer_cases import CASES

from mathkernels import _C, ensemble, nn, ops, reference
from mathkernels.ensemble.program import _COST

ROOT = Path(__file__).parent.parent
OPS = sorted({case.op for case in CASES})
MOST = 6


def section(title):
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return text.partition(f"### {title}\n")[2].partition("\n#")[0]


def listed(title):
    """The files of a list's table."""
    return re.findall(r"^\| `([^`]+)` \|", section(title), re.MULTILINE)


OP, MODULE = listed("An op and its layer"), listed("A module of ensembles")
CASE_FILES = re.findall(r"`(python_tests/\w+_cases\.py)`", section("An op and its layer"))


def words(path):
    return set(re.findall(r"\w+", path.read_text(encoding="utf-8")))


def sources():
    for folder, patterns in (
        ("csrc", ("*.h", "*.cpp")),
        ("mathkernels", ("*.py",)),
        ("python_tests", ("*_cases.py",)),
    ):
        for pattern in patterns:
            for path in (ROOT / folder).rglob(pattern):
                if path.parts[len(ROOT.parts) :][:2] != ("mathkernels", "csrc"):
                    yield path


def test_the_lists_are_short_and_their_files_are_there():
    for files in (OP, MODULE):
        assert 0 < len(files) <= MOST
        assert len(set(files)) == len(files)
        for name in (*files, *CASE_FILES):
            assert (ROOT / name).is_file(), name


def test_no_file_beside_those_listed_names_every_op():
    """A table that a new op would have to be entered in names all of them, or nearly."""
    most = 0.8 * len(OPS)
    tables = {
        path.relative_to(ROOT).as_posix() for path in sources() if len(words(path).intersection(OPS)) > most
    }
    assert tables <= {*OP, *MODULE, *CASE_FILES}, tables
    by_op = {"csrc/common/enumerations.h", "mathkernels/reference/__init__.py", "mathkernels/ops/__init__.py"}
    assert tables >= by_op


@pytest.mark.parametrize("op", OPS)
def test_an_op_is_where_the_list_says(op):
    assert op in _C.layer_kinds
    assert op in words(ROOT / "csrc/common/enumerations.h")
    assert op in ops.__all__
    assert op in reference.__all__
    for name in CASE_FILES:
        assert op in words(ROOT / name), name
    for room, pattern, mark in (
        ("mathkernels/ops", "*.py", rf'define_unit\(\s*"{op}"'),
        ("mathkernels/reference", "*.py", rf"^def {op}\("),
        ("csrc/kernels/layers", "*.cpp", rf"^MK_LAYER\({op},|LayerKernels<real> {op}_##real"),
    ):
        marked = [
            path
            for path in (ROOT / room).glob(pattern)
            if re.search(mark, path.read_text(encoding="utf-8"), re.MULTILINE)
        ]
        assert len(marked) == 1, (room, marked)
        if marked[0].suffix == ".cpp":
            assert f"kernels/layers/{marked[0].name}" in (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


def test_every_layer_is_exported():
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "mathkernels" / "nn").glob("*.py"))
    for op in OPS:
        assert re.search(rf"\b{op}\b", text), op
    assert set(nn.__all__) <= words(ROOT / "mathkernels" / "nn" / "__init__.py")


def test_a_module_of_ensembles_is_where_the_list_says():
    for name, kind in ensemble.MODULES.items():
        assert name in ensemble.__all__
        assert kind.__module__ == "mathkernels.ensemble.modules"
    for cell in _COST:
        assert cell in words(ROOT / "csrc/common/enumerations.h")
        assert cell in words(ROOT / "csrc/trainers/nalm/cells.h")
        if cell not in ("custom", "relu", "relu6"):  # the last two are Linear's own names of activations
            assert cell in words(ROOT / "mathkernels/ensemble/tensors.py")
