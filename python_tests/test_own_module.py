"""docs/own_module.md does what it says, and a module made of one header is a module like any other."""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mathkernels import backends
from mathkernels.ensemble import (
    NAU,
    NMU,
    Adam,
    Custom,
    CustomTensor,
    Normal,
    Ramp,
    Run,
    Stack,
    Task,
    Uniform,
    custom,
    evaluate,
    fit,
)
from mathkernels.reference import random

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```", (ROOT / "docs/own_module.md").read_text(), re.DOTALL | re.MULTILINE
)
HEADER = next(text for kind, text in BLOCKS if kind == "cpp")
TENSORS = (
    CustomTensor(name="u", initial="xavier-constrained", penalty="ternary", strength=1.0, clamp=(-1.0, 1.0)),
    CustomTensor(name="v", initial=Uniform(0.25, 0.75), penalty="unit", strength=1.0, clamp=(0.0, 1.0)),
)
OWN_NMU = '#include "cells/nmu.h"\nnamespace mk::MK_ISA {\nusing Custom = Nmu;\n}\n'
NMU_WEIGHT = CustomTensor(
    name="weight", initial=Uniform(0.25, 0.75), penalty="unit", strength=10.0, clamp=(0.0, 1.0)
)
TASK = Task(operation="div", interpolation="U[1,2]", extrapolation="U[2,6]")


def built(folder, name, text, **options):
    (folder / f"{name}.h").write_text(text)
    return custom.build(folder / f"{name}.h", **options)


@pytest.fixture(scope="module")
def library(once):
    (found,) = once("quotient", lambda folder: built(folder, "quotient", HEADER)).glob("*.so")
    return found


@pytest.fixture
def quotient(library):
    return Custom(library=library, tensors=TENSORS, epsilon=1e-6)


def run(module, **options):
    return Run(
        **{"module": module, "task": TASK, "seed": 0, "iterations": 100, "evaluate_every": 50, **options}
    )


def test_the_guide_does_what_it_says(tmp_path):
    """Its header is compiled by its command, its Python is run, and both print what is shown."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment["MATHKERNELS_ISA"] = backends.current()
    (tmp_path / "quotient.h").write_text(HEADER)
    command = next(text for kind, text in BLOCKS if kind == "sh").strip()
    python = "\n".join(text for kind, text in BLOCKS if kind == "python")
    said, *shown = [text for (before, _), (kind, text) in itertools.pairwise(BLOCKS) if kind == "text"]
    for arguments, expected in (
        (shlex.split(command)[1:], said.replace("v4", backends.current())),
        (["-c", python], "".join(shown)),
    ):
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == expected
        assert done.stderr == ""


def plain_loop(seed, iterations, lr, ramp):
    """The quotient trained in plain torch, by nothing of this library but its random numbers."""
    source = torch.Generator().manual_seed(seed)
    for _ in range(2):  # published scripts initialise twice
        u = torch.empty(2).uniform_(-0.5, 0.5, generator=source)
        v = torch.empty(2).uniform_(0.25, 0.75, generator=source)
    u, v = u.double().requires_grad_(), v.double().requires_grad_()
    optimizer = torch.optim.Adam([u, v], lr=lr)
    for t in range(iterations + 1):
        drawn = random.uniforms(seed, t, 128, 2, [(1.0, 2.0)] * 2, np.float64, "hash")
        x = torch.from_numpy(drawn)
        first, *second = TASK.subsets(seed)
        target = x[:, list(first)].sum(1) / x[:, list(second[0])].sum(1)
        loss = ((x @ u / (1e-6 + x @ v)) - target).square().mean()
        to_unit = torch.minimum(v.abs(), (1 - v).abs()).mean()
        to_ternary = torch.minimum(u.abs(), (1 - u.abs()).abs()).mean()
        optimizer.zero_grad()
        (loss + ramp.at(t) * (to_unit + to_ternary)).backward()
        optimizer.step()
        with torch.no_grad():
            u.clamp_(-1, 1)
            v.clamp_(0, 1)
    return u.detach().numpy(), v.detach().numpy()


def test_100_iterations_equal_a_plain_torch_loop(quotient):
    ramp = Ramp(start=20, end=60)
    found = fit([run(quotient, optimizer=Adam(lr=0.01), ramp=ramp)], dtype="float64").weights(0)
    # a gradient, a sum over 128 samples, rounds by 1e-14 of its size, a step of 0.01 by 1e-16, 100 by 1e-14;
    # a hundredfold is left for gradients that nearly cancel
    for name, right in zip("uv", plain_loop(0, 100, 0.01, ramp), strict=True):
        np.testing.assert_allclose(found[name], right, rtol=0, atol=1e-12)


def test_the_librarys_own_cell_compiled_apart_trains_the_same_bits(tmp_path):
    """An NMU from its header, beside the NMU of the library: alone, in a stack, evaluated."""
    own = Custom(library=built(tmp_path, "own_nmu", OWN_NMU), tensors=(NMU_WEIGHT,))
    task = Task(operation="mul", interpolation="U[1,2]", extrapolation="U[2,6]")
    for dtype in ("float32", "float64"):
        for wrap in (
            lambda unit: unit,
            lambda unit: Stack(first=NAU(), second=unit),
            lambda unit: Stack(first=unit, second=unit, hidden=3),
        ):
            runs = [run(wrap(unit), task=task, seed=seed) for unit in (own, NMU()) for seed in range(3)]
            results = fit(runs, dtype=dtype)
            again = evaluate(runs, [results.weights(i) for i in range(6)], dtype=dtype)
            for i in range(3):
                for name, values in results.weights(i).items():
                    assert np.array_equal(values, results.weights(i + 3)[name])
                assert np.array_equal(results.records[i].rows, results.records[i + 3].rows)
                assert again.test[i] == again.test[i + 3]


def test_the_header_to_start_from_compiles_and_its_gradients_are_right(tmp_path):
    module = Custom(
        library=built(tmp_path, "start", custom.template()),
        tensors=(CustomTensor(name="w", initial=Normal(0.0, 1.0)),),
    )
    custom.check(module, inputs=4)
    custom.check(module, inputs=1, formula=lambda x, w: (x @ w).square())


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("db = -(da * s[0])", "db = da * s[0]", r"check: d/dv\[\d\] is .* by backward and finish, "),
        (
            "dx[i] = fma(da, u[i], db * v[i])",
            "dx[i] = da * u[i]",
            r"check: dx of input \d is .* by backward, ",
        ),
        ("g[i] = fma(da, x[i], g[i])", "g[i] = da * x[i]", r"check: d/du\[\d\] is "),
        (
            "saved(int) { return 2; }",
            "saved(int) { return 1; }",
            r"beyond the end of saved\(n\) for 3 inputs",
        ),
    ],
)
def test_a_wrong_derivative_or_count_is_found(tmp_path, right, wrong, message):
    assert right in HEADER
    module = Custom(
        library=built(tmp_path, "wrong", HEADER.replace(right, wrong)), tensors=TENSORS, epsilon=1e-6
    )
    with pytest.raises(ValueError, match=message):
        custom.check(module, inputs=3, interval=(1.0, 2.0))


def test_another_formula_than_the_compiled_one_is_found(quotient):
    with pytest.raises(ValueError, match=r"check: z of sample \d+ is .* by forward, .* by the formula"):
        custom.check(quotient, interval=(1.0, 2.0), formula=lambda x, u, v: (x @ u) / (1 + x @ v))


def test_tensors_that_do_not_fit_the_header_are_refused(quotient):
    u, v = TENSORS
    for tensors, message in (
        ((u,), r"Custom\.tensors: their number: got 1, needs 2, the groups of quotient\.so for 2 inputs"),
        ((u, replace(v, fixed=1)), r"Custom\.tensors: got \[2, 3\], needs columns that add up to 4"),
        (
            (replace(u, fixed=1), replace(v, per_input=0, fixed=1)),
            r"group\(n, k\) of quotient\.so .* \[0, 0, 0, 1\]",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            fit([run(replace(quotient, tensors=tensors))])


@pytest.mark.parametrize(
    ("field", "wrong", "needs"),
    [
        ("name", "a b", "a name of letters"),
        ("per_input", -1, "an integer of at least 0"),
        ("fixed", 0.5, "an integer of at least 0"),
        ("initial", "glorot", "one of 'xavier'"),
        ("initial", (0.0, 1.0), r"a number, Uniform\(low, high\)"),
        ("penalty", "l2", "one of 'none'"),
        ("strength", -1.0, "a finite number of at least 0"),
        ("clamp", (1.0, 0.0), r"a tuple \(low, high\) or None"),
    ],
)
def test_a_wrong_field_of_a_tensor_is_refused(field, wrong, needs):
    with pytest.raises(ValueError, match=rf"CustomTensor\.{field}: got .*, needs {needs}"):
        replace(TENSORS[0], **{field: wrong})


def test_wrong_fields_of_a_description_are_refused(library):
    for fields, message in (
        ({"tensors": ()}, r"Custom\.tensors: got \(\), needs a tuple of 1 to 6"),
        ({"tensors": (TENSORS[0],) * 2}, r"Custom\.tensors: got \['u', 'u'\], needs names that differ"),
        ({"epsilon": -1.0}, r"Custom\.epsilon: got -1\.0"),
        ({"library": 3}, r"Custom\.library: got 3, needs the path"),
    ):
        with pytest.raises(ValueError, match=message):
            Custom(**{"library": library, "tensors": TENSORS, **fields})


def test_files_that_are_no_library_of_this_version_are_refused(library, tmp_path):
    content = library.read_bytes()
    other = content.replace(b"mathkernels: a module in one file\0", b"mathkernels: a module of one file\0")
    at = content.index(b"mathkernels: a module in one file\0") + 40
    newer = content[:at] + (2**40).to_bytes(8, "little") + content[at + 8 :]
    for name, given, message in (
        ("absent.so", None, r"needs a file; make it with"),
        ("other.so", other, r"other\.so', needs a file made by"),
        ("newer.so", newer, r"was built for mathkernels .* \(interface 1099511627776, .*; build it again"),
    ):
        if given is not None:
            (tmp_path / name).write_bytes(given)
        with pytest.raises(ValueError, match=message):
            Custom(library=tmp_path / name, tensors=TENSORS)


def test_a_library_of_another_instruction_set_is_refused(library, quotient):
    others = [name for name in backends.available() if name != backends.current()]
    if not others:
        pytest.skip("this machine has one instruction set")
    backends.force(others[0])
    with pytest.raises(
        ValueError, match=rf"needs {others[0]}, the instruction set in use; build it with --isa"
    ):
        fit([run(quotient)])
    with pytest.raises(ValueError, match="isa: got 'v9', needs one of"):
        custom.build(library.with_suffix(".h"), isa="v9")


def test_a_header_that_does_not_compile_shows_what_the_compiler_says(tmp_path):
    with pytest.raises(ValueError, match=r"(?s)header: .*does not compile with c\+\+.*error: .*Custom"):
        built(tmp_path, "empty", '#include "cells/cell.h"\n', compiler="c++")
    assert not list(tmp_path.glob("*.so"))
    with pytest.raises(ValueError, match="compiler: 'no-such-compiler' does not start"):
        built(tmp_path, "empty", "", compiler="no-such-compiler")
    with pytest.raises(ValueError, match=r"header: got .*absent\.h'"):
        custom.build(tmp_path / "absent.h")


def test_a_checkpoint_knows_the_library_by_its_content(library, quotient, tmp_path):
    file = tmp_path / "checkpoint"
    first = fit([run(quotient)], checkpoint=file)
    moved = shutil.copy(library, tmp_path / "moved.so")
    again = fit([run(Custom(library=moved, tensors=TENSORS, epsilon=1e-6))], checkpoint=file)
    assert np.array_equal(first.weights(0)["u"], again.weights(0)["u"])
    assert again.seconds >= first.seconds
    other = tmp_path / "other.so"
    other.write_bytes(library.read_bytes() + b" ")  # other content, the same code
    with pytest.raises(ValueError, match=r"runs\[0\]\.module\.digest is '.*' in the checkpoint and "):
        fit([run(Custom(library=other, tensors=TENSORS, epsilon=1e-6))], checkpoint=file)


def test_a_library_built_anew_is_not_mistaken_for_the_one_in_memory(library, tmp_path):
    path = tmp_path / "twice.so"
    shutil.copy(library, path)
    before = Custom(library=path, tensors=TENSORS, epsilon=1e-6)
    fit([run(before, iterations=1)])
    path.unlink()
    path.write_bytes(library.read_bytes() + b" ")
    with pytest.raises(
        ValueError, match=r"was built anew after this process had loaded it; start Python anew"
    ):
        fit([run(Custom(library=path, tensors=TENSORS, epsilon=1e-6))])


def test_stacks_of_other_units_have_other_descriptions(tmp_path):
    """A checkpoint of NAU before NMU is not one of NMU before NAU, though their fields are equal."""
    file = tmp_path / "checkpoint"
    fit([run(Stack(first=NAU(), second=NMU()))], checkpoint=file)
    with pytest.raises(
        ValueError, match=r"runs\[0\]\.module\.first\.name is 'NAU' in the checkpoint and 'NMU' now"
    ):
        fit([run(Stack(first=NMU(), second=NAU()))], checkpoint=file)
