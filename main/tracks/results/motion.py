"""Net speed and radius of confinement of segments, measured from their points by classical estimators.

Both are properties of the path and do not depend on what the networks say. Times are in frames and lengths in the unit
of the positions.
"""

from functools import cache

import numpy as np
from scipy.special import chdtri, chndtrinc, fdtri, gamma

N_BLOCKS = 8  # of a segment, whose displacements give the error of its speed; fewer in segments of fewer steps
MAX_SPEED_ERRORS = 30.0  # a speed of so many errors has an interval that is symmetric
# A free Brownian segment is as compact as this, or more so, in 1 of 100 cases: the 1 % quantile of Watson's U^2 (see
# `confinement_radii`); then a particle in a disc has crossed it about ten times.
MAX_COMPACTNESS = 0.01975
SLOWEST_MODE = 1.8412**2  # decay rate of a position in a reflecting disc, times radius^2 / D (first root of J1')
RADIAL_MODE = 3.8317**2  # that of the squared distance from the centre (first root of J0')
NORMAL_QUANTILE = 1.645  # of 90 % intervals
N_MODES = 12  # slowest cosine modes of a segment that tell walls from subdiffusion
MIN_NATS_FOR_WALLS = 2.0  # tuned on simulated discs and subdiffusion of 30 to 200 frames, LOG 2026-11-24 (tables)
ALPHA_GRID = np.linspace(0.1, 1.0, 10)  # of motion without walls


def net_speeds(frame, xy, first, n_points) -> np.ndarray:
    """Estimate the net speed of segments: displacement from end to end over time, less what diffusion adds to it.

    The velocity of Brownian motion with drift has the maximum likelihood estimate (r_end - r_start) / T. Its error
    comes from the displacements over 8 parts of the segment, so that steps which depend on their neighbours count with
    what they add up to within a part.

    Parameters
    ----------
    frame : numpy.ndarray, shape (N,)
    xy : numpy.ndarray, shape (N, 2)
        Points of all segments, one after the other.
    first, n_points : numpy.ndarray of int, shape (S,)
        First row and number of points of each segment.

    Returns
    -------
    numpy.ndarray, shape (3, S)
        Length per frame: speed (0 where diffusion alone gives such a displacement on average), and the ends of its
        90 % interval. The lower end is 0 where the speed is not significant. NaN for segments of fewer than 3 points.

    Source: Qian, Sheetz & Elson, Biophys. J. 60, 910 (1991), for flow and diffusion; the squared velocity over its
    error has a noncentral F distribution.
    """
    n_blocks = np.clip(n_points - 1, 1, N_BLOCKS)
    place = np.minimum(np.arange(N_BLOCKS + 1)[:, None], n_blocks) / n_blocks  # (blocks + 1, S), 1 after the last block
    edge = first + np.rint(place * (n_points - 1)).astype(np.int64)
    moved, duration = np.diff(xy[edge], axis=0), np.diff(frame[edge], axis=0).astype(float)
    time = np.maximum(duration.sum(axis=0), 1.0)
    velocity = moved.sum(axis=0) / time[:, None]
    rest = ((moved - velocity * duration[..., None]) ** 2).sum(axis=-1) / np.maximum(duration, 1.0)
    freedom = 2 * np.maximum(n_blocks - 1, 1)
    variance = rest.sum(axis=0) / freedom / time  # of each coordinate of the velocity
    square = (velocity**2).sum(axis=-1)
    # Wider, because the variance is itself an estimate: so that the lower end is above 0 by chance in 5 % of segments.
    error = np.sqrt(variance * 2 * fdtri(2, freedom, 0.95) / chdtri(2, 0.05))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.nan_to_num(np.sqrt(square) / error, nan=0.0, posinf=MAX_SPEED_ERRORS)
    grid, lower, upper = _tabulate_speed_interval()
    # At the upper end, chance displacements smaller than the usual ones shall not make the speed look certain.
    ends = error * np.stack([_extend(ratio, grid, lower), _extend(np.maximum(ratio, np.sqrt(2)), grid, upper)])
    result = np.stack([np.sqrt(np.maximum(square - 2 * variance, 0.0)), *ends])
    result[:, error == 0] = np.sqrt(square[error == 0])  # a straight line at constant speed, or no motion at all
    result[:, n_points < 3] = np.nan
    return result


def _extend(ratio: np.ndarray, grid: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Interpolate; beyond the grid the values grow as the grid does."""
    return np.interp(ratio, grid, values) + np.maximum(ratio - grid[-1], 0.0)


@cache
def _tabulate_speed_interval() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measured speed over its error, and the true ones at which it is the 95 % and the 5 % quantile, (300,) each.

    The squared speed over its squared error has a noncentral chi-squared distribution of 2 degrees of freedom.
    """
    grid = np.linspace(0.05, MAX_SPEED_ERRORS, 300)
    lower, upper = (np.sqrt(np.nan_to_num(chndtrinc(grid**2, 2, quantile))) for quantile in (0.95, 0.05))
    return grid, np.where(grid**2 > chdtri(2, 0.05), lower, 0.0), upper


def confinement_radii(frame, xy, first, n_points, sigma) -> np.ndarray:
    """Estimate the radius of the disc that holds a segment, where it is more compact than free motion can be.

    For a particle spread evenly over a disc of radius R, <|r - centre|^2> = R^2 / 2. The square of the radius of
    gyration is that, plus 2 sigma^2 of localisation error, minus the scatter of the mean position. D comes from the
    steps. The test: for free Brownian motion, the square of the radius of gyration over 8 D T has the distribution of
    Watson's U^2, and the segment must lie below its 1 % quantile.

    Parameters
    ----------
    frame, xy, first, n_points
        As for `net_speeds`.
    sigma : numpy.ndarray, shape (S,)
        Localisation error of each segment; NaN where unknown.

    Returns
    -------
    numpy.ndarray, shape (3, S)
        Radius, and the ends of its 90 % interval. NaN where the plateau is not reached, where the radius cannot be told
        from 0, and where the localisation error is unknown.

    Notes
    -----
    Subdiffusive motion without walls is compact too. Therefore the slowest cosine components of the segment must also
    be better explained by a disc than by fractional Brownian motion of any alpha up to 1. Measured (LOG 2026-11-24,
    tables): in discs of a radius of 1, 2 and 4 steps, .64, .63 and .19 of segments of 100 frames get a radius, and .62,
    .19 and .01 of those of 30 frames (noise over step .2); without walls .07 or fewer do.

    Source: Kusumi, Sako & Yamamoto, Biophys. J. 65, 2021 (1993), for the plateau of confined motion; Watson,
    Biometrika 48, 109 (1961), for U^2.
    """
    segment = np.repeat(np.arange(len(first)), n_points)
    mean = np.stack([np.add.reduceat(xy[:, i], first) for i in (0, 1)], axis=1) / n_points[:, None]
    centred = xy - mean[segment]
    square = (centred**2).sum(axis=1)
    gyration = np.add.reduceat(square, first) / n_points
    scatter = np.maximum(np.add.reduceat(square**2, first) / n_points - gyration**2, 0.0)
    step, within = np.diff(xy, axis=0), (np.diff(segment) == 0) & (np.diff(frame) == 1)
    n_steps = np.bincount(segment[1:][within], minlength=len(first))
    squares = np.bincount(segment[1:][within], (step[within] ** 2).sum(axis=1), minlength=len(first))
    span = (frame[first + n_points - 1] - frame[first] + 1).astype(float)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        d = squares / n_steps / 4 - sigma**2
        spread = gyration - 2 * sigma**2 * (1 - 1 / n_points)
        compact = (spread > 0) & (d > 0) & (spread < MAX_COMPACTNESS * 8 * d * (span - 1))
        # The mean position scatters by 2 tau / T of the total, with tau = R^2 / (SLOWEST_MODE D) and R^2 = 2 total:
        # total = spread + 4 total^2 / (SLOWEST_MODE D T).
        per_square = 4 / (SLOWEST_MODE * d * (span - 1))
        total = (1 - np.sqrt(1 - np.minimum(4 * per_square * spread, 1.0))) / (2 * per_square)
        decay = np.exp(-RADIAL_MODE * d / (2 * total))  # of the correlation of squared distances, over one frame
        variance = scatter / n_points * (1 + decay) / (1 - decay) + (per_square * total**2) ** 2
        reach = NORMAL_QUANTILE * np.sqrt(variance)
        ends = np.sqrt(2 * np.stack([total, total - reach, total + reach]))
    given = np.flatnonzero(compact & np.isfinite(ends).all(axis=0))
    time = frame - frame[first][segment]
    result = np.full((3, len(first)), np.nan)
    if len(given):
        power = _mode_power(centred, time, span, segment, given, n_points)
        gain = _walls_over_subdiffusion(power, span[given], n_points[given], d[given], total[given], sigma[given])
        given = given[gain > MIN_NATS_FOR_WALLS]
    result[:, given] = ends[:, given]
    return result


def _mode_power(centred, time, span, segment, given, n_points) -> np.ndarray:
    """Squared cosine components of the given segments, sum of both coordinates, (len(given), N_MODES), length^2."""
    number = np.full(len(span), -1)
    number[given] = np.arange(len(given))
    rows = number[segment] >= 0
    of, phase = number[segment[rows]], np.pi * (time[rows] + 0.5) / span[segment[rows]]
    starts = np.flatnonzero(np.diff(of, prepend=-1))
    power = np.empty((len(given), N_MODES))
    for mode in range(1, N_MODES + 1):
        parts = np.add.reduceat(centred[rows] * np.cos(mode * phase)[:, None], starts) * (2 / n_points[given])[:, None]
        power[:, mode - 1] = (parts**2).sum(axis=1)
    return power


def _walls_over_subdiffusion(power, span, n_points, d, spread, sigma) -> np.ndarray:
    """Log-likelihood of a particle in a disc over that of fractional Brownian motion without walls, nats, (S,).

    Both have the measured D of one frame. The disc has the measured spread; the alpha of motion without walls is the
    one that fits best. Each squared cosine component is exponentially distributed about its spectral density.
    """
    modes = np.arange(1, N_MODES + 1)
    counted = modes <= n_points[:, None] // 2
    frequency = np.where(counted, np.pi * modes / span[:, None], 1.0)  # 1 stands for those that are not counted
    noise = 2 * sigma[:, None] ** 2
    decay = np.clip(1 - 2 * d / spread, 0.0, 1.0)[:, None]  # of the correlation of positions, over one frame
    walls = spread[:, None] * (1 - decay**2) / (1 - 2 * decay * np.cos(frequency) + decay**2)

    def log_likelihood(density):
        expected = 2 / n_points[:, None] * (density + noise)
        return -((np.log(expected) + power / expected) * counted).sum(axis=1)

    free = [
        log_likelihood(
            4 * d[:, None] * gamma(1 + a) * np.sin(np.pi * a / 2) * frequency ** (1 - a) / (2 - 2 * np.cos(frequency))
        )
        for a in ALPHA_GRID
    ]
    return log_likelihood(walls) - np.max(free, axis=0)
