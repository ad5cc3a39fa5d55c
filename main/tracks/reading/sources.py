"""The files of a run: read once to be checked, and read again if all together would be too much to keep."""

import glob
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from main.tracks.table import COLUMNS, Tracks, Units
from main.utils.errors import InputError

KEPT_POINTS = 4_000_000  # of all files together; files beyond are read a second time when their turn comes
BLOCK_POINTS = {"cpu": 2**17, "cuda": 2**21}  # analysed at a time


@dataclass
class Source:
    """A file, and what is known of it after the first reading.

    Parameters
    ----------
    path : Path
    condition : str or None
        What its tracks have in common, as the user calls it.
    read : callable
        Path -> Tracks.
    first_id : int
        Its first track's track_id in the results of several files.
    """

    path: Path
    condition: str | None
    read: object
    first_id: int = 0
    units: Units = Units()
    format: str = ""
    dropped: dict = None
    warnings: list = None
    sha256: str = ""
    n_points: int = 0
    track_ids: np.ndarray = None
    kept: Tracks | None = None

    def tracks(self) -> Tracks:
        """Its tracks, without the columns that no result has.

        Raises
        ------
        InputError
            If it cannot be read, or is not what it was at the first reading.
        """
        if self.kept is not None:
            return self.kept
        tracks = self.read(self.path)
        if self.track_ids is not None and (
            len(tracks.table) != self.n_points or not np.array_equal(tracks.table["track_id"].unique(), self.track_ids)
        ):
            raise InputError(f"{self.path}: changed while it was read.")
        return replace(tracks, table=tracks.table[[n for n in (*COLUMNS, "sigma") if n in tracks.table]])


def open_sources(paths, read) -> list[Source]:
    """Read all files once.

    Parameters
    ----------
    paths : list of (Path, str or None)
        Files and their conditions.
    read : callable
        Path -> Tracks; raises InputError.
    """
    sources, n_points, n_tracks = [], 0, 0
    for path, condition in paths:
        source = Source(path, condition, read, n_tracks)
        tracks = source.tracks()
        for name in ("units", "format", "dropped", "warnings"):
            setattr(source, name, getattr(tracks, name))
        with open(path, "rb") as file:
            source.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        source.n_points, source.track_ids = len(tracks.table), tracks.table["track_id"].unique()
        n_points, n_tracks = n_points + source.n_points, n_tracks + len(source.track_ids)
        source.kept = tracks if n_points <= KEPT_POINTS else None
        sources.append(source)
    return sources


def expand(paths) -> list[tuple[Path, str | None]]:
    """Files with their conditions from what a user gives.

    Parameters
    ----------
    paths : path, list of paths, or dict of condition -> path or list of paths
        Patterns (`day1/*.csv`) stand for the files that match, in order of name.

    Raises
    ------
    InputError
        No file, none that matches a pattern, or one that is given twice.
    """
    if not isinstance(paths, dict):
        paths = {None: paths}
    files = []
    for condition, some in paths.items():
        for path in [some] if isinstance(some, (str, Path)) else some:
            files += [(found, condition) for found in matching(path)]
    if not files:
        raise InputError("No track file given.")
    if len({path.resolve() for path, _ in files}) < len(files):
        raise InputError("The same track file is given twice.")
    return files


def matching(path) -> list[Path]:
    """The file of this name, or the files that match it as a pattern."""
    if Path(path).exists() or not glob.has_magic(str(path)):
        return [Path(path)]
    found = sorted(glob.glob(str(path), recursive=True))
    if not found:
        raise InputError(f"{path}: no file matches.")
    return [Path(name) for name in found]


def blocks(tracks: Tracks, n_points: int) -> Iterator[Tracks]:
    """Whole tracks, in their order, about so many points at a time."""
    start = np.flatnonzero(np.diff(tracks.table["track_id"], prepend=tracks.table["track_id"].iloc[0] - 1))
    first = 0
    while first < len(tracks.table):
        later = start[np.searchsorted(start, first + n_points) :]
        last = later[0] if len(later) else len(tracks.table)
        yield replace(tracks, table=tracks.table.iloc[first:last].reset_index(drop=True))
        first = last
