"""How well D and its changepoints are read from segmented Brownian motion, beside what can be read at all.

The benchmark of Requena et al. (Biophysical Journal 122, 4360, 2023), on tracks of our own. D belongs to steps: entry t
to that from frame t to t + 1; a changepoint is the first step of another D.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import gammaln

from main.utils.diffusion import diffusion_in_time
from main.utils.estimators import cramer_rao_bound, cve, mle, sliding_d
from main.utils.metrics import changepoint_counts
from simulations.brownian import LOG10_D

TOLERANCE = 5  # frames; a changepoint counts as found closer than this
EXACT_PRICE = 4.0  # nats; what a changepoint must bring in `exact_changepoints`
COUNTS = ("hits", "false_alarms", "misses", "squared")
MEAN_OF_NORMAL = np.sqrt(2 / np.pi)  # mean of |error| over its standard deviation


def changepoints_of(k: np.ndarray) -> list[list[int]]:
    """True changepoints of each track, from D of each step (N, T)."""
    return [(np.flatnonzero(np.diff(row)) + 1).tolist() for row in k]


def changepoint_table(k: np.ndarray, found: list[list[int]], tolerance: int = TOLERANCE) -> pd.DataFrame:
    """What each track adds to the Jaccard index.

    Parameters
    ----------
    k : numpy.ndarray, shape (N, T)
        True D of each step.
    found : list of list of int
        Changepoints found in each track.
    tolerance : int
        Frames.

    Returns
    -------
    pandas.DataFrame
        A row per track: hits, false_alarms, misses, squared (frames^2, of the hits), number (of true changepoints),
        and of the first one position (frame) and ratio (of D after it to D before).
    """
    true = changepoints_of(k)
    counts = [changepoint_counts(a, b, tolerance) for a, b in zip(true, found, strict=True)]
    table = pd.DataFrame(counts, columns=list(COUNTS))
    first = np.array([row[0] if row else 1 for row in true])
    rows = np.arange(len(k))
    return table.assign(number=[len(row) for row in true], position=first, ratio=k[rows, first] / k[rows, first - 1])


def jaccard_of(table: pd.DataFrame, by=None):
    """Jaccard index of all tracks of a `changepoint_table`, or of those of each value of `by`."""
    sums = table[list(COUNTS)].sum() if by is None else table.groupby(by, observed=True)[list(COUNTS)].sum()
    return sums["hits"] / (sums["hits"] + sums["false_alarms"] + sums["misses"])


def exact_changepoints(xy: np.ndarray, most: int = 4, min_size: int = 10, price: float = EXACT_PRICE):
    """Most probable changepoints of Brownian tracks without localisation error: what the tracks allow.

    It knows the model, the range of D and the most changepoints there can be, and tries all partitions.

    Parameters
    ----------
    xy : numpy.ndarray, shape (N, T, 2)
    most : int
        Changepoints of a track.
    min_size : int
        Steps of the shortest segment.
    price : float
        Of a changepoint, nats.

    Returns
    -------
    list of list of int

    Notes
    -----
    A segment of n steps whose squares sum to 4 S has the likelihood Gamma(n) S^-n once log D, uniform in its range, is
    integrated over.
    """
    squares = (np.diff(xy, axis=1) ** 2).sum(axis=-1) / 4
    steps = squares.shape[1]
    size = np.subtract.outer(np.arange(steps + 1), np.arange(steps + 1)).T  # [first, end]
    allowed, size = size >= min_size, np.maximum(size, 1)
    constant = gammaln(size) - np.log((LOG10_D[1] - LOG10_D[0]) * np.log(10))
    found = []
    for row in squares:
        total = np.concatenate([[0.0], row.cumsum()])
        inside = np.maximum(total[None] - total[:, None], np.finfo(float).tiny)
        gain = np.where(allowed, constant - size * np.log(inside), -np.inf)
        found.append(best_partition(gain, most, price))
    return found


def best_partition(gain: np.ndarray, most: int, price: float) -> list[int]:
    """Borders of the segments of largest total gain[first, end], less a price for each border; `most` at most."""
    best, back = [gain[0]], []
    for _ in range(most):
        value = best[-1][:, None] + gain - price
        back.append(value.argmax(axis=0))
        best.append(value.max(axis=0))
    number = int(np.argmax([row[-1] for row in best]))
    borders = [gain.shape[0] - 1]
    for origin in reversed(back[:number]):
        borders.append(int(origin[borders[-1]]))
    return borders[:0:-1]


def segment_table(xy: np.ndarray, k: np.ndarray, sigma=0.0, networks: dict[str, np.ndarray] | None = None):
    """Every estimator on every true segment.

    Parameters
    ----------
    xy : numpy.ndarray, shape (N, T, 2)
    k : numpy.ndarray, shape (N, T)
        True D of each step.
    sigma : float or numpy.ndarray of shape (N,)
        Localisation error, which CVE and MLE are told.
    networks : dict of str -> numpy.ndarray of shape (N, T)
        Name -> its D of each step of the whole tracks.

    Returns
    -------
    pandas.DataFrame
        A row per segment: track, start, frames (positions), k, noise (sigma^2 / D), bound (Cramer-Rao, of the relative
        error), and per estimator its D: the networks' (geometric mean over the segment), CVE, MLE, and MSD (a line
        through lags 1 and 2).
    """
    sigma = np.broadcast_to(np.asarray(sigma, float), len(xy))
    rows = [(i, a, b) for i, cuts in enumerate(changepoints_of(k))
            for a, b in zip([0, *cuts], [*cuts, k.shape[1] - 1], strict=True)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["track", "start", "end"])
    track, start = table["track"].to_numpy(), table["start"].to_numpy()
    table = table.assign(frames=table["end"] - start + 1, k=k[track, start])
    table["noise"] = sigma[track] ** 2 / table["k"]
    for name, d in (networks or {}).items():
        total = np.pad(np.log10(d), ((0, 0), (1, 0))).cumsum(axis=1)
        table[name] = 10 ** ((total[track, table["end"]] - total[track, start]) / (table["end"] - start))
    for frames, group in table.groupby("frames"):
        own = np.array([xy[i, a : a + frames] for i, a in zip(group["track"], group["start"], strict=True)])
        error = sigma[group["track"]]
        table.loc[group.index, "MLE"] = mle(own, error)
        table.loc[group.index, "CVE"] = cve(own, error)
        table.loc[group.index, "MSD"] = sliding_d(own, frames)[:, 0] if frames > 2 else np.nan
    bound = [cramer_rao_bound(n, 1.0, np.sqrt(x)) for n, x in zip(table["frames"], table["noise"], strict=True)]
    return table.drop(columns="end").assign(bound=bound)


def relative_errors(table: pd.DataFrame, methods: list[str], bins) -> pd.DataFrame:
    """Mean of |D found - D| / D in bins of segments, and its least value.

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
        A row per bin, a column per method, and bound: the mean of |error| of an unbiased estimator with normal errors
        of the Cramer-Rao size.
    """
    errors = (table[methods].div(table["k"], axis=0) - 1).abs().assign(bound=MEAN_OF_NORMAL * table["bound"])
    return errors.groupby(np.asarray(bins)).mean()


def cut_segments(xy: np.ndarray, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """True segments as tracks of their own: positions (M, T, 2), padded, and frames (M,)."""
    frames = table["frames"].to_numpy()
    cut = np.zeros((len(table), frames.max(), 2))
    for row, i, a, n in zip(cut, table["track"], table["start"], frames, strict=True):
        row[:n] = xy[i, a : a + n] - xy[i, a]
    return cut, frames


def read_segments(xy: np.ndarray, table: pd.DataFrame, weights: str = "brownian", sigma=0.0) -> np.ndarray:
    """D of each true segment by a network that sees nothing but it: geometric mean, (M,)."""
    cut, frames = cut_segments(xy, table)
    error = np.broadcast_to(np.asarray(sigma, float), len(xy))[table["track"]]
    log_d = np.log10(diffusion_in_time(cut, error, weights, length=frames))
    inside = np.arange(cut.shape[1]) < frames[:, None] - 1
    return 10 ** ((log_d * inside).sum(axis=1) / inside.sum(axis=1))


def geometric_bins(values, n: int = 9) -> np.ndarray:
    """Bins of equally many values: of each value, the geometric mean of its bin."""
    values = np.asarray(values, float)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, n + 1)[1:-1]))
    bins = np.digitize(values, edges)
    centres = np.array([np.exp(np.log(values[bins == i]).mean()) if (bins == i).any() else 0 for i in range(n)])
    return centres[bins]


def stationary(frames: int, n: int, weights: str = "brownian", seed: int = 0, noise: float = 0.0144) -> dict:
    """Error of a network on tracks of one D, beside the Cramer-Rao bound.

    Parameters
    ----------
    frames, n : int
        Of a track; tracks.
    weights : str
    seed : int
    noise : float
        sigma^2 / D, which the network is told.

    Returns
    -------
    dict
        frames; "rms over bound": root mean square of the relative error of D over the bound; "mean error", relative.
    """
    rng, sigma = np.random.default_rng([seed, frames]), np.sqrt(noise)
    motion = rng.normal(0, np.sqrt(2), (n, frames, 2)).cumsum(axis=1)
    log_d = np.log10(diffusion_in_time(motion + rng.normal(0, sigma, motion.shape), sigma, weights))
    error = 10 ** log_d[:, :-1].mean(axis=1) - 1
    rms = float(np.sqrt((error**2).mean()))
    return {"frames": frames, "rms over bound": rms / cramer_rao_bound(frames, 1.0, sigma), "mean error": error.mean()}
