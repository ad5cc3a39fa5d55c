"""How well D and its changepoints are read from segmented Brownian motion, beside what the tracks allow.

The benchmark of Requena et al. (Biophysical Journal 122, 4360, 2023), on tracks of our own. D belongs to steps: entry t
to that from frame t to t + 1; a changepoint is the first step of another D.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import gammaln

from main.tracks.diffusion.network import changepoints_of, diffusion_in_time, geometric_means, segments_in_time
from main.tracks.evaluation.errors import changepoint_counts
from main.tracks.inference.partition import windows
from main.utils.estimators import cramer_rao_bound, cve, mle, sliding_d
from simulations.brownian import LOG10_D

DISPLACEMENT_PENALTY = 6.0  # of a changepoint on `log_displacements`, as Requena et al. have it
TOLERANCE = 5  # frames; a changepoint counts as found closer than this
STATIONARY_NOISE = 0.0144  # sigma^2 / D
COUNTS = ["hits", "false_alarms", "misses", "squared"]
MEAN_OF_NORMAL = np.sqrt(2 / np.pi)  # mean of |error| over its standard deviation


def changepoint_table(k: np.ndarray, found: list[list[int]]) -> pd.DataFrame:
    """What each track adds to the Jaccard index.

    Parameters
    ----------
    k : numpy.ndarray, shape (N, T)
        True D of each step.
    found : list of list of int
        Changepoints found in each track.

    Returns
    -------
    pandas.DataFrame
        A row per track: hits, false_alarms, misses, squared (frames^2, of the hits), number (of true changepoints),
        and of the first one position (frame) and ratio (of D after it to D before).
    """
    true = changepoints_of(k)
    counts = [changepoint_counts(a, b, TOLERANCE) for a, b in zip(true, found, strict=True)]
    table = pd.DataFrame(counts, columns=COUNTS)
    first = np.array([row[0] if row else 1 for row in true])
    rows = np.arange(len(k))
    return table.assign(number=[len(row) for row in true], position=first, ratio=k[rows, first] / k[rows, first - 1])


def jaccard_of(table: pd.DataFrame, by=None):
    """Jaccard index of all tracks of a `changepoint_table`, or of those of each value of `by`."""
    sums = table[COUNTS].sum() if by is None else table.groupby(by, observed=True)[COUNTS].sum()
    return sums["hits"] / (sums["hits"] + sums["false_alarms"] + sums["misses"])


def posterior_changes(xy: np.ndarray, numbers=(1, 4), shortest: int = 10) -> np.ndarray:
    """Probability of a changepoint at each step of Brownian tracks without localisation error, by Bayes' rule.

    For a reader who knows how the tracks were made: all numbers of changepoints alike, all places alike, log D of each
    segment uniform. `probable_changepoints` of it is what the tracks allow, nearly: it is made for this score.

    Parameters
    ----------
    xy : numpy.ndarray, shape (N, T, 2)
    numbers : (int, int)
        Fewest and most changepoints, the fewest 1 or more.
    shortest : int
        Frames of the shortest segment (of the last, one step less).

    Returns
    -------
    numpy.ndarray, shape (N, T)
        Probability that the step has another D than the step before.

    Notes
    -----
    A segment of n steps whose squares sum to 4 S has the likelihood Gamma(n) S^-n, log D integrated over (with no ends,
    which matters only near them); sums over all partitions by forward and backward recursion.
    """
    squares = (np.diff(xy, axis=1) ** 2).sum(axis=-1) / 4
    steps = squares.shape[1]
    size = np.subtract.outer(np.arange(steps + 1), np.arange(steps + 1)).T  # [first, end]
    allowed = size >= shortest
    allowed[:, -1] = size[:, -1] >= shortest - 1
    size = np.maximum(size, 1)
    constant = gammaln(size) - np.log((LOG10_D[1] - LOG10_D[0]) * np.log(10))
    most, found = numbers[1], np.zeros(xy.shape[:2])
    free = [steps + 1 - shortest * (m + 1) for m in range(most + 1)]  # frames beyond the shortest segments
    log_ways = [gammaln(f + m + 1) - gammaln(f + 1) - gammaln(m + 1) for m, f in enumerate(free)]
    for row, out in zip(squares, found, strict=True):
        total = np.concatenate([[0.0], row.cumsum()])
        inside = np.maximum(total[None] - total[:, None], np.finfo(float).tiny)
        gain = np.where(allowed, constant - size * np.log(inside), -np.inf)
        forward, backward = [gain[0]], [gain[:, -1]]
        for _ in range(most):
            forward.append(_log_sum(forward[-1][:, None] + gain, 0))
            backward.append(_log_sum(gain + backward[-1][None], 1))
        evidence = np.array([forward[m][-1] - log_ways[m] for m in range(numbers[0], most + 1)])
        weights = np.exp(evidence - evidence.max()) / np.exp(evidence - evidence.max()).sum()
        for m, weight in zip(range(numbers[0], most + 1), weights, strict=True):
            for before in range(m):
                out[:steps] += weight * np.exp(forward[before] + backward[m - 1 - before] - forward[m][-1])[:steps]
    return found


def _log_sum(values: np.ndarray, axis: int) -> np.ndarray:
    """log of the sum of exponentials, -inf where all are."""
    top = np.maximum(values.max(axis=axis, keepdims=True), -1e300)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(values - top).sum(axis=axis)) + top.squeeze(axis)


def probable_changepoints(p_change: np.ndarray) -> list[list[int]]:
    """Changepoints where as many steps as count as one hold one with a probability above a half.

    Parameters
    ----------
    p_change : numpy.ndarray, shape (N, T)
        Probability that a step has another D than the step before.

    Returns
    -------
    list of list of int
        Of each track, the first steps of new segments: the mean place in each window.
    """
    found = [[] for _ in p_change]
    for track, first, last in windows(p_change, 0.5, 1, 2 * TOLERANCE - 1):
        inside = p_change[track, first:last]
        found[track].append(round(float(np.arange(first, last) @ inside / inside.sum())))
    return found


def segment_table(xy: np.ndarray, k: np.ndarray, sigma=0.0, networks: dict[str, np.ndarray] | None = None):
    """Every estimator on every true segment.

    Parameters
    ----------
    xy : numpy.ndarray, shape (N, T, 2)
    k : numpy.ndarray, shape (N, T)
        True D of each step.
    sigma : float or numpy.ndarray of shape (N,)
        Localisation error, which MLE is told.
    networks : dict of str -> numpy.ndarray of shape (N, T)
        Name -> its D of each step of the whole tracks.

    Returns
    -------
    pandas.DataFrame
        A row per segment: track, start, frames (positions), k, noise (sigma^2 / D), bound (Cramer-Rao, of the relative
        error, sigma known), and per estimator its D: the networks' (geometric mean over the segment, of the reading of
        the whole track), and of the segment's own positions MLE, CVE (which is told no localisation error) and MSD (a
        line through lags 1 and 2); NaN for fewer than 3 positions.
    """
    sigma = np.broadcast_to(np.asarray(sigma, float), len(xy))
    table = segments_in_time(k[:, :-1], changepoints_of(k[:, :-1])).drop(columns="whole").rename(columns={"d": "k"})
    track, start = table["track"].to_numpy(), table["start"].to_numpy()
    table["noise"] = sigma[track] ** 2 / table["k"]
    for name, d in (networks or {}).items():
        table[name] = geometric_means(d[:, :-1], track, start, start + table["frames"])
    table["frames"] += 1  # positions, of so many steps
    for frames, group in table.groupby("frames"):
        own = np.array([xy[i, a : a + frames] for i, a in zip(group["track"], group["start"], strict=True)])
        if frames > 2:
            table.loc[group.index, "MLE"] = mle(own, sigma[group["track"]])
            table.loc[group.index, "CVE"] = cve(own)
            table.loc[group.index, "MSD"] = sliding_d(own, frames)[:, 0]
    bound = [cramer_rao_bound(n, 1.0, np.sqrt(x)) for n, x in zip(table["frames"], table["noise"], strict=True)]
    return table.assign(bound=bound)


def relative_errors(table: pd.DataFrame, methods: list[str], bins) -> pd.DataFrame:
    """Mean of |D found - D| / D in bins of segments, beside that of an efficient estimator.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `segment_table`.
    methods : list of str
        Columns of the table.
    bins : array-like
        Bin of each row, by which it is grouped.

    Returns
    -------
    pandas.DataFrame
        A row per bin, a column per method, and bound: the mean of |error| of normal errors of the Cramer-Rao size.
    """
    errors = (table[methods].div(table["k"], axis=0) - 1).abs().assign(bound=MEAN_OF_NORMAL * table["bound"])
    return errors.groupby(np.asarray(bins)).mean()


def read_segments(xy: np.ndarray, table: pd.DataFrame, weights: str = "brownian", sigma=0.0) -> np.ndarray:
    """D of each step (M, T) of each true segment by a network that sees nothing but it, NaN beyond its end."""
    rows = zip(table["track"], table["start"], table["frames"], strict=True)
    error = np.broadcast_to(np.asarray(sigma, float), len(xy))[table["track"]]
    return diffusion_in_time([xy[i, a : a + n] for i, a, n in rows], error, weights)


def geometric_bins(values, n: int = 9) -> np.ndarray:
    """Bins of equally many values: of each value, the geometric mean of its bin."""
    values = np.asarray(values, float)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, n + 1)[1:-1]))
    bins = np.digitize(values, edges)
    centres = np.array([np.exp(np.log(values[bins == i]).mean()) if (bins == i).any() else 0 for i in range(n)])
    return centres[bins]


def stationary(frames: int, n: int, weights: str = "brownian", seed: int = 0) -> dict:
    """Error of a network on tracks of one D, beside the Cramer-Rao bound; it is told the localisation error.

    Parameters
    ----------
    frames, n : int
        Of a track; tracks.
    weights : str
    seed : int

    Returns
    -------
    dict
        frames; "rms over bound": root mean square of the relative error of D over the bound; "mean error", relative.
    """
    rng, sigma = np.random.default_rng([seed, frames]), np.sqrt(STATIONARY_NOISE)
    motion = rng.normal(0, np.sqrt(2), (n, frames, 2)).cumsum(axis=1)
    log_d = np.log10(diffusion_in_time(motion + rng.normal(0, sigma, motion.shape), sigma, weights)[:, :-1])
    error = 10 ** log_d.mean(axis=1) - 1
    rms = float(np.sqrt((error**2).mean()))
    return {"frames": frames, "rms over bound": rms / cramer_rao_bound(frames, 1.0, sigma), "mean error": error.mean()}
