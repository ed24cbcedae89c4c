"""Fits on executors: the same bits however the runs are cut, and nothing is lost with a worker."""

import dataclasses
import json
import multiprocessing
import os
import pickle
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from executor_cases import RUNS, contents, fit_in_processes, hold_after_a_save, kill_when_caught, wait_for

from mathkernels import backends
from mathkernels.ensemble import LostWorkersError, fit, training
from mathkernels.ensemble.cluster import fit as sharding
from mathkernels.ensemble.cluster.shard import cut_runs, train_shard


@pytest.fixture(scope="module")
def alone():
    return contents(fit(RUNS, threads=1))


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver")) as pool:
        yield pool


class Here:
    """Runs what is submitted at once; the first calls fail as told."""

    def __init__(self, *failures):
        self.failures, self.shards = list(failures), []

    def submit(self, function, shard):
        self.shards.append(shard)
        future = Future()
        try:
            if self.failures and (failure := self.failures.pop(0)):
                raise failure
            future.set_result(function(shard))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.mark.parametrize("shards", [None, 1, 2, 3, 7, 100])
def test_any_number_of_shards_gives_the_bits_of_one_machine(alone, shards):
    assert contents(fit(RUNS, threads=1, executor=Here(), shards=shards)) == alone


@pytest.mark.parametrize("shards", [None, 2])
def test_processes_give_the_bits_of_one_machine(alone, pool, shards):
    assert contents(fit(RUNS, threads=1, executor=pool, shards=shards)) == alone


def test_a_spawned_process_and_threads_give_the_bits_of_one_machine(alone):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert contents(fit(RUNS, threads=2, executor=pool, shards=2)) == alone
    with ThreadPoolExecutor(2) as pool:
        assert contents(fit(RUNS, threads=1, executor=pool, shards=4)) == alone


def test_a_shard_holds_neighbours_in_seed_of_one_program():
    cut = cut_runs(RUNS, 3)
    assert sorted(index for shard in cut for index in shard) == list(range(len(RUNS)))
    assert [index for shard in cut for index in shard] == [1, 2, 0, 6, 4, 3, 5]
    assert len(cut_runs(RUNS, 100)) == len(RUNS)
    many = RUNS * 50
    work = [sum(many[index].iterations + 1 for index in shard) for shard in cut_runs(many, 8)]
    assert max(work) - min(work) <= 2 * 131  # a shard ends at the first run beyond its share


def test_the_number_of_shards_follows_the_workers():
    assert sharding.suggested_shards(ProcessPoolExecutor(3)) == 12
    assert sharding.suggested_shards(object()) == 8


def test_results_can_be_pickled_and_hold_plain_arrays(alone):
    results = fit(RUNS, threads=1, executor=Here(), shards=2)
    again = pickle.loads(pickle.dumps(results))
    assert contents(again) == alone
    assert again.runs == tuple(RUNS)


def test_progress_is_called_after_every_shard(pool):
    seen = []
    results = fit(RUNS, threads=1, executor=pool, shards=3, progress=seen.append)
    total = sum(run.iterations + 1 for run in RUNS)
    assert [each.finished_runs for each in seen][-1] == len(RUNS)
    assert len(seen) == 3
    assert seen[-1].done_iterations == seen[-1].total_iterations == total
    assert seen[0].done_iterations < total
    assert results.seconds >= seen[-1].seconds


# lost workers


def test_a_shard_is_sent_again_and_never_under_the_same_name(alone):
    executor = Here(None, OSError("connection lost"), None)
    with pytest.warns(UserWarning, match="shard 1 was lost by OSError: connection lost; it is sent again"):
        assert contents(fit(RUNS, threads=1, executor=executor, shards=3)) == alone
    assert len(executor.shards) == 4
    assert len(set(map(pickle.dumps, executor.shards))) == 4


@pytest.mark.filterwarnings("ignore:executor")
def test_a_shard_lost_too_often_is_an_error_that_keeps_the_others(alone, tmp_path):
    attempts = sharding.RESUBMISSIONS + 1
    executor = Here(MemoryError("no more"), None, None, *[MemoryError("no more")] * 10)
    with pytest.raises(LostWorkersError, match=f"1 of 3 shards were lost {attempts} times.*no more.*resumes"):
        fit(RUNS, threads=1, executor=executor, shards=3, checkpoint=tmp_path / "fit")
    assert len(executor.shards) == 2 + attempts
    executor = Here()
    assert contents(fit(RUNS, threads=1, executor=executor, checkpoint=tmp_path / "fit")) == alone
    assert [shard.number for shard in executor.shards] == [0]
    with pytest.raises(LostWorkersError, match="had it a checkpoint folder") as caught:
        fit(RUNS, executor=Here(None, *[MemoryError()] * 10), shards=2)
    assert caught.value.results.interrupted
    assert caught.value.results.finished.sum() == len(cut_runs(RUNS, 2)[0])


def test_an_error_of_ours_ends_the_fit_at_once():
    executor = Here(None, ValueError("wrong everywhere"))
    with pytest.raises(ValueError, match="wrong everywhere"):
        fit(RUNS, threads=1, executor=executor, shards=3)
    assert len(executor.shards) == 3


def test_a_process_pool_whose_worker_is_killed_is_gone_and_a_new_one_resumes(alone, tmp_path):
    caught, freed = tmp_path / "caught", tmp_path / "freed"
    spawn = multiprocessing.get_context("spawn")
    killer = kill_when_caught(caught, freed)
    with (
        ProcessPoolExecutor(
            2, spawn, initializer=hold_after_a_save, initargs=(str(caught), str(freed))
        ) as pool,
        pytest.warns(UserWarning, match="was lost by BrokenProcessPool"),
        pytest.raises(LostWorkersError, match=r"pool is gone .*of 3 shards.*a new pool.*resumes from .*fit"),
    ):
        fit(RUNS, threads=1, executor=pool, shards=3, checkpoint=tmp_path / "fit")
    killer.join()
    executor = Here()
    assert stands_in(tmp_path / "fit") > 0
    with pytest.MonkeyPatch.context() as patch:
        seen = watch_starts(patch)
        assert contents(fit(RUNS, threads=1, executor=executor, checkpoint=tmp_path / "fit")) == alone
    assert max(seen) > 0  # a shard went on where its checkpoint stood


def stands_in(folder) -> int:
    """The furthest position in the shards' checkpoints."""
    furthest = 0
    for file in folder.glob("shard-*.npz"):
        with np.load(file) as arrays:
            furthest = max([furthest, *json.loads(arrays["header"].tobytes())["positions"]])
    return furthest


def watch_starts(patch) -> list[int]:
    """Note where the shards that are trained in this process start."""
    seen = []
    calls = training._calls

    def watched(programs, train):
        seen.extend(program.position for program in programs)
        return calls(programs, train)

    patch.setattr(training, "_calls", watched)
    return seen


def test_dask_replaces_a_killed_worker_and_the_bits_stay(alone, tmp_path):
    distributed = pytest.importorskip("distributed", reason="the library distributed is not installed")
    caught, freed = tmp_path / "caught", tmp_path / "freed"
    how = {"dashboard_address": ":0", "local_directory": str(tmp_path / "dask"), "silence_logs": 50}
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **how) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert sharding.suggested_shards(client) == 8
        workers = set(client.run(os.getpid).values())
        client.run(hold_after_a_save, str(caught), str(freed))
        killer = kill_when_caught(caught, freed)
        results = fit(RUNS, threads=1, executor=client, shards=3, checkpoint=tmp_path / "fit")
        killer.join()
        assert contents(results) == alone
        assert int(caught.read_text()) in workers
        with pytest.raises(ValueError, match=r"fused=.*so its results would not be those of one machine"):
            client.submit(train_shard, other_machine()).result()


def other_machine():
    shard = next(iter(recorded(RUNS[:1])))
    shard.machine["fused"] = not shard.machine["fused"]
    return shard


def recorded(runs):
    executor = Here()
    fit(runs, threads=1, executor=executor, shards=1)
    return executor.shards


# Ctrl-C


def test_ctrl_c_ends_a_program_with_partial_results_that_a_new_pool_completes(alone, tmp_path):
    caught, freed, folder = tmp_path / "caught", tmp_path / "freed", tmp_path / "fit"
    arguments = (str(folder), str(caught), str(freed))
    process = multiprocessing.get_context("spawn").Process(target=fit_in_processes, args=arguments)
    process.start()
    try:
        wait_for(caught.exists)
        os.kill(process.pid, signal.SIGINT)
        wait_for((folder / "stop").exists)
        freed.touch()
        process.join(60)
    finally:
        process.kill()
    assert process.exitcode == 7
    assert 0 < stands_in(folder) < 131
    assert contents(fit(RUNS, threads=1, executor=Here(), checkpoint=folder)) == alone


def test_ctrl_c_calls_back_what_has_not_begun(alone):
    class Slow(Here):
        def submit(self, function, shard):
            return super().submit(function, shard) if len(self.shards) < 2 else Future()

    seen = []

    def interrupt(progress):
        seen.append(progress)
        if len(seen) == 1:
            signal.raise_signal(signal.SIGINT)

    results = fit(RUNS, threads=1, executor=Slow(), shards=4, progress=interrupt)
    assert results.interrupted
    assert len(seen) == 2
    first, second, *rest = cut_runs(RUNS, 4)
    assert set(np.flatnonzero(results.finished)) == {*first, *second}
    for index in (index for shard in rest for index in shard):
        assert len(results.steps(index)) == 0
        assert results.best_row[index] == -1
    assert {key: contents(results)[key] for key in alone if key.startswith(f"{first[0]} ")} == {
        key: alone[key] for key in alone if key.startswith(f"{first[0]} ")
    }


def test_ctrl_c_stops_threads_and_processes_of_this_machine_without_a_folder():
    endless = [dataclasses.replace(run, iterations=10**9, evaluate_every=10**8) for run in RUNS]
    with ThreadPoolExecutor(1) as pool:
        running = threading.Event()
        submit = pool.submit

        def submit_and_tell(function, shard):
            return submit(lambda: (running.set(), function(shard))[1])

        def interrupt():
            assert running.wait(60)
            os.kill(os.getpid(), signal.SIGINT)

        pool.submit = submit_and_tell
        thread = threading.Thread(target=interrupt)
        thread.start()
        results = fit(endless, threads=1, executor=pool, shards=2)
        thread.join()
    assert results.interrupted
    assert not results.finished.any()
    first = cut_runs(endless, 2)[0]
    assert all(results.records[index].position > 0 for index in first)  # it was told, and came back in time


# bad input


@pytest.mark.parametrize("executor", [3, "processes", ProcessPoolExecutor, object()])
def test_an_executor_without_submit_is_refused(executor):
    with pytest.raises(TypeError, match=r"^executor: got .*needs an object with submit"):
        fit(RUNS, executor=executor)


def test_a_submit_that_gives_no_future_is_refused():
    class Broken:
        def submit(self, function, shard):
            return 7

    with pytest.raises(TypeError, match=r"^executor: its submit gave 7, needs a future"):
        fit(RUNS, executor=Broken())


@pytest.mark.parametrize("shards", [0, -1, 1.5, True, "4"])
def test_a_wrong_number_of_shards_is_refused(shards):
    with pytest.raises(ValueError, match=r"^shards: got .*needs a positive integer"):
        fit(RUNS, executor=Here(), shards=shards)


def test_shards_without_an_executor_are_refused():
    with pytest.raises(ValueError, match=r"^shards: got 2, needs an executor"):
        fit(RUNS, shards=2)


def test_a_closed_executor_is_named():
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(LostWorkersError, match=r"pool is gone .*cannot schedule new futures after shutdown"):
        fit(RUNS, executor=pool)


def test_a_checkpoint_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path, right in {"file": "this is a file", "no/fit": "can be made", "file/fit": "can be made"}.items():
        with pytest.raises(ValueError, match=rf"^checkpoint: got .*{path}', needs a folder|{right}"):
            fit(RUNS, executor=Here(), checkpoint=tmp_path / path)
    with pytest.raises(TypeError, match=r"^checkpoint: got 7"):
        fit(RUNS, executor=Here(), checkpoint=7)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    with pytest.raises(ValueError, match=r"needs the path of a file, this is a folder"):
        fit(RUNS, checkpoint=tmp_path)


def test_a_folder_of_other_runs_or_shards_is_refused(tmp_path):
    fit(RUNS, threads=1, executor=Here(), shards=2, checkpoint=tmp_path)
    refused = {
        "holds 7 runs, 6 were given": {"runs": RUNS[:6]},
        r"belongs to other runs: runs\[0\].seed is 2 in the checkpoint and 5 now": {"runs": RUNS[::-1]},
        "dtype is 'float32' in the checkpoint and 'float64' now": {"dtype": "float64"},
        "shards: got 3, but .* holds 2 shards; leave it out": {"shards": 3},
    }
    for message, how in refused.items():
        with pytest.raises(ValueError, match=message):
            fit(**{"runs": RUNS, "executor": Here(), "checkpoint": tmp_path, **how})
    manifest = tmp_path / "fit.json"
    whole = manifest.read_text()
    for text in ("", "{", "[]", whole[:-9], whole.replace('"shards": [[', '"shards": [[0, ')):
        manifest.write_text(text)
        with pytest.raises(ValueError, match=rf"{manifest} is damaged"):
            fit(RUNS, executor=Here(), checkpoint=tmp_path)


@pytest.mark.skipif("v3" not in backends.available(), reason="needs instruction sets with and without FMA")
def test_a_worker_that_rounds_otherwise_is_refused(pool):
    backends.force("generic")
    with pytest.raises(ValueError, match=r"a worker on .* has fused=True instead of False.*MATHKERNELS_ISA"):
        fit(RUNS, executor=pool)


def test_a_worker_that_does_not_see_the_folder_is_named(tmp_path):
    class Elsewhere(Here):
        def submit(self, function, shard):
            return super().submit(function, shard.__class__(**{**vars(shard), "file": "/nowhere/shard.npz"}))

    with pytest.raises(ValueError, match=r"^checkpoint: /nowhere is not seen by a worker on .*shared file"):
        fit(RUNS, executor=Elsewhere(), checkpoint=tmp_path)


def hold(folder, held, done):
    from mathkernels.files import FolderLock

    lock = FolderLock.take(folder, "test")
    held.set()
    done.wait(60)
    del lock


def test_a_folder_in_use_is_refused_until_its_process_ends(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    held, done = spawn.Event(), spawn.Event()
    process = spawn.Process(target=hold, args=(tmp_path, held, done))
    process.start()
    try:
        assert held.wait(60)
        with pytest.raises(ValueError, match=rf"'{tmp_path}' is in use by process {process.pid} on"):
            fit(RUNS, executor=Here(), checkpoint=tmp_path)
    finally:
        process.kill()
        process.join()
    assert fit(RUNS, threads=1, executor=Here(), checkpoint=tmp_path).finished.all()
