"""Where shipped weights can be trusted: errors and coverage by length, noise, alpha, K and state, on labelled tracks.

    python misc/limits.py --weights default fast --tracks 4000
    python misc/limits.py --weights fast --benchmark runs/development
    python misc/limits.py --weights default --missing 0 0.03 0.1 0.2    # what missing frames cost

Tracks are fresh ones of the `broad` prior, or those of a benchmark folder. Errors are frame-wise over frames that truly
move: the median absolute error of log10 K (0.1 is 26 %), the mean absolute error of alpha, the share of true K and
alpha inside their 90 % intervals, and the share of frames with the right state (over all frames). Below: the expected
calibration error of the states, and the coverage of segments.
"""

import argparse
import time

import numpy as np
import pandas as pd

from main.tracks.benchmark.errors import calibration_error
from main.tracks.benchmark.fit_calibration import (
    analyse_labelled_tracks,
    join_frames,
    join_segments,
    read_labelled_tracks,
    simulate_labelled_tracks,
)
from main.tracks.inference.predictor import Predictor
from main.utils.weights import load_weights
from simulations.parameters import STATES, TRAPPED

SEED = 20_251_120
BINS = {
    "frames": [20, 40, 80, 140, 201],
    "noise / step": [0, 0.1, 0.3, 1, 3, np.inf],
    "alpha": [0, 0.3, 0.7, 1.3, 1.7, 2],
    "K": [0, 0.01, 0.1, 1, np.inf],
    "state": [1, 2, 3, 4],
    "frames of the segment": [1, 6, 12, 25, 50, 201],
}
COLUMNS = ("median error of log10 K", "MAE alpha", "K inside", "alpha inside", "state right")


def errors(values: dict[str, np.ndarray]) -> pd.DataFrame:
    """Errors of frames or segments.

    Parameters
    ----------
    values : dict
        From `main.tracks.benchmark.fit_calibration.join_frames` or `join_segments`.

    Returns
    -------
    DataFrame
        alpha, K and state (true), and the columns that `table` averages; nan where trapped.
    """
    k, alpha = (values[f"predicted_{name}"] for name in ("log10_k", "alpha"))
    moving = values["state"] > 0
    log10_k = np.log10(np.where(moving, values["k"], 1.0))
    rows = pd.DataFrame(
        {
            "alpha": values["alpha"],
            "K": values["k"],
            "median error of log10 K": np.abs(k[:, 0] - log10_k),
            "MAE alpha": np.abs(alpha[:, 0] - values["alpha"]),
            "K inside": (k[:, 1] <= log10_k) & (log10_k <= k[:, 2]),
            "alpha inside": (alpha[:, 1] <= values["alpha"]) & (values["alpha"] <= alpha[:, 2]),
        }
    )
    return rows.astype(float).where(pd.Series(moving), axis=0).assign(state=values["state"])


def frame_errors(tracks: list[dict], predictions: list) -> pd.DataFrame:
    """One row a frame: `errors`, and frames (of its track), noise / step (localisation error over sqrt(2 K)), state."""
    values = join_frames(tracks, predictions)
    lengths = [len(t["k"]) for t in tracks]
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = np.repeat([t["sigma"] for t in tracks], lengths) / np.sqrt(2 * values["k"])
    right = values["probs"].argmax(axis=1) == values["state"]
    noise = np.where(values["state"] > 0, noise, np.nan)
    return errors(values).assign(frames=np.repeat(lengths, lengths), **{"noise / step": noise, "state right": right})


def segment_errors(tracks: list[dict], predictions: list, segmented: list, config: dict) -> pd.DataFrame:
    """One row a segment that is predicted to move: `errors` against the true segment it shares most frames with."""
    values = join_segments(tracks, predictions, segmented, config.get("calibration", {}))
    lengths = [s.n_frames for segments in segmented for s in segments if s.state != TRAPPED]
    return errors(values).assign(**{"frames of the segment": lengths, "state right": np.nan})


def table(rows: pd.DataFrame) -> str:
    """Markdown table of the errors by bin."""
    lines = ["| | rows | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    groups = [("all", rows)]
    for name in (name for name in BINS if name in rows):
        cut = pd.cut(rows[name], BINS[name], right=False)
        groups += [(f"{name} {g.left:g} to {g.right:g}", own) for g, own in rows.groupby(cut, observed=True)]
    for name, own in groups:
        figures = [own[c].median() if c.startswith("median") else own[c].mean() for c in COLUMNS]
        lines.append(f"| {name} | {len(own):,} | " + " | ".join(f"{value:.3f}" for value in figures) + " |")
    return "\n".join(lines)


def state_errors(tracks: list[dict], predictions: list) -> str:
    """Expected calibration error (15 bins) of the most probable state and of each state, in one line."""
    values = join_frames(tracks, predictions)
    probs, state = values["probs"], values["state"]
    parts = [f"most probable state {calibration_error(probs.max(axis=1), probs.argmax(axis=1) == state):.4f}"]
    parts += [f"{name} {calibration_error(probs[:, i], state == i):.4f}" for i, name in enumerate(STATES)]
    return "expected calibration error: " + ", ".join(parts)


def gap_errors(predictor, tracks: list[dict], shares: list[float]) -> str:
    """Markdown table of the errors at the frames that were seen, where a share of frames is missing at random.

    Each share twice: the tracks with their gaps, and cut at every gap into tracks of their own.
    """
    rng, lines = np.random.default_rng(SEED), ["| | rows | " + " | ".join(COLUMNS) + " |", "|---" * 7 + "|"]
    for share in shares:
        seen = [rng.random(len(t["k"])) >= share for t in tracks]
        for there in seen:
            there[[0, -1]] = True
        gappy = [t | {"xy": np.where(there[:, None], t["xy"], np.nan)} for t, there in zip(tracks, seen, strict=True)]
        cut = [piece for t, there in zip(tracks, seen, strict=True) for piece in stretches(t, there)]
        for name, own in ((f"{share:.0%} missing", gappy), (f"{share:.0%} missing, cut there", cut)):
            predictions = predictor.predict([t["xy"] for t in own], [t["sigma"] for t in own])
            rows = frame_errors(own, predictions)
            line = table(rows[np.concatenate([np.isfinite(t["xy"][:, 0]) for t in own])]).splitlines()[2]
            lines.append(line.replace("| all |", f"| {name} |"))
            if share == 0:
                break
    return "\n".join(lines)


def stretches(track: dict, seen: np.ndarray) -> list[dict]:
    """The parts of a track between its missing frames, of 2 frames or more."""
    frames = np.flatnonzero(seen)
    parts = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return [track | {n: track[n][part] for n in ("xy", "k", "alpha", "state")} for part in parts if len(part) > 1]


def main() -> None:
    """Print the tables of each set of weights, with the localisation error known and one without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", nargs="+", default=["default"])
    parser.add_argument("--tracks", type=int, default=4000)
    parser.add_argument("--benchmark", help="folder of benchmark experiments, made by benchmark.py")
    parser.add_argument("--missing", nargs="+", type=float, help="shares of missing frames: print what they cost")
    args = parser.parse_args()
    tracks = (
        read_labelled_tracks(args.benchmark) if args.benchmark else simulate_labelled_tracks("broad", args.tracks, SEED)
    )
    for name in args.weights:
        nets, config = load_weights(name)
        predictor = Predictor(nets, config)
        if args.missing:
            print(f"\n{name}, localisation error known ({len(tracks)} tracks)\n")
            print(gap_errors(predictor, tracks, args.missing))
            continue
        for known, sigma in (("known", [t["sigma"] for t in tracks]), ("unknown", None)):
            started = time.perf_counter()
            predictions, segmented = analyse_labelled_tracks(predictor, config, tracks, sigma)
            print(f"\n{name}, localisation error {known} ({len(tracks)} tracks)\n")
            print(table(frame_errors(tracks, predictions)))
            print(f"\n{state_errors(tracks, predictions)}\n")
            print(table(segment_errors(tracks, predictions, segmented, config)))
            print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
