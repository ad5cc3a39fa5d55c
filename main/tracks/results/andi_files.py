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


def format_segment(k: float, alpha: float, state: int, end: int) -> str:
    """Format a segment as `K,alpha,state,end`: K in px^2/frame^alpha, end (exclusive) counted from the first frame."""
    return f"{k:.8g},{alpha:.6g},{int(state)},{int(end)}"


def format_andi_tracks(tracks: Tracks, results: Results) -> str:
    """Format every track as one line of the challenge's file, `idx,K1,alpha1,state1,CP1,K2,...,T`.

    A track without segments gets one segment with the K of `estimate_short_track_ks`, alpha 1 and state free. K is in
    the length unit of the file (px in the challenge) and frames, whatever the units of the tables.

    Parameters
    ----------
    tracks : Tracks
    results : Results
        Tables of these tracks.
    """
    track, frame = tracks.table["track_id"].to_numpy(), tracks.table["frame"].to_numpy()
    start = np.flatnonzero(np.diff(track, prepend=track[:1] - 1))
    ids, first, length = track[start], frame[start], frame[np.append(start[1:], len(track)) - 1] - frame[start] + 1
    short_k = estimate_short_track_ks(tracks, results.tracks)
    rows = results.segments
    of_track = np.searchsorted(ids, rows["track_id"].to_numpy())
    end = np.append(rows["frame_start"].to_numpy()[1:], 0) - first[of_track]
    last = np.diff(of_track, append=len(ids)) != 0
    end[last] = length[of_track[last]]
    k = rows["msd_1"] / tracks.units.msd_1(1.0)
    texts = list(map(format_segment, k.tolist(), rows["alpha"].tolist(), rows["state"].tolist(), end.tolist()))
    edges = np.searchsorted(of_track, np.arange(len(ids) + 1)).tolist()
    lines = []
    for i, (name, k, n_frames) in enumerate(zip(ids.tolist(), short_k.tolist(), length.tolist(), strict=True)):
        of_line = texts[edges[i] : edges[i + 1]] or [format_segment(k, 1.0, FREE, n_frames)]
        lines.append(",".join([str(name), *of_line]))
    return "\n".join(lines) + "\n"


def estimate_short_track_ks(tracks: Tracks, rows: pd.DataFrame) -> np.ndarray:
    """Estimate K of tracks too short for the networks: the classical D if positive, else mean squared step / 4.

    Parameters
    ----------
    tracks : Tracks
    rows : pandas.DataFrame
        Table of these tracks, with the column d_cve.

    Returns
    -------
    numpy.ndarray, shape (N,)
        (Unit of x)^2/frame; 0 for a track of one point.
    """
    track, gap = tracks.table["track_id"].to_numpy(), np.diff(tracks.table["frame"].to_numpy())
    within, number = np.diff(track) == 0, np.searchsorted(rows["track_id"].to_numpy(), track[1:])
    square = (np.diff(tracks.table[["x", "y"]].to_numpy(), axis=0) ** 2).sum(axis=1)[within] / gap[within]
    n_steps = np.bincount(number[within], minlength=len(rows))
    mean = np.bincount(number[within], square, minlength=len(rows)) / np.maximum(n_steps, 1)
    d_cve = (rows["d_cve"] / tracks.units.convert_d(1.0)).to_numpy()
    return np.where(d_cve > 0, d_cve, mean / 4)


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
        texts = [format_segment(s.k, s.alpha, s.state, s.end) for s in of_track]
        lines.setdefault((exp, fov), []).append(",".join([str(int(track)), *texts]))
    for (exp, fov), rows in lines.items():
        path = Path(folder) / "track_2" / f"exp_{exp}" / f"fov_{fov}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(rows) + "\n")
