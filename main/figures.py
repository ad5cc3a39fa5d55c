"""Draw the results of `infer.py` and print the first segments: `python main/figures.py RESULTS`."""

import sys
from pathlib import Path

import pandas as pd

from main.tracks.figures import draw_results
from main.utils.errors import InputError
from simulations.arguments import Parser

FIRST_ROWS = 8  # of the segments table
DESCRIPTION = """Draw the results of infer.py into RESULTS/figures (SVG and PNG): maps of the tracks by state, K and
alpha, and the track with most segments over time. Also prints the first segments."""


def main(arguments=None, prog=None) -> int:
    """Run the command; return 0, or 2 with one sentence on stderr if the folder holds no results, 130 after Ctrl-C."""
    parser = Parser(prog=prog or "figures.py", description=DESCRIPTION)
    parser.add_argument("results", type=Path, metavar="RESULTS", help="Folder that infer.py wrote. Required.")
    folder = parser.parse_args(arguments).results
    try:
        written = draw_results(folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"interrupted: {str(error) or 'nothing was written'}.", file=sys.stderr)
        return 130
    segments = pd.read_parquet(folder / "segments.parquet")
    print(f"\nThe first {min(FIRST_ROWS, len(segments))} of {len(segments)} segments in {folder / 'segments.parquet'}:")
    print(segments.head(FIRST_ROWS).to_string(index=False, float_format="{:.4g}".format))
    print(f"\nTables in {folder}: points.parquet, segments.parquet, tracks.parquet. Record of the run: run.json")
    if (folder / "report.html").is_file():
        print(f"Report: {folder / 'report.html'}")
    print("Figures: " + ", ".join(str(path) for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
