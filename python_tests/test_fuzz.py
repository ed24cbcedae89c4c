"""The random calls of scripts/fuzz.py: they find what is planted, repeat it, and find nothing else."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

for _library in ("matplotlib", "safetensors", "scipy", "tqdm", "yaml"):
    pytest.importorskip(_library)

ROOT = Path(__file__).resolve().parents[1]
PLANTED = Path(__file__).with_name("planted_calls.py")
sys.path.insert(0, str(ROOT / "scripts"))

import fuzz  # noqa: E402
import planted_calls  # noqa: E402
from fuzzing import decoding, loader_files, ops  # noqa: E402
from fuzzing.calls import FAILURES, OUTCOMES, Draw, judge  # noqa: E402
from reliable import page  # noqa: E402

from mathkernels.experiment import tensor_files  # noqa: E402
from mathkernels.nn.decoding import Decoded  # noqa: E402


def call(*arguments):
    command = [sys.executable, str(ROOT / "scripts" / "fuzz.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.fixture(scope="module")
def found(once):
    def make(folder):
        limits = ("--seconds", 15, "--memory", 0.5, "--json", folder / "found.json")
        done = call("--extra", PLANTED, "--kinds", "planted", "--calls", 8, *limits)
        assert done.returncode == 1, done.stderr
        (folder / "shown").write_text(done.stdout)

    folder = once("fuzz", make)
    return (folder / "shown").read_text(), json.loads((folder / "found.json").read_text())


def test_planted_faults_are_found_each_as_what_it_is(found):
    _, content = found
    assert content["counts"] == {"planted": dict.fromkeys(planted_calls.FOUND, 1)}
    ends = {end["outcome"]: end for end in content["findings"]}
    assert set(ends) == set(planted_calls.FOUND) & set(FAILURES)
    for outcome, end in ends.items():
        assert end["told"] == f"planted {outcome}"
    assert "SIGSEGV" in ends["crash"]["reason"]


def test_the_line_that_a_finding_prints_repeats_it(found):
    output, _ = found
    lines = output.splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("crash: planted crash"))
    program, *arguments = lines[at + 1].split()[1:]
    assert program == "scripts/fuzz.py"
    done = call(*arguments)
    assert done.returncode == 1
    assert done.stdout.startswith("crash: planted crash")


def test_a_clear_refusal_repeats_as_no_failure():
    number = planted_calls.FOUND.index("refused")
    done = call("--extra", PLANTED, "--repeat", f"planted:{number}")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("refused: planted refused: ValueError: planted: lr is -1")


def test_a_few_calls_of_every_kind_find_nothing(tmp_path):
    path = tmp_path / "found.json"
    done = call("--calls", 500, "--seed", 11, "--json", path)
    assert done.returncode == 0, done.stdout
    content = json.loads(path.read_text())
    assert content["calls"] >= 500
    assert set(content["counts"]) == set(fuzz.SHARES)
    for kind, counts in content["counts"].items():
        assert counts.get("equal", 0) > 0, kind
        assert set(counts) <= set(OUTCOMES)


def test_every_registered_op_is_called():
    ops.check_registry()


def test_batches_make_every_call_once():
    for calls in (1, 7, 1000, 12_345):
        made = fuzz.batches({"op": 20, "fit": 1}, calls, 3)
        for kind, share in (("op", 20), ("fit", 1)):
            numbers = sorted(n for b in made if b.kind == kind for n in range(b.first, b.first + b.count))
            assert numbers == list(range(3 * fuzz.NUMBERS, 3 * fuzz.NUMBERS + len(numbers)))
            assert abs(len(numbers) - calls * share / 21) <= 1


@pytest.mark.parametrize(
    ("table", "column"), [("rows", "best_epoch"), ("rows", "diverged"), ("curve", "epoch")]
)
@pytest.mark.parametrize("number", [3, 2**63])
def test_no_epoch_of_a_checkpoint_is_beyond_the_last(tmp_path, table, column, number):
    file = loader_files.sequential(tmp_path)
    tensors, texts = tensor_files.read(file.path)
    state = json.loads(texts["state"])
    state["finished"][0][table][-1][column] = number
    tensor_files.write(file.path, tensors, {"state": json.dumps(state)})
    with pytest.raises(ValueError, match=rf"checkpoint.*finished\[0\].*{column}: got {number}"):
        file.read(file.path)


def _spoilt(found, how):
    """What beam search or greedy decoding gave, with one promise broken."""
    tokens, lengths, scores, log_probs = (part.clone() for part in found)
    if how == "score":
        scores += 0.1
    elif how == "order":
        scores = scores.flip(1)
    elif how == "end":
        tokens[..., 0] = tokens[..., -1]
    elif how == "length":
        lengths.clamp_(max=1)
    elif how == "twice":
        tokens, lengths = tokens[:, :1].expand_as(tokens), lengths[:, :1].expand_as(lengths)
    elif how == "neighbours":
        scores += 1e-13 * len(scores)
    elif how == "probability":
        log_probs *= 1.1
    return Decoded(tokens, lengths, scores, log_probs)


def _outcomes(count=40):
    calls = [decoding.right(Draw("decoding", seed)) for seed in range(count)]
    return [judge(call) for call in calls]


@pytest.mark.parametrize("how", ["score", "order", "end", "length", "twice", "neighbours", "probability"])
def test_a_broken_promise_of_decoding_is_found(how, monkeypatch):
    whole = decoding.beam_search
    monkeypatch.setattr(decoding, "beam_search", lambda *a, **o: _spoilt(whole(*a, **o), how))
    assert "difference" in [outcome for outcome, _ in _outcomes()]


def test_a_search_that_is_not_the_plain_one_is_found(monkeypatch):
    whole = decoding.beam_search

    def narrow(*given, beams, n_best, **options):
        return whole(*given, beams=max(beams // 2, n_best), n_best=n_best, **options)

    monkeypatch.setattr(decoding, "beam_search", narrow)
    assert any("plain" in reason for _, reason in _outcomes(120))


@pytest.fixture(scope="module")
def results():
    counts = {"op": {"equal": 5}, "loader": {"equal": 2, "refused": 3, "unclear": 1}}
    row = {"of": ["threads", "LSTM and GRU"], "cases": 1200, "failed": 0, "first": ""}
    spoilt = {"of": ["a model", "NaN", "ensembles"], "cases": 7, "failed": 1, "first": "run 3"}
    return {
        "machine": {"processor": "a CPU", "cores": 2, "isa": "v3", "torch": "2.6", "python": "3.11"},
        "fuzz": {"calls": 11, "seed": 1, "counts": counts, "findings": []},
        "kills": [{"engine": "ensemble", "trainings": 3, "kills": 17, "in a save": 4, "differ": 0}],
        "damages": [
            {"file": "table", "damaged": 9, "refused": 6, "unclear": 0}
            | {"as it was": 1, "other numbers": 2, "failed": 0}
        ],
        "containment": [spoilt],
        "bits": [row],
    }


def test_equal_measurements_give_an_equal_page(results):
    text = page.render(results)
    assert text == page.render(json.loads(json.dumps(results)))
    assert "11 calls from seed 1; 0 failed" in text
    assert "| threads | LSTM and GRU | 1,200 | 0 |" in text
    assert "| a model | NaN | ensembles | 7 | 1 |" in text
    assert "| **all** | 9 | 6 | 0 | 1 | 2 | 0 |" in text
    assert "## What is not covered" in text


def test_the_page_is_that_of_its_measurements():
    results = json.loads((ROOT / "docs/results/reliability.json").read_text())
    assert (ROOT / "docs/reliability.md").read_text() == page.render(results)
    assert not re.search(r"\b[0-9a-f]{40}\b", page.render(results))
