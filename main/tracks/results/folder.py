"""The folder of results: who may write into it, which of its files are ours, and how new ones come in whole.

New files are written into a hidden subfolder. One renaming of that declares them complete, then they are moved to their
places. If a process is killed between, the next command on this folder moves the rest.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd

from main.tracks.results.record import RECORD, is_record, read_record
from main.utils.errors import InputError
from main.utils.files import claim_folder, sha256
from simulations.claims import HIDDEN, LOCK

TABLES = ("points", "segments", "tracks")
REPORT = "report.html"
COMPLETE, EARLIER = "complete", "earlier.json"  # in the hidden subfolder: new files, and run.json of the replaced run
FIGURES = "figures"  # the subfolder for figures
# What runs before version 0.3.0 left; run.json of later ones lists their files.
FILES_OF_OLD_RUNS = (
    *(f"{name}.{ending}" for name in TABLES for ending in ("parquet", "csv")),
    *("kinetics.csv", "comparison.csv", REPORT, "track_2/exp_*/fov_*.txt"),
    *(f"{FIGURES}/{name}.{ending}" for ending in ("svg", "png") for name in ("distributions", "dwell_times*")),
    *(f"{FIGURES}/{name}.{ending}" for ending in ("svg", "png") for name in ("track_over_time*", "tracks_state*")),
    *(f"{FIGURES}/{name}.{ending}" for ending in ("svg", "png") for name in ("tracks_k*", "tracks_alpha*")),
)


@contextmanager
def explain_write_errors(out: Path) -> Iterator[None]:
    """Turn an OSError into an InputError that names the folder and the cause."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error).split(". ")[0]
        raise InputError(f"{out}: cannot be written ({reason}), free space or give another folder.") from error


@contextmanager
def claim_new_results(out: str | Path, overwrite: bool) -> Iterator[Path]:
    """Claim a folder for the results of a run, before anything is read.

    Parameters
    ----------
    out : path
        Made if it does not exist, and removed if it is empty at the end.
    overwrite : bool
        Whether the folder may hold an earlier run.

    Yields
    ------
    Path
        Folder for files that are not complete yet.

    Raises
    ------
    InputError
        If another process uses the folder, it cannot be written, holds earlier results and `overwrite` is false, or
        holds other files than results of `infer.py`.
    """
    out = check_name(out)
    check_folder(out, overwrite)
    with claim_folder(out) as temporary:
        with explain_write_errors(out):
            place_complete_files(out)
            check_folder(out, overwrite, claimed=True)
        yield temporary


@contextmanager
def claim_results(folder: str | Path) -> Iterator[tuple[dict, Path]]:
    """Claim a folder that holds results, to read them and to add files.

    Yields
    ------
    record : dict
        Content of run.json.
    temporary : Path
        Folder for files that are not complete yet.

    Raises
    ------
    InputError
        If the folder holds no results, another process uses it, or it cannot be written.
    """
    folder = Path(folder)
    if not (folder / HIDDEN).is_dir():
        read_record(folder)
    with claim_folder(folder) as temporary:
        with explain_write_errors(folder):
            place_complete_files(folder)
        yield read_record(folder), temporary


def check_name(out: str | Path) -> Path:
    """Return the path of a folder for results; InputError if no folder can have this name."""
    text = os.fspath(out)
    if not str(text).strip():
        raise InputError("--out is empty, expected the name of a folder for the results.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"--out: {ascii(text)} is no text in UTF-8, give another name.") from None
    if any(ord(character) < 32 for character in text):
        raise InputError(f"--out: {ascii(text)} holds a control character, give another name.")
    return Path(out)


def check_folder(out: Path, overwrite: bool, claimed: bool = False) -> None:
    """Raise InputError if results cannot go to a folder.

    Parameters
    ----------
    out : Path
    overwrite : bool
        Whether the folder may hold an earlier run.
    claimed : bool
        Whether this process has claimed it; then an empty folder is a new one.
    """
    with explain_write_errors(out):
        if out.is_symlink() and not out.exists():
            raise InputError(f"{out}: is a link to a folder that does not exist, give another name to --out.")
        if out.exists() and not out.is_dir():
            raise InputError(f"{out}: this is a file, expected a folder for the results; give another name to --out.")
        if not out.exists() or (not claimed and (out / HIDDEN / LOCK).exists()):  # who holds the lock is to be named
            return
        holds_files = any(path.name != HIDDEN for path in out.iterdir())
    if not overwrite and (holds_files or not claimed):
        raise InputError(f"{out}: this folder exists already, give another one to --out or add --overwrite.")
    if holds_files and not is_record(out / RECORD):
        raise InputError(f"{out}: holds files but no results of infer.py (run.json); give another folder to --out.")


def list_own_files(folder: Path) -> set[str]:
    """List the names of the files in a folder that a run, and later commands on its results, wrote."""
    return _read_own_files(folder, folder / RECORD)


def _read_own_files(folder: Path, path: Path) -> set[str]:
    """List the names of our files by a run.json, wherever that stands."""
    if not is_record(path):
        return set()
    names = json.loads(path.read_text(encoding="utf-8")).get("files")
    if names is None:
        found = [path for pattern in FILES_OF_OLD_RUNS for path in folder.glob(pattern)]
        names = [path.relative_to(folder).as_posix() for path in found] + [RECORD]
    return {name for name in names if _is_inside(name)}


def _is_inside(name) -> bool:
    """Whether a name of a file that is read from run.json stays in the folder."""
    return isinstance(name, str) and not os.path.isabs(name) and ".." not in Path(name).parts and "\0" not in name


def refuse_other_files(folder: Path, names: Iterable[str]) -> None:
    """Raise InputError if a file that would be written stands in the folder and no run of ours wrote it."""
    own = list_own_files(folder)
    for name in names:
        path = folder / name
        if os.path.lexists(path) and (name not in own or (path.is_dir() and not path.is_symlink())):
            raise InputError(f"{path}: would be replaced, but infer.py did not write it; move it to another folder.")


def list_files(folder: Path) -> list[str]:
    """List the files in a folder and its subfolders by their names relative to it, in order."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def add_files(folder: Path, temporary: Path, record: dict, kept: Iterable[str] = ()) -> None:
    """Put all new files of a claimed folder into their places, with a run.json that lists them.

    Either they all replace what stood there, or the folder stays as it was.

    Parameters
    ----------
    folder : Path
        A claimed folder.
    temporary : Path
        The new files, under their names relative to `folder`; empty afterwards.
    record : dict
        Content of run.json; the list of the files is added.
    kept : iterable of str
        Earlier files of ours that stay; all others are removed.

    Raises
    ------
    InputError
        If a file of the user would be replaced, or the folder cannot be written.
    """
    with explain_write_errors(folder):
        new = list_files(temporary)
        refuse_other_files(folder, [*new, RECORD])
        record = record | {"files": sorted({RECORD, *new, *kept})}
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        (temporary / RECORD).write_text(text, encoding="utf-8", errors="backslashreplace")
        temporary.rename(temporary.with_name(COMPLETE))
    try:
        place_complete_files(folder)
    except KeyboardInterrupt:
        place_complete_files(folder)
        raise KeyboardInterrupt(f"all files in {folder} are complete") from None
    except OSError as error:
        raise InputError(
            f"{folder}: the new files are complete, but cannot be moved to their places ({error.strerror or error}); "
            f"mend the cause, then python main/report.py {folder} moves them first."
        ) from error
    temporary.mkdir()


def add_to_results(folder: Path, temporary: Path, record: dict, replaced: Iterable[str]) -> None:
    """Put new files beside those of a run; see `add_files`.

    Parameters
    ----------
    folder, temporary, record
        As in `add_files`.
    replaced : iterable of str
        Patterns of the files that the same command wrote earlier; they go if they are not written again.
    """
    own = list_own_files(folder)
    add_files(folder, temporary, record, [name for name in own if not any(fnmatch(name, each) for each in replaced)])


def place_complete_files(folder: Path) -> None:
    """Move complete files of a claimed folder to their places, run.json last, and remove those that they replace.

    The earlier run.json is moved away first, so that no record ever stands beside tables that do not belong to it.
    """
    complete, earlier = folder / HIDDEN / COMPLETE, folder / HIDDEN / EARLIER
    if not complete.is_dir():
        earlier.unlink(missing_ok=True)
        return
    if (complete / RECORD).exists():
        if (folder / RECORD).exists():
            os.replace(folder / RECORD, earlier)
        new = _read_own_files(folder, complete / RECORD)
        for name in sorted(_read_own_files(folder, earlier) - new):
            _remove_file(folder, name)
        for name in (*(name for name in list_files(complete) if name != RECORD), RECORD):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(complete / name, folder / name)
    shutil.rmtree(complete)
    earlier.unlink(missing_ok=True)


def _remove_file(folder: Path, name: str) -> None:
    """Remove a file of an earlier run, and the folders in which it stood alone."""
    path = folder / name
    if path.is_dir() and not path.is_symlink():
        return
    path.unlink(missing_ok=True)
    for parent in Path(name).parents[:-1]:
        with suppress(OSError):
            (folder / parent).rmdir()


def read_tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Read points, segments and tracks of a folder of results.

    Raises
    ------
    InputError
        If a table is missing, or is not the one that `infer.py` wrote.
    """
    checksums, tables = read_record(folder).get("sha256", {}), []
    for name in TABLES:
        path = folder / f"{name}.parquet"
        try:
            if path.name in checksums and sha256(path) != checksums[path.name]:
                raise InputError(
                    f"{path}: was changed after infer.py wrote it (its checksum is not that of run.json), analyse the "
                    "files again with infer.py."
                )
            tables.append(pd.read_parquet(path))
        except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
            if isinstance(error, InputError):
                raise
            reason = os.strerror(error.errno) if getattr(error, "errno", None) else str(error).split(". ")[0]
            raise InputError(f"{path}: cannot be read ({reason}), analyse the files again with infer.py.") from error
    return tuple(tables)
