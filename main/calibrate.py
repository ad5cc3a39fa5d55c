"""Calibrate 90 % intervals and state probabilities of one or more sets of weights; written to their config.json.

python main/calibrate.py --weights fast default
python main/calibrate.py --weights runs/mine --prior mine.json      (for the range of your own microscope)

Calibration needs tracks that nothing was trained on, and a decision on the kinds of tracks that count. By default a
quarter of the weight is on new tracks of the training priors (their localisation error is hidden in 40 % of them, as in
training). The rest is on new tracks of the nine benchmark experiments, whose K and alpha are not evenly spread. Fit the
segmentation before (main/benchmark.py --fit-penalty), because intervals are calibrated for the segments it gives.
misc/limits.py then prints how many true values lie inside the intervals.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from main.tracks.benchmark.fit_calibration import fit_calibration, simulate_labelled_tracks
from main.utils.weights import load_weights, read_config, weights_folder, write_config
from simulations.parameters import read_prior

SEED = 20_251_121
HIDDEN_SHARE = 0.4  # of the tracks of a prior; their localisation error is hidden, as in training
BENCHMARK_WEIGHT = 6  # of the nine experiments, where that of a prior is 1


def parse(arguments: list[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        default=["default"],
        metavar="NAME",
        help="shipped names or folders of the weights to calibrate (default: default)",
    )
    parser.add_argument(
        "--prior",
        nargs="+",
        default=["broad", "challenge", "benchmark"],
        metavar="PRIOR",
        help="kinds of tracks: names of priors, JSON files of priors, or benchmark for the nine experiments (default: "
        "broad challenge benchmark)",
    )
    parser.add_argument(
        "--tracks", type=int, default=6000, metavar="N", help="tracks to simulate of each kind (default: %(default)s)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    """Calibrate; a file or option that cannot be used gives one sentence and exit code 2."""
    args = parse(arguments, prog)
    try:
        groups = [simulate_group(name, args.tracks, SEED + i) for i, name in enumerate(args.prior)]
        for name in args.weights:
            calibration = fit_calibration(*load_weights(name), groups)
            folder = weights_folder(name)
            write_config(folder, read_config(folder) | {"calibration": calibration})
            print(f"{name}: {calibration}")
    except (OSError, ValueError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 2
    return 0


def simulate_group(name: str, n_tracks: int, seed: int) -> tuple[list[dict], np.ndarray, float]:
    """Simulate labelled tracks of one kind; their localisation errors (px, nan where hidden); their weight."""
    prior = read_prior(name) if name.endswith(".json") else name
    tracks = simulate_labelled_tracks(prior, n_tracks, seed)
    sigma = np.array([t["sigma"] for t in tracks])
    if name == "benchmark":
        return tracks, sigma, BENCHMARK_WEIGHT
    hidden = np.random.default_rng(SEED).random(len(tracks)) < HIDDEN_SHARE
    return tracks, np.where(hidden, np.nan, sigma), 1


if __name__ == "__main__":
    sys.exit(main())
