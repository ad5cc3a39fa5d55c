"""Draw the results of `infer.py` and print the first segments: `python main/figures.py RESULTS`."""

import argparse
import sys
from pathlib import Path

import pandas as pd

from main.tracks.figures import FIRST_ROWS, draw_results


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
