"""Dwell times: how long a particle stays in one state, and which of these stays were seen whole."""

import warnings

import numpy as np
import pandas as pd
from scipy.stats import CensoredData, ecdf

from main.utils.bootstrap import LEVEL
from main.utils.errors import InputError

MIN_DWELL_FRAMES = 3  # the shortest segment that the changepoint search of infer.py reports


def find_dwells(segments: pd.DataFrame) -> pd.DataFrame:
    """Join neighbouring segments of the same state into dwells.

    A dwell is a stay in one state. Segments of one state that follow each other are one dwell, even if their K and
    alpha differ.

    Parameters
    ----------
    segments : pandas.DataFrame
        The segments table of `infer.py`.

    Returns
    -------
    pandas.DataFrame
        A row for each dwell: track_id, state, frame_start, frame_end (inclusive), frames (bridged gaps are counted),
        start_seen, end_seen (bool), next_state (-1 where the end was not seen).
    """
    ordered = segments.sort_values(["track_id", "frame_start"], kind="stable", ignore_index=True)
    # a dwell begins where the state changes, and at the start of each piece of a track, which is left-censored
    begins = ordered["left_censored"] | ordered["state"].ne(ordered["state"].shift())
    table = (
        ordered.groupby(begins.cumsum().to_numpy())
        .agg(
            track_id=("track_id", "first"),
            state=("state", "first"),
            frame_start=("frame_start", "first"),
            frame_end=("frame_end", "last"),
            start_seen=("left_censored", "first"),
            end_seen=("right_censored", "last"),
        )
        .reset_index(drop=True)
    )
    table["start_seen"], table["end_seen"] = ~table["start_seen"], ~table["end_seen"]
    table["frames"] = table["frame_end"] - table["frame_start"] + 1
    table["next_state"] = np.where(table["end_seen"], table["state"].shift(-1), -1).astype(int)
    return table


def find_frame_interval(segments: pd.DataFrame, record: dict) -> float | None:
    """Look up the seconds between frames of the segments of one condition or file.

    Parameters
    ----------
    segments : pandas.DataFrame
    record : dict
        Contents of run.json.

    Returns
    -------
    float or None
        Seconds; None if the frame interval is not known. Times are in frames then.

    Raises
    ------
    InputError
        If the segments come from files of different frame intervals.
    """
    interval_of_file = {given["path"]: given["frame_interval_s"] for given in record["inputs"]}
    files = segments["file"].unique() if "file" in segments else list(interval_of_file)
    intervals = {interval_of_file.get(str(name)) for name in files}
    if len(intervals) > 1:
        name = f"Condition {segments['condition'].iloc[0]}" if "condition" in segments else "The run"
        raise InputError(
            f"{name} has files of different frame intervals: run infer.py again with one condition for each interval."
        )
    return intervals.pop()


def name_time_unit(frame_interval_s: float | None) -> str:
    """Name the unit of times: "s" where the frame interval is known, else "frames"."""
    return "s" if frame_interval_s else "frames"


def estimate_survival(dwells: pd.DataFrame, state: int) -> pd.DataFrame:
    """Estimate the share of dwells in a state that last longer than a time (Kaplan-Meier), with 90 % intervals.

    Dwells whose start was not seen are left out. Dwells whose end was not seen are censored.

    Parameters
    ----------
    dwells : pandas.DataFrame
        As returned by `find_dwells`.
    state : int
        Index into `simulations.parameters.STATES`.

    Returns
    -------
    pandas.DataFrame
        frames, survival (share, 0 to 1), low, high; a row for every time at which a dwell ends. Empty if no dwell was
        seen to start and to end. low and high are nan where they are not defined.

    Source: Kaplan and Meier 1958; Greenwood's variance, log-log interval (`scipy.stats.ecdf`).
    """
    in_state = dwells[(dwells["state"] == state) & dwells["start_seen"]]
    if not in_state["end_seen"].any():
        return pd.DataFrame(columns=["frames", "survival", "low", "high"], dtype=float)
    seen = in_state["end_seen"].to_numpy()
    # an end less than MIN_DWELL_FRAMES before the end of the track would not have been seen
    frames = in_state["frames"].to_numpy(float) - MIN_DWELL_FRAMES * ~seen
    frames, seen = frames[frames >= MIN_DWELL_FRAMES], seen[frames >= MIN_DWELL_FRAMES]
    curve = ecdf(CensoredData(uncensored=frames[seen], right=frames[~seen])).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # at a survival of 1 or 0 the interval is not defined: nan
        ends = curve.confidence_interval(LEVEL, method="log-log")
    columns = (curve.quantiles, curve.probabilities, ends.low.probabilities, ends.high.probabilities)
    return pd.DataFrame(dict(zip(("frames", "survival", "low", "high"), columns, strict=True)))
