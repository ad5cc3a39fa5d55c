"""Builds tracks from points that a reader collects one by one, for files that are no tables."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from main.tracks.table import Tracks, Units, validate, warn_of_depth
from main.tracks.values import MAX_WHOLE_NUMBER
from main.utils.errors import InputError

POINT_COLUMNS = ["track", "frame", "x", "y", "z"]
MAX_LINE_CHARACTERS = 10**5  # of a line with one point; longer ones would take much memory


def read_lines(path) -> Iterator[tuple[int, str]]:
    """Give the lines of a text file with their numbers, from 1; bytes that are no UTF-8 become U+FFFD.

    Raises
    ------
    InputError
        If a line is longer than MAX_LINE_CHARACTERS.
    """
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_CHARACTERS + 1), ""), 1):
            if len(line) > MAX_LINE_CHARACTERS:
                raise InputError(
                    f"{path}: line {number} has more than {MAX_LINE_CHARACTERS} characters, expected one point in it; "
                    "save the file again."
                )
            yield number, line


def build_tracks(points: pd.DataFrame, names, source, format: str, dropped=None, units=None, warnings=()) -> Tracks:
    """Build the tracks of a file from its points.

    Parameters
    ----------
    points : pandas.DataFrame
        POINT_COLUMNS of each point in the order of the file, and others that are kept. track counts the tracks of the
        file from 0; z may be NaN.
    names : sequence of str
        Identifier of each track in the file.
    source : str or Path
        File, for errors.
    format : str
        Name of the format.
    dropped : dict of str -> int, optional
        Reason -> number of points that were left out of `points`.
    units : Units, optional
        Pixels by default.
    warnings : iterable of str

    Returns
    -------
    Tracks
        track_id as `number_tracks` gives it.

    Raises
    ------
    InputError
        If there is no point, see also `main.tracks.table.validate`.
    """
    dropped = {reason: count for reason, count in (dropped or {}).items() if count}
    if not len(points):
        left_out = f", all {sum(dropped.values())} of its points are {' or '.join(dropped)}" if dropped else ""
        raise InputError(f"{source}: holds no track with points{left_out}; export the tracks again.")
    numbers, renumbered = number_tracks(names, source)
    table = validate(points.assign(track_id=numbers[points["track"]]).drop(columns=["track", "z"]), source)
    warnings = [*warnings, *renumbered, *warn_of_depth(points["z"], source)]
    n_rows = len(points) + sum(dropped.values())
    return Tracks(table, units or Units(), Path(source), format, dropped, warnings, n_rows=n_rows)


def number_tracks(names, source) -> tuple[np.ndarray, list[str]]:
    """Give every track of a file a number of its own.

    Parameters
    ----------
    names : sequence of str
        Identifier of each track in the file. They may repeat, for example in every cluster.
    source : str or Path
        File, for the warning.

    Returns
    -------
    numbers : numpy.ndarray, shape (N,), int64
        The identifiers, if all are whole numbers and different; otherwise 1 to N in the order of the file.
    warnings : list of str
        One sentence if the tracks were renumbered.
    """
    try:
        numbers = [int(name) for name in names]
    except ValueError:
        numbers = []
    if numbers and len(set(numbers)) == len(numbers) and max(map(abs, numbers)) <= MAX_WHOLE_NUMBER:
        return np.array(numbers, dtype=np.int64), []
    return np.arange(1, len(names) + 1), [
        f"{source}: some tracks have the same identifier or one that is no whole number, so its {len(names)} tracks "
        "are numbered from 1 in the order of the file."
    ]
