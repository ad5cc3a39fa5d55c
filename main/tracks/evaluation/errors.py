"""Computes errors per track and per changepoint, and their means over bins, for the evaluation figures.

Errors of K and alpha are counted only where the true state is not trapped: there K = alpha = 0 by definition.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from main.tracks.inference.segments import true_changepoints
from simulations.parameters import MODELS

CP_TOLERANCE = 10  # frames; of the scorer of the AnDi challenge (andi_datasets)
K_FLOOR = 1e-12  # px^2/frame^alpha; of the scorer of the AnDi challenge (andi_datasets)


def found_changepoints(true, predicted) -> set[int]:
    """Indices of the true changepoints that are paired with a predicted one closer than `CP_TOLERANCE` frames.

    Parameters
    ----------
    true, predicted : sequences of int
        Changepoints of one track, frames. Pairs are those of `pair_changepoints`.
    """
    index, distance = pair_changepoints(true, predicted)
    return set(index[distance < CP_TOLERANCE].tolist())


def jaccard(true, predicted) -> float:
    """Jaccard index of one track: hits / (hits + misses + false alarms); 1 if there is no changepoint at all."""
    hits, false_alarms, misses, _ = changepoint_counts(true, predicted)
    return hits / (hits + false_alarms + misses)


def track_errors(truth, prediction, changepoints) -> dict:
    """Compute the errors of one track.

    Parameters
    ----------
    truth : mapping
        k (T,), alpha (T,), state (T,) and model (index into MODELS).
    prediction : object with log10_k (T,), alpha (T,), state_probs (T, 4)
        K in the unit of the truth.
    changepoints : sequence of int
        Predicted first frames of new segments.

    Returns
    -------
    dict
        model, n_frames, n_changepoints, jaccard, mae_log10_k (decades), mae_alpha (both nan if all frames are
        trapped), accuracy (share of frames). The error of a quantity that was not predicted (nan) is nan.
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
    """Share of frames whose most probable state is the true one; nan if `state_probs` (T, 4) holds nan.

    `state` (T,) holds the true states, as indices into STATES.
    """
    state_probs = np.asarray(state_probs)
    if np.isnan(state_probs).any():
        return float("nan")
    return float(np.mean(state_probs.argmax(1) == state))


def changepoint_errors(truth, changepoints) -> list[dict]:
    """Describe each true changepoint: where it is, how large the change is, and whether it was found.

    Parameters
    ----------
    truth, changepoints
        As for `track_errors`.

    Returns
    -------
    list of dict
        One dict per true changepoint: position (share of the track, 0 to 1), delta_log10_k (decades) and delta_alpha
        (both nan next to a trapped segment), state_change (bool), found (bool).
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
    """Make two tables of errors: one row per track, and one row per true changepoint with the errors of its track.

    Parameters
    ----------
    truths, predictions, changepoints : sequences of equal length
        As for `track_errors`, one entry per track.

    Returns
    -------
    tracks : DataFrame
        Columns of `track_errors`; the index is the place in the input.
    changes : DataFrame
        Columns of `changepoint_errors`, `track` (index of the track) and the columns of `track_errors`.
    """
    rows, changes = [], []
    for i, (truth, prediction, found) in enumerate(zip(truths, predictions, changepoints, strict=True)):
        rows.append(track_errors(truth, prediction, found))
        changes += [{"track": i} | row for row in changepoint_errors(truth, found)]
    tracks = pd.DataFrame(rows)
    columns = ["track", "position", "delta_log10_k", "delta_alpha", "state_change", "found"]
    return tracks, pd.DataFrame(changes, columns=columns).join(tracks, on="track")


def moving_frames(truths, predictions) -> dict[str, np.ndarray]:
    """Collect true and predicted K and alpha of all M frames whose true state is not trapped.

    Parameters
    ----------
    truths, predictions : sequences of equal length
        As for `track_errors`, one entry per track.

    Returns
    -------
    dict
        true_log10_k, log10_k, true_alpha, alpha, true_state, each (M,). K in the unit of the truths.
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
    """Mean of y in bins of x.

    Parameters
    ----------
    x, y : arrays (N,)
        Pairs with a missing value, or with x outside the edges, are left out.
    edges : array (M + 1,)
        Bin edges; the last bin includes its right edge.

    Returns
    -------
    DataFrame
        One row per bin that is not empty: x (centre), mean, sem (standard error; nan for a single value), n.
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


def pair_changepoints(true, predicted):
    """Pair true and predicted changepoints of one track, one to one, with the smallest sum of distances.

    Parameters
    ----------
    true, predicted : sequences of int, lengths n and m
        Frames.

    Returns
    -------
    index : numpy.ndarray of int, shape (min(n, m),)
        Index into `true` of each pair.
    distance : numpy.ndarray of int, shape (min(n, m),)
        Distance of each pair, frames.

    Source: the scorer of the AnDi challenge (andi_datasets), which pairs first and applies the tolerance afterwards.
    """
    if not len(true) or not len(predicted):
        return np.empty(0, int), np.empty(0, int)
    distance = np.abs(np.subtract.outer(np.asarray(true), np.asarray(predicted)))
    row, column = linear_sum_assignment(distance)
    return row, distance[row, column]


def changepoint_counts(true, predicted, tolerance=CP_TOLERANCE):
    """Count hits, false alarms and misses of one track, as the scorer of the AnDi challenge does.

    A pair that is `tolerance` frames or more apart counts as a miss and a false alarm. A track without any changepoint,
    true or predicted, counts as one hit.

    Parameters
    ----------
    true, predicted : sequences of int
        Changepoints, frames.
    tolerance : int
        Frames.

    Returns
    -------
    hits, false_alarms, misses : int
    squared : float
        Sum of the squared distances of the hits, frames^2.
    """
    if not len(true) and not len(predicted):
        return 1, 0, 0, 0.0
    _, distance = pair_changepoints(true, predicted)
    close = distance[distance < tolerance]
    return len(close), len(predicted) - len(close), len(true) - len(close), float((close**2).sum())


def frame_scores(truths, preds):
    """Compute errors over the frames of all tracks together.

    Parameters
    ----------
    truths : sequence of dict
        k (T,) in px^2/frame^alpha, alpha (T,) and state (T,) of each track.
    preds : sequence of Prediction
        log10_k, alpha and state_probs of each track, same units.

    Returns
    -------
    dict
        l1_alpha and l1_log10_k (decades), mean absolute errors over frames that are not trapped; accuracy, share of
        frames with the right state; confusion, counts of frames (4, 4), rows true, columns predicted.
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
