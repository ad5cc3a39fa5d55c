"""Dwell times, transition rates, occupancy and levels of the states, from the results of `infer.py`; where these have
conditions, how they differ: `python main/kinetics.py RESULTS`."""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from main.utils.kinetics import compare_conditions, dwells, estimate, interval_of, kinetics, survival
from main.utils.plotting import plot_distributions, plot_survival, save
from main.utils.results import write_atomically
from main.utils.tracks import InputError
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
        As of `main.utils.kinetics.kinetics`, with a column condition (or file) where there are several. Empty, and
        nothing written, where no track was analysed.
    comparison : pandas.DataFrame
        As of `main.utils.kinetics.compare_conditions`.
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


def main(arguments=None) -> int:
    """Run the command; 0, or 2 with one sentence if the folder holds no results."""
    parser = argparse.ArgumentParser(prog="kinetics.py", description=" ".join(__doc__.split()))
    parser.add_argument("results", type=Path, help="folder that infer.py wrote")
    folder = parser.parse_args(arguments).results
    if not (folder / "run.json").is_file():
        print(f"{folder}: no run.json in it, expected a folder that infer.py wrote.", file=sys.stderr)
        return 2
    try:
        table, comparison, note, written = describe(folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if table.empty:
        print(f"{folder}: no track was long enough to analyse.", file=sys.stderr)
        return 2
    seen = table[table["value"].notna() & (table["n"] > 0)]
    print(seen.to_string(index=False, float_format="{:.4g}".format))
    tables = "kinetics.csv"
    if len(comparison):
        tables += ", comparison.csv"
        print(f"\nAgainst {comparison['reference'].iloc[0]}:")
        print(comparison.to_string(index=False, float_format="{:.4g}".format))
    print(f"\n{note}\nTables in {folder}: {tables}; figures: {', '.join(map(str, written)) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
