"""Results in other forms: the challenge's text files, napari's array, the record of the run."""

import re
from pathlib import Path
import numpy as np
import pandas as pd

from main.tracks.inference.segments import Segment
from main.tracks.results.tables import Results
from main.tracks.table import Tracks

def andi_file(path: Path) -> Path:
    """The challenge's file for an input: track_2/exp_E/fov_F.txt, E and F from its path, else 0."""
    numbers = [re.findall(rf"{name}_(\d+)", str(path)) for name in ("exp", "fov")]
    exp, fov = (found[-1] if found else "0" for found in numbers)
    return Path("track_2", f"exp_{exp}", f"fov_{fov}.txt")


def andi_text(tracks: Tracks, result: Results) -> str:
    """Lines `idx,K1,alpha1,state1,CP1,K2,...,T` of the AnDi-2 challenge, one for every track.

    A track without segments has one with its classical D (or mean squared step / 4 where that is all there
    is), alpha 1 and state free; changepoints are frames counted from the track's first. K is in the file's own
    length unit (px in the challenge) and frames, whatever the units of the tables.
    """
    table = tracks.table
    frames = table.groupby("track_id")["frame"].agg(["first", "last"])
    segments = dict(list(result.segments.groupby("track_id")))
    classical = result.tracks.set_index("track_id")["d_cve"] / tracks.units.convert_d(1.0)
    lines = []
    for track, first, last in frames.itertuples():
        if track in segments:
            own = segments[track]
            ends = np.append(own["frame_start"].to_numpy()[1:], last + 1) - first
            k = own["msd_1"] / tracks.units.msd_1(1.0)
            values = zip(k, own["alpha"], own["state"], ends, strict=True)
        else:
            values = [(short_track_k(table[table["track_id"] == track], classical[track]), 1.0, 2, last + 1 - first)]
        lines.append(",".join([str(track), *(f"{k:.8g},{a:.6g},{s:d},{t:d}" for k, a, s, t in values)]))
    return "\n".join(lines) + "\n"


def short_track_k(track: pd.DataFrame, d_cve: float) -> float:
    """K of a track too short for the networks, unit of x^2/frame: CVE if positive, else mean squared step / 4."""
    if d_cve > 0:
        return float(d_cve)
    steps = np.diff(track[["x", "y"]].to_numpy(), axis=0) / np.sqrt(np.diff(track["frame"]))[:, None]
    return float((steps**2).sum(axis=1).mean() / 4) if len(steps) else 0.0


def read_labels(path):
    """Segments of every track of one label or submission file.

    Returns
    -------
    dict[int, list[Segment]]
        track index -> segments.
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


def write_submission(folder, table, segments):
    """Write predicted segments as ``track_2/exp_E/fov_F.txt``, lines ``idx,K1,alpha1,state1,CP1,K2,...,T``.

    Parameters
    ----------
    folder : path
        Receives the folder ``track_2``.
    table : pandas.DataFrame
        Columns exp, fov, traj_idx, one row per track.
    segments : sequence of list of Segment
        One list of segments (start, end, k, alpha, state) per row of `table`.
    """
    lines = {}
    for exp, fov, idx, parts in zip(table["exp"], table["fov"], table["traj_idx"], segments, strict=True):
        fields = [str(int(idx))]
        for part in parts:
            fields += [
                f"{part.k:.8g}",
                f"{part.alpha:.6g}",
                str(int(part.state)),
                str(int(part.end)),
            ]
        lines.setdefault((exp, fov), []).append(",".join(fields))
    for (exp, fov), rows in lines.items():
        path = Path(folder) / "track_2" / f"exp_{exp}" / f"fov_{fov}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(rows) + "\n")
