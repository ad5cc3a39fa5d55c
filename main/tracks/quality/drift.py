"""Drift that all tracks of a file share: the velocity of the sample stage, found from the mean velocities of tracks."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

MIN_TRACKS = 20  # of 10 steps or more; with fewer no drift is estimated
MIN_STEPS = 10  # of a track, or of the part of it in a window
N_BLOCKS = 5  # parts of a track whose displacements give the error of its velocity
HUBER = 2.0  # errors from the common velocity at which the weight of a track begins to fall
N_ITERATIONS = 30
MIN_SLOPE = 1e-3  # share of the weight within HUBER errors, where all tracks move by themselves
SIGNIFICANT = 5.0  # standard errors; chance gives a drift as large in less than one file of 10,000
MAX_WINDOWS = 10
MIN_WINDOW_TRACKS = 50  # with enough steps in each window, for a drift that varies
SEEN_BY_TRACK = 1.0  # errors of a track's own velocity; Brownian tracks of 100 frames then gain 0.02 in alpha
MIN_SHARE_AFFECTED = 0.05  # of the tracks


@dataclass(frozen=True)
class Drift:
    """Common drift of the tracks of a file.

    Parameters
    ----------
    velocity, error : numpy.ndarray, shape (2,)
        Mean velocity along x and y and its standard error over tracks, unit of x per frame; NaN if there are too
        few tracks.
    affected : float
        Share of the tracks in which the drift exceeds the error of the track's own mean velocity.
    frames, path : numpy.ndarray, shape (W + 1,) and (W + 1, 2)
        Displacement of the field at the borders of W windows, unit of x; a straight line in between.
    """

    velocity: np.ndarray = field(default_factory=lambda: np.full(2, np.nan))
    error: np.ndarray = field(default_factory=lambda: np.full(2, np.nan))
    affected: float = 0.0
    frames: np.ndarray = field(default_factory=lambda: np.zeros(1))
    path: np.ndarray = field(default_factory=lambda: np.zeros((1, 2)))

    @property
    def speed(self) -> float:
        """Size of the velocity, unit of x per frame."""
        return float(np.hypot(*self.velocity))

    @property
    def varies(self) -> bool:
        """Whether the velocity changes with time."""
        return len(self.frames) > 2

    @property
    def largest(self) -> float:
        """Largest speed, unit of x per frame."""
        return float(np.hypot(*(np.diff(self.path, axis=0) / np.diff(self.frames)[:, None]).T).max(initial=0.0))

    @property
    def significant(self) -> bool:
        """Whether the drift, or its change with time, is larger than chance makes it."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.varies or bool(np.hypot(*(self.velocity / self.error)) > SIGNIFICANT)

    @property
    def matters(self) -> bool:
        """Whether the drift changes what is found in some of the tracks."""
        return self.significant and self.affected > MIN_SHARE_AFFECTED

    def at(self, frame: np.ndarray) -> np.ndarray:
        """Displacement of the field at frames (N,), unit of x, (N, 2)."""
        return np.stack([np.interp(frame, self.frames, self.path[:, i]) for i in (0, 1)], axis=1)


def estimate_drift(table: pd.DataFrame) -> Drift:
    """Estimate the drift that the tracks of a file share.

    It is constant or, if the velocities in windows of the file differ beyond their errors, constant in each window.

    Parameters
    ----------
    table : pandas.DataFrame
        track_id, frame, x, y, sorted by (track_id, frame).

    Returns
    -------
    Drift
    """
    first, last = (int(end) for end in (table["frame"].min(), table["frame"].max()))
    velocity, error = track_velocities(table, first, last)
    if len(velocity) < MIN_TRACKS:
        return Drift()
    mean, mean_error, _ = common_velocity(velocity, error)
    borders, steps = np.array([first, last]), mean[None]
    for n_windows in range(min(MAX_WINDOWS, (last - first) // MIN_STEPS), 1, -1):
        ends = np.linspace(first, last, n_windows + 1).round().astype(int)
        parts = [track_velocities(table, *pair) for pair in zip(ends[:-1], ends[1:], strict=True)]
        if min(len(part[0]) for part in parts) < MIN_WINDOW_TRACKS:
            continue
        of_window, its_error, n_effective = map(np.array, zip(*(common_velocity(*part) for part in parts), strict=True))
        off = np.hypot(*((of_window - mean) / np.maximum(its_error, np.finfo(float).tiny)).T)
        if (off > SIGNIFICANT).sum() >= 2 and n_effective.min() >= MIN_TRACKS:
            borders, steps = ends, of_window
        break
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(steps * np.diff(borders)[:, None], axis=0)])
    seen = np.hypot(*steps.T).max() > SEEN_BY_TRACK * error
    return Drift(mean, mean_error, float(seen.mean()), borders, path)


def track_velocities(table: pd.DataFrame, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean velocity of each track between two frames.

    Parameters
    ----------
    table : pandas.DataFrame
    first, last : int
        Frames, both included.

    Returns
    -------
    velocity : numpy.ndarray, shape (N, 2)
        Of the tracks with enough steps, unit of x per frame.
    error : numpy.ndarray, shape (N,)
        Standard error of one coordinate, from the spread of the velocity over parts of the track.
    """
    frame = table["frame"].to_numpy()
    rows = np.flatnonzero((frame >= first) & (frame <= last))
    track, frame, xy = table["track_id"].to_numpy()[rows], frame[rows], table[["x", "y"]].to_numpy()[rows]
    jump = table["jump"].to_numpy()[rows] if "jump" in table else np.zeros(len(rows), bool)
    start = np.flatnonzero((np.diff(track, prepend=track[:1] - 1) != 0) | jump)
    stop = np.append(start[1:], len(track)) - 1
    start, stop = (ends[stop - start >= MIN_STEPS] for ends in (start, stop))
    border = start + (stop - start) * np.arange(N_BLOCKS + 1)[:, None] // N_BLOCKS  # (N_BLOCKS + 1, N)
    time = np.diff(frame[border], axis=0)[..., None]
    parts = np.diff(xy[border], axis=0) / time
    velocity = (xy[stop] - xy[start]) / (frame[stop] - frame[start])[:, None]
    return velocity, np.sqrt(parts.var(axis=0, ddof=1).mean(axis=1) / N_BLOCKS)


def common_velocity(velocity: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Compute the mean of velocities (N, 2), weighted by their errors (N,), robust to tracks that move by themselves.

    Huber's estimator: beyond HUBER errors the weight of a track falls with its distance from the mean.

    Returns
    -------
    mean, error : numpy.ndarray, shape (2,)
        Mean and its standard error, from the scatter of the tracks.
    n_effective : float
        Number of tracks that count, 1 / (sum of squared weights).
    """
    error = np.maximum(error, max(1e-3 * np.median(error), np.finfo(float).tiny ** 0.25))
    mean = np.median(velocity, axis=0)
    for _ in range(N_ITERATIONS):
        off = velocity - mean
        distance = np.hypot(*off.T) / error
        weight = np.minimum(1, HUBER / np.maximum(distance, HUBER)) / error**2
        weight = weight / weight.sum()
        mean = mean + weight @ off
    inside = (distance < HUBER) / error**2
    slope = inside.sum() / (inside + (distance >= HUBER) * HUBER / np.maximum(distance, HUBER) / error**2).sum()
    scatter = np.sqrt(((weight[:, None] * (velocity - mean)) ** 2).sum(axis=0))
    return mean, scatter / max(slope, MIN_SLOPE), 1 / (weight**2).sum()
