"""Writers of one process, links, and paths that cannot be written: said before anything is computed."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ensemble_cases import run, task

from mathkernels import files
from mathkernels.ensemble import NMU, fit, training
from mathkernels.experiment.csv_files import read_csv, write_csv
from mathkernels.files import check_replaceable, remove_leftovers, replacing
from mathkernels.studies.arithmetic import campaign


def short(seed=3, **more):
    return run(NMU(), task=task("mul"), seed=seed, iterations=60, evaluate_every=20, **more)


def test_writers_of_one_process_do_not_meet_in_a_temporary_file(tmp_path):
    """Every one writes content of its own, slowly; each replaced file is one of them, whole."""
    path, writers, barrier = tmp_path / "held", 8, threading.Barrier(8)

    def write(index: int) -> None:
        for _ in range(5):
            barrier.wait()
            with replacing(path) as temporary, temporary.open("w") as file:
                for _ in range(50):
                    file.write(f"{index}")
                    file.flush()
            text = path.read_text()
            assert len(text) == 50, text
            assert len(set(text)) == 1, text

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))
    assert [found.name for found in tmp_path.iterdir()] == ["held"]


def test_two_fits_of_one_process_on_one_checkpoint_path_end_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(training, "CALL_SECONDS", 0.0)
    runs = [short(seed) for seed in range(3)]
    alone = fit(runs)
    with ThreadPoolExecutor(4) as pool:
        each = list(pool.map(lambda _: fit(runs, checkpoint=tmp_path / "fit"), range(4)))
    for results in [*each, fit(runs, checkpoint=tmp_path / "fit")]:
        for i in range(3):
            np.testing.assert_array_equal(results.weights(i)["weight"], alone.weights(i)["weight"])


def test_tables_that_threads_write_are_all_listed(tmp_path):
    names = [f"{number}.csv" for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda name: write_csv(tmp_path / name, [{"x": 1}], ["x"]), names))
    assert all(read_csv(tmp_path / name) == [{"x": "1"}] for name in names)


def test_leftovers_of_both_forms_are_removed_and_those_of_the_living_kept(tmp_path):
    dead = 2**22 - 3  # no process has this number
    gone = [f".a.{files._HOST}-{dead}.tmp.npz", f".a.{files._HOST}-{dead}.17.tmp.npz"]
    kept = [f".a.{files._HOST}-{os.getpid()}.1.tmp.npz", f".b.{files._HOST}-{dead}.1.tmp", "a.npz"]
    for name in gone + kept:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, "a")
    assert sorted(found.name for found in tmp_path.iterdir()) == sorted(kept)


def test_a_link_is_followed(tmp_path):
    (tmp_path / "far").mkdir()
    link, target = tmp_path / "link", tmp_path / "far" / "fit"
    link.symlink_to(target)
    for _ in range(2):  # the target is made, then replaced
        results = fit([short()], checkpoint=link)
        assert link.is_symlink()
        assert target.is_file()
    assert results.finished.all()


def refused_paths(folder):
    (folder / "file").touch()
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe")
    return {
        "needs a path of a file": "a\0b",
        "needs a path that can be written": folder / ("n" * 300),
        "File name too long": folder
        / ("n" * 240),  # the name itself fits, that of the file before it does not
        "in an existing folder": folder / "absent" / "fit",
        "this is a folder": folder,
        "a device, pipe or socket": folder / "pipe",
        "needs the path of a file": "",
    }


@pytest.mark.parametrize("number", range(7))
def test_a_path_that_cannot_be_saved_to_is_refused_before_training(tmp_path, number):
    message, path = list(refused_paths(tmp_path).items())[number]
    called = []
    with pytest.raises(ValueError, match=rf"^checkpoint: got .*{message}") as raised:
        fit([short()], checkpoint=path, progress=called.append)
    assert not called
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400
    assert not [found for found in tmp_path.iterdir() if ".tmp" in found.name]


@pytest.mark.parametrize("path", [3, b"fit", ["fit"]])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(TypeError, match=r"^checkpoint: got .*needs a path or None"):
        fit([short()], checkpoint=path)


@pytest.mark.parametrize("name", ["a\0b", "n" * 300])
def test_a_folder_of_shards_that_cannot_be_made_is_refused(tmp_path, name):
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(ValueError, match=r"^checkpoint: got .*needs (the path of )?a folder"),
    ):
        fit([short()], checkpoint=f"{tmp_path}/{name}", executor=pool)


def test_a_campaigns_index_is_checked_with_the_longest_name_beside_it(tmp_path):
    with pytest.raises(ValueError, match=r"^checkpoint: got .*File name too long"):
        campaign.train([short()], checkpoint=tmp_path / ("n" * 245))
    assert list(tmp_path.iterdir()) == []


def test_a_checked_path_is_left_as_it_was(tmp_path):
    path = tmp_path / "held"
    path.write_text("old")
    assert check_replaceable(path, "checkpoint") == path
    assert path.read_text() == "old"
    check_replaceable(tmp_path / "new", "checkpoint")
    assert [found.name for found in tmp_path.iterdir()] == ["held"]


@pytest.mark.parametrize("train", [fit, campaign.train])
def test_a_progress_that_cannot_be_called_is_refused(train):
    with pytest.raises(TypeError, match=r"^progress: got 5, needs a function of one argument or None"):
        train([short()], progress=5)


# signals


@pytest.fixture
def interrupting():
    """Sends SIGINT to this process after the first compiled call, with a handler set meanwhile."""
    before = signal.getsignal(signal.SIGINT)
    training_seconds, training.CALL_SECONDS = training.CALL_SECONDS, 0.0

    def with_handler(handler):
        sent = []

        def progress(_):
            if not sent:
                sent.append(1)
                os.kill(os.getpid(), signal.SIGINT)

        signal.signal(signal.SIGINT, handler)
        results = fit([short()], progress=progress)
        assert sent
        assert signal.getsignal(signal.SIGINT) is handler
        return results

    yield with_handler
    training.CALL_SECONDS = training_seconds
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_interrupts_where_python_handles_it(interrupting):
    assert interrupting(signal.default_int_handler).interrupted


def test_an_ignored_sigint_stays_ignored(interrupting):
    results = interrupting(signal.SIG_IGN)
    assert not results.interrupted
    assert results.finished.all()


def test_a_handler_of_the_caller_is_called_and_decides(interrupting):
    caught = []
    results = interrupting(lambda number, frame: caught.append(number))
    assert caught == [signal.SIGINT]
    assert results.finished.all()


def test_an_exception_of_the_callers_handler_leaves_the_fit(interrupting):
    class StopError(Exception):
        pass

    def handler(number, frame):
        raise StopError

    with pytest.raises(StopError):
        interrupting(handler)
    assert signal.getsignal(signal.SIGINT) is handler


# results


@pytest.mark.parametrize("method", ["weights", "best_weights", "curves", "steps"])
def test_a_run_that_does_not_exist_is_named(method):
    results = fit([short(0), short(1), short(2)])
    ask = getattr(results, method)
    with pytest.raises(IndexError, match=r"^i: got 3, needs the index of one of 3 runs, -3 to 2"):
        ask(3)
    with pytest.raises(IndexError, match="i: got -4"):
        ask(-4)
    with pytest.raises(TypeError, match=r"^i: got '0', needs the index of a run"):
        ask("0")
    ask(-1)
    ask(np.int64(2))
