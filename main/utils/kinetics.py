"""What the segments of many tracks say together: dwell times, transitions and occupancy of the states.

Dwells whose start was not seen are left out and counted: how long they had lasted is not known. Dwells that end with
their track are censored. Two things no estimator repairs: where tracks end because of what the particle does
(bleaching while it is still, leaving the field while it moves), censoring is informative; and stays of under 3 frames
are not seen, so that two dwells with such a stay between them are one.
"""

import warnings

import numpy as np
import pandas as pd
from scipy.stats import CensoredData, ecdf

from main.utils.bootstrap import LEVEL, N_RESAMPLES, resampled_totals
from simulations.parameters import STATES

SHORTEST = 3  # frames; the shortest dwell that is seen


def dwells(segments: pd.DataFrame) -> pd.DataFrame:
    """Stays in one state: neighbouring segments of the same state are one, whatever their K and alpha.

    Parameters
    ----------
    segments : pandas.DataFrame
        As `infer.py` writes them.

    Returns
    -------
    pandas.DataFrame
        track_id, state, frame_start, frame_end (inclusive), frames (gaps that were bridged count), start_seen,
        end_seen (bool), next_state (of a dwell whose end was seen, else -1).
    """
    own = segments.sort_values(["track_id", "frame_start"], kind="stable", ignore_index=True)
    begins = own["left_censored"] | own["state"].ne(own["state"].shift())  # a piece of a track starts left-censored
    groups = own.groupby(begins.cumsum().to_numpy())
    table = groups.agg(track_id=("track_id", "first"), state=("state", "first"), frame_start=("frame_start", "first"),
                       frame_end=("frame_end", "last"), start_seen=("left_censored", "first"),
                       end_seen=("right_censored", "last")).reset_index(drop=True)  # fmt: skip
    table["start_seen"], table["end_seen"] = ~table["start_seen"], ~table["end_seen"]
    table["frames"] = table["frame_end"] - table["frame_start"] + 1
    table["next_state"] = np.where(table["end_seen"], table["state"].shift(-1), -1).astype(int)
    return table


def survival(dwell: pd.DataFrame, state: int) -> pd.DataFrame:
    """Kaplan-Meier estimate of the share of dwells in a state that last longer than a time, with a 90 % interval.

    Parameters
    ----------
    dwell : pandas.DataFrame
        From `dwells`.
    state : int

    Returns
    -------
    pandas.DataFrame
        frames, survival, low, high; a row for every time at which a dwell ends. Empty without a dwell that was seen
        to start and to end.

    Source: Kaplan and Meier 1958; Greenwood's variance, log-log interval (`scipy.stats.ecdf`).
    """
    own = dwell[(dwell["state"] == state) & dwell["start_seen"]]
    if not own["end_seen"].any():
        return pd.DataFrame(columns=["frames", "survival", "low", "high"], dtype=float)
    frames, seen = own["frames"].to_numpy(float), own["end_seen"].to_numpy()
    estimate = ecdf(CensoredData(uncensored=frames[seen], right=frames[~seen])).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where all or none are left, the interval is undefined: nan
        ends = estimate.confidence_interval(LEVEL, method="log-log")
    columns = (estimate.quantiles, estimate.probabilities, ends.low.probabilities, ends.high.probabilities)
    return pd.DataFrame(dict(zip(("frames", "survival", "low", "high"), columns, strict=True)))


def track_sums(dwell: pd.DataFrame) -> np.ndarray:
    """What each track adds to the sums that occupancy and rates are ratios of, (N tracks, 4 states, 8).

    The last axis: frames; share of the track's frames; ends that were seen of dwells whose start was seen; frames at
    risk of such an end; changes to each of the four states. Of a dwell the first `SHORTEST` - 1 frames are not at risk,
    since none that short is seen, nor of a censored one the last, after which nobody looked.
    """
    track, n_tracks = dwell["track_id"].astype("category").cat.codes.to_numpy(), dwell["track_id"].nunique()
    state, frames = dwell["state"].to_numpy(int), dwell["frames"].to_numpy(float)
    started, ended = (dwell[name].to_numpy(bool) for name in ("start_seen", "end_seen"))
    sums = np.zeros((n_tracks, len(STATES), 4 + len(STATES)))
    np.add.at(sums, (track, state, 0), frames)
    sums[..., 1] = sums[..., 0] / sums[..., 0].sum(1, keepdims=True)
    np.add.at(sums, (track, state, 2), started & ended & (frames >= SHORTEST))
    np.add.at(sums, (track, state, 3), started * np.maximum(frames - (SHORTEST - 1) - ~ended, 0))
    np.add.at(sums, (track[ended], state[ended], 4 + dwell["next_state"].to_numpy(int)[ended]), 1)
    return sums


def quantities(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Occupancy by frames and by tracks, mean dwell and rates from sums over tracks (..., 4, 8).

    Returns
    -------
    dict
        occupancy_frames, occupancy_tracks (of the states; every frame counts alike, or every track: long tracks are
        those that stay in view), mean_dwell (frames), rate_to_trapped ... rate_to_directed (per frame), each (..., 4).
        Rates take the chance to leave as independent of the time spent; -log(1 - p) makes a rate of the chance p per
        frame. nan where no dwell of a state was seen to start.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = -np.log1p(-np.minimum(sums[..., 2] / sums[..., 3], 1 - 1e-12))
        share = sums[..., 4:] / sums[..., 4:].sum(-1, keepdims=True)
        occupied = sums[..., :2] / sums[..., :2].sum(-2, keepdims=True)
        dwell = np.where(rate > 0, 1 / rate, np.nan)
    result = {"occupancy_frames": occupied[..., 0], "occupancy_tracks": occupied[..., 1], "mean_dwell": dwell}
    return result | {f"rate_to_{name}": rate * share[..., i] for i, name in enumerate(STATES)}


def kinetics(segments: pd.DataFrame, frame_interval: float = 1.0, n_resamples: int = N_RESAMPLES, seed: int = 0):
    """Occupancy, mean dwell and rates of all states, with 90 % bootstrap intervals over tracks.

    Parameters
    ----------
    segments : pandas.DataFrame
        As `infer.py` writes them, of one condition.
    frame_interval : float
        Seconds between frames; 1 gives frames.
    n_resamples, seed : int

    Returns
    -------
    pandas.DataFrame
        state, quantity (of `quantities`; mean_dwell in the unit of frame_interval, rates per that unit), value, low,
        high, n (of occupancies: dwells; of mean_dwell: ends that were seen; of rates: changes). nan where no end of
        a dwell of the state was seen.
    """
    table = dwells(segments)
    sums = track_sums(table)
    total = sums.sum(0)
    value, resampled = quantities(total), quantities(resampled_totals(sums, n_resamples, seed))
    counts = {"occupancy_frames": np.bincount(table["state"], minlength=len(STATES)), "mean_dwell": total[:, 2]}
    counts["occupancy_tracks"] = counts["occupancy_frames"]
    counts |= {f"rate_to_{name}": total[:, 4 + i] for i, name in enumerate(STATES)}
    rows = []
    for i, state in enumerate(STATES):
        for name in value:
            if name == f"rate_to_{state}":
                continue
            scale = {"mean": frame_interval, "rate": 1 / frame_interval}.get(name.split("_")[0], 1.0)
            known = "occupancy" in name or total[i, 2] > 0
            drawn_here = resampled[name][:, i][np.isfinite(resampled[name][:, i])]
            ends = np.quantile(drawn_here, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if known else (np.nan, np.nan)
            values = (value[name][i] if known else np.nan, *ends)
            rows.append((state, name, *(scale * v for v in values), int(counts[name][i])))
    return pd.DataFrame(rows, columns=["state", "quantity", "value", "low", "high", "n"])
