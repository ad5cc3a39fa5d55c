"""Stays of a particle that otherwise moves, found by the most probable path through two states."""

import numpy as np

from main.tracks.inference.motion_evidence import shows_motion
from main.utils.compiled import compiled

SWITCH_NATS = 5.0  # price of a change between moving and immobile; misc/LOG.md, 2026-11-24 (4)
MIN_STAY_FRAMES = 3  # as of all segments
MAX_STAY_FRAMES = 400  # longest stay that is decoded as one, so that the time is linear in the length of a track
BORDER_REACH_FRAMES = 5  # on both sides of a changepoint of the networks, where either motion may hold
OUTLIER_SQUARE = 18.0  # over its variance; a step this large says nothing on the next: probability e^-9
N_LAGS = 20  # steps from which the next step of a moving particle is predicted


def find_stays(xy: np.ndarray, frame: np.ndarray, edges, k, alpha) -> list[tuple[int, int]]:
    """Stretches in which a particle that otherwise moves stands still.

    The most probable path through two states: moving, with the density of fractional Brownian motion whose K and alpha
    are given; and staying, where positions are independent about a centre. A change costs SWITCH_NATS.

    Parameters
    ----------
    xy : numpy.ndarray, shape (T, 2)
        Positions in units of the localisation error, in the frames in which the particle was seen.
    frame : numpy.ndarray of int, shape (T,)
        These frames, increasing.
    edges, k, alpha : array, shapes (S + 1,), (S,), (S,)
        First frames, and the frame after the last one; K (squared localisation errors/frame^alpha, > 0) and alpha of
        successive segments.

    Returns
    -------
    list of (int, int)
        First position, and the position after the last one, of each stay that is consistent with K = 0.
    """
    density = _moving_density(xy, frame, np.asarray(edges), np.asarray(k, float), np.asarray(alpha, float))
    start = _decode(xy, density, SWITCH_NATS)
    stays = [(int(start[t]), int(t) + 1) for t in np.flatnonzero(start >= 0)]
    return [stay for stay in stays if not shows_motion(xy[slice(*stay)], 1.0)]


@compiled
def _predictors(k, alpha, n_lags):
    """Coefficients (n_lags + 1, n_lags) and variances (n_lags + 1,) that predict a step from 0 to n_lags steps before.

    Steps of fractional Brownian motion in units of the localisation error, which they include; by the recursion of
    Levinson and Durbin.
    """
    covariance = np.empty(n_lags + 1)
    for h in range(n_lags + 1):
        covariance[h] = k * ((h + 1) ** alpha - 2 * h**alpha + abs(h - 1) ** alpha)
    covariance[0] = 2 * k + 2
    covariance[1] -= 1
    weights, variance = np.zeros((n_lags + 1, n_lags)), np.empty(n_lags + 1)
    variance[0] = covariance[0]
    for m in range(1, n_lags + 1):
        partial = covariance[m]
        for i in range(m - 1):
            partial -= weights[m - 1, i] * covariance[m - 1 - i]
        partial /= variance[m - 1]
        for i in range(m - 1):
            weights[m, i] = weights[m - 1, i] - partial * weights[m - 1, m - 2 - i]
        weights[m, m - 1] = partial
        variance[m] = max(variance[m - 1] * (1 - partial**2), 1e-9)
    return weights, variance


@compiled
def _moving_density(xy, frame, edges, k, alpha):
    """Log density of each position given those before, if the particle moves; units of the localisation error.

    xy (T, 2); frame (T,) int; edges (S + 1,), k, alpha (S,): first frames and motion of each segment. Near a border,
    which may be a little off, the larger of the densities of both segments. The first is 0.
    """
    density = np.full(len(xy), -np.inf)
    density[0] = 0.0
    for segment in range(len(k)):
        weights, variances = _predictors(k[segment], alpha[segment], N_LAGS)
        first, last = edges[segment] - BORDER_REACH_FRAMES, edges[segment + 1] + BORDER_REACH_FRAMES
        since = 0  # steps that the next one is predicted from
        for t in range(max(np.searchsorted(frame, first), 1), np.searchsorted(frame, last)):
            gap = frame[t] - frame[t - 1]
            if gap > 1:
                since = 0
            order = min(since, N_LAGS)
            variance = variances[order] if gap == 1 else 2 * k[segment] * gap ** alpha[segment] + 2
            square = 0.0
            for axis in range(2):
                residual = xy[t, axis] - xy[t - 1, axis]
                for i in range(order):
                    residual -= weights[order, i] * (xy[t - 1 - i, axis] - xy[t - 2 - i, axis])
                square += residual**2
            density[t] = max(density[t], -np.log(2 * np.pi * variance) - square / (2 * variance))
            since = since + 1 if gap == 1 and square < OUTLIER_SQUARE * variance else 0
    return density


@compiled
def _decode(xy, density, price):
    """Start of the stay that ends at each frame, or -1 where the particle moves, along the most probable path, (T,).

    xy (T, 2) in units of the localisation error; density (T,) of moving. The positions of a stay are independent
    about a centre that may be anywhere.
    """
    n = len(xy)
    total, squares = np.zeros((n + 1, 2)), np.zeros(n + 1)
    for t in range(n):
        total[t + 1] = total[t] + xy[t]
        squares[t + 1] = squares[t] + xy[t, 0] ** 2 + xy[t, 1] ** 2
    constant = np.log(np.arange(1, n + 2))
    moving, staying = np.full(n, -np.inf), np.full(n, -np.inf)
    start, came_from_stay = np.full(n, -1), np.zeros(n, np.bool_)
    entry = np.empty(n)  # best value of the frames before a stay that begins here, and of its first position
    for t in range(n):
        before = 0.0
        if t > 0:
            came_from_stay[t] = staying[t - 1] - price > moving[t - 1]
            before = max(staying[t - 1] - price, moving[t - 1])
        moving[t] = before + density[t]
        entry[t] = moving[t] - price
        for a in range(max(0, t + 1 - MAX_STAY_FRAMES), t + 2 - MIN_STAY_FRAMES):
            m = t + 1 - a
            x, y = total[t + 1, 0] - total[a, 0], total[t + 1, 1] - total[a, 1]
            scatter = squares[t + 1] - squares[a] - (x * x + y * y) / m
            value = entry[a] - (m - 1) * np.log(2 * np.pi) - constant[m - 1] - 0.5 * scatter
            if value > staying[t]:
                staying[t], start[t] = value, a
    path, t = np.full(n, -1), n - 1
    stays = staying[t] > moving[t]
    while t >= 0:
        if stays:
            path[t] = start[t]
            t = start[t]
        stays = came_from_stay[t]
        t -= 1
    return path
