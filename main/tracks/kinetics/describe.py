"""Kinetics of a folder of results: tables, notes and figures."""

import json
from pathlib import Path

import pandas as pd

from main.tracks.kinetics.dwells import dwells, interval_of, survival
from main.tracks.kinetics.figures import plot_distributions, plot_survival
from main.tracks.kinetics.rates import compare_conditions, estimate, kinetics
from main.utils.files import write_atomically
from main.utils.plotting import save
from simulations.parameters import STATES

NOTE = """90 % intervals from resampling {by}. Occupancy and levels (geometric means of msd_1 and k, mean alpha) are
once weighted by frames, once with every track alike (long tracks are those that stay in view); k at different
alpha has different units, msd_1 can be compared. With fewer than 5 of what n counts there is no interval.
mean_dwell: from dwells whose start was seen, those that end with the track censored; {left_out} dwells that
begin with a track are left out. Stays of under 3 frames are not seen. Where tracks end because of what a
particle does (bleaching, leaving the field), dwells come out wrong."""
FILES_NOTE = """Tracks of one recording are alike: with fewer than 5 files in a condition, tracks are resampled and the
intervals say nothing about how recordings differ."""


def describe(folder: str | Path) -> tuple[pd.DataFrame, pd.DataFrame, str, list[Path]]:
    """Kinetics of every condition (or file) of a results folder, written to `kinetics.csv` and drawn into `figures`;
    where there are conditions, also how each differs from the first, in `comparison.csv`.

    Parameters
    ----------
    folder : path
        That `infer.py` wrote.

    Returns
    -------
    table : pandas.DataFrame
        As returned by `main.tracks.kinetics.rates.kinetics`, with a column condition (or file) where there are
        several. Empty, and nothing written, where no track was analysed.
    comparison : pandas.DataFrame
        As of `main.tracks.kinetics.rates.compare_conditions`.
    note : str
        What to know when reading it.
    written : list of Path
        Figures.
    """
    folder = Path(folder)
    segments = pd.read_parquet(folder / "segments.parquet")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    by = next((name for name in ("condition", "file") if name in segments), None)
    groups = [(None, segments)] if by is None else list(segments.groupby(by, sort=False))
    groups = [(name, own) for name, own in groups if len(own)]
    if not groups:
        return pd.DataFrame(), pd.DataFrame(), "", []
    intervals = [interval_of(own, record) for _, own in groups]
    unit = intervals[0][1]
    found = {
        name: estimate(own, interval or 1.0, seed=i)
        for i, ((name, own), (interval, _)) in enumerate(zip(groups, intervals, strict=True))
    }
    result = _stacked({name: kinetics(one) for name, one in found.items()}, by)
    comparison = compare_conditions(found, record) if by == "condition" else pd.DataFrame()
    (folder / "comparison.csv").unlink(missing_ok=True)
    if len(comparison):
        write_atomically(folder / "comparison.csv", lambda part: comparison.to_csv(part, index=False))
    write_atomically(folder / "kinetics.csv", lambda part: result.to_csv(part, index=False))
    left_out = sum(int((~dwells(own)["start_seen"]).sum()) for _, own in groups)
    resampled = " and ".join(dict.fromkeys(one.by for one in found.values()))
    note = NOTE.format(by=resampled, left_out=left_out) + (f" {FILES_NOTE}" if "tracks" in resampled else "")
    if by == "condition" and len(found) > 1 and comparison.empty:
        note += " No track of the first condition was long enough to analyse: nothing is compared with it."
    if len({interval for interval, _ in intervals}) > 1:
        note += " The frame intervals differ: msd_1, the MSD at one frame, is not compared."
    note = f"Times in {unit}, rates per {'s' if unit == 's' else 'frame'}. " + note
    return result, comparison, note.replace("\n", " "), draw(folder, groups, intervals, record["units"])


def _stacked(tables: dict, by: str | None) -> pd.DataFrame:
    """Tables of conditions or files as one, with a column that says which."""
    return pd.concat([t.assign(**({} if by is None else {by: name})) for name, t in tables.items()], ignore_index=True)


def draw(folder: Path, groups: list, intervals: list, units: dict[str, str]) -> list[Path]:
    """Survival of each condition's or file's dwells, and the distributions of all; returns the files written."""
    written = []
    for path in folder.glob("figures/dwell_times*.svg"):
        path.unlink()
    for i, ((name, own), (interval, unit)) in enumerate(zip(groups, intervals, strict=True)):
        table = dwells(own)
        curves = {state: survival(table, number) for number, state in enumerate(STATES)}
        if not all(curve.empty for curve in curves.values()):
            title = "dwell_times" if name is None else f"dwell_times_{i}"
            written.append(save(plot_survival(curves, interval or 1.0, unit, name), title, folder / "figures"))
    named = {"all tracks" if name is None else str(name): own for name, own in groups}
    return [*written, save(plot_distributions(named, units), "distributions", folder / "figures")]
