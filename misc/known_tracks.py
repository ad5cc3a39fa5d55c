"""Tracks with known answers for `misc/audit.py`, from generators that share nothing with `simulations/`.

Positions are in um and times in s. Every generator gives a list of tracks, each of shape (T, 2), and takes a NumPy
random generator. Localisation error is added by `localise`. The constants below are those of a common microscope.
"""

import numpy as np
import pandas as pd

FRAME_INTERVAL = 0.02  # s
STEP = 0.15  # um; root mean square of a free step along one axis, so that D = STEP^2 / (2 FRAME_INTERVAL)
SUBSTEPS = 20  # of a frame, where what happens within a frame counts
N_BURN_IN_STEPS = 1000  # before the first frame of a particle in a disc


def localise(tracks, sigma: float, rng) -> list[np.ndarray]:
    """Add white localisation error of standard deviation `sigma` per coordinate, um."""
    return [track + rng.normal(0.0, sigma, track.shape) for track in tracks]


def fractional(n: int, frames: int, alpha: float, rng, step: float = STEP) -> list[np.ndarray]:
    """Make n tracks of exact fractional Brownian motion, without localisation error.

    The covariance of positions, (t^a + s^a - |t - s|^a) K, is factored by Cholesky. `step` is the root mean square of
    a step along one axis, um; MSD(t) = 2 step^2 (t / FRAME_INTERVAL)^alpha.
    """
    t = np.arange(1, frames, dtype=float)
    power = t**alpha
    covariance = 0.5 * step**2 * (power[:, None] + power - np.abs(t[:, None] - t) ** alpha)
    root = np.linalg.cholesky(covariance + 1e-12 * step**2 * np.eye(len(t)))
    paths = np.einsum("ts,nsd->ntd", root, rng.normal(size=(n, frames - 1, 2)), optimize=True)  # as a matrix product
    return [np.vstack([np.zeros((1, 2)), path]) for path in paths]


def blurred(n: int, frames: int, alpha: float, exposure: float, rng, step: float = STEP) -> list[np.ndarray]:
    """Make tracks of fractional Brownian motion whose positions are averages over a share `exposure` of each frame."""
    seen = max(int(round(exposure * SUBSTEPS)), 1)
    fine = fractional(n, frames * SUBSTEPS, alpha, rng, step * SUBSTEPS ** (-alpha / 2))
    return [track.reshape(frames, SUBSTEPS, 2)[:, :seen].mean(axis=1) for track in fine]


def beads(n: int, frames: int) -> list[np.ndarray]:
    """Make tracks that never move."""
    return [np.zeros((frames, 2)) for _ in range(n)]


def immobile_phase(n: int, frames: int, stay: int, rng, step: float = STEP) -> tuple[list, list]:
    """Make free tracks that stand still for `stay` frames at a random place; returns tracks and (T,) bool masks.

    The position is the same at all frames of the phase.
    """
    tracks, masks = [], []
    for _ in range(n):
        first = rng.integers(10, frames - stay - 9)
        steps = rng.normal(0.0, step, (frames - 1, 2))
        steps[first : first + stay - 1] = 0.0
        tracks.append(np.vstack([np.zeros((1, 2)), np.cumsum(steps, axis=0)]))
        masks.append((np.arange(frames) >= first) & (np.arange(frames) < first + stay))
    return tracks, masks


def switching(
    n: int, frames: int, dwells: tuple[float, float], rng, d: tuple[float, float] | None = None
) -> tuple[list, list]:
    """Make Brownian tracks that switch in continuous time between two states, exponential dwells.

    Parameters
    ----------
    dwells : (float, float)
        Mean dwell in the first and in the second state, s.
    d : (float, float), optional
        Diffusion coefficients, um^2/s; by default the first state moves with STEP^2 / (2 FRAME_INTERVAL) and the second
        is immobile.

    Returns
    -------
    tracks : list of (T, 2) array
    second : list of (T,) array of bool
        Whether the particle is in the second state at the time of each frame.
    """
    d = (STEP**2 / (2 * FRAME_INTERVAL), 0.0) if d is None else d
    tracks, second = [], []
    share = dwells[1] / sum(dwells)
    for _ in range(n):
        state, t, end = int(rng.random() < share), 0.0, (frames - 1) * FRAME_INTERVAL
        changes, states = [0.0], [state]
        while True:
            t += rng.exponential(dwells[state])
            if t >= end:
                break
            state = 1 - state
            changes.append(t)
            states.append(state)
        edges = np.append(changes, end)
        time_in_first = np.concatenate([[0.0], np.cumsum(np.diff(edges) * (np.array(states) == 0))])
        frame_times = np.arange(frames) * FRAME_INTERVAL
        first = np.diff(np.interp(frame_times, edges, time_in_first))  # s in the first state, of each step
        variance = 2 * (d[0] * first + d[1] * (FRAME_INTERVAL - first))
        steps = rng.normal(size=(frames - 1, 2)) * np.sqrt(np.maximum(variance, 0.0))[:, None]
        tracks.append(np.vstack([np.zeros((1, 2)), np.cumsum(steps, axis=0)]))
        second.append(np.array(states)[np.searchsorted(changes, frame_times, side="right") - 1] == 1)
    return tracks, second


def levels(n: int, frames: int, ratios, stay: float, rng) -> tuple[list, list]:
    """Make Brownian tracks that jump between several diffusion coefficients, (STEP^2 / 2) ratios, after `stay` frames.

    Stays are geometric with mean `stay`, 5 frames or more. Returns tracks and lists of changepoints.
    """
    tracks, changes = [], []
    for _ in range(n):
        level, t, variance, places = rng.integers(len(ratios)), 0, np.empty(frames - 1), []
        while t < frames - 1:
            length = 5 + rng.geometric(1 / max(stay - 5, 1))
            variance[t : t + length] = STEP**2 * ratios[level]
            t += length
            if t < frames - 1:
                places.append(t)
            level = (level + rng.integers(1, len(ratios))) % len(ratios)
        steps = rng.normal(size=(frames - 1, 2)) * np.sqrt(variance)[:, None]
        tracks.append(np.vstack([np.zeros((1, 2)), np.cumsum(steps, axis=0)]))
        changes.append(places)
    return tracks, changes


def disc(n: int, frames: int, radius: float, rng, step: float = STEP) -> list[np.ndarray]:
    """Make Brownian tracks inside a disc with a reflecting rim, `radius` um."""
    small = step / np.sqrt(SUBSTEPS)
    place = radius * np.sqrt(rng.random((n, 1))) * _directions(n, rng)
    tracks = np.empty((n, frames, 2))
    for t in range(-N_BURN_IN_STEPS, (frames - 1) * SUBSTEPS + 1):
        if t >= 0 and t % SUBSTEPS == 0:
            tracks[:, t // SUBSTEPS] = place
        place = place + rng.normal(0.0, small, place.shape)
        distance = np.linalg.norm(place, axis=1, keepdims=True)
        place = np.where(distance > radius, place * (2 * radius - distance) / np.maximum(distance, 1e-12), place)
    return list(tracks)


def _directions(n: int, rng) -> np.ndarray:
    """Random directions, (n, 2)."""
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def flow(tracks, speed: float, rng) -> list[np.ndarray]:
    """Add a constant velocity in a random direction to each track; `speed` in um a frame."""
    directions = _directions(len(tracks), rng)
    return [track + speed * np.arange(len(track))[:, None] * d for track, d in zip(tracks, directions, strict=True)]


def drift(tracks, speed: float) -> list[np.ndarray]:
    """Add the drift of the whole field along (1, 0.5) to all tracks; `speed` in um a frame."""
    direction = np.array([1.0, 0.5]) / np.hypot(1.0, 0.5)
    return [track + speed * np.arange(len(track))[:, None] * direction for track in tracks]


def spike(tracks, size: float, rng) -> list[np.ndarray]:
    """Move one point of each track by `size` um, in a random direction; never the first or the last five."""
    spiked = []
    for track, direction in zip(tracks, _directions(len(tracks), rng), strict=True):
        track = track.copy()
        track[rng.integers(5, len(track) - 5)] += size * direction
        spiked.append(track)
    return spiked


def make_table(tracks, missing: float = 0.0, rng=None) -> pd.DataFrame:
    """Make a table (track_id, frame, x_um, y_um) of tracks; a share `missing` of inner points is left out."""
    rows = []
    for i, track in enumerate(tracks):
        keep = np.ones(len(track), bool)
        if missing:
            keep[1:-1] = rng.random(len(track) - 2) >= missing
        frame = np.flatnonzero(keep)
        rows.append(np.column_stack([np.full(len(frame), i), frame, track[keep]]))
    table = pd.DataFrame(np.concatenate(rows), columns=["track_id", "frame", "x_um", "y_um"])
    return table.astype({"track_id": int, "frame": int})
