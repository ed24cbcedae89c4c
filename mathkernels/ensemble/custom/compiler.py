"""Calls the C++ compiler for a library of one header."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from mathkernels import _C, backends

# installed beside the compiled module, with the flags of its build
HEADERS = Path(_C.__file__).parent / "csrc"


def template() -> str:
    """Return a header that works, to start from."""
    return (HEADERS / "custom" / "template.h").read_text(encoding="utf-8")


def flags(isa: str) -> list[str]:
    """Return the compiler's flags of an instruction set, those that mathkernels itself was built with."""
    lines = (line.split() for line in (HEADERS / "flags.txt").read_text(encoding="utf-8").splitlines())
    return {name: given for name, *given in lines}[isa]


def build(
    header: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    isa: str | None = None,
    compiler: str | None = None,
) -> Path:
    """Compile a header that defines ``Custom`` into a shared library.

    Args:
        header: its path.
        out: of the library; None puts it beside the header, with the suffix ".so". An old one is replaced.
        isa: instruction set; None takes the one in use.
        compiler: command of a C++17 compiler; None takes the environment's CXX, or "c++".
            GCC 12 was tried.

    Returns:
        The path of the library.

    Raises:
        ValueError: the header, the instruction set or the compiler is not there, or the header does not
            compile; the message then holds what the compiler says.
    """
    source, target = Path(header), Path(header).with_suffix(".so") if out is None else Path(out)
    name, isa = source.stem, backends.current() if isa is None else isa
    if not source.is_file():
        raise ValueError(
            f"header: got {str(header)!r}, needs a file; `new {header}` writes one to start from"
        )
    if isa not in backends.built():
        raise ValueError(f"isa: got {isa!r}, needs one of {', '.join(backends.built())}")
    if not target.absolute().parent.is_dir():
        raise ValueError(f"out: got {str(target)!r}, needs a path in an existing folder")
    if len(name.encode()) > 63:
        raise ValueError(f"header: got {source.name!r}, needs a name of at most 63 bytes")
    names = [f"-DMK_MODULE_VERSION={_quoted(_C.version)}", f"-DMK_MODULE_NAME={_quoted(name)}"]
    given = [*flags(isa), *names, f"-I{HEADERS}", "-include", str(source.absolute()), "-shared"]
    with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".build-") as folder:
        made = Path(folder) / target.name
        whole = [*shlex.split(compiler or os.environ.get("CXX") or "c++"), *given]
        whole += [str(HEADERS / "custom" / "module.cpp"), "-o", str(made)]
        try:
            done = subprocess.run(whole, capture_output=True, encoding="utf-8", errors="replace")
        except OSError as error:
            what = f"compiler: {whole[0]!r} does not start ({error}); install one or set CXX"
            raise ValueError(what) from error
        if done.returncode != 0:
            raise ValueError(f"header: {source} does not compile with {whole[0]}:\n{done.stderr.strip()}")
        if done.stderr:
            print(done.stderr.strip(), file=sys.stderr)
        os.replace(made, target)
    return target


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
