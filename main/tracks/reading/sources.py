"""The files of a run. Each is read once to be checked; large ones are read a second time to be analysed."""

import glob
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from main.tracks.reading.kinds import describe_failure, find_kind
from main.tracks.table import COLUMNS, Tracks, Units
from main.utils.errors import InputError
from main.utils.files import sha256

MAX_KEPT_POINTS = 4_000_000  # points of all files together that stay in memory between the two readings
BLOCK_POINTS = {"cpu": 2**17, "cuda": 2**21}  # points that are analysed at a time, by type of device


@dataclass(frozen=True)
class Source:
    """A track file and what its first reading found.

    Parameters
    ----------
    path : Path
        Its name for messages and tables, see `main.tracks.table.Tracks`.
    condition : str or None
        The experimental condition that the user gave for this file.
    units : Units
    format : str
        Name of the format that was read.
    dropped : dict of str -> int
        Reason -> number of points that the reader left out.
    warnings : list of str
    quality : dict
        What `main.tracks.quality.check.check_tracks` found.
    sha256 : str
        Checksum of the file, the same before and after each reading.
    n_points : int
        Points that are analysed.
    n_rows : int or None
        Data rows of the file, see `main.tracks.table.Tracks`.
    track_ids : numpy.ndarray, shape (n_tracks,)
        The file's track_id of each track, ascending.
    first_id : int
        track_id of its first track in the results of several files.
    read : callable
        Reads the file again: returns (Tracks, sha256).
    kept : Tracks or None
        What the first reading gave; None if it is too large to keep in memory.
    """

    path: Path
    condition: str | None
    units: Units
    format: str
    dropped: dict[str, int]
    warnings: list[str]
    quality: dict
    sha256: str
    n_points: int
    n_rows: int | None
    track_ids: np.ndarray
    first_id: int
    read: Callable[[], tuple[Tracks, str]]
    kept: Tracks | None

    def tracks(self) -> Tracks:
        """Return the file's tracks, without the columns that no result holds.

        Raises
        ------
        InputError
            If the file cannot be read any more, or has changed since the first reading.
        """
        if self.kept is not None:
            return self.kept
        tracks, digest = self.read()
        if digest != self.sha256:
            raise InputError(f"{self.path}: the file changed during the analysis, start again when it is complete.")
        return keep_needed_columns(tracks)


def open_sources(paths, read, max_kept_points: int = MAX_KEPT_POINTS, progress: bool = False) -> list[Source]:
    """Read all files once.

    Parameters
    ----------
    paths : list of (Path, str or None)
        Files and their conditions, as returned by `find_files`.
    read : callable
        Path -> Tracks; raises InputError for a file that cannot be used.
    max_kept_points : int
        Number of points of all files together that are kept in memory. Files beyond it are read again by
        `Source.tracks`.
    progress : bool
        Whether to show a progress bar of files while there are several.

    Returns
    -------
    list of Source
        In the order of `paths`.

    Raises
    ------
    InputError
        As raised by `read` and `read_unchanged`.
    """
    sources, n_points, n_tracks = [], 0, 0
    for path, condition in tqdm(paths, "reading", unit="file", leave=False, disable=not progress or len(paths) < 2):
        read_again = partial(read_unchanged, path, read)
        tracks, digest = read_again()
        ids = tracks.table["track_id"].unique()
        n_points += len(tracks.table)
        source = Source(
            path=tracks.path,
            condition=condition,
            units=tracks.units,
            format=tracks.format,
            dropped=tracks.dropped,
            warnings=tracks.warnings,
            quality=tracks.quality,
            sha256=digest,
            n_points=len(tracks.table),
            n_rows=tracks.n_rows,
            track_ids=ids,
            first_id=n_tracks,
            read=read_again,
            kept=keep_needed_columns(tracks) if n_points <= max_kept_points else None,
        )
        n_tracks += len(ids)
        sources.append(source)
    return sources


def read_unchanged(path: Path, read: Callable[[Path], Tracks]) -> tuple[Tracks, str]:
    """Read a file, and check that it is the same file before and after.

    Returns
    -------
    tracks : Tracks
    sha256 : str
        Checksum of the bytes that were read.

    Raises
    ------
    InputError
        As raised by `read`, or if the file changes or vanishes while it is read.
    """
    find_kind(path)  # before the checksum, which would wait for a pipe
    try:
        state, before = find_state(path), sha256(path)
        tracks = read(path)
        after = sha256(path)
        changed = after != before or find_state(path) != state
    except OSError as error:
        raise InputError(describe_failure(path, error)) from error
    if changed:
        raise InputError(f"{path}: the file changed while it was read, start again when it is complete.")
    return tracks, after


def find_state(path: Path) -> tuple[int, ...]:
    """Return what changes whenever a file is written or replaced, even if its content is the same afterwards."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def keep_needed_columns(tracks: Tracks) -> Tracks:
    """Return the tracks with the columns track_id, frame, x, y and, where there are, sigma, skipped and jump."""
    needed = (*COLUMNS, "sigma", "skipped", "jump")
    return replace(tracks, table=tracks.table[[name for name in needed if name in tracks.table]])


def find_files(paths) -> list[tuple[Path, str | None]]:
    """List the track files that a user's paths and patterns stand for, each with its condition.

    Parameters
    ----------
    paths : path, list of paths, or dict of condition -> path or list of paths
        A pattern (`day1/*.csv`) stands for the files that match it, in order of their names.

    Returns
    -------
    list of (Path, str or None)

    Raises
    ------
    InputError
        If there is no file, a pattern matches none, or a file is given twice.
    """
    if not isinstance(paths, dict):
        paths = {None: paths}
    files = []
    for condition, of_condition in paths.items():
        for path in [of_condition] if isinstance(of_condition, (str, Path)) else of_condition:
            files += [(found, condition) for found in match_pattern(path)]
    if not files:
        raise InputError("No track file is given, expected at least one path or pattern.")
    seen = set()
    for path, _ in files:
        real = os.path.realpath(path)  # unlike Path.resolve, follows a link that leads back to itself without an error
        if real in seen:
            raise InputError(f"{path}: this track file is given twice, give each file once.")
        seen.add(real)
    return files


def match_pattern(path) -> list[Path]:
    """Return the file of this name or, if there is none, the files that match the name as a pattern."""
    if "\0" in str(path):
        raise InputError(describe_failure(path, ValueError()))
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        return [Path(path)]
    found = sorted(glob.glob(str(path), recursive=True))
    if not found:
        raise InputError(f"{path}: no file matches this pattern, correct the folder or the pattern.")
    return [Path(name) for name in found]


def split_blocks(tracks: Tracks, n_points: int) -> Iterator[Tracks]:
    """Cut the table into blocks of about `n_points` points; every track stays whole, and in its place."""
    starts = np.flatnonzero(np.diff(tracks.table["track_id"], prepend=tracks.table["track_id"].iloc[0] - 1))
    first = 0
    while first < len(tracks.table):
        later = starts[np.searchsorted(starts, first + n_points) :]
        last = later[0] if len(later) else len(tracks.table)
        yield replace(tracks, table=tracks.table.iloc[first:last].reset_index(drop=True))
        first = last
