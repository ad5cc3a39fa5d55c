"""Dwell times, transition rates, occupancy and levels of the states, from the results of `infer.py`; where these have
conditions, how they differ: `python main/kinetics.py RESULTS`."""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from main.utils.kinetics import compare, dwells, estimate, interval_of, kinetics, survival
from main.utils.plotting import plot_distributions, plot_survival, save
from main.utils.results import write_atomically
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
        As of `main.utils.kinetics.compare`, with a column condition; empty with fewer than two conditions.
    note : str
        What to know when reading it.
    written : list of Path
        Figures.
    """
    folder = Path(folder)
    segments = pd.read_parquet(folder / "segments.parquet")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    interval, unit = interval_of(segments, record)
    interval = interval or 1.0
    by = next((name for name in ("condition", "file") if name in segments), None)
    groups = [(None, segments)] if by is None else list(segments.groupby(by, sort=False))
    groups = [(name, own) for name, own in groups if len(own)]
    if not groups:
        return pd.DataFrame(), pd.DataFrame(), "", []
    found = {name: estimate(own, interval, seed=i) for i, (name, own) in enumerate(groups)}
    result = _stacked({name: kinetics(one) for name, one in found.items()}, by)
    comparison = pd.DataFrame()
    if by == "condition" and len(found) > 1:
        first, *others = found
        comparison = _stacked({name: compare(found[first], found[name]) for name in others}, by)
        write_atomically(folder / "comparison.csv", lambda part: comparison.to_csv(part, index=False))
    write_atomically(folder / "kinetics.csv", lambda part: result.to_csv(part, index=False))
    left_out = sum(int((~dwells(own)["start_seen"]).sum()) for _, own in groups)
    resampled = " and ".join(dict.fromkeys(one.by for one in found.values()))
    note = NOTE.format(by=resampled, left_out=left_out) + (f" {FILES_NOTE}" if "tracks" in resampled else "")
    note = f"Times in {unit}, rates per {'s' if unit == 's' else 'frame'}. " + note
    return result, comparison, note.replace("\n", " "), draw(folder, groups, interval, unit, record["units"])


def _stacked(tables: dict, by: str | None) -> pd.DataFrame:
    """Tables of conditions or files as one, with a column that says which."""
    return pd.concat([t.assign(**({} if by is None else {by: name})) for name, t in tables.items()], ignore_index=True)


def draw(folder: Path, groups: list, interval: float, unit: str, units: dict[str, str]) -> list[Path]:
    """Survival of each condition's or file's dwells, and the distributions of all; returns the files written."""
    written = []
    for i, (name, own) in enumerate(groups):
        table = dwells(own)
        curves = {state: survival(table, number) for number, state in enumerate(STATES)}
        if not all(curve.empty for curve in curves.values()):
            title = "dwell_times" if name is None else f"dwell_times_{i}"
            written.append(save(plot_survival(curves, interval, unit, name), title, folder / "figures"))
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
    table, comparison, note, written = describe(folder)
    if table.empty:
        print(f"{folder}: no track was long enough to analyse.", file=sys.stderr)
        return 2
    seen = table[table["value"].notna() & (table["n"] > 0)]
    print(seen.to_string(index=False, float_format="{:.4g}".format))
    tables = "kinetics.csv"
    if len(comparison):
        tables += ", comparison.csv"
        print(f"\nAgainst {table['condition'].iloc[0]}:")
        print(comparison.to_string(index=False, float_format="{:.4g}".format))
    print(f"\n{note}\nTables in {folder}: {tables}; figures: {', '.join(map(str, written)) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
