"""Results in other forms: the challenge's text files, napari's array, the record of the run."""

import os
import platform
import re
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd

from main.utils.tables import Results
from main.utils.tracks import Tracks

PACKAGES = ("numpy", "pandas", "pyarrow", "torch", "ruptures", "safetensors")


def write_atomically(path: Path, write) -> None:
    """Call `write(temporary path)` and rename what it wrote to `path`, so that no half file is ever there.

    Raises
    ------
    OSError
        If it cannot be written; the temporary file is removed.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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


def to_napari(points: pd.DataFrame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A points table for napari's tracks layer: `viewer.add_tracks(data, features=features, color_by="alpha")`.

    Parameters
    ----------
    points : pandas.DataFrame
        As `infer.py` writes it.

    Returns
    -------
    data : numpy.ndarray, shape (N, 4)
        track_id, frame, y, x (unit of the file), sorted by track and frame, as napari asks for.
    features : dict of str -> numpy.ndarray, each (N,)
        Everything else in the table that is a number: k, alpha, state, probabilities, intervals, segment_id.
    """
    points = points.sort_values(["track_id", "frame"], kind="stable")
    data = points[["track_id", "frame", "y", "x"]].to_numpy(dtype=np.float64)
    others = points.drop(columns=["track_id", "frame", "y", "x"]).select_dtypes("number")
    return data, {name: others[name].to_numpy() for name in others}


def run_record(files: list, options: dict, config: dict, counts: dict, warnings: list[str]) -> dict:
    """What run.json holds: inputs (`main.utils.sources.Source`) with sha256, versions, weights, options, units, counts,
    warnings."""
    inputs = [
        {
            "path": str(f.path),
            "condition": f.condition,
            "sha256": f.sha256,
            "format": f.format,
            "dropped": f.dropped,
            "position": f.units.position,
            "um_per_unit": f.units.um_per_unit,
            "frame_interval_s": f.units.frame_interval_s,
        }
        for f in files
    ]
    return {
        "inputs": inputs,
        "code_version": version("tracewise"),
        "weights": config.get("sha256", {}),
        "options": options,
        "units": files[0].units.labels(),
        "counts": counts,
        "warnings": warnings,
        "packages": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }


def version(package: str) -> str:
    """Version of an installed package, "not installed" if it runs from its folder."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
