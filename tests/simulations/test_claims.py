"""A folder is claimed by one process at a time, whatever became of the one before."""

import errno
import json
import multiprocessing
import os

import pytest

from simulations import claims, simulate
from simulations.claims import ClaimedError, claim_folder
from simulations.jobs import run_parameters


def list_names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_claim_ends_with_its_block_and_leaves_nothing(tmp_path):
    for _ in range(2):
        with claim_folder(tmp_path / "a" / "b") as temporary:
            assert list_names(temporary) == [] and temporary.parent.parent == tmp_path / "a" / "b"
            (temporary / "half").mkdir()
            with pytest.raises(ClaimedError, match=rf"in use by process {os.getpid()} of .* since 20"):
                with claim_folder(tmp_path / "a" / "b"):
                    pass
        assert list_names(tmp_path) == []


def test_files_of_the_user_and_folders_that_were_there_stay(tmp_path):
    (tmp_path / "a").mkdir()
    with claim_folder(tmp_path / "a"):
        pass
    with pytest.raises(ZeroDivisionError), claim_folder(tmp_path / "b" / "c"):
        (tmp_path / "b" / "mine").touch()
        raise ZeroDivisionError
    assert list_names(tmp_path) == ["a", "b", "b/mine"]


def leave_lock(folder, **holder):
    path = folder / claims.HIDDEN / claims.LOCK
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"process": 1, "host": "elsewhere", "started": "2026-01-01 00:00:00"} | holder))
    (path.parent / claims.TEMPORARY).mkdir()
    (path.parent / claims.TEMPORARY / "half").touch()
    return path


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "\x00"])
def test_what_a_killed_process_of_this_machine_left_is_replaced(text, tmp_path):
    path = leave_lock(tmp_path / "a", host=claims.socket.gethostname())
    if text is not None:
        path.write_text(text)
    with claim_folder(tmp_path / "a") as temporary:
        assert list_names(temporary) == []
    assert list_names(tmp_path) == ["a"]


def test_what_a_process_of_another_machine_left_is_explained(tmp_path):
    path = leave_lock(tmp_path / "a")
    before = list_names(tmp_path)
    with pytest.raises(ClaimedError, match=rf"process 1 of elsewhere .*if it does not run any more, delete {path}\."):
        with claim_folder(tmp_path / "a"):
            pass
    assert list_names(tmp_path) == before
    path.unlink()
    with claim_folder(tmp_path / "a"):
        pass


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(claims.fcntl, "flock", fail)
    with claim_folder(tmp_path / "a"):
        with pytest.raises(ClaimedError, match="in use by process"), claim_folder(tmp_path / "a"):
            pass
    assert list_names(tmp_path) == []


def test_a_lock_that_its_holder_removes_at_the_same_moment_is_not_taken(tmp_path, monkeypatch):
    """Between the opening and the locking of the file, its holder ends and a third process claims the folder."""
    first, third, lock = claim_folder(tmp_path), claim_folder(tmp_path), claims._try_lock
    first.__enter__()

    def end_first(file):
        monkeypatch.setattr(claims, "_try_lock", lock)
        first.__exit__(None, None, None)
        third.__enter__()
        return lock(file)

    monkeypatch.setattr(claims, "_try_lock", end_first)
    with pytest.raises(ClaimedError), claim_folder(tmp_path):
        pass
    third.__exit__(None, None, None)


def claim_often(folder, results):
    for _ in range(50):
        try:
            with claim_folder(folder) as temporary:
                (temporary / "mine").touch(exist_ok=False)
                results.put(len(list_names(temporary)))
        except ClaimedError:
            continue


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # forked with threads: the child only writes
def test_many_processes_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    children = [context.Process(target=claim_often, args=(tmp_path / "a" / "b", results)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert {child.exitcode for child in children} == {0}
    seen = []
    while not results.empty():
        seen.append(results.get())
    assert seen and set(seen) == {1}
    assert set(list_names(tmp_path)) <= {"a", "a/b"}  # one process may have made the folder that another used


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_does_not_keep_the_lock(tmp_path):
    context = multiprocessing.get_context("fork")
    begun, end = context.Event(), context.Event()
    with claim_folder(tmp_path / "a"):
        child = context.Process(target=lambda: begun.set() or end.wait())
        child.start()
        begun.wait()
        with pytest.raises(ClaimedError), claim_folder(tmp_path / "a"):
            pass
        assert not any("lock" in os.readlink(f"/proc/{child.pid}/fd/{n}") for n in os.listdir(f"/proc/{child.pid}/fd"))
    with claim_folder(tmp_path / "a"):
        pass
    end.set()
    child.join()


def test_two_simulations_into_one_folder(tmp_path):
    parameters = run_parameters(["single_state"], 4, 50, 0, "broad", 4)
    with claim_folder(tmp_path / "a"), pytest.raises(ClaimedError, match="in use by process"):
        simulate.simulate(parameters, tmp_path / "a")
    assert simulate.simulate(parameters, tmp_path / "a") == {} and not (tmp_path / "a" / claims.HIDDEN).exists()
