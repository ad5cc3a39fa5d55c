"""Times instead of frame numbers: the time between frames, the frame of each point, and how regular the times are."""

import numpy as np
import pandas as pd

from main.tracks.table import MAX_INTERVAL_DIFFERENCE
from main.tracks.values import parse_numbers, parse_whole_numbers
from main.utils.errors import InputError

MAX_JITTER = 0.25  # of the interval: beyond it the nearest frame is not certain
MAX_DIVISOR_JITTER = 0.1  # where the interval is a fraction of the shortest steps, which fits irregular times by chance
MIN_DIVISOR_SHARE = 0.2  # of the steps that fit only a fraction of the shortest step; a few wrong times are no reason
MAX_DIVISOR = 12  # shortest common step, in intervals
NOTED_JITTER = 0.1  # of the interval: times beside frame numbers that are this irregular are said
MAX_FRAMES = 10**9  # of a recording: 12 days at 1,000 frames/s
MAX_TIME = 1e20  # nanoseconds since 1970 are 2e18
FIRST_FRAMES = 16  # of the clock; each further fit takes twice as many
UNNAMED_UNITS = {"s": 1.0, "ms": 1000.0}  # unit -> per second; what a time column without a unit may be in


def find_interval(steps: np.ndarray, divisor: int = 1) -> float:
    """Find the time between frames from the steps within tracks.

    The first guess is the most common of the shortest steps, divided by `divisor`. It is then the mean over ever longer
    steps, each divided by its number of frames, because times may be rounded.

    Parameters
    ----------
    steps : numpy.ndarray, shape (N,), float64
        Times between successive points of a track, above 0; at least one.
    divisor : int

    Returns
    -------
    float
        In the unit of the steps.
    """
    interval = np.quantile(steps, 0.05)
    for _ in range(10):
        interval = np.median(steps[(steps > 0.5 * interval) & (steps < 1.5 * interval)])
    interval, longest = interval / divisor, divisor
    while longest < MAX_FRAMES:
        n_frames = np.round(steps / interval)
        used = (n_frames > 0) & (n_frames <= longest)
        interval = steps[used].sum() / n_frames[used].sum()
        if longest >= n_frames.max():
            break
        longest *= 2
    return float(interval)


def _find_steps(time: np.ndarray, track: np.ndarray) -> np.ndarray:
    order = np.lexsort((time, track))
    steps = np.diff(time[order])[np.diff(track[order]) == 0]
    return steps[steps > 0]


def fit_clock(time: np.ndarray, interval: float) -> tuple[float, float]:
    """Fit time = start + interval x frame to times of all tracks, to ever longer parts of the recording.

    A small error of the interval adds up over many frames; each fit makes it small enough for the next part.

    Parameters
    ----------
    time : numpy.ndarray, shape (N,)
        Ascending.
    interval : float
        First guess.

    Returns
    -------
    start, interval : float
    """
    start, n_used, span = time[0], 0, FIRST_FRAMES
    while n_used < len(time):
        n_used = int(np.searchsorted(time, time[0] + (span + 0.5) * interval))
        frames = np.round((time[:n_used] - start) / interval)
        centred = frames - frames.mean()
        if centred.any():
            offset = time[:n_used] - time[0]
            interval = float((centred * offset).sum() / (centred**2).sum())
            start = float(time[0] + offset.mean() - interval * frames.mean())
        span *= 2
    return start, interval


def count_frames(
    times: pd.Series, tracks: pd.Series, source, seconds: float | None = None, given: float | None = None
) -> tuple[np.ndarray, float | None, list[str]]:
    """Convert times to frame numbers, from 0 at the first time of the file.

    Parameters
    ----------
    times, tracks : pandas.Series, shape (N,)
        Time and track of each point, with the names of their columns; the index counts the data rows from 0.
    source : str or Path
        File, for messages.
    seconds : float, optional
        Seconds per unit of time; None if it is unknown.
    given : float, optional
        Seconds between frames, as the user gave it.

    Returns
    -------
    frames : numpy.ndarray, shape (N,), int64
    interval_s : float or None
        Seconds between frames; None if the unit is unknown.
    warnings : list of str
        What was taken as what, the largest jitter and the number of gaps.

    Raises
    ------
    InputError
        If times are irregular (by more than a quarter of the interval), a track has two points in one frame, no track
        has two times, or `given` fits neither s nor ms.
    """
    column = times.name
    time, track = parse_numbers(times, source, column), parse_whole_numbers(tracks, source, tracks.name)
    steps = _find_steps(time, track)
    if not steps.size and not (given and seconds):
        raise InputError(
            f"{source}: column '{column}' holds times, but no track has two of them, so the time between frames is not "
            "known; give --frame-interval, or a column of frame numbers with --columns frame=NAME."
        )
    interval = found = find_interval(steps) if steps.size else None
    if given and seconds:
        interval = given / seconds
    elif given:
        seconds = _find_unit(found, given, source, column)
    if np.abs(time).max() > MAX_TIME or not np.ptp(time) < MAX_FRAMES * interval:
        raise InputError(
            f"{source}: times in column '{column}' reach from {time.min():g} to {time.max():g} by {interval:g}, "
            f"expected up to {MAX_TIME:.0e}, and {MAX_FRAMES:.0e} frames; correct them, or give --frame-interval."
        )
    known = given is not None and seconds is not None
    frames, interval, jitter = _fit_frames(time, steps, interval, fixed=known)
    _refuse_irregular(frames, time, track, interval, jitter, times, source)
    shown = "frames" if seconds is None else "s"
    length = interval if seconds is None else interval * seconds
    gaps = _count_gaps(frames, track)
    unit = f"{length:.6g} s" if shown == "s" else f"{length:.6g} in the unit of the column, which is not known"
    text = (
        f"{source}: frames are counted from the times in column '{column}'; the time between frames is {unit}, the "
        f"largest deviation {np.abs(jitter).max():.2g} of it, and tracks have {gaps} gaps"
    )
    advice = "; give --frame-interval for results in s" if seconds is None else ""
    return frames, None if seconds is None else length, [f"{text}{advice}."]


def _fit_frames(time, steps, interval, fixed) -> tuple[np.ndarray, float, np.ndarray]:
    """Return frames, interval and jitter of each point in intervals; a fixed interval may change by 1 % only.

    Where tracks have steps of, say, 2 and 3 frames, the shortest step is not the interval: fractions of it are tried.
    """
    ascending = np.sort(time)
    first = None
    for divisor in (1,) if fixed else range(1, MAX_DIVISOR + 1):
        guess = interval if divisor == 1 else find_interval(steps, divisor)
        if divisor > 1 and np.mean(np.round(steps / guess) % divisor != 0) < MIN_DIVISOR_SHARE:
            continue
        start, fitted = fit_clock(ascending, guess)
        if fixed and abs(fitted - interval) > MAX_INTERVAL_DIFFERENCE * interval:
            start, fitted = ascending[0], interval
        place = (time - start) / fitted
        frames = np.round(place)
        result = (frames - frames.min()).astype(np.int64), fitted, place - frames
        first = first or result
        if np.abs(result[2]).max() <= (MAX_JITTER if divisor == 1 else MAX_DIVISOR_JITTER):
            return result
    return first


def _refuse_irregular(frames, time, track, interval, jitter, times, source) -> None:
    """Raise InputError, which names the row, for a time between two frames or two points of a track in one frame."""
    worst = int(np.argmax(np.abs(jitter)))
    if abs(jitter[worst]) > MAX_JITTER:
        raise InputError(
            f"{source}: data row {times.index[worst] + 1}, column '{times.name}' holds {time[worst]:.10g}, which is "
            f"{abs(jitter[worst]):.2g} of the time between frames ({interval:.6g}) away from a frame, expected regular "
            "times; give --frame-interval, or a column of frame numbers with --columns frame=NAME."
        )
    order = np.lexsort((frames, track))
    twice = (np.diff(frames[order]) == 0) & (np.diff(track[order]) == 0)
    if twice.any():
        row = order[1:][twice].min()
        raise InputError(
            f"{source}: data row {times.index[row] + 1}, column '{times.name}': track {track[row]} has two points in "
            f"one frame of {interval:.6g}, expected one; remove a row, or give --frame-interval."
        )


def _find_unit(found: float, given: float, source, column) -> float:
    """Return the seconds per unit of a time column without a unit, from the interval that the user gave in s."""
    for per_second in UNNAMED_UNITS.values():
        if abs(found / (given * per_second) - 1) <= MAX_INTERVAL_DIFFERENCE:
            return 1 / per_second
    raise InputError(
        f"{source}: times in column '{column}' rise by {found:.6g}, which is {given:g} (--frame-interval) neither in s "
        "nor in ms; correct the option, or write the unit into the name of the column, such as t_s or t_ms."
    )


def _count_gaps(frames: np.ndarray, track: np.ndarray) -> int:
    order = np.lexsort((frames, track))
    return int(((np.diff(frames[order]) > 1) & (np.diff(track[order]) == 0)).sum())


def estimate_frame_interval(table: pd.DataFrame, times: pd.Series, source) -> tuple[float | None, list[str]]:
    """Estimate the time between frames where both times and frame numbers are known.

    It is the median over steps within tracks, then the mean over the steps near it, so that single wrong times do not
    count.

    Parameters
    ----------
    table : pandas.DataFrame
        track_id and frame, sorted.
    times : pandas.Series, shape (N,)
        Any dtype, what is no number counts as unknown; its name is that of the column.
    source : str or Path
        File, for the warning.

    Returns
    -------
    float or None
        In the unit of `times`; None if no track has two known times, or time does not rise.
    warnings : list of str
        One sentence if times and frames disagree by more than a tenth of the interval.
    """
    time = pd.to_numeric(times, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(time)
    frame, track, time = table["frame"].to_numpy()[known], table["track_id"].to_numpy()[known], time[known]
    same = np.diff(track) == 0
    n_frames, steps = np.diff(frame)[same], np.diff(time)[same]
    if not steps.size:
        return None, []
    interval = np.median(steps / n_frames)
    if not interval > 0:
        return None, []
    near = np.abs(steps - n_frames * interval) <= MAX_JITTER * interval
    interval = float(steps[near].sum() / n_frames[near].sum()) if near.any() else float(interval)
    jitter = np.abs(steps - n_frames * interval) / interval
    if jitter.max() <= NOTED_JITTER:
        return interval, []
    return interval, [
        f"{source}: steps of the times in column '{times.name}' and of the frame numbers differ by up to "
        f"{jitter.max():.2g} of the time between frames, by more than {NOTED_JITTER} in "
        f"{int((jitter > NOTED_JITTER).sum())} of {len(jitter)} steps; the frame numbers are used."
    ]
