"""The NALM trainer from its command line to its files, and the parts that it is made of."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
import math
import signal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")
pytest.importorskip("tqdm")

from mathkernels.ensemble.describe import NRU, SGD, Norm, Ramp, RealNPU
from mathkernels.experiment import plots
from mathkernels.experiment.optional import MissingLibraryError, load
from mathkernels.experiment.run_folder import RunFolder, replacing
from mathkernels.studies.arithmetic import campaign, panels
from mathkernels.studies.arithmetic import tables as report
from mathkernels.studies.division import catalogue, figures
from mathkernels.studies.division.published import ANCHORS, NOTES

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "train_nalm.py"
OUTPUTS = {"config.json", "status.json", "runs.csv", "curves.csv", "summary.csv", "figure.png", "figure.pdf"}


@pytest.fixture(scope="module")
def trainer():
    spec = importlib.util.spec_from_file_location("train_nalm", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# studies


def test_descriptions_differ_where_configurations_differ():
    study = figures.find_figure("3")
    changed = [
        dataclasses.replace(study, threshold=1e-6),
        study.resized(1000),
        study.with_ramp(1, 2),
        dataclasses.replace(study, variants=study.variants[:3]),
        dataclasses.replace(study, datasets=figures.find_datasets(["U[1,2]"])),
        dataclasses.replace(study, variants=(dataclasses.replace(study.variants[0], clip_value=1.0),)),
    ]
    assert all(other.describe() != study.describe() for other in changed)


def test_schedules_keep_their_proportion_in_a_resized_study():
    study = figures.find_figure("3").resized(5_000)
    assert study.variants[1].ramp == Ramp(start=4_000, end=5_000)
    assert study.variants[2].ramp == Ramp(start=2_000, end=3_500)
    module = study.variants[0].module
    assert isinstance(module, RealNPU)
    assert module.norm == Norm(every=1_000)
    assert figures.find_figure("3").resized(50_000) == figures.find_figure("3")


def test_a_single_study_takes_the_papers_configuration_and_the_asked_changes():
    study = figures.single_study(
        "NRU", ranges=["U[1,2)", "U[-2,2]"], inputs=10, options=["penalty=1"], optimizer="sgd", clip_norm=2.0
    )
    (variant,) = study.variants
    assert (variant.module, variant.optimizer, variant.clip_norm) == (NRU(penalty=1), SGD(lr=1e-3), 2.0)
    assert variant.ramp == Ramp(start=50_000, end=75_000)
    assert (list(study.datasets), study.iterations) == (["U[1,2]", "U[-2,2]"], 100_000)
    assert figures.find_variant("NMRU", 2, clip_norm=0).clip_norm is None
    assert figures.single_study("NMU", ranges=["all"]).operation == "mul"
    assert str(figures.find_datasets(["U[3,4]"], "U[5,6]")["U[3,4]"][1][0]) == "U[5,6]"


def test_the_published_rates_belong_to_variants_of_their_figures():
    for number, anchors in ANCHORS.items():
        study = catalogue.FIGURES[number]
        assert set(anchors) <= {variant.label for variant in study.variants}, number
    assert set(NOTES) <= set(catalogue.CATALOGUE)


# the report, on results with known answers


class Known:
    """Results where seed 0 fails, and seed s is solved at iteration 1000 s with sparsity s / 1000."""

    seconds, interrupted = 2.0, False

    def __init__(self, members):
        seed = np.array([member.run.seed for member in members])
        self.solved = seed > 0
        self.solved_at = np.where(self.solved, 1000.0 * seed, np.nan)
        self.sparsity = np.float32(seed / 1000)
        self.test = np.where(self.solved, np.float32(1e-12), np.float32(np.nan))
        self.valid = np.full(seed.size, np.float32(1e-5))
        self.best_row = np.where(self.solved, 1, -1)
        self.finished = self.solved
        self.non_finite = seed == 0
        self.non_finite_at = np.where(seed == 0, 1000.0, np.nan)

    def steps(self, i):
        return np.array([0, 1000])

    def curves(self, i):
        return {
            key: np.array([0.5, i], np.float32) for key in ("valid", "test", "sparsity", "loss", "penalty")
        }

    def best_weights(self, i):
        return {"weight": np.array([[1], [-1]], np.float32), "gate": np.array([0.1, 1], np.float32)}


@pytest.fixture
def known():
    study = figures.single_study("RealNPU", ranges=["U[1,2]", "U[-2,2]", "U[-0.2,-0.1]"])
    members = dataclasses.replace(study, seeds=(0, 1, 2, 3)).members()
    return members, Known(members)


def test_the_summary_counts_failures_and_averages_solved_runs(known):
    members, results = known
    summary = report.summary_rows(members, results)
    assert [row["range"] for row in summary] == ["U[1,2]", "U[-2,2]", "U[-0.2,-0.1]"]
    for row in summary:
        assert set(row) == set(report.SUMMARY_COLUMNS)
        assert (row["n"], row["successes"], row["rate"], row["non_finite"]) == (4, 3, 0.75, 1)
        assert row["solved_at"] == pytest.approx(2000)
        # the weights are float32
        assert row["sparsity_sample_mean"] == pytest.approx(0.002, rel=1e-6)
        assert row["sparsity"] == pytest.approx(0.002, rel=1e-2)
        assert row["solved_at_low"] < 2000 < row["solved_at_high"]
    published = report.summary_rows(members, results, published=True)
    assert published[0]["sparsity"] == pytest.approx(0.001, rel=1e-2)


def test_a_study_without_success_has_a_summary_a_table_and_a_figure(known, tmp_path):
    members, results = known
    results.solved = np.zeros(len(members), dtype=bool)
    summary = report.summary_rows(members, results)
    assert all(row["successes"] == 0 and math.isnan(row["solved_at"]) for row in summary)
    assert "0/4" in report.success_table(summary)
    plots.save(panels.panel_figure(summary, "none"), [tmp_path / "none.png"])
    assert (tmp_path / "none.png").read_bytes().startswith(b"\x89PNG")


def test_run_rows_carry_the_published_columns_and_the_learned_weights(known):
    members, results = known
    rows = report.run_rows(members, results, "study")
    columns = report.run_columns(rows)
    assert columns[:6] == [
        "name",
        "metric.valid.interpolation",
        "metric.test.extrapolation",
        "step",
        "wall.time",
        "sparse.error.max",
    ]
    assert columns[-4:] == ["weights.w0", "weights.w1", "gate.g0", "gate.g1"]
    assert rows[0]["step"] == ""
    assert rows[1]["step"] == 1000
    assert rows[1]["name"] == "Real NPU (baseline)_op-div_i-U[1,2]_e-U[2,6]_z-2_b128_s1_lr-adam-0.005"


def test_csv_cells_read_back_exactly_and_nan_is_empty(known, tmp_path):
    members, results = known
    rows = report.run_rows(members, results, "study")
    RunFolder(tmp_path).write_csv("runs.csv", rows, report.run_columns(rows))
    read = list(csv.DictReader((tmp_path / "runs.csv").open()))
    assert len(read) == len(members)
    assert read[0]["metric.test.extrapolation"] == read[0]["solved_at"] == ""
    assert read[1]["metric.test.extrapolation"] == "1e-12"
    assert np.float32(read[1]["gate.g0"]) == np.float32(0.1)
    assert read[1]["solved"] == "1"
    assert [row["non_finite_at"] for row in read[:2]] == ["1000.0", ""]


def test_every_logged_row_is_in_the_curves(known):
    members, results = known
    rows = list(report.curve_rows(members, results))
    assert len(rows) == 2 * len(members)
    assert set(rows[0]) == set(report.CURVE_COLUMNS)
    assert rows[3]["step"] == 1000
    assert rows[3]["loss"] == 1


def test_the_table_totals_over_the_ranges(known):
    members, results = known
    lines = report.success_table(report.summary_rows(members, results)).splitlines()
    assert lines[0].split() == ["range", "Real", "NPU", "(baseline)"]
    assert lines[-3].split() == ["NaN", "or", "infinite", "3/12"]
    assert lines[-2].split() == ["all", "75.0%"]
    assert lines[-1].endswith("46.8–91.1%")  # Wilson 9/12


# the run folder


def test_a_file_that_failed_halfway_leaves_the_old_one(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise RuntimeError("half")

    with pytest.raises(RuntimeError, match="half"):
        fail()
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_a_folder_keeps_what_another_run_computed(tmp_path):
    folder = RunFolder(tmp_path)
    folder.begin({"seeds": 1, "lr": 0.1})
    folder.checkpoint.write_text("half way")
    with pytest.raises(ValueError, match="another run, which differs in lr; --out"):
        folder.begin({"seeds": 1, "lr": 0.2})
    with pytest.raises(ValueError, match="unfinished run; --resume continues it"):
        folder.begin({"seeds": 1, "lr": 0.1})
    with pytest.raises(ValueError, match="differs in lr"):
        folder.begin({"seeds": 1, "lr": 0.2}, resume=True)
    folder.begin({"seeds": 1, "lr": 0.1}, resume=True)
    assert folder.checkpoint.read_text() == "half way"


def test_overwriting_drops_the_checkpoint_and_the_outputs_of_another_run(tmp_path):
    folder = RunFolder(tmp_path)
    folder.begin({"lr": 0.1})
    folder.checkpoint.write_text("half way")
    (tmp_path / "runs.csv").write_text("of lr 0.1")
    (tmp_path / "notes.txt").write_text("the user's own")
    folder.begin({"lr": 0.2}, outputs=["runs.csv"], overwrite=True)
    assert {file.name for file in tmp_path.glob("[!.]*")} == {"config.json", "status.json", "notes.txt"}
    assert folder.read("config.json") == {"lr": 0.2}


def test_a_damaged_configuration_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json' is not valid JSON"):
        RunFolder(tmp_path).begin({"lr": 0.1})


def test_a_missing_library_is_named_with_its_remedy():
    with pytest.raises(MissingLibraryError, match=r"no_such_library is needed.*mathkernels\[examples\]"):
        load("no_such_library.part")


# the command line


def test_the_list_names_the_figures(trainer, capsys):
    assert trainer.main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(f"\n{number}: " in f"\n{listed}" for number in catalogue.CATALOGUE)
    assert "options of the modules" in listed


STUDY = ["--module", "NMRU", "--range", "U[1,2]", "--seeds", "2", "--threads", "1"]
SMALL = [*STUDY, "--iterations", "2000"]
LONG = [*STUDY, "--iterations", "200000"]


def test_a_small_study_leaves_a_complete_folder(trainer, tmp_path, capsys):
    assert trainer.main([*SMALL, "--out", str(tmp_path)]) == 0
    assert {file.name for file in tmp_path.iterdir()} >= OUTPUTS
    captured = capsys.readouterr()
    assert "U[1,2]" in captured.out
    assert captured.err == ""  # no progress bar where there is no terminal
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["variants"][0]["module"]["name"] == "NMRU"
    assert config["iterations"] == 2000
    assert json.loads((tmp_path / "status.json").read_text())["status"] == "finished"
    runs = list(csv.DictReader((tmp_path / "runs.csv").open()))
    assert [run["seed"] for run in runs] == ["0", "1"]
    assert all(run["weights.w3"] for run in runs)
    curves = list(csv.DictReader((tmp_path / "curves.csv").open()))
    assert [row["step"] for row in curves] == ["0", "1000", "2000"] * 2
    (summary,) = csv.DictReader((tmp_path / "summary.csv").open())
    assert summary["successes"] == str(sum(int(run["solved"]) for run in runs))


def test_the_same_study_twice_gives_the_same_files(trainer, tmp_path):
    read = []
    for _ in range(2):
        assert trainer.main([*SMALL, "--out", str(tmp_path)]) == 0
        read.append([(tmp_path / name).read_text() for name in ("config.json", "curves.csv", "summary.csv")])
    assert read[0] == read[1]


def test_ctrl_c_saves_what_is_done_and_resuming_ends_as_if_never_interrupted(trainer, tmp_path, monkeypatch):
    fit = campaign.fit
    calls = []

    def interrupted_fit(runs, *, progress, **options):
        def interrupt(state):
            progress(state)
            calls.append(state)
            signal.raise_signal(signal.SIGINT)

        return fit(runs, progress=interrupt, **options)

    assert trainer.main([*LONG, "--out", str(tmp_path / "straight")]) == 0
    monkeypatch.setattr(campaign, "fit", interrupted_fit)
    assert trainer.main([*LONG, "--out", str(tmp_path / "broken")]) == 130
    assert len(calls) == 1
    assert {file.name for file in (tmp_path / "broken").iterdir()} >= OUTPUTS
    assert json.loads((tmp_path / "broken" / "status.json").read_text())["status"] == "interrupted"
    monkeypatch.setattr(campaign, "fit", fit)
    assert trainer.main([*LONG, "--out", str(tmp_path / "broken"), "--resume"]) == 0
    for name in ("config.json", "curves.csv", "summary.csv"):
        assert (tmp_path / "broken" / name).read_text() == (tmp_path / "straight" / name).read_text()


def test_a_damaged_checkpoint_ends_with_one_clear_error_and_stays(trainer, tmp_path, capsys):
    assert trainer.main([*SMALL, "--out", str(tmp_path)]) == 0
    for name in ("checkpoint-NMRU-2", "checkpoint"):
        (tmp_path / name).write_bytes(b"cut off")
        with pytest.raises(SystemExit) as exit:
            trainer.main([*SMALL, "--out", str(tmp_path), "--resume"])
        assert exit.value.code == 2
        assert "checkpoint" in capsys.readouterr().err
        assert (tmp_path / name).read_bytes() == b"cut off"


def test_several_figures_are_one_campaign_with_a_page(trainer, tmp_path, capsys):
    few = ["--range", "U[1,2]", "--iterations", "1000", "--seeds", "1", "--threads", "1"]
    assert trainer.main(["--figure", "3", "10", *few, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "Figure 3: no redundancy" in shown
    assert "NRU-2                  4" in shown  # one run of Figure 10 is Figure 3's
    assert "## Figure 10" in (tmp_path / "report.md").read_text()
    with pytest.raises(SystemExit):
        trainer.main(["--figure", "3", "10", "--seeds", "2", "--out", str(tmp_path)])
    assert "holds another run, which differs in studies" in capsys.readouterr().err


def test_a_sweep_and_a_line_of_the_papers_jobs_are_trained_like_any_study(trainer, tmp_path, capsys):
    few = ["--iterations", "1000", "--seeds", "1", "--threads", "1"]
    sweep = ["--module", "NRU", "--range", "U[1,2]", "--sweep", "lr=1e-3,1"]
    assert trainer.main([*sweep, *few, "--out", str(tmp_path / "sweep")]) == 0
    variants = [row["variant"] for row in csv.DictReader((tmp_path / "sweep" / "summary.csv").open())]
    assert variants == ["lr=1e-3", "lr=1"]
    line = "--operation div --layer-type SignNMRU --no-cuda --learning-rate 1e-2"
    assert trainer.main(["--original", line, *few, "--out", str(tmp_path / "line")]) == 0
    assert "without effect in a net of one layer: --no-cuda" in capsys.readouterr().out
    config = json.loads((tmp_path / "line" / "config.json").read_text())
    assert config["variants"][0]["module"]["sign_retrieval"] is True
