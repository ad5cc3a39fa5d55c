"""Text files of the AnDi-2 challenge: writing results and reading labels."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from main.tracks.inference.segments import Segment
from main.tracks.results.tables import Results
from main.tracks.table import Tracks
from simulations.parameters import FREE


def find_andi_path(path: Path) -> Path:
    """Return the challenge's file for an input, track_2/exp_E/fov_F.txt; E and F stand in its path, else they are 0."""
    numbers = [re.findall(rf"{name}_(\d+)", str(path)) for name in ("exp", "fov")]
    exp, fov = (found[-1] if found else "0" for found in numbers)
    return Path("track_2", f"exp_{exp}", f"fov_{fov}.txt")


def format_andi_line(track: int, segments) -> str:
    """Format one track as `idx,K1,alpha1,state1,CP1,K2,...,T`.

    Parameters
    ----------
    track : int
    segments : iterable of (float, float, int, int)
        K in px^2/frame^alpha, alpha, state, and the end (exclusive) in frames from the first frame of the track.
    """
    return ",".join([str(int(track)), *(f"{k:.8g},{a:.6g},{int(state)},{int(end)}" for k, a, state, end in segments)])


def format_andi_tracks(tracks: Tracks, results: Results) -> str:
    """Format every track as one line of the challenge's file.

    A track without segments gets one segment with its classical D (or a quarter of its mean squared step, where D is
    unknown or negative), alpha 1 and state free. K is in the length unit of the file (px in the challenge) and frames,
    whatever the units of the tables.

    Parameters
    ----------
    tracks : Tracks
    results : Results
        Tables of these tracks.
    """
    table = tracks.table
    frames = table.groupby("track_id")["frame"].agg(["first", "last"])
    segments = dict(list(results.segments.groupby("track_id")))
    classical = results.tracks.set_index("track_id")["d_cve"] / tracks.units.convert_d(1.0)
    lines = []
    for track, first, last in frames.itertuples():
        if track in segments:
            rows = segments[track]
            ends = np.append(rows["frame_start"].to_numpy()[1:], last + 1) - first
            k = rows["msd_1"] / tracks.units.msd_1(1.0)
            values = zip(k, rows["alpha"], rows["state"], ends, strict=True)
        else:
            k = estimate_short_track_k(table[table["track_id"] == track], classical[track])
            values = [(k, 1.0, FREE, last + 1 - first)]
        lines.append(format_andi_line(track, values))
    return "\n".join(lines) + "\n"


def estimate_short_track_k(track: pd.DataFrame, d_cve: float) -> float:
    """Estimate K of a track too short for the networks: the classical D if positive, else mean squared step / 4.

    Parameters
    ----------
    track : pandas.DataFrame
        Columns frame, x, y.
    d_cve : float
        Classical D of the track in (unit of x)^2/frame, NaN if unknown.

    Returns
    -------
    float
        (Unit of x)^2/frame; 0 for a track of one point.
    """
    if d_cve > 0:
        return float(d_cve)
    steps = np.diff(track[["x", "y"]].to_numpy(), axis=0) / np.sqrt(np.diff(track["frame"]))[:, None]
    return float((steps**2).sum(axis=1).mean() / 4) if len(steps) else 0.0


def read_labels(path) -> dict[int, list[Segment]]:
    """Read the segments of every track from a label or submission file of the challenge.

    Returns
    -------
    dict of int -> list of Segment
        Track index -> segments; K in px^2/frame^alpha, start and end (exclusive) in frames from the track's first.
    """
    tracks = {}
    for line in Path(path).read_text().splitlines():
        values = [float(v) for v in line.split(",")]
        start, segments = 0, []
        for k, alpha, state, end in zip(*(values[i::4] for i in (1, 2, 3, 4)), strict=True):
            segments.append(Segment(start=start, end=int(end), k=k, alpha=alpha, state=int(state)))
            start = int(end)
        tracks[int(values[0])] = segments
    return tracks


def write_submission(folder, table: pd.DataFrame, segments) -> None:
    """Write predicted segments as track_2/exp_E/fov_F.txt, one line for every track.

    Parameters
    ----------
    folder : path
        Receives the folder track_2.
    table : pandas.DataFrame
        Columns exp, fov, traj_idx, one row per track.
    segments : sequence of list of Segment
        Segments of each row of `table`; K in px^2/frame^alpha, ends in frames from the track's first.
    """
    lines = {}
    for exp, fov, track, of_track in zip(table["exp"], table["fov"], table["traj_idx"], segments, strict=True):
        values = ((s.k, s.alpha, s.state, s.end) for s in of_track)
        lines.setdefault((exp, fov), []).append(format_andi_line(track, values))
    for (exp, fov), rows in lines.items():
        path = Path(folder) / "track_2" / f"exp_{exp}" / f"fov_{fov}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(rows) + "\n")
