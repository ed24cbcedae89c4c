"""Files and states that are well formed but hold nonsense: refused in one line, never trained from."""

import json
import re

import numpy as np
import pytest
import torch
from ensemble_cases import run, task
from seq2seq_cases import EQUATIONS, data

from mathkernels.ensemble import INALU, NMU, Restarts, Seq2SeqEnsemble, fit, training
from mathkernels.ensemble.describe import SGD
from mathkernels.ensemble.run import How

RUNS = [run(NMU(), task=task("mul"), seed=seed, iterations=130, evaluate_every=40) for seed in range(2)]
RUNS += [
    run(
        INALU(penalty_after=10),
        SGD(lr=0.0),
        task=task("mul"),
        iterations=200,
        evaluate_every=5,
        restarts=Restarts(window=7, every=10, above=0.0),
    )
]


@pytest.fixture
def half(tmp_path, monkeypatch):
    """A checkpoint of a fit that was stopped on its way."""
    monkeypatch.setattr(training, "CALL_SECONDS", 0.0)
    path = tmp_path / "fit"
    calls = []
    how = How(1, "float32", "hash", "cpu")

    def stop():
        calls.append(1)
        return len(calls) > 60

    results = training.train_here(RUNS, how, path, stop=stop)
    assert not results.finished.all()
    return path


def parts(path):
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(arrays.pop("header").tobytes().decode()), arrays


def write(path, header, arrays):
    with path.open("wb") as file:
        np.savez(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)


def refused(path):
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"^checkpoint: {re.escape(str(path))} ") as raised:
        fit(RUNS, checkpoint=path, threads=1)
    assert "\n" not in str(raised.value)
    assert path.read_bytes() == before


NONSENSE = [-1, 10**6, 2**63, 10**400, 1.5, -0.5, float("nan"), float("inf"), "12", None, True, [], {}, [3]]


@pytest.mark.parametrize("which", ["first", "last", "all"])
@pytest.mark.parametrize("value", NONSENSE, ids=repr)
def test_a_position_that_is_none_is_refused(half, value, which):
    header, arrays = parts(half)
    if which == "all":
        header["positions"] = value
    else:
        header["positions"][0 if which == "first" else -1] = value
    write(half, header, arrays)
    refused(half)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("seconds", value) for value in NONSENSE if value not in (True, 10**6, 2**63, 1.5)),
        *(("runs", value) for value in (None, [], {}, "ab", 3, [None, None, None])),
        *(("settings", value) for value in (None, [], {}, "ab", 3)),
        *(("format", value) for value in (None, 1, "2", [2])),
        ("positions", [1, 2, 3, 4]),
    ],
    ids=repr,
)
def test_a_header_that_is_none_is_refused(half, key, value):
    header, arrays = parts(half)
    write(half, {**header, key: value}, arrays)
    refused(half)
    del header[key]
    write(half, header, arrays)
    refused(half)


@pytest.mark.parametrize("header", [None, [], [1], 3, "text", {}], ids=repr)
def test_a_header_of_another_kind_is_refused(half, header):
    write(half, header, parts(half)[1])
    refused(half)


@pytest.mark.parametrize("name", ["best_row", "window_row", "restarts"])
@pytest.mark.parametrize("value", [-2, 10**6, -(2**31), 2**31 - 1])
def test_numbers_that_index_memory_are_refused_outside_it(half, name, value):
    header, arrays = parts(half)
    keys = [key for key in arrays if key.endswith("/" + name)]
    assert keys
    arrays[keys[0]][0, 0] = value
    write(half, header, arrays)
    refused(half)


def test_arrays_of_another_shape_or_type_are_refused(half):
    header, arrays = parts(half)
    for name, array in arrays.items():
        changed = [array[..., :-1], array[None], array.astype(np.complex64), array[..., :0], np.array(3)]
        for other in [*changed, None]:
            content = (
                {**arrays, name: other}
                if other is not None
                else {n: a for n, a in arrays.items() if n != name}
            )
            write(half, header, content)
            refused(half)


def test_random_damage_of_the_header_is_refused_or_changes_nothing(half):
    """Every value of the header in turn becomes nonsense."""
    header, arrays = parts(half)
    random = np.random.RandomState(0)
    wanted = None

    def places(node, path=()):
        if isinstance(node, dict):
            for key, value in node.items():
                yield from places(value, (*path, key))
        elif isinstance(node, list):
            for key, value in enumerate(node):
                yield from places(value, (*path, key))
        else:
            yield path

    every = [place for place in places(header) if place != ("seconds",)]
    for index in random.choice(len(every), 40, replace=False):
        changed = json.loads(json.dumps(header))
        node = changed
        for key in every[index][:-1]:
            node = node[key]
        before, nonsense = node[every[index][-1]], NONSENSE[random.randint(len(NONSENSE))]
        if nonsense == before:
            continue
        node[every[index][-1]] = nonsense
        write(half, changed, arrays)
        refused(half)
    write(half, header, arrays)
    wanted = fit(RUNS, threads=1)
    found = fit(RUNS, checkpoint=half, threads=1)
    for i in range(len(RUNS)):
        for name, values in wanted.weights(i).items():
            np.testing.assert_array_equal(found.weights(i)[name], values)


# the state of a sequence-to-sequence ensemble


@pytest.fixture
def learner():
    made = Seq2SeqEnsemble(*EQUATIONS.sizes(), seeds=[0, 1], threads=1)
    inputs, targets, order = data(EQUATIONS, 2)
    made.train_epoch(inputs, targets, order, EQUATIONS.batch)
    return made


def bits(learner):
    return {name: tensor.clone() for name, tensor in learner.state().items()}


@pytest.mark.parametrize(
    "updates",
    [
        *(torch.tensor([value]) for value in (-1, 2**53, 2**62, -(2**63), 1.5, True)),
        *(torch.tensor(3), torch.tensor([[3]]), torch.tensor([1, 2]), torch.tensor([]), 3, None, "3", [3]),
        torch.tensor([3], dtype=torch.int32),
    ],
    ids=repr,
)
def test_updates_that_are_no_count_are_refused(learner, updates):
    before, state = bits(learner), bits(learner)
    with pytest.raises(ValueError, match=r"^state\['updates'\]: got "):
        learner.load_state({**state, "updates": updates})
    for name, tensor in learner.state().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("state", [None, 3, "state", [], [("updates", 1)], {3: torch.zeros(1)}, {}], ids=repr)
def test_a_state_of_another_kind_is_refused(learner, state):
    with pytest.raises((ValueError, TypeError), match=r"^state"):
        learner.load_state(state)


def test_tensors_that_are_damaged_are_refused_and_nothing_is_changed(learner):
    before = bits(learner)
    for name, tensor in before.items():
        if name == "updates":
            continue
        changed = [
            *(tensor[..., :-1], tensor[None], tensor[:1], tensor.double(), tensor.to(torch.int32)),
            *(tensor.to("meta"), tensor.to_sparse(), tensor.to(torch.complex64), None, tensor.numpy(), 3.0),
        ]
        for other in changed:
            with pytest.raises((ValueError, TypeError), match=r"^state, "):
                learner.load_state({**before, name: other})
        missing = {key: value for key, value in before.items() if key != name}
        with pytest.raises(ValueError, match=r"^state, .*missing tensors: got "):
            learner.load_state(missing)
    with pytest.raises(ValueError, match=r"unknown tensors: got \['more'\]"):
        learner.load_state({**before, "more": torch.zeros(1)})
    for name, tensor in learner.state().items():
        assert torch.equal(tensor, before[name]), name
    learner.load_state(before)
