"""MTrackJ's data file (.mdf) and the table of points that it measures.

Sources: https://imagescience.org/meijering/software/mtrackj/format/ for the data file;
https://github.com/burgerga/mdftracks (R/read-mdf.R, R/write-mdf.R) reads and writes it. The columns of the table,
Nr, TID, PID, x [pixel], y [pixel], t [sec], I [val], Len, D2S, D2R, D2P, v and angles, are those of tables that users
of MTrackJ 1.5 published; a column CID is taken as the cluster.
"""

import re

import numpy as np
import pandas as pd

from main.tracks.reading.points import POINT_COLUMNS, build_tracks, read_lines
from main.tracks.table import Tracks
from main.tracks.values import parse_numbers, parse_whole_numbers
from main.utils.errors import InputError

WORDS = ("Assembly", "Cluster")  # that a line between tracks may start with
END = "End of MTrackJ Data File"
TIME_COLUMN = re.compile(r"t\s*(?:\[(.*)\])?$", re.IGNORECASE)
SECONDS = ("sec", "s", None)  # unit of time of an image for which ImageJ knows no frame interval
POINT_NUMBERS = 6  # ID, x, y, z, t, c


def read_mdf(path) -> Tracks:
    """Read MTrackJ's data file, with lines `Cluster ID`, `Track ID` and `Point ID x y z t c`.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Tracks
        Positions in pixels; frame is t, from 1. Every line `Track` begins a track. Where clusters use the same numbers,
        tracks are numbered in the order of the file. The file does not hold the pixel size or the frame interval.

    Raises
    ------
    InputError
        If a line cannot be read, see also `main.tracks.table.validate`.
    """
    points, tracks, last_id, ended = [], [], 0.0, False
    for number, line in read_lines(path):
        words = line.split()
        if words[:1] == ["Track"]:
            tracks.append(words[1] if len(words) > 1 else "")
            last_id = -np.inf
        elif words[:1] == ["Point"]:
            point_id, x, y, z, t, _ = _parse_point(words[1:], number, path)
            if not tracks or point_id <= last_id:
                raise InputError(f"{path}: line {number} is not a next point of its track; save the file again.")
            points.append((len(tracks) - 1, t, x, y, z))
            last_id = point_id
        elif line.strip() == END:
            ended = True
        elif tracks and words and words[0] not in WORDS:
            raise InputError(
                f"{path}: line {number} starts with '{words[0][:20]}', expected Point, Track or Cluster; correct "
                "the line or save the file again."
            )
    cut = f"{path}: has no last line '{END}', so points may be missing; check its end, or save it again."
    table = pd.DataFrame(points, columns=POINT_COLUMNS)
    return build_tracks(table, tracks, path, "mtrackj-mdf", warnings=[] if ended else [cut])


def _parse_point(words: list[str], number: int, path) -> list[float]:
    """Return the numbers behind `Point`: ID, x, y, z, t, c."""
    try:
        found = [float(word) for word in words]
    except ValueError:
        found = []
    if len(found) != POINT_NUMBERS:
        raise InputError(
            f"{path}: line {number} holds '{' '.join(words)[:80]}' behind Point, expected the numbers ID x y z t c; "
            "correct the line or save the file again."
        )
    return found


def number_table(raw: pd.DataFrame, path) -> tuple[pd.DataFrame, list[str]]:
    """Give MTrackJ's table of points a column track_id and, if its times are none, a column frame.

    Parameters
    ----------
    raw : pandas.DataFrame
        The file as read, its header as column names.
    path : str or Path

    Returns
    -------
    raw : pandas.DataFrame
        track_id is TID, or 1 to N in the order of CID and TID if there are several clusters. frame takes the place of
        the time if this counts 1 s per frame, as it does where ImageJ knows no frame interval. It is PID if there is no
        time.
    warnings : list of str

    Raises
    ------
    InputError
        If a track, a cluster or a time is no number.
    """
    spelled = {str(name).upper(): name for name in raw.columns}
    track = parse_whole_numbers(raw[spelled["TID"]], path, spelled["TID"])
    warnings = []
    if "CID" in spelled:
        cluster = parse_whole_numbers(raw[spelled["CID"]], path, spelled["CID"])
        if len(np.unique(cluster)) > 1:
            track = np.unique(np.column_stack([cluster, track]), axis=0, return_inverse=True)[1].reshape(-1) + 1
            warnings.append(f"{path}: tracks are numbered from 1 in the order of CID and TID.")
    raw = raw.assign(track_id=track)
    timed = next((name for name in raw.columns if TIME_COLUMN.match(str(name).strip())), None)
    if timed is None:
        return raw.assign(frame=raw[spelled["PID"]]), warnings
    if TIME_COLUMN.match(timed.strip()).group(1) not in SECONDS:
        return raw, warnings
    time = np.unique(parse_numbers(raw[timed], path, timed))
    if (time != np.round(time)).any() or np.diff(time).min(initial=1.0) != 1.0:
        return raw, warnings
    warnings.append(
        f"{path}: '{timed}' rises by 1 s per frame, as it does where ImageJ knows no frame interval, so it is taken as "
        "the frame; give --frame-interval for results in s."
    )
    return raw.rename(columns={timed: "frame"}), warnings
