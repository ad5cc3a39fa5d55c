"""Where shipped weights can be trusted: errors by length, noise and alpha on fresh tracks of the `broad` prior.

    python misc/limits.py --weights default fast --tracks 4000

Errors are frame-wise over frames that truly move: the median absolute error of log10 K (0.1 is 26 %), the mean
absolute error of alpha, and the share of frames with the right state (over all frames).
"""

import argparse
import time

import numpy as np
import pandas as pd

from main.utils.inference import Predictor
from main.utils.weights import load_weights
from simulations.stream import TrackStream

SEED = 20_251_120
BINS = {
    "frames": [20, 40, 80, 140, 201],
    "noise / step": [0, 0.1, 0.3, 1, 3, np.inf],
    "alpha": [0, 0.3, 0.7, 1.3, 1.7, 2],
}


def held_out(n_tracks: int) -> list[dict]:
    """Labelled tracks of the broad prior from a seed that no training uses: xy (T, 2) px, k, alpha, state, sigma."""
    stream = TrackStream("broad", 256, "cpu", SEED, chunk=max(n_tracks, 512), unknown_sigma=0.0)
    batch = stream.simulate_chunk(0)
    tracks = []
    for i, n in enumerate(batch["length"].tolist()):
        track = {name: batch[name][i, :n].double().numpy() for name in ("xy", "k", "alpha", "state")}
        tracks.append(track | {"sigma": float(batch["sigma"][i])})
    return tracks


def frame_errors(predictor: Predictor, tracks: list[dict], sigma) -> pd.DataFrame:
    """One row a frame: what it was, and how wrong the prediction is.

    Returns
    -------
    DataFrame
        frames (length of its track), noise / step (localisation error over sqrt(2 K)), alpha, and the errors
        log10_k, alpha_error (nan where trapped) and right (state).
    """
    rows = []
    for track, p in zip(tracks, predictor.predict([t["xy"] for t in tracks], sigma, progress=True), strict=True):
        moving = track["state"] > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            rows.append(pd.DataFrame({
                "frames": len(moving),
                "noise / step": np.where(moving, track["sigma"] / np.sqrt(2 * track["k"]), np.nan),
                "alpha": np.where(moving, track["alpha"], np.nan),
                "log10_k": np.where(moving, np.abs(p.log10_k - np.log10(track["k"])), np.nan),
                "alpha_error": np.where(moving, np.abs(p.alpha - track["alpha"]), np.nan),
                "right": p.state_probs.argmax(1) == track["state"],
            }))  # fmt: skip
    return pd.concat(rows)


def table(errors: pd.DataFrame) -> str:
    """Markdown table of the errors by bin."""
    lines = ["| | frames of data | median error of log10 K | MAE alpha | state right |", "|---|---|---|---|---|"]
    groups = [("all", errors)]
    for name, edges in BINS.items():
        cut = pd.cut(errors[name], edges, right=False)
        groups += [(f"{name} {g.left:g} to {g.right:g}", own) for g, own in errors.groupby(cut, observed=True)]
    for name, own in groups:
        lines.append(f"| {name} | {len(own):,} | {own['log10_k'].median():.3f} | {own['alpha_error'].mean():.3f} "
                     f"| {own['right'].mean():.3f} |")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Print one table per set of weights, with the localisation error known and one without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", nargs="+", default=["default"])
    parser.add_argument("--tracks", type=int, default=4000)
    args = parser.parse_args()
    tracks = held_out(args.tracks)
    for name in args.weights:
        predictor = Predictor(*load_weights(name))
        for known, sigma in (("known", [t["sigma"] for t in tracks]), ("unknown", None)):
            started = time.perf_counter()
            errors = frame_errors(predictor, tracks, sigma)
            print(f"\n{name}, localisation error {known} ({len(tracks)} tracks, "
                  f"{time.perf_counter() - started:.0f} s)\n\n{table(errors)}")  # fmt: skip


if __name__ == "__main__":
    main()
