"""Files appear whole or not at all; the digest of code sees names and contents."""

import os

import pytest

from simulations.files import digest_code, write_atomically


@pytest.mark.parametrize("shared", [False, True])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, shared):
    path = tmp_path / "table.csv"
    write_atomically(path, lambda part: part.write_text("old"), shared)

    def fail(part):
        part.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail, shared)
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"] and path.read_text() == "old"


def test_processes_that_write_one_file_have_temporary_files_apart(tmp_path):
    names = []
    write_atomically(tmp_path / "a", lambda part: names.append(part.name) or part.touch(), shared=True)
    assert names == [f"a.{os.getpid()}.part"]


def test_the_digest_changes_with_name_and_content(tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room/a.py").write_text("x = 1")
    (tmp_path / "b.py").write_text("y = 1")
    first = digest_code(tmp_path, ("room", "b.py"))
    assert len(first) == 8 and digest_code(tmp_path, ("b.py", "room")) == first
    (tmp_path / "room/notes.txt").write_text("not code")
    assert digest_code(tmp_path, ("room", "b.py")) == first
    (tmp_path / "room/a.py").write_text("x = 2")
    assert digest_code(tmp_path, ("room", "b.py")) != first
    (tmp_path / "room/a.py").rename(tmp_path / "room/c.py")
    (tmp_path / "room/c.py").write_text("x = 1")
    assert digest_code(tmp_path, ("room", "b.py")) != first
    with pytest.raises(OSError):
        digest_code(tmp_path, ("absent.py",))
