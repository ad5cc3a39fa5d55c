"""A folder that one process at a time works in: a lock, and a place for files that are not complete yet."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

HIDDEN = ".tracewise"  # subfolder of a claimed folder; everything in it is ours, and it goes when the claim ends
LOCK, TEMPORARY = "lock", "temporary"  # in it: the lock file, and the folder of files that are not complete yet
NOT_SUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # of flock(2)
MAX_TRIES = 100  # to take a lock file that another process removes at the same moment
MAX_WAIT_S = 0.5  # for the words of a process that has just taken the lock
MAX_COMMAND = 200  # characters of the command line that are kept in the lock file


_held: set[int] = set()  # descriptors of the locks of this process


def _close_in_child() -> None:
    """Close the locks in a process that is forked here, or they would hold as long as it lives."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_close_in_child)


class ClaimedError(ValueError):
    """A folder is in use by another process; the message is one sentence that names it."""


@contextmanager
def claim_folder(folder: str | Path) -> Iterator[Path]:
    """Make a folder if there is none, and keep other processes that claim it out until the end of the block.

    The lock belongs to the process, so it ends with it, however that ends; what a killed process left is replaced.

    Parameters
    ----------
    folder : path
        If it, or a folder above it, is made here and is empty at the end, it is removed.

    Yields
    ------
    Path
        An empty folder for files that are not complete yet, on the same file system. Removed at the end.

    Raises
    ------
    ClaimedError
        If another process has claimed the folder, or did so on another machine and was killed.
    OSError
        If the folder cannot be made or written.
    """
    folder = Path(folder)
    hidden, temporary = folder / HIDDEN, folder / HIDDEN / TEMPORARY
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        lock = _take_lock(hidden / LOCK)
        _held.add(lock)
        try:
            shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
            temporary.mkdir()
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            with suppress(OSError):
                (hidden / LOCK).unlink()
            if lock in _held:  # not in a forked process
                _held.remove(lock)
                os.close(lock)
    finally:
        for path in (hidden, *made):
            with suppress(OSError):
                path.rmdir()  # fails where something stands in it


def _take_lock(path: Path) -> int:
    """Open and lock a file; returns its descriptor."""
    error = BlockingIOError(errno.EAGAIN, "other processes begin and end there")
    for _ in range(MAX_TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.parent.is_symlink():
                raise ClaimedError(f"{path.parent}: is a link, expected a folder of ours; remove it.")
            lock, is_new = _open_lock(path)
        except (FileNotFoundError, FileExistsError) as changed:  # another process has just made or removed the folder
            error = changed
            continue
        try:
            supported = _try_lock(lock)
            if not (supported or is_new) or supported is None:
                raise ClaimedError(_describe_holder(path))
            if not _is_same_file(lock, path):  # the holder removed the file after it was opened here
                os.close(lock)
                continue
            holder = _read_holder(path)
            if holder and holder["host"] != socket.gethostname():
                # Not every network file system shows a lock to other machines.
                raise ClaimedError(_describe_holder(path))
            _write_holder(lock, path)
        except BaseException:
            os.close(lock)
            raise
        return lock
    raise error


def _open_lock(path: Path) -> tuple[int, bool]:
    """Open the lock file; says whether this process made it."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW), False


def _try_lock(lock: int) -> bool | None:
    """Lock an open file: True, None if another process holds it, False if the file system has no locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
        return False
    return True


def _is_same_file(lock: int, path: Path) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(lock), os.stat(path))
    except FileNotFoundError:
        return False


def _write_holder(lock: int, path: Path) -> None:
    """Write who holds the lock; where that fails (the disk is full), the file is removed."""
    started = datetime.now().astimezone().isoformat(" ", timespec="seconds")
    command = shlex.join(sys.argv)[:MAX_COMMAND]
    holder = {"process": os.getpid(), "host": socket.gethostname(), "started": started, "command": command}
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, (json.dumps(holder) + "\n").encode("ascii"), 0)
    except OSError:
        path.unlink()
        raise


def _read_holder(path: Path) -> dict:
    """Read who holds, or held, a lock; empty if that is not (yet) written."""
    try:
        holder = json.loads(path.read_text(encoding="ascii"))
        return {name: str(holder[name]) for name in ("process", "host", "started")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _describe_holder(path: Path) -> str:
    """Say in one sentence who holds a lock, and what to do."""
    folder, end = path.parent.parent, time.monotonic() + MAX_WAIT_S
    while not (holder := _read_holder(path)) and time.monotonic() < end:
        time.sleep(0.01)
    if not holder:
        return f"{folder}: is in use by another process, wait until it has ended or give another folder."
    named = f"process {holder['process']} of {holder['host']} since {holder['started']}"
    if holder["host"] == socket.gethostname():
        return f"{folder}: is in use by {named}, wait until it has ended or give another folder."
    return (
        f"{folder}: is in use by {named}, or that process was stopped; wait until it has ended or, if it does not run "
        f"any more, delete {path}."
    )
