"""Estimate occupancy, dwell times, transition rates and mean motion of states from the results of `infer.py`.

With conditions, also compare each with the first: `python main/kinetics.py RESULTS`.
"""

import sys
from pathlib import Path

from main.tracks.kinetics.describe import describe_kinetics
from main.tracks.results.components import tabulate_components
from main.tracks.results.record import read_record
from main.utils.errors import InputError
from simulations.arguments import Parser

DESCRIPTION = """Estimate occupancy (share of the time in each state, for example the bound fraction), mean dwell times,
transition rates and diffusion coefficients by likelihood, from the positions in the results of infer.py, and the mean
motion of the states that the networks label, all with 90 % intervals. Prints which model was used, warnings and the
table, and writes it to RESULTS/kinetics.csv, and figures to RESULTS/figures. If infer.py was given conditions, each is
compared with the first one (RESULTS/comparison.csv)."""


def main(arguments=None, prog=None) -> int:
    """Run the command; return 0, or 2 with one sentence on stderr if the folder holds no results, 130 after Ctrl-C."""
    parser = Parser(prog=prog or "kinetics.py", description=DESCRIPTION)
    parser.add_argument("results", type=Path, metavar="RESULTS", help="Folder that infer.py wrote. Required.")
    folder = parser.parse_args(arguments).results
    try:
        table, comparison, note, written = describe_kinetics(folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"interrupted: {str(error) or 'nothing was written'}.", file=sys.stderr)
        return 130
    if table.empty:
        print(f"{folder}: no track was long enough to analyse.", file=sys.stderr)
        return 2
    seen = table[table["value"].notna() & (table["n"] > 0)]
    print(seen.to_string(index=False, float_format="{:.4g}".format))
    tables = "kinetics.csv"
    if len(comparison):
        tables += ", comparison.csv"
        print(f"\nCompared with {comparison['reference'].iloc[0]}:")
        print(comparison.to_string(index=False, float_format="{:.4g}".format))
    components = tabulate_components(read_record(folder))
    if len(components):
        print("\nComponents that the tracks of a file share (read these, not means over all of them):")
        print(components.to_string(index=False, float_format="{:.4g}".format))
    print(f"\n{note}\nTables in {folder}: {tables}. Figures: {', '.join(map(str, written)) or 'none'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
