"""``python -m mathkernels.ensemble.custom``: make a library of one header.

``new my_module.h`` writes a header to start from; ``build my_module.h --out my_module.so`` calls the C++
compiler once. docs/own_module.md is the guide.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mathkernels.ensemble.custom.compiler import build, template
from mathkernels.ensemble.custom.library import read


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mathkernels.ensemble.custom", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="write a header to start from")
    new.add_argument("header")
    made = commands.add_parser("build", help="compile a header into a library")
    made.add_argument("header")
    made.add_argument("--out", help="the library; beside the header if it is not given")
    made.add_argument("--isa", help="instruction set; the one in use if it is not given")
    return parser.parse_args()


def main() -> int:
    """Run one command of this module; return the exit status."""
    asked = _arguments()
    try:
        if asked.command == "new":
            with Path(asked.header).open("x", encoding="utf-8") as file:
                file.write(template())
            print(f"wrote {asked.header}")
        else:
            target = build(asked.header, asked.out, isa=asked.isa)
            print(f"built {target} for {read(target).isa}")
    except (ValueError, FileExistsError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
