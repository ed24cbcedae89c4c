"""Who may know whom, and what kernels must not do (docs/architecture.md), read from the sources."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mathkernels

ROOT = Path(__file__).parent.parent
CSRC, PACKAGE = ROOT / "csrc", ROOT / "mathkernels"
CPP = ("*.h", "*.cpp", "*.cu", "*.cuh")

# What the modules of a package may import of this project when they are imported; None is anything.
ALLOWED = {
    "reference": ("optim", "reference"),
    "triton": ("triton",),
    "ops": ("_C", "backends", "ops", "reference"),
    "nn": ("initial", "nn", "ops"),
    "data": ("data", "files"),
    "initial": ("initial",),
    "optim": ("data", "optim"),  # of data the checks of numbers
    "experiment": ("__version__", "data", "experiment", "files", "initial", "optim"),
    "studies": (
        *("backends", "data", "ensemble", "experiment", "files", "initial", "nn", "ops", "optim"),
        "studies",
    ),
    "ensemble": ("_C", "_C_cuda", "backends", "data", "ensemble", "files", "initial", "ops"),
}
ONLY_TYPES = {
    "cstdint",
    "immintrin.h",
    "math.h",
    "type_traits",
}
LAZY = {
    "reference": ("ensemble.describe",),
    "ops": ("triton", "_C_cuda"),
    "ensemble": ("_C_cuda",),
}  # in functions and for types


def sources(folder, *patterns):
    found = sorted(path for pattern in patterns for path in folder.rglob(pattern))
    return [path for path in found if "__pycache__" not in path.parts]


def code_of(path):
    """The text of a C++ file without comments and string literals' contents."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    return re.sub(r'"(?:\\.|[^"\\\n])*"', lambda m: m[0] if m[0].endswith('.h"') else '""', text)


def includes(path):
    return re.findall(r'^\s*#\s*include\s+([<"][^>"]+[>"])', path.read_text(), re.MULTILINE)


def closure(path):
    """The headers of the project that a file includes, directly or not, and the system headers."""
    own, system, waiting = set(), set(), [path]
    while waiting:
        for name in includes(waiting.pop()):
            header = CSRC / name[1:-1]
            if name[0] == "<":
                system.add(name[1:-1])
            elif header not in own:
                own.add(header)
                waiting.append(header)
    return own, system


def kernel_sources():
    """The files that CMake compiles once per instruction set."""
    lists = r"set\([A-Z0-9]+_SOURCES(.*?)\)"
    found = re.findall(lists, (ROOT / "CMakeLists.txt").read_text(), re.DOTALL)
    files = [ROOT / name for names in found for name in names.split()]
    assert len(files) > 5
    return files


def imports(path):
    """(module, at import time?) for every import of a Python file; relative ones do not occur."""
    found = []

    def visit(node, lazy):
        if isinstance(node, ast.Import):
            found.extend((alias.name, not lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.extend(
                (name, not lazy) for name in (names if node.module == "mathkernels" else [node.module])
            )
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        inside = lazy or typing_only or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(path.read_text()), False)
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_the_packages_below_it(package):
    files = sources(PACKAGE / package, "*.py")
    assert files
    for path in files:
        for module, eager in imports(path):
            parts = module.split(".")
            if parts[0] == "mathkernels" and len(parts) > 1:
                allowed = ALLOWED[package] + (() if eager else LAZY.get(package, ()))
                fits = parts[1] in allowed or ".".join(parts[1:3]) in allowed
                assert fits, f"{path.relative_to(ROOT)} imports {module}; may import {allowed}"


def test_a_study_imports_no_other_but_what_the_arithmetic_ones_share():
    for path in sources(PACKAGE / "studies", "*.py"):
        room = path.relative_to(PACKAGE / "studies").parts[0]
        for module, _ in imports(path):
            if module.startswith("mathkernels.studies."):
                assert module.split(".")[2] in (room, "arithmetic"), (
                    f"{path.relative_to(ROOT)} imports {module}"
                )


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def graph():
    """Every module of the package and those that it imports, now or in functions; not for types."""
    paths = {module_of(path): path for path in sources(PACKAGE, "*.py")}
    found = {}
    for module, path in paths.items():
        tree = ast.parse(path.read_text())
        typing_only = [
            node
            for node in tree.body
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ]
        for node in typing_only:
            tree.body.remove(node)
        named = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                named |= (whole & set(paths)) or {node.module}
            elif isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
        found[module] = (named & set(paths)) - {"mathkernels"}  # which gives its version and compiled module
    return found


def test_no_modules_import_each_other_in_a_circle():
    edges, done = graph(), set()

    def visit(module, way):
        assert module not in way, " imports ".join([*way[way.index(module) :], module])
        if module not in done:
            for other in sorted(edges[module]):
                visit(other, [*way, module])
            done.add(module)

    for module in edges:
        visit(module, [])


def test_the_reference_needs_torch_and_numpy_only():
    for path in sources(PACKAGE / "reference", "*.py"):
        foreign = {module.split(".")[0] for module, _ in imports(path)}
        allowed = {
            "__future__",
            "functools",
            "collections",
            "dataclasses",
            "math",
            "mathkernels",
            "numpy",
            "torch",
            "typing",
        }
        assert foreign <= allowed, f"{path.relative_to(ROOT)} imports {foreign - allowed}"


def test_triton_is_imported_by_its_own_package_only():
    for path in sources(PACKAGE, "*.py"):
        if path.parent.name != "triton":
            assert not [m for m, _ in imports(path) if m.split(".")[0] == "triton"], path.relative_to(ROOT)


def test_only_one_file_of_ops_talks_to_torch_library():
    for path in sources(PACKAGE, "*.py"):
        if path.name != "_library.py":
            assert "torch.library" not in path.read_text(), path.relative_to(ROOT)


def test_nothing_imports_the_examples():
    for folder in (PACKAGE, ROOT / "benchmarks"):
        for path in sources(folder, "*.py"):
            assert not [m for m, _ in imports(path) if m.split(".")[0] == "examples"], path.relative_to(ROOT)


def test_the_build_does_not_know_torch():
    assert not [m for m, _ in imports(ROOT / "setup.py") if m.split(".")[0] == "torch"]
    for path in sources(CSRC, *CPP):
        known = [name for name in includes(path) if re.match(r"[<\"](torch|ATen|c10)/", name)]
        assert not known, f"{path.relative_to(ROOT)} includes {known}"
    for path in [ROOT / "CMakeLists.txt", *sources(ROOT / "cmake", "*.cmake")]:
        assert "torch" not in path.read_text().lower(), path.relative_to(ROOT)


def test_cells_know_common_headers_only_and_never_the_cpus_packs():
    files = sources(CSRC / "cells", "*.h")
    assert files
    for path in files:
        own, system = closure(path)
        assert CSRC / "common" / "vec.h" not in own, path.relative_to(ROOT)
        assert {header.parent.name for header in own} <= {"cells", "common"}, path.relative_to(ROOT)
        assert system <= {"cstdint", "math.h"}, path.relative_to(ROOT)


def test_kernel_files_include_nothing_that_instruction_sets_would_share():
    """An inline function outside mk::<set> is linked once, from whichever instruction set comes first."""
    for path in kernel_sources():
        own, system = closure(path)
        assert system <= ONLY_TYPES, f"{path.relative_to(ROOT)}: {system}"
        rooms = {header.relative_to(CSRC).parts[0] for header in own}
        # mathkernels.h declares and defines nothing
        assert rooms <= {"mathkernels.h", "cells", "common", "kernels", "trainers"}, path.relative_to(ROOT)


def test_kernels_do_not_allocate_print_throw_or_read_the_environment():
    headers = {header for path in kernel_sources() for header in closure(path)[0]}
    forbidden = (
        r"\b(malloc|calloc|realloc|alloca|free|new|delete|throw|getenv|printf|fprintf|puts|abort|exit)\b"
    )
    for path in [*kernel_sources(), *sorted(headers)]:
        found = re.findall(forbidden, code_of(path))
        assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_only_one_file_makes_threads():
    threads = r"#\s*pragma\s+omp|\bomp_\w+|std::(thread|jthread|async)\b|\bpthread_create\b"
    for path in sources(CSRC, *CPP):
        if path.name == "parallel.cpp" or path.parent.name in ("tests", "emulator"):
            continue
        found = re.search(threads, code_of(path))
        assert found is None, f"{path.relative_to(ROOT)}: {found[0]}"


def test_bindings_know_interfaces_and_not_cells():
    for path in sources(CSRC / "python", *CPP):
        own, _ = closure(path)
        cells = [header.name for header in own if header.parent.name == "cells"]
        assert not cells, f"{path.relative_to(ROOT)} includes {cells}"


def test_processes_that_tests_begin_import_the_package_under_test():
    """Not the sources of the checkout, which a test or script could have put before it on the path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", "import mathkernels; print(mathkernels.__file__)"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == mathkernels.__file__


def test_files_are_small_enough_to_hold_in_the_head():
    folders = ("csrc", "mathkernels", "python_tests", "benchmarks", "examples", "scripts")
    for folder in folders:
        for path in sources(ROOT / folder, "*.py", *CPP):
            lines = len(path.read_text().splitlines())
            assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines"
