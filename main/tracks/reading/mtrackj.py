"""MTrackJ's data file (.mdf) and the table of points that it measures.

Sources: https://imagescience.org/meijering/software/mtrackj/format/ for the data file;
https://github.com/burgerga/mdftracks (R/read-mdf.R, R/write-mdf.R) reads and writes it. The columns of the table,
Nr, TID, PID, x [pixel], y [pixel], t [sec], I [val], Len, D2S, D2R, D2P, v and angles, are those of tables that users
of MTrackJ 1.5 published; CID, the cluster, is there if several clusters are measured together.
"""

import re

import numpy as np
import pandas as pd

from main.tracks.reading.columns import SECONDS_PER_UNIT
from main.tracks.reading.points import POINT_COLUMNS, build_tracks, read_lines
from main.tracks.table import Tracks, parse_numbers, parse_whole_numbers
from main.utils.errors import InputError

WORDS = ("Assembly", "Cluster")  # that a line between tracks may start with
END = "End of MTrackJ Data File"
TIME_COLUMN = re.compile(r"t\s*\[(.+)\]$", re.IGNORECASE)
UNKNOWN_INTERVAL_S = 1.0  # between frames of a movie for which ImageJ has no frame interval
MAX_STEP_ERROR = 0.2  # of a frame: times are rounded, at least to three digits
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


def number_table(raw: pd.DataFrame, path) -> tuple[pd.DataFrame, float | None, list[str]]:
    """Add columns track_id and frame to MTrackJ's table of points, which has a track in each cluster and a time.

    Parameters
    ----------
    raw : pandas.DataFrame
        The file as read, its header as column names.
    path : str or Path

    Returns
    -------
    raw : pandas.DataFrame
        track_id is TID, or 1 to N in the order of CID and TID if there are several clusters. frame counts from 0 at the
        first time of the table; in a table without time it is PID.
    frame_interval_s : float or None
        None without a time, and if the time rises by 1 s, as it also does if ImageJ does not know the interval.
    warnings : list of str

    Raises
    ------
    InputError
        If a value is no number, or the times are not whole multiples of one interval.
    """
    spelled = {str(name).upper(): name for name in raw.columns}
    track = parse_whole_numbers(raw[spelled["TID"]], path, spelled["TID"])
    warnings = []
    if "CID" in spelled:
        cluster = parse_whole_numbers(raw[spelled["CID"]], path, spelled["CID"])
        if len(np.unique(cluster)) > 1:
            track = np.unique(np.column_stack([cluster, track]), axis=0, return_inverse=True)[1].reshape(-1) + 1
            warnings.append(f"{path}: tracks are numbered from 1 in the order of CID and TID.")
    timed = next((name for name in raw.columns if TIME_COLUMN.match(str(name).strip())), None)
    if timed is None:
        return raw.assign(track_id=track, frame=raw[spelled["PID"]]), None, warnings
    frame, interval = _count_frames(parse_numbers(raw[timed], path, timed), path, timed)
    seconds = SECONDS_PER_UNIT.get(TIME_COLUMN.match(str(timed).strip()).group(1).strip().lower())
    interval = interval * seconds if interval and seconds else None
    if interval is not None and abs(interval - UNKNOWN_INTERVAL_S) < 1e-9:
        interval = None
        warnings.append(
            f"{path}: '{timed}' rises by 1 s per frame, as it does where ImageJ knows no frame interval, so results "
            "are per frame; give --frame-interval."
        )
    return raw.assign(track_id=track, frame=frame), interval, warnings


def _count_frames(time: np.ndarray, path, column: str) -> tuple[np.ndarray, float | None]:
    """Return the frame of each time, from 0, and the time between frames.

    Short steps come first: their mean gives the interval well enough to count the frames in the next longer one,
    although every time is rounded.
    """
    times, place = np.unique(time, return_inverse=True)
    steps, step_place, counts = np.unique(np.diff(times), return_inverse=True, return_counts=True)
    if not steps.size:
        return np.zeros(len(time), dtype=np.int64), None
    n_frames, total_time, total_frames = np.empty(len(steps)), 0.0, 0.0
    for i, (step, count) in enumerate(zip(steps, counts, strict=True)):
        n_frames[i] = np.round(step * total_frames / total_time) if total_frames else 1
        total_time, total_frames = total_time + count * step, total_frames + count * n_frames[i]
    interval = total_time / total_frames
    if np.abs(steps / interval - n_frames).max() > MAX_STEP_ERROR:
        raise InputError(
            f"{path}: times in column '{column}' are no whole multiples of one interval, expected those of frames; "
            "add a column of frame numbers and name it with --columns."
        )
    frames = np.concatenate([[0], np.cumsum(n_frames[step_place.reshape(-1)])])
    return frames[place.reshape(-1)].astype(np.int64), interval
