"""Dwell times, transition rates, occupancy and levels of the states, from the results of `infer.py`; where these have
conditions, how they differ: `python main/kinetics.py RESULTS`."""

import argparse
import sys
from pathlib import Path

from main.tracks.kinetics.describe import describe
from main.utils.errors import InputError


def main(arguments=None, prog=None) -> int:
    """Run the command; 0, or 2 with one sentence if the folder holds no results."""
    parser = argparse.ArgumentParser(prog=prog or "kinetics.py", description=" ".join(__doc__.split()))
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
