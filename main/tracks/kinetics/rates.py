"""Share of labelled frames and mean motion of the four states of the networks, with bootstrap intervals; tables.

The labels are those of the networks, counted. They miss short stays. Therefore their share of frames is not a bound
fraction; occupancy, dwell times and rates are estimated by likelihood (`main.tracks.kinetics.likelihood`). The tables
and comparisons here serve both.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from main.tracks.kinetics.dwells import find_dwells, find_frame_interval, name_time_unit
from main.utils.bootstrap import N_RESAMPLES, bootstrap_interval, resample_totals
from main.utils.errors import InputError
from simulations.parameters import STATES, TRAPPED

MIN_EVENTS = 5  # events; of fewer, a bootstrap interval is too narrow, and none is given
MIN_FILES = 5  # files of a condition; of fewer, tracks are resampled instead of files
INTERVAL_SCALES = {  # see `main.utils.bootstrap.bootstrap_interval`; all other quantities are positive: "log"
    "occupancy": "share",
    "labelled_share_frames": "share",
    "labelled_share_tracks": "share",
    "alpha_frames": "plain",
    "alpha_tracks": "plain",
}
MOTION_PREFIXES = ("msd_1", "k_", "alpha")  # of the quantities that only a moving particle has
TIME_QUANTITIES = ("mean_dwell", "rate_to_", "d")  # beginnings of the names of quantities in units of time


@dataclass
class Resampled:
    """Quantities of the states of one condition, or of one file, with their bootstrap resamples.

    Parameters
    ----------
    value : dict of str -> (N,) array
        Quantity -> value of each state.
    resampled : dict of str -> (n_resamples, N) array
    n : dict of str -> (N,) array
        Events behind each value.
    resampled_unit : {"tracks", "files"}
        What each resample draws.
    n_drawn : int
        How many of these a resample draws.
    frame_interval_s : float or None
        None where it is not known: times are in frames then.
    """

    value: dict
    resampled: dict
    n: dict
    resampled_unit: str
    n_drawn: int
    frame_interval_s: float | None

    @property
    def time_unit(self) -> str:
        """ "s", or "frames" where the frame interval is not known."""
        return name_time_unit(self.frame_interval_s)


@dataclass
class Estimate(Resampled):
    """Labelled shares (n: dwells) and mean motion (n: segments) of the four states.

    Parameters
    ----------
    segments, dwells : pandas.DataFrame
        The segments, and their dwells as returned by `find_dwells`.
    """

    segments: pd.DataFrame
    dwells: pd.DataFrame

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states."""
        return STATES

    def list_quantities(self) -> list[tuple[int, str]]:
        """List the pairs of state and quantity that have a meaning: no motion of trapped particles."""
        return [
            (i, name)
            for i in range(len(STATES))
            for name in self.value
            if not (i == TRAPPED and name.startswith(MOTION_PREFIXES))
        ]


def sum_frames(segments: pd.DataFrame) -> np.ndarray:
    """Sum the frames of each state over each track.

    Returns
    -------
    numpy.ndarray, shape (N tracks, 4 states, 2)
        The last axis: frames, bridged gaps included, and share of the track's frames.
    """
    track, n_tracks = segments["track_id"].astype("category").cat.codes.to_numpy(), segments["track_id"].nunique()
    frames = (segments["frame_end"] - segments["frame_start"] + 1).to_numpy(float)
    sums = np.zeros((n_tracks, len(STATES), 2))
    np.add.at(sums[..., 0], (track, segments["state"].to_numpy(int)), frames)
    sums[..., 1] = sums[..., 0] / sums[..., 0].sum(1, keepdims=True)
    return sums


def sum_motion(segments: pd.DataFrame) -> np.ndarray:
    """Sum msd_1, K and alpha over the segments of each track, as `compute_motion_means` needs them.

    Returns
    -------
    numpy.ndarray, shape (N tracks, 4 states, 2 weightings, 4)
        Weightings: number of frames, and share of the track's frames. The last axis: sum of the weights, and weighted
        sums of log10 msd_1, log10 K and alpha; the last three are 0 for trapped.
    """
    track, n_tracks = segments["track_id"].astype("category").cat.codes.to_numpy(), segments["track_id"].nunique()
    state = segments["state"].to_numpy(int)
    weight = np.stack(weigh_segments(segments), axis=-1)
    with np.errstate(divide="ignore"):
        logs = [np.log10(segments[name].to_numpy(float)) for name in ("msd_1", "k")]
    values = np.stack([np.ones(len(state)), *logs, segments["alpha"].to_numpy(float)], axis=-1)
    values[state == TRAPPED, 1:] = 0.0
    sums = np.zeros((n_tracks, len(STATES), 2, 4))
    np.add.at(sums, (track, state), weight[..., None] * values[:, None])
    return sums


def weigh_segments(segments: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Weights of segments by which every frame, or every track, counts alike.

    Returns
    -------
    frames, shares : numpy.ndarray, shape (N,)
        Number of frames, and share of the frames of the track (its trapped segments included).
    """
    frames = segments["n_frames"].to_numpy(dtype=float)
    return frames, frames / segments.groupby("track_id")["n_frames"].transform("sum").to_numpy(dtype=float)


def compute_shares(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the labelled shares of frames from sums of frames.

    Parameters
    ----------
    sums : numpy.ndarray, shape (..., 4, 2)
        As returned by `sum_frames`, summed over tracks.

    Returns
    -------
    dict of str -> (..., 4) array
        labelled_share_frames (every frame counts alike), labelled_share_tracks (every track counts alike).
    """
    shares = sums / sums.sum(-2, keepdims=True)
    return {"labelled_share_frames": shares[..., 0], "labelled_share_tracks": shares[..., 1]}


def compute_motion_means(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Compute geometric means of msd_1 and K, and means of alpha, of each state.

    Parameters
    ----------
    sums : numpy.ndarray, shape (..., 4, 2, 4)
        As returned by `sum_motion`, summed over tracks.

    Returns
    -------
    dict of str -> (..., 4) array
        msd_1_frames, k_frames, alpha_frames (every frame counts alike), msd_1_tracks, k_tracks, alpha_tracks (every
        track counts alike), in the units of the segments table; nan for trapped and for states that do not occur.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums[..., 1:] / sums[..., :1]
    mean[..., TRAPPED, :, :] = np.nan
    return {
        f"{name}_{by}": mean[..., i, j] if name == "alpha" else 10 ** mean[..., i, j]
        for i, by in enumerate(("frames", "tracks"))
        for j, name in enumerate(("msd_1", "k", "alpha"))
    }


def estimate_kinetics(
    segments: pd.DataFrame, frame_interval_s: float | None = None, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Estimate:
    """Estimate labelled shares and mean motion of one condition, with bootstrap resamples.

    Tracks of one recording are alike. Therefore files are resampled where there are `MIN_FILES` or more, else tracks.

    Parameters
    ----------
    segments : pandas.DataFrame
        The segments table of `infer.py`, of one condition.
    frame_interval_s : float, optional
        Seconds between frames.
    n_resamples, seed : int

    Returns
    -------
    Estimate
        The quantities of `compute_shares` and `compute_motion_means`.
    """
    dwells = find_dwells(segments)
    frame_sums, motion_sums = sum_frames(segments), sum_motion(segments)
    drawn = np.concatenate([part.reshape(len(part), -1) for part in (frame_sums, motion_sums)], axis=1)
    resampled_unit = "tracks"
    if "file" in segments and segments["file"].nunique() >= MIN_FILES:
        file = segments.groupby("track_id")["file"].first().astype("category").cat.codes.to_numpy()
        resampled_unit, per_track = "files", drawn
        drawn = np.zeros((file.max() + 1, per_track.shape[1]))
        np.add.at(drawn, file, per_track)

    def compute_all(total):
        first, second = np.split(total, [frame_sums[0].size], axis=-1)
        found = compute_shares(first.reshape(*total.shape[:-1], *frame_sums.shape[1:]))
        return found | compute_motion_means(second.reshape(*total.shape[:-1], *motion_sums.shape[1:]))

    value = compute_all(drawn.sum(0))
    n_dwells, n_segments = (np.bincount(table["state"], minlength=len(STATES)) for table in (dwells, segments))
    n = {name: n_segments if name.startswith(MOTION_PREFIXES) else n_dwells for name in value}
    resampled = compute_all(resample_totals(drawn, n_resamples, seed))
    return Estimate(value, resampled, n, resampled_unit, len(drawn), frame_interval_s, segments, dwells)


def estimate_groups(segments: pd.DataFrame, labels, record: dict, pool_intervals: bool = False) -> dict[str, Estimate]:
    """Estimate labelled shares and mean motion of every condition, or of every file, of a run.

    Parameters
    ----------
    segments : pandas.DataFrame, N rows
    labels : array_like of str, shape (N,)
        The condition or file of each segment.
    record : dict
        Contents of run.json.
    pool_intervals : bool
        Whether files of different frame intervals may be in one group; its times are in frames then.

    Returns
    -------
    dict of str -> Estimate
        In the order in which the labels occur.

    Raises
    ------
    InputError
        If files of different frame intervals are in one group, unless `pool_intervals`.
    """
    found = {}
    for i, (name, group) in enumerate(segments.groupby(np.asarray(labels, dtype=object), sort=False)):
        try:
            frame_interval_s = find_frame_interval(group, record)
        except InputError:
            if not pool_intervals:
                raise
            frame_interval_s = None
        found[name] = estimate_kinetics(group, frame_interval_s, seed=i)
    return found


def tabulate_kinetics(estimate) -> pd.DataFrame:
    """Make a table of all quantities of all states, with 90 % intervals.

    Parameters
    ----------
    estimate : Estimate or main.tracks.kinetics.likelihood.KineticsFit

    Returns
    -------
    pandas.DataFrame
        state, quantity, value, low, high, n (events), resampled ("tracks" or "files"). The value is nan for states that
        do not occur; the interval is nan where n is below `MIN_EVENTS`.
    """
    rows = []
    for i, name in estimate.list_quantities():
        value = estimate.value[name][i]
        known = np.isfinite(value) and estimate.n[name][i] >= MIN_EVENTS
        drawn, scale = estimate.resampled[name][:, i], INTERVAL_SCALES.get(name, "log")
        ends = bootstrap_interval(value, drawn, estimate.n_drawn, scale) if known else (np.nan, np.nan)
        rows.append((estimate.states[i], name, value, *ends, int(estimate.n[name][i]), estimate.resampled_unit))
    return pd.DataFrame(rows, columns=["state", "quantity", "value", "low", "high", "n", "resampled"])


def compare_estimates(reference, other) -> pd.DataFrame:
    """Compare a condition with a reference, with 90 % intervals.

    The resamples of the two are independent of each other.

    Parameters
    ----------
    reference, other : Estimate or main.tracks.kinetics.likelihood.KineticsFit
        Both of one kind and with the same states.

    Returns
    -------
    pandas.DataFrame
        state, quantity, value_reference, value, difference (value - value_reference), difference_low, difference_high,
        ratio (value / value_reference), ratio_low, ratio_high, resampled. Rows only for what was seen in both. The
        intervals are nan where n is below `MIN_EVENTS` in one of the two. No msd_1 if the frame intervals differ; no
        times, rates and D if time is in frames in one and in seconds in the other.
    """
    rows, n_drawn = [], min(reference.n_drawn, other.n_drawn)
    for i, name in reference.list_quantities():
        if name.startswith("msd_1") and reference.frame_interval_s != other.frame_interval_s:
            continue
        if name.startswith(TIME_QUANTITIES) and reference.time_unit != other.time_unit:
            continue
        a, b = reference.value[name][i], other.value[name][i]
        n = min(one.n[name][i] for one in (reference, other))
        if n == 0 or not np.isfinite(a) or not np.isfinite(b):
            continue
        x, y = (one.resampled[name][:, i] if n >= MIN_EVENTS else np.array([]) for one in (reference, other))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = b / a
            ends = bootstrap_interval(b - a, y - x, n_drawn, "plain"), bootstrap_interval(ratio, y / x, n_drawn, "log")
        resampled_unit = " and ".join(dict.fromkeys((reference.resampled_unit, other.resampled_unit)))
        rows.append((reference.states[i], name, a, b, b - a, *ends[0], ratio, *ends[1], resampled_unit))
    columns = [f"{name}{end}" for name in ("difference", "ratio") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["state", "quantity", "value_reference", "value", *columns, "resampled"])


def compare_conditions(estimates: dict, record: dict) -> pd.DataFrame:
    """Compare every condition with the first one of the command line.

    Parameters
    ----------
    estimates : dict of str -> Estimate, or of str -> main.tracks.kinetics.likelihood.KineticsFit
        By condition.
    record : dict
        Contents of run.json, which lists the conditions in order.

    Returns
    -------
    pandas.DataFrame
        As returned by `compare_estimates`, with columns condition and reference. Empty with fewer than two conditions,
        or if no track of the first was long enough to analyse.
    """
    first = record["inputs"][0].get("condition")
    others = [name for name in estimates if name != first]
    if first not in estimates or not others:
        return pd.DataFrame()
    tables = [
        compare_estimates(estimates[first], estimates[name]).assign(condition=name, reference=first) for name in others
    ]
    return pd.concat(tables, ignore_index=True)
