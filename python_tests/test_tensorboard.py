"""TensorBoard folders hold what was trained under the papers' names, and read back as their table."""

import csv
import dataclasses
import math

import numpy as np
import pytest
from ensemble_cases import run, task

from mathkernels.ensemble import NAU, NMRU, NMU, NRU, RealNPU, evaluate, fit
from mathkernels.studies.arithmetic import tables as report
from mathkernels.studies.arithmetic import tensorboard
from mathkernels.studies.arithmetic.study import Member
from mathkernels.studies.arithmetic.tensorboard import LOSS, PENALTY, TEST, TOTAL, VALID

pytest.importorskip("tensorboard", reason="the library tensorboard is not installed")

RUNS = [run(RealNPU.modified(), seed=seed, iterations=130, evaluate_every=40) for seed in (0, 1)]
RUNS += [run(NMRU(), task=task(inputs=3), iterations=90, evaluate_every=40, clip_norm=1.0)]
MEMBERS = [Member("a/b: 50%", "U[1,2]", each) for each in RUNS]


@pytest.fixture(scope="module")
def results():
    return fit(RUNS, threads=1)


@pytest.fixture
def folder(tmp_path, results):
    tensorboard.write_runs(tmp_path / "runs", MEMBERS, results)
    return tmp_path / "runs"


def test_the_table_reads_back_every_logged_row_exactly(tmp_path, folder, results, capsys):
    out = tmp_path / "results.csv"
    assert tensorboard.main([str(folder), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"11 rows → {out}\n"
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:6] == list(tensorboard.COLUMNS)
    for i, (member, curves) in enumerate(zip(MEMBERS, report_curves(results), strict=True)):
        own = [row for row in rows if row["name"] == member.name]
        assert [int(row["step"]) for row in own] == [curve["step"] for curve in curves]
        for row, curve in zip(own, curves, strict=True):
            for column in ("metric.valid.interpolation", "metric.test.extrapolation", "sparse.error.max"):
                assert float(row[column]) == curve[column]
        (selected,) = report.run_rows(MEMBERS[i : i + 1], one_of(results, i), "")
        best = own[int(results.best_row[i])]
        columns = [name for name in selected if name.startswith(("weights.", "gate."))]
        assert len(columns) == (4 if i < 2 else 6)
        for column in (*columns, "metric.test.extrapolation", "step"):
            assert float(best[column]) == float(selected[column])
        assert float(own[-1]["wall.time"]) <= results.seconds + 1e-6  # wall times have microseconds


def report_curves(results):
    rows = list(report.curve_rows(MEMBERS, results))
    ends = np.cumsum([len(results.steps(i)) for i in range(len(MEMBERS))])
    return [rows[end - len(results.steps(i)) : end] for i, end in enumerate(ends)]


def one_of(results, i):
    return type(results)(results.runs[i : i + 1], results.records[i : i + 1], results.seconds, False)


def test_tags_have_the_papers_names(folder, results):
    found, _ = tensorboard.read_run(folder / tensorboard.folder_name(MEMBERS[0].name))
    curves = results.curves(0)
    best = int(results.best_row[0])
    assert set(found[0]) - {
        f"{kind}/{letter}{k}" for kind, letter in (("weights", "w"), ("gate", "g")) for k in (0, 1)
    } == {
        VALID,
        TEST,
        LOSS,
        PENALTY,
        TOTAL,
        "real_npu/W_real/sparsity_error",
    }
    assert found[40][TOTAL] == curves["loss"][1] + curves["penalty"][1]
    assert "weights/w0" in found[best * 40]
    paths = {
        NAU(): "nac",
        NMU(): "nac",
        NRU(): "nru",
        NMRU(): "nmru-sign",
        NMRU(sign_retrieval=False): "nmru",
    }
    paths[NMRU(gated=True)] = "gated-nmru-sign"
    assert {module: tensorboard.layer_path(module) for module in paths} == paths


def test_tensorboard_itself_reads_the_folder(folder, results):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    reader = accumulator.EventAccumulator(str(folder / tensorboard.folder_name(MEMBERS[1].name)))
    reader.Reload()
    assert {VALID, TEST} <= set(reader.Tags()["tensors"])
    assert [each.step for each in reader.Tensors(TEST)] == results.steps(1).tolist()
    assert reader.SummaryMetadata(TEST).plugin_data.plugin_name == "scalars"


def test_a_second_export_takes_the_place_of_the_first(folder, results):
    before = list(tensorboard.table(folder))
    tensorboard.write_runs(folder, MEMBERS, results)
    after = list(tensorboard.table(folder))
    assert [{**row, "wall.time": 0} for row in before] == [{**row, "wall.time": 0} for row in after]


def test_folders_of_torchs_writer_are_read_too(tmp_path):
    """The papers' scripts log float32 values; of a complex layer the two parts count together."""
    from torch.utils.tensorboard import SummaryWriter

    for part, first in (("run", 0), ("run", 2)):  # the second resumes at a step that the first has too
        with SummaryWriter(tmp_path / "grid" / part) as writer:
            for step in range(first, first + 3):
                writer.add_scalar(VALID, 0.1 * step + first, step)
                writer.add_scalar(TEST, math.inf if step else 1e-5, step, new_style=True)
                for tensor, value in (("W_real", 0.25), ("W_im", 0.125), ("gate", 0.5)):
                    writer.add_scalar(f"network/layer_1/npu/{tensor}/sparsity_error", value, step)
                writer.add_scalar("network/layer_2/nac/W/sparsity_error", 0.3, step)
                writer.add_text("note", "no number", step)
    rows = list(tensorboard.table(tmp_path))
    assert {row["name"] for row in rows} == {"grid/run"}
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["metric.valid.interpolation"] for row in rows[:2]] == [0.0, float(np.float32(0.1))]
    assert rows[2]["metric.valid.interpolation"] == float(np.float32(2.2))
    assert {row["sparse.error.max"] for row in rows} == {0.375}
    assert [row["metric.test.extrapolation"] for row in rows] == [float(np.float32(1e-5))] + 4 * [math.inf]


def test_a_run_without_rows_or_with_nan_is_no_number_in_the_table(tmp_path):
    dead = run(NRU(), iterations=0)
    (failed,) = evaluate([dead], [{"weight": np.full(2, np.nan)}]).records
    results = type(fit([dead]))([dead], [failed], 1.0, False)
    tensorboard.write_runs(tmp_path, [Member("dead", "U[1,2]", dead)], results)
    tensorboard.write_table(tmp_path / "out.csv", tensorboard.table(tmp_path))
    with (tmp_path / "out.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["metric.valid.interpolation"] == row["metric.test.extrapolation"] == ""


def test_a_cut_off_file_is_refused_unless_asked(tmp_path, folder, capsys):
    (path,) = folder.glob(tensorboard.folder_name(MEMBERS[0].name).replace("[", "[[]") + "/*")
    whole = path.read_bytes()
    for length in (5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(SystemExit):
            tensorboard.main([str(folder), "--out", str(tmp_path / "out.csv")])
        assert "ends within a record" in capsys.readouterr().err
        assert not (tmp_path / "out.csv").exists()
    with pytest.warns(UserWarning, match="ends within a record"):
        rows = list(tensorboard.table(folder, partial=True))
    assert len([row for row in rows if row["name"] == MEMBERS[0].name]) == 3


def test_wrong_folders_and_names_are_refused(tmp_path, results, capsys):
    with pytest.raises(SystemExit):
        tensorboard.main([str(tmp_path), "--out", str(tmp_path / "out.csv")])
    assert "needs a folder with TensorBoard event files" in capsys.readouterr().err
    (tmp_path / "tfevents").write_text("nothing of the kind, but long enough for a header")
    with pytest.raises(ValueError, match="ends within a record"):
        list(tensorboard.table(tmp_path))
    with pytest.raises(ValueError, match=r"^run name: got .* 2 times"):
        tensorboard.write_runs(tmp_path / "runs", MEMBERS[:1] * 2, results)
    long = dataclasses.replace(MEMBERS[0], variant="x" * 300)
    with pytest.raises(ValueError, match=r"^run name: .* more than 255 bytes"):
        tensorboard.write_runs(tmp_path / "runs", [long], results)
    assert not (tmp_path / "runs").exists()
