"""The files of a run. Each is read once to be checked; large ones are read a second time to be analysed."""

import glob
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

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
        Checksum of the file.
    n_points : int
        Points that are analysed.
    n_rows : int or None
        Data rows of the file, see `main.tracks.table.Tracks`.
    track_ids : numpy.ndarray, shape (n_tracks,)
        The file's track_id of each track, ascending.
    first_id : int
        track_id of its first track in the results of several files.
    read : callable
        Path -> Tracks, for the second reading.
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
    read: Callable[[Path], Tracks]
    kept: Tracks | None

    def tracks(self) -> Tracks:
        """Return the file's tracks, without the columns that no result holds.

        Raises
        ------
        InputError
            If the file cannot be read any more, or holds other tracks than at the first reading.
        """
        if self.kept is not None:
            return self.kept
        tracks = self.read(self.path)
        same_tracks = np.array_equal(tracks.table["track_id"].unique(), self.track_ids)
        if len(tracks.table) != self.n_points or not same_tracks:
            raise InputError(f"{self.path}: the file changed during the analysis, start again when it is complete.")
        return keep_needed_columns(tracks)


def open_sources(paths, read, max_kept_points: int = MAX_KEPT_POINTS) -> list[Source]:
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

    Returns
    -------
    list of Source
        In the order of `paths`.

    Raises
    ------
    InputError
        As raised by `read`.
    """
    sources, n_points, n_tracks = [], 0, 0
    for path, condition in paths:
        tracks = read(path)
        ids = tracks.table["track_id"].unique()
        n_points += len(tracks.table)
        source = Source(
            path=path,
            condition=condition,
            units=tracks.units,
            format=tracks.format,
            dropped=tracks.dropped,
            warnings=tracks.warnings,
            quality=tracks.quality,
            sha256=sha256(path),
            n_points=len(tracks.table),
            n_rows=tracks.n_rows,
            track_ids=ids,
            first_id=n_tracks,
            read=read,
            kept=keep_needed_columns(tracks) if n_points <= max_kept_points else None,
        )
        n_tracks += len(ids)
        sources.append(source)
    return sources


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
        if path.resolve() in seen:
            raise InputError(f"{path}: this track file is given twice, give each file once.")
        seen.add(path.resolve())
    return files


def match_pattern(path) -> list[Path]:
    """Return the file of this name or, if there is none, the files that match the name as a pattern."""
    if Path(path).exists() or not glob.has_magic(str(path)):
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
