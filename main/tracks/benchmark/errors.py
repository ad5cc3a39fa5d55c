"""Errors per frame, per changepoint and per true segment of any method, for the figures of the benchmark.

Every line of a figure is a ratio of sums over tracks. Its intervals take tracks, not frames, as independent.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from scipy.stats import norm
from torchmetrics.functional.classification import binary_calibration_error

from main.tracks.benchmark.classical import brownian_k
from main.tracks.benchmark.data import MIN_K_PX2
from main.tracks.evaluation.errors import found_changepoints
from main.tracks.inference.predictor import Prediction
from main.tracks.inference.segments import Segment, segment_values
from main.utils.bootstrap import LEVEL
from main.utils.estimators import cramer_rao_bound, mle
from simulations.parameters import FREE, STATES

INTERVAL_SD = norm.ppf((1 + LEVEL) / 2)  # half width of an interval of LEVEL, standard errors
LENGTH_EDGES = (5, 10, 20, 40, 80, 201)  # frames, edges of the bins of `k_errors`
MAX_ALPHA_OFFSET = 0.1  # |alpha - 1| of the segments of `k_errors`
MAX_NOISE_PER_STEP = 1.0  # sigma / sqrt(2 K) of the segments of `k_errors`
MAD_TO_SD = 1.4826  # of Gaussian errors: 1 / norm.ppf(0.75)
MIN_FRAMES_PER_BIN = 100  # of the reliability diagram


def _bins(*edges):
    return edges, [f"{a:g} to {b:g}" for a, b in pairwise(edges)]


COVERAGE_BINS = {
    "all": ((-0.5, 0.5), ["all"]),
    "frames": _bins(20, 40, 80, 140, 200),
    "alpha": _bins(0, 0.3, 0.7, 1.3, 1.7, 2),
    "log10 K": _bins(-4, -2, -1, -0.5, 0, 0.5, 2),
    "state": ((0.5, 1.5, 2.5, 3.5), ["confined", "free", "directed"]),
}


def per_frame(tracks: list[list[Segment]], name: str) -> np.ndarray:
    """The value `name` of the segments of all tracks at every frame, one track after the other, (F,)."""
    segments = [s for track in tracks for s in track]
    return np.repeat([getattr(s, name) for s in segments], [s.n_frames for s in segments])


def frame_errors(tracks: pd.DataFrame, segments: list[list[Segment]], sigma: float) -> pd.DataFrame:
    """Errors of K, alpha and state of each frame whose true state is not trapped.

    Parameters
    ----------
    tracks : pandas.DataFrame
        As returned by `main.tracks.benchmark.data.read_benchmark`.
    segments : sequence of list of Segment
        Predicted segments of every track.
    sigma : float
        Localisation error, px.

    Returns
    -------
    pandas.DataFrame
        One row per frame: track, n_frames, noise (sigma / sqrt(2 K)), distance (frames to the nearest true changepoint,
        nan if there is none), log10_k and alpha (absolute errors), state (1 where wrong, else 0). A frame that is
        predicted to be trapped counts as K = MIN_K_PX2.
    """
    lengths = tracks["xy"].map(len).to_numpy()
    true, found = (
        {name: per_frame(side, name) for name in ("k", "alpha", "state")} for side in (tracks["segments"], segments)
    )
    k, k_found = (np.maximum(side["k"], MIN_K_PX2) for side in (true, found))
    frames = pd.DataFrame(
        {
            "track": np.repeat(np.arange(len(tracks)), lengths),
            "n_frames": np.repeat(lengths, lengths),
            "noise": sigma / np.sqrt(2 * k),
            "distance": np.concatenate([distance_to_change(true_segments) for true_segments in tracks["segments"]]),
            "log10_k": np.abs(np.log10(k_found / k)),
            "alpha": np.abs(found["alpha"] - true["alpha"]),
            "state": (found["state"] != true["state"]).astype(float),
        }
    )
    return frames[true["state"] > 0].reset_index(drop=True)


def distance_to_change(segments: list[Segment]) -> np.ndarray:
    """Frames to the nearest changepoint, 0 at the two frames beside it; nan if there is no changepoint, (T,)."""
    n = segments[-1].end
    ends = np.array([s.end for s in segments[:-1]])
    if not len(ends):
        return np.full(n, np.nan)
    gap = np.arange(n)[:, None] - ends
    return np.where(gap < 0, -gap - 1, gap).min(axis=1).astype(float)


def change_errors(tracks: pd.DataFrame, segments: list[list[Segment]]) -> pd.DataFrame:
    """Size of each true changepoint, and whether it was found.

    Parameters
    ----------
    tracks, segments
        As for `frame_errors`.

    Returns
    -------
    pandas.DataFrame
        One row per changepoint: track, ratio_k (larger over smaller K) and delta_alpha (both nan next to a trapped
        segment), found (0 or 1).
    """
    rows = []
    for i, (true, predicted) in enumerate(zip(tracks["segments"], segments, strict=True)):
        found = found_changepoints([s.end for s in true[:-1]], [s.end for s in predicted[:-1]])
        for j, (a, b) in enumerate(zip(true, true[1:], strict=False)):
            moving = a.k > 0 and b.k > 0
            ratio = max(a.k, b.k) / min(a.k, b.k) if moving else np.nan
            delta = abs(a.alpha - b.alpha) if moving else np.nan
            rows.append((i, ratio, delta, float(j in found)))
    return pd.DataFrame(rows, columns=["track", "ratio_k", "delta_alpha", "found"])


def ratio_in_bins(x, edges, track, numerator, denominator=1.0) -> pd.DataFrame:
    """Ratio of sums in bins of x, with 90 % intervals over tracks.

    Parameters
    ----------
    x, numerator : (N,) array
    edges : (M + 1,) array
        The last bin includes its right edge; values outside and nan are left out.
    track : (N,) array of int
        Track of each value. Values of one track are not independent.
    denominator : float or (N,) array

    Returns
    -------
    pandas.DataFrame
        One row per bin that is not empty: bin (int), value, half_width, tracks.

    Source: variance of a ratio estimator with clusters, Cochran, Sampling Techniques (1977), chapter 6.
    """
    x, edges = np.asarray(x, float), np.asarray(edges, float)
    keep = (x >= edges[0]) & (x <= edges[-1])
    bins = np.clip(np.digitize(x[keep], edges) - 1, 0, len(edges) - 2)
    values = pd.DataFrame(
        {
            "bin": bins,
            "track": np.asarray(track)[keep],
            "top": np.broadcast_to(numerator, x.shape)[keep],
            "bottom": np.broadcast_to(denominator, x.shape)[keep],
        }
    )
    sums = values.groupby(["bin", "track"])[["top", "bottom"]].sum().reset_index()
    rows = []
    for number, group in sums.groupby("bin"):
        top, bottom, n = group["top"].to_numpy(), group["bottom"].to_numpy(), len(group)
        value = top.sum() / bottom.sum()
        spread = np.sqrt(((top - value * bottom) ** 2).sum() * n / max(n - 1, 1)) / bottom.sum()
        rows.append((int(number), value, INTERVAL_SD * spread, n))
    return pd.DataFrame(rows, columns=["bin", "value", "half_width", "tracks"])


def reliability(probs: np.ndarray, state: np.ndarray, n_bins: int = 10) -> tuple[pd.DataFrame, float]:
    """How often each state is right, against the probability that is predicted for it.

    Parameters
    ----------
    probs : (N, 4) array
        State probabilities of N frames.
    state : (N,) array of int
        True states.
    n_bins : int
        Bins of equal width.

    Returns
    -------
    bins : pandas.DataFrame
        state, stated (mean probability), observed (share of frames in that state), frames; bins of 100 frames or more.
    ece : float
        `calibration_error` of the most probable state, in as many bins.
    """
    rows = []
    for s in range(len(STATES)):
        bins = np.minimum((probs[:, s] * n_bins).astype(int), n_bins - 1)
        frame = pd.DataFrame({"stated": probs[:, s], "observed": state == s, "frames": 1})
        rows.append(frame.groupby(bins).agg({"stated": "mean", "observed": "mean", "frames": "sum"}).assign(state=s))
    table = pd.concat(rows, ignore_index=True)
    ece = calibration_error(probs.max(axis=1), probs.argmax(axis=1) == state, n_bins)
    return table[table["frames"] >= MIN_FRAMES_PER_BIN], ece


def calibration_error(confidence: np.ndarray, right: np.ndarray, n_bins: int = 15) -> float:
    """Expected calibration error: mean over frames of |mean confidence - share that is right| of their bin.

    Parameters
    ----------
    confidence : (N,) array
        Probabilities, 0 to 1.
    right : (N,) array of bool
        Whether what was predicted with this probability is true.
    n_bins : int
        Bins of confidence, of equal width.

    Source: Guo et al., ICML 2017, arXiv 1706.04599.
    """
    confidence = torch.as_tensor(np.clip(confidence, 0.0, 1.0), dtype=torch.float64)  # rounded sums may exceed 1
    return float(binary_calibration_error(confidence, torch.as_tensor(np.asarray(right, int)), n_bins, norm="l1"))


def k_errors(tracks: pd.DataFrame, preds: dict[str, list[Prediction]], sigma: float) -> pd.DataFrame:
    """Relative error of K in true segments of free motion by length, beside the Cramer-Rao bound.

    The segments have alpha within .1 of 1 and steps larger than the noise. All estimators are given the true
    changepoints and the localisation error.

    Parameters
    ----------
    tracks : pandas.DataFrame
        As returned by `main.tracks.benchmark.data.read_benchmark`.
    preds : dict of str -> list of Prediction
        Network -> frame-wise predictions of every track.
    sigma : float
        Localisation error, px.

    Returns
    -------
    pandas.DataFrame
        Index: range of frames. Columns: n (number of segments); bound (median of the bounds); CVE, MLE and the
        networks: 1.48 times the median of |K_estimated / K - 1|, the standard deviation if errors are Gaussian.

    Notes
    -----
    The median, because the label filter leaves single steps of another state in some segments.
    """
    rows = []
    for i, (xy, true) in enumerate(zip(tracks["xy"], tracks["segments"], strict=True)):
        pooled = {name: _pooled_k(predictions[i], true) for name, predictions in preds.items()}
        for j, s in enumerate(true):
            n = s.n_frames
            brownian = s.state == FREE and abs(s.alpha - 1) <= MAX_ALPHA_OFFSET
            if not brownian or n < LENGTH_EDGES[0] or sigma > MAX_NOISE_PER_STEP * np.sqrt(2 * s.k):
                continue
            xy_segment = xy[s.start : s.end]
            found = {"CVE": brownian_k(xy_segment, sigma), "MLE": mle(xy_segment, sigma)}
            found |= {name: k[j] for name, k in pooled.items()}
            errors = {name: k / s.k - 1 for name, k in found.items()}
            rows.append({"frames": n, "bound": cramer_rao_bound(n, s.k, sigma)} | errors)
    errors = pd.DataFrame(rows, columns=["frames", "bound", "CVE", "MLE", *preds])
    names = [f"{a} to {b - 1}" for a, b in pairwise(LENGTH_EDGES)]
    bins = pd.cut(errors["frames"], LENGTH_EDGES, right=False, labels=names)
    groups = errors.drop(columns="frames").groupby(bins, observed=False)
    result = groups.agg(lambda v: v.abs().median())
    result.loc[:, "CVE":] *= MAD_TO_SD
    result.insert(0, "n", groups.size())
    return result


def _pooled_k(pred: Prediction, segments: list[Segment]) -> list[float]:
    """K of each true segment from frame-wise predictions, none taken as trapped."""
    moving = segment_values(pred, [s.start for s in segments[1:]], trapped_odds=0.0)
    return [s.k for s in moving]


def interval_coverage(tracks: pd.DataFrame, preds: list[Prediction]) -> pd.DataFrame:
    """Share of moving frames whose true K and alpha lie inside their 90 % intervals.

    Parameters
    ----------
    tracks : pandas.DataFrame
        As returned by `main.tracks.benchmark.data.read_benchmark`.
    preds : list of Prediction
        With intervals.

    Returns
    -------
    pandas.DataFrame
        of ("log10_k" or "alpha"), by ("all" or the quantity of the bins), bin (text), value, half_width, tracks.
    """
    join = {name: np.concatenate(tracks[name].tolist()) for name in ("k", "alpha", "state")}
    lengths = tracks["xy"].map(len).to_numpy()
    moving = join["state"] > 0
    track = np.repeat(np.arange(len(tracks)), lengths)[moving]
    truth = {"log10_k": np.log10(np.maximum(join["k"][moving], MIN_K_PX2)), "alpha": join["alpha"][moving]}
    by = {
        "all": np.zeros(len(track)),
        "frames": np.repeat(lengths, lengths)[moving],
        "alpha": truth["alpha"],
        "log10 K": truth["log10_k"],
        "state": join["state"][moving],
    }
    rows = []
    for of, true in truth.items():
        low, high = (np.concatenate([getattr(p, f"{of}_{end}") for p in preds])[moving] for end in ("lo", "hi"))
        inside = ((low <= true) & (true <= high)).astype(float)
        for name, (edges, labels) in COVERAGE_BINS.items():
            binned = ratio_in_bins(by[name], edges, track, inside)
            rows.append(binned.assign(of=of, by=name, bin=[labels[i] for i in binned["bin"]]))
    return pd.concat(rows, ignore_index=True)
