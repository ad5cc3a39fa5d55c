"""Bootstrap intervals over tracks for the scores of `main.utils.metrics`, from sums per track.

Every score is a ratio of sums over tracks, so a resample is a weighted sum: a thousand take seconds. All methods are
resampled alike, so that the difference of two methods is the paired difference.
"""

import numpy as np
import pandas as pd

from main.utils.metrics import K_FLOOR, SCORES, changepoint_counts, pair_segments

N_RESAMPLES = 1000
BLOCK = 100  # resamples whose draws are held at once
LEVEL = 0.90  # of the intervals
HIGHER_IS_BETTER = {"jsc": True, "rmse": False, "mae_alpha": False, "msle_k": False, "f1": True}


def track_sums(truths, preds):
    """What each track adds to the sums that the scores are ratios of.

    Parameters
    ----------
    truths, preds : sequence of list of dict
        Segments (start, end exclusive, k, alpha, state) of N tracks.

    Returns
    -------
    numpy.ndarray, shape (N, 9)
        hits, false alarms and misses of changepoints, squared distance of the hits (frames^2), 1 where neither truth
        nor prediction has a changepoint (counted as a hit, but not in the distance), pairs of segments, and their
        summed absolute errors of alpha, squared errors of log(1 + K), equal states.
    """
    return np.array([_sums(truth, pred) for truth, pred in zip(truths, preds, strict=True)])


def _sums(truth, pred):
    counts = changepoint_counts([s["end"] for s in truth[:-1]], [s["end"] for s in pred[:-1]])
    pairs = [(truth[i], pred[j]) for i, j in pair_segments(truth, pred)]
    true, found = (np.array([[s["alpha"], s["k"], s["state"]] for s in side]).T for side in zip(*pairs, strict=True))
    log_ratio = np.log1p(np.maximum(true[1], K_FLOOR)) - np.log1p(np.maximum(found[1], K_FLOOR))
    alpha_error, same_state = np.abs(true[0] - found[0]).sum(), (true[2] == found[2]).sum()
    empty = len(truth) == len(pred) == 1
    return [*counts, empty, len(pairs), alpha_error, (log_ratio**2).sum(), same_state]


def scores_of(sums):
    """Scores from sums over tracks; equal to `metrics.official_scores` on the same tracks.

    Parameters
    ----------
    sums : (..., 9) array
        Rows of `track_sums`, summed over tracks.

    Returns
    -------
    numpy.ndarray, shape (..., 5)
        In the order of `metrics.SCORES`.
    """
    sums = np.moveaxis(np.asarray(sums, float), -1, 0)
    hits, false_alarms, misses, squared, empty, pairs, alpha, log_k, states = sums
    jsc = hits / (hits + false_alarms + misses)
    rmse = np.sqrt(squared / np.maximum(hits - empty, 1))
    return np.stack([jsc, rmse, alpha / pairs, log_k / pairs, states / pairs], axis=-1)


def bootstrap(experiments, sums, n_resamples=N_RESAMPLES, seed=0):
    """Scores of resampled tracks: per experiment, weighted by tracks, and the plain mean over experiments.

    Tracks are drawn with replacement inside each experiment, the same ones for all methods.

    Parameters
    ----------
    experiments : sequence of int, length N
        Experiment of each track.
    sums : dict[str, numpy.ndarray]
        Method -> `track_sums` (N, 9).
    n_resamples, seed : int

    Returns
    -------
    dict[str, pandas.DataFrame]
        Method -> index (experiment, "weighted" or "mean"; resample), columns of SCORES.

    Source: percentile bootstrap, Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    groups = pd.Series(np.asarray(experiments)).groupby(np.asarray(experiments)).indices
    stacked = np.stack(list(sums.values()), axis=1)  # (N, methods, 9)
    parts = [_resampled(stacked[index], n_resamples, (seed, int(exp))) for exp, index in groups.items()]
    scores = np.stack(parts)  # (experiments, resamples, methods, 5)
    share = np.array([len(index) for index in groups.values()]) / len(stacked)
    weighted = np.tensordot(share, scores, 1)
    scores = np.concatenate([scores, [weighted, scores.mean(axis=0)]])
    names = [*groups, "weighted", "mean"]
    index = pd.MultiIndex.from_product([names, range(n_resamples)], names=["exp", "resample"])
    return {
        name: pd.DataFrame(scores[:, :, i].reshape(-1, len(SCORES)), index, list(SCORES)) for i, name in enumerate(sums)
    }


def _resampled(sums, n_resamples, seed):
    """Scores (resamples, methods, 5) of one experiment's tracks (n, methods, 9), drawn n at a time."""
    return scores_of(resampled_totals(sums, n_resamples, seed))


def resampled_totals(sums, n_resamples=N_RESAMPLES, seed=0):
    """Totals over n tracks drawn with replacement, again and again.

    Parameters
    ----------
    sums : (n, ...) array
        What each track adds.
    n_resamples, seed : int

    Returns
    -------
    numpy.ndarray, shape (n_resamples, ...)
    """
    n, rng = len(sums), np.random.default_rng(seed)
    flat = sums.reshape(n, -1).astype(float)
    total = []
    for start in range(0, n_resamples, BLOCK):
        size = min(BLOCK, n_resamples - start)
        drawn = [np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(size)]
        total.append(np.array(drawn, float) @ flat)
    return np.concatenate(total).reshape(n_resamples, *sums.shape[1:])


def intervals(resampled, level=LEVEL):
    """Percentile intervals of resampled scores.

    Parameters
    ----------
    resampled : pandas.DataFrame
        As of `bootstrap`, or the difference of two such tables.
    level : float
        Share of resamples inside.

    Returns
    -------
    low, high : pandas.DataFrame
        Index: experiments, "weighted", "mean"; columns of SCORES.
    """
    groups = resampled.groupby(level="exp", sort=False)
    return groups.quantile((1 - level) / 2), groups.quantile((1 + level) / 2)


def compare(scores, reference, resampled, resampled_reference, level=LEVEL):
    """Whether a method is better or worse than a reference, or within the interval of their paired difference.

    Parameters
    ----------
    scores, reference : pandas.DataFrame
        Scores of the method and of the reference on the same tracks, as of `metrics.score_table`.
    resampled, resampled_reference : pandas.DataFrame
        Their bootstrap, from one call of `bootstrap`.
    level : float

    Returns
    -------
    pandas.DataFrame
        One row per experiment (and "weighted", "mean") and score: exp, score, value, reference, difference, low,
        high, verdict ("better", "worse" or "within": the interval of the difference holds 0).
    """
    low, high = intervals(resampled - resampled_reference, level)
    rows = []
    for exp in low.index:
        for name in SCORES:
            a, b, bounds = scores.loc[exp, name], reference.loc[exp, name], (low.loc[exp, name], high.loc[exp, name])
            sign = 0 if bounds[0] <= 0 <= bounds[1] else np.sign(a - b) * (1 if HIGHER_IS_BETTER[name] else -1)
            verdict = {0: "within", 1: "better", -1: "worse"}[int(sign)]
            rows.append(
                dict(
                    exp=exp,
                    score=name,
                    value=a,
                    reference=b,
                    difference=a - b,
                    low=bounds[0],
                    high=bounds[1],
                    verdict=verdict,
                )
            )
    return pd.DataFrame(rows)
