"""Fit what makes intervals and state probabilities of a set of weights trustworthy; into its config.json.

    python main/calibrate.py --weights fast default
    python main/calibrate.py --weights runs/mine --prior mine.json      # for your own microscope

Calibration needs tracks that nothing was trained on, and a decision about what tracks are like. By default a quarter of
the weight is on fresh tracks of the training priors (the localisation error hidden in 40 % of them, as in training) and
the rest on fresh tracks of the nine benchmark experiments, whose K and alpha are far from evenly spread. The
segmentation must have been fitted before: intervals of segments are calibrated for the segments that come out.
`misc/limits.py` then prints the coverage.
"""

from __future__ import annotations

import argparse

import numpy as np

from main.tracks.benchmark.fit_calibration import fit_calibration, simulated_tracks
from main.tracks.inference.predictor import Predictor
from main.utils.weights import load_weights, read_config, weights_folder, write_config
from simulations.parameters import read_prior

SEED = 20_251_121
HIDDEN = 0.4  # share of simulated tracks without localisation error, as in training
BENCHMARK_SHARE = 6  # weight of the benchmark's tracks, that of a prior being 1


def main() -> None:
    """Calibrate one or more sets of weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", nargs="+", default=["default"], help="shipped names or folders")
    parser.add_argument(
        "--prior",
        nargs="+",
        default=["broad", "challenge", "benchmark"],
        help="priors of the simulated tracks: names, or JSON files of your own",
    )
    parser.add_argument("--tracks", type=int, default=6000, help="of each prior")
    args = parser.parse_args()
    groups = []
    for i, name in enumerate(args.prior):
        prior = read_prior(name) if name.endswith(".json") else name
        tracks = simulated_tracks(prior, args.tracks, SEED + i)
        sigma, hidden = np.array([t["sigma"] for t in tracks]), np.random.default_rng(SEED).random(len(tracks)) < HIDDEN
        known = name == "benchmark"
        groups.append((tracks, np.where(hidden & (not known), np.nan, sigma), BENCHMARK_SHARE if known else 1))
    for name in args.weights:
        nets, config = load_weights(name)
        config.pop("calibration", None)
        calibration = fit_calibration(Predictor(nets, config), config, groups)
        folder = weights_folder(name)
        write_config(folder, read_config(folder) | {"calibration": calibration})
        print(f"{name}: {calibration}")


if __name__ == "__main__":
    main()
