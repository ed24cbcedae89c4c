"""Campaigns: runs shared between figures, groups that resume, what is written, and the page about it."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")

from mathkernels.ensemble.describe import NMRU, NRU
from mathkernels.ensemble.fitting import fit
from mathkernels.ensemble.run import Progress
from mathkernels.studies.arithmetic import campaign, progress, timing
from mathkernels.studies.arithmetic.folder import CampaignFolder
from mathkernels.studies.division import catalogue, exact_figure, landscape, listing, reproduction, verdicts
from mathkernels.studies.division.drawn import DrawnFigure

ROOT = Path(__file__).resolve().parents[1]


def small(number, **changes):
    """A figure on one data set with two seeds and few iterations."""
    study = catalogue.FIGURES[number].resized(2_000)
    datasets = dict(list(study.datasets.items())[:1])
    return dataclasses.replace(study, datasets=datasets, seeds=(0, 1), **changes)


@pytest.fixture(scope="module")
def studies():
    return [small("3"), small("10"), small("11")]


@pytest.fixture(scope="module")
def runs(studies):
    return [member.run for study in studies for member in study.members()]


@pytest.fixture(scope="module")
def trained(runs):
    return campaign.train(runs, threads=1)


def test_a_run_of_two_figures_is_trained_once_and_shown_in_both(studies, runs, trained):
    assert len(runs) == 22
    assert sum(len(group.runs) for group in trained.groups.values()) == 20
    by_figure = [trained.of([m.run for m in study.members()]) for study in studies[:2]]
    nru = [m.variant for m in studies[0].members()].index("NRU")
    fastest = [m.variant for m in studies[1].members()].index("1")
    assert by_figure[0].test[nru] == by_figure[1].test[fastest]


def test_grouping_changes_no_bits(runs, trained):
    selected, alone = trained.of(runs), fit(list(dict.fromkeys(runs)), threads=1)
    place = {run: i for i, run in enumerate(alone.runs)}
    for i, run in enumerate(runs):
        np.testing.assert_array_equal(selected.curves(i)["test"], alone.curves(place[run])["test"])
        assert selected.best_row[i] == alone.best_row[place[run]]
        assert selected.solved[i] == alone.solved[place[run]]


def test_groups_are_modules_and_inputs_and_their_seconds_add_up(runs, trained):
    assert list(trained.groups) == ["RealNPU-2", "NRU-2", "NMRU-2", "RealNPU-1", "NRU-1", "NMRU-1"]
    assert trained.seconds == sum(group.seconds for group in trained.groups.values())
    distinct = list(dict.fromkeys(runs))
    assert trained.of(distinct).seconds == pytest.approx(trained.seconds)
    assert all(group.rate > 0 for group in trained.groups.values())


def stop_in(group, monkeypatch):
    """Interrupt the fit of a group after its first call, as Ctrl-C does, and count the fits."""
    fits = []

    def interrupted(members, **how):
        fits.append(campaign.group_name(members[0]))
        if fits[-1] != group:
            return fit(members, **how)
        results = fit(members, **how)
        results.interrupted = True
        results.finished = np.zeros_like(results.finished)
        return results

    monkeypatch.setattr(campaign, "fit", interrupted)
    return fits


def test_an_interrupted_campaign_keeps_what_is_done_and_resumes_to_the_same(
    runs, trained, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        fits = stop_in("NRU-2", patch)
        broken = campaign.train(runs, checkpoint=tmp_path / "checkpoint", threads=1)
    assert fits == ["RealNPU-2", "NRU-2"]
    selected = broken.of(runs)
    assert broken.interrupted
    assert selected.interrupted
    assert not selected.solved[[i for i, run in enumerate(runs) if isinstance(run.module, NMRU)]].any()
    assert len(selected.steps(len(runs) - 1)) == 0
    resumed = campaign.train(runs, checkpoint=tmp_path / "checkpoint", threads=1)
    np.testing.assert_array_equal(resumed.of(runs).test, trained.of(runs).test)
    assert not resumed.interrupted


def test_without_its_index_the_checkpoints_of_groups_are_void(runs, tmp_path):
    own = [run for run in runs if isinstance(run.module, NRU)][:1]
    campaign.train(own, checkpoint=tmp_path / "checkpoint", threads=1)
    (tmp_path / "checkpoint").unlink()
    (tmp_path / "checkpoint-NRU-2").write_bytes(b"of another campaign")
    campaign.train(own, checkpoint=tmp_path / "checkpoint", threads=1)
    (tmp_path / "checkpoint").write_bytes(b"cut o")
    with pytest.raises(ValueError, match="names other groups or is damaged"):
        campaign.train(own, checkpoint=tmp_path / "checkpoint", threads=1)
    assert (tmp_path / "checkpoint").read_bytes() == b"cut o"


def test_the_time_left_counts_later_groups_at_their_known_rates(runs):
    pytest.importorskip("tqdm")
    with progress.CampaignBar(runs, {"NRU-2": 1e9, "NMRU-2": 100.0}) as bar:
        work = {name: sum(r.iterations + 1 for r in own) for name, own in campaign.grouped(runs).items()}
        own = Progress(500, 1000, 0, 4, 5.0)  # 100 a second
        left = bar.seconds_left(campaign.CampaignProgress(500, sum(work.values()), "RealNPU-2", own))
    later = sum(work[name] for name in ("NMRU-2", "RealNPU-1", "NRU-1", "NMRU-1")) / 100
    assert left == pytest.approx(5 + later + work["NRU-2"] / 1e9)


# what is written


@pytest.fixture(scope="module")
def written(studies, trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("campaign")
    folder = CampaignFolder(path, studies, [DrawnFigure(catalogue.CATALOGUE["5"])])
    folder.begin(resume=False, overwrite=False)
    text = folder.write(trained)
    reproduction.write_page(path / "report.md", path, path / "no-benchmark.json")
    return path, text


def test_every_figure_gets_its_folder_and_the_campaign_its_times(written, trained):
    path, text = written
    files = {"figure.png", "figure.pdf", "files.json"}
    for name in ("figure-3", "figure-10", "figure-11"):
        own = {file.name for file in (path / name).iterdir()}
        assert own >= files | {"runs.csv", "curves.csv", "summary.csv", "config.json", "status.json"}
    assert {file.name for file in (path / "figure-5").iterdir()} == files | {"exact.csv"}
    assert json.loads((path / "status.json").read_text())["status"] == "finished"
    groups = json.loads((path / "timing.json").read_text())["groups"]
    assert {name: group["runs"] for name, group in groups.items()} == {
        name: len(group.runs) for name, group in trained.groups.items()
    }
    assert all(name in text for name in groups)
    assert "model-iterations/s" in text


def test_rates_of_a_campaign_let_expect_the_time_of_another(written, runs, trained):
    rates, machine = timing.read_rates(written[0] / "timing.json")
    assert "logical cores" in machine
    # rates are rounded to whole iterations per second, seconds to milliseconds
    expected = timing.expected_seconds(runs, rates)
    assert expected == pytest.approx(trained.seconds, rel=1e-2)
    assert math.isnan(timing.expected_seconds(runs, {}))
    assert timing.in_words(math.nan) == "unknown"


def test_the_page_sets_each_figure_beside_the_paper(written):
    text = (written[0] / "report.md").read_text()
    assert "## Figure 3: no redundancy (2 inputs)\n\n![Figure 3](figure-3/figure.png)" in text
    assert "numbers NOT FOUND" in text
    assert "| easy U[0,1e-8) | 1.8e+20 / 1.8e+20 |" in text
    assert "**Verdict: not comparable.** Trained with other seeds, ranges or iterations" in text
    assert "Figure 6" not in text  # nothing is said of what was not trained


def test_a_figure_that_is_not_complete_is_not_written(studies, runs, tmp_path, monkeypatch):
    stop_in("NMRU-2", monkeypatch)
    broken = campaign.train(runs, threads=1)
    folder = CampaignFolder(tmp_path, studies)
    folder.begin(resume=False, overwrite=False)
    folder.write(broken)
    assert (tmp_path / "figure-10" / "summary.csv").exists()
    assert not (tmp_path / "figure-3" / "summary.csv").exists()
    assert json.loads((tmp_path / "status.json").read_text())["status"] == "interrupted"


# figures without training


def test_errors_of_exact_weights_are_the_108_published_ones_but_for_powers():
    rows = exact_figure.exact_rows()
    assert len(rows) == 108
    for row in rows:
        # four published digits; powers are rounding errors of the mathematical library, 10 is their order
        limit = 1e-3 if row["module"] in ("RealNPU", "NMRU") else math.log(20)
        assert abs(math.log(row["ratio"])) < limit, row


@pytest.mark.parametrize("target", landscape.TARGETS)
@pytest.mark.parametrize("name", ["Real NPU", "NRU", "NMRU"])
def test_the_landscape_is_zero_at_the_solution(name, target):
    value, sign = landscape.TARGETS[target]
    z = np.array([[landscape.X[0] + landscape.X[1]], [sum(landscape.X)]])
    output = landscape.LAYERS[name](z, np.array([[1.0], [sign]]))
    # an epsilon of 2^-23 on inputs above 1, and the rounding of float64
    assert output[0] == pytest.approx(value, rel=2 * 2.0**-23)
    assert landscape.losses(landscape.LAYERS[name], target).shape == (200, 200)


# verdicts


def rows_of(label, solved, runs=225):
    return {
        "variant": label,
        "range": "U[1,2]",
        "successes": str(solved),
        "n": str(runs),
        "threshold": "1e-5",
    }


def test_a_verdict_compares_rates_with_the_published_ones():
    labels = ("Real NPU (baseline)", "Real NPU (modified)", "NMRU")
    exact = [rows_of(label, solved) for label, solved in zip(labels, (158, 192, 206), strict=True)]
    assert verdicts.verdict("6-redundancy", exact)[0] == "agrees"
    off = [*exact[:2], rows_of("NMRU", 190)]
    short, text = verdicts.verdict("6-redundancy", off)
    assert short == "differs"
    assert "NMRU: 84.4%, published 91.6%; outside" in text
    assert verdicts.verdict("6-redundancy", [rows_of(label, 1, 2) for label in labels])[0] == "not comparable"
    assert verdicts.verdict("3", exact)[0] == "no published number"
    assert verdicts.verdict("9", [])[0] == "nothing to compare"


def test_a_threshold_near_the_target_means_nothing():
    medium = {"variant": "Real NPU", "range": "U[0,1e-4)", "threshold": "1.31e12"}
    assert verdicts.meaningless("12", medium)
    assert not verdicts.meaningless("12", {**medium, "threshold": "2.8e-3"})
    assert not verdicts.meaningless("3", {**medium, "range": "U[1,2]"})


def test_a_rival_is_the_case_itself_or_the_most_similar_one():
    known = {name: reproduction.Rival(name, 1000.0) for name in ("NMU-2", "RealNPU-10", "NRU-10")}
    cases = {group: reproduction.rival_of(group, known) for group in ("NMRU-1", "NPU-10", "NRU-10", "NPU-2")}
    found = {group: rival and rival.case for group, rival in cases.items()}
    assert found == {"NMRU-1": "NMU-2", "NPU-10": "RealNPU-10", "NRU-10": "NRU-10", "NPU-2": None}


# lists and the page of the docs


def test_the_list_has_counts_and_expected_times_of_every_figure():
    text = listing.figure_list({"RealNPU-2": 1e6, "NRU-2": 1e6, "NMRU-2": 1e6}, "a machine")
    assert "3: no redundancy (2 inputs) (also nips-sltr-in2)" in text
    assert "900 runs of 50,000 iterations = 45 million, expected time 45 s" in text
    assert "675 runs of 100,000 iterations = 67.5 million, expected time unknown" in text
    assert "11,350 distinct runs, 809.4 million iterations" in text
    assert "NPU: clip=none" in listing.module_list()


def loaded(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script(tmp_path, monkeypatch):
    module = loaded("make_reproduction")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "docs" / "results" / "paper")
    monkeypatch.setattr(module, "PAGE", tmp_path / "docs" / "reproduction.md")
    (tmp_path / "docs" / "results").mkdir(parents=True)
    return module


def test_the_docs_take_over_small_files_and_the_page_is_repeatable(script, tmp_path):
    study = catalogue.FIGURES["11"]
    members = study.members()
    trained = campaign.train([m.run for m in members], threads=1)
    folder = CampaignFolder(tmp_path / "all", [study], [DrawnFigure(catalogue.CATALOGUE["5"])])
    folder.begin(resume=False, overwrite=False)
    folder.write(trained)
    assert script.main([str(tmp_path / "all")]) == 0
    page = script.PAGE.read_text()
    assert "(results/paper/figure-11/figure.png)" in page
    assert script.main([]) == 0
    assert script.PAGE.read_text() == page
    summary = list(csv.DictReader((script.RESULTS / "figure-11" / "summary.csv").open()))
    assert [row["successes"] for row in summary] == [
        row["successes"] for row in csv.DictReader((tmp_path / "all" / "figure-11" / "summary.csv").open())
    ]
    assert (script.RESULTS / "figure-11" / "figure.png").stat().st_size < 100_000
    assert (script.RESULTS / "runs.csv.gz").stat().st_size < 30_000
    assert "† means nothing" in page
    assert "| [11](#figure-11) | division by small numbers, [a] → 1/a | 375 |" in page
    assert "no published number" in page


def test_results_that_are_missing_or_of_other_runs_are_named(script, written, capsys):
    assert script.main([]) == 1
    assert "timing.json is missing; make it with" in capsys.readouterr().err
    assert script.main([str(written[0])]) == 1
    assert "figure-3 is trained otherwise than figure 3; train it whole" in capsys.readouterr().err
    assert not script.PAGE.exists()


def test_the_readme_part_sets_the_published_averages_beside_ours(tmp_path, monkeypatch):
    update = loaded("update_tables")
    monkeypatch.setattr(update, "PAPER", tmp_path)
    group = {"runs": 900, "iterations": 90_000_000, "seconds": 45.0, "rate": 2_000_000}
    times = {"machine": "a machine", "seconds": 45.0, "groups": {"NMRU-10": group}}
    (tmp_path / "timing.json").write_text(json.dumps(times))
    (tmp_path / "figure-6-redundancy").mkdir()
    rows = [f"{label},{k},225" for label, k in (("Real NPU (baseline)", 150), ("NMRU", 207))]
    table = "\n".join(["variant,successes,n", *rows, "Real NPU (modified),190,225"])
    (tmp_path / "figure-6-redundancy" / "summary.csv").write_text(table)
    text = update.paper()
    assert "| NMRU | 91.6 % | 92.0 % | 87.7–94.9 % |" in text
    assert "90 million model-iterations, took 45 s on a machine" in text
    assert "NMRU-10 2.00 M" in text
