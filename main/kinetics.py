"""Dwell times, transition rates and occupancy from the results of `infer.py`: `python main/kinetics.py RESULTS`."""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from main.utils.kinetics import dwells, kinetics, survival
from main.utils.plotting import plot_survival, save
from main.utils.results import write_atomically
from simulations.parameters import STATES

NOTE = ("90 % intervals from resampling tracks. mean_dwell: from dwells whose start was seen, those that end with the "
        "track censored; {left_out} dwells that begin with a track are left out. Stays of under 3 frames are not seen. "
        "Where tracks end because of what a particle does (bleaching, leaving the field), dwells come out wrong.")


def describe(folder: str | Path) -> tuple[pd.DataFrame, str, list[Path]]:
    """Kinetics of every file of a results folder, written to `kinetics.csv` and drawn into `figures`.

    Parameters
    ----------
    folder : path
        That `infer.py` wrote.

    Returns
    -------
    table : pandas.DataFrame
        As of `main.utils.kinetics.kinetics`, with a column file where there are several. Empty, and nothing written,
        where no track was analysed.
    note : str
        What to know when reading it.
    written : list of Path
        Figures.
    """
    folder = Path(folder)
    segments = pd.read_parquet(folder / "segments.parquet")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    interval, unit = record["inputs"][0]["frame_interval_s"], "s"
    if interval is None:
        interval, unit = 1.0, "frames"
    groups = list(segments.groupby("file", sort=False)) if "file" in segments else [(None, segments)]
    tables, written, left_out = [], [], 0
    for i, (file, own) in enumerate(groups):
        if own.empty:
            continue
        table = dwells(own)
        left_out += int((~table["start_seen"]).sum())
        tables.append(kinetics(own, interval).assign(**({} if file is None else {"file": file})))
        curves = {name: survival(table, state) for state, name in enumerate(STATES)}
        if not all(curve.empty for curve in curves.values()):
            name = "dwell_times" if file is None else f"dwell_times_{i}"
            written.append(save(plot_survival(curves, interval, unit), name, folder / "figures"))
    if not tables:
        return pd.DataFrame(), "", []
    result = pd.concat(tables, ignore_index=True)
    write_atomically(folder / "kinetics.csv", lambda part: result.to_csv(part, index=False))
    units = f"Times in {unit}, rates per {'s' if unit == 's' else 'frame'}. "
    return result, units + NOTE.format(left_out=left_out), written


def main(arguments=None) -> int:
    """Run the command; 0, or 2 with one sentence if the folder holds no results."""
    parser = argparse.ArgumentParser(prog="kinetics.py", description=__doc__)
    parser.add_argument("results", type=Path, help="folder that infer.py wrote")
    folder = parser.parse_args(arguments).results
    if not (folder / "run.json").is_file():
        print(f"{folder}: no run.json in it, expected a folder that infer.py wrote.", file=sys.stderr)
        return 2
    table, note, written = describe(folder)
    if table.empty:
        print(f"{folder}: no track was long enough to analyse.", file=sys.stderr)
        return 2
    seen = table[table["value"].notna() & (table["n"] > 0)]
    print(seen.to_string(index=False, float_format="{:.4g}".format))
    print(f"\n{note}\nTable: {folder / 'kinetics.csv'}; figures: {', '.join(map(str, written)) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
