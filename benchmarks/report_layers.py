"""Time the fused layers beside stock torch in one interleaved run, on one thread.

    python benchmarks/report_layers.py [--short] [--rounds 7] [--name layers]

Prints microseconds of forward and backward together (median of the rounds). Writes
benchmarks/results/NAME.json and the printed table as NAME.md, except in short mode.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from typing import Any

import machine
import torch
from layers import IMPLEMENTATIONS, LAYERS, SIZES, assert_equal_answers, seconds
from report import write

from mathkernels.experiment.terminal import run_script


def measure(rounds: int, length: float, short: bool) -> list[dict[str, Any]]:
    """Return one entry for each layer and size with the microseconds of each implementation's rounds."""
    chosen = [which for which in IMPLEMENTATIONS if not (short and which == "stock, compiled")]
    entries = []
    for name in LAYERS:
        for size in SIZES:
            for which in chosen:
                assert_equal_answers(name, which, size)
            repeats = max(3, int(length / (seconds(name, "stock, eager", size, 3) / 3)))
            times: dict[str, list[float]] = {which: [] for which in chosen}
            for _ in range(rounds):
                for which in chosen:
                    times[which].append(seconds(name, which, size, repeats) / repeats * 1e6)
            entries.append(
                {"layer": name, "size": size, "shape": SIZES[size], "repeats": repeats, "us": times}
            )
    return entries


def markdown(entries: list[dict[str, Any]]) -> str:
    """Return the table of median times."""
    chosen = list(entries[0]["us"])
    head = ["layer", "size (E,B,I,O)", *(f"{which}, µs" for which in chosen), "ratio to the best"]
    lines = [head, ["---"] * len(head)]
    for entry in entries:
        medians = [statistics.median(entry["us"][which]) for which in chosen]
        ratio = min(medians[1:]) / medians[0]
        times = [f"{median:.1f}" for median in medians]
        lines.append([entry["layer"], f"{entry['size']} {entry['shape']}", *times, f"{ratio:.2f}x"])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, help="default 7, short 2")
    parser.add_argument(
        "--short", action="store_true", default=os.environ.get("MATHKERNELS_BENCH_SHORT") == "1"
    )
    parser.add_argument("--name", default="layers", help="of the JSON file; default: layers")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    where = machine.fingerprint()
    entries = measure(
        chosen.rounds or (2 if chosen.short else 7), 0.01 if chosen.short else 0.1, chosen.short
    )
    text = markdown(entries)
    print(text)
    if chosen.short:  # no figures to keep
        return
    write(chosen.name, {"machine": where, "timings": entries}, text)


if __name__ == "__main__":
    sys.exit(run_script(main))
