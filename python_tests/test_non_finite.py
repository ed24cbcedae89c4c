"""A run that ends in NaN or infinity is seen: in results, tables, figures and on the page of a campaign."""

import csv
import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ensemble_cases import run, task

from mathkernels.ensemble import NMU, SGD, Stack, fit
from mathkernels.ensemble.describe import Linear
from mathkernels.experiment.csv_files import read_csv
from mathkernels.studies.arithmetic import campaign, non_finite, panels
from mathkernels.studies.arithmetic import tables as report
from mathkernels.studies.arithmetic.folder import CampaignFolder
from mathkernels.studies.arithmetic.study import Study
from mathkernels.studies.division import non_finite as non_finite_page
from mathkernels.studies.division.catalogue import IN_2, varied
from mathkernels.studies.division.figures import find_datasets
from mathkernels.studies.product import table as two_layer_table

STEEP = SGD(lr=1e30)


def broken(**more):
    """A run without a clamp whose first steps are far too long."""
    return run(
        Linear(), STEEP, task=task("mul"), ramp=None, **{"iterations": 40, "evaluate_every": 10, **more}
    )


def sound(**more):
    return run(NMU(), task=task("mul"), **{"iterations": 40, "evaluate_every": 10, **more})


def test_results_name_the_runs_that_end_so_and_since_when():
    results = fit([sound(), broken(), broken(iterations=0)])
    assert results.non_finite.tolist() == [False, True, False]
    assert np.isnan(results.non_finite_at[[0, 2]]).all()
    assert results.non_finite_at[1] == 10
    rows = results.records[1].rows
    assert np.isfinite(rows[0]).all()
    assert not np.isfinite(rows[1:]).all(axis=1).any()


def test_parameters_that_break_behind_the_last_row_are_seen():
    # two updates behind row 0, which is finite
    results = fit([broken(iterations=5, evaluate_every=10)])
    assert results.diverged.tolist() == results.non_finite.tolist() == [True]
    assert np.isfinite(results.records[0].rows).all()
    assert results.non_finite_at.tolist() == [5.0]


def test_infinite_rows_that_pass_are_no_end():
    """A test error that overflows at first only, as an NMRU's on large integers does."""
    results = fit([sound()])
    record = results.records[0]
    record.rows[0, 1] = np.inf
    again = type(results)(results.runs, [record], 0.0, False)
    assert not again.non_finite.any()
    record.rows[-1, 1] = np.inf
    assert type(results)(results.runs, [record], 0.0, False).non_finite_at.tolist() == [40.0]


@pytest.mark.parametrize("how", ["checkpoint", "executor"])
def test_every_way_to_train_sees_the_same(tmp_path, how):
    runs = [
        sound(),
        broken(seed=1),
        broken(seed=2),
        run(STACK, STEEP, ramp=None, iterations=30, evaluate_every=10),
    ]
    wanted = fit(runs)
    assert wanted.non_finite.tolist() == [False, True, True, True]
    if how == "checkpoint":
        for _ in range(2):
            found = fit(runs, checkpoint=tmp_path / "fit")
    else:
        with ThreadPoolExecutor(2) as pool:
            found = fit(runs, executor=pool, shards=3)
    np.testing.assert_array_equal(found.non_finite, wanted.non_finite)
    np.testing.assert_array_equal(found.non_finite_at, wanted.non_finite_at)


STACK = Stack(first=Linear(), second=Linear())


def study(name="mine"):
    steep = varied(IN_2["Linear"], "steep", optimizer=STEEP, ramp=None)
    return Study(
        name=name,
        title="Mine",
        variants=(IN_2["NMU"], steep),
        datasets=find_datasets(["U[1,2]", "U[10,20]"]),
        seeds=(0, 1),
        operation="mul",
        iterations=40,
        evaluate_every=10,
    )


@pytest.fixture(scope="module")
def trained():
    studies = [study(), study("other")]  # the same runs, which count once
    return studies, campaign.train([member.run for each in studies for member in each.members()])


def test_a_folder_counts_them_in_its_tables_its_text_and_its_figure(trained, tmp_path):
    pytest.importorskip("matplotlib")
    (one, _), results = trained
    folder = CampaignFolder(tmp_path, [one])
    folder.begin(resume=False, overwrite=False)
    text = folder.write(results)
    rows = read_csv(tmp_path / "runs.csv", report.RUN_COLUMNS)
    assert [row["non_finite"] for row in rows] == ["0"] * 4 + ["1"] * 4
    assert [row["non_finite_at"] for row in rows] == [""] * 4 + ["10.0"] * 4
    summary = read_csv(tmp_path / "summary.csv", report.SUMMARY_COLUMNS)
    assert [row["non_finite"] for row in summary] == ["0", "0", "2", "2"]
    assert "4 of 8 runs end in NaN or infinity: steep 4" in text
    counts = next(line for line in text.splitlines() if line.startswith(report.NON_FINITE))
    assert counts.split()[-2:] == ["0/4", "4/4"]
    members = one.members()
    drawn = panels.panel_figure(report.summary_rows(members, results.of([m.run for m in members])), "Mine")
    assert drawn.get_suptitle() == "Mine\n4 of 8 runs end in NaN or infinity: steep 4"


def test_a_figure_without_such_runs_has_no_note(trained):
    pytest.importorskip("matplotlib")
    (one, _), results = trained
    members = [member for member in one.members() if member.variant != "steep"]
    summary = report.summary_rows(members, results.of([m.run for m in members]))
    assert report.non_finite_note(summary) == ""
    assert panels.panel_figure(summary, "Mine").get_suptitle() == "Mine"


def test_the_page_counts_distinct_runs_by_group(trained, tmp_path):
    pytest.importorskip("matplotlib")
    studies, results = trained
    folder = CampaignFolder(tmp_path, studies)
    folder.begin(resume=False, overwrite=False)
    folder.write(results)
    content = json.loads((tmp_path / non_finite.NON_FINITE).read_text())
    assert (content["runs"], content["non_finite"]) == (8, 4)
    first = content["groups"][0]
    assert (first["module"], first["inputs"], first["range"]) == ("Linear", 2, "U[1,2]")
    assert first["shown_in"] == ["mine: steep", "other: steep"]
    assert (first["runs"], first["non_finite"], first["first_at"]) == (2, 2, 10)
    text = "\n".join(non_finite_page.section(tmp_path))
    assert "**4 of 8** distinct runs" in text
    assert "| Linear, 2 | U[10,20] | mine: steep; other: steep | 2 | 2 | 10 | NOT FOUND |" in text


def test_a_page_of_older_results_says_that_nothing_was_counted(tmp_path):
    assert "Not counted" in "\n".join(non_finite_page.section(tmp_path))


def test_an_older_table_is_refused_by_the_name_of_what_it_lacks(tmp_path):
    path = tmp_path / "runs.csv"
    with path.open("w", newline="") as file:
        csv.DictWriter(file, report.RUN_COLUMNS[:-2]).writeheader()
    with pytest.raises(ValueError, match=r"lacks non_finite, non_finite_at, so it .* another version"):
        read_csv(path, report.RUN_COLUMNS)
    assert read_csv(path, report.RUN_COLUMNS[:-2]) == []


def test_the_table_of_two_layers_says_it(trained):
    (one, _), results = trained
    members = one.members()
    selection = results.of([member.run for member in members])
    assert "4 of 8 runs end in NaN or infinity" in two_layer_table.table(members, selection)
    calm = [member for member in members if member.variant != "steep"]
    calm_text = two_layer_table.table(calm, results.of([member.run for member in calm]))
    assert "NaN or infinity" not in calm_text
    assert os.linesep not in calm_text.rpartition("\n")[2]
