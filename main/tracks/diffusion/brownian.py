"""Scores estimates of D and of its changepoints on segmented Brownian motion, beside what the tracks allow.

The benchmark of STEP (Requena et al., Biophysical Journal 122, 4360, 2023), on tracks of `simulations.brownian`. D
belongs to steps: entry t is that of the step from frame t to t + 1. A changepoint is the first step with another D.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from scipy.special import gammaln, softmax

from main.tracks.diffusion.network import diffusion_in_time, find_d_changes, geometric_means, tabulate_segments
from main.tracks.evaluation.errors import changepoint_counts
from main.tracks.inference.partition import windows
from main.utils.estimators import cramer_rao_bound, cve, mle, sliding_d
from simulations.brownian import LOG10_D

DISPLACEMENT_PENALTY = 6.0  # squared natural logarithm; cost of a changepoint on `log_displacements` (Requena et al.)
TOLERANCE_FRAMES = 5  # a changepoint counts as found if it is closer than this (Requena et al.)
STATIONARY_NOISE = 0.0144  # sigma^2 / D of the stationary tracks (Requena et al.)
MIN_WINDOW_PROBABILITY = 0.5  # of a changepoint in a window that counts as one
COUNTS = ["hits", "false_alarms", "misses", "squared"]
MEAN_ABS_OF_NORMAL = np.sqrt(2 / np.pi)  # mean of |x| of a normal x with mean 0 and standard deviation 1


def score_changepoints(k: np.ndarray, found: list[list[int]]) -> pd.DataFrame:
    """Count the changepoints that were found in each track, missed, and found wrongly.

    Parameters
    ----------
    k : numpy.ndarray, shape (N, T)
        True D of each step, length^2/frame.
    found : list of list of int
        Changepoints found in each track.

    Returns
    -------
    pandas.DataFrame
        One row per track: hits, false_alarms, misses, squared (sum over hits of the squared distance, frames^2),
        number (true changepoints); and of the first true changepoint position (frame) and ratio (D after it over D
        before it).
    """
    true = find_d_changes(k)
    counts = [changepoint_counts(a, b, TOLERANCE_FRAMES) for a, b in zip(true, found, strict=True)]
    table = pd.DataFrame(counts, columns=COUNTS)
    first = np.array([row[0] if row else 1 for row in true])
    rows = np.arange(len(k))
    return table.assign(number=[len(row) for row in true], position=first, ratio=k[rows, first] / k[rows, first - 1])


def jaccard_index(table: pd.DataFrame, by=None):
    """Jaccard index of the tracks in a table of `score_changepoints`: hits / (hits + false alarms + misses).

    A number for all tracks together, or, with `by` (as in `DataFrame.groupby`), a Series with one for each group.
    """
    sums = table[COUNTS].sum() if by is None else table.groupby(by, observed=True)[COUNTS].sum()
    return sums["hits"] / (sums["hits"] + sums["false_alarms"] + sums["misses"])


def change_probabilities(xy: np.ndarray, numbers=(1, 4), shortest: int = 10) -> np.ndarray:
    """Probability of a changepoint at each step of Brownian tracks without localisation error, by Bayes' rule.

    The prior is how the tracks were made: every number of changepoints is equally probable, every set of places too,
    and log D of each segment is uniform. `pick_changepoints` of the result is close to the best possible score.

    Parameters
    ----------
    xy : numpy.ndarray, shape (N, T, 2)
        Positions, any unit.
    numbers : (int, int)
        Smallest and largest number of changepoints, the smallest 1 or more.
    shortest : int
        Frames of the shortest segment (the last segment has one step less).

    Returns
    -------
    numpy.ndarray, shape (N, T)
        Probability that the step has another D than the step before.

    Notes
    -----
    Integrated over log D, the likelihood of a segment of n steps dx is Gamma(n) S^-n / (width of log D) times a
    constant, with S = sum of dx^2 / 4. The integral has no ends, which matters only for D near the ends of its range.
    Forward and backward recursions add up the likelihoods of all partitions into segments.
    """
    squares = (np.diff(xy, axis=1) ** 2).sum(axis=-1) / 4
    steps = squares.shape[1]
    size = np.subtract.outer(np.arange(steps + 1), np.arange(steps + 1)).T  # [first, end]
    allowed = size >= shortest
    allowed[:, -1] = size[:, -1] >= shortest - 1
    size = np.maximum(size, 1)
    constant = gammaln(size) - np.log((LOG10_D[1] - LOG10_D[0]) * np.log(10))
    spare = [steps + 1 - shortest * (m + 1) for m in range(numbers[1] + 1)]  # frames beyond the shortest segments
    log_ways = [gammaln(f + m + 1) - gammaln(f + 1) - gammaln(m + 1) for m, f in enumerate(spare)]
    found = np.zeros(xy.shape[:2])
    for row, out in zip(squares, found, strict=True):
        total = np.concatenate([[0.0], row.cumsum()])
        inside = np.maximum(total[None] - total[:, None], np.finfo(float).tiny)
        gain = np.where(allowed, constant - size * np.log(inside), -np.inf)
        out[:steps] = _sum_partitions(torch.from_numpy(gain), numbers, log_ways)
    return found


def _sum_partitions(gain: torch.Tensor, numbers, log_ways) -> np.ndarray:
    """Probability that a segment begins at each step, (steps,), summed over all partitions of one track.

    `gain` (steps + 1, steps + 1) is the log likelihood of a segment [first, end], -inf where it is too short;
    `log_ways` the logarithm of the number of partitions with 0, 1, 2, ... changepoints.
    """
    forward, backward = [gain[0]], [gain[:, -1]]
    for _ in range(numbers[1]):
        forward.append(torch.logsumexp(forward[-1][:, None] + gain, 0))  # scipy's is equal and twice as slow
        backward.append(torch.logsumexp(gain + backward[-1], 1))
    counts = range(numbers[0], numbers[1] + 1)
    weights = softmax([float(forward[m][-1]) - log_ways[m] for m in counts])
    probability = torch.zeros(len(gain), dtype=gain.dtype)
    for m, weight in zip(counts, weights, strict=True):
        for before in range(m):
            probability += weight * torch.exp(forward[before] + backward[m - 1 - before] - forward[m][-1])
    return probability[:-1].numpy()


def pick_changepoints(p_change: np.ndarray) -> list[list[int]]:
    """Place changepoints where a window as wide as the tolerance holds one with a probability above 1/2.

    Parameters
    ----------
    p_change : numpy.ndarray, shape (N, T)
        Probability that a step has another D than the step before.

    Returns
    -------
    list of list of int
        For each track, the first steps of new segments: the mean place in each window, weighted by probability.
    """
    found = [[] for _ in p_change]
    for track, first, last in windows(p_change, MIN_WINDOW_PROBABILITY, 1, 2 * TOLERANCE_FRAMES - 1):
        inside = p_change[track, first:last]
        found[track].append(round(float(np.arange(first, last) @ inside / inside.sum())))
    return found


def estimate_segments(xy: np.ndarray, k: np.ndarray, sigma=0.0, networks: dict[str, np.ndarray] | None = None):
    """Estimate D of every true segment by every method.

    Parameters
    ----------
    xy : numpy.ndarray, shape (N, T, 2)
        Positions, any unit.
    k : numpy.ndarray, shape (N, T)
        True D of each step, length^2/frame.
    sigma : float or numpy.ndarray of shape (N,)
        Localisation error, unit of xy; MLE knows it.
    networks : dict of str -> numpy.ndarray of shape (N, T)
        Name -> D of each step that a network found in the whole tracks.

    Returns
    -------
    pandas.DataFrame
        One row per segment: track, start, frames (positions), k (true D), noise (sigma^2 / D), bound (Cramer-Rao bound
        of the relative error, sigma known), and one column of D per method. Networks: geometric mean over the segment.
        From the positions of the segment alone: MLE, CVE (which does not know the localisation error) and MSD (a line
        through lags 1 and 2); NaN for fewer than 3 positions.
    """
    sigma = np.broadcast_to(np.asarray(sigma, float), len(xy))
    table = tabulate_segments(k[:, :-1], find_d_changes(k[:, :-1])).drop(columns="whole").rename(columns={"d": "k"})
    track, start = table["track"].to_numpy(), table["start"].to_numpy()
    table["noise"] = sigma[track] ** 2 / table["k"]
    for name, d in (networks or {}).items():
        table[name] = geometric_means(d[:, :-1], track, start, start + table["frames"])
    table["frames"] += 1  # positions: one more than steps
    for frames, group in table.groupby("frames"):
        paths = np.array([xy[i, a : a + frames] for i, a in zip(group["track"], group["start"], strict=True)])
        if frames > 2:
            table.loc[group.index, "MLE"] = mle(paths, sigma[group["track"]])
            table.loc[group.index, "CVE"] = cve(paths)
            table.loc[group.index, "MSD"] = sliding_d(paths, frames)[:, 0]
    bound = [cramer_rao_bound(n, 1.0, np.sqrt(x)) for n, x in zip(table["frames"], table["noise"], strict=True)]
    return table.assign(bound=bound)


def bin_relative_errors(table: pd.DataFrame, methods: list[str], bins) -> pd.DataFrame:
    """Mean of |D found - D| / D in bins of segments, and of an estimator that reaches the Cramer-Rao bound.

    Parameters
    ----------
    table : pandas.DataFrame
        As returned by `estimate_segments`.
    methods : list of str
        Columns of the table.
    bins : array-like
        Bin of each row; rows are grouped by it.

    Returns
    -------
    pandas.DataFrame
        One row per bin, one column per method, and bound: the mean absolute error if errors are normal and have the
        standard deviation of the Cramer-Rao bound.
    """
    errors = (table[methods].div(table["k"], axis=0) - 1).abs().assign(bound=MEAN_ABS_OF_NORMAL * table["bound"])
    return errors.groupby(np.asarray(bins)).mean()


def read_segments_alone(xy: np.ndarray, table: pd.DataFrame, weights: str = "brownian", sigma=0.0) -> np.ndarray:
    """Estimate D of each step of each true segment by a network that is given only the positions of that segment.

    Parameters
    ----------
    xy : numpy.ndarray, shape (N, T, 2)
        Positions, any unit.
    table : pandas.DataFrame
        M segments: track, start and frames, as returned by `estimate_segments`.
    weights : str
        Weights with a network for K.
    sigma : float or numpy.ndarray of shape (N,)
        Localisation error, unit of xy; NaN where the network is not told.

    Returns
    -------
    numpy.ndarray, shape (M, longest segment)
        length^2/frame; NaN beyond the end of a segment.
    """
    rows = zip(table["track"], table["start"], table["frames"], strict=True)
    error = np.broadcast_to(np.asarray(sigma, float), len(xy))[table["track"]]
    return diffusion_in_time([xy[i, a : a + n] for i, a, n in rows], error, weights)


def bin_geometrically(values, n: int = 9) -> np.ndarray:
    """Divide positive values (N,) into n bins of equal number; returns the geometric mean of its bin for each value."""
    values = np.asarray(values, float)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, n + 1)[1:-1]))
    bins = np.digitize(values, edges)
    centres = np.array([np.exp(np.log(values[bins == i]).mean()) if (bins == i).any() else 0 for i in range(n)])
    return centres[bins]


def score_stationary(frames: int, n: int, weights: str = "brownian", seed: int = 0) -> dict:
    """Compare a network with the Cramer-Rao bound on tracks with a single D.

    D is 1, sigma^2 / D is `STATIONARY_NOISE`, and the network knows the localisation error. D of a track is the
    geometric mean over its steps.

    Parameters
    ----------
    frames : int
        Length of each track.
    n : int
        Tracks.
    weights : str
        Weights with a network for K.
    seed : int

    Returns
    -------
    dict
        frames; "rms over bound", root mean square of the relative error of D over the bound; "mean error", mean of
        the relative error.
    """
    rng, sigma = np.random.default_rng([seed, frames]), np.sqrt(STATIONARY_NOISE)
    motion = rng.normal(0, np.sqrt(2), (n, frames, 2)).cumsum(axis=1)
    log_d = np.log10(diffusion_in_time(motion + rng.normal(0, sigma, motion.shape), sigma, weights)[:, :-1])
    error = 10 ** log_d.mean(axis=1) - 1
    rms = float(np.sqrt((error**2).mean()))
    return {"frames": frames, "rms over bound": rms / cramer_rao_bound(frames, 1.0, sigma), "mean error": error.mean()}
