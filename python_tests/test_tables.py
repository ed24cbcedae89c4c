"""The README shows what its examples print, and generated tables come from the files that they name."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMES = ("README.md", "docs/results.md", "docs/speed.md")
STUDIES = tuple(f"docs/results/{study}/README.md" for study in ("integration", "deepmath"))
PAGES = {page: (ROOT / page).read_text() for page in (*NAMES, *STUDIES)}
TEXT = PAGES["README.md"]
EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def script(tmp_path, monkeypatch):
    """scripts/update_tables.py with pages and folders of its own."""
    spec = importlib.util.spec_from_file_location("update_tables", ROOT / "scripts" / "update_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "FIGURE", tmp_path / "figure-3")
    monkeypatch.setattr(module, "BENCHMARKS", tmp_path)
    for page, text in PAGES.items():
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / page).write_text(text)
    (tmp_path / "figure-3").mkdir()
    return module


def run(script, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["update_tables.py", *arguments])
    return script.main()


@pytest.mark.parametrize(("code", "shown"), EXAMPLES, ids=["ensemble", "sequences", "attention", "layer"])
def test_an_example_prints_what_is_shown(code, shown, tmp_path):
    # in a folder where the sources do not hide an installed package
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == shown


def test_a_generated_part_is_replaced_and_the_rest_stays(script, monkeypatch):
    rows = 'NRU,"U[1,2]",25,20\nNRU,"U[-2,2]",25,5\n'
    (script.FIGURE / "summary.csv").write_text("variant,range,n,successes\n" + rows)
    status = {"status": "finished", "seconds": 7.4, "runs": 50, "iterations": 50_000}
    versions = {"torch": "2.13.0", "python": "3.11.7"}
    (script.FIGURE / "status.json").write_text(json.dumps({**status, "versions": versions}))
    assert run(script, monkeypatch, "figure-3", "--check") == 1
    assert run(script, monkeypatch, "figure-3") == 0
    text = (script.ROOT / "docs/results.md").read_text()
    assert "| U[1,2] | 20/25 |\n| U[-2,2] | 5/25 |\n| **all** | **50.0 %** |\n| 95 % interval |" in text
    assert "50 runs of 50,000 iterations took 7 seconds" in text
    marker = "<!-- figure-3:begin -->", "<!-- figure-3:end -->"
    before = PAGES["docs/results.md"]
    assert text.partition(marker[0])[0] == before.partition(marker[0])[0]
    assert text.partition(marker[1])[2] == before.partition(marker[1])[2]
    assert run(script, monkeypatch, "figure-3", "--check") == 0


@pytest.mark.parametrize("part", ["figure-3", "ensemble", "modules", "layers", "sequences", "layers-short"])
def test_a_missing_result_is_named_with_its_remedy(script, monkeypatch, capsys, part):
    assert run(script, monkeypatch, part) == 1
    message = capsys.readouterr().err
    assert "is missing; make it with `make re" in message
    assert {page: (script.ROOT / page).read_text() for page in PAGES} == PAGES


def test_a_missing_marker_is_named(script, monkeypatch, capsys):
    (script.ROOT / "docs/speed.md").write_text(PAGES["docs/speed.md"].replace("<!-- layers:end -->", ""))
    machine = {
        "instruction set in use": "v3 (widest)",
        "load before": [0.1],
        "processor": "a CPU",
        "torch": "2",
    }
    timings = [{"layer": "NAU", "size": "size 1", "shape": [1, 1, 1, 1]}]
    timings[0]["us"] = {name: [2.0, 3.0] for name in ("mathkernels", "stock, eager", "stock, compiled")}
    result = {"machine": {**machine, "jax": "0", "date": "2026-01-01T00"}, "timings": timings}
    (script.BENCHMARKS / "layers.json").write_text(json.dumps(result))
    assert run(script, monkeypatch, "layers") == 1
    assert "<!-- layers:end -->" in capsys.readouterr().err


def test_the_modules_part_has_a_row_for_each_case_and_leaves_out_what_was_not_timed(script):
    where = {"instruction set in use": "v3", "load before": [0.1], "processor": "a CPU", "torch": "2"}
    timings = [
        {"case": case, "participant": "mathkernels", "threads": n, "models": 200, "iterations": 1000}
        for case in ("NAU, 2", "two layers, 4")
        for n in (1, 2)
    ]
    for entry in timings:
        entry["seconds"] = [0.1 / entry["threads"]]
    ratios = {
        "NAU, 2": {"1": {"torch": 90.0, "JAX": 4.0}, "2": {"torch": 100.0, "JAX": 5.0}},
        "two layers, 4": {
            "1": {"torch": 9.0, "JAX": 2.0, "plain loop": 1200.0},
            "2": {"torch": 18.0, "JAX": 3.0, "plain loop": 2400.0},
        },
    }
    result = {"machine": {**where, "jax": "0", "date": "2026-01-01T00"}, "torch.compile": "NAU, 2"}
    (script.BENCHMARKS / "modules.json").write_text(
        json.dumps({**result, "ratios": ratios, "timings": timings})
    )
    text = script.modules()
    assert "| NAU, 2 | 2.00 M | 4.00 M | 100 × | 5 × |  |" in text
    assert "| two layers, 4 | 2.00 M | 4.00 M | 18 × | 3 × | 1,200 × |" in text
    assert "torch.compile in NAU, 2; else eager. Measured on a CPU" in text


def test_the_sequences_part_names_the_best_other_rival_and_where_torch_is_faster(script):
    where = {"instruction set in use": "v3", "load before": [0.1], "processor": "a CPU", "torch": "2"}
    ratio = {
        "torch.nn": [2.0, 5.0],
        "torch.nn, tuned malloc": [1.5, 4.0],
        "mathkernels, tuned malloc": [1.0, 0.9],
        "mathkernels, bfloat16": [0.5, 0.625],
        "torch.nn, mkldnn off": [3.0, 6.0],
        "JAX scan": [7.0, 5.5],
    }
    one = {"ms": [1.234, 5.678], "share of peak": [0.5, 0.4], "ratio": ratio}
    alone = {**one, "ratio": {name: ratio[name] for name in ("torch.nn", "torch.nn, tuned malloc")}}
    result = {
        "machine": {**where, "jax": "0", "date": "2026-01-01T00"},
        "ratios": {"LSTM large": {"1": alone, "2": one}},
        "grid ratios": {"LSTM grid B1": [0.8, 0.9], "LSTM grid B8": [0.9, 1.1]},
        "memory MB": {"LSTM large": {"mathkernels": 3.0, "torch.nn": 4.0}},
    }
    (script.BENCHMARKS / "sequences.json").write_text(json.dumps(result))
    text = script.sequences()
    assert "| LSTM large | 1.23 / 5.68 ms | 50 / 40 % | 2.00 / 5.00 × | 1.50 / 4.00 × |" in text
    assert "| 7.00 / 5.50 × (JAX scan) |" in text
    assert "LSTM large in bfloat16: 2.00 / 1.60 × our float32." in text
    assert "faster at 1 of the 2 points" in text
    assert "takes 0.75 to 0.75 of torch.nn's memory" in text


def test_a_short_table_has_some_rows_of_the_whole_one(script):
    whole = "| a | b |\n| --- | ---: |\n| x | 1 |\n| y | 2 |\n\nA note."
    assert script.only(whole, "| y ") == "| a | b |\n| --- | ---: |\n| y | 2 |\n\nA note."


def test_the_committed_tables_are_those_of_the_committed_results(monkeypatch):
    command = [sys.executable, str(ROOT / "scripts" / "update_tables.py"), "--check"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_readme_is_short():
    assert len(TEXT.splitlines()) <= 200
