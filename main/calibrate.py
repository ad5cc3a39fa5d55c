"""Calibrate 90 % intervals and state probabilities of one or more sets of weights; written to their config.json.

python main/calibrate.py --weights weights/mine --prior mine.json stationary   (for the range of your own microscope)
python main/calibrate.py --weights main/models/weights/fast main/models/weights/default

Weights are given by the path of their folder; a name alone would mean those of the package, which stay as they are.

Calibration needs tracks that nothing was trained on, and a decision on the kinds of tracks that count. Half of the
weight is on stationary tracks, of 5 to 200 frames, at each alpha, length and noise over step alike; each of them counts
with its localisation error known and hidden. The rest is on new tracks of the training priors (hidden in 40 % of them,
as in training) and of the nine benchmark experiments, most of it on these. Fit the segmentation before
(main/benchmark.py --fit-penalty), because intervals are calibrated for the segments it gives. misc/limits.py then
prints how many true values lie inside the intervals.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from main.tracks.benchmark.fit_calibration import STATIONARY, Group, fit_calibration, simulate_labelled_tracks
from main.utils.config import check_number
from main.utils.weights import load_weights, read_config, writable_weights, write_config
from simulations.arguments import Parser
from simulations.parameters import read_prior

SEED = 20_251_121
TRACKS = (10, 1_000_000)  # fewest and most of each kind; all of them are in memory
HIDDEN_SHARE = 0.4  # of the tracks of a prior; their localisation error is hidden, as in training
WEIGHTS = {"benchmark": 6, STATIONARY: 16}  # of kinds of tracks, where that of a prior is 1; 8 known and 8 hidden


def parse(arguments: list[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--weights",
        nargs="+",
        required=True,
        metavar="DIR",
        help="folders of the weights to calibrate (required)",
    )
    parser.add_argument(
        "--prior",
        nargs="+",
        default=["broad", "challenge", "benchmark", STATIONARY],
        metavar="PRIOR",
        help="kinds of tracks: names of priors, JSON files of priors, benchmark for the nine experiments, or "
        "stationary for tracks that never change (default: broad challenge benchmark stationary)",
    )
    parser.add_argument(
        "--tracks", type=int, default=6000, metavar="N", help="tracks to simulate of each kind (default: %(default)s)"
    )
    parser.add_argument(
        "--keep-temperature",
        action="store_true",
        help="calibrate the intervals alone; the probabilities of states, and with them the segments, stay as they are",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    """Calibrate; a file or option that cannot be used gives one sentence and exit code 2."""
    args = parse(arguments, prog)
    try:
        check_number("tracks", args.tracks, *TRACKS)
        folders = [writable_weights(name) for name in args.weights]
        groups = [simulate_group(name, args.tracks, SEED + i) for i, name in enumerate(args.prior)]
        for folder in folders:
            nets, config = load_weights(folder)
            temperature = config.get("calibration", {}).get("temperature") if args.keep_temperature else None
            calibration = fit_calibration(nets, config, groups, temperature)
            write_config(folder, read_config(folder) | {"calibration": calibration})
            print(f"{folder}: {calibration}")
    except (OSError, ValueError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 2
    return 0


def simulate_group(name: str, n_tracks: int, seed: int) -> Group:
    """Simulate labelled tracks of one kind, with their localisation errors as the networks are told them."""
    prior = read_prior(name) if name.endswith(".json") else name
    tracks = simulate_labelled_tracks(prior, n_tracks, seed)
    sigma, weight = np.array([t["sigma"] for t in tracks]), WEIGHTS.get(name, 1)
    if name == "benchmark":
        return Group(tracks, sigma, weight)
    if name == STATIONARY:
        return Group(tracks * 2, np.concatenate([sigma, np.full(len(tracks), np.nan)]), weight, by_truth=True)
    hidden = np.random.default_rng(SEED).random(len(tracks)) < HIDDEN_SHARE
    return Group(tracks, np.where(hidden, np.nan, sigma), weight)


if __name__ == "__main__":
    sys.exit(main())
