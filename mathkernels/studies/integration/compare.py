"""Runs side by side: what each trained on and how, its best epoch, answers to problems of each generator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mathkernels.experiment.run_folder import RunFolder
from mathkernels.studies.integration import published
from mathkernels.studies.integration.config import REPLICA
from mathkernels.studies.integration.plan import SCORE_COLUMNS
from mathkernels.studies.integration.report import HISTORY, SCORES, markdown, share
from mathkernels.studies.integration.training import COLUMNS

TESTS = ("bwd", "fwd", "ibp")
SAID = {  # of a key that has the published value
    "output_activation": "tanh logits",
    "masked_loss": "loss over padding too",
    "shuffle": "unshuffled",
    "encoder_state": "decoder from 0",
}


def table(paths: Sequence[Path]) -> str:
    """Return a row for each trial of each run that has ended, as Markdown.

    Raises:
        ValueError: a folder holds no such run, or one that has not ended.
    """
    rows = [row for path in paths for row in _rows(path)]
    most = max(row["beams"] for row in rows)
    head = ["run", "trial", "trained on", "model", "seed", "epochs (best)", "val. loss", "token accuracy"]
    head += ["exact match", *(f"{test} right, beam {most}" for test in TESTS)]
    lines = [head, ["---"] * len(head)]
    lines += [[*row["cells"], *(row["right"].get(test, "") for test in TESTS)] for row in rows]
    for method, theirs in published.CROSS.items():
        if any(row["method"] == method for row in rows):
            shares = dict(zip(("fwd", "bwd", "ibp"), theirs, strict=True))
            cells = ["published", "transformer, beam 10", method, *[""] * (len(head) - len(TESTS) - 3)]
            lines.append([*cells, *(f"{shares[test] / 100:.3f}" for test in TESTS)])
    return markdown(lines)


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_dir():
        raise ValueError(f"--compare: there is no folder '{path}'")
    folder = RunFolder(path)
    config = folder.read("config.json")
    if config is None or "model_params" not in config:
        raise ValueError(f"--compare: '{path}' holds no run of this trainer")
    history = folder.read_csv(HISTORY, [*COLUMNS])
    scores = folder.read_csv(SCORES, [*SCORE_COLUMNS])
    found = []
    for trial in dict.fromkeys(row["trial"] for row in history):
        own = [row for row in history if row["trial"] == trial]
        best = min(own, key=lambda row: float(row["val_loss"] or "inf"))
        most = max(config["beams"])
        right = {
            row["test"]: share(int(row["right"]), int(row["undecided"]), int(row["problems"]))
            for row in scores
            if (row["trial"], row["beams"], row["legal"]) == (trial, str(most), "1")
        }
        cells = [path.name, trial, config["method"], _kind(config), str(config["seed"])]
        cells += [f"{own[-1]['epoch']} ({best['epoch']})", f"{float(best['val_loss'] or 'nan'):.3f}"]
        cells += [f"{float(best[name]):.3f}" for name in ("val_token_accuracy", "val_exact_match")]
        found.append({"cells": cells, "right": right, "beams": most, "method": config["method"]})
    return found


def _kind(config: dict[str, Any]) -> str:
    """How far a run is the published one."""
    alike = [said for name, said in SAID.items() if config[name] == REPLICA[name]]
    if not alike:
        return "repaired"
    return "replica" if len(alike) == len(REPLICA) else f"repaired but {', '.join(alike)}"
