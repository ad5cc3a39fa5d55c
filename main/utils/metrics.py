"""Scores: the AnDi-2 scorer on lists of segments, the same made fast for tuning, and frame-wise errors."""

import warnings

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

CP_TOLERANCE = 10  # frames; official
K_FLOOR = 1e-12  # px^2/frame^alpha; official
SCORES = ("jsc", "rmse", "mae_alpha", "msle_k", "f1")


def official_scores(truths, preds):
    """Scores of one experiment by andi_datasets' own scorer.

    Parameters
    ----------
    truths, preds : sequence of list of dict
        Segments (start, end exclusive, k, alpha, state) of every track.

    Returns
    -------
    dict
        jsc (pooled over the experiment), rmse (frames), mae_alpha, msle_k, f1 (micro).

    Source: `andi_datasets.utils_challenge.error_SingleTraj_dataset`; Munoz-Gil et al., arXiv 2311.18100.
    """
    from andi_datasets.utils_challenge import error_SingleTraj_dataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        rmse, jsc, mae, msle, f1 = error_SingleTraj_dataset(
            _frame(preds), _frame(truths), prints=False, disable_tqdm=True
        )
    return dict(zip(SCORES, (float(v) for v in (jsc, rmse, mae, msle, f1)), strict=True))


def _frame(tracks):
    columns = [("Ds", "k"), ("alphas", "alpha"), ("states", "state"), ("changepoints", "end")]
    rows = [{name: [s[key] for s in segments] for name, key in columns} for segments in tracks]
    return pd.DataFrame(rows).assign(traj_idx=range(len(rows)))


def pair_changepoints(truth, pred):
    """Optimal one-to-one pairing of changepoints.

    Parameters
    ----------
    truth, pred : (n,), (m,) array of int
        Interior changepoints of one track.

    Returns
    -------
    numpy.ndarray
        (min(n, m),) distances of the pairs, frames.
    """
    if not len(truth) or not len(pred):
        return np.empty(0, int)
    cost = np.abs(np.asarray(truth)[:, None] - np.asarray(pred)[None])
    return cost[linear_sum_assignment(cost)]


def changepoint_counts(truth, pred, tolerance=CP_TOLERANCE):
    """Contribution of one track to the official Jaccard index.

    A track without true and predicted changepoints counts as one hit; pairs `tolerance` frames or more apart count as
    a miss and a false alarm.

    Returns
    -------
    tuple
        hits, false alarms, misses (int), sum of squared distances of the hits.
    """
    if not len(truth) and not len(pred):
        return 1, 0, 0, 0.0
    distance = pair_changepoints(truth, pred)
    close = distance[distance < tolerance]
    return len(close), len(pred) - len(close), len(truth) - len(close), float((close**2).sum())


def pair_segments(truth, pred):
    """Pair true with predicted segments by overlap, as the official scorer does, its quirks included.

    A segment covers the frames after its changepoint up to and including the next; a track without
    changepoint has an empty second segment; of several true segments facing one prediction, the scorer takes
    the value at the position in the assignment, not in the track.

    Parameters
    ----------
    truth, pred : list of dict
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
    ends = np.array([s["end"] for s in segments])
    if len(ends) == 1:
        return np.array([0, ends[0]]), np.array([ends[0], ends[0]])
    starts = np.concatenate([[0], ends[:-1] + 1])
    return starts, np.concatenate([starts[1:], ends[-1:]])


def fast_scores(truths, preds):
    """The scores of `official_scores` at a hundredth of its time (equal to it in a test).

    Parameters
    ----------
    truths, preds : sequence of list of dict
        Segments of every track of one experiment.

    Returns
    -------
    dict
        As `official_scores`.
    """
    counts, pairs = np.zeros(4), []
    for truth, pred in zip(truths, preds, strict=True):
        counts += changepoint_counts([s["end"] for s in truth[:-1]], [s["end"] for s in pred[:-1]])
        for i, j in pair_segments(truth, pred):
            a, b = truth[i], pred[j]
            pairs.append((a["alpha"], b["alpha"], a["k"], b["k"], a["state"], b["state"]))
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


def frame_scores(truths, preds):
    """Frame-wise errors.

    Parameters
    ----------
    truths : sequence of dict
        k (T,) px^2/frame^alpha, alpha (T,), state (T,) of every track.
    preds : sequence of Prediction
        log10_k, alpha, state_probs of every track, same units.

    Returns
    -------
    dict
        l1_alpha and l1_log10_k over untrapped frames, accuracy, confusion ((4, 4) counts, rows true, columns
        predicted).
    """
    join = {name: np.concatenate([t[name] for t in truths]) for name in ("k", "alpha", "state")}
    mobile = join["state"] > 0
    predicted = np.concatenate([p.state_probs.argmax(axis=1) for p in preds])
    log10_k = np.concatenate([p.log10_k for p in preds])[mobile]
    alpha = np.concatenate([p.alpha for p in preds])[mobile]
    confusion = np.zeros((4, 4), int)
    np.add.at(confusion, (join["state"], predicted), 1)
    return {
        "l1_alpha": float(np.abs(alpha - join["alpha"][mobile]).mean()),
        "l1_log10_k": float(np.abs(log10_k - np.log10(np.maximum(join["k"][mobile], K_FLOOR))).mean()),
        "accuracy": float(np.trace(confusion) / confusion.sum()),
        "confusion": confusion,
    }


def score_table(table, segments, scorer=official_scores):
    """Scores of each experiment, their track-weighted average (the official one) and their plain mean.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns exp and segments (truth), one row per track.
    segments : sequence of list of dict
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
