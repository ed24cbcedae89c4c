"""What is trained in one call, and what each trial leaves when it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mathkernels.data import ranges
from mathkernels.data.symbolic import infix, prefix
from mathkernels.experiment import tensor_files
from mathkernels.experiment.schedule import NEVER
from mathkernels.experiment.training import Training
from mathkernels.studies.integration import answers, batches, weights
from mathkernels.studies.integration.answers import Judged
from mathkernels.studies.integration.batches import Parts
from mathkernels.studies.integration.config import Config
from mathkernels.studies.integration.model import Integrator, build, parameters
from mathkernels.studies.integration.training import COLUMNS, CPU, training
from mathkernels.studies.integration.verification import Verifier

LAYERS = {False: "mathkernels", True: "torch.nn"}  # by --stock
SCORE_COLUMNS = {
    "trial": str,
    "test": str,
    **dict.fromkeys(("beams", "legal", "problems", "right", "undecided", "first_right"), int),
    **dict.fromkeys(("first_undecided", "invalid", "outputs", "first_invalid", "exact"), int),
}
SAMPLE_COLUMNS = dict.fromkeys(("trial", "test", "problem", "known", "answer", "verdict"), str)
SAMPLED = 40  # problems of each test set
TABLES = {"rows": COLUMNS, "scores": SCORE_COLUMNS, "samples": SAMPLE_COLUMNS}  # what a trial leaves


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Args:
        config: of everything.
        parts: read from its folders.
        trials: names of those that are trained, in this order.
        stock: whether torch's layers are trained.
        device: where.
    """

    config: Config
    parts: Parts
    trials: tuple[str, ...]
    stock: bool = False
    device: torch.device = CPU
    verifier: Verifier = field(default_factory=Verifier)

    def describe(self) -> dict[str, Any]:
        """What decides the result, as JSON values."""
        tests = {name: len(part) for name, part in self.parts.tests.items()}
        held = {"train": len(self.parts.train), "valid": len(self.parts.valid), **tests}
        return {
            **self.config.described(),
            "trials": list(self.trials),
            "layers": LAYERS[self.stock],
            "pairs": held,
        }

    def makers(self) -> list[Callable[[], Training]]:
        """What makes the training of each trial."""
        return [
            partial(training, name, self.config, self.parts, self.stock, self.device) for name in self.trials
        ]

    def summary(self) -> str:
        """What is trained on what, for before the training."""
        tests = ", ".join(f"{len(part):,} {name}" for name, part in self.parts.tests.items())
        bad = f", {self.parts.bad:,} bad lines left out" if self.parts.bad else ""
        seen = [f"{count:,} {name}" for name, count in self.parts.seen.items() if count]
        lines = [
            f"{len(self.parts.train):,} pairs train, {len(self.parts.valid):,} validate, test: {tests}{bad}"
        ]
        if seen:
            lines.append(f"left out because their problems train: {', '.join(seen)}")
        for name in self.trials:
            trial = self.config.model_params[name]
            count = parameters(build(trial, self.config))
            kind = "GRU" if trial.is_gru else "LSTM"
            lines.append(
                f"{name}: {kind} of {trial.num_units} units, {trial.num_heads} heads, {count:,} parameters,"
                f" {trial.optimizer}, at most {trial.epoch} epochs"
            )
        return "\n".join(lines)

    def finish(self, folder: Path, name: str, run: Training) -> dict[str, Any]:
        """Write a trial's best weights, let them solve the test problems, and return all as JSON values.

        One that has diverged before it had any leaves its rows alone.
        """
        (record,) = run.records
        if record.best_epoch == NEVER:
            (folder / weights.name_of(name)).unlink(missing_ok=True)
            return {"rows": record.rows, "scores": [], "samples": []}
        best = tensor_files.row_of(run.best, 0)
        row = next(one for one in record.rows if one["epoch"] == record.best_epoch)
        problems = [file.problems for file in self.parts.train.files]
        facts = {
            "config": self.config.described(),
            "trial": name,
            "seen": weights.seen_words(np.concatenate([np.unique(side.ids) for side in problems])),
            "words": int(max(side.lengths.max() for side in problems)),
            "epoch": row["epoch"],
            "val_loss": float(row["val_loss"]),
        }
        weights.save(folder / weights.name_of(name), best, facts)
        model = build(self.config.model_params[name], self.config)
        model.load_state_dict(best)
        scores, samples = self._tested(name, model)
        return {"rows": record.rows, "scores": scores, "samples": samples}

    def _tested(self, name: str, model: Integrator) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Scores by test set and way of decoding, and samples: of what trained, every way; of others, the
        most beams by the grammar."""
        scores, samples = [], []
        for test, part in self.parts.tests.items():
            rows = batches.picked(part, self.config.test_most, self.config.seed)
            asked = batches.problems(part, rows)
            every = [(beams, legal) for beams in self.config.beams for legal in (False, True)]
            ways = every if test in self.config.methods else [(max(self.config.beams), True)]
            judged: list[Judged] = []
            for beams, legal in ways:
                score, judged = answers.solve(
                    model, asked, self.verifier, beams=beams, most=self.config.max_length, legal=legal
                )
                scores.append({"trial": name, "test": test, **score.row()})
            for (_, known), one in list(zip(asked, judged, strict=True))[:SAMPLED]:
                samples.append({"trial": name, "test": test, **_sample(known, one)})
        return scores, samples


def _sample(known: list[str], judged: Judged) -> dict[str, str]:
    best = judged.best
    shown = "" if best is None else " ".join(best.words) if best.tree is None else infix.write(best.tree)
    own = {"problem": infix.write(judged.problem), "known": infix.write(prefix.tree(known))}
    return {**own, "answer": shown, "verdict": judged.verdict.value}


def check_finished(plan: Plan, finished: list[Any]) -> None:
    """Refuse what a file says of trials that are over if no run of this plan leaves it."""
    ranges.whole("finished, how many", len(finished), 0, len(plan.trials))
    for index, (held, name) in enumerate(zip(finished, plan.trials, strict=False)):
        key = f"finished[{index}]"
        if not isinstance(held, dict) or held.keys() != TABLES.keys():
            raise ValueError(f"{key}: got {ranges.shown(held)}, needs {', '.join(TABLES)}")
        for table, columns in TABLES.items():
            found = tensor_files.rows(held[table], f"{key}.{table}", columns)
            if any(row["trial"] != name for row in found) or (table == "rows" and not found):
                raise ValueError(f"{key}.{table}: needs rows of {name}")
        for row in held["scores"]:
            own = {column: row[column] for column, kind in SCORE_COLUMNS.items() if kind is int}
            for column, value in own.items():
                ranges.whole(f"{key}.scores: {column}", value, 0, ranges.MOST)


def joined(finished: list[Mapping[str, Any]], table: str) -> list[dict[str, Any]]:
    """The rows of all trials that are over."""
    return [row for one in finished for row in one[table]]
