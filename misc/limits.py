"""Limits of validity: errors and coverage of shipped weights by length, noise, alpha, K and state.

    python misc/limits.py --weights default --tracks 3000 --out misc/limits.md    # the page of the repository
    python misc/limits.py --weights default fast --tracks 4000
    python misc/limits.py --weights fast --benchmark runs/development
    python misc/limits.py --weights default --missing 0 0.03 0.1 0.2    # errors with missing frames

Tracks are simulated from the `broad` prior, or read from a benchmark folder. With --out, one Markdown file holds all
tables: known and unknown localisation error, missing frames, and the benchmark folder, if one is given. Its first
paragraphs, in `INTRODUCTION`, say what each column is.
"""

import argparse
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from main.tracks.benchmark.errors import calibration_error
from main.tracks.benchmark.fit_calibration import (
    STATIONARY,
    analyse_labelled_tracks,
    join_frames,
    join_segments,
    read_labelled_tracks,
    simulate_labelled_tracks,
)
from main.tracks.inference.motion_evidence import power_of_test
from main.tracks.inference.predictor import Predictor
from main.tracks.table import Units
from main.utils.weights import load_weights
from simulations.parameters import LONGEST_GAP, STATES, TRAPPED

SEED = 20_251_120
BINS = {
    "frames": [5, 10, 20, 40, 80, 140, 201],
    "noise / step": [0, 0.1, 0.3, 1, 3, np.inf],
    "alpha": [0, 0.3, 0.7, 1.3, 1.7, 2],
    "K": [0, 0.01, 0.1, 1, np.inf],
    "state": [1, 2, 3, 4],
    "frames of the segment": [1, 6, 12, 25, 50, 201],
}
COLUMNS = ("median error of log10 K", "MAE alpha", "msd_1 inside", "K inside", "alpha inside", "state right")
FRAME_INTERVAL_S = 0.02  # of a common microscope; K inside is that of K in um^2/s^alpha
POWER_K = (0, 0.003, 0.01, 0.03, 0.1, 0.3)  # K dt / sigma^2 of the table of the test of K = 0
POWER_FRAMES = (20, 50, 100, 400)
MISSING_SHARES = (0, 0.03, 0.1, 0.2)  # of the frames, at random, where --missing gives none

INTRODUCTION = """# Limits of validity

Printed by `{command}` (seed {seed} of the simulated tracks).

Tracks are simulated from the prior `broad`, or they are stationary (particles that never change, 5 to 200 frames), or
those of the AnDi-2 experiments where a heading says so. Tables of frames are over frames. Tables of segments are over
predicted segments; each is compared with the true segment that it shares most frames with. Errors, and the shares
inside, are over frames that truly move or segments that are predicted to move.

| column | meaning | unit |
|---|---|---|
| rows | number of frames or segments | |
| median error of log10 K | median of abs(log10 of predicted K - log10 of true K) | decades; 0.1 is 26 % |
| MAE alpha | mean of abs(predicted alpha - true alpha) | none |
| msd_1, K, alpha inside | share of true values that lie inside their 90 % interval; 0.9 is right | 0 to 1 |
| state right | share of frames, moving or not, whose most probable state is the true one | 0 to 1 |

K inside is that of K in um^2/s^alpha with {interval:g} s between frames, whose interval carries the error of alpha. The
interval of msd_1, the mean squared displacement at one frame, does not, and is narrow; K in px^2/frame^alpha has the
same one.

Names of rows: frames is the length of the track; K is the true K, px^2/frame^alpha; noise / step is the localisation
error (px) over sqrt(2 K); state is the true state. Ranges include their lower end, not their upper end.

## In words

- Do not read K or alpha where the localisation error is larger than the step and is not given. Such tracks have
  the warning `noise_dominated` only if alpha is also near 0.
- {lengths}
  Longer tracks are analysed in overlapping windows. Shorter tracks need a smaller `--min-length` and have a warning.
- The error does not depend on the unit of length, because the networks are scale-equivariant. It depends on the
  length of the track, on noise / step and on alpha.
- With `--adapt sample`, estimates are biased towards the values that are common in the sample, most of all for rare
  behaviour. Put each condition in its own file.
- Intervals are calibrated on simulated tracks: half of the weight is on tracks that never change, at each alpha, length
  (5 to 200 frames) and noise, and half on tracks that change, most of them of the AnDi-2 experiments. Where noise is
  near the step, or the localisation error is not given, they hold more than 90 %. `python main/calibrate.py --weights
  DIR --prior mine.json stationary` calibrates them for your microscope.
- Missing frames: leave the gaps in the track. Networks read gaps of up to {gap} frames. Cutting a track at its gaps
  gives larger errors, see the table of missing frames. `--adapt sample` draws positions for the missing frames.
- The localisation error is taken as white noise of one size for each track. The networks do not model motion blur:
  [audit.md](audit.md) has its bias, and every other question that was asked of tracks with known answers.
- Networks learned from five simulated models of motion. A motion that none of them makes is still given one of four
  states.
"""


def compute_errors(values: dict[str, np.ndarray]) -> pd.DataFrame:
    """Compute the errors of frames or segments.

    Parameters
    ----------
    values : dict
        As returned by `main.tracks.benchmark.fit_calibration.join_frames` or `join_segments`.

    Returns
    -------
    DataFrame
        alpha, K and state (true), and the columns that `format_table` averages; nan where trapped.
    """
    k, alpha = (values[f"predicted_{name}"] for name in ("log10_k", "alpha"))
    moving = values["state"] > 0
    log10_k = np.log10(np.where(moving, values["k"], 1.0))
    found = {"k": 10.0 ** k[:, 0], "k_lo": 10.0 ** k[:, 1], "k_hi": 10.0 ** k[:, 2], "alpha": alpha[:, 0]}
    found |= {"alpha_lo": alpha[:, 1], "alpha_hi": alpha[:, 2], "correlation": values["correlation"]}
    units = Units(frame_interval_s=FRAME_INTERVAL_S)
    k_lo, k_hi = units.convert_k_ends(pd.DataFrame(found))
    true_k = units.convert_k(10.0**log10_k, values["alpha"])
    rows = pd.DataFrame(
        {
            "alpha": values["alpha"],
            "K": values["k"],
            "median error of log10 K": np.abs(k[:, 0] - log10_k),
            "MAE alpha": np.abs(alpha[:, 0] - values["alpha"]),
            "msd_1 inside": (k[:, 1] <= log10_k) & (log10_k <= k[:, 2]),
            "K inside": (k_lo <= true_k) & (true_k <= k_hi),
            "alpha inside": (alpha[:, 1] <= values["alpha"]) & (values["alpha"] <= alpha[:, 2]),
        }
    )
    return rows.astype(float).where(pd.Series(moving), axis=0).assign(state=values["state"])


def compute_frame_errors(tracks: list[dict], predictions: list) -> pd.DataFrame:
    """Compute the errors of each frame.

    Returns
    -------
    DataFrame
        As returned by `compute_errors`, with frames (length of the track), "state right", and "noise / step"
        (localisation error over sqrt(2 K); nan where trapped).
    """
    values = join_frames(tracks, predictions)
    lengths = [len(t["k"]) for t in tracks]
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = np.repeat([t["sigma"] for t in tracks], lengths) / np.sqrt(2 * values["k"])
    right = values["probs"].argmax(axis=1) == values["state"]
    noise = np.where(values["state"] > 0, noise, np.nan)
    return compute_errors(values).assign(
        frames=np.repeat(lengths, lengths), **{"noise / step": noise, "state right": right}
    )


def compute_segment_errors(tracks: list[dict], predictions: list, segmented: list, config: dict) -> pd.DataFrame:
    """Compute the errors of each segment that is predicted to move, against the true one it shares most frames with.

    Returns
    -------
    DataFrame
        As returned by `compute_errors`, with "frames of the segment".
    """
    values = join_segments(tracks, predictions, segmented, config.get("calibration", {}))
    lengths = [s.n_frames for segments in segmented for s in segments if s.state != TRAPPED]
    return compute_errors(values).assign(**{"frames of the segment": lengths, "state right": np.nan})


def name_bin(name: str, interval: pd.Interval) -> str:
    """Name a row of a table after the bin of one quantity, a key of `BINS`."""
    return f"state {STATES[interval.left]}" if name == "state" else f"{name} {interval.left:g} to {interval.right:g}"


def format_table(rows: pd.DataFrame) -> str:
    """Format the errors by bin as a Markdown table."""
    columns = [c for c in COLUMNS if rows[c].notna().any()]  # segments have no "state right"
    lines = ["| | rows | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    groups = [("all", rows)]
    for name in (name for name in BINS if name in rows):
        cut = pd.cut(rows[name], BINS[name], right=False)
        groups += [(name_bin(name, interval), bin_rows) for interval, bin_rows in rows.groupby(cut, observed=True)]
    for name, bin_rows in groups:
        values = [bin_rows[c].median() if c.startswith("median") else bin_rows[c].mean() for c in columns]
        cells = ["" if np.isnan(value) else f"{value:.3f}" for value in values]
        lines.append(f"| {name} | {len(bin_rows):,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def describe_state_errors(tracks: list[dict], predictions: list) -> str:
    """Say the expected calibration error (15 bins) of the most probable state and of each state, in one line."""
    values = join_frames(tracks, predictions)
    probs, state = values["probs"], values["state"]
    parts = [f"most probable state {calibration_error(probs.max(axis=1), probs.argmax(axis=1) == state):.4f}"]
    parts += [f"{name} {calibration_error(probs[:, i], state == i):.4f}" for i, name in enumerate(STATES)]
    return "Expected calibration error (difference of probability and frequency): " + ", ".join(parts) + "."


def tabulate_missing_frames(predictor: Predictor, tracks: list[dict], shares) -> str:
    """Tabulate the errors at the frames that were seen, where a share of frames is missing at random.

    Each share has two rows: the tracks with their gaps, and the tracks cut at every gap.
    """
    rng, lines = np.random.default_rng(SEED), []
    for share in shares:
        seen = [rng.random(len(t["k"])) >= share for t in tracks]
        for there in seen:
            there[[0, -1]] = True
        gappy = [t | {"xy": np.where(there[:, None], t["xy"], np.nan)} for t, there in zip(tracks, seen, strict=True)]
        cut = [piece for t, there in zip(tracks, seen, strict=True) for piece in cut_at_gaps(t, there)]
        for name, paths in ((f"{share:.0%} missing", gappy), (f"{share:.0%} missing, cut at gaps", cut)):
            predictions = predictor.predict([t["xy"] for t in paths], [t["sigma"] for t in paths])
            rows = compute_frame_errors(paths, predictions)
            head, line, row, *_ = format_table(
                rows[np.concatenate([np.isfinite(t["xy"][:, 0]) for t in paths])]
            ).splitlines()
            lines += ([] if lines else [head, line]) + [row.replace("| all |", f"| {name} |")]
            if share == 0:
                break
    return "\n".join(lines)


def cut_at_gaps(track: dict, seen: np.ndarray) -> list[dict]:
    """Cut a track at its missing frames; parts of fewer than 2 frames are left out."""
    frames = np.flatnonzero(seen)
    parts = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return [track | {n: track[n][part] for n in ("xy", "k", "alpha", "state")} for part in parts if len(part) > 1]


def tabulate_errors(predictor: Predictor, config: dict, tracks: list[dict], title: str):
    """Yield the Markdown sections of frames and segments, with the localisation error known and unknown."""
    for known, sigma in (("known", [t["sigma"] for t in tracks]), ("unknown", None)):
        predictions, segmented = analyse_labelled_tracks(predictor, config, tracks, sigma)
        frames = format_table(compute_frame_errors(tracks, predictions))
        segments = format_table(compute_segment_errors(tracks, predictions, segmented, config))
        yield f"## {title}, localisation error {known} ({len(tracks):,} tracks): frames\n\n{frames}"
        yield describe_state_errors(tracks, predictions)
        yield f"## {title}, localisation error {known} ({len(tracks):,} tracks): segments\n\n{segments}"


def make_sections(name: str, simulated: list[dict], still: list[dict], experiments: list[dict], shares: list[float]):
    """Yield the Markdown sections of one set of weights.

    Parameters
    ----------
    name : str
        Shipped name or folder of the weights.
    simulated, still, experiments : list of dict
        Labelled tracks, as returned by `simulate_labelled_tracks` (the prior `broad`, stationary) and
        `read_labelled_tracks`; each may be empty.
    shares : list of float
        Shares of missing frames, for simulated tracks or else those of the experiments.
    """
    nets, config = load_weights(name)
    predictor = Predictor(nets, config)
    yield from tabulate_errors(predictor, config, simulated, f"`{name}`, prior `broad`") if simulated else ()
    yield from tabulate_errors(predictor, config, still, f"`{name}`, stationary tracks") if still else ()
    if shares:
        yield make_missing_section(name, predictor, simulated or experiments, shares)
    yield from tabulate_errors(predictor, config, experiments, f"`{name}`, AnDi-2 experiments") if experiments else ()


def make_power_section() -> str:
    """Make the Markdown section on how slow a particle may be to be told from one that does not move."""
    power = power_of_test(POWER_K, POWER_FRAMES, seed=SEED)
    rows = [[f"{k:g}", *(f"{value:.3f}" for value in row)] for k, row in zip(POWER_K, power, strict=True)]
    head = ["K dt / sigma^2", *(f"{n} frames" for n in POWER_FRAMES)]
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        "## Test of K = 0: share of Brownian tracks that are found to move\n\n"
        "1,000 tracks a cell, localisation error sigma known. The first row has particles that never move: it is the "
        f"share that is falsely called moving.\n\n{table}"
    )


def make_missing_section(name: str, predictor: Predictor, tracks: list[dict], shares) -> str:
    """Make the Markdown section of missing frames of one set of weights."""
    table = tabulate_missing_frames(predictor, tracks, shares)
    return f"## `{name}`, missing frames, localisation error known ({len(tracks):,} tracks)\n\n{table}"


def describe_lengths(names: list[str]) -> str:
    """Say on tracks of which lengths each set of weights was trained."""
    lengths = {name: load_weights(name)[1].get("training_range", {}).get("n_frames") for name in names}
    return " ".join(f"`{name}` was trained on tracks of {n[0]} to {n[1]} frames." for name, n in lengths.items() if n)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--weights",
        nargs="+",
        default=["default"],
        metavar="NAME",
        help="shipped names or folders of the weights to judge (default: default)",
    )
    parser.add_argument(
        "--tracks",
        type=int,
        default=4000,
        metavar="N",
        help="about how many tracks to simulate, at least 512 (default: %(default)s)",
    )
    parser.add_argument(
        "--benchmark",
        metavar="FOLDER",
        help="folder of benchmark experiments that main/benchmark.py made; they replace the simulated tracks, or with "
        "--out follow them",
    )
    parser.add_argument(
        "--missing",
        nargs="+",
        type=float,
        metavar="SHARE",
        help="shares of missing frames, 0 to 1; without --out only their table is printed (default: none; with --out "
        f"{' '.join(f'{share:g}' for share in MISSING_SHARES)})",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="Markdown file to write all tables to (default: none)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Print the tables of each set of weights and write them to --out; 2 with one sentence if an input is unusable."""
    args = parse(arguments)
    command = shlex.join(["python", "misc/limits.py", *(sys.argv[1:] if arguments is None else arguments)])
    started, sections = time.perf_counter(), []
    try:
        experiments = read_labelled_tracks(args.benchmark) if args.benchmark else []
        replaced = experiments and not args.out
        kinds = () if replaced else ("broad", STATIONARY)
        simulated, still = [simulate_labelled_tracks(kind, args.tracks, SEED) for kind in kinds] or ([], [])
        if args.out:
            lengths = describe_lengths(args.weights)
            options = {"command": command, "seed": SEED, "gap": LONGEST_GAP, "interval": FRAME_INTERVAL_S}
            sections = [INTRODUCTION.format(lengths=lengths, **options), make_power_section()]
        for name in args.weights:
            if args.missing and not args.out:
                predictor = Predictor(*load_weights(name))
                made = iter([make_missing_section(name, predictor, simulated or experiments, args.missing)])
            else:
                shares = (args.missing or MISSING_SHARES) if args.out else []
                made = make_sections(name, simulated, still, experiments, shares)
            for section in made:
                sections.append(section)
                print(f"\n{section}", flush=True)
        if args.out:
            args.out.write_text("\n\n".join(section.strip() for section in sections) + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"limits.py: {error}", file=sys.stderr)
        return 2
    print(f"\n{time.perf_counter() - started:.0f} s" + (f", written to {args.out}" if args.out else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
