"""Files that appear whole or not at all, checksums, and a digest of code. `main` uses them too."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

TEMPORARY = ".part"  # ending of a file that is being written


def write_atomically(path: Path, write: Callable[[Path], object], shared: bool = False) -> None:
    """Write a file under a temporary name, then rename it, so that a half-written file never has the final name.

    Parameters
    ----------
    path : Path
        The file; its folder exists.
    write : callable
        Is called with the temporary path and writes the file there.
    shared : bool
        Whether several processes may write this file at the same time; each then has its own temporary file.

    Raises
    ------
    OSError
        If the file cannot be written; the temporary file is removed.
    """
    path = Path(path)
    process = f".{os.getpid()}" if shared else ""
    temporary = path.with_name(f"{path.name}{process}{TEMPORARY}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_code(root: Path, names: Iterable[str]) -> str:
    """Digest of Python files: equal on two machines only if names and contents are equal.

    Parameters
    ----------
    root : Path
        Folder that holds the code.
    names : iterable of str
        Files, and folders of which every `.py` file counts, relative to `root`.

    Returns
    -------
    str
        The first 8 hexadecimal digits of a SHA-256.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    paths = [
        path for name in names for path in ((root / name).rglob("*.py") if (root / name).is_dir() else [root / name])
    ]
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:8]
