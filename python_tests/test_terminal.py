"""A run ends alike whatever its terminal can show: encodings, closed pipes, Ctrl-C, locales of its files."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

for library in ("matplotlib", "scipy", "tqdm"):
    pytest.importorskip(library)

ROOT = Path(__file__).parents[1]
TRAINERS = sorted((ROOT / "examples").glob("train_*.py"))
NALM, TWO_LAYERS = ROOT / "examples" / "train_nalm.py", ROOT / "examples" / "train_two_layers.py"
SMALL = ["--module", "NMU", "--range", "U[1,2]", "--seeds", "1", "--iterations", "300", "--threads", "1"]
ENCODINGS = ("latin-1", "ascii", "cp1252", "utf-8")
# a locale without UTF-8, which Python would otherwise put right by itself
BARE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def start(*command, environment=None, **how):
    paths = os.pathsep.join(filter(None, sys.path))
    inherited = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **(environment or {})}
    how = {"capture_output": True, "cwd": "/", **how}
    return subprocess.run([sys.executable, *map(str, command)], env=inherited, **how)


COMMANDS = {
    "study": (NALM, *SMALL),
    "list": (NALM, "--list"),
    "two layers": (TWO_LAYERS, "--smoke", "--models", "NMU"),
    "thresholds": ("-m", "mathkernels.studies.arithmetic.thresholds", "generate_exp_setups"),
}


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        *(("list", encoding) for encoding in ENCODINGS),  # what is quickest, in all; the others in one
        *((name, "ascii") for name in COMMANDS if name != "list"),
    ],
)
def test_a_run_succeeds_whatever_its_terminal_can_print(tmp_path, name, encoding):
    out = [] if name == "list" else ["--out", tmp_path / "out"]
    done = start(*COMMANDS[name], *out, environment={"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, b"")
    printed = done.stdout.decode(encoding)
    assert ("→" if encoding == "utf-8" else "->") in printed
    assert "?" not in printed


def test_files_are_utf_8_in_any_locale(tmp_path):
    written = []
    for name, environment in (("bare", BARE), ("utf-8", {"PYTHONUTF8": "1"})):
        folder = tmp_path / name
        done = start(TWO_LAYERS, "--smoke", "--models", "NMU", "--out", folder, environment=environment)
        assert (done.returncode, done.stderr) == (0, b"")
        written.append(
            {path: (folder / path).read_bytes() for path in ("table.md", "config.json", "summary.csv")}
        )
    assert written[0] == written[1]
    assert "–" in written[0]["table.md"].decode("utf-8")


def text_files_without_encoding(path):
    """(line, name) of every call in a source that reads or writes text in the encoding of the locale."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or any(word.arg == "encoding" for word in node.keywords):
            continue
        of_object = isinstance(node.func, ast.Attribute)
        name = node.func.attr if of_object else getattr(node.func, "id", "")
        owner = ast.unparse(node.func.value) if of_object else ""
        if name == "read_text" or (name == "write_text" and "folder" not in owner):  # a RunFolder has its own
            yield node.lineno, name
        if name == "open" and owner not in ("os", "tarfile", "image", "gzip"):
            given = [
                *node.args[0 if of_object else 1 :][:1],
                *(w.value for w in node.keywords if w.arg == "mode"),
            ]
            if "b" not in (ast.literal_eval(given[0]) if given else "r"):
                yield node.lineno, name


def test_no_source_leaves_the_encoding_of_a_file_to_the_locale():
    sources = [
        p
        for folder in ("mathkernels", "examples", "scripts", "benchmarks")
        for p in (ROOT / folder).rglob("*.py")
    ]
    assert len(sources) > 100
    found = [
        (str(path.relative_to(ROOT)), *each) for path in sources for each in text_files_without_encoding(path)
    ]
    assert not found


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_pipe_does_not_stop_a_run(tmp_path, stream):
    reader, writer = os.pipe()
    os.close(reader)
    other = {"stdout": "stderr", "stderr": "stdout"}[stream]
    line = "--layer-type NMRU --operation div --no-cuda --max-iterations 300"  # prints before it trains
    with os.fdopen(writer) as pipe:
        how = {"capture_output": False, stream: pipe, other: subprocess.PIPE}
        done = start(NALM, "--original", line, "--threads", "1", "--out", tmp_path, **how)
    assert done.returncode == 0
    assert (tmp_path / "summary.csv").exists()
    assert stream == "stderr" or done.stderr == b""


def test_a_run_without_any_output_succeeds(tmp_path):
    command = [sys.executable, str(NALM), *SMALL, "--out", str(tmp_path)]
    done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *command])
    assert done.returncode == 0
    assert (tmp_path / "summary.csv").exists()


INTERRUPT = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)\n"


@pytest.mark.parametrize(
    ("trainer", "library"),
    [*((trainer, "torch") for trainer in TRAINERS), (NALM, "tqdm"), (TWO_LAYERS, "tqdm")],
    ids=lambda part: getattr(part, "stem", part),
)
def test_ctrl_c_during_the_start_is_one_line(tmp_path, trainer, library):
    """Before ``main``, while torch is imported, and in it, while it loads what it draws with."""
    stub = tmp_path / "stubs" / library
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text(INTERRUPT, encoding="utf-8")
    begun = [str(trainer), "--smoke", *(SMALL[:2] if trainer == NALM else [])]
    search = os.pathsep.join([str(stub.parent), *filter(None, sys.path)])
    done = start(*begun, environment={"PYTHONPATH": search}, cwd=tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (130, b"interrupted\n", b"")
    assert not (tmp_path / "runs").exists()


def test_a_caller_who_ignores_ctrl_c_is_respected(tmp_path):
    stub = tmp_path / "stubs" / "tqdm"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text(INTERRUPT.replace("5", "0") + "raise SystemExit(7)\n", encoding="utf-8")
    search = os.pathsep.join([str(stub.parent), *filter(None, sys.path)])
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    done = start(NALM, *SMALL, environment={"PYTHONPATH": search}, cwd=tmp_path, **ignore)
    assert (done.returncode, done.stderr) == (7, b"")
