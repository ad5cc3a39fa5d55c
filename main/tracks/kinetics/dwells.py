"""Dwell times: stretches of one state, and which of them are censored."""

import warnings

import numpy as np
import pandas as pd
from scipy.stats import CensoredData, ecdf

from main.utils.bootstrap import LEVEL
from main.utils.errors import InputError

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
    table = groups.agg(
        track_id=("track_id", "first"),
        state=("state", "first"),
        frame_start=("frame_start", "first"),
        frame_end=("frame_end", "last"),
        start_seen=("left_censored", "first"),
        end_seen=("right_censored", "last"),
    ).reset_index(drop=True)
    table["start_seen"], table["end_seen"] = ~table["start_seen"], ~table["end_seen"]
    table["frames"] = table["frame_end"] - table["frame_start"] + 1
    table["next_state"] = np.where(table["end_seen"], table["state"].shift(-1), -1).astype(int)
    return table


def interval_of(segments: pd.DataFrame, record: dict) -> tuple[float | None, str]:
    """Seconds between frames of the segments of one condition or file, and the unit of their times.

    Parameters
    ----------
    segments : pandas.DataFrame
    record : dict
        The run's run.json.

    Returns
    -------
    interval : float or None
        None if it is not known.
    unit : {"s", "frames"}

    Raises
    ------
    InputError
        If files with different intervals are in one condition.
    """
    by_file = {given["path"]: given["frame_interval_s"] for given in record["inputs"]}
    files = segments["file"].unique() if "file" in segments else list(by_file)
    found = {by_file.get(str(name)) for name in files}
    if len(found) > 1:
        named = f"Condition {segments['condition'].iloc[0]}" if "condition" in segments else "The run"
        raise InputError(f"{named} has files of different frame intervals, analyse them as conditions of their own.")
    interval = found.pop()
    return interval, "s" if interval else "frames"


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
    seen = own["end_seen"].to_numpy()
    frames = own["frames"].to_numpy(float) - SHORTEST * ~seen  # an end nearer to the track's would not have been seen
    frames, seen = frames[frames >= SHORTEST], seen[frames >= SHORTEST]
    estimate = ecdf(CensoredData(uncensored=frames[seen], right=frames[~seen])).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where all or none are left, the interval is undefined: nan
        ends = estimate.confidence_interval(LEVEL, method="log-log")
    columns = (estimate.quantiles, estimate.probabilities, ends.low.probabilities, ends.high.probabilities)
    return pd.DataFrame(dict(zip(("frames", "survival", "low", "high"), columns, strict=True)))
