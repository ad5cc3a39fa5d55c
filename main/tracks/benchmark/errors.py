"""What the figures of the benchmark show: errors per frame, per changepoint and per true segment of any method.

Every line of a figure is a ratio of sums over tracks, with an interval that takes tracks, not frames, as independent.
"""

import numpy as np
import pandas as pd

from main.tracks.evaluation.errors import found_changepoints
from main.tracks.inference.segments import segment_values
from main.utils.estimators import cramer_rao_bound, mle
from simulations.parameters import FREE

Z_90 = 1.645  # half width of a 90 % interval in standard errors
K_FLOOR = 1e-4  # px^2/frame^alpha; a moving frame called trapped counts as this K
LENGTHS = (5, 10, 20, 40, 80, 201)  # frames, edges of the bins of `k_errors`
NEAR_BROWNIAN = 0.1  # |alpha - 1| of the segments of `k_errors`
MAD_TO_SD = 1.4826  # of Gaussian errors
MAX_NOISE = 1.0  # sigma / sqrt(2 K) of the segments of `k_errors`


def _bins(*edges):
    return edges, [f"{a:g} to {b:g}" for a, b in zip(edges, edges[1:], strict=False)]


COVERAGE_BINS = {
    "all": ((-0.5, 0.5), ["all"]),
    "frames": _bins(20, 40, 80, 140, 200),
    "alpha": _bins(0, 0.3, 0.7, 1.3, 1.7, 2),
    "log10 K": _bins(-4, -2, -1, -0.5, 0, 0.5, 2),
    "state": ((0.5, 1.5, 2.5, 3.5), ["confined", "free", "directed"]),
}


def per_frame(tracks, name):
    """A value of the segments of all tracks at every frame, one track after the other, (F,)."""
    segments = [s for track in tracks for s in track]
    return np.repeat([getattr(s, name) for s in segments], [s.n_frames for s in segments])


def frame_errors(table, segments, sigma):
    """One row per frame that truly moves.

    Parameters
    ----------
    table : pandas.DataFrame
        As of `benchmark_data.read_benchmark`.
    segments : sequence of list of Segment
        Predicted segments of every track.
    sigma : float
        Localisation error, px.

    Returns
    -------
    pandas.DataFrame
        track, n_frames, noise (sigma / sqrt(2 K)), distance (frames to the nearest true changepoint, nan if none),
        log10_k and alpha (absolute errors), state (1 where wrong).
    """
    lengths = table["xy"].map(len).to_numpy()
    true, found = (
        {name: per_frame(own, name) for name in ("k", "alpha", "state")} for own in (table["segments"], segments)
    )
    k, k_found = (np.maximum(own["k"], K_FLOOR) for own in (true, found))
    frames = pd.DataFrame(
        {
            "track": np.repeat(np.arange(len(table)), lengths),
            "n_frames": np.repeat(lengths, lengths),
            "noise": sigma / np.sqrt(2 * k),
            "distance": np.concatenate([distance_to_change(own) for own in table["segments"]]),
            "log10_k": np.abs(np.log10(k_found / k)),
            "alpha": np.abs(found["alpha"] - true["alpha"]),
            "state": (found["state"] != true["state"]).astype(float),
        }
    )
    return frames[true["state"] > 0].reset_index(drop=True)


def distance_to_change(segments):
    """Frames to the nearest changepoint, 0 at the frames on either side of it; nan without any, (T,)."""
    n = segments[-1].end
    ends = np.array([s.end for s in segments[:-1]])
    if not len(ends):
        return np.full(n, np.nan)
    gap = np.arange(n)[:, None] - ends
    return np.where(gap < 0, -gap - 1, gap).min(axis=1).astype(float)


def change_errors(table, segments):
    """One row per true changepoint.

    Returns
    -------
    pandas.DataFrame
        track, ratio_k (larger over smaller K) and delta_alpha (both nan beside a trapped segment), found (0 or 1).
    """
    rows = []
    for i, (true, own) in enumerate(zip(table["segments"], segments, strict=True)):
        found = found_changepoints([s.end for s in true[:-1]], [s.end for s in own[:-1]])
        for j, (a, b) in enumerate(zip(true, true[1:], strict=False)):
            moving = a.k > 0 and b.k > 0
            ratio = max(a.k, b.k) / min(a.k, b.k) if moving else np.nan
            delta = abs(a.alpha - b.alpha) if moving else np.nan
            rows.append((i, ratio, delta, float(j in found)))
    return pd.DataFrame(rows, columns=["track", "ratio_k", "delta_alpha", "found"])


def ratio_in_bins(x, edges, track, numerator, denominator=1.0):
    """Ratio of sums in bins of x, with 90 % intervals over tracks.

    Parameters
    ----------
    x, numerator : (N,) array
    edges : (M + 1,) array
        The last bin holds its right edge; values outside and nan are left out.
    track : (N,) array of int
        Values of one track are not independent.
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
        rows.append((int(number), value, Z_90 * spread, n))
    return pd.DataFrame(rows, columns=["bin", "value", "half_width", "tracks"])


def reliability(probs, state, n_bins=10):
    """How often each state is right when it is given with a certain probability.

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
        Expected calibration error of the likeliest state: mean |stated - observed| over frames, in the same bins.

    Source: Guo et al., ICML 2017, arXiv 1706.04599.
    """
    rows = []
    for s in range(probs.shape[1]):
        rows += [(s, *row) for row in _calibration(probs[:, s], state == s, n_bins)]
    table = pd.DataFrame(rows, columns=["state", "stated", "observed", "frames"])
    top = _calibration(probs.max(axis=1), probs.argmax(axis=1) == state, n_bins)
    ece = sum(frames * abs(stated - observed) for stated, observed, frames in top) / len(state)
    return table[table["frames"] >= 100], float(ece)


def _calibration(stated, right, n_bins):
    """Mean stated probability, share that is right and number, in bins of equal width that are not empty."""
    bins = np.minimum((stated * n_bins).astype(int), n_bins - 1)
    n = np.bincount(bins, minlength=n_bins)
    filled = n > 0
    means = (np.bincount(bins, v, minlength=n_bins)[filled] / n[filled] for v in (stated, right.astype(float)))
    return list(zip(*means, n[filled].tolist(), strict=True))


def k_errors(table, preds, sigma):
    """Relative error of K in true segments of free motion by length, beside the Cramer-Rao bound.

    Segments of alpha within .1 of 1 whose steps are larger than the noise. All estimators are given the true
    changepoints and the localisation error.

    Parameters
    ----------
    table : pandas.DataFrame
        As of `benchmark_data.read_benchmark`.
    preds : dict[str, list]
        Weights -> Prediction of every track.
    sigma : float
        Localisation error, px.

    Returns
    -------
    pandas.DataFrame
        Index: range of frames; n (segments), and by column (bound, CVE, MLE, the weights) 1.48 times the median of
        |K_estimated / K - 1|, which is the standard deviation if errors are Gaussian; bound: the median bound.

    Notes
    -----
    A median, because the label filter leaves single steps of another state in some segments.
    """
    rows = []
    for i, (xy, true) in enumerate(zip(table["xy"], table["segments"], strict=True)):
        pooled = {name: _pooled_k(own[i], true) for name, own in preds.items()}
        for j, s in enumerate(true):
            n = s.n_frames
            brownian = s.state == FREE and abs(s.alpha - 1) <= NEAR_BROWNIAN
            if not brownian or n < LENGTHS[0] or sigma > MAX_NOISE * np.sqrt(2 * s.k):
                continue
            own = xy[s.start : s.end]
            cve = (np.diff(own, axis=0) ** 2).sum(axis=1).mean() / 4 - sigma**2
            found = {"CVE": cve, "MLE": mle(own, sigma)} | {name: k[j] for name, k in pooled.items()}
            errors = {name: k / s.k - 1 for name, k in found.items()}
            rows.append({"frames": n, "bound": cramer_rao_bound(n, s.k, sigma)} | errors)
    errors = pd.DataFrame(rows, columns=["frames", "bound", "CVE", "MLE", *preds])
    names = [f"{a} to {b - 1}" for a, b in zip(LENGTHS, LENGTHS[1:], strict=False)]
    groups = errors.drop(columns="frames").groupby(
        pd.cut(errors["frames"], LENGTHS, right=False, labels=names), observed=False
    )
    result = groups.agg(lambda v: v.abs().median())
    result.loc[:, "CVE":] *= MAD_TO_SD
    result.insert(0, "n", groups.size())
    return result


def _pooled_k(pred, segments):
    """K of each true segment from frame-wise predictions, as if none were trapped."""
    moving = segment_values(pred, [s.start for s in segments[1:]], trapped_odds=0.0)
    return [s.k for s in moving]


def coverage(table, preds):
    """Share of moving frames whose true K and alpha lie inside their 90 % intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        As of `benchmark_data.read_benchmark`.
    preds : list of Prediction
        With intervals.

    Returns
    -------
    pandas.DataFrame
        of ("log10_k" or "alpha"), by ("all" or what the frames are binned by), bin (text), value, half_width, tracks.
    """
    join = {name: np.concatenate(table[name].tolist()) for name in ("k", "alpha", "state")}
    lengths = table["xy"].map(len).to_numpy()
    moving = join["state"] > 0
    track = np.repeat(np.arange(len(table)), lengths)[moving]
    truth = {"log10_k": np.log10(np.maximum(join["k"][moving], K_FLOOR)), "alpha": join["alpha"][moving]}
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
