"""Scores of the AnDi-2 challenge, and their bootstrap intervals over tracks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from main.tracks.evaluation.errors import K_FLOOR, changepoint_counts
from main.tracks.inference.segments import Segment
from main.utils.bootstrap import LEVEL, N_RESAMPLES, resample_totals

SCORES = ("jsc", "rmse", "mae_alpha", "msle_k", "f1")
HIGHER_IS_BETTER = {"jsc": True, "rmse": False, "mae_alpha": False, "msle_k": False, "f1": True}


@dataclass(frozen=True)
class Scored:
    """Scores of one method.

    Parameters
    ----------
    table : pandas.DataFrame
        As returned by `score_table`.
    resampled : pandas.DataFrame
        Scores of resampled tracks, as returned by `bootstrap_scores`.
    low, high : pandas.DataFrame
        Ends of the 90 % intervals, as returned by `score_intervals`.
    """

    table: pd.DataFrame
    resampled: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame

    def bounds(self, exp: int | str, score: str) -> tuple[float, float]:
        """Ends of the interval of one score of an experiment, of "weighted" or of "mean"."""
        return self.low.loc[exp, score], self.high.loc[exp, score]


def official_scores(truths: list[list[Segment]], preds: list[list[Segment]]) -> dict[str, float]:
    """Scores of one experiment by the official scorer, that of andi_datasets.

    Parameters
    ----------
    truths, preds : sequence of list of Segment
        Segments (start, end exclusive, k, alpha, state) of every track.

    Returns
    -------
    dict
        jsc (Jaccard index of changepoints, pooled over the experiment), rmse (of the changepoints found, frames),
        mae_alpha, msle_k (mean squared error of log(1 + K), K in px^2/frame^alpha), f1 (micro average over states).

    Source: `andi_datasets.utils_challenge.error_SingleTraj_dataset`; Munoz-Gil et al., arXiv 2311.18100.
    """
    from andi_datasets.utils_challenge import error_SingleTraj_dataset  # takes a second to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        rmse, jsc, mae, msle, f1 = error_SingleTraj_dataset(
            _frame(preds), _frame(truths), prints=False, disable_tqdm=True
        )
    return dict(zip(SCORES, (float(v) for v in (jsc, rmse, mae, msle, f1)), strict=True))


def _frame(tracks) -> pd.DataFrame:
    columns = [("Ds", "k"), ("alphas", "alpha"), ("states", "state"), ("changepoints", "end")]
    rows = [{name: [getattr(s, key) for s in segments] for name, key in columns} for segments in tracks]
    return pd.DataFrame(rows).assign(traj_idx=range(len(rows)))


def pair_segments(truth: list[Segment], pred: list[Segment]) -> list[tuple[int, int]]:
    """Pair true with predicted segments by overlap, exactly as the official scorer does.

    For it, a segment covers the frames after its changepoint up to and including the next changepoint. A track without
    changepoint has a second segment without frames. Where several true segments meet one predicted segment, it takes
    the true segment at the place of the pair in the list of pairs, not in the track.

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


def fast_scores(truths: list[list[Segment]], preds: list[list[Segment]]) -> dict[str, float]:
    """Scores equal to those of `official_scores`, in a hundredth of the time.

    Parameters
    ----------
    truths, preds : sequence of list of Segment
        Segments of every track of one experiment.

    Returns
    -------
    dict
        As returned by `official_scores`.
    """
    return dict(zip(SCORES, scores_of(track_sums(truths, preds).sum(axis=0)).tolist(), strict=True))


def score_table(table: pd.DataFrame, segments: list[list[Segment]], scorer=official_scores) -> pd.DataFrame:
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
        Index: experiments, "weighted", "mean". Columns: those of `SCORES`, tracks (number), cps_per_track and
        pred_per_track (true and predicted changepoints per track).
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


def track_sums(truths: list[list[Segment]], preds: list[list[Segment]]) -> np.ndarray:
    """Contributions of each track to the sums from which scores are computed.

    Parameters
    ----------
    truths, preds : sequence of list of Segment
        Segments (start, end exclusive, k, alpha, state) of N tracks.

    Returns
    -------
    numpy.ndarray, shape (N, 9)
        Hits, false alarms and misses of changepoints; squared distances of the hits (frames^2); 1 where neither truth
        nor prediction has a changepoint (which counts as a hit, but not in the distance); pairs of segments; absolute
        errors of alpha; squared errors of log(1 + K); pairs of equal state.
    """
    return np.array([_sums_of_track(truth, pred) for truth, pred in zip(truths, preds, strict=True)])


def _sums_of_track(truth: list[Segment], pred: list[Segment]) -> list[float]:
    counts = changepoint_counts([s.end for s in truth[:-1]], [s.end for s in pred[:-1]])
    pairs = [(truth[i], pred[j]) for i, j in pair_segments(truth, pred)]
    true, found = (np.array([[s.alpha, s.k, s.state] for s in side]).T for side in zip(*pairs, strict=True))
    log_ratio = np.log1p(np.maximum(true[1], K_FLOOR)) - np.log1p(np.maximum(found[1], K_FLOOR))
    alpha_error, same_state = np.abs(true[0] - found[0]).sum(), (true[2] == found[2]).sum()
    empty = len(truth) == len(pred) == 1
    return [*counts, empty, len(pairs), alpha_error, (log_ratio**2).sum(), same_state]


def scores_of(sums: np.ndarray) -> np.ndarray:
    """Scores from sums over tracks; equal to those of `official_scores` on the same tracks.

    Parameters
    ----------
    sums : (..., 9) array
        Rows of `track_sums`, summed over tracks.

    Returns
    -------
    numpy.ndarray, shape (..., 5)
        In the order of `SCORES`.
    """
    sums = np.moveaxis(np.asarray(sums, float), -1, 0)
    hits, false_alarms, misses, squared, empty, pairs, alpha, log_k, states = sums
    jsc = hits / (hits + false_alarms + misses)
    rmse = np.sqrt(squared / np.maximum(hits - empty, 1))
    return np.stack([jsc, rmse, alpha / pairs, log_k / pairs, states / pairs], axis=-1)


def bootstrap_scores(
    experiments, sums: dict[str, np.ndarray], n_resamples: int = N_RESAMPLES, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Scores of resampled tracks: per experiment, weighted by tracks, and the plain mean over experiments.

    Tracks are drawn with replacement inside each experiment, the same ones for all methods.

    Parameters
    ----------
    experiments : sequence of int, length N
        Experiment of each track.
    sums : dict of str -> numpy.ndarray
        Method -> `track_sums` (N, 9).
    n_resamples, seed : int

    Returns
    -------
    dict of str -> pandas.DataFrame
        Method -> index (exp: experiment, "weighted" or "mean"; resample), columns of SCORES.

    Source: percentile bootstrap, Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    groups = pd.Series(np.asarray(experiments)).groupby(np.asarray(experiments)).indices
    stacked = np.stack(list(sums.values()), axis=1)  # (N, methods, 9)
    drawn = [resample_totals(stacked[index], n_resamples, (seed, int(exp))) for exp, index in groups.items()]
    scores = np.stack([scores_of(totals) for totals in drawn])  # (experiments, resamples, methods, 5)
    share = np.array([len(index) for index in groups.values()]) / len(stacked)
    weighted = np.tensordot(share, scores, 1)
    scores = np.concatenate([scores, [weighted, scores.mean(axis=0)]])
    names = [*groups, "weighted", "mean"]
    index = pd.MultiIndex.from_product([names, range(n_resamples)], names=["exp", "resample"])
    return {
        name: pd.DataFrame(scores[:, :, i].reshape(-1, len(SCORES)), index, list(SCORES)) for i, name in enumerate(sums)
    }


def score_intervals(resampled: pd.DataFrame, level: float = LEVEL) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Percentile intervals of resampled scores.

    Parameters
    ----------
    resampled : pandas.DataFrame
        As returned by `bootstrap_scores`, or the difference of two such tables.
    level : float
        Share of resamples inside.

    Returns
    -------
    low, high : pandas.DataFrame
        Index: experiments, "weighted", "mean"; columns of SCORES.
    """
    groups = resampled.groupby(level="exp", sort=False)
    return groups.quantile((1 - level) / 2), groups.quantile((1 + level) / 2)


def score_methods(tracks: pd.DataFrame, segments: dict[str, list], scorers: dict, **options) -> dict[str, Scored]:
    """Score several methods on the same tracks, with intervals over tracks.

    Parameters
    ----------
    tracks : pandas.DataFrame
        Columns exp and segments (truth), one row per track.
    segments : dict of str -> list of list of Segment
        Method -> predicted segments of every track.
    scorers : dict of str -> callable
        Method -> `official_scores` or `fast_scores`.
    options
        For `bootstrap_scores`.

    Returns
    -------
    dict of str -> Scored
    """
    tables = {name: score_table(tracks, predicted, scorers[name]) for name, predicted in segments.items()}
    sums = {name: track_sums(tracks["segments"], predicted) for name, predicted in segments.items()}
    resampled = bootstrap_scores(tracks["exp"], sums, **options)
    return {name: Scored(tables[name], resampled[name], *score_intervals(resampled[name])) for name in segments}


def compare_methods(scored: Scored, reference: Scored, level: float = LEVEL) -> pd.DataFrame:
    """Compare a method with a reference, score by score, by the bootstrap interval of their paired difference.

    Parameters
    ----------
    scored, reference : Scored
        The method and the reference on the same tracks, from one call of `score_methods`.
    level : float
        Of the interval.

    Returns
    -------
    pandas.DataFrame
        One row per experiment (and "weighted", "mean") and score: exp, score, value, reference, difference, low,
        high, verdict ("better", "worse" or "within": the interval of the difference holds 0).
    """
    low, high = score_intervals(scored.resampled - reference.resampled, level)
    rows = []
    for exp in low.index:
        for name in SCORES:
            value, reference_value = scored.table.loc[exp, name], reference.table.loc[exp, name]
            row = dict(exp=exp, score=name, value=value, reference=reference_value, difference=value - reference_value)
            row |= dict(low=low.loc[exp, name], high=high.loc[exp, name])
            sign = 0 if row["low"] <= 0 <= row["high"] else np.sign(row["difference"])
            sign *= 1 if HIGHER_IS_BETTER[name] else -1
            rows.append(row | {"verdict": {0: "within", 1: "better", -1: "worse"}[int(sign)]})
    return pd.DataFrame(rows)
