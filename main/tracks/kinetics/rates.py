"""What the segments of many tracks say together: dwell times, transitions and occupancy of the states.

Dwells whose start was not seen are left out and counted: how long they had lasted is not known. Dwells that end with
their track are censored. Two things no estimator repairs: where tracks end because of what the particle does
(bleaching while it is still, leaving the field while it moves), censoring is informative; and stays of under 3 frames
are not seen, so that two dwells with such a stay between them are one.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from main.tracks.inference.segments import TRAPPED
from main.tracks.kinetics.dwells import SHORTEST, dwells
from main.utils.bootstrap import N_RESAMPLES, bootstrap_interval, resample_totals
from simulations.parameters import STATES

FEWEST_SEEN = 5  # events below which a bootstrap interval would be too narrow, and none is given
FEWEST_FILES = 5  # of a condition, for files to be resampled instead of tracks
SCALES = {"occupancy_frames": "share", "occupancy_tracks": "share", "alpha_frames": "plain", "alpha_tracks": "plain"}
LEVELS = ("msd_1", "k_", "alpha")  # beginnings of the names of what only a moving particle has


def track_sums(dwell: pd.DataFrame) -> np.ndarray:
    """What each track adds to the sums that occupancy and rates are ratios of, (N tracks, 4 states, 8).

    The last axis: frames; share of the track's frames; ends that were seen of dwells whose start was seen; frames at
    risk of such an end; changes to each of the four states. Of a dwell the first `SHORTEST` - 1 frames are not at risk,
    since none that short is seen, nor of a censored one the last `SHORTEST`: what followed would have been too short.
    """
    track, n_tracks = dwell["track_id"].astype("category").cat.codes.to_numpy(), dwell["track_id"].nunique()
    state, frames = dwell["state"].to_numpy(int), dwell["frames"].to_numpy(float)
    started, ended = (dwell[name].to_numpy(bool) for name in ("start_seen", "end_seen"))
    sums = np.zeros((n_tracks, len(STATES), 4 + len(STATES)))
    np.add.at(sums, (track, state, 0), frames)
    sums[..., 1] = sums[..., 0] / sums[..., 0].sum(1, keepdims=True)
    np.add.at(sums, (track, state, 2), started & ended & (frames >= SHORTEST))
    np.add.at(sums, (track, state, 3), started * np.maximum(frames - (SHORTEST - 1) - SHORTEST * ~ended, 0))
    np.add.at(sums, (track[ended], state[ended], 4 + dwell["next_state"].to_numpy(int)[ended]), 1)
    return sums


def level_sums(segments: pd.DataFrame) -> np.ndarray:
    """What each track adds to the means over its segments, (N tracks, 4 states, 2 weightings, 4).

    Weightings: by frames, and by share of the track's frames. The last axis: weight, and weight times log10 msd_1,
    log10 K and alpha.
    """
    track, n_tracks = segments["track_id"].astype("category").cat.codes.to_numpy(), segments["track_id"].nunique()
    state, frames = segments["state"].to_numpy(int), segments["n_frames"].to_numpy(float)
    weight = np.stack([frames, frames / np.bincount(track, frames)[track]], axis=-1)
    with np.errstate(divide="ignore"):
        logs = [np.log10(segments[name].to_numpy(float)) for name in ("msd_1", "k")]
    values = np.stack([np.ones(len(state)), *logs, segments["alpha"].to_numpy(float)], axis=-1)
    values[state == TRAPPED, 1:] = 0.0  # what does not move has no level
    sums = np.zeros((n_tracks, len(STATES), 2, 4))
    np.add.at(sums, (track, state), weight[..., None] * values[:, None])
    return sums


def quantities(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Occupancy by frames and by tracks, mean dwell and rates from sums over tracks (..., 4, 8).

    Returns
    -------
    dict
        occupancy_frames, occupancy_tracks (of the states; every frame counts alike, or every track: long tracks are
        those that stay in view), mean_dwell (frames), rate_to_trapped ... rate_to_directed (per frame), each (..., 4).
        Rates take the chance to leave as independent of the time spent; -log(1 - p) makes a rate of the chance p per
        frame; a rate of 0 gives endless dwells. nan where no dwell of a state was seen to start.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = -np.log1p(-sums[..., 2] / sums[..., 3])
        rate = np.where(sums[..., 2] < sums[..., 3], rate, np.nan)  # that every dwell ends at once says no rate
        share = sums[..., 4:] / sums[..., 4:].sum(-1, keepdims=True)
        occupied = sums[..., :2] / sums[..., :2].sum(-2, keepdims=True)
        dwell = 1 / rate
    result = {"occupancy_frames": occupied[..., 0], "occupancy_tracks": occupied[..., 1], "mean_dwell": dwell}
    return result | {f"rate_to_{name}": rate * share[..., i] for i, name in enumerate(STATES)}


def levels(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Geometric means of msd_1 and K, and mean alpha, of the states, from sums over tracks (..., 4, 2, 4).

    Returns
    -------
    dict
        msd_1_frames, k_frames, alpha_frames (every frame counts alike), msd_1_tracks, k_tracks, alpha_tracks (every
        track), each (..., 4); nan for trapped and for states that are not there.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums[..., 1:] / sums[..., :1]
    mean[..., TRAPPED, :, :] = np.nan
    return {
        f"{name}_{by}": mean[..., i, j] if name == "alpha" else 10 ** mean[..., i, j]
        for i, by in enumerate(("frames", "tracks"))
        for j, name in enumerate(("msd_1", "k", "alpha"))
    }


@dataclass
class Estimate:
    """Quantities of one condition, each (4 states,), and the same of every resample, (n_resamples, 4).

    Parameters
    ----------
    value, resampled, n : dict of quantity -> array
        n: dwells (occupancies), ends that were seen of dwells whose start was seen (mean_dwell), changes or such ends,
        whichever are fewer (rates), segments (levels).
    by : {"tracks", "files"}
        What was drawn.
    n_drawn : int
        How many of these there are.
    frame_interval : float
    """

    value: dict
    resampled: dict
    n: dict
    by: str
    n_drawn: int
    frame_interval: float


def estimate(segments: pd.DataFrame, frame_interval: float = 1.0, n_resamples: int = N_RESAMPLES, seed: int = 0):
    """All quantities of one condition, with bootstrap resamples.

    Files are drawn where there are `FEWEST_FILES` or more, since tracks of one recording are alike; else tracks.

    Parameters
    ----------
    segments : pandas.DataFrame
        As `infer.py` writes them, of one condition.
    frame_interval : float
        Seconds between frames; 1 gives frames.
    n_resamples, seed : int

    Returns
    -------
    Estimate
        Of the quantities of `quantities` (mean_dwell in the unit of frame_interval, rates per that unit) and `levels`.
    """
    table = dwells(segments)
    sums, level = track_sums(table), level_sums(segments)
    drawn = np.concatenate([sums.reshape(len(sums), -1), level.reshape(len(level), -1)], axis=1)
    by = "tracks"
    if "file" in segments and segments["file"].nunique() >= FEWEST_FILES:
        file = segments.groupby("track_id")["file"].first().astype("category").cat.codes.to_numpy()
        by, per_track = "files", drawn
        drawn = np.zeros((file.max() + 1, per_track.shape[1]))
        np.add.at(drawn, file, per_track)

    def all_of(total):
        first, second = np.split(total, [sums[0].size], axis=-1)
        found = quantities(first.reshape(*total.shape[:-1], *sums.shape[1:]))
        found |= levels(second.reshape(*total.shape[:-1], *level.shape[1:]))
        return {name: value * _scale(name, frame_interval) for name, value in found.items()}

    total = sums.sum(0)
    seen = np.bincount(table["state"], minlength=len(STATES))
    n = {"occupancy_frames": seen, "occupancy_tracks": seen, "mean_dwell": total[:, 2]}
    n |= {f"rate_to_{name}": np.minimum(total[:, 4 + i], total[:, 2]) for i, name in enumerate(STATES)}
    n |= dict.fromkeys(levels(level.sum(0)), np.bincount(segments["state"], minlength=len(STATES)))
    value = all_of(drawn.sum(0))
    for name in value:
        if name.startswith(("mean_dwell", "rate")):
            value[name] = np.where(total[:, 2] > 0, value[name], np.nan)  # no end was seen
    resampled = all_of(resample_totals(drawn, n_resamples, seed))
    return Estimate(value, resampled, n, by, len(drawn), frame_interval)


def _scale(name: str, frame_interval: float) -> float:
    return {"mean_dwell": frame_interval}.get(name, 1 / frame_interval if name.startswith("rate") else 1.0)


def kinetics(found: Estimate) -> pd.DataFrame:
    """Quantities of all states with 90 % intervals.

    Returns
    -------
    pandas.DataFrame
        state, quantity, value, low, high, n (see `Estimate`), resampled; the value is nan where no end of a dwell of
        the state was seen, the interval where n is below `FEWEST_SEEN`.
    """
    rows = []
    for i, name in _every(found):
        value = found.value[name][i]
        known = np.isfinite(value) and found.n[name][i] >= FEWEST_SEEN
        drawn = found.resampled[name][:, i]
        ends = bootstrap_interval(value, drawn, found.n_drawn, SCALES.get(name, "log")) if known else (np.nan, np.nan)
        rows.append((STATES[i], name, value, *ends, int(found.n[name][i]), found.by))
    return pd.DataFrame(rows, columns=["state", "quantity", "value", "low", "high", "n", "resampled"])


def compare(reference: Estimate, other: Estimate) -> pd.DataFrame:
    """How another condition differs from a reference, with 90 % intervals; resamples of the two are independent.

    Returns
    -------
    pandas.DataFrame
        state, quantity, value_reference, value, difference, difference_low, difference_high, ratio, ratio_low,
        ratio_high, resampled; only what was seen in both, the intervals nan where in one n is below `FEWEST_SEEN`, and
        no msd_1 where the two differ in the time of a frame.
    """
    rows, n_drawn = [], min(reference.n_drawn, other.n_drawn)
    for i, name in _every(reference):
        if name.startswith("msd_1") and reference.frame_interval != other.frame_interval:
            continue
        a, b = reference.value[name][i], other.value[name][i]
        n = min(one.n[name][i] for one in (reference, other))
        if n == 0 or not np.isfinite(a) or not np.isfinite(b):
            continue
        x, y = (one.resampled[name][:, i] if n >= FEWEST_SEEN else np.array([]) for one in (reference, other))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = b / a
            ends = bootstrap_interval(b - a, y - x, n_drawn, "plain"), bootstrap_interval(ratio, y / x, n_drawn, "log")
        by = " and ".join(dict.fromkeys((reference.by, other.by)))
        rows.append((STATES[i], name, a, b, b - a, *ends[0], ratio, *ends[1], by))
    ends = [f"{what}{end}" for what in ("difference", "ratio") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["state", "quantity", "value_reference", "value", *ends, "resampled"])


def compare_conditions(found: dict[str, Estimate], record: dict) -> pd.DataFrame:
    """`compare` of every condition with the first that was given.

    Parameters
    ----------
    found : dict of str -> Estimate
        By condition.
    record : dict
        The run's run.json, which has the conditions in order.

    Returns
    -------
    pandas.DataFrame
        As of `compare`, with columns condition and reference; empty with fewer than two conditions, or where no track
        of the first was long enough to analyse.
    """
    first = record["inputs"][0].get("condition")
    others = [name for name in found if name != first]
    if first not in found or not others:
        return pd.DataFrame()
    tables = [compare(found[first], found[name]).assign(condition=name, reference=first) for name in others]
    return pd.concat(tables, ignore_index=True)


def _every(found: Estimate):
    """(state, quantity) that mean something."""
    return [
        (i, name)
        for i, state in enumerate(STATES)
        for name in found.value
        if name != f"rate_to_{state}" and not (i == TRAPPED and name.startswith(LEVELS))
    ]
