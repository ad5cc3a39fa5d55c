"""Which kind of file a path is, before it is read; one sentence for what is no track file."""

from pathlib import Path

from main.utils.errors import InputError


def check_file(path: Path) -> None:
    """Raise InputError unless `path` is a file that is not empty."""
    if path.is_dir():
        raise InputError(
            f"{path}: is a folder, expected a track file; for all its files give a pattern such as {path}/*.csv."
        )
    if not path.exists():
        raise InputError(f"{path}: no such file, correct the path.")
    if not path.is_file() or path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty, expected a track file; export the tracks again.")
