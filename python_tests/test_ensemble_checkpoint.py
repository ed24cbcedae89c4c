"""A fit that is killed, interrupted or refused its disk loses nothing and ends as one that was left alone."""

import contextlib
import dataclasses
import errno
import multiprocessing
import os
import pickle
import random
import signal
import threading
import time

import numpy as np
import pytest
from ensemble_cases import MODIFIED, run, task

from mathkernels import backends
from mathkernels.ensemble import NMRU, NMU, NRU, SGD, Adam, RealNPU, Results, checkpoint, fit, training

# Three programs of different length; no run ends where a row is logged; the best row of the last is its first
RUNS = [run(NMU(), task=task("mul"), seed=seed, iterations=130, evaluate_every=40) for seed in range(3)]
RUNS += [run(MODIFIED, seed=seed, iterations=90, evaluate_every=40) for seed in range(2)]
RUNS += [run(NMRU(), Adam(lr=0.05), seed=0, iterations=110, evaluate_every=30, ramp=None, clip_norm=1.0)]


def contents(results: Results) -> dict[str, bytes]:
    """Everything that training decides, as bytes."""
    names = ("best_row", "solved", "solved_at", "finished", "restarts")
    found = {name: getattr(results, name).tobytes() for name in names}
    for i in range(len(results.runs)):
        groups = {"weights": results.weights(i), "best": results.best_weights(i), "curves": results.curves(i)}
        found |= {
            f"{i} {group} {key}": a.tobytes() for group, arrays in groups.items() for key, a in arrays.items()
        }
    return found


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    results = fit(RUNS, threads=1)
    assert results.best_row[-1] == 0  # so that a resumed fit has to know the lowest MSE so far
    return contents(results)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.ckpt"


@pytest.fixture
def slow(monkeypatch):
    """One iteration in each compiled call after the first of 20, and a checkpoint after each: 112 moments."""
    monkeypatch.setattr(training, "CALL_SECONDS", 0.0)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def counted(count: int, function, then):
    """Return the function with its count-th call replaced by ``then``."""
    calls = 0

    def replaced(*arguments, **named):
        nonlocal calls
        calls += 1
        return (then if calls == count else function)(*arguments, **named)

    return replaced


def child(function, *arguments) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def fit_and_die(path, moment: str, count: int) -> None:
    """Kill this process at the count-th occurrence of a moment of the checkpointed fit."""

    def half(descriptor):
        os.truncate(descriptor, os.fstat(descriptor).st_size // 2)
        kill()

    def replace_and_die(one, other, replace=os.replace):
        replace(one, other)
        kill()

    if moment == "half written":
        os.fsync = counted(count, os.fsync, half)
    elif moment == "before it is flushed":
        os.fsync = counted(count, os.fsync, lambda descriptor: kill())
    elif moment == "before it replaces the old":
        os.replace = counted(count, os.replace, lambda one, other: kill())
    elif moment == "after it has replaced the old":
        os.replace = counted(count, os.replace, replace_and_die)
    at = counted(count, lambda progress: None, lambda progress: kill()) if moment == "between two" else None
    if moment == "any":  # the fit takes 112 of these, longer than the test waits
        at = lambda progress: time.sleep(0.003)  # noqa: E731
    fit(RUNS, threads=1, checkpoint=path, progress=at)


MOMENTS = [("between two", count) for count in (1, 2, 60, 112)]
MOMENTS += [("half written", 1), ("half written", 40), ("before it is flushed", 3)]
MOMENTS += [("before it replaces the old", 1), ("before it replaces the old", 50)]
MOMENTS += [("after it has replaced the old", 1), ("after it has replaced the old", 112)]


@pytest.mark.parametrize(("moment", "count"), MOMENTS)
def test_a_fit_killed_around_a_save_ends_as_one_never_killed(slow, whole, path, moment, count):
    process = child(fit_and_die, path, moment, count)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    saved = count if moment.startswith("after") else count - 1
    assert path.exists() == (saved > 0)
    assert contents(fit(RUNS, threads=1, checkpoint=path)) == whole


def test_a_fit_killed_again_and_again_at_random_moments_ends_as_one_never_killed(slow, whole, path):
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # pytest shows it if the test fails
    draw = random.Random(seed)
    killed = 0
    for _ in range(5):
        process = child(fit_and_die, path, "any", 0)
        process.join(draw.uniform(0.02, 0.2))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
    assert killed, "every child was done before it was to be killed"
    assert contents(fit(RUNS, threads=1, checkpoint=path)) == whole


def fit_until_told(path, begun) -> None:
    """Train for ever; leave with status 7 if the fit returns partial results that the file holds too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    endless = [dataclasses.replace(each, iterations=10**9, evaluate_every=10**8) for each in RUNS]
    results = fit(endless, threads=1, checkpoint=path, progress=lambda progress: begun.set())
    os._exit(7 if results.interrupted and path.exists() and not results.finished.any() else 8)


def test_ctrl_c_ends_a_process_with_partial_results_and_a_checkpoint(path):
    begun = multiprocessing.get_context("fork").Event()
    process = child(fit_until_told, path, begun)
    try:
        assert begun.wait(60)
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
    finally:
        process.kill()
    assert process.exitcode == 7


@pytest.mark.parametrize("count", [1, 30, 112])
def test_ctrl_c_returns_what_is_done_and_resuming_completes_it(slow, whole, path, count):
    before = signal.getsignal(signal.SIGINT)
    at = counted(count, lambda progress: None, lambda progress: signal.raise_signal(signal.SIGINT))
    partial = fit(RUNS, threads=1, checkpoint=path, progress=at)
    assert partial.interrupted
    assert signal.getsignal(signal.SIGINT) is before
    assert partial.finished.all() == (count == 112)
    done = 19 + count  # the first call makes 20 iterations, each later one makes one
    assert list(partial.steps(0)) == [t for t in (0, 40, 80, 120) if t < done]
    assert all(np.isfinite(partial.curves(0)["valid"]))
    resumed = fit(RUNS, threads=1, checkpoint=path)
    assert not resumed.interrupted
    assert resumed.seconds >= partial.seconds
    assert contents(resumed) == whole


def test_ctrl_c_without_a_checkpoint_returns_partial_results_too(slow):
    partial = fit(RUNS, progress=lambda progress: signal.raise_signal(signal.SIGINT))
    assert partial.interrupted
    assert not partial.finished.any()


def test_a_second_ctrl_c_raises(slow, path):
    def twice(progress):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(RUNS, checkpoint=path, progress=twice)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(path.parent.iterdir()) == []


def test_a_failing_progress_callback_leaves_the_last_checkpoint_valid(slow, whole, path):
    def fail(progress):
        raise RuntimeError("no terminal")

    with pytest.raises(RuntimeError, match="no terminal"):
        fit(RUNS, checkpoint=path, progress=counted(70, lambda progress: None, fail))
    assert list(path.parent.iterdir()) == [path]
    seen = []
    assert contents(fit(RUNS, checkpoint=path, progress=seen.append)) == whole
    assert seen[0].done_iterations > 60 * 3  # it went on, it did not start anew


def test_a_finished_fit_is_read_back_without_training(whole, path):
    first = fit(RUNS, checkpoint=path)
    calls = []
    again = fit(RUNS, checkpoint=path, progress=calls.append)
    assert calls == []
    assert contents(again) == contents(first) == whole
    # the file is written a moment before the first fit returns
    assert again.seconds == pytest.approx(first.seconds, abs=1e-3)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "fit.ckpt"
    fit(RUNS, threads=1, checkpoint=path)
    return path.read_bytes()


def refused(path, match: str, runs=RUNS, **how) -> None:
    """The file is refused by a message with its path, and stays as it is, alone."""
    before = path.read_bytes()
    with pytest.raises(ValueError, match=match) as caught:
        fit(runs, checkpoint=path, **how)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_truncated_checkpoint_is_refused(path, good):
    for length in {
        0,
        1,
        3,
        4,
        30,
        *np.linspace(100, len(good) - 100, 20, dtype=int),
        len(good) - 22,
        len(good) - 1,
    }:
        path.write_bytes(good[:length])
        refused(path, "damaged or no checkpoint")


def test_a_flipped_byte_is_refused_or_changes_nothing(path, good, whole):
    """A zip guards what it holds, but not its own time stamps: then the file still reads as it was."""
    header, tail = range(0, 200, 7), range(len(good) - 300, len(good), 9)
    positions = [*header, *range(500, len(good) - 300, len(good) // 40), *tail]
    refusals = harmless = 0
    for position in positions:
        flipped = bytearray(good)
        flipped[position] ^= 0x5A
        path.write_bytes(flipped)
        try:
            results = fit(RUNS, threads=1, checkpoint=path)
        except ValueError as error:
            refusals += str(path) in str(error) and path.read_bytes() == flipped
        else:
            harmless += 1
            assert contents(results) == whole, position
    assert refusals + harmless == len(positions)
    assert refusals > 40


def test_a_flipped_byte_of_the_weights_is_refused(path, good):
    weights = fit(RUNS[:1], threads=1).weights(0)["weight"][:1].tobytes()
    flipped = bytearray(good)
    flipped[good.index(weights)] ^= 1
    path.write_bytes(flipped)
    refused(path, "damaged or no checkpoint")


@pytest.mark.parametrize(
    "what", [pickle.dumps({"a": 1}), b"", b"hello\n" * 100], ids=["pickle", "empty", "text"]
)
def test_a_file_of_another_kind_is_refused(path, what):
    path.write_bytes(what)
    refused(path, "damaged or no checkpoint")


def test_arrays_of_another_kind_are_refused(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    refused(path, "damaged or no checkpoint")
    with open(path, "wb") as file:
        np.savez(file, weights=np.zeros(3))
    refused(path, "damaged or no checkpoint")


def other(**changes):
    return [RUNS[0], dataclasses.replace(RUNS[1], **changes), *RUNS[2:]]


OTHERS = {
    r"runs\[1\]\.optimizer\.lr is 0\.005 in the checkpoint and 0\.001 now": other(optimizer=Adam(lr=1e-3)),
    r"runs\[1\]\.optimizer\.name is 'adam' in the checkpoint and 'sgd' now": other(optimizer=SGD(lr=5e-3)),
    r"runs\[1\]\.module\.penalty is 10\.0 in the checkpoint and 1\.0 now": other(module=NMU(penalty=1.0)),
    r"runs\[1\]\.module\.name is 'NMU' in the checkpoint and 'NRU' now": other(module=NRU()),
    r"runs\[1\]\.task\.operation is 'mul' in the checkpoint and 'div' now": other(task=task("div")),
    r"runs\[1\]\.task\.extrapolation is .*6\.0.* and .*7\.0.* now": other(
        task=task("mul", extrapolation="U[2,7]")
    ),
    r"runs\[1\]\.seed is 1 in the checkpoint and 9 now": other(seed=9),
    r"runs\[1\]\.iterations is 130 in the checkpoint and 131 now": other(iterations=131),
    r"runs\[1\]\.ramp is \{.*\} in the checkpoint and None now": other(ramp=None),
    r"runs\[1\]\.clip_norm is None in the checkpoint and 1\.0 now": other(clip_norm=1.0),
    r"runs\[0\]\.module\.name is 'NMU' in the checkpoint and 'NMRU' now": RUNS[::-1],
    "holds 6 runs, 5 were given": RUNS[:5],
    "holds 6 runs, 7 were given": [*RUNS, run(RealNPU())],
}


@pytest.mark.parametrize("message", OTHERS)
def test_a_checkpoint_of_other_runs_names_the_first_difference(path, good, message):
    path.write_bytes(good)
    refused(path, message, OTHERS[message])


def test_a_checkpoint_of_other_settings_names_the_difference(path, good):
    path.write_bytes(good)
    refused(path, "dtype is 'float32' in the checkpoint and 'float64' now", dtype="float64")
    refused(path, "generator is 'hash' in the checkpoint and 'philox' now", generator="philox")


@pytest.mark.skipif(
    "v3" not in backends.available(), reason="needs an instruction set with FMA and one without"
)
def test_a_checkpoint_is_not_continued_with_other_rounding(path):
    backends.force("v3")
    fit(RUNS, checkpoint=path)
    backends.force("generic")
    refused(path, "fused is True in the checkpoint and False now")


def test_a_path_that_cannot_be_written_is_refused_before_training(tmp_path):
    occupied = tmp_path / "occupied"
    occupied.write_text("mine")
    bad = {occupied / "fit.ckpt": "existing folder", tmp_path / "no" / "fit.ckpt": "existing folder"}
    bad |= {tmp_path: "this is a folder"}
    if os.path.isdir("/proc/self"):  # no file can be made there, even by root
        bad |= {"/proc/self/fit.ckpt": "writable folder"}
    for path, right in bad.items():
        with pytest.raises(ValueError, match=rf"^checkpoint: got '{path}', needs .*{right}|{right}"):
            fit(RUNS, checkpoint=path, progress=lambda progress: pytest.fail("it trained"))
    assert list(tmp_path.iterdir()) == [occupied]
    assert occupied.read_text() == "mine"


def full(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("what", ["fsync", "replace"])
def test_a_full_disk_is_one_warning_and_costs_no_result(slow, whole, path, monkeypatch, what):
    monkeypatch.setattr(checkpoint.os, what, full)
    with pytest.warns(UserWarning, match=f"{path} could not be written.*No space left") as caught:
        results = fit(RUNS, checkpoint=path)
    assert contents(results) == whole
    assert len(caught) == 2  # at the first failure, and at the end
    assert list(path.parent.iterdir()) == []


def test_a_disk_full_for_a_while_leaves_the_older_checkpoint_and_later_a_newer_one(
    slow, whole, path, monkeypatch
):
    monkeypatch.setattr(checkpoint.os, "replace", counted(50, os.replace, full))
    sizes = []
    with pytest.warns(UserWarning, match="the fit goes on") as caught:
        fit(RUNS, checkpoint=path, progress=lambda progress: sizes.append(path.exists()))
    assert len(caught) == 1
    assert all(sizes[1:])
    assert contents(fit(RUNS, checkpoint=path)) == whole


def test_a_fit_outside_the_main_thread_saves_and_resumes(slow, whole, path):
    found = []

    def stop(progress):
        raise RuntimeError

    def work():
        with contextlib.suppress(RuntimeError):
            fit(RUNS, checkpoint=path, progress=counted(40, lambda progress: None, stop))
        found.append(contents(fit(RUNS, checkpoint=path)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [whole]
