"""How a script meets its terminal: what it cannot show is replaced, closed pipes and Ctrl-C end it well."""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TextIO

_SIGNS = {
    "→": "->",
    "–": "-",
    "—": "-",
    "…": "...",
    "·": ".",
    "×": "x",
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
    "²": "^2",
    "√": "sqrt",
    "µ": "u",
    "μ": "u",
    "σ": "sigma",
    "λ": "lambda",
    "†": "+",
    "°": " deg",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "\u00a0": " ",
    "█": "#",
}
_REPLACED = "mathkernels.replaced"  # a way of Python's to handle what an encoding does not have


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_SIGNS.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


codecs.register_error(_REPLACED, _replace)


class _Pipe(io.FileIO):
    """A file that drops what a pipe's reader no longer wants: ``script | head`` must not stop the script."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def _safe(stream: TextIO | None) -> TextIO | None:
    """Return a stream on the same file that takes any text and outlives its reader."""
    if stream is None:  # closed by whoever started the script
        return open(os.devnull, "w", encoding="utf-8")
    buffer = getattr(stream, "buffer", None)
    if not isinstance(stream, io.TextIOWrapper) or type(getattr(buffer, "raw", buffer)) is not io.FileIO:
        return stream  # not the process's own: a test's or a notebook's, or a console of Windows
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Pipe(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=_REPLACED,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def run_script(main: Callable[[], int | None]) -> int | None:
    """Call the ``main`` of a script and return its exit status.

    A sign that the terminal's encoding lacks is written in ASCII, a pipe may be closed by its reader, and
    Ctrl-C is one line and status 130. A handler of Ctrl-C that the script itself has set for the time of its
    imports ends here; anybody else's stays.
    """
    if getattr(signal.getsignal(signal.SIGINT), "__globals__", None) is getattr(main, "__globals__", main):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout, sys.stderr = _safe(sys.stdout), _safe(sys.stderr)
    try:
        return main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
