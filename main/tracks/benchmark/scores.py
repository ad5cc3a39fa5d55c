"""Scores of the AnDi-2 challenge, and their bootstrap intervals over tracks."""

import warnings

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from main.tracks.evaluation.errors import K_FLOOR, changepoint_counts
from main.utils.bootstrap import LEVEL, N_RESAMPLES, resample_totals

SCORES = ("jsc", "rmse", "mae_alpha", "msle_k", "f1")
HIGHER_IS_BETTER = {"jsc": True, "rmse": False, "mae_alpha": False, "msle_k": False, "f1": True}


def official_scores(truths, preds):
    """Scores of one experiment by andi_datasets' own scorer.

    Parameters
    ----------
    truths, preds : sequence of list of Segment
        Segments (start, end exclusive, k, alpha, state) of every track.

    Returns
    -------
    dict
        jsc (pooled over the experiment), rmse (frames), mae_alpha, msle_k, f1 (micro).

    Source: `andi_datasets.utils_challenge.error_SingleTraj_dataset`; Munoz-Gil et al., arXiv 2311.18100.
    """
    from andi_datasets.utils_challenge import error_SingleTraj_dataset  # takes a second to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        rmse, jsc, mae, msle, f1 = error_SingleTraj_dataset(
            _frame(preds), _frame(truths), prints=False, disable_tqdm=True
        )
    return dict(zip(SCORES, (float(v) for v in (jsc, rmse, mae, msle, f1)), strict=True))


def _frame(tracks):
    columns = [("Ds", "k"), ("alphas", "alpha"), ("states", "state"), ("changepoints", "end")]
    rows = [{name: [getattr(s, key) for s in segments] for name, key in columns} for segments in tracks]
    return pd.DataFrame(rows).assign(traj_idx=range(len(rows)))


def pair_segments(truth, pred):
    """Pair true with predicted segments by overlap, as the official scorer does, its quirks included.

    A segment covers the frames after its changepoint up to and including the next; a track without
    changepoint has an empty second segment; of several true segments facing one prediction, the scorer takes
    the value at the position in the assignment, not in the track.

    Parameters
    ----------
    truth, pred : list of Segment
        Segments of one track.

    Returns
    -------
    list of tuple
        (index of true segment, index of predicted segment).
    """
    if len(truth) == len(pred) == 1:
        return [(0, 0)]
    (start_t, end_t), (start_p, end_p) = _covered(truth), _covered(pred)
    shared = np.minimum(end_t[:, None], end_p) - np.maximum(start_t[:, None], start_p)
    shared = np.clip(shared, 0, None)
    union = (end_t - start_t)[:, None] + (end_p - start_p) - shared
    cost = 1 - np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0)
    rows, columns = linear_sum_assignment(cost)
    if len(truth) == 1:
        return [(0, int(columns[0]))]
    if len(pred) == 1:
        return [(int(np.flatnonzero(columns == 0)[0]), 0)]
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _covered(segments):
    ends = np.array([s.end for s in segments])
    if len(ends) == 1:
        return np.array([0, ends[0]]), np.array([ends[0], ends[0]])
    starts = np.concatenate([[0], ends[:-1] + 1])
    return starts, np.concatenate([starts[1:], ends[-1:]])


def fast_scores(truths, preds):
    """The scores of `official_scores` at a hundredth of its time (equal to it in a test).

    Parameters
    ----------
    truths, preds : sequence of list of Segment
        Segments of every track of one experiment.

    Returns
    -------
    dict
        As `official_scores`.
    """
    counts, pairs = np.zeros(4), []
    for truth, pred in zip(truths, preds, strict=True):
        counts += changepoint_counts([s.end for s in truth[:-1]], [s.end for s in pred[:-1]])
        for i, j in pair_segments(truth, pred):
            a, b = truth[i], pred[j]
            pairs.append((a.alpha, b.alpha, a.k, b.k, a.state, b.state))
    alpha, alpha_p, k, k_p, state, state_p = np.array(pairs).T
    hits = counts[0] - sum(len(t) == len(p) == 1 for t, p in zip(truths, preds, strict=True))
    log_ratio = np.log1p(np.maximum(k, K_FLOOR)) - np.log1p(np.maximum(k_p, K_FLOOR))
    return {
        "jsc": counts[0] / counts[:3].sum(),
        "rmse": float(np.sqrt(counts[3] / max(hits, 1))),
        "mae_alpha": float(np.abs(alpha - alpha_p).mean()),
        "msle_k": float((log_ratio**2).mean()),
        "f1": float((state == state_p).mean()),
    }


def score_table(table, segments, scorer=official_scores):
    """Scores of each experiment, their track-weighted average (the official one) and their plain mean.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns exp and segments (truth), one row per track.
    segments : sequence of list of Segment
        Predicted segments, one list per row of `table`.
    scorer : callable
        `official_scores` or `fast_scores`.

    Returns
    -------
    pandas.DataFrame
        Index: experiments, "weighted", "mean"; columns of `SCORES`, tracks, cps_per_track (true),
        pred_per_track.
    """
    rows = {}
    for exp, index in table.groupby("exp").indices.items():
        truth = [table["segments"].iloc[i] for i in index]
        pred = [segments[i] for i in index]
        rows[exp] = scorer(truth, pred) | {
            "tracks": len(index),
            "cps_per_track": np.mean([len(t) - 1 for t in truth]),
            "pred_per_track": np.mean([len(p) - 1 for p in pred]),
        }
    result = pd.DataFrame.from_dict(rows, orient="index")
    weights = result["tracks"] / result["tracks"].sum()
    summary = {"weighted": result.mul(weights, axis=0).sum(), "mean": result.mean()}
    summary = pd.DataFrame.from_dict(summary, orient="index").assign(tracks=result["tracks"].sum())
    return pd.concat([result, summary]).astype({"tracks": int})


def track_sums(truths, preds):
    """What each track adds to the sums that the scores are ratios of.

    Parameters
    ----------
    truths, preds : sequence of list of Segment
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
    counts = changepoint_counts([s.end for s in truth[:-1]], [s.end for s in pred[:-1]])
    pairs = [(truth[i], pred[j]) for i, j in pair_segments(truth, pred)]
    true, found = (np.array([[s.alpha, s.k, s.state] for s in side]).T for side in zip(*pairs, strict=True))
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
    return scores_of(resample_totals(sums, n_resamples, seed))


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
