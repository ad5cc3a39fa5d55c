"""Occupancy, mean dwell times, rates and mean motion of the four states, with bootstrap intervals.

Dwells whose start was not seen are left out and counted, because their full length is not known. Dwells that end with
their track are censored. Two limits remain, and no estimator removes them:

- Where a track ends because of what the particle does (bleaching while it is trapped, leaving the field of view while
  it moves), censoring depends on the state, and dwell times and rates are biased.
- Stays shorter than 3 frames are not seen. Two dwells with such a stay between them are counted as one.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from main.tracks.kinetics.dwells import MIN_DWELL_FRAMES, find_dwells, find_frame_interval, name_time_unit
from main.utils.bootstrap import N_RESAMPLES, bootstrap_interval, resample_totals
from main.utils.errors import InputError
from simulations.parameters import STATES, TRAPPED

MIN_EVENTS = 5  # events; of fewer, a bootstrap interval is too narrow, and none is given
MIN_FILES = 5  # files of a condition; of fewer, tracks are resampled instead of files
INTERVAL_SCALES = {
    "occupancy": "share",  # see `main.utils.bootstrap.bootstrap_interval`; all other quantities are positive: "log"
    "occupancy_frames": "share",
    "occupancy_tracks": "share",
    "alpha_frames": "plain",
    "alpha_tracks": "plain",
}
MOTION_PREFIXES = ("msd_1", "k_", "alpha")  # of the quantities that only a moving particle has
TIME_PREFIXES = ("mean_dwell", "rate")  # of the quantities in units of time


@dataclass
class Estimate:
    """Quantities of one condition, or of one file, with their bootstrap resamples.

    Parameters
    ----------
    value : dict of str -> (4,) array
        Quantity -> value of each state.
    resampled : dict of str -> (n_resamples, 4) array
    n : dict of str -> (4,) array
        Events behind each value. Occupancies: dwells. mean_dwell: dwells seen to start and to end. Rates: changes of
        that kind, or dwells seen to start and to end, whichever are fewer. Motion: segments.
    resampled_unit : {"tracks", "files"}
        What each resample draws.
    n_drawn : int
        How many of these a resample draws.
    frame_interval_s : float or None
        None where it is not known: times are in frames then.
    segments, dwells : pandas.DataFrame
        The segments, and their dwells as returned by `find_dwells`.
    """

    value: dict
    resampled: dict
    n: dict
    resampled_unit: str
    n_drawn: int
    frame_interval_s: float | None
    segments: pd.DataFrame
    dwells: pd.DataFrame

    @property
    def time_unit(self) -> str:
        """ "s", or "frames" where the frame interval is not known."""
        return name_time_unit(self.frame_interval_s)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states."""
        return STATES

    def list_quantities(self) -> list[tuple[int, str]]:
        """List the pairs of state and quantity that have a meaning.

        Left out are rates from a state to itself, and the motion of trapped particles.
        """
        return [
            (i, name)
            for i, state in enumerate(STATES)
            for name in self.value
            if name != f"rate_to_{state}" and not (i == TRAPPED and name.startswith(MOTION_PREFIXES))
        ]


def sum_dwells(dwells: pd.DataFrame) -> np.ndarray:
    """Sum dwells over each track, as `compute_rates` needs them.

    Parameters
    ----------
    dwells : pandas.DataFrame
        As returned by `find_dwells`.

    Returns
    -------
    numpy.ndarray, shape (N tracks, 4 states, 8)
        The last axis: frames; share of the track's frames; ends seen of dwells whose start was seen; frames in which
        such an end could have been seen (frames at risk); changes to each of the four states.

        The first `MIN_DWELL_FRAMES` - 1 frames of a dwell are not at risk, because shorter dwells are not seen. The
        last `MIN_DWELL_FRAMES` frames of a censored dwell are not at risk, because the rest of the track would be too
        short to be seen as a dwell.
    """
    track, n_tracks = dwells["track_id"].astype("category").cat.codes.to_numpy(), dwells["track_id"].nunique()
    state, frames = dwells["state"].to_numpy(int), dwells["frames"].to_numpy(float)
    started, ended = (dwells[name].to_numpy(bool) for name in ("start_seen", "end_seen"))
    at_risk = np.maximum(frames - (MIN_DWELL_FRAMES - 1) - MIN_DWELL_FRAMES * ~ended, 0)
    sums = np.zeros((n_tracks, len(STATES), 4 + len(STATES)))
    np.add.at(sums, (track, state, 0), frames)
    sums[..., 1] = sums[..., 0] / sums[..., 0].sum(1, keepdims=True)
    np.add.at(sums, (track, state, 2), started & ended & (frames >= MIN_DWELL_FRAMES))
    np.add.at(sums, (track, state, 3), started * at_risk)
    np.add.at(sums, (track[ended], state[ended], 4 + dwells["next_state"].to_numpy(int)[ended]), 1)
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


def compute_rates(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Compute occupancy, mean dwell times and rates from sums of dwells.

    Parameters
    ----------
    sums : numpy.ndarray, shape (..., 4, 8)
        As returned by `sum_dwells`, summed over tracks.

    Returns
    -------
    dict of str -> (..., 4) array
        occupancy_frames (share of the frames: every frame counts alike), occupancy_tracks (every track counts alike),
        mean_dwell (frames), rate_to_trapped ... rate_to_directed (per frame).

        With p the chance per frame to leave a state, the rate is -log(1 - p), and the mean dwell time its inverse. The
        chance is taken as independent of the time spent in the state. Where no end was seen, the rate is 0 and the
        mean dwell time infinite. nan where no dwell of a state was seen to start.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = -np.log1p(-sums[..., 2] / sums[..., 3])
        rate = np.where(sums[..., 2] < sums[..., 3], rate, np.nan)  # if every dwell ends at once, no rate can be told
        share = sums[..., 4:] / sums[..., 4:].sum(-1, keepdims=True)
        occupied = sums[..., :2] / sums[..., :2].sum(-2, keepdims=True)
        mean_dwell = 1 / rate
    result = {"occupancy_frames": occupied[..., 0], "occupancy_tracks": occupied[..., 1], "mean_dwell": mean_dwell}
    return result | {f"rate_to_{name}": rate * share[..., i] for i, name in enumerate(STATES)}


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
    """Estimate all quantities of one condition, with bootstrap resamples.

    Tracks of one recording are alike. Therefore files are resampled where there are `MIN_FILES` or more, else tracks.

    Parameters
    ----------
    segments : pandas.DataFrame
        The segments table of `infer.py`, of one condition.
    frame_interval_s : float, optional
        Seconds between frames. Without it, times are in frames and rates per frame.
    n_resamples, seed : int

    Returns
    -------
    Estimate
        The quantities of `compute_rates` (times in s or frames, rates per s or frame) and `compute_motion_means`.
    """
    dwells = find_dwells(segments)
    dwell_sums, motion_sums = sum_dwells(dwells), sum_motion(segments)
    drawn = np.concatenate([part.reshape(len(part), -1) for part in (dwell_sums, motion_sums)], axis=1)
    resampled_unit = "tracks"
    if "file" in segments and segments["file"].nunique() >= MIN_FILES:
        file = segments.groupby("track_id")["file"].first().astype("category").cat.codes.to_numpy()
        resampled_unit, per_track = "files", drawn
        drawn = np.zeros((file.max() + 1, per_track.shape[1]))
        np.add.at(drawn, file, per_track)

    def compute_all(total):
        first, second = np.split(total, [dwell_sums[0].size], axis=-1)
        found = compute_rates(first.reshape(*total.shape[:-1], *dwell_sums.shape[1:]))
        found |= compute_motion_means(second.reshape(*total.shape[:-1], *motion_sums.shape[1:]))
        return {name: value * time_factor(name, frame_interval_s or 1.0) for name, value in found.items()}

    total = dwell_sums.sum(0)
    n_dwells = np.bincount(dwells["state"], minlength=len(STATES))
    n = {"occupancy_frames": n_dwells, "occupancy_tracks": n_dwells, "mean_dwell": total[:, 2]}
    n |= {f"rate_to_{name}": np.minimum(total[:, 4 + i], total[:, 2]) for i, name in enumerate(STATES)}
    value = compute_all(drawn.sum(0))
    for name in value:
        if name.startswith(TIME_PREFIXES):
            value[name] = np.where(total[:, 2] > 0, value[name], np.nan)  # no end was seen
        elif name.startswith(MOTION_PREFIXES):
            n[name] = np.bincount(segments["state"], minlength=len(STATES))
    resampled = compute_all(resample_totals(drawn, n_resamples, seed))
    return Estimate(value, resampled, n, resampled_unit, len(drawn), frame_interval_s, segments, dwells)


def time_factor(name: str, frame_interval: float) -> float:
    """Factor that converts a quantity from frames to the unit of the frame interval."""
    return {"mean_dwell": frame_interval}.get(name, 1 / frame_interval if name.startswith("rate") else 1.0)


def estimate_groups(segments: pd.DataFrame, labels, record: dict, pool_intervals: bool = False) -> dict[str, Estimate]:
    """Estimate the kinetics of every condition, or of every file, of a run.

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


def tabulate_kinetics(estimate: Estimate) -> pd.DataFrame:
    """Make a table of all quantities of all states, with 90 % intervals.

    Returns
    -------
    pandas.DataFrame
        state, quantity, value, low, high, n (events, see `Estimate`), resampled ("tracks" or "files"). The value is
        nan where no dwell of the state was seen to start and to end; the interval is nan where n is below
        `MIN_EVENTS`.
    """
    rows = []
    for i, name in estimate.list_quantities():
        value = estimate.value[name][i]
        known = np.isfinite(value) and estimate.n[name][i] >= MIN_EVENTS
        drawn, scale = estimate.resampled[name][:, i], INTERVAL_SCALES.get(name, "log")
        ends = bootstrap_interval(value, drawn, estimate.n_drawn, scale) if known else (np.nan, np.nan)
        rows.append((estimate.states[i], name, value, *ends, int(estimate.n[name][i]), estimate.resampled_unit))
    return pd.DataFrame(rows, columns=["state", "quantity", "value", "low", "high", "n", "resampled"])


def compare_estimates(reference: Estimate, other: Estimate) -> pd.DataFrame:
    """Compare a condition with a reference, with 90 % intervals.

    The resamples of the two are independent of each other.

    Returns
    -------
    pandas.DataFrame
        state, quantity, value_reference, value, difference (value - value_reference), difference_low, difference_high,
        ratio (value / value_reference), ratio_low, ratio_high, resampled. Rows only for what was seen in both. The
        intervals are nan where n is below `MIN_EVENTS` in one of the two. No msd_1 if the frame intervals differ; no
        times and rates if they are in frames in one and in seconds in the other.
    """
    rows, n_drawn = [], min(reference.n_drawn, other.n_drawn)
    for i, name in reference.list_quantities():
        if name.startswith("msd_1") and reference.frame_interval_s != other.frame_interval_s:
            continue
        if name.startswith(TIME_PREFIXES) and reference.time_unit != other.time_unit:
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


def compare_conditions(estimates: dict[str, Estimate], record: dict) -> pd.DataFrame:
    """Compare every condition with the first one of the command line.

    Parameters
    ----------
    estimates : dict of str -> Estimate
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
