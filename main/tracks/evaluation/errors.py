"""Errors per track and per changepoint, and their means over bins: the numbers behind the evaluation figures.

K and alpha errors are counted only where the true state is not trapped (there K = alpha = 0 by definition).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from main.tracks.inference.segments import true_changepoints
from simulations.parameters import MODELS

CP_TOLERANCE = 10  # frames; official
K_FLOOR = 1e-12  # px^2/frame^alpha; official


def found_changepoints(true, predicted) -> set[int]:
    """Indices of the true changepoints with a predicted one of their own closer than CP_TOLERANCE frames.

    Pairs are one to one, by least total distance, as in the official scorer.
    """
    if len(true) == 0 or len(predicted) == 0:
        return set()
    distance = np.abs(np.subtract.outer(np.asarray(true), np.asarray(predicted)))
    pairs = zip(*linear_sum_assignment(distance), strict=True)
    return {int(i) for i, j in pairs if distance[i, j] < CP_TOLERANCE}


def jaccard(true, predicted) -> float:
    """Hits over hits, misses and false alarms of one track; 1 with no changepoint, true or predicted."""
    hits, false_alarms, misses, _ = changepoint_counts(true, predicted)
    return hits / (hits + false_alarms + misses)


def track_errors(truth, prediction, changepoints) -> dict:
    """Errors of one track.

    Parameters
    ----------
    truth : mapping
        k (T,), alpha (T,), state (T,) and model (index into MODELS).
    prediction : object with log10_k (T,), alpha (T,), state_probs (T, 4)
        Same unit of K as the truth.
    changepoints : sequence of int
        Predicted first frames of new segments.

    Returns
    -------
    dict
        model, n_frames, n_changepoints, jaccard, mae_log10_k, mae_alpha (nan where all is trapped), accuracy.
        A quantity that was not predicted (nan) has error nan.
    """
    k, alpha, state = (np.asarray(truth[name]) for name in ("k", "alpha", "state"))
    moving = (state != 0) & (k > 0)
    true = true_changepoints(truth)
    return {
        "model": MODELS[int(truth["model"])],
        "n_frames": len(k),
        "n_changepoints": len(true),
        "jaccard": jaccard(true, changepoints),
        "mae_log10_k": _mean(np.abs(np.asarray(prediction.log10_k)[moving] - np.log10(k[moving]))),
        "mae_alpha": _mean(np.abs(np.asarray(prediction.alpha) - alpha)[moving]),
        "accuracy": state_accuracy(prediction.state_probs, state),
    }


def state_accuracy(state_probs, state) -> float:
    """Share of frames whose most probable state is the true one; nan if probabilities (T, 4) are missing."""
    state_probs = np.asarray(state_probs)
    if np.isnan(state_probs).any():
        return float("nan")
    return float(np.mean(state_probs.argmax(1) == state))


def changepoint_errors(truth, changepoints) -> list[dict]:
    """One row per true changepoint: where it is, how large the change is, whether it was found.

    Returns
    -------
    list of dict
        position (0 to 1 of the track), delta_log10_k (decades) and delta_alpha (both nan beside a trapped
        segment), state_change (bool), found (bool).
    """
    true = true_changepoints(truth)
    found = found_changepoints(true, changepoints)
    k, alpha, state = (np.asarray(truth[name]) for name in ("k", "alpha", "state"))
    rows = []
    for i, t in enumerate(true):
        both_move = k[t] > 0 and k[t - 1] > 0
        rows.append(
            {
                "position": t / len(k),
                "delta_log10_k": abs(float(np.log10(k[t] / k[t - 1]))) if both_move else np.nan,
                "delta_alpha": abs(float(alpha[t] - alpha[t - 1])) if both_move else np.nan,
                "state_change": bool(state[t] != state[t - 1]),
                "found": i in found,
            }
        )
    return rows


def evaluate_tracks(truths, predictions, changepoints) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of errors: one row per track; one per true changepoint, with its track's errors.

    Parameters
    ----------
    truths, predictions, changepoints : sequences of equal length
        As for `track_errors`, one entry per track.

    Returns
    -------
    tracks : DataFrame
        Columns of `track_errors`, index = place in the input.
    changes : DataFrame
        Columns of `changepoint_errors` and, per changepoint, `track` and the columns of `track_errors`.
    """
    rows, changes = [], []
    for i, (truth, prediction, found) in enumerate(zip(truths, predictions, changepoints, strict=True)):
        rows.append(track_errors(truth, prediction, found))
        changes += [{"track": i} | row for row in changepoint_errors(truth, found)]
    tracks = pd.DataFrame(rows)
    columns = ["track", "position", "delta_log10_k", "delta_alpha", "state_change", "found"]
    return tracks, pd.DataFrame(changes, columns=columns).join(tracks, on="track")


def moving_frames(truths, predictions) -> dict[str, np.ndarray]:
    """K and alpha, true and predicted, of all M frames whose true state is not trapped.

    Returns
    -------
    dict
        true_log10_k, log10_k, true_alpha, alpha, true_state, each (M,).
    """
    k, alpha, state = (np.concatenate([t[name] for t in truths]) for name in ("k", "alpha", "state"))
    moving = (state != 0) & (k > 0)
    return {
        "true_log10_k": np.log10(k[moving]),
        "log10_k": np.concatenate([p.log10_k for p in predictions])[moving],
        "true_alpha": alpha[moving],
        "alpha": np.concatenate([p.alpha for p in predictions])[moving],
        "true_state": state[moving],
    }


def binned_mean(x, y, edges) -> pd.DataFrame:
    """Mean of y in bins of x, missing values left out.

    Parameters
    ----------
    x, y : arrays (N,)
    edges : array (M + 1,)
        Bin edges; the last bin holds its right edge.

    Returns
    -------
    DataFrame
        One row per bin that is not empty: x (centre), mean, sem (standard error; nan for one value), n.
    """
    x, y, edges = (np.asarray(a, dtype=float) for a in (x, y, edges))
    keep = np.isfinite(x) & np.isfinite(y) & (x >= edges[0]) & (x <= edges[-1])
    bins = np.clip(np.digitize(x[keep], edges) - 1, 0, len(edges) - 2)
    groups = pd.Series(y[keep]).groupby(bins)
    table = groups.agg(["mean", "sem", "size"]).rename(columns={"size": "n"})
    table.insert(0, "x", (edges[:-1] + edges[1:])[table.index] / 2)
    return table.reset_index(drop=True)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


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
