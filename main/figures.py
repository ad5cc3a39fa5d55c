"""Draw the results of `infer.py` and print the first segments: `python main/figures.py RESULTS`."""

import argparse
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from main.utils.plotting import plot_track_over_time, plot_tracks, save
from main.utils.tables import PROBABILITIES

FIRST_ROWS = 8


def figures_of(points: pd.DataFrame, segments: pd.DataFrame, units: dict[str, str]) -> dict:
    """Maps of the tracks by state, K and alpha, and the track with most segments over time.

    Parameters
    ----------
    points, segments : DataFrame
        Tables of one file, as `infer.py` writes them.
    units : dict
        Column -> unit, as under "units" in run.json.

    Returns
    -------
    dict of str -> Figure
        Empty if no track was long enough to analyse.
    """
    if points.empty:
        return {}
    maps = {f"tracks_{by}": plot_tracks(points, by, units["x"], units["k"]) for by in ("state", "k", "alpha")}
    track_id = segments.groupby("track_id").size().idxmax()
    return maps | {"track_over_time": plot_result_track(points, segments, track_id, units["k"])}


def plot_result_track(points: pd.DataFrame, segments: pd.DataFrame, track_id: int, k_unit: str):
    """Figure of one track's points and segments over time; K and alpha are blank where trapped."""
    own = points[points["track_id"] == track_id].sort_values("frame")
    cut = segments[segments["track_id"] == track_id].sort_values("frame_start")
    moving = own["k"] > 0
    prediction = SimpleNamespace(
        log10_k=np.log10(own["k"].where(moving).to_numpy()),
        alpha=own["alpha"].where(moving).to_numpy(),
        state_probs=own[list(PROBABILITIES)].to_numpy(),
        p_change=own["p_change"].to_numpy(),
    )
    spans = cut.assign(start=cut["frame_start"], end=cut["frame_end"] + 1).to_dict("records")
    changepoints = cut["frame_start"].to_numpy()[1:]
    return plot_track_over_time(prediction, changepoints, segments=spans, frames=own["frame"].to_numpy(), k_unit=k_unit)


def draw_results(folder: str | Path) -> list[Path]:
    """Draw the figures of every file in a results folder into its subfolder `figures`.

    Returns
    -------
    list of Path
        The files written.
    """
    folder = Path(folder)
    points, segments = (pd.read_parquet(folder / f"{name}.parquet") for name in ("points", "segments"))
    units = json.loads((folder / "run.json").read_text(encoding="utf-8"))["units"]
    if "file" not in points:
        figures = figures_of(points, segments, units)
        return [save(fig, name, folder / "figures") for name, fig in figures.items()]
    written = []
    for i, (file, own) in enumerate(points.groupby("file", sort=False)):
        figures = figures_of(own, segments[segments["file"] == file], units)
        written += [save(fig, f"{name}_{i}", folder / "figures") for name, fig in figures.items()]
    return written


def main(arguments=None) -> int:
    """Run the command; 0, or 2 with one sentence if the folder holds no results."""
    parser = argparse.ArgumentParser(prog="figures.py", description="Draw the results of infer.py.")
    parser.add_argument("results", type=Path, help="folder that infer.py wrote")
    folder = parser.parse_args(arguments).results
    if not (folder / "run.json").is_file():
        print(f"{folder}: no run.json in it, expected a folder that infer.py wrote.", file=sys.stderr)
        return 2
    written = draw_results(folder)
    segments = pd.read_parquet(folder / "segments.parquet")
    print(f"\nFirst of {len(segments)} segments in {folder / 'segments.parquet'}:")
    print(segments.head(FIRST_ROWS).to_string(index=False, float_format="{:.4g}".format))
    print(f"\nTables: {folder}/points.parquet, segments.parquet, tracks.parquet; record: run.json")
    if (folder / "report.html").is_file():
        print(f"Report: {folder / 'report.html'}")
    print("Figures: " + ", ".join(str(path) for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
