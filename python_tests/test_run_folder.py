"""A run folder shows whole files of one run or says what is wrong with them, and one process writes it."""

import errno
import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from mathkernels import files
from mathkernels.experiment import csv_files, run_folder
from mathkernels.experiment.csv_files import read_csv, write_csv
from mathkernels.experiment.run_folder import FolderError, RunFolder, replacing
from mathkernels.files import FolderLock, remove_leftovers

CONFIG = {"lr": 0.1}
ROWS = [{"range": "U[1,2]\nor", "x": 0.1 + 0.2}, {"range": 'a "b"', "x": float("nan")}]
READ = [{"range": "U[1,2]\nor", "x": "0.30000000000000004"}, {"range": 'a "b"', "x": ""}]
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def table(tmp_path):
    write_csv(tmp_path / "runs.csv", ROWS, ["range", "x"])
    return tmp_path / "runs.csv"


# tables


def test_a_table_reads_back_as_it_was_written(table):
    assert read_csv(table, ["x"]) == READ
    write_csv(table.with_name("curves.csv"), ROWS[:1], ["range", "x"])
    assert read_csv(table) == READ
    listed = json.loads((table.parent / csv_files.LIST).read_text())
    assert {name: each["rows"] for name, each in listed["files"].items()} == {"runs.csv": 2, "curves.csv": 1}


def test_a_table_cut_off_at_any_byte_is_refused(table):
    whole = table.read_bytes()
    for length in range(len(whole)):
        table.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=rf"^'{table}' (lacks|is cut off|is damaged|has changed).*anew"):
            read_csv(table, ["range", "x"])


def test_a_table_without_a_list_is_refused_where_its_form_shows_the_cut(table):
    (table.parent / csv_files.LIST).unlink()
    assert read_csv(table) == READ
    whole = table.read_bytes()
    for length in range(len(whole)):
        table.write_bytes(whole[:length])
        if whole[:length].endswith(b"\n") and length in (8, whole.index(b"4\n") + 2):
            read_csv(table)  # cut between rows: nothing but the list would tell
        else:
            with pytest.raises(ValueError, match=rf"^'{table}' (lacks|is cut off|is damaged)"):
                read_csv(table, ["range", "x"])


def test_a_changed_or_foreign_or_missing_table_is_refused(table):
    table.write_bytes(table.read_bytes().replace(b"0.3", b"0.4"))
    with pytest.raises(ValueError, match="has changed since it was written"):
        read_csv(table)
    other = table.with_name("summary.csv")
    with pytest.raises(ValueError, match="is missing"):
        read_csv(other)
    other.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="is of another run"):
        read_csv(other)


def test_a_table_of_another_version_is_refused(table):
    with pytest.raises(ValueError, match=r"lacks threshold, rate, so it is damaged or .* another version"):
        read_csv(table, ["range", "threshold", "rate"])
    listed = table.parent / csv_files.LIST
    content = json.loads(listed.read_text())
    listed.write_text(json.dumps({**content, "format": 2}))
    with pytest.raises(ValueError, match="has format 2, this version of mathkernels reads 1"):
        read_csv(table)
    for damaged in ("", "{", "[]", '{"format": 1}'):
        listed.write_text(damaged)
        with pytest.raises(ValueError, match=rf"^'{listed}' is damaged"):
            read_csv(table)
    write_csv(table, ROWS, ["range", "x"])  # writing anew heals it
    assert read_csv(table) == READ


def test_a_table_is_read_through_its_folder_when_its_run_has_ended(tmp_path):
    folder = RunFolder(tmp_path)
    folder.begin(CONFIG)
    folder.write_csv("runs.csv", ROWS, ["range", "x"])
    with pytest.raises(ValueError, match="holds an unfinished run; --resume finishes it"):
        folder.read_csv("runs.csv")
    folder.write_json("status.json", {"status": "finished"})
    assert folder.read_csv("runs.csv", ["x"]) == READ
    status = json.loads((tmp_path / "status.json").read_text())
    (tmp_path / "status.json").write_text(json.dumps({**status, "format": 0}))
    with pytest.raises(ValueError, match="has format 0, this version of mathkernels reads 1"):
        folder.read_csv("runs.csv")


def test_the_tables_of_an_overwritten_run_are_gone_and_unlisted(tmp_path):
    folder = RunFolder(tmp_path)
    folder.begin(CONFIG)
    folder.write_csv("runs.csv", ROWS, ["range", "x"])
    folder.begin({"lr": 0.2}, outputs=["runs.csv"], overwrite=True)
    assert not (tmp_path / "runs.csv").exists()
    assert not (tmp_path / csv_files.LIST).exists()


# versions


def test_an_unfinished_run_of_another_version_is_not_continued(tmp_path):
    folder = RunFolder(tmp_path)
    folder.begin(CONFIG)
    folder.begin(CONFIG, resume=True)
    status = tmp_path / "status.json"
    for other in ({"mathkernels": "0.0.1"}, {"format": 2}, {"format": None}):
        status.write_text(json.dumps({**json.loads(status.read_text()), **other}))
        with pytest.raises(ValueError, match=r"begun by another version of mathkernels .*--overwrite"):
            folder.begin(CONFIG, resume=True)
    folder.begin(CONFIG, overwrite=True)
    folder.begin(CONFIG, resume=True)


def test_a_kill_between_configuration_and_status_can_be_resumed(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    RunFolder(tmp_path).begin(CONFIG, resume=True)


def test_a_configuration_that_is_no_object_is_named(tmp_path):
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"config.json' holds no JSON object; --overwrite"):
        RunFolder(tmp_path).begin(CONFIG)


# a full disk


def full(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("what", ["fsync", "replace"])
def test_a_full_disk_is_one_clear_error_and_keeps_the_old_files(tmp_path, monkeypatch, what):
    folder = RunFolder(tmp_path)
    folder.begin(CONFIG)
    folder.write_csv("runs.csv", ROWS, ["range", "x"])
    folder.write_json("status.json", {"status": "finished"})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(files.os, what, full)
    writes = {
        "runs.csv": lambda: folder.write_csv("runs.csv", ROWS[:1], ["range", "x"]),
        "status.json": lambda: folder.write_json("status.json", {"status": "finished"}),
        "figure.png": lambda: draw(tmp_path / "figure.png"),
        "config.json": lambda: folder.begin(CONFIG),
    }
    for name, write in writes.items():
        message = rf"^output folder: '.*{name}' could not be written \(No space left on device\).*--resume"
        with pytest.raises(FolderError, match=message):
            write()
    assert issubclass(FolderError, ValueError)  # which commands report without a traceback
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def draw(path):
    with replacing(path) as temporary:
        temporary.write_bytes(b"png")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_while_a_table_is_written_keeps_the_old_one(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.write_csv("runs.csv", ROWS, ["range", "x"])
    opened = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda path, mode="r", **how: opened(Path("/dev/full") if "w" in mode else path, mode, **how),
    )
    with pytest.raises(FolderError, match=r"runs.csv' could not be written \(No space left on device\)"):
        folder.write_csv("runs.csv", ROWS * 1000, ["range", "x"])
    monkeypatch.undo()
    assert folder.read_csv("runs.csv") == READ


# two processes, and what a killed one leaves


def begin_and_wait(path, begun, done):
    folder = RunFolder(path)
    folder.begin(CONFIG)
    begun.set()
    done.wait(60)
    folder.write_json("status.json", {"status": "finished"})
    begun.clear()
    done.clear()
    done.wait(60)


def write_and_die(path):
    with replacing(Path(path) / "runs.csv") as temporary:
        temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_two_processes_cannot_write_one_folder_and_a_killed_one_leaves_it_free(tmp_path):
    begun, done = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=begin_and_wait, args=(tmp_path, begun, done))
    process.start()
    try:
        assert begun.wait(60)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        for how in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(ValueError, match=rf"'{tmp_path}' is in use by process {process.pid} on \S+;"):
                RunFolder(tmp_path).begin(CONFIG, **how)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    finally:
        process.kill()
        process.join()
    RunFolder(tmp_path).begin(CONFIG)


def test_a_finished_run_leaves_its_folder_free_while_its_process_lives_on(tmp_path):
    begun, done = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=begin_and_wait, args=(tmp_path, begun, done))
    process.start()
    try:
        assert begun.wait(60)
        done.set()
        while begun.is_set():
            assert process.is_alive()
        assert not (tmp_path / files.LOCK).exists()
        RunFolder(tmp_path).begin(CONFIG)
    finally:
        process.kill()
        process.join()


def test_a_forked_process_does_not_free_the_folder(tmp_path):
    held = FolderLock.take(tmp_path, "test")
    child = os.fork()
    if child == 0:
        held.__del__()
        os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / files.LOCK).exists()
    assert FolderLock.take(tmp_path, "test") is held


def test_a_folder_that_cannot_be_begun_stays_free(tmp_path):
    RunFolder(tmp_path).begin(CONFIG)
    run_folder._begun.clear()
    with pytest.raises(ValueError, match="another run"):
        RunFolder(tmp_path).begin({"lr": 0.2})
    assert not (tmp_path / files.LOCK).exists()


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def unsupported(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.warns(UserWarning, match=r"cannot be locked .*No locks available.*no other process"):
        RunFolder(tmp_path).begin(CONFIG)
    assert (tmp_path / "config.json").exists()


def test_what_a_killed_process_left_half_written_is_removed_at_the_next_start(tmp_path):
    RunFolder(tmp_path).begin(CONFIG)
    process = SPAWN.Process(target=write_and_die, args=(str(tmp_path),))
    process.start()
    process.join()
    (left,) = tmp_path.glob(".runs.*")
    alive = left.with_name(left.name.replace(f"-{process.pid}.", f"-{os.getpid()}."))
    elsewhere = left.with_name(left.name.replace(f"-{process.pid}.", f"x-{process.pid}."))
    for path in (alive, elsewhere):
        path.write_text("of a living process, and of another machine")
    remove_leftovers(tmp_path, "curves")
    assert left.exists()
    RunFolder(tmp_path).begin(CONFIG, resume=True)
    assert not left.exists()
    assert alive.exists()
    assert elsewhere.exists()
